"""Hold agents of a host against other runs, for as long as this run and its connection last."""

from __future__ import annotations

import atexit
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from pyinfra.api import StringCommand
from typing_extensions import override

from . import streaming
from .operators import operator

#: Seconds that another run is given to end.
WAIT = 3
#: Seconds after which a host that has heard nothing from a run lets its agents go. It hears something every 10 seconds.
SILENCE = 60
_BEAT = 10
_BUSY = 75
_MOST_SAID = 4000


class Locked(Exception):
    """Another run holds an agent."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(str(holder))
        self.holder = holder


class Unavailable(Exception):
    """The host did not do what holds an agent; the text is what it said of it."""


@dataclass(frozen=True)
class Holder:
    """Who holds an agent, as the host has it on record."""

    agent: str
    by: str
    what: str
    since: datetime
    #: By the host's own clock.
    seconds: int

    @override
    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC ({self.seconds} s ago)"
        return f"agent {self.agent} is being changed by {self.by}: {self.what}, since {since}"


@dataclass
class _Held:
    agents: set[str]
    #: Standard input, output and error of what holds them there, as long as these are open.
    channels: list[tuple[Any, Any, Any]]
    #: What talks to it now and then.
    beats: list[Any]


_held: WeakKeyDictionary[Any, _Held] = WeakKeyDictionary()
_name: list[str] = []


def called(what: str) -> None:
    """Say what this run is, for those who find an agent held by it: a command without what is confidential in it."""
    _name[:] = [what]


def hold(host: Any, agents: Iterable[str], sudo: bool | None = None) -> bool:
    """
    Hold agents of a host, each until this run or its connection ends; tell whether that is possible there.

    Hosts that are not reached over SSH, such as ``@local`` and ``@docker``, are not locked. What is held already costs
    nothing. ``sudo``: whether it is needed; as the current operation says when not given. Raises :class:`Locked` or
    :class:`Unavailable`; then nothing of it is held.
    """
    held = _held.get(host)
    missing = sorted(set(agents) - (held.agents if held else set()))
    if not missing:
        return True
    if not streaming.is_possible():
        return False
    words = ["sh", "-c", _script(), "sh", str(WAIT), str(SILENCE), _plain(operator()), _plain(_what()), *missing]
    stdin, stdout, stderr = streaming.begin(StringCommand(shlex.join(words)), **({"_sudo": True} if sudo else {}))
    first = stdout.readline().strip()
    if first != "held":
        said = [first, *(line.strip() for line in stdout.read(_MOST_SAID).decode(errors="replace").splitlines())]
        complaint = stderr.read(_MOST_SAID).decode(errors="replace").strip()
        status = stdout.channel.recv_exit_status()
        stdout.channel.close()
        if status == _BUSY and len(said) >= 6:
            raise Locked(_holder(said))
        raise Unavailable(complaint or f"agents cannot be locked there (exit status {status})")
    entry = _held.setdefault(host, _Held(set(), [], []))
    entry.agents.update(missing)
    # stdin is kept as well: paramiko closes a channel with the last of its files.
    entry.channels.append((stdin, stdout, stderr))
    entry.beats.append(gevent.spawn(_beat, stdin.channel))
    return True


def is_lost(host: Any) -> bool:
    """Tell whether the host let agents go that this run was to hold: it did not hear from us for too long."""
    held = _held.get(host)
    return held is not None and any(stdout.channel.exit_status_ready() for _, stdout, _ in held.channels)


def hold_again(host: Any) -> None:
    """
    Hold what was lost with an earlier connection, over the present one.

    The host may believe for a while that the earlier one still holds it. Raises :class:`Locked` or
    :class:`Unavailable`; it can be tried again then.
    """
    lost = _held.get(host)
    if lost is None or not is_lost(host):
        return
    del _held[host]
    try:
        hold(host, lost.agents)
    except BaseException:
        _held[host] = lost
        raise


def let_go(host: Any) -> None:
    """Let everything go that is held on a host; the end of the connection does it, too, a moment later."""
    held = _held.pop(host, None)
    if held is None:
        return
    gevent.killall(held.beats, block=False)
    for stdin, _, _ in held.channels:
        with suppress(OSError, EOFError):
            stdin.channel.close()


@atexit.register
def _let_all_go() -> None:
    # Of what is left to the end of the interpreter, paramiko makes a traceback: pyinfra itself closes no channel.
    for host in list(_held):
        let_go(host)


def _beat(channel: Any) -> None:
    with suppress(OSError, EOFError):
        while not channel.closed and not channel.exit_status_ready():
            channel.sendall(b"\n")
            gevent.sleep(_BEAT)


@cache
def _script() -> str:
    text = resources.files("pyinfra_hermes.operations").joinpath("lock.sh").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _what() -> str:
    return _name[0] if _name else Path(sys.argv[0]).name or "python"


def _plain(text: str) -> str:
    # One line of the record; it is shown to others, and at terminals.
    return "".join(char if char.isprintable() and ord(char) < 127 else "?" for char in text)[:120]


def _holder(said: list[str]) -> Holder:
    _, agent, since, now, by, what = said[:6]
    try:
        began, is_now = int(since), int(now)
    except ValueError:
        began = is_now = 0
    return Holder(agent, _plain(by), _plain(what), datetime.fromtimestamp(began, UTC), max(0, is_now - began))
