"""`clm agent variable` and `clm agent config`: what goes on record, what is secret, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Agent, Host, StageResult, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.person import Person


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with an agent that was proven."""
    person = Person(tmp_path)
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        agent = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed")
        agent.onboarding["validate"] = StageResult(status="done")
        tx.hosts["wolf-i"].agents["maurice"] = agent
        tx.secrets.set(agent_scope("wolf-i", "maurice"), "HERMES_API_SERVER_KEY", Secret("0f" * 32))
    return person


def record(person: Person) -> Any:
    return json.loads(person.state.joinpath("hosts.json").read_text())["hosts"]["wolf-i"]["agents"]["maurice"]


def secrets(person: Person) -> dict[str, str]:
    held = json.loads(person.state.joinpath("secrets.json").read_text())["wolf-i:hermes:maurice"]
    return {name: entry["value"] for name, entry in held.items()}


def test_a_variable_is_set_listed_and_unset(person: Person) -> None:
    said = person.clm("agent", "variable", "set", "maurice", "TZ", "Europe/Berlin")
    said.has("is on record", "clm agent configure maurice")
    assert record(person)["environment"] == {"TZ": "Europe/Berlin"}
    assert "validate" not in record(person)["onboarding"]
    person.clm("agent", "variable", "set", "maurice", "TZ", "Europe/Berlin").has("already; nothing to do")
    person.clm("agent", "variable", "list", "maurice").has("TZ", "Europe/Berlin")
    person.clm("agent", "variable", "set", "maurice", "X_API_KEY=sk-4711", code=2).has("two words").lacks("sk-4711")
    person.clm("agent", "variable", "unset", "maurice", "TZ").has("is off the record", "clm agent configure maurice")
    person.clm("agent", "variable", "unset", "maurice", "TZ").has("nothing to do")
    person.clm("agent", "variable", "list", "maurice").has("No variables.")


def test_a_secret_variable_is_kept_with_the_secrets_and_never_shown(person: Person) -> None:
    person.clm("agent", "variable", "set", "maurice", "TAVILY_API_KEY", "--stdin", stdin="sk-sentinel\n")
    assert secrets(person)["TAVILY_API_KEY"] == "sk-sentinel"
    assert record(person)["secret_environment"] == ["TAVILY_API_KEY"]
    assert "sentinel" not in person.state.joinpath("hosts.json").read_text()
    person.clm("agent", "variable", "list", "maurice").has("TAVILY_API_KEY", "(secret)").lacks("sentinel")
    assert person.json("agent", "variable", "list", "maurice") == [
        {"name": "TAVILY_API_KEY", "value": None, "secret": True}
    ]
    person.clm("agent", "variable", "unset", "maurice", "TAVILY_API_KEY")
    assert "TAVILY_API_KEY" not in secrets(person)
    assert record(person)["secret_environment"] == []


def test_a_variable_may_become_secret_and_open_again(person: Person, tmp_path: Path) -> None:
    person.clm("agent", "variable", "set", "maurice", "HTTPS_PROXY", "http://proxy:1")
    person.clm("agent", "variable", "set", "maurice", "HTTPS_PROXY", "--stdin", "--secret", stdin="http://u:sentinel@p")
    assert (record(person)["environment"], secrets(person)["HTTPS_PROXY"]) == ({}, "http://u:sentinel@p")
    (tmp_path / "value").write_text("http://proxy:2\n")
    person.clm("agent", "variable", "set", "maurice", "HTTPS_PROXY", "--file", str(tmp_path / "value"))
    assert record(person)["environment"] == {"HTTPS_PROXY": "http://proxy:2"}
    assert "HTTPS_PROXY" not in secrets(person)


def test_a_secret_is_no_argument(person: Person) -> None:
    said = person.clm("agent", "variable", "set", "maurice", "TAVILY_API_KEY", "sk-sentinel", code=Exit.USAGE)
    said.has("--stdin").lacks("sentinel")
    person.clm("agent", "variable", "set", "maurice", "TAVILY_API_KEY", code=Exit.USAGE).has("--stdin")
    person.clm("agent", "variable", "set", "maurice", "TZ", "a", "--stdin", code=Exit.USAGE, stdin="b")
    assert list(secrets(person)) == ["HERMES_API_SERVER_KEY"]


def test_a_secret_is_asked_for_at_a_terminal(person: Person) -> None:
    with person.terminal("agent", "variable", "set", "maurice", "TAVILY_API_KEY") as terminal:
        terminal.expect("TAVILY_API_KEY")
        terminal.type("sk-sentinel\n")
        terminal.expect("Once more")
        terminal.type("sk-sentinel\n")
        assert terminal.end() == 0
        assert "sentinel" not in terminal.text
    assert secrets(person)["TAVILY_API_KEY"] == "sk-sentinel"


@pytest.mark.parametrize("name", ["API_SERVER_HOST", "HERMES_HOME", "DISCORD_BOT_TOKEN", "PATH", "FOO"])
def test_what_may_not_be_set_is_refused_and_not_recorded(person: Person, name: str) -> None:
    before = person.records()
    person.clm("agent", "variable", "set", "maurice", name, "x", code=Exit.USAGE).has(name)
    assert person.records() == before


def test_a_leaf_is_set_listed_and_unset(person: Person) -> None:
    person.clm("agent", "config", "set", "maurice", "agent.max_turns", "50").has("clm agent configure maurice")
    assert record(person)["config"] == {"agent.max_turns": 50}
    assert "validate" not in record(person)["onboarding"]
    person.clm("agent", "config", "set", "maurice", "agent.max_turns", "50").has("already; nothing to do")
    person.clm("agent", "config", "set", "maurice", '["x", "a.b"]', '{"c": [1, "on", null, 2.5]}')
    assert person.json("agent", "config", "list", "maurice") == [
        {"path": '["x", "a.b"]', "value": {"c": [1, "on", None, 2.5]}},
        {"path": "agent.max_turns", "value": 50},
    ]
    person.clm("agent", "config", "list", "maurice").has("agent.max_turns", "50")
    person.clm("agent", "config", "unset", "maurice", '["x","a.b"]').has("is off the record.")
    person.clm("agent", "config", "unset", "maurice", "agent.max_turns")
    person.clm("agent", "config", "unset", "maurice", "agent.max_turns").has("nothing to do")
    person.clm("agent", "config", "list", "maurice").has("No settings of its own.")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.default", "x"),
        ("mcp_servers.x", "{}"),
        ("web.api_key", "sk-sentinel"),
        ("a.b", "2026-01-01"),
        ("x", "1"),
    ],
)
def test_a_leaf_that_may_not_be_set_is_refused(person: Person, path: str, value: str) -> None:
    before = person.records()
    person.clm("agent", "config", "set", "maurice", path, value, code=Exit.USAGE).lacks("sentinel")
    assert person.records() == before


def test_leaves_lie_beside_each_other(person: Person) -> None:
    person.clm("agent", "config", "set", "maurice", "a.b", "1")
    person.clm("agent", "config", "set", "maurice", "a", '{"c": 1}', code=Exit.USAGE).has("a.b lies in a")
    person.clm("agent", "config", "set", "maurice", "a.b", "true").lacks("nothing to do")
    assert record(person)["config"] == {"a.b": True}
