"""``clm`` and ``pyinfra`` as a person runs them: processes of their own, with a state directory of their own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys.model.releases import manifest
from tests.lab.cache import cache_directory, digest, made_once
from tests.lab.image import image
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.protocol import MODEL

REPOSITORY = Path(__file__).resolve().parents[2]
PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
#: What `pyinfra` is given for everything that `clm` knows.
FLEET = ("inventories/fleet.py", "deploys/hermes.py")
_SECONDS = 120
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Failed(AssertionError):
    """A command ended otherwise than a test expected; shows all that it printed."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    command: str
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def __str__(self) -> str:
        return f"{self.command}: exit {self.returncode}\nstdout: {self.stdout}\nstderr: {self.stderr}"


def run(
    argv: Sequence[str], environment: dict[str, str], *, stdin: str | None, seconds: float, cwd: Path | None = None
) -> Done:
    """Run a program to its end. Without ``stdin`` it has none, and in no case a terminal."""
    began = time.monotonic()
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
        # A terminal that pytest was started from is none of its business: ssh and getpass look for /dev/tty.
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            stdout, stderr = process.communicate()
            raise Failed(f"{argv} was not done in {seconds} s\nstdout: {stdout}\nstderr: {stderr}") from None
    return Done(" ".join(argv[1:]), process.returncode, stdout, stderr, time.monotonic() - began)


class Clm:
    """A person with a state directory: ``Clm(tmp_path).run("host", "list")``."""

    def __init__(self, config_home: Path) -> None:
        """Use ``config_home`` as XDG_CONFIG_HOME; it need not hold anything."""
        self.config_home = config_home
        self.state = config_home / "clawrium"
        self.temporary = config_home / "tmp"
        self.temporary.mkdir(parents=True)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("XDG_CONFIG", "HERMES_EXAMPLE", "PYINFRA"))},
            "XDG_CONFIG_HOME": str(config_home),
            "TMPDIR": str(self.temporary),
            "NO_COLOR": "1",
            # What most tests are about has nothing to do with how Hermes came to the host; wheels are quicker.
            "HERMES_METHOD": "wheel",
            # Connections are counted.
            "CLM_SSH_PERSIST": "0",
        }

    def run(
        self,
        *args: str,
        stdin: str | None = None,
        exit: int | None = 0,
        seconds: float = _SECONDS,
    ) -> Done:
        """Run ``clm`` without a terminal. Another exit code than ``exit`` is a failure; None takes any."""
        done = run(_argv(args), self.environment, stdin=stdin, seconds=seconds)
        # A daemon's own may be quoted from its journal; one of ours goes through main().
        if "/cli/main.py" in done.output:
            raise Failed(f"a traceback: {done}")
        if exit is not None and done.returncode != exit:
            raise Failed(f"expected exit {exit}: {done}")
        return done

    def json(self, *args: str, exit: int | None = 0) -> Any:
        """Run ``clm ... -o json`` and return what it printed."""
        return json.loads(self.run(*args, "-o", "json", exit=exit).stdout)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start ``clm`` and leave it running; its standard error can be read line by line."""
        return subprocess.Popen(
            _argv(args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    @contextlib.contextmanager
    def terminal(self, *args: str) -> Iterator[Terminal]:
        """Run ``clm`` at a terminal."""
        with Terminal(_argv(args), self.environment) as terminal:
            yield terminal

    def pyinfra(
        self,
        *args: str,
        exit: int | None = 0,
        environment: dict[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> Done:
        """Run ``pyinfra`` in the project's folder, as the README says, for the same person."""
        done = run(
            [PYINFRA, *args], {**self.environment, **(environment or {})}, stdin=None, seconds=seconds, cwd=REPOSITORY
        )
        if exit is not None and done.returncode != exit:
            raise Failed(f"expected exit {exit}: {done}")
        return done

    def add_host(self, machine: Machine, name: str = "wolf-i", user: str = "admin") -> None:
        """Take a host of the lab on record."""
        self.run(
            "host", "add", name, "--address", machine.address, "--user", user, "--identity-file", str(machine.key),
            "--host-key-fingerprint", fingerprint(machine),
        )  # fmt: skip

    def add_provider(
        self, model: StandInModel, name: str = "local", model_id: str = MODEL, key: str | None = None
    ) -> None:
        """Take the stand-in model server on record, with a key or without."""
        self.run(
            "provider", "add", name, "--type", "custom", "--url", model.url, "--model", model_id,
            *(["--api-key-stdin"] if key else []), stdin=key,
        )  # fmt: skip

    def install(self, agent: str, host: str = "wolf-i", exit: int = 0) -> Done:
        """Install an agent."""
        return self.run("agent", "install", "--type", "hermes", "--host", host, "--name", agent, exit=exit)

    def configure(self, agent: str, *args: str, exit: int = 0) -> Done:
        """Configure an agent."""
        return self.run("agent", "configure", agent, *args, exit=exit)

    def status(self, agent: str, exit: int | None = 0) -> Any:
        """What ``clm agent status`` says."""
        return self.json("agent", "status", agent, exit=exit)

    def document(self, name: str) -> Any:
        """One of the state files as it is on disk."""
        return json.loads((self.state / name).read_text())

    def key(self, agent: str, host: str = "wolf-i") -> str:
        """The API key of an agent."""
        value: str = self.document("secrets.json")[f"{host}:hermes:{agent}"]["HERMES_API_SERVER_KEY"]["value"]
        return value


class Terminal:
    """A program at a pseudo terminal of its own, typed at and read from."""

    def __init__(
        self, argv: Sequence[str], environment: dict[str, str], cwd: Path | None = None, term: str = "xterm-256color"
    ) -> None:
        """Start it."""
        self._master, slave = pty.openpty()
        # So wide that nothing is folded or cut, and tests can expect whole sentences.
        self.resize(50, 1000)
        self._seen = ""
        self._read = 0
        self._process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**_without_size(environment), "TERM": term},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_sit_down,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            _kill(self._process)
        self._process.wait()
        if self._master >= 0:
            os.close(self._master)

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._process.pid

    @property
    def text(self) -> str:
        """Everything it has shown, without what steers the terminal."""
        return _ESCAPES.sub("", self._seen).replace("\r", "")

    @property
    def raw(self) -> str:
        """Everything it has written."""
        return self._seen

    def resize(self, lines: int, columns: int) -> None:
        """Give the terminal another size; the program is told."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press keys: ``\\n`` is Enter, ``\\x03`` Ctrl-C, ``\\x04`` Ctrl-D."""
        os.write(self._master, text.encode())

    def expect(self, text: str, seconds: float = 90) -> str:
        """Wait until it shows a text that was not expected before; returns what it showed up to there."""
        deadline = time.monotonic() + seconds
        while text not in self.text[self._read :]:
            if not self._receive(deadline):
                raise Failed(f"{text!r} was not shown; on the screen:\n{self.text}")
        start = self._read
        self._read = self.text.index(text, start) + len(text)
        return self.text[start : self._read]

    def end(self, seconds: float = 90) -> int:
        """Wait until it has ended; returns its exit code."""
        deadline = time.monotonic() + seconds
        while self._receive(deadline):
            pass
        try:
            return self._process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end; on the screen:\n{self.text}") from None

    def hang_up(self, seconds: float = 60) -> int:
        """Close the window of the terminal while the program runs; returns its exit code."""
        os.close(self._master)
        self._master = -1
        return self._process.wait(seconds)

    def _receive(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self._seen += data.decode(errors="replace")
        return bool(data)


def _sit_down() -> None:
    """Take the terminal on standard input for one's own, where signals do what they do for people."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _without_size(environment: dict[str, str]) -> dict[str, str]:
    """Leave out what would be believed instead of the terminal's own size."""
    return {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}


def fingerprint(machine: Machine) -> str:
    """The SHA256 fingerprint of a host's key, as its owner would read it to us."""
    lines = machine.known_hosts.read_text().splitlines()
    [line] = [line for line in lines if machine.address in line.split()[0].split(",")]
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=line, text=True, capture_output=True, check=True).stdout
    return shown.split()[1]


def unit(machine: Machine, agent: str) -> dict[str, str]:
    """The properties of an agent's unit, as systemd tells them."""
    shown = machine.ssh("systemctl", "show", f"hermes-{agent}.service").stdout
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def main_pid(machine: Machine, agent: str) -> int:
    """The daemon's process id; fails when it does not run."""
    properties = unit(machine, agent)
    assert (properties["ActiveState"], properties["SubState"]) == ("active", "running"), properties["ActiveState"]
    return int(properties["MainPID"])


def counted(output: str) -> tuple[int, int, int]:
    """How many of pyinfra's operations changed something, failed, and had nothing to do, by its results' last line."""
    _, success, error, noop = re.search(r"Grand total +(\S+) +(\S+) +(\S+) +(\S+)", output).groups()  # type: ignore[union-attr]
    changed, failed, same = (0 if cell == "-" else int(cell) for cell in (success, error, noop))
    return changed, failed, same


def logins(machine: Machine) -> int:
    """How many SSH connections were let in so far."""
    return len(re.findall("^Accepted publickey", _sshd(machine), re.M))


def knocks(machine: Machine) -> int:
    """How much sshd has to tell so far: it grows with every connection, let in or not."""
    return len(_sshd(machine).splitlines())


def built_release(lab: Lab) -> Path:
    """
    A layer for the disk of a host: the release, built there by our own installation, once.

    For tests of something else, which need many hosts: a build takes seconds.
    """
    scripts = [(REPOSITORY / "operations" / name).read_bytes() for name in ("wheels.sh", "release.sh")]
    name = digest("layer", manifest().release().id, *scripts, str(image().base))

    def build(folder: Path) -> None:
        [machine] = lab.boot(1)
        clm = Clm(folder / "config")
        clm.add_host(machine)
        clm.install("builder")
        (folder / "layer/opt").mkdir(parents=True)
        subprocess.run(["cp", "-a", machine.root / "opt/pyinfra-hermes", folder / "layer/opt"], check=True)
        lab.remove(machine)

    return made_once(cache_directory() / "wheels" / name, build) / "layer"


def _sshd(machine: Machine) -> str:
    return machine.ssh("journalctl --sync; journalctl --quiet --no-pager --output=cat --identifier=sshd").stdout


def _argv(args: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pyinfra_hermes.cli", *args]


def _kill(process: subprocess.Popen[Any]) -> None:
    # It leads a session of its own, so this takes its ssh along and nobody else.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
