"""
Connections that stay open for a while after a look at a host, for the next look.

OpenSSH's own multiplexing, with a socket in a folder of this user alone. A connection is used again only for the very
login that it was opened for, while the list of trusted host keys and the user's configuration are as they were then.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..exits import Exit
from ..problems import Problem
from .configuration import users_file
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
#: What ssh(1) says of connections that are kept: one took no session, or the socket of a new one cannot be made.
_PASSED_OVER = re.compile(
    r"^(?:mux|unix_listener|Control ?(?:Socket|socket|Path)|Failed to connect to new control master).*\n?", re.MULTILINE
)


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
            except (TimeoutError, BlockingIOError):
                # The latter when too many wait for it already: ssh(1) would wait, too.
                return None
            except OSError:
                return False

    @property
    def options(self) -> tuple[str, ...]:
        """Options for ssh(1), to stand before others: it uses the connection when it is open, or opens it."""
        # A host that is gone must not be taken for a slow one for long. A percent sign would stand for something.
        path = str(self.path).replace("%", "%%")
        # What the user's configuration forwards is for their own sessions: a port of theirs must not be taken for as
        # long as this stays open, nor their agent be there for a host that nobody is logged in at.
        return (
            "-o", "ControlMaster=auto", "-o", f'ControlPath="{path}"', "-o", f"ControlPersist={self.seconds}",
            "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2",
            "-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no", "-o", "ForwardX11=no",
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
    trusted += _configuration()
    which = [login.address, login.port, login.user, login.identity_file, str(login.known_hosts), wanted]
    key = hashlib.sha256(json.dumps(which).encode() + trusted).hexdigest()[:16]
    path = folder / f"ssh-{key}"
    # ssh(1) reads quotation marks, and puts variables of the environment in the place of ${NAME}.
    plain = '"' not in str(path) and "${" not in str(path)
    return Kept(path, wanted) if plain and len(os.fsencode(path)) <= _LONGEST_PATH else None


def _configuration() -> bytes:
    # A name may lead elsewhere by it.
    with suppress(OSError, KeyError):
        return users_file().read_bytes()
    return b""


def said_besides(stderr: str) -> tuple[str, bool]:
    """Return what ssh(1) said besides that it could use, or keep, no connection of ours, and whether it said that."""
    rest, times = _PASSED_OVER.subn("", stderr.replace("\r\n", "\n"))
    return rest.strip(), times > 0
