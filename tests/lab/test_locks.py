"""Two runs on one agent at once: the second is told who is there and changes nothing, and nobody holds it for ever."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.lab.clm import FLEET, REPOSITORY, Clm, built_release
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.process import wait_until

HOST, AGENT = "wolf-i", "maurice"
RECORD = f"/run/pyinfra-hermes/{AGENT}.lock"


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the release."""
    [machine] = hosts(1, layer=built_release(lab))
    return machine


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory, host: Machine, _model_server: StandInModel) -> Clm:
    """Somebody with an agent that runs."""
    person = Clm(tmp_path_factory.mktemp("ann"))
    person.add_host(host, HOST)
    person.add_provider(_model_server)
    person.run("agent", "install", "--host", HOST, "--name", AGENT, "--method", "wheel")
    person.configure(AGENT, "--provider", "local", "--skip-chat")
    return person


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory, ann: Clm) -> Clm:
    """Somebody else who knows the same hosts and agents."""
    person = Clm(tmp_path_factory.mktemp("bob"))
    shutil.copytree(ann.state, person.state)
    return person


@contextmanager
def under_way(person: Clm, host: Machine) -> Iterator[subprocess.Popen[str]]:
    """A restart of the agent that has begun, and stands still until it is told to go on."""
    process = person.start("agent", "restart", AGENT)
    try:
        assert wait_until(lambda: host.ssh("test", "-e", RECORD, check=False).returncode == 0, seconds=30, pause=0.02)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=120)


def test_the_second_is_told_who_is_there_and_changes_nothing(ann: Clm, bob: Clm, host: Machine) -> None:
    records = {path.name: path.read_bytes() for path in bob.state.glob("*.json")}
    with under_way(ann, host) as process:
        holder = f"{getpass.getuser()}@{socket.gethostname()}: __main__.py agent restart {AGENT}, since "
        for command in (
            ("agent", "remove", AGENT, "--yes"),
            ("agent", "install", "--host", HOST, "--name", AGENT),
        ):
            refused = bob.run(*command, exit=9).stderr
            assert f"{HOST}: agent {AGENT} is being changed by {holder}" in refused
            assert "Nothing was changed." in refused
        done = bob.pyinfra(*FLEET, "-y", exit=1)
        assert f"agent {AGENT} is being changed by {holder}" in done.output
        # Who only looks is in nobody's way.
        assert [row["name"] for row in bob.json("ps", exit=None)] == [AGENT]
        assert bob.run("agent", "diff", AGENT, exit=None).returncode in (0, 8)
    assert process.returncode == 0
    assert {path.name: path.read_bytes() for path in bob.state.glob("*.json")} == records
    assert wait_until(lambda: host.ssh("ls -d /run/pyinfra-hermes", check=False).stdout == "", seconds=10)
    assert "nothing to do" in bob.configure(AGENT).stdout


def test_what_is_killed_lets_go_at_once(ann: Clm, bob: Clm, host: Machine) -> None:
    with under_way(ann, host) as process:
        process.kill()
        assert bob.run("agent", "restart", AGENT).stdout == f"Agent {AGENT} restarted.\n"


def test_a_host_that_was_rebooted_holds_nothing(ann: Clm, bob: Clm, host: Machine) -> None:
    with under_way(ann, host) as process:
        host.kill()
        host.start()
        bob.run("agent", "restart", AGENT)
    assert process.returncode == 4


@pytest.fixture
def script(host: Machine) -> str:
    """The script that holds agents, on the host."""
    host.ssh("cat >/root/lock.sh", input=(REPOSITORY / "operations/lock.sh").read_text())
    return "/root/lock.sh"


def test_a_host_that_hears_nothing_any_more_lets_go(host: Machine, script: str) -> None:
    # The link is cut: standard input is open, and silent. The seconds are arguments of the script.
    host.ssh("mkfifo /root/silent; systemd-run --quiet --unit=silent sh -c 'exec sleep 60 >/root/silent'")
    hold = f"sh {script} 0 2 ann@there clm {AGENT}"
    began = time.monotonic()
    assert host.ssh(f"{hold} </root/silent; ls /run").stdout.split()[0] == "held"
    assert time.monotonic() - began >= 2
    assert host.ssh("ls -d /run/pyinfra-hermes; systemctl stop silent", check=False).stdout == ""
    # With a word now and then it does not.
    talking = f"for second in 1 2 3; do echo; sleep 1; done | {hold} & sleep 2.5; cat {RECORD}; wait"
    assert host.ssh(talking).stdout.endswith("ann@there\nclm\n")


def test_a_record_holds_while_its_process_lives_and_for_its_agent_only(host: Machine, script: str) -> None:
    start = host.ssh("cut -d' ' -f22 /proc/1/stat").stdout.strip()
    boot = host.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()
    other = "00000000-0000-0000-0000-000000000000"

    def ask(record: str, *agents: str) -> list[str]:
        host.ssh(f"mkdir -p /run/pyinfra-hermes; printf '{record}' >{RECORD}")
        asked = host.ssh(f"sh {script} 0 5 bob@here clm {' '.join(agents)} </dev/null", check=False)
        return asked.stdout.splitlines()

    living = f"{boot} 1 {start} 1778155200\\nann\\nclm\\n"
    assert ask(living, AGENT)[:3] == ["busy", AGENT, "1778155200"]
    assert ask(living, "agnes", AGENT)[:2] == ["busy", AGENT]
    assert host.ssh("ls", "/run/pyinfra-hermes").stdout.split() == [f"{AGENT}.lock"], "all of them or none"
    assert ask(living, "agnes") == ["held"]
    # Another boot, another process of that id, what no run of ours wrote.
    for record in (living.replace(boot, other), living.replace(start, f"{start}0", 1), "rubbish", ""):
        assert ask(record, AGENT) == ["held"], record
    assert host.ssh("ls -d /run/pyinfra-hermes", check=False).stdout == ""
