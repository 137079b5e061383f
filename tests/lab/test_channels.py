"""Channels on a real host: nobody at the other end, somebody who refuses the tokens, a change, and off again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from typing_extensions import override

from pyinfra_hermes.cli.exits import Exit
from tests.channels import DISCORD_TOKEN, SLACK_APP_TOKEN, SLACK_BOT_TOKEN
from tests.lab.clm import built_release
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person, Said
from tests.lab.services import Authority
from tests.lab.serving import Asked, Server
from tests.lab.test_no_secret_escapes import root_of
from tests.lab.watcher import Hit, Watcher

NAMES = ("discord.com", "slack.com")
SECRETS = {"Discord": DISCORD_TOKEN, "Slack": SLACK_BOT_TOKEN, "Slack's app": SLACK_APP_TOKEN}
HERMES = "/home/eve/.hermes"
_TRUST = "/usr/local/share/ca-certificates/lab.crt"
# Everything but .env, where they belong, and the search itself.
_SEARCH = r"""
umask 077
cat >/root/.wanted <<'WANTED'
@WANTED@
WANTED
grep -rlaFf /root/.wanted /home /etc /tmp /var /run /root --exclude=.wanted --exclude-dir=journal 2>/dev/null
journalctl --no-pager --output=export | grep -aFf /root/.wanted
rm /root/.wanted
"""


class Refusing(Server):
    """Knows no token, in the words of either service."""

    @override
    def handle(self, asked: Asked) -> tuple[int, str, bytes]:
        discord = asked.host.startswith("discord")
        said: Any = {"message": "401: Unauthorized", "code": 0} if discord else {"ok": False, "error": "invalid_auth"}
        return 401 if discord else 200, "application/json", json.dumps(said).encode()


@dataclass
class Story:
    """What was said at each step."""

    said: dict[str, Said] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    hits: list[Hit] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)

    def see(self, step: str, person: Person, machine: Machine) -> None:
        self.status[step] = json.loads(person.clm("agent", "status", "eve", "-o", "json", code=None).out)
        self.files[step] = machine.ssh(f"cat {HERMES}/.env {HERMES}/config.yaml").stdout
        search = _SEARCH.replace("@WANTED@", "\n".join(SECRETS.values()))
        self.found[step] = machine.ssh("sh -s", input=search, check=False).stdout.splitlines()


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, hosts: Callable[..., list[Machine]], lab: Lab, _model_server: StandInModel
) -> Story:
    [machine] = hosts(1, layer=built_release(lab))
    folder = tmp_path_factory.mktemp("channels")
    person, told = Person(folder / "person"), Story()
    authority = Authority(folder)
    machine.ssh("sh", "-c", f"cat >{_TRUST} && update-ca-certificates", input=authority.pem)
    for name, token in {"bot": SLACK_BOT_TOKEN, "app": SLACK_APP_TOKEN}.items():
        (folder / name).write_text(f"{token}\n")

    def resolve_to(address: str) -> None:
        lines = "".join(f"{address} {name}\n" for name in NAMES)
        machine.ssh("sh", "-c", "sed -i '/com$/d' /etc/hosts; cat >>/etc/hosts", input=lines)

    watched = [root_of(machine) / name for name in ("tmp", "var/tmp", "dev/shm", "run/user")]
    with Watcher(SECRETS, [*watched, person.temporary], spared=("/hermes-eve.service",)) as watcher:
        resolve_to("127.0.0.1")
        person.add_host(machine)
        person.add_provider(_model_server)
        person.install("eve")
        channel = ("agent", "channel")
        told.said["discord"] = person.clm(
            *channel, "enable", "eve", "discord", "--bot-token-stdin", stdin=f"{DISCORD_TOKEN}\n"
        )
        slack = (
            *channel, "enable", "eve", "slack", "--allowed-users", "U012ABCDEF,*",
            "--bot-token-file", str(folder / "bot"), "--app-token-file", str(folder / "app"),
        )  # fmt: skip
        told.said["open"] = person.clm(*slack, code=Exit.USAGE)
        told.said["slack"] = person.clm(*slack, "--allow-open-access")
        told.said["configure"] = person.clm("agent", "configure", "eve", "--provider", "local")
        told.see("closed", person, machine)
        told.said["ps"] = person.clm("ps")
        told.said["test closed"] = person.clm(*channel, "test", "eve", code=Exit.FAILED)

        resolve_to(lab.run.bridge.address)
        with closing(Refusing(lab.run.bridge.address, 443, authority.context(*NAMES))):
            told.said["test refused"] = person.clm(*channel, "test", "eve", code=Exit.UNHEALTHY)
            told.said["set"] = person.clm(
                *channel, "set", "eve", "discord", "--no-require-mention", "--allowed-users", "234567890123456789"
            )
            told.said["apply"] = person.clm("agent", "configure", "eve", "--skip-chat")
            told.see("refused", person, machine)

        told.said["off"] = person.clm(*channel, "disable", "eve", "discord", "slack", "--forget")
        told.said["apply off"] = person.clm("agent", "configure", "eve", "--skip-chat")
        told.see("off", person, machine)
    told.hits = watcher.hits
    told.found["state"] = [
        name for name, content in person.records().items() if any(s.encode() in content for s in SECRETS.values())
    ]
    return told


def test_a_channel_is_on_record_and_says_what_is_still_to_be_done(story: Story) -> None:
    story.said["discord"].has("Nobody is allowed to use discord yet", "clm agent configure eve")
    story.said["open"].has("'*' in allowed_users lets everybody in", "--allow-open-access")
    story.said["slack"].has("Channel slack is on")


def test_the_agent_serves_though_nobody_is_at_the_other_end(story: Story) -> None:
    """The proof at the end of configure is a chat with the agent."""
    story.said["configure"].has("configured, runs and answers")
    for name in ("discord", "slack"):
        story.said["configure"].has(f"Warning: channel {name} is not connected: retrying", f"/eve {name}")
    status = story.status["closed"]
    assert (status["healthy"], status["state"]) == (True, "degraded")
    assert status["channels"]["api_server"] == "connected"
    assert {status["channels"][name] for name in ("discord", "slack")} == {"retrying"}
    assert "discord retrying" in status["why"] and "slack retrying" in status["why"]
    assert status["channel_complaints"]["discord"] and status["channel_complaints"]["slack"]
    assert status["open"] == {"slack": "'*' in allowed_users lets everybody in"}
    story.said["ps"].has("degraded", "discord retrying", "slack OPEN")
    story.said["test closed"].has("refused", "discord.com does not take connections at port 443")


def test_a_refused_token_is_shown_as_such(story: Story) -> None:
    status = story.status["refused"]
    assert (status["healthy"], status["state"], status["drift"]) == (True, "degraded", [])
    assert status["channels"]["discord"] != "connected" and status["channels"]["slack"] != "connected"
    story.said["test refused"].has(
        "Discord refuses the Bot token: 401: Unauthorized", "Slack refuses the Bot token: it does not know it"
    )


def test_a_changed_setting_arrives(story: Story) -> None:
    assert "DISCORD_REQUIRE_MENTION" not in story.files["closed"]
    assert "DISCORD_REQUIRE_MENTION=false\n" in story.files["refused"]
    assert "DISCORD_ALLOWED_USERS=234567890123456789\n" in story.files["refused"]
    assert DISCORD_TOKEN in story.files["refused"]


def test_a_channel_that_is_off_leaves_nothing(story: Story) -> None:
    assert not [word for word in ("DISCORD", "SLACK", "discord", "slack", "PLATFORM") if word in story.files["off"]]
    status = story.status["off"]
    assert (status["state"], status["channels"], status["open"]) == ("running", {"api_server": "connected"}, {})
    assert story.found["off"] == []
    assert not [name for name in story.found["state"] if name == "secrets.json"]


def test_no_token_was_seen_where_it_does_not_belong(story: Story) -> None:
    assert story.hits == []
    assert {line for step in ("closed", "refused") for line in story.found[step]} == {f"{HERMES}/.env"}
    for said in story.said.values():
        said.lacks(*SECRETS.values())
