"""`clm agent channel`: what is recorded, what is refused before any connection, and the second yes to open access."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.fleet import report
from pyinfra_hermes.cli.state.records import Agent, Host, StageResult, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.channels import DISCORD_TOKEN, SLACK_APP_TOKEN, SLACK_BOT_TOKEN
from tests.facts.test_observation import with_line
from tests.lab.person import Person, Said

API_KEY = "0123456789abcdef" * 4


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with two agents on one host, and tokens in files."""
    person = Person(tmp_path / "config")
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        for name, port in (("maurice", 8642), ("agnes", 8643)):
            tx.hosts["wolf-i"].agents[name] = Agent(name=name, release="v2026.5.7", port=port, status="installed")
            tx.hosts["wolf-i"].agents[name].onboarding["validate"] = StageResult(status="done")
            tx.secrets.set(agent_scope("wolf-i", name), "HERMES_API_SERVER_KEY", Secret(API_KEY))
    for name, token in {"discord": DISCORD_TOKEN, "bot": SLACK_BOT_TOKEN, "app": SLACK_APP_TOKEN}.items():
        (tmp_path / name).write_text(f"{token}\n")
    return person


def channel(person: Person, *words: str, code: Exit | None = Exit.DONE, stdin: str | None = None) -> Said:
    said = person.clm("agent", "channel", *words, code=code, stdin=stdin)
    return said.lacks(DISCORD_TOKEN, SLACK_BOT_TOKEN, SLACK_APP_TOKEN)


def discord(person: Person, agent: str = "maurice", *words: str, **more: Any) -> Said:
    token = str(person.config_home.parent / "discord")
    return channel(person, "enable", agent, "discord", "--bot-token-file", token, *words, **more)


def on_record(person: Person, agent: str = "maurice") -> dict[str, Any]:
    found: dict[str, Any] = person.document("hosts.json")["hosts"]["wolf-i"]["agents"][agent]
    return found


def kept(person: Person, agent: str = "maurice") -> set[str]:
    return set(person.document("secrets.json")[f"wolf-i:hermes:{agent}"]) - {"HERMES_API_SERVER_KEY"}


def test_a_channel_is_enabled_changed_and_disabled_on_record(person: Person) -> None:
    discord(person, "maurice", "--allowed-users", "234567890123456789,some.one").has("clm agent configure maurice")
    assert on_record(person)["channels"]["discord"] == {"allowed_users": ["234567890123456789", "some.one"]}
    assert "validate" not in on_record(person)["onboarding"], "what was proven was another agent"
    channel(person, "set", "maurice", "discord", "--no-reactions", "--unset", "allowed-users").has("is changed")
    assert on_record(person)["channels"]["discord"] == {"reactions": False}
    channel(person, "set", "maurice", "discord", "--no-reactions").has("nothing was changed")
    assert kept(person) == {"DISCORD_BOT_TOKEN"}
    channel(person, "disable", "maurice", "discord").has("Kept in secrets.json: DISCORD_BOT_TOKEN")
    assert set(on_record(person)["channels"]) == {"api"}
    # The token that was kept is used again, and goes on request.
    channel(person, "enable", "maurice", "discord")
    channel(person, "disable", "maurice", "discord", "--forget").lacks("Kept")
    assert kept(person) == set()


def test_what_is_missing_names_its_option_and_nothing_is_recorded(person: Person) -> None:
    before = person.records()
    channel(person, "enable", "maurice", "slack", code=Exit.USAGE).has("--bot-token-stdin")
    channel(person, "enable", "maurice", "discord", "--bot-token-stdin", stdin="your-token-here", code=Exit.USAGE).has(
        "placeholder"
    )
    discord(person, "maurice", "--home-channel", "#general", code=Exit.USAGE).has("#general")
    discord(person, "maurice", "--app-token-reference", "env:X", code=Exit.USAGE).has("has no field 'app_token'")
    channel(person, "enable", "maurice", "fax", code=Exit.USAGE).has("Unknown channel 'fax'", "discord, slack")
    channel(person, "enable", "maurice", "whatsapp", code=Exit.USAGE).has("Use whatsapp_cloud")
    channel(person, "enable", "maurice", "api", code=Exit.USAGE).has("always on")
    channel(person, "set", "maurice", "discord", "--no-reactions", code=Exit.REFUSED).has("is not on")
    channel(person, "disable", "maurice", "discord", code=Exit.REFUSED).has("is not on")
    assert person.records() == before


def test_a_channel_that_the_release_lacks_is_refused_with_the_release_that_has_it(person: Person) -> None:
    guid = "01234567-89ab-cdef-0123-456789abcdef"
    words = ("--client-id", guid, "--tenant-id", guid, "--client-secret-stdin")
    said = channel(person, "enable", "maurice", "teams", *words, stdin="abc~DEF_123456", code=Exit.USAGE)
    said.has("Channel teams is not in Hermes v2026.5.7; it needs v2026.5.29.2 or later")
    assert kept(person) == set()
    # Nothing is asked that could not be used.
    channel(person, "enable", "maurice", "teams", code=Exit.USAGE).has("not in Hermes", "clm agent upgrade maurice")


def test_a_bot_serves_one_agent(person: Person) -> None:
    discord(person)
    discord(person, "agnes", code=Exit.USAGE).has("wolf-i:hermes:maurice", "the same Bot token in channel discord")
    assert kept(person, "agnes") == set() and set(on_record(person, "agnes")["channels"]) == {"api"}
    channel(person, "disable", "maurice", "discord")
    discord(person, "agnes")


def test_a_port_of_a_host_is_one_agents(person: Person) -> None:
    webhook = ("webhook", "--secret-stdin")
    channel(person, "enable", "maurice", *webhook, stdin="0123456789abcdef")
    said = channel(person, "enable", "agnes", *webhook, stdin="0123456789abcdef", code=Exit.USAGE)
    said.has("agents maurice and agnes have the same port 8644")
    channel(person, "enable", "agnes", *webhook, "--port", "8645", stdin="0123456789abcdef")


def test_open_access_takes_a_second_yes_once(person: Person) -> None:
    said = discord(person, "maurice", "--allow-all-users", code=Exit.USAGE)
    said.has("allow_all_users lets everybody in", "--allow-open-access")
    assert set(on_record(person)["channels"]) == {"api"}
    discord(person, "maurice", "--allow-all-users", "--allow-open-access").lacks("Nobody is allowed")
    channel(person, "set", "maurice", "discord", "--no-reactions").lacks("--allow-open-access")
    channel(person, "list", "maurice").has("OPEN: allow_all_users lets everybody in", "DISCORD_BOT_TOKEN")
    [_, listed] = json.loads(channel(person, "list", "maurice", "-o", "json").out)
    assert (listed["channel"], listed["open"]) == ("discord", "allow_all_users lets everybody in")


def test_the_second_yes_is_asked_for_at_a_terminal(person: Person) -> None:
    discord(person)
    for answer, code in (("n", Exit.REFUSED), ("y", Exit.DONE)):
        with person.terminal("agent", "channel", "set", "maurice", "discord", "--allowed-users", "*") as terminal:
            assert "can make wolf-i:hermes:maurice run commands" in terminal.expect("to everybody? [y/N]")
            terminal.type(f"{answer}\n")
            assert terminal.end() == code
    assert on_record(person)["channels"]["discord"]["allowed_users"] == ["*"]


def test_nobody_allowed_is_said(person: Person) -> None:
    discord(person).has("Nobody is allowed to use discord yet", "--allowed-users")


def test_a_token_that_came_another_way_is_looked_at_before_any_connection(person: Person) -> None:
    discord(person)
    person.clm("provider", "add", "local", "--type", "ollama", "--url", "http://192.0.2.9", "--model", "m")
    person.clm("secret", "set", "maurice", "DISCORD_BOT_TOKEN", "--stdin", "--yes", stdin="your-discord-bot")
    said = person.clm("agent", "configure", "maurice", "--provider", "local", code=Exit.REFUSED)
    said.has("DISCORD_BOT_TOKEN is missing or invalid", "three parts").lacks("your-discord-bot")
    # The same for a bot that another agent got in that way.
    person.clm("secret", "set", "agnes", "DISCORD_BOT_TOKEN", "--stdin", stdin=DISCORD_TOKEN)
    channel(person, "enable", "agnes", "discord")
    person.clm("secret", "set", "maurice", "DISCORD_BOT_TOKEN", "--stdin", "--yes", stdin=DISCORD_TOKEN)
    said = person.clm("agent", "configure", "maurice", code=Exit.USAGE)
    said.has("wolf-i:hermes:agnes", "the same Bot token in channel discord").lacks(DISCORD_TOKEN)


def test_types_show_every_channel_and_every_field(person: Person) -> None:
    channel(person, "types").has("whatsapp_cloud", "v2026.7.1", "phone_number_id")
    channel(person, "types", "slack").has("--app-token-file", "none, mentions, all")
    channel(person, "enable", "maurice", "slack", "--help").has("--app-token-file", "--strict-mention").lacks("--imap")


def test_a_report_says_what_is_wrong_and_what_is_open_and_no_token(person: Person) -> None:
    discord(person, "maurice", "--allow-all-users", "--allow-open-access")
    snapshot = State.open(person.state).read()
    [instance] = [each for each in snapshot.instances() if each.agent.name == "maurice"]
    platforms = {
        "api_server": {"state": "connected"},
        "discord": {"state": "retrying", "error_message": f"bad token {DISCORD_TOKEN}\x1b[31m"},
    }
    body = json.dumps({"platforms": platforms})
    seen = with_line("own answer detailed", f"own answer detailed 200 {body}")
    Secret(DISCORD_TOKEN).reveal()
    found = report(snapshot, instance, seen)
    assert (found.state, dict(found.opened)) == ("degraded", {"discord": "allow_all_users lets everybody in"})
    assert found.why.startswith("discord retrying: bad token") and "\x1b" not in found.why
    assert found.channels["discord"].startswith("retrying (") and found.channels["discord"].endswith(" OPEN")
    assert DISCORD_TOKEN not in json.dumps(found.data(), default=str)
