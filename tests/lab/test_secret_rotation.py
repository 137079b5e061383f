"""A new API key for a real agent: the old one is dead on the host, whatever happens in between."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from tests.lab.clm import FLEET, counted
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person

KEY = "HERMES_API_SERVER_KEY"
NEXT = f"{KEY}_NEXT"
ENV = "/home/maurice/.hermes/.env"


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("person"))


@pytest.fixture(scope="module")
def maurice(person: Person, host: Machine, _model_server: StandInModel) -> Machine:
    """A host on which the agent maurice runs, on record as `box`."""
    person.add_host(host, "box")
    person.clm("provider", "add", "model", "--type", "ollama", "--url", _model_server.url, "--model", "stand-in")
    person.clm("agent", "install", "--host", "box", "--name", "maurice")
    person.clm("agent", "configure", "maurice", "--provider", "model")
    return host


def on_record(person: Person) -> dict[str, str]:
    secrets = json.loads(person.state.joinpath("secrets.json").read_text())["box:hermes:maurice"]
    return {key: entry["value"] for key, entry in secrets.items()}


def answer(machine: Machine, key: str) -> str:
    script = (
        'read -r key; printf \'header = "Authorization: Bearer %s"\' "$key" | '
        "curl -s -o /dev/null -w '%{http_code}' -K - http://127.0.0.1:8642/v1/models || :"
    )
    return machine.ssh(script, input=f"{key}\n").stdout.strip()


def test_the_old_key_is_dead_and_the_new_one_works(person: Person, maurice: Machine, model: StandInModel) -> None:
    old = on_record(person)[KEY]
    assert answer(maurice, old) == "200"
    said = person.clm("secret", "rotate", "maurice")
    new = on_record(person)[KEY]
    assert new != old and NEXT not in on_record(person)
    assert (answer(maurice, old), answer(maurice, new)) == ("401", "200")
    said.has("has a new API key. Its host accepts it, and answers the old one with 401.")
    said.has("clm secret get box/maurice HERMES_API_SERVER_KEY", 'jq -r \'.["box:hermes:maurice"].')
    said.lacks(old, new)
    person.clm("chat", "maurice", "--once", "Hello?").has('I read "Hello?"')
    assert person.clm("secret", "get", "maurice", KEY).out == f"{new}\n"
    person.clm("ps").has("running").lacks("drifted")
    person.clm("agent", "configure", "maurice").has("nothing to do")


@pytest.mark.parametrize(
    "moment",
    [
        lambda person, machine, old: NEXT in on_record(person),
        lambda person, machine, old: old not in machine.ssh(f"cat {ENV}").stdout,
        lambda person, machine, old: old not in machine.ssh(f"cat {ENV}").stdout and answer(machine, old) == "401",
    ],
    ids=["recorded", "written", "in force"],
)
def test_a_rotation_that_is_killed_is_gone_on_with(
    person: Person, maurice: Machine, model: StandInModel, moment: Callable[[Person, Machine, str], bool]
) -> None:
    old = on_record(person)[KEY]
    running = person.start("secret", "rotate", "maurice")
    deadline = time.monotonic() + 120
    while not moment(person, maurice, old) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    held = on_record(person)
    # Killed too late, it had finished: then there is nothing to go on with, and the next one is a rotation of its own.
    begun = held.get(NEXT)
    if begun is not None:
        assert held[KEY] == old
        # Operations that were under way on the host end by themselves.
        text = maurice.ssh(f"cat {ENV}").stdout
        assert old in text or begun in text, "the host has a key that is not on record"
    said = person.clm("secret", "rotate", "maurice")
    if begun is not None:
        said.has("Going on with the rotation that was begun before.")
        assert on_record(person)[KEY] == begun
    assert NEXT not in on_record(person)
    assert (answer(maurice, old), answer(maurice, on_record(person)[KEY])) == ("401", "200")
    person.clm("chat", "maurice", "--once", "Hello?").has('I read "Hello?"')


def test_after_a_rotation_that_was_killed_configure_puts_the_old_key_back(
    person: Person, maurice: Machine, model: StandInModel
) -> None:
    old = on_record(person)[KEY]
    running = person.start("secret", "rotate", "maurice")
    while old in maurice.ssh(f"cat {ENV}").stdout and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    if NEXT in on_record(person):
        person.clm("agent", "configure", "maurice")
        assert answer(maurice, old) == "200"
        person.clm("chat", "maurice", "--once", "Hello?").has('I read "Hello?"')
        person.clm("secret", "rotate", "maurice")
    assert answer(maurice, old) == "401"


def test_a_host_that_is_away_keeps_its_key(person: Person, maurice: Machine, model: StandInModel) -> None:
    before = person.records()
    maurice.unplug()
    try:
        person.clm("secret", "rotate", "maurice", code=Exit.UNREACHABLE)
    finally:
        maurice.plug()
    assert person.records() == before
    assert answer(maurice, on_record(person)[KEY]) == "200"


def test_everything_works_with_encrypted_secrets(
    person: Person, maurice: Machine, model: StandInModel, tmp_path: Path
) -> None:
    old = on_record(person)[KEY]
    key = tmp_path / "key"
    person.clm("secret", "encrypt", "--key-file", str(key), "--generate")
    assert not any(old.encode() in content for content in person.records().values())
    person.clm("chat", "maurice", "--once", "Hello?").has('I read "Hello?"')
    person.clm("agent", "configure", "maurice").has("nothing to do")
    person.clm("secret", "rotate", "maurice").lacks("jq -r")
    new = person.clm("secret", "get", "maurice", KEY).out.strip()
    assert (answer(maurice, old), answer(maurice, new)) == ("401", "200")
    # Plain pyinfra finds the way in as clm does, and has nothing to do after it.
    assert counted(person.pyinfra(*FLEET, "-y").stderr)[:2] == (0, 0)
    away = key.rename(tmp_path / "away")
    listed = person.clm("ps")
    listed.has("running", "Drift is not known: The key file")
    assert [row["drift"] for row in person.json("ps")] == [None]
    person.clm("agent", "status", "maurice").has("not known: The key file")
    assert "CLM_KEY_FILE=FILE" in person.pyinfra(*FLEET, "-y", exit=1).output
    person.clm("agent", "stop", "maurice")
    person.clm("agent", "start", "maurice", code=Exit.USAGE).has("CLM_KEY_FILE=FILE")
    away.rename(key)
    person.clm("agent", "start", "maurice")
    phrase = tmp_path / "phrase"
    phrase.write_text("a phrase of several words\n")
    phrase.chmod(0o600)
    person.clm("secret", "decrypt", "--yes")
    person.clm("secret", "encrypt", "--command", f"cat {phrase}")
    assert counted(person.pyinfra(*FLEET, "-y").stderr)[:2] == (0, 0)
    elsewhere = {"CLM_PASSPHRASE_FILE": str(phrase.rename(tmp_path / "moved"))}
    assert "gave none" in person.pyinfra(*FLEET, "-y", exit=1).output
    person = person.but(**elsewhere)
    assert counted(person.pyinfra(*FLEET, "-y").stderr)[:2] == (0, 0)
    person.clm("secret", "decrypt", "--yes")
    assert on_record(person)[KEY] == new
    person.clm("chat", "maurice", "--once", "Hello?").has('I read "Hello?"')
