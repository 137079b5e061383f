"""
Connections that stay open for a while after a look at a host, for the next look.

OpenSSH's own multiplexing, with a socket in a folder of this user alone. A connection is used again only for the very
login that it was opened for, while the list of trusted host keys is as it was then.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..exits import Exit
from ..problems import Problem
from .sockets import private_folder

if TYPE_CHECKING:
    from .openssh import Login

VARIABLE = "CLM_SSH_PERSIST"
#: Seconds for which a connection is kept that nobody uses.
_SECONDS = 60
_MOST_SECONDS = 3600
#: sockaddr_un holds 107 bytes, and ssh(1) makes the socket under a name that is 17 longer.
_LONGEST_PATH = 90
#: Within which one that is open says hello.
_HELLO_SECONDS = 1.0


@dataclass(frozen=True)
class Kept:
    """A connection that may be open already, and stays open."""

    path: Path
    seconds: int

    def is_open(self) -> bool | None:
        """Tell whether it is open; None when nobody can tell: what holds it was stopped, by Ctrl-Z for one."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_HELLO_SECONDS)
            try:
                probe.connect(str(self.path))
                return bool(probe.recv(1))
            except TimeoutError:
                return None
            except OSError:
                return False

    @property
    def options(self) -> tuple[str, ...]:
        """Options for ssh(1), to stand before others: it uses the connection when it is open, or opens it."""
        # A host that is gone must not be taken for a slow one for long. A percent sign would stand for something.
        path = str(self.path).replace("%", "%%")
        return (
            "-o", "ControlMaster=auto", "-o", f'ControlPath="{path}"', "-o", f"ControlPersist={self.seconds}",
            "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2",
        )  # fmt: skip


def seconds() -> int:
    """Return for how long connections are kept, 0 for not at all. Raises :class:`Problem` for what is no number."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return _SECONDS
    if not (text.isascii() and text.isdecimal()) or int(text) > _MOST_SECONDS:
        raise Problem(
            f"{VARIABLE}={text} is no number of seconds from 0 to {_MOST_SECONDS}",
            f"{VARIABLE}=0 keeps no connection, unset {VARIABLE} keeps each for {_SECONDS} seconds",
            Exit.USAGE,
        )
    return int(text)


def kept(login: Login) -> Kept | None:
    """Return the connection of a login that is kept; None where none can be, or shall be."""
    if (wanted := seconds()) == 0:
        return None
    try:
        folder = private_folder()
        trusted = login.known_hosts.read_bytes()
    except (Problem, OSError):
        return None
    which = [login.address, login.port, login.user, login.identity_file, str(login.known_hosts), wanted]
    key = hashlib.sha256(json.dumps(which).encode() + trusted).hexdigest()[:16]
    path = folder / f"ssh-{key}"
    return Kept(path, wanted) if len(os.fsencode(path)) <= _LONGEST_PATH and '"' not in str(path) else None
