"""Connections that stay open after a look at a host: they are used again, and stand in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Agent
from pyinfra_hermes.cli.state.store import State
from tests.lab.clm import fingerprint, logins
from tests.lab.machine import Machine
from tests.lab.person import Person
from tests.lab.process import wait_until


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]]) -> Machine:
    return hosts(1)[0]


@pytest.fixture
def runtime() -> Iterator[Path]:
    """What a session of systemd-logind gives its user."""
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def person(tmp_path: Path, host: Machine, runtime: Path) -> Iterator[Person]:
    """Somebody with an agent on record of which the host has nothing: asking for it is all that matters here."""
    person = Person(tmp_path / "config").but(CLM_SSH_PERSIST="20", XDG_RUNTIME_DIR=str(runtime))
    person.clm("host", "add", "den", "--address", host.address, "--user", "admin", "--identity-file", str(host.key),
               "--host-key-fingerprint", fingerprint(host))  # fmt: skip
    with State.open(person.state).transaction() as tx:
        tx.hosts["den"].agents["maurice"] = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed")
    yield person
    for pid in masters(runtime):
        os.kill(pid, signal.SIGKILL)


def masters(runtime: Path) -> list[int]:
    """The processes that keep connections."""
    found = subprocess.run(["pgrep", "-f", f"ssh: {runtime}/clm/ssh-"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def look(person: Person) -> float:
    """Look at the fleet, and return how long it took."""
    began = time.monotonic()
    person.clm("ps").has("missing", "nothing of it is on the host")
    return time.monotonic() - began


def test_the_next_look_needs_no_new_connection(person: Person, host: Machine, runtime: Path) -> None:
    before = logins(host)
    # It reads what the command prints to the end: what is kept must not hold on to it.
    assert look(person) < 15
    assert logins(host) == before + 1
    (folder,) = runtime.iterdir()
    (socket,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, socket.stat().st_mode & 0o777) == (0o700, 0o600)
    look(person)
    person.clm("agent", "status", "maurice", code=None).has("missing")
    assert (logins(host), len(masters(runtime))) == (before + 1, 1)
    # Whoever wants none has none.
    look(person.but(CLM_SSH_PERSIST="0"))
    assert logins(host) == before + 2
    # What proves a login does log in.
    person.clm("host", "check", "den")
    assert logins(host) > before + 2


def test_it_goes_when_nobody_uses_it(person: Person, runtime: Path) -> None:
    look(person.but(CLM_SSH_PERSIST="1"))
    assert wait_until(lambda: not masters(runtime), seconds=10)
    assert list((runtime / "clm").iterdir()) == []
    look(person)


def test_looks_at_the_same_time_do_not_hinder_each_other(person: Person, runtime: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: look(person), range(6)))
    assert len(masters(runtime)) == 1


def test_a_host_that_is_gone_is_noticed_and_so_is_its_return(person: Person, host: Machine) -> None:
    look(person)
    host.unplug()
    try:
        began = time.monotonic()
        # Why is told as it is where nothing was kept.
        said = person.clm("ps", code=Exit.UNREACHABLE).has("den: unreachable: cannot connect to admin@", ": ssh: ")
        assert time.monotonic() - began < 12, said
        person.clm("ps", code=Exit.UNREACHABLE).has("den: unreachable: cannot connect to admin@")
    finally:
        host.plug()
    look(person)


def test_a_host_that_was_started_anew_is_reached_anew(person: Person, host: Machine) -> None:
    look(person)
    host.kill()
    host.start()
    look(person)
    look(person)


def test_one_whose_server_ended_it_is_reached_anew(person: Person, host: Machine) -> None:
    look(person)
    host.ssh("pkill -f '^sshd: admin@notty'")
    look(person)


def test_a_connection_is_for_those_who_were_trusted_then(person: Person, host: Machine, runtime: Path) -> None:
    look(person)
    known = person.state / "known_hosts"
    trusted = known.read_text()
    known.write_text("")
    person.clm("ps", code=Exit.UNREACHABLE).has("is not trusted yet")
    known.write_text(trusted + "# a line more\n")
    before = logins(host)
    look(person)
    assert logins(host) == before + 1


def test_one_that_was_stopped_is_left_alone(person: Person, runtime: Path) -> None:
    look(person)
    (pid,) = masters(runtime)
    os.kill(pid, signal.SIGSTOP)
    assert look(person) < 10
    os.kill(pid, signal.SIGCONT)
    look(person)
    assert masters(runtime) == [pid]


def test_one_whose_holder_was_killed_is_opened_anew(person: Person, runtime: Path) -> None:
    look(person)
    (pid,) = masters(runtime)
    os.kill(pid, signal.SIGKILL)
    look(person)
    assert masters(runtime) not in ([], [pid])


def test_where_others_could_open_it_none_is_kept(person: Person, runtime: Path) -> None:
    (runtime / "clm").mkdir(mode=0o755)
    look(person)
    assert (masters(runtime), list((runtime / "clm").iterdir())) == ([], [])
    look(person.but(XDG_RUNTIME_DIR=str(runtime / "absent")))
    look(person.but(XDG_RUNTIME_DIR=str(runtime / ("long" * 30))))


def test_where_no_socket_can_be_made_none_is_kept(person: Person, runtime: Path) -> None:
    named = runtime / "${HOME}"
    named.mkdir()
    look(person.but(XDG_RUNTIME_DIR=str(named)))
    (runtime / "clm").mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "tmpfs", runtime / "clm"], check=True)
    try:
        look(person)
    finally:
        subprocess.run(["umount", runtime / "clm"], check=True)
    assert masters(runtime) == []


@pytest.mark.parametrize("seconds", ["soon", "-1", "1.5", "3601", "٣"])
def test_what_is_no_number_of_seconds_is_refused(person: Person, host: Machine, seconds: str) -> None:
    before = logins(host)
    person.but(CLM_SSH_PERSIST=seconds).clm("ps", code=Exit.USAGE).has(
        f"CLM_SSH_PERSIST={seconds} is no number of seconds from 0 to 3600"
    )
    assert logins(host) == before
