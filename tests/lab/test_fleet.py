"""Twenty hosts with every state that an agent can be in, made on purpose: `ps`, `status` and `doctor` tell each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.known_hosts import HostKey, KnownHosts
from pyinfra_hermes.cli.state.records import (
    STAGES,
    Agent,
    AgentStatus,
    Applied,
    Host,
    Provider,
    StageResult,
    agent_scope,
)
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.clm import built_release
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person

RELEASE = manifest().release().tag
#: On the first host: agents that really run, or did.
DAEMONS = ("good", "drifted", "upstream", "channel", "mismatch", "taken")
IDLE = ("slow", "loop", "stopped", "fresh", "half")
PORTS = {name: 8642 + n for n, name in enumerate((*DAEMONS, *IDLE))}

#: Shaped like a bot's token, and nobody's: another than in tests that watch for theirs, which may run beside this one.
_TOKEN = f"MTIzNDU2Nzg5MDEyMzQ1Njc4.Gfleet.{'fleet' * 7}abc"

# Everything on record is made on the first host: over one connection, and with the conversation of the proof left out.
_MAKE = """
from pyinfra_hermes.cli.engine import Session
from pyinfra_hermes.cli.ssh.openssh import login_of
from pyinfra_hermes.cli.specification import secrets_of, specification
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.configure import configure
from pyinfra_hermes.deploys.install import install
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
state = State.open()
snapshot = state.read()
known = {i.agent.name: (specification(snapshot, i), secrets_of(snapshot, i)) for i in snapshot.instances()
         if i.host.name == "host-1"}
def steps(name):
    spec, secrets = known[name]
    yield lambda **kw: install(spec=spec, wheelhouse=Wheelhouse(), **kw)
    if name in DAEMONS:
        yield lambda **kw: configure(spec=spec, secrets=secrets, chat=False, **kw)
with Session.open([login_of(state, snapshot.host("host-1"))]) as session:
    [result] = session.run({"host-1": [step for name in known for step in steps(name)]}).values()
assert result.problem is None and result.failed is None, (result.problem, result.failed)
"""

# What is then done to them by hand. A drop-in changes what a unit runs and leaves its file as it was.
_BREAK = f"""
set -e
unit() {{ mkdir -p "/etc/systemd/system/hermes-$1.service.d"
    printf '[Service]\\nExecStart=\\nExecStart=%s\\n' "$2" >"/etc/systemd/system/hermes-$1.service.d/test.conf"; }}
unit loop /bin/false
unit slow '/bin/sleep 600'
systemctl stop hermes-taken
mkdir /etc/systemd/system/hermes-taken.service.d
printf '[Service]\\nRestart=no\\n' >/etc/systemd/system/hermes-taken.service.d/test.conf
systemctl daemon-reload
systemd-run --quiet --unit=squatter python3 -m http.server --bind 127.0.0.1 {PORTS["taken"]}
until ss -Hltn | grep -q :{PORTS["taken"]}; do sleep 0.1; done
systemctl start --no-block hermes-taken hermes-loop hermes-slow
sed -i 's/^  default:.*/  default: another-model/' /home/drifted/.hermes/config.yaml
sed -i 's/^API_SERVER_KEY=.*/API_SERVER_KEY={"0f" * 32}/' /home/mismatch/.hermes/.env
sed -i 's/:[0-9]*\\/v1/:9\\/v1/' /home/upstream/.hermes/config.yaml
rm /etc/systemd/system/hermes-half.service
mkdir -p -m 700 /home/good/.ssh /home/good/.config/systemd/user
echo 'ssh-ed25519 AAAA somebody' >/home/good/.ssh/authorized_keys
echo '[Service]' >/home/good/.config/systemd/user/out.service
printf 'mcp_servers:\\n  planted:\\n    command: /bin/true\\n' >>/home/good/.hermes/config.yaml
chown -R good: /home/good/.ssh /home/good/.config
systemctl daemon-reload
"""
# What costs whoever asks the wait for an answer.
_HANG = 'kill -{} "$(systemctl show hermes-drifted -p MainPID --value)"'


class Fleet:
    """Twenty hosts, and who has them on record."""

    def __init__(self, person: Person, machines: list[Machine]) -> None:
        """Take them as they are."""
        self.person = person
        self.machines = machines

    @property
    def first(self) -> Machine:
        return self.machines[0]


def _on_record(model: StandInModel) -> dict[str, dict[str, Agent]]:
    """The agents of each host, as `clm agent install` and `clm agent configure` would have left their records."""
    done = {stage: StageResult(status="done") for stage in STAGES}

    def agent(name: str, port: int = 8642, status: AgentStatus = "installed", **more: Any) -> Agent:
        given = {"provider": "local", "onboarding": dict(done), "applied": Applied(digest="0", release=RELEASE), **more}
        return Agent(name=name, release=RELEASE, port=port, status=status, **given)

    def idle(name: str) -> Agent:
        onboarding = {} if name == "fresh" else dict(done)
        return agent(name, PORTS[name], provider=None, applied=None, onboarding=onboarding)

    on = {f"host-{n}": {"gone": agent("gone")} for n in range(1, 21)}
    on["host-1"] = {name: agent(name, PORTS[name]) if name in DAEMONS else idle(name) for name in PORTS}
    on["host-1"]["channel"].channels = {"api": {}, "discord": {"allowed_users": ["234567890123456789"]}}
    on["host-1"]["upstream"].config = {"agent.api_max_retries": 1}
    on["host-2"] = {
        "broken": agent("broken", status="failed", error="no room"),
        "leaving": agent("leaving", 8643, "removing"),
    }
    on["host-3"] = {"games": agent("games")}
    return on


def _record(person: Person, machines: list[Machine], model: StandInModel) -> None:
    """Put all on record as the commands would, without asking each host for it."""
    state, trusted = State.open(person.state), KnownHosts(State.open(person.state).directory)
    keys = [HostKey.parse((each.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()) for each in machines]
    with state.transaction() as tx:
        tx.providers["local"] = Provider(name="local", type="custom", options={"url": model.url, "model": "stand-in"})
        for number, (name, agents) in enumerate(_on_record(model).items(), 1):
            machine, address = _place(machines, number)
            # Nobody listens on the other port.
            port = 2222 if name == "host-6" else 22
            host = Host(name=name, address=address, port=port, user="admin", identity_file=str(machine.key))
            host.agents.update(agents)
            tx.hosts[name] = host
            for each in agents:
                tx.secrets.set(agent_scope(name, each), "HERMES_API_SERVER_KEY", Secret("ab" * 32))
        tx.secrets.set(agent_scope("host-1", "channel"), "DISCORD_BOT_TOKEN", Secret(_TOKEN))
    for number, host in enumerate(state.read().hosts.values(), 1):
        machine, _ = _place(machines, number)
        # Of host-7 another key is known.
        trusted.add(host.address, host.port, [keys[0] if number == 7 else keys[machines.index(machine)]])


def _place(machines: list[Machine], number: int) -> tuple[Machine, str]:
    """
    Where a host of the fleet is: the first, fourth and fifth are machines, the others are addresses of three more.

    To clm each is a host, with a connection of its own; booting twenty would take longer than all the rest.
    """
    if number in (1, 4, 5):
        machine = machines[{1: 0, 4: 1, 5: 2}[number]]
        return machine, machine.address
    machine = machines[3 + number % 3]
    return machine, f"{machine.address.rpartition('.')[0]}.{200 + number}"


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, hosts: Callable[..., list[Machine]], lab: Lab, _model_server: StandInModel
) -> Fleet:
    """The fleet, with all that is wrong with it."""
    machines = [*hosts(1, layer=built_release(lab)), *hosts(5)]
    first, *others = machines
    person = Person(tmp_path_factory.mktemp("fleet"))
    _record(person, machines, _model_server)
    for number in range(1, 21):
        machine, address = _place(machines, number)
        if address != machine.address:
            machine.ssh("ip", "address", "add", f"{address}/24", "dev", "host0")
    for machine in others:
        machine.ssh("useradd --create-home games 2>/dev/null", check=False)
    first.ssh("echo '127.0.0.1 discord.com gateway.discord.gg' >>/etc/hosts")
    made = subprocess.run(
        [sys.executable, "-c", f"DAEMONS = {DAEMONS!r}\n{_MAKE}"],
        env=person.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    first.ssh("sh -s", input=_BREAK)
    person.clm("chat", "upstream", "--once", "hello", code=Exit.UNHEALTHY)
    for machine in (first, machines[3]):
        machine.ssh("echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/verbose.conf; systemctl restart ssh")
    return Fleet(person, machines)


@pytest.fixture
def silent(fleet: Fleet) -> Iterator[None]:
    """A host without a network, one that takes connections and never says a word, and an agent that does that."""
    fleet.first.ssh(_HANG.format("STOP"))
    fleet.machines[1].unplug()
    fleet.machines[2].pause()
    yield
    fleet.machines[1].plug()
    fleet.machines[2].resume()
    fleet.first.ssh(_HANG.format("CONT"))


#: State, words of the reason, and the exit code of `clm agent status`.
EXPECTED = {
    "host-1/good": ("running", "", Exit.DONE),
    "host-1/drifted": ("drifted", "config.yaml", Exit.DONE),
    "host-1/upstream": ("degraded", "its model could not be reached", Exit.UNHEALTHY),
    "host-1/channel": ("degraded", "discord retrying", Exit.UNHEALTHY),
    "host-1/mismatch": ("unhealthy", "does not take the key in its .env", Exit.UNHEALTHY),
    "host-1/taken": ("port taken", "held by another process", Exit.UNHEALTHY),
    "host-1/slow": ("starting", "nothing listens on port", Exit.UNHEALTHY),
    "host-1/loop": ("crash-looping", "restarts", Exit.UNHEALTHY),
    "host-1/stopped": ("stopped", "", Exit.DONE),
    "host-1/fresh": ("not onboarded", "onboarding is at pending", Exit.DONE),
    "host-1/half": ("half-removed", "its unit is not on the host", Exit.UNHEALTHY),
    "host-2/broken": ("install failed", "no room", Exit.UNHEALTHY),
    "host-2/leaving": ("half-removed", "only its record is left", Exit.UNHEALTHY),
    "host-3/games": ("unknown", "the account games on the host is not ours", Exit.UNHEALTHY),
    "host-4/gone": ("unreachable", "timed out", Exit.UNREACHABLE),
    "host-5/gone": ("unreachable", "timed out", Exit.UNREACHABLE),
    "host-6/gone": ("unreachable", "refused", Exit.UNREACHABLE),
    "host-7/gone": ("unreachable", "has changed since it was trusted", Exit.UNREACHABLE),
    **{f"host-{n}/gone": ("missing", "nothing of it is on the host", Exit.UNHEALTHY) for n in range(8, 21)},
}


def seen(machine: Machine) -> tuple[int, int]:
    """How many connections and commands the person had there so far."""
    log = machine.ssh("journalctl --sync; journalctl --quiet --no-pager --output=cat --identifier=sshd").stdout
    return (
        len(re.findall(r"^Accepted publickey for admin", log, re.M)),
        len(re.findall(r"^Starting session: .* for admin from", log, re.M)),
    )


def wrong(listed: str, expected: dict[str, tuple[str, str, Exit]]) -> dict[str, object]:
    """Of which agents something else is said than was made."""
    found = {f"{row['host']}/{row['name']}": (row["state"], row["why"]) for row in json.loads(listed)}
    assert set(found) == set(expected)
    return {
        name: found[name]
        for name, (state, why, _) in expected.items()
        if found[name][0] != state or why not in found[name][1]
    }


@pytest.mark.usefixtures("silent")
def test_ps_is_right_about_each_with_one_round_trip_a_host(fleet: Fleet) -> None:
    # Of the last machine, which is several hosts, each is one connection and one command.
    several = sum(_place(fleet.machines, n)[0] is fleet.machines[3] for n in range(1, 21) if n not in (6, 7))
    before = [seen(machine) for machine in (fleet.first, fleet.machines[3])]
    began = time.monotonic()
    said = fleet.person.clm("ps", "-o", "json", code=Exit.PARTLY)
    print(f"ps of 20 hosts, two of which say nothing: {time.monotonic() - began:.1f} s")
    hangs = {"host-1/drifted": ("unhealthy", "does not answer", Exit.UNHEALTHY)}
    assert wrong(said.out, EXPECTED | hangs) == {}
    after = [seen(machine) for machine in (fleet.first, fleet.machines[3])]
    cost = [(c - a, d - b) for (a, b), (c, d) in zip(before, after, strict=True)]
    assert cost == [(1, 1), (several, several)]
    assert fleet.first.ssh("ls -d /run/pyinfra-hermes.* 2>/dev/null", check=False).stdout == ""


def test_ps_shows_it_in_words_chooses_and_tells_programs(fleet: Fleet) -> None:
    person = fleet.person
    said = person.clm("ps", "--limit", "host-1/*", "--check", code=Exit.UNHEALTHY)
    said.has(
        "half-removed", "host-1/upstream: degraded: its model could not be reached", "clm agent doctor host-1/loop"
    )
    assert max(len(line) for line in said.out.partition("\n\n")[0].splitlines()) <= 80
    person.clm("ps", "-l", "good", "-l", "stopped", "--check").lacks("half-removed")
    assert (
        person.clm("ps", "-o", "name", "-l", "*/gone", "-H", "host-8", "-H", "host-9").out
        == "host-8/gone\nhost-9/gone\n"
    )
    assert person.clm("ps", "-o", "name", "-H", "host-1", "-s", "crash-looping").out == "host-1/loop\n"
    person.clm("ps", "--watch", code=Exit.USAGE).has("--watch is for a terminal")
    person.clm("ps", "-o", "wide", "-l", "channel").has("discord!", "HEALTH")


@pytest.mark.parametrize("name", ["host-1/good", "host-1/loop", "host-6/gone"])
def test_status_says_the_same_in_depth(fleet: Fleet, name: str) -> None:
    state, why, code = EXPECTED[name]
    data = json.loads(fleet.person.clm("agent", "status", name, "-o", "json", code=code).out)
    assert (data["state"], why in data["why"]) == (state, True), data["why"]
    if name == "host-1/good":
        assert 0 < data["exposure"] < 4.5 and data["sizes_kib"]["."] > 100
        assert any("Started hermes-good.service" in line for line in data["journal"])
    if name == "host-1/loop":
        assert any("status=1/FAILURE" in line for line in data["journal"])


def doctor(fleet: Fleet, *words: str, code: Exit) -> dict[tuple[str, str], dict[str, Any]]:
    said = fleet.person.clm(*words, "-o", "json", code=code)
    return {(each["subject"], each["check"]): each for each in json.loads(said.out)}


def test_doctor_knows_what_hermes_says_and_what_nobody_asked_for(fleet: Fleet) -> None:
    found = doctor(fleet, "agent", "doctor", "good", code=Exit.UNHEALTHY)
    good = {check: each["level"] for (subject, check), each in found.items() if subject == "agent host-1/good"}
    expected = {
        "state": "ok", "api": "ok", "modes": "ok", "exposure": "ok", "walls": "ok", "provider": "ok",
        "authorized_keys": "fail", "user units": "warn", "mcp": "warn",
    }  # fmt: skip
    assert {check: good.get(check) for check in expected} == expected
    tools = found["agent host-1/good", "tools"]
    assert all(tool in tools["text"] or tools["level"] == "note" for tool in ("shell", "python", "venv"))


def test_doctor_of_all_starts_here_and_leaves_no_host_out(fleet: Fleet) -> None:
    found = doctor(fleet, "doctor", "--no-provider", code=Exit.UNHEALTHY)
    assert next(iter(found))[0] == "clm"
    subjects = {subject for subject, _ in found}
    assert {f"host host-{n}" for n in range(1, 21)} <= subjects
    assert [found[f"host host-{n}", "reached"]["level"] for n in (1, 4, 6, 7)] == ["ok", "ok", "fail", "fail"]
    for name, check, words in (
        ("taken", "port-in-use", f"port {PORTS['taken']} is held by another process"),
        ("upstream", "upstream-unreachable", "cannot be reached from the host"),
        ("channel", "channel discord", "channel discord is retrying"),
        ("mismatch", "drift", ".env"),
    ):
        each = found[f"agent host-1/{name}", check]
        assert (each["level"] in ("warn", "fail"), words in each["text"], bool(each["remedy"])) == (True,) * 3, each
    assert "clm host trust host-7" in found["host host-7", "reached"]["remedy"]


def test_an_agent_cannot_fill_the_memory_of_who_asks(fleet: Fleet) -> None:
    config = "/home/stopped/.hermes/config.yaml"
    fleet.first.ssh(f"seq -f 'key%.0f: 1' 1 40000 >{config}; chown stopped: {config}")
    said = fleet.person.clm("ps", "-l", "host-1/*", "-o", "json")
    assert wrong(said.out, {name: each for name, each in EXPECTED.items() if name.startswith("host-1/")}) == {}
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert (rows["stopped"]["incomplete"], rows["good"]["incomplete"]) == (True, False)
