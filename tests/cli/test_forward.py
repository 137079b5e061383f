"""What a host says over the way to an agent, when it says far too much."""

from __future__ import annotations

import io
import queue
from collections import deque

from pyinfra_hermes.cli.ssh.forward import Way


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
