"""
What changes names, takes over another directory or only reads, with encrypted secrets.

Each with a key file, with a command that prints the passphrase, with a passphrase that is asked for, and with nobody
to ask.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Agent, Host, Provider, agent_scope, provider_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.person import Person

from .test_import import Place, era

ROOT = Path(__file__).parents[2]
API_KEY = "0123456789abcdef" * 4
KEY = "HERMES_API_SERVER_KEY"
PASSPHRASE = "correct horse battery"
NOBODY = ("nobody can be asked for it here", "CLM_PASSPHRASE_FILE=FILE")


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with an agent that was never configured, its provider, and a secret of each."""
    person = Person(tmp_path / "config")
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        tx.hosts["wolf-i"].agents["maurice"] = Agent(
            name="maurice", release="v2026.5.7", port=8642, provider="cloud", status="installed"
        )
        tx.secrets.set(agent_scope("wolf-i", "maurice"), KEY, Secret(API_KEY))
        tx.providers["cloud"] = Provider(
            name="cloud", type="custom", options={"url": "http://192.0.2.9/v1", "model": "m"}
        )
        tx.secrets.set(provider_scope("cloud"), "API_KEY", Secret("sk-sentinel-cloud"))
    return person


def with_a_key_file(person: Person, folder: Path) -> None:
    person.clm("secret", "encrypt", "--key-file", str(folder / "key"), "--generate")


def with_a_command(person: Person, folder: Path) -> None:
    program = folder / "stand-in-for-pass"
    program.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
    program.chmod(0o700)
    person.clm("secret", "encrypt", "--command", str(program))


def with_a_passphrase(person: Person) -> None:
    person.clm("secret", "encrypt", "--passphrase-stdin", stdin=PASSPHRASE)


Way = Callable[[Person, Path], None]
unattended = pytest.mark.parametrize("way", [with_a_key_file, with_a_command])


def clawriums(tmp_path: Path) -> str:
    folder = Place(tmp_path).leave(era(), tmp_path / "theirs")
    return str(folder)


@unattended
def test_a_host_is_renamed(person: Person, tmp_path: Path, way: Way) -> None:
    way(person, tmp_path)
    person.clm("host", "rename", "wolf-i", "den").has("Host wolf-i is now den.")
    assert person.clm("secret", "get", "den/maurice", KEY).out == f"{API_KEY}\n"
    assert [row["scope"] for row in person.json("secret", "list")] == ["den:hermes:maurice", "provider:cloud"]
    assert not any(API_KEY.encode() in content for content in person.records().values())


@unattended
def test_another_directory_is_imported(person: Person, tmp_path: Path, way: Way) -> None:
    way(person, tmp_path)
    person.clm("host", "rename", "wolf-i", "den")
    said = person.clm("import", "clawrium", clawriums(tmp_path), "--yes", code=None).lacks("s3ntinel!value")
    said.has("Imported: hosts 1")
    theirs = person.clm("secret", "get", "wolf-i/hermes-test", "DISCORD_BOT_TOKEN")
    assert theirs.out == "s3ntinel!value\n"
    for content in person.records().values():
        assert b"s3ntinel!value" not in content and API_KEY.encode() not in content


@unattended
def test_pyinfra_reads_the_fleet(person: Person, tmp_path: Path, way: Way) -> None:
    way(person, tmp_path)
    said = person.plain_pyinfra(str(ROOT / "inventories/fleet.py"), "debug-inventory")
    said.has("wolf-i", "192.0.2.7", "maurice").lacks(API_KEY, "sentinel")


def test_a_person_is_asked_once_before_anything_is_locked(person: Person, tmp_path: Path) -> None:
    with_a_passphrase(person)
    for arguments, says in (
        (("host", "rename", "wolf-i", "den"), "is now den."),
        (("import", "clawrium", clawriums(tmp_path), "--yes"), "Imported: hosts 1"),
        (("secret", "list"), "den:hermes:maurice"),
    ):
        with person.terminal(*arguments) as terminal:
            terminal.expect(f"Passphrase for {person.state}/secrets.json:")
            person.clm("provider", "list")
            terminal.type(PASSPHRASE + "\n")
            terminal.end()
            assert says in terminal.text and terminal.text.count("Passphrase") == 1


def test_with_nobody_to_ask_the_way_is_named_and_nothing_is_changed(person: Person, tmp_path: Path) -> None:
    with_a_passphrase(person)
    theirs = clawriums(tmp_path)
    before = person.records()
    for arguments in (
        ("host", "rename", "wolf-i", "den"),
        ("import", "clawrium", theirs, "--yes"),
        ("import", "clawrium", theirs, "--dry-run"),
        ("host", "remove", "wolf-i", "--force", "--yes"),
        ("secret", "rekey", "--same"),
        ("secret", "decrypt", "--yes"),
        ("secret", "list"),
    ):
        person.clm(*arguments, code=Exit.USAGE, stdin="").has(*NOBODY)
        assert person.records() == before, shlex.join(arguments)
    person.plain_pyinfra(str(ROOT / "inventories/fleet.py"), "debug-inventory", code=1).has(*NOBODY)
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text(PASSPHRASE)
    person.but(CLM_PASSPHRASE_FILE=str(file)).clm("host", "rename", "wolf-i", "den").has("is now den.")


def test_after_encrypting_no_value_is_left_that_is_not_said(tmp_path: Path) -> None:
    """Clawrium's directory, imported in place, changed, and damaged once: then encrypted."""
    place = Place(tmp_path)
    place.leave(era())
    person = Person(tmp_path / "person").but(XDG_CONFIG_HOME=str(tmp_path))
    person.state = place.ours
    person.clm("import", "clawrium", "--yes", code=None).has("with its secrets in the clear")
    for number in range(3):
        person.clm("secret", "set", "hermes-test", "EXTRA", "--stdin", "--yes", stdin=f"s3ntinel!value-{number}")
    copy = place.ours / "generations" / "secrets.json.mine"
    copy.write_bytes(place.ours.joinpath("secrets.json").read_bytes())
    notes = place.ours / "notes.txt"
    notes.write_text("the token is s3ntinel!value")
    hosts = json.loads(place.ours.joinpath("hosts.json").read_text())
    hosts["hosts"]["wolf-i"]["agents"]["hermes-test"]["environment"] = {"X": "s3ntinel!value"}
    place.ours.joinpath("hosts.json").write_text(json.dumps(hosts))

    said = person.clm("secret", "encrypt", "--key-file", str(tmp_path / "key"), "--generate")

    left = {path for path in place.ours.rglob("*") if path.is_file() and b"s3ntinel!value" in path.read_bytes()}
    [theirs] = place.ours.glob("imported-from-clawrium-*/secrets.json")
    assert left == {copy, notes, theirs, place.ours / "hosts.json"}
    for path in (copy, notes, theirs):
        said.has(f"Warning: {path} holds secrets in the open. When you no longer need it: rm {path}")
    said.has(f"in {place.ours}/hosts.json the value of a secret stands as an ordinary setting")
    said.lacks("The plain text is gone from the directory", "s3ntinel")
    assert person.json("secret", "status")["strays"] == [str(copy), str(theirs)]
