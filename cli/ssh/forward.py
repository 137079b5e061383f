"""A way to an agent's API through SSH: a Unix socket here, the agent's loopback there, no port opened anywhere."""

from __future__ import annotations

import queue
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pyinfra_hermes.facts.script import END, answer_about_journal, await_start

from ..exits import Exit
from ..output import plain
from ..problems import Problem
from ..state.records import Instance
from ..state.store import State
from .openssh import Login, explain, login_of

#: Seconds that an agent which is just starting is waited for.
_START_SECONDS = 120
#: Seconds that a host may be silent beyond that: to be logged in at, and to read why an agent failed from its journal.
_SILENT_SECONDS = 45
#: Seconds that a question of ours may go unanswered.
_ANSWER_SECONDS = 10.0
#: Seconds that ssh may take to end when what it ran has ended.
_END_SECONDS = 2.0
#: What a host may say that nobody has read yet, in lines, and how long one may be: it must not fill our memory.
_MOST_LINES, _LONGEST_LINE = 2000, 16384


class Stopped(Problem):
    """The agent's host was reached, and the agent does not run there."""


class Way:
    """
    One ssh that leads to an agent's API, and that its host answers questions over.

    Use it in a ``with`` block, or :meth:`close` it: the ssh lives until then, or until the connection is lost.
    """

    def __init__(self, login: Login, instance: Instance, then: str, options: tuple[str, ...]) -> None:
        self._login = login
        self._instance = instance
        self._folder = tempfile.TemporaryDirectory(prefix="clm-")
        #: Where the agent's API is, for this user alone.
        self.socket = Path(self._folder.name) / "api.sock"
        port = instance.agent.port
        options = (*options, "-o", "ExitOnForwardFailure=yes", "-L", f"{self.socket}:127.0.0.1:{port}")
        self._process = subprocess.Popen(
            # The remote command ends, and the forward with it, when its standard input is closed.
            login.command(login.as_root(), options=options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C at the terminal gives up an answer; it must not reach the way to the agent.
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin = self._process.stdin
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors: deque[str] = deque(maxlen=100)
        self._proven = False
        # A full pipe must not stop ssh: both are read whether somebody listens or not.
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        with suppress(BrokenPipeError):
            self._stdin.write(await_start(instance.agent.name, port, _START_SECONDS) + f"echo {END}\n{then}")
            self._stdin.flush()

    @classmethod
    def open(cls, state: State, instance: Instance, *, then: str | None = None, options: tuple[str, ...] = ()) -> Self:
        """
        Reach an agent's API.

        Before the way is used, the host is asked whether the port is held by the agent's own process: the key is sent
        to nobody else. An agent that is starting is waited for.

        + then: what the host does afterwards; it answers :meth:`journal` when not given
        + options: options for ssh

        Raises :class:`Problem`: :class:`Stopped` when it does not run.
        """
        script = answer_about_journal(instance.agent.name) if then is None else then
        way = cls(login_of(state, instance.host), instance, script, options)
        try:
            way._prove()
        except BaseException:
            way.close()
            raise
        return way

    @property
    def alive(self) -> bool:
        """Whether the connection still is there, as far as is known."""
        return self._process.poll() is None

    def line(self, seconds: float | None = None) -> str | None:
        """
        Return the next line that the host says; None when the connection has ended.

        Raises :class:`TimeoutError` when it says nothing for so long.
        """
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None

    def mark(self) -> bool:
        """
        Have the host remember where the agent's journal ends now.

        False when it says nothing: the connection is lost, or there is only silence on it. A journal that is slow to
        answer is no reason: then more of it is told by :meth:`journal` than came since.
        """
        token = secrets.token_hex(8)
        return f"alive {token}" in self._answer(f"mark {token}", f"marked {token}")

    def journal(self, lines: int = 60) -> list[str]:
        """Return what the agent's journal got since :meth:`mark`, without credentials; nothing when it is cut off."""
        found = self._answer(f"since {lines}", END)
        # A mark that was answered too late comes before the lines.
        return [plain(line) for line in found if line != END and not line.startswith(("alive ", "marked "))]

    def end(self) -> Problem:
        """Say why the connection has ended."""
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            # What it ran there has ended; ssh itself waits for connections through it that somebody has open still.
            self._process.kill()
            status = self._process.wait()
        self._listener.join(1)
        said = "".join(self._errors)
        if self._proven:
            reason = f": {plain(said.strip().splitlines()[-1])}" if said.strip() else ""
            name = self._instance.host.name
            return Problem(f"the connection to {name} was lost{reason}", f"clm host check {name}", Exit.UNREACHABLE)
        return explain(self._login, status, said)

    def close(self) -> None:
        """End the connection."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._stdin.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, stream: IO[str]) -> None:
        with suppress(ValueError):
            for line in _lines_of(stream):
                # What is too much is dropped: whoever says so much is no host of ours.
                if self._lines.qsize() < _MOST_LINES:
                    self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _listen(self, stream: IO[str]) -> None:
        with suppress(ValueError):
            self._errors.extend(_lines_of(stream))

    def _answer(self, question: str, last: str) -> list[str]:
        """Ask, and return what the host says up to the line ``last``; without that when it is cut off, or too slow."""
        # A connection that is gone is noticed by whoever reads.
        with suppress(OSError):
            self._stdin.write(f"{question}\n")
            self._stdin.flush()
        found: list[str] = []
        with suppress(TimeoutError):
            for line in self._lines_until(last, _ANSWER_SECONDS):
                found.append(line)
        return found

    def _lines_until(self, last: str, seconds: float) -> Iterator[str]:
        """
        Give what the host says, up to the line ``last`` or to the end of the connection.

        Raises :class:`TimeoutError` after so many seconds, however much it says meanwhile.
        """
        deadline = time.monotonic() + seconds
        for _ in range(_MOST_LINES):
            line = self.line(max(0.0, deadline - time.monotonic()))
            if line is None:
                return
            yield line
            if line == last:
                return

    def _prove(self) -> None:
        try:
            said = list(self._lines_until(END, _START_SECONDS + _SILENT_SECONDS))
        except TimeoutError:
            name = self._instance.host.name
            raise Problem(
                f"{name} does not say whether agent {self._instance.agent.name} runs: its login hangs, or all of it",
                f"clm host check {name}",
                Exit.UNREACHABLE,
            ) from None
        if END not in said:
            raise self.end()
        lines = [plain(line.rstrip()) for line in said[:-1]]
        word, _, detail = lines[0].partition(" ") if lines else ("", "", "the host says nothing")
        if word == "listening":
            self._proven = True
            self._pass_through()
            return
        agent = self._instance.agent
        if detail.startswith("the unit is inactive"):
            raise Stopped(f"Agent {self._instance.key} is stopped", f"clm agent start {agent.name}", Exit.UNHEALTHY)
        more = "\n".join(f"  {line}" for line in lines[1:])
        what = f"Agent {self._instance.key} does not serve: {detail}\n{more}".rstrip()
        raise Stopped(what, f"clm agent status {agent.name}", Exit.UNHEALTHY)

    def _pass_through(self) -> None:
        """Raise :class:`Problem` when the host's sshd forbids forwards: it closes every connection and says nothing."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ANSWER_SECONDS)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                passed = probe.recv(1) != b""
            except TimeoutError:
                # It was not closed: the agent is busy.
                passed = True
            except OSError:
                passed = False
        if passed:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS / 10)
            raise self.end()
        host, agent = self._instance.host.name, self._instance.agent
        raise Problem(
            f"{host} does not pass connections on to agent {agent.name}, which listens on port {agent.port} there",
            "Unless it was stopped just now, sshd forbids it: AllowTcpForwarding local in /etc/ssh/sshd_config there",
            Exit.UNREACHABLE,
        )


def _lines_of(stream: IO[str]) -> Iterator[str]:
    """Read lines; one that is too long comes in pieces."""
    return iter(lambda: stream.readline(_LONGEST_LINE), "")


@contextmanager
def forwarded(state: State, instance: Instance) -> Iterator[Path]:
    """Open a Unix socket that leads to the agent's API; see :meth:`Way.open`."""
    with Way.open(state, instance) as way:
        yield way.socket
