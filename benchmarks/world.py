"""What is measured on: lab hosts, and desks from which somebody runs ``clm`` and ``pyinfra`` against them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.upstream import Upstream

from .resident import Resident
from .rounds import Failed, run

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
#: The login of every connection: not root, so everybody pays for sudo.
USER = "admin"
_OPT = "opt/pyinfra-hermes"
_IDLE_AFTER = 3


@dataclass(frozen=True)
class Host:
    """A lab host under the name that its desk knows it by."""

    name: str
    machine: Machine
    fingerprint: str


class Desk:
    """A state directory of ``clm``, and the commands that are run with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Each command connects anew, unless it is measured what it saves that connections are kept.
        ours = {"XDG_CONFIG_HOME": str(folder), "NO_COLOR": "1", "HERMES_METHOD": "wheel", "CLM_SSH_PERSIST": "0"}
        self.env = {**os.environ, **ours}
        # Python keeps what it has compiled, as it does wherever nobody forbids it.
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)

    def clm(self, *arguments: str, expect: int = 0, **env: str) -> float:
        """Run ``clm`` and return its seconds."""
        return run([str(BIN / "clm"), *arguments], env={**self.env, **env}, expect=expect)

    def pyinfra(self, *arguments: str, **env: str) -> float:
        """Run ``pyinfra`` from the repository's root and return its seconds."""
        return run([str(BIN / "pyinfra"), *arguments], env={**self.env, **env}, cwd=ROOT)

    def probe(self, *command: str, **env: str) -> dict[str, Any]:
        """Run ``clm`` or ``pyinfra`` and return what went over SSH, see :mod:`.probe`; ``wall`` is all its seconds."""
        result = self.folder / "probe.json"
        wall = run([sys.executable, "-m", "benchmarks.probe", str(result), *command], env={**self.env, **env}, cwd=ROOT)
        return {**json.loads(result.read_text()), "wall": wall}

    def add(self, host: Host) -> None:
        """Take a host on record."""
        self.clm(
            "host", "add", host.name, "--address", host.machine.address, "--user", USER,
            "--identity-file", str(host.machine.key), "--host-key-fingerprint", host.fingerprint,
        )  # fmt: skip

    def deploy(self, host: Host, agent: str) -> None:
        """Install and configure an agent."""
        self.clm("agent", "install", "--host", host.name, "--name", agent)
        self.clm("agent", "configure", agent, "--provider", "model")


class World:
    """All hosts and desks of one benchmark run."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._numbers = itertools.count(1)
        self._fleet: tuple[Desk, list[Host]] | None = None
        self.model_url = lab.model().url

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[World]:
        """Open a lab and an empty world in it; both are gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, Lab() as lab:
            yield cls(lab, Path(folder))

    def desk(self, *hosts: Host) -> Desk:
        """Make a desk that knows some hosts and the stand-in model."""
        folder = self._folder / f"desk{next(self._numbers)}"
        folder.mkdir(mode=0o700)
        desk = Desk(folder)
        desk.clm("provider", "add", "model", "--type", "custom", "--url", self.model_url, "--model", "stand-in")
        for host in hosts:
            desk.add(host)
        return desk

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        """Serve upstream's installers, and what they ask for, to the hosts."""
        server = Upstream(self._lab.run.bridge.address)
        try:
            yield server
        finally:
            server.close()

    def boot(self, n: int = 1, layer: Path | None = None) -> list[Host]:
        """Boot hosts that have never seen an agent; ``layer`` is a folder whose content their disks have."""
        machines = self._lab.boot(n, layer=layer)
        self._pack(machines[0])
        return [Host(f"bench-{m.number}", m, self._fingerprint(m)) for m in machines]

    def remove(self, host: Host) -> None:
        """Take a host away."""
        self._lab.remove(host.machine)

    def equipped(self, n: int) -> list[Host]:
        """Boot hosts on which the release is installed, built on the first and copied to the others' disks."""
        hosts = self.boot(n)
        desk = self.desk(hosts[0])
        desk.clm("agent", "install", "--host", hosts[0].name, "--name", "seed")
        desk.clm("agent", "remove", "seed", "--yes")
        for host in hosts[1:]:
            command = ["cp", "-a", f"{hosts[0].machine.root}/{_OPT}", f"{host.machine.root}/{_OPT}"]
            subprocess.run(command, check=True)
        return hosts

    def fleet(self, n: int = 20) -> tuple[Desk, list[Host]]:
        """Return a desk and hosts with one running agent each, made at the first call."""
        if self._fleet is None:
            hosts = self.equipped(n)
            desk = self.desk()
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda host: self._populate(desk, host), hosts))
            self._fleet = desk, hosts
        return self._fleet

    @contextmanager
    def resident(self, desk: Desk) -> Iterator[Resident]:
        """Keep an engine running for a desk."""
        engine = Resident(desk.env)
        try:
            yield engine
        finally:
            engine.close()

    def ssh(self, host: Host, *command: str, input: str = "") -> float:
        """Log in with OpenSSH, cold, run a command, and return the seconds."""
        config = str(host.machine.ssh_config)
        return run(["ssh", "-F", config, "-l", USER, host.machine.name, *command], input=input)

    def wait_for(self, host: Host, seconds: float = 60) -> None:
        """Wait until a host that was out of reach can be logged in to again. Raises :class:`Failed` when it cannot."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ssh(host, "true")
                return
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _populate(self, desk: Desk, host: Host) -> None:
        desk.add(host)
        desk.deploy(host, f"agent{host.machine.number}")

    def _fingerprint(self, machine: Machine) -> str:
        command = ["ssh-keygen", "-lf", str(machine.known_hosts), "-F", machine.address]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return next(word for word in listed.split() if word.startswith("SHA256:"))

    def _pack(self, machine: Machine) -> None:
        """Have the wheels in the cache: what is measured begins on the control machine with everything there."""
        python = machine.ssh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").stdout.strip()
        Wheelhouse().archive(manifest().release(), python, os.uname().machine)


# Runs on a host: how long the daemon takes by itself, with nobody in between.
_ALONE = """
import json, subprocess, sys, time
service, port = sys.argv[1], int(sys.argv[2])
def listening():
    with open("/proc/net/tcp") as table:
        return any(row.split()[1:4:2] == ["0100007F:%04X" % port, "0A"] for row in table)
def systemctl(*words):
    started = time.monotonic()
    subprocess.run(["systemctl", *words], check=True)
    return time.monotonic() - started
def wait():
    while not listening():
        time.sleep(0.01)
    entered = subprocess.check_output(["systemctl", "show", service, "-p", "ActiveEnterTimestampMonotonic", "--value"])
    return time.monotonic() - int(entered) / 1e6
if sys.argv[3] == "restart":
    stop = systemctl("stop", service)
    start = systemctl("start", service)
    print(json.dumps({"stop": stop, "job": start, "start": wait()}))
else:
    while sys.argv[3] == "running" and listening():
        time.sleep(0.01)
    print(json.dumps({"start": wait()}))
"""


def daemon_alone(host: Host, agent: str, port: int) -> dict[str, float]:
    """
    Stop and start a daemon on its host without us; return the seconds.

    ``stop`` and ``job`` are systemctl's own, ``start`` is from ``ActiveEnter`` until the port listens.
    """
    return dict(json.loads(host.machine.ssh("python3", "-c", _ALONE, f"hermes-{agent}", str(port), "restart").stdout))


@contextmanager
def watched_start(host: Host, agent: str, port: int, now: str = "stopped") -> Iterator[dict[str, float]]:
    """
    Fill in ``start``: seconds from ``ActiveEnter`` until the port listens, for a start that happens in the block.

    ``now`` says whether the daemon is ``stopped`` or ``running`` when the block begins.
    """
    seen: dict[str, float] = {}
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(host.machine.ssh, "python3", "-c", _ALONE, f"hermes-{agent}", str(port), now, timeout=300)
        yield seen
        seen.update(json.loads(future.result().stdout))


def wait_until_idle() -> None:
    """Let a daemon that listens finish what it does after that."""
    time.sleep(_IDLE_AFTER)


def install_folder_size(host: Host) -> str:
    """Return how large an installed release is."""
    return host.machine.ssh(f"du -sh /{_OPT} | cut -f1").stdout.strip()
