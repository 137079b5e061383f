"""`clm ps` and `clm doctor` where no host is asked: choices, names, the watch at a terminal, and this machine."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Agent, Host
from pyinfra_hermes.cli.state.store import State
from tests.lab.clm import Terminal
from tests.lab.person import Person


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with two hosts that nobody would reach, and no ssh to try it with."""
    person = Person(tmp_path / "config")
    with State.open(person.state).transaction() as tx:
        for host, tags in (("den", ("lab",)), ("wolf-i", ())):
            tx.hosts[host] = Host(name=host, address="192.0.2.7", user="root", tags=tags)
            for number, name in enumerate(("agnes", "maurice")):
                agent = Agent(name=name, release="v2026.5.7", port=8642 + number, status="installed")
                tx.hosts[host].agents[name] = agent
    return person


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["den/agnes", "den/maurice", "wolf-i/agnes", "wolf-i/maurice"]),
        (("--limit", "maur*"), ["den/maurice", "wolf-i/maurice"]),
        (("-l", "den/*", "-l", "agnes"), ["den/agnes", "den/maurice", "wolf-i/agnes"]),
        (("--tag", "lab"), ["den/agnes", "den/maurice"]),
        (("--host", "wolf-i", "--limit", "agnes"), ["wolf-i/agnes"]),
        (("--limit", "nobody"), []),
    ],
)
def test_names_are_told_without_asking_a_host(person: Person, words: tuple[str, ...], names: list[str]) -> None:
    # A connection would take four seconds to fail, and say so.
    said = person.clm("ps", "-o", "name", *words)
    assert (said.out.splitlines(), said.err) == (names, "")


def test_what_makes_no_sense_is_refused(person: Person) -> None:
    person.clm("ps", "--state", "fine", code=Exit.USAGE).has("There is no state 'fine'; there are: running, drifted")
    person.clm("ps", "--host", "dem", code=Exit.USAGE).has("There is no host 'dem'; did you mean den?")
    person.clm("ps", "--watch", code=Exit.USAGE).has("--watch is for a terminal", "clm ps -o json")
    person.clm("ps", "--watch", "0", code=Exit.USAGE)
    person.clm("ps", "--limit", "nobody").has("No agent matches.")
    person.clm("agent", "doctor", "maurise", code=Exit.USAGE).has("did you mean maurice?")


def test_the_watch_draws_over_itself_until_it_is_stopped(tmp_path: Path) -> None:
    person = Person(tmp_path / "config")
    with person.terminal("ps", "--watch", "1") as terminal:
        terminal.expect("Every 1 s until Ctrl-C")
        terminal.expect("No agents. Install one with: clm agent install")
        terminal.expect("Every 1 s until Ctrl-C")
        terminal.type("\x03")
        assert terminal.end() == Exit.DONE
    assert terminal.text.endswith("\n"), "what is typed next begins a line"


def test_a_watch_follows_the_terminals_size(tmp_path: Path) -> None:
    person = Person(tmp_path / "config")
    with person.terminal("ps", "--watch", "600") as terminal:
        terminal.expect("No agents. Install one with: clm agent install --type hermes --host HOST --name NAME")
        terminal.resize(3, 40)
        # What is said and the command that mends it are two lines now, and there is room for neither.
        terminal.expect("... and 2 more lines", seconds=20)
        terminal.type("\x03")
        assert terminal.end() == Exit.DONE


def test_where_nothing_can_be_drawn_over_the_watch_goes_on_below(tmp_path: Path) -> None:
    person = Person(tmp_path / "config")
    with Terminal(person.command("ps", "--watch", "1"), person.environment, term="dumb") as terminal:
        terminal.expect("No agents.")
        terminal.expect("No agents.")
        terminal.type("\x03")
        assert terminal.end() == Exit.DONE
        assert "\x1b" not in terminal.raw


def test_the_doctor_of_this_machine_names_what_mends_it(person: Person) -> None:
    said = person.clm("doctor", "--local", "-o", "json", code=Exit.UNHEALTHY)
    found = {(each["check"], each["level"]): each for each in json.loads(said.out)}
    assert ("ssh", "ok") in found
    # Of neither host a key is trusted.
    assert "clm host trust" in found["state", "fail"]["remedy"]
    (person.state / "hosts.json").chmod(0o644)
    person.clm("doctor", "--local", code=Exit.UNHEALTHY).has("hosts.json", "chmod 600", "fail")
    person.clm("doctor", code=Exit.FAILED).has("open to other users", "chmod 600")


def test_the_doctor_of_a_machine_on_which_nothing_is_known_is_content(tmp_path: Path) -> None:
    person = Person(tmp_path / "config")
    person.clm("doctor").has("nothing is on record yet", "clm host add", "0 fail").lacks("\nhost ")


def test_at_a_terminal_it_is_said_which_host_is_waited_for(person: Person) -> None:
    # It takes every connection, and never says a word.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with State.open(person.state).transaction() as tx:
            for name in ("den", "wolf-i"):
                tx.hosts[name] = tx.hosts[name].model_copy(
                    update={"address": "127.0.0.1", "port": silent.getsockname()[1]}
                )
        with person.terminal("ps") as terminal:
            terminal.expect("0 of 2 hosts have answered; waiting for den, wolf-i")
            terminal.expect("unreachable")
            assert terminal.end() == Exit.UNREACHABLE
        person.clm("ps", code=Exit.UNREACHABLE).lacks("waiting for")
