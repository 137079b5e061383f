"""A way to an agent whose host says far too much, or does not end."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from types import SimpleNamespace
from typing import cast

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.ssh import forward
from pyinfra_hermes.cli.ssh.forward import Way
from pyinfra_hermes.cli.state.records import Instance
from pyinfra_hermes.facts.script import answer_about_journal


def test_a_host_cannot_fill_our_memory() -> None:
    way = object.__new__(Way)
    way._lines, way._errors = queue.SimpleQueue(), deque(maxlen=100)
    way._read(io.StringIO("y\n" * 20_000))
    assert way._lines.qsize() <= 2001
    way._lines = queue.SimpleQueue()
    way._read(io.StringIO("y" * 5_000_000 + "\nlistening 7\n"))
    pieces = [way._lines.get() for _ in range(way._lines.qsize())]
    assert all(piece is None or len(piece) <= 16384 for piece in pieces) and pieces[-2:] == ["listening 7", None]
    way._listen(io.StringIO("y\n" * 20_000 + "z" * 1_000_000))
    assert sum(map(len, way._errors)) <= 100 * 16384


def test_a_host_that_says_anything_but_the_answer_is_given_up() -> None:
    way = object.__new__(Way)
    way._lines, way._stdin = queue.SimpleQueue(), io.StringIO()
    way._read(io.StringIO("noise\n" * 20_000))
    assert way.mark() is False
    way._lines = queue.SimpleQueue()
    way._read(io.StringIO("noise\nend\nmore\n"))
    assert way.journal() == ["noise"], "the first end is the answer's"


def test_an_ssh_that_waits_for_somebody_elses_connection_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # What it ran has ended; ssh itself stays for as long as a connection through it is open.
    monkeypatch.setattr(forward, "_END_SECONDS", 0.05)
    way = object.__new__(Way)
    way._instance = cast(Instance, SimpleNamespace(host=SimpleNamespace(name="box")))
    way._errors, way._proven = deque(["closed\n"]), True
    way._listener = threading.Thread(target=int)
    way._listener.start()
    way._process = subprocess.Popen(["sleep", "600"], text=True)
    problem = way.end()
    assert (problem.message, problem.exit) == ("the connection to box was lost: closed", Exit.UNREACHABLE)
    assert way._process.returncode is not None


@pytest.mark.parametrize(
    ("journalctl", "alive"), [("printf '%s\\n' '-- cursor: c'", True), ("sleep 30", True), ("exit", False)]
)
def test_a_journal_that_hangs_is_no_connection_that_is_lost(
    monkeypatch: pytest.MonkeyPatch, journalctl: str, alive: bool
) -> None:
    monkeypatch.setattr(forward, "_ANSWER_SECONDS", 1)
    script = (
        "exit\n" if journalctl == "exit" else f"journalctl() {{ {journalctl}; }}\n{answer_about_journal('maurice')}"
    )
    way = object.__new__(Way)
    way._lines = queue.SimpleQueue()
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin and process.stdout
        way._stdin = process.stdin
        threading.Thread(target=way._read, args=(process.stdout,), daemon=True).start()
        assert way.mark() is alive
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
