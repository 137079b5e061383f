"""Where a tunnel is entered on this machine: a port of the loopback, a Unix socket for this user alone."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..exits import Exit
from ..problems import Problem

#: Below the ports that Linux gives to outgoing connections (32768 and more).
_FIRST_PORT, _PORTS = 20000, 10000
#: How many ports, and names of sockets, are tried after the one that an agent has.
_ATTEMPTS = 50
#: sockaddr_un holds no more, its last byte apart; unix(7).
_LONGEST_PATH = 107
_WAITING = 64


def stable_port(key: str) -> int:
    """Return the port of an agent's tunnels, by its instance key: the same one every time."""
    return _FIRST_PORT + zlib.crc32(key.encode()) % _PORTS


def on_port(port: int) -> socket.socket:
    """Listen on a port of the loopback. Raises :class:`Problem` when it is taken, or not ours to take."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(_WAITING)
    except OSError as error:
        listening.close()
        raise Problem(
            f"Port {port} of 127.0.0.1 cannot be listened on: {error.strerror}",
            "Take another with --port, or leave the choice to clm",
            Exit.REFUSED,
        ) from None
    return listening


def on_free_port(first: int) -> socket.socket:
    """Listen on a port of the loopback, or on the next one that is free. Raises :class:`Problem`."""
    for port in range(first, first + _ATTEMPTS):
        with suppress(Problem):
            return on_port(port)
    raise Problem(f"No port from {first} to {first + _ATTEMPTS - 1} is free", "Name one with --port", Exit.REFUSED)


def on_socket(path: Path) -> socket.socket:
    """
    Listen on a Unix socket that only this user can open. One that nobody listens on any more is replaced.

    Raises :class:`Problem` when somebody listens on it, when something else is there, or it cannot be made.
    """
    remedy = "Name another with --socket"
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise Problem(
            f"{path} is longer than the {_LONGEST_PATH} bytes that a socket's name may have", remedy, Exit.USAGE
        )
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone(path.parent):
            _clear(path, remedy)
            # The mode is that of bind(2), so there is no moment in which others could connect.
            before = os.umask(0o177)
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
            listening.listen(_WAITING)
    except OSError as error:
        listening.close()
        raise Problem(f"{path} cannot be made: {error.strerror}", remedy, Exit.REFUSED) from None
    except Problem:
        listening.close()
        raise
    return listening


def on_free_socket(folder: Path, name: str) -> tuple[Path, socket.socket]:
    """Listen on ``NAME.sock`` of a folder, or ``NAME-2.sock`` and so on when others do. Raises :class:`Problem`."""
    for number in range(1, _ATTEMPTS):
        path = folder / (f"{name}.sock" if number == 1 else f"{name}-{number}.sock")
        with suppress(InUse):
            return path, on_socket(path)
    raise Problem(f"There are {_ATTEMPTS} tunnels to {name}", "End some, or name a socket with --socket", Exit.REFUSED)


class InUse(Problem):
    """Somebody listens there already."""


def _clear(path: Path, remedy: str) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Problem(f"{path} is there, and is no socket: it is left as it is", remedy, Exit.REFUSED)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass
    raise InUse(f"{path} is in use: another tunnel listens on it", remedy, Exit.REFUSED)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep another tunnel from taking our new socket for a stale one, or both from replacing the same one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
