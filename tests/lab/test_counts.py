"""What a command costs, counted on the host: connections, commands run there, restarts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.clm import REPOSITORY, Clm, built_release, unit
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel

HOST, AGENT = "wolf-i", "maurice"

# The engine's own count of a converge with nothing to do, on the state directory of the person.
_ENGINE = f"""
import json
from pyinfra_hermes.cli.engine import Session
from pyinfra_hermes.cli.ssh.openssh import login_of
from pyinfra_hermes.cli.specification import secrets_of, specification
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.configure import configure
from pyinfra_hermes.deploys.install import install
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
state = State.open()
snapshot = state.read()
instance = snapshot.agent("{AGENT}")
spec, known = specification(snapshot, instance), secrets_of(snapshot, instance)
with Session.open([login_of(state, instance.host)]) as session:
    [result] = session.run({{"{HOST}": [
        lambda **kw: install(spec=spec, wheelhouse=Wheelhouse(), **kw),
        lambda **kw: configure(spec=spec, secrets=known, **kw),
    ]}}).values()
print(json.dumps([result.connections, result.execs, result.changed, result.failed is not None]))
"""


@dataclass
class Cost:
    """What sshd saw."""

    connections: int = 0
    execs: int = 0


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the release, and whose sshd tells of every command."""
    [machine] = hosts(1, layer=built_release(lab))
    machine.ssh("echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/verbose.conf; systemctl restart ssh")
    return machine


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, host: Machine) -> Clm:
    """Someone who has the host on record."""
    clm = Clm(tmp_path_factory.mktemp("counts"))
    clm.add_host(host, HOST)
    return clm


@pytest.fixture
def clm(person: Clm, model: StandInModel) -> Clm:
    """The same, with a provider."""
    if not person.json("provider", "list"):
        person.add_provider(model)
    return person


@contextmanager
def counted(host: Machine) -> Iterator[Cost]:
    """Count what happens in the block; our own looks, as root over a kept connection, do not count."""
    cost = Cost()
    before = _seen(host)
    yield cost
    after = _seen(host)
    cost.connections, cost.execs = (then - now for then, now in zip(after, before, strict=True))


def _seen(host: Machine) -> tuple[int, int]:
    log = host.ssh("journalctl --sync; journalctl --quiet --no-pager --output=cat --identifier=sshd").stdout
    return (
        len(re.findall(r"^Accepted publickey for admin", log, re.M)),
        len(re.findall(r"^Starting session: .* for admin from", log, re.M)),
    )


def assert_cost(clm: Clm, host: Machine, execs: int, *command: str) -> None:
    """A command needs one connection, and so many commands on the host at most."""
    with counted(host) as cost:
        clm.run(*command)
    assert cost.connections == 1, command
    assert 1 <= cost.execs <= execs, (command, cost)


def test_every_command_needs_one_connection(clm: Clm, host: Machine) -> None:
    for command, execs in (
        (("agent", "install", "--host", HOST, "--name", AGENT), 11),
        (("agent", "configure", AGENT, "--provider", "local"), 12),
        (("agent", "configure", AGENT), 3),
        (("agent", "install", "--host", HOST, "--name", AGENT), 3),
        (("agent", "status", AGENT), 1),
        (("ps",), 1),
        (("metrics",), 1),
        (("agent", "verify", AGENT), 60),
        (("chat", AGENT, "--once", "hello"), 1),
        (("agent", "logs", AGENT), 1),
        (("agent", "memory", "show", AGENT), 1),
        (("agent", "memory", "add", AGENT, "USER.md", "Keeps bees."), 3),
        (("agent", "sessions", "list", AGENT), 1),
        (("agent", "stop", AGENT), 5),
        (("agent", "start", AGENT), 8),
        (("agent", "restart", AGENT), 8),
        (("host", "check", HOST), 1),
    ):
        assert_cost(clm, host, execs, *command)


def test_what_needs_no_host_asks_none(clm: Clm, host: Machine) -> None:
    with counted(host) as cost:
        clm.run("host", "list")
        clm.run("host", "show", HOST)
        clm.run("provider", "list")
        clm.run("agent", "start", "nobody", exit=2)
        clm.run("agent", "install", "--host", HOST, "--name", "Root", exit=2)
    assert cost == Cost(0, 0)


def test_a_converge_with_nothing_to_do_is_cheap_and_restarts_nothing(clm: Clm, host: Machine) -> None:
    before = unit(host, AGENT)
    with counted(host) as cost:
        done = subprocess.run(
            [sys.executable, "-c", _ENGINE],
            env=clm.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    connections, execs, changed, failed = json.loads(done.stdout)
    assert (connections, changed, failed) == (1, False, False)
    assert 1 <= execs <= 3
    # The engine is not deceived about itself.
    assert (cost.connections, cost.execs) == (connections, execs)

    # One holds the agent against other runs, one looks.
    with counted(host) as cost:
        clm.configure(AGENT)
    assert (cost.connections, cost.execs) == (1, 2)
    with counted(host) as cost:
        clm.pyinfra("inventories/fleet.py", "deploys/hermes.py", "-y")
    assert cost.connections == 1
    assert cost.execs <= 3
    after = unit(host, AGENT)
    for same in ("MainPID", "InvocationID", "NRestarts", "ExecMainStartTimestampMonotonic"):
        assert after[same] == before[same]
    assert after["NRestarts"] == "0"


def test_a_second_agent_costs_no_second_connection(clm: Clm, host: Machine) -> None:
    clm.install("agnes")
    with counted(host) as cost:
        assert len(clm.json("ps")) == 2
    assert cost == Cost(1, 1)
    with counted(host) as cost:
        clm.pyinfra("inventories/fleet.py", "deploys/hermes.py", "-y")
    assert cost.connections == 1
    assert cost.execs <= 3


def test_removal_needs_one_connection(clm: Clm, host: Machine) -> None:
    assert_cost(clm, host, 3, "agent", "remove", AGENT, "--yes")
