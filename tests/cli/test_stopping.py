"""Ctrl-C at a question ends a command with 130, and what is said then is true."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pyinfra_hermes.cli import main
from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Agent, Host, Integration, Provider
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.cli.test_import import digests, era, write
from tests.lab.clm import Terminal

_UNTOUCHED = "Interrupted. Nothing was changed."


class Place:
    """A configuration home, and ``clm`` at a terminal that uses it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "clawrium"

    def stopped(self, *arguments: str, at: str) -> tuple[int, str]:
        """Run a command until it asks ``at``, press Ctrl-C, and return its exit code and what it had said."""
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.home), "HOME": str(self.home)}
        with Terminal([sys.executable, "-m", "pyinfra_hermes.cli", *arguments], environment) as terminal:
            terminal.expect(at)
            terminal.type("\x03")
            return terminal.end(), terminal.text


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    with State.open(found.state).transaction() as tx:
        agent = Agent(
            name="maurice", release="v2026.5.7", port=8642, provider="local", integrations=("jira",), status="installed"
        )
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.10", user="root", agents={"maurice": agent})
        tx.providers["local"] = Provider(
            name="local", type="ollama", options={"url": "http://192.0.2.20:11434", "model": "m"}
        )
        tx.integrations["jira"] = Integration(name="jira", type="atlassian", options={"url": "https://w.atlassian.net"})
        tx.secrets.set("wolf-i:hermes:maurice", "HERMES_API_SERVER_KEY", Secret("ab" * 32))
        tx.secrets.set("wolf-i:hermes:maurice", "SLACK_BOT_TOKEN", Secret("xoxb-1234567890-abc"))
    with State.open(found.state).transaction() as tx:
        tx.providers["local"].options["model"] = "n"
    return found


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        (["host", "remove", "wolf-i", "--force"], "[y/N]"),
        (["secret", "set", "maurice", "DISCORD_BOT_TOKEN"], "DISCORD_BOT_TOKEN of"),
        (["secret", "remove", "maurice", "SLACK_BOT_TOKEN"], "[y/N]"),
        (["secret", "encrypt"], "assphrase"),
        (["provider", "add", "far", "--type", "openrouter"], ":"),
        (["provider", "remove", "local", "--force"], "[y/N]"),
        (["integration", "remove", "jira", "--force"], "[y/N]"),
    ],
    ids=" ".join,
)
def test_at_the_first_question_nothing_was_changed(place: Place, arguments: list[str], at: str) -> None:
    before = digests(place.state)
    code, said = place.stopped(*arguments, at=at)
    assert (code, "Traceback" in said) == (Exit.INTERRUPTED, False), said
    assert _UNTOUCHED in said
    assert digests(place.state) == before


def test_a_restoration_that_is_stopped_leaves_the_damaged_file(place: Place) -> None:
    write(place.state / "providers.json", "{")
    before = digests(place.state)
    code, said = place.stopped("state", "restore", at="[y/N]")
    assert (code, _UNTOUCHED in said) == (Exit.INTERRUPTED, True), said
    assert digests(place.state) == before


def test_once_something_was_changed_the_other_sentence_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import click
    from click.testing import CliRunner

    @click.command()
    def half() -> None:
        with State.open(tmp_path / "clawrium").transaction() as tx:
            tx.hosts["den"] = Host(name="den", address="192.0.2.11", user="root")
        raise click.Abort

    monkeypatch.setattr(main, "cli", half)
    # It would stay for the tests after this one.
    monkeypatch.setattr("pyinfra_hermes.deploys.redacting.install", lambda: None)
    with CliRunner().isolation() as (_, err, _):
        assert main.run([]) == Exit.INTERRUPTED
        assert b"Nothing is lost: the same command carries on." in err.getvalue()


def test_an_import_that_is_stopped_leaves_their_files(tmp_path: Path) -> None:
    found = Place(tmp_path)
    found.state.mkdir(mode=0o700)
    for name, document in era().items():
        write(found.state / f"{name}.json", json.dumps(document))
    before = digests(found.state)
    code, said = found.stopped("import", "clawrium", at="Import this?")
    assert (code, _UNTOUCHED in said) == (Exit.INTERRUPTED, True), said
    assert digests(found.state) == before
