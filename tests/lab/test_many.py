"""Several agents on one host, and several hosts at once: each for itself, none in the way of another."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from tests.lab.clm import Clm, built_release, counted, main_pid, unit
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.process import wait_until
from tests.lab.tunnels import all_ssh_of, asking, entrance, models, ssh_of

HOSTS = ("lab-1", "lab-2", "lab-3")
FLEET = ("inventories/fleet.py", "deploys/hermes.py")


@pytest.fixture(scope="module")
def machines(hosts: Callable[..., list[Machine]], lab: Lab) -> list[Machine]:
    """Three hosts."""
    return hosts(3, layer=built_release(lab))


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, machines: list[Machine]) -> Clm:
    """Someone who has the three hosts on record."""
    clm = Clm(tmp_path_factory.mktemp("many"))
    for name, machine in zip(HOSTS, machines, strict=True):
        clm.add_host(machine, name)
    return clm


@pytest.fixture
def clm(person: Clm, model: StandInModel) -> Clm:
    """The same, with a provider."""
    if not person.json("provider", "list"):
        person.add_provider(model)
    return person


def side_by_side(clm: Clm, *commands: tuple[str, ...]) -> None:
    """Run several ``clm`` at once; all must succeed."""
    running = [clm.start(*command) for command in commands]
    ended = [(process.communicate(timeout=240), process.returncode) for process in running]
    assert [code for _, code in ended] == [0] * len(commands), ended


def asked(machine: Machine, port: int, key: str) -> str:
    """The status of an authorised question to an agent's API."""
    ask = f"curl -s -o /dev/null -w %{{http_code}} http://127.0.0.1:{port}/v1/models"
    return machine.ssh(f"{ask} -H 'Authorization: Bearer {key}'").stdout


# Two agents on one host


@pytest.fixture
def pair(clm: Clm) -> Clm:
    """The same, with the agents anna and berta on the first host."""
    known = {agent["name"]: agent["state"] for agent in clm.json("ps", exit=None)}
    for agent in ("anna", "berta"):
        if known.get(agent) != "running":
            clm.install(agent, HOSTS[0])
            clm.configure(agent, "--provider", "local", "--skip-chat")
    return clm


def test_two_agents_have_ports_keys_and_conversations_of_their_own(
    pair: Clm, machines: list[Machine], model: StandInModel
) -> None:
    rows = {row["name"]: row for row in pair.json("ps", "--host", HOSTS[0])}
    assert {name: (row["port"], row["state"]) for name, row in rows.items()} == {
        "anna": (8642, "running"),
        "berta": (8643, "running"),
    }
    keys = {port: pair.key(agent, HOSTS[0]) for port, agent in ((8642, "anna"), (8643, "berta"))}
    assert keys[8642] != keys[8643]
    for port in keys:
        for other, key in keys.items():
            assert asked(machines[0], port, key) == ("200" if port == other else "401"), (port, other)
    model.reset()
    for agent in ("anna", "berta"):
        assert pair.run("chat", agent, "--once", f"to {agent}").stdout == f'stand-in model: I read "to {agent}"\n'
    assert [request.last_user_text for request in model.chats] == ["to anna", "to berta"]


def test_one_agent_cannot_look_into_the_other(pair: Clm, machines: list[Machine]) -> None:
    tried = machines[0].ssh(
        "setpriv --reuid=anna --regid=anna --clear-groups cat /home/berta/.hermes/.env /home/berta/.hermes/config.yaml",
        check=False,
    )
    assert tried.stdout == ""
    assert "Permission denied" in tried.stderr
    shared = main_pid(machines[0], "anna")
    inside = machines[0].ssh("nsenter", "--mount", f"--target={shared}", "ls", "-A", "/home").stdout.split()
    assert inside == ["anna"]


def test_a_change_to_one_does_not_touch_the_other(pair: Clm, machines: list[Machine]) -> None:
    before = {agent: unit(machines[0], agent)["InvocationID"] for agent in ("anna", "berta")}
    pair.configure("berta", "--model", "another-model", "--skip-chat")
    after = {agent: unit(machines[0], agent)["InvocationID"] for agent in ("anna", "berta")}
    assert after["anna"] == before["anna"]
    assert after["berta"] != before["berta"]


def test_health_is_the_agents_own_and_not_whoever_has_its_port(pair: Clm, machines: list[Machine]) -> None:
    pair.run("agent", "stop", "anna")
    # Something that answers 200 to anything, on anna's port.
    machines[0].ssh("systemd-run --quiet --unit=squatter python3 -m http.server --bind 127.0.0.1 8642")
    try:
        machines[0].ssh("until ss -Hltn | grep -q :8642; do sleep 0.1; done")
        failed = pair.run("agent", "start", "anna", exit=7)
        assert "port 8642 is held by another process" in failed.stderr
        assert pair.status("anna", exit=7)["healthy"] is False
        assert pair.status("berta")["state"] == "running"
        # The key is sent to nobody else, so a chat does not go there either.
        assert "8642 is held by another process" in pair.run("chat", "anna", "--once", "hi", exit=7).stderr
        assert pair.key("anna", HOSTS[0]) not in machines[0].ssh("journalctl", "--unit=squatter").stdout
    finally:
        machines[0].ssh("systemctl", "stop", "squatter")
    pair.run("agent", "restart", "anna")
    assert pair.status("anna")["state"] == "running"


def test_a_port_that_is_taken_is_passed_over_or_refused(pair: Clm, machines: list[Machine]) -> None:
    machines[0].ssh("systemd-run --quiet --unit=squatter python3 -m http.server --bind 127.0.0.1 8644")
    try:
        machines[0].ssh("until ss -Hltn | grep -q :8644; do sleep 0.1; done")
        refused = pair.run("agent", "install", "--host", HOSTS[0], "--name", "clara", "--port", "8643", exit=None)
        assert (refused.returncode, machines[0].ssh("getent", "passwd", "clara", check=False).stdout) == (5, "")
        refused = pair.run("agent", "install", "--host", HOSTS[0], "--name", "clara", "--port", "8644", exit=5)
        assert "port 8644 is taken by another process" in refused.stderr
        pair.install("clara", HOSTS[0])
        assert pair.status("clara")["port"] == 8645
    finally:
        machines[0].ssh("systemctl", "stop", "squatter")
        pair.run("agent", "remove", "clara", "--host", HOSTS[0], "--yes")


def test_removing_one_leaves_the_other_as_it_was(pair: Clm, machines: list[Machine]) -> None:
    pid = main_pid(machines[0], "berta")
    pair.run("agent", "remove", "anna", "--yes")
    assert main_pid(machines[0], "berta") == pid
    assert machines[0].ssh("ls /etc/systemd/system/hermes.slice /home").stdout.splitlines()[0]
    assert pair.status("berta")["state"] == "running"
    assert pair.configure("berta").stdout == "Agent berta runs as configured; nothing to do.\n"
    assert "I read" in pair.run("chat", "berta", "--once", "still there?").stdout


# Three hosts


@pytest.fixture
def fleet(clm: Clm) -> Clm:
    """The same, with one agent of the same name on each host."""
    if "nora" not in [agent["name"] for agent in clm.json("ps", exit=None)]:
        side_by_side(clm, *(("agent", "install", "--host", host, "--name", "nora") for host in HOSTS))
        side_by_side(
            clm, *(("agent", "configure", f"{host}/nora", "--provider", "local", "--skip-chat") for host in HOSTS)
        )
    return clm


def noras(clm: Clm, exit: int = 0) -> dict[str, str]:
    """The state of the agent nora on each host."""
    return {row["host"]: row["state"] for row in clm.json("ps", exit=exit) if row["name"] == "nora"}


def test_three_commands_at_once_share_one_state(fleet: Clm, machines: list[Machine]) -> None:
    assert noras(fleet) == dict.fromkeys(HOSTS, "running")
    assert len({fleet.key("nora", host) for host in HOSTS}) == 3
    for host, machine in zip(HOSTS, machines, strict=True):
        agent = fleet.document("hosts.json")["hosts"][host]["agents"]["nora"]
        assert (agent["status"], agent["onboarding"]["validate"]["status"]) == ("installed", "done")
        assert asked(machine, agent["port"], fleet.key("nora", host)) == "200"
    ambiguous = fleet.run("agent", "status", "nora", exit=2)
    assert "Say which one: lab-1/nora or lab-2/nora or lab-3/nora" in ambiguous.stderr


def test_one_pyinfra_run_changes_three_hosts_and_the_next_none(
    fleet: Clm, machines: list[Machine], model: StandInModel
) -> None:
    for host in HOSTS:
        fleet.configure(f"{host}/nora", "--stage", "providers", "--model", "model-of-the-fleet")
    model.reset()
    changed, failed, _ = counted(fleet.pyinfra(*FLEET, "-y").stderr)
    # On each host config.yaml, the service, and the proof.
    assert (changed, failed) == (9, 0)
    assert [request.body["model"] for request in model.chats] == ["model-of-the-fleet"] * 3
    pids = [main_pid(machine, "nora") for machine in machines]
    assert counted(fleet.pyinfra(*FLEET, "-y").stderr)[:2] == (0, 0)
    assert [main_pid(machine, "nora") for machine in machines] == pids
    assert noras(fleet) == dict.fromkeys(HOSTS, "running")


# One host of three is gone


def say(machine: Machine, text: str, after: int = 0) -> None:
    """Put a line into the journal of nora, some seconds from now."""
    machine.ssh(
        f"cat >/run/entry; (sleep {after}; logger --journald </run/entry) >/dev/null 2>&1 &",
        input=f"MESSAGE={text}\nOBJECT_SYSTEMD_UNIT=hermes-nora.service\n",
    )


def test_tunnels_and_journals_of_two_hosts_outlive_the_silence_of_one(
    fleet: Clm, machines: list[Machine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    near, far = agents = ("lab-1/nora", "lab-3/nora")
    person = copy.copy(fleet)
    person.environment = {**fleet.environment, "XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("run"))}
    keys = {near: fleet.key("nora", "lab-1"), far: fleet.key("nora", "lab-3")}
    for machine, key in zip((machines[0], machines[2]), keys.values(), strict=True):
        say(machine, f"the key is {key}")
    with (
        person.terminal("agent", "tunnel", near) as to_near,
        person.terminal("agent", "tunnel", far) as to_far,
        person.terminal("agent", "logs", near, far, "-f", "-n", "50") as log,
    ):
        doors = {near: entrance(to_near), far: entrance(to_far)}
        for (agent, (port, path)), other in product(doors.items(), agents):
            said = "hermes-agent" if agent == other else "Invalid API key"
            assert said in models(keys[other], port=port)
            assert said in models(keys[other], "--unix-socket", str(path))
        log.expect("the key is")
        log.expect("the key is")
        port, path = doors[far]

        say(machines[2], "in the dark", after=3)
        machines[2].unplug()
        try:
            stranded = subprocess.Popen(asking("--unix-socket", str(path)), stdin=subprocess.DEVNULL)
            say(machines[0], "in the light")
            log.expect("in the light")
            # By the tunnel's own count of 16 s; ssh's comes some seconds later.
            to_far.expect("down: ")
            to_far.expect("reaching it anew")
            assert stranded.wait(30) != 0, "its program is told, and does not wait for ever"
            log.expect("The connection to lab-3 was lost; trying again until Ctrl-C")
            assert "hermes-agent" in models(keys[near], port=doors[near][0])
        finally:
            machines[2].plug()
        to_far.expect("up again")
        assert "hermes-agent" in models(keys[far], port=port)
        assert "hermes-agent" in models(keys[far], "--unix-socket", str(path))
        log.expect("lab-3 is back")
        log.expect("in the dark")

        tunnelled, followed = ssh_of(to_far), all_ssh_of(log)
        log.type("\x03")
        assert log.end() == Exit.DONE
        assert to_far.hang_up() == Exit.DONE
        assert not path.exists()
        over = [Path(f"/proc/{pid}") for pid in (tunnelled, *followed)]
        assert wait_until(lambda: not any(process.exists() for process in over), seconds=30)
        assert [line.split()[0] for line in log.text.splitlines() if "in the" in line] == [near, far]
        assert not any(key in log.text for key in keys.values())
        to_near.type("\x03")
        assert to_near.end() == Exit.DONE


@pytest.fixture
def unplugged(fleet: Clm, machines: list[Machine]) -> Iterator[Clm]:
    """The last host has lost its network."""
    machines[2].unplug()
    yield fleet
    machines[2].plug()


def test_plain_pyinfra_goes_on_without_a_host_that_is_gone(unplugged: Clm, machines: list[Machine]) -> None:
    unplugged.configure("lab-2/nora", "--stage", "providers", "--model", "without-the-third")
    before = [unit(machine, "nora")["InvocationID"] for machine in machines[:2]]
    done = unplugged.pyinfra(*FLEET, "-y", exit=None)
    assert "[lab-3]" in done.stderr and "Traceback" not in done.output
    assert counted(done.stderr)[:2] == (3, 0), done
    after = [unit(machine, "nora")["InvocationID"] for machine in machines[:2]]
    assert (after[0] == before[0], after[1] != before[1]) == (True, True)


def test_nothing_is_left_of_the_person_who_did_this(fleet: Clm, tmp_path: Path) -> None:
    assert list(fleet.temporary.iterdir()) == []
