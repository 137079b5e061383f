"""A program's output, read to its end or to a limit: what is on the other side must not fill this machine's memory."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

_PIECE = 65536
#: What is kept of standard error, in bytes; what comes after is read and dropped, as the end of a story is.
_MOST_ERRORS = 65536


class TooMuch(Exception):
    """A program printed more than was allowed; it was ended."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it printed; octets that are no UTF-8 are replaced."""

    returncode: int
    stdout: str
    stderr: str


class BrokenOff(Exception):
    """Nobody waits for the program any more; it was ended."""


class _Own(threading.local):
    """What a thread goes by: what can be read from as soon as nobody waits for it any more."""

    broken_off: int | None = None


_own = _Own()


@contextmanager
def side_by_side(threads: int) -> Iterator[ThreadPoolExecutor]:
    """
    Give threads to call :func:`run` in. What breaks the block off, Ctrl-C for one, breaks them off: :class:`BrokenOff`.

    Ctrl-C at a terminal ends ssh(1) by itself, but for what it has another one do, which keeps its pipes open.
    """
    reading, writing = os.pipe()

    def join() -> None:
        _own.broken_off = reading

    try:
        with ThreadPoolExecutor(threads, initializer=join) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                os.write(writing, b".")
                raise
    finally:
        os.close(reading)
        os.close(writing)


def run(argv: Sequence[str], stdin: str, *, seconds: float, most: int) -> Ended:
    """
    Run a program with a text on its standard input.

    + seconds: it is ended after so many, by ``subprocess.TimeoutExpired``
    + most: bytes that it may print; one more is :class:`TooMuch`
    """
    deadline = time.monotonic() + seconds
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with selectors.DefaultSelector() as selector:
            output, errors = _exchange(process, selector, stdin.encode(), deadline, most)
        returncode = process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise subprocess.TimeoutExpired(list(argv), seconds) from None
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        process.wait()
    return Ended(returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def _exchange(
    process: subprocess.Popen[bytes], selector: selectors.BaseSelector, data: bytes, deadline: float, most: int
) -> tuple[bytes, bytes]:
    assert process.stdin and process.stdout and process.stderr
    output, errors, left = bytearray(), bytearray(), memoryview(data)
    for pipe in (process.stdin, process.stdout, process.stderr):
        os.set_blocking(pipe.fileno(), False)
    selector.register(process.stdout, selectors.EVENT_READ)
    selector.register(process.stderr, selectors.EVENT_READ)
    selector.register(process.stdin, selectors.EVENT_WRITE)
    others = 0
    if _own.broken_off is not None:
        others = 1
        selector.register(_own.broken_off, selectors.EVENT_READ)
    while len(selector.get_map()) > others:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise subprocess.TimeoutExpired([], 0)
        for key, _ in selector.select(remaining):
            if key.fileobj == _own.broken_off:
                raise BrokenOff
            if key.fileobj is process.stdin:
                try:
                    left = left[os.write(key.fd, left[:_PIECE]) :]
                except BrokenPipeError:
                    # It ended before it had read all; what it says about that is on its standard error.
                    left = left[:0]
                if not left:
                    selector.unregister(process.stdin)
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
                continue
            piece = os.read(key.fd, _PIECE)
            if not piece:
                selector.unregister(key.fileobj)
            elif key.fileobj is process.stderr:
                errors += piece[: _MOST_ERRORS - len(errors)]
            else:
                output += piece
                if len(output) > most:
                    raise TooMuch
    return bytes(output), bytes(errors)
