"""Agents' journals, read over OpenSSH: one, or several side by side, once or for as long as somebody looks."""

from __future__ import annotations

import json
import math
import os
import queue
import select
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import click

from pyinfra_hermes.facts.script import journal_functions

from ..exits import Exit
from ..output import plain
from ..problems import Problem
from ..specification import secrets_of
from ..ssh.openssh import Login, LoginRefused, NoRoot, NotTrusted, explain, login_of
from ..state.errors import StateError
from ..state.lookup import Lookup
from ..state.records import Instance
from ..state.store import State
from ..state.unlocking import without_asking
from .neutral import Neutraliser
from .since import since as moment

_COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
_LONGEST_PAUSE = 30.0
#: First line from a host.
_REACHED = "reached"
#: How much is read that nobody has looked at yet: a terminal that is stopped must not fill our memory.
_MOST_WAITING = 1000
#: How much later than it was asked a host that is reached anew begins to look back, at most.
_LOGIN_SECONDS = 15
_KEEPALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")


@dataclass(frozen=True)
class Wanted:
    """What of the journals is wanted; ``file`` is one of Hermes' own logs instead of the journal."""

    lines: int
    follow: bool
    since: str | None = None
    grep: str | None = None
    file: str | None = None

    def script(self, agent: str, cursor: str | None, seconds: int | None) -> str:
        """
        Return what prints it on the agent's host; with ``cursor``, only what came after that entry, and without one,
        only that of the last ``seconds``.

        What follows ends with its standard input: otherwise it would be there until the next line, which nobody reads.
        """
        begin = f"{journal_functions()}echo {_REACHED}\n"
        if self.follow:
            begin += "exec 3<&0\n{ cat <&3; kill 0; } >/dev/null 2>&1 &\n"
        end = "\nkill $!\nexit\n" if self.follow else "\n"
        if self.file is not None:
            options = ["-n", str(self.lines), *(["-F"] if self.follow else [])]
            return f"{begin}own_log {shlex.join([agent, self.file, *options])}{end}"
        if cursor:
            options = [f"--after-cursor={cursor}", "--lines=all"]
        elif seconds is not None:
            options = [f"--since=-{seconds}s", "--lines=all"]
        else:
            options = [f"--lines={self.lines}", *([f"--since={self.since}"] if self.since else [])]
        options += ["--follow"] if self.follow else []
        options += [f"--grep={self.grep}"] if self.grep else []
        return f"{begin}entries {shlex.join([agent, *options])}{end}"


@dataclass(frozen=True)
class Note:
    """What is to be said of the connection to a host."""

    host: str
    text: str


@dataclass(frozen=True)
class GivenUp(Note):
    """That, and why: an agent's journal is not read any more."""

    problem: Problem

    @classmethod
    def to(cls, host: str, problem: Problem) -> GivenUp:
        """Say it with what mends it."""
        remedy = f" ({problem.remedy})" if problem.remedy else ""
        return cls(host, f"{problem.message}{remedy}", problem)


@dataclass(frozen=True)
class Entry:
    """One entry of a journal, without what could steer a terminal; of a file's line only the message is known."""

    agent: int
    message: str
    microseconds: int | None = None
    priority: int | None = None
    pid: int | None = None
    cursor: str | None = None

    @property
    def time(self) -> datetime | None:
        """When it was written, in the zone of whoever reads it."""
        return None if self.microseconds is None else datetime.fromtimestamp(self.microseconds / 1e6).astimezone()

    @classmethod
    def read(cls, agent: int, line: str) -> Entry | None:
        """Read a line of ``journalctl --output=json``; None when it is no entry."""
        try:
            found = json.loads(line)
            text = found["MESSAGE"]
            message = bytes(text).decode(errors="replace") if isinstance(text, list) else str(text)
            return cls(
                agent,
                neutral(message.rstrip("\n")),
                int(found["__REALTIME_TIMESTAMP"]),
                _number(found.get("PRIORITY")),
                _number(found.get("_PID")),
                found["__CURSOR"],
            )
        except (ValueError, TypeError, KeyError):
            return None


#: What a reader tells, and None at its end; or that nobody reads our output any more.
_Event = Entry | Note | BrokenPipeError | None


def show(references: Sequence[str], wanted: Wanted, format_: str) -> Exit:
    """
    Print agents' journals, and with ``follow`` what is added until Ctrl-C; returns how it went.

    Raises :class:`Problem` when nothing could be read at all.
    """
    state = State.open()
    snapshot = state.read()
    instances = list({i.key: i for i in map(snapshot.agent, references)}.values())
    for instance in instances:
        _reveal(snapshot, instance)
    readers = [_Reader(n, login_of(state, i.host), i, wanted) for n, i in enumerate(instances)]
    printer = _Printer(instances, format_)
    events: queue.Queue[_Event] = queue.Queue(_MOST_WAITING)
    given_up: list[GivenUp] = []
    try:
        for reader in readers:
            threading.Thread(target=reader.run, args=(events,), daemon=True).start()
        if wanted.follow and sys.stdout is not None:
            threading.Thread(target=_await_nobody, args=(sys.stdout.fileno(), events), daemon=True).start()
        for entry in _in_order(_until_all_end(events, len(readers), given_up, printer, wanted.follow), wanted.follow):
            printer.print(entry)
    except KeyboardInterrupt:
        return Exit.PARTLY if given_up else Exit.DONE
    except BrokenPipeError:
        # `| head` has enough. What is still to be flushed when Python ends goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    finally:
        for reader in readers:
            reader.end()
    last = given_up[-1] if len(given_up) == len(readers) else None
    for note in given_up:
        if not wanted.follow and (last is None or note.text != last.text):
            printer.note(note)
    if last is not None:
        raise last.problem
    return Exit.PARTLY if given_up else Exit.DONE


def since(text: str) -> str:
    """Return a moment for :class:`Wanted`. Raises ``ValueError``."""
    return moment(text, datetime.now().astimezone())


def neutral(text: str) -> str:
    """Return text without sequences that steer a terminal, whole or broken off."""
    neutraliser = Neutraliser()
    return neutraliser.feed(text) + neutraliser.end()


class _Reader:
    """Reads the journal of one agent; when it is followed and the connection is lost, from where it was."""

    def __init__(self, number: int, login: Login, instance: Instance, wanted: Wanted) -> None:
        self._number = number
        self._login = login
        self._instance = instance
        self._wanted = wanted
        self._cursor: str | None = None
        #: When it was reached first, by time.monotonic().
        self._reached: float | None = None
        self._process: subprocess.Popen[str] | None = None
        self._ended = False

    def end(self) -> None:
        self._ended = True
        if self._process is not None:
            self._process.kill()

    def run(self, events: queue.Queue[_Event]) -> None:
        """Put what is read on a queue, and what is to be said of the connection, and None at the end."""
        host = self._instance.host.name
        pause, said = 1.0, ""
        try:
            while not self._ended:
                try:
                    for entry in self._entries():
                        if entry is not None:
                            events.put(entry)
                        elif said:
                            events.put(Note(host, f"{host} is back"))
                        pause, said = 1.0, ""
                    return
                except (LoginRefused, NoRoot, NotTrusted) as problem:
                    events.put(GivenUp.to(host, problem))
                    return
                except Problem as problem:
                    # A file has no cursor: where it was left is not known.
                    follows = self._wanted.follow and self._wanted.file is None and self._reached is not None
                    if not follows or problem.exit != Exit.UNREACHABLE:
                        events.put(GivenUp.to(host, problem))
                        return
                    if problem.message != said:
                        said = problem.message
                        events.put(Note(host, f"{said.splitlines()[0]}; trying again until Ctrl-C"))
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            events.put(None)

    def _entries(self) -> Iterator[Entry | None]:
        """Give None when the host was reached, and then what it has. Raises :class:`Problem`."""
        process = subprocess.Popen(
            self._login.command(self._login.as_root(), options=_KEEPALIVE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C is for us: we end it.
            start_new_session=True,
        )
        self._process = process
        assert process.stdin and process.stdout and process.stderr
        complaints: list[str] = []
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(self._wanted.script(self._instance.agent.name, self._cursor, self._seconds()))
                process.stdin.flush()
                if not self._wanted.follow:
                    process.stdin.close()
            reached = process.stdout.readline().strip() == _REACHED
            if reached:
                self._reached = self._reached or _now()
                yield None
            for line in process.stdout:
                if self._wanted.file is not None:
                    yield Entry(self._number, neutral(line.rstrip("\n")))
                elif entry := Entry.read(self._number, line):
                    self._cursor = entry.cursor
                    yield entry
                else:
                    complaints.append(plain(line.strip()))
            status, said = process.wait(), process.stderr.read()
        finally:
            process.kill()
            process.wait()
        if self._ended:
            return
        if complaints:
            raise Problem(f"{self._instance.key}: {complaints[-1]}", None, Exit.FAILED)
        if reached and (status != 0 or self._wanted.follow):
            raise Problem(f"The connection to {self._instance.host.name} was lost", None, Exit.UNREACHABLE)
        if status != 0:
            raise explain(self._login, status, said)

    def _seconds(self) -> int | None:
        """How long it is followed already, rather too long; nothing of before is wanted when it is read anew."""
        return None if self._reached is None else math.ceil(_now() - self._reached) + _LOGIN_SECONDS


def _now() -> float:
    """Return seconds of a clock that goes on while this machine sleeps, as the host's does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


class _Printer:
    """Prints entries: plain for one agent, with its name before each line for several, or as objects."""

    def __init__(self, instances: Sequence[Instance], format_: str) -> None:
        self._instances = instances
        self._json = format_ == "json"
        self._noted: dict[str, str] = {}
        names = [instance.agent.name for instance in instances]
        shown = [n if names.count(n) == 1 else f"{i.host.name}/{n}" for n, i in zip(names, instances, strict=True)]
        width = max(map(len, shown))
        self._prefixes = [
            f"{click.style(name.ljust(width), fg=_COLORS[number % len(_COLORS)])}  " if len(shown) > 1 else ""
            for number, name in enumerate(shown)
        ]

    def print(self, entry: Entry) -> None:
        if self._json:
            click.echo(json.dumps(self._data(entry), ensure_ascii=False))
            return
        stamp = f"{entry.time:%Y-%m-%d %H:%M:%S}  " if entry.time else ""
        for line in entry.message.split("\n") or [""]:
            click.echo(f"{self._prefixes[entry.agent]}{click.style(stamp, dim=True)}{line}")

    def note(self, note: Note) -> None:
        """Say something of a host, which every agent of it tells: once."""
        if self._noted.get(note.host) != note.text:
            self._noted[note.host] = note.text
            click.echo(click.style(f"-- {time.strftime('%H:%M:%S')} {plain(note.text)}", dim=True), err=True)

    def _data(self, entry: Entry) -> dict[str, Any]:
        instance = self._instances[entry.agent]
        return {
            "agent": instance.agent.name,
            "host": instance.host.name,
            "time": entry.time.isoformat(timespec="microseconds") if entry.time else None,
            "priority": entry.priority,
            "pid": entry.pid,
            "message": entry.message,
        }


def _until_all_end(
    events: queue.Queue[_Event], readers: int, given_up: list[GivenUp], printer: _Printer, as_they_come: bool
) -> Iterator[Entry]:
    """
    Give the entries, and say what is to be said meanwhile.

    Who was given up is collected; followed, it is said at once as well, unless it is the last one.
    """
    left = readers
    while left:
        event = events.get()
        if event is None:
            left -= 1
        elif isinstance(event, BrokenPipeError):
            raise event
        elif isinstance(event, GivenUp):
            given_up.append(event)
            if as_they_come and len(given_up) < readers:
                printer.note(replace(event, text=f"{event.text}; given up, the others go on"))
        elif isinstance(event, Note):
            printer.note(event)
        else:
            yield event


def _await_nobody(descriptor: int, events: queue.Queue[_Event]) -> None:
    """Tell when nobody reads what we write any more: a journal may be quiet for hours before we would notice."""
    waiting = select.poll()
    waiting.register(descriptor, 0)
    if any(what & (select.POLLERR | select.POLLHUP) for _, what in waiting.poll()):
        events.put(BrokenPipeError())


def _in_order(entries: Iterator[Entry], as_they_come: bool) -> Iterator[Entry]:
    """Give entries of several agents by their time; followed ones as they come."""
    return entries if as_they_come else iter(sorted(entries, key=lambda entry: entry.microseconds or 0))


def _reveal(snapshot: Lookup, instance: Instance) -> None:
    """
    Have all secrets of an agent that are on record blacked out, beside those that its host knows.

    Encrypted ones that nothing opens are not: the host's filter does not need them.
    """
    with suppress(StateError), without_asking():
        for secret in secrets_of(snapshot, instance).values():
            secret.reveal()


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() else None
