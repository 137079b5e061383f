"""One writer at a time: an advisory lock on a file of its own, which says who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .directory import OpenDirectory, reason
from .errors import StateLocked, StateReadFailed, StateWriteFailed
from .timestamps import now, rfc3339

LOCK = ".lock"

#: How long to wait for another command, in seconds, when nobody says otherwise.
DEFAULT_WAIT = 10.0


@contextmanager
def locked(directory: OpenDirectory, wait: float = DEFAULT_WAIT) -> Iterator[None]:
    """
    Hold the writer's lock of a directory.

    The lock is the kernel's (flock) and goes with the process that holds it, however that ends; the record of
    the holder in the file is for the message only. The file stays: removing it would let two writers lock two
    files. Raises :class:`StateLocked` after ``wait`` seconds.
    """
    descriptor = directory.open_file(LOCK, os.O_RDWR | os.O_CREAT)
    assert descriptor is not None
    try:
        _wait_for(descriptor, directory.path, wait)
        _record(descriptor, json.dumps(_ourselves()).encode())
        try:
            yield
        finally:
            _record(descriptor, b"")
    finally:
        os.close(descriptor)


def holder(directory: OpenDirectory) -> tuple[str, str] | None:
    """Say who holds the lock, and how to look at them; None when nobody does. Takes nothing from a writer."""
    descriptor = directory.open_file(LOCK)
    if descriptor is None:
        return None
    try:
        # Shared, so that two who look are not in each other's way; a writer tries again in a moment.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    except OSError as error:
        raise StateReadFailed(f"Cannot tell who holds {directory.path / LOCK}: {reason(error)}") from None
    finally:
        os.close(descriptor)
    return None


def command_words(argv: Sequence[str]) -> str:
    """
    Say which command this is, for another operator: the program and at most three plain words.

    Nothing from the first option on is shown: what follows is not needed, and may be what nobody should read.
    """
    words = [Path(argv[0]).name if argv and argv[0] else "python"]
    for word in argv[1:4]:
        if word.startswith("-") or len(word) > 64 or not word.isprintable():
            break
        words.append(word)
    return " ".join(words)


def _wait_for(descriptor: int, path: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while not _try(descriptor, path):
        if time.monotonic() >= deadline:
            raise _held(descriptor, path, wait)
        # Waiters that poll in step would starve each other.
        time.sleep(random.uniform(0.002, 0.02))  # noqa: S311


def _try(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StateWriteFailed(f"Cannot lock {path / LOCK}: {reason(error)}") from None
    return True


def _ourselves() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "command": command_words(sys.argv),
        "host": socket.gethostname(),
        "since": rfc3339(now()),
    }


def _record(descriptor: int, text: bytes) -> None:
    # The record only serves a message: a full disk must not keep a writer from what it came for.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def _held(descriptor: int, path: Path, wait: float) -> StateLocked:
    who, look = _holder(descriptor)
    return StateLocked(
        f"The state in {path} is locked by {who}; waited {wait:g} s",
        f"Run the command again when that one has ended{f'; {look}' if look else ''}",
    )


def _holder(descriptor: int) -> tuple[str, str]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        pid, host = int(holder["pid"]), str(holder["host"])
        who = f"pid {pid} ({holder['command']}) on {host} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process", ""
    return who, f"on {host}, `ps -fp {pid}` shows it"
