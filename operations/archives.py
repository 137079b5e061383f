"""Take what an agent's home has of its own to somewhere else, and put it back. Streamed: no copy stays on the host."""

from __future__ import annotations

import errno
import json
import shlex
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host, ctx_state

from pyinfra_hermes.facts.leaves import KeyPath
from pyinfra_hermes.facts.observation import AgentState
from pyinfra_hermes.facts.script import PENDING

from . import streaming
from .announcing import Change, announce
from .commands import as_agent, note_leaves, note_restart, refuse, unobserved
from .observing import forget, observe_agent

_MOST_SKIPPED = 4 << 20


@dataclass(frozen=True)
class Found:
    """A file or a folder of an agent, as its host tells of it: not to be believed before it is checked."""

    path: str
    kind: str
    mode: int
    size: int
    modified: int


class Unwanted(Exception):
    """What comes cannot be taken; the text says why. Raised by whoever takes it, or gives it."""


#: Takes one file or folder with its content; may raise :class:`Unwanted` or ``OSError``.
Take = Callable[[Found, Iterator[bytes]], None]


@operation()
def exported(
    agent: str,
    home: str,
    rules: Mapping[str, Any],
    take: Take,
    skipped: Callable[[str, str], None],
    secrets: bool = False,
    stopped: str | None = None,
) -> Generator[StringCommand, None, None]:
    """
    Read everything of an agent's home that is its own; the agent may go on with what it does.

    + agent: name of the agent
    + home: its ``~/.hermes``
    + rules: what is left out, and what is secret
    + take: gets each file and folder, a folder before what is in it
    + skipped: gets the path of each link, device and the like that was not taken along, and why
    + secrets: whether files with credentials are taken along
    + stopped: the agent's unit, when it is to be stopped meanwhile; it is started again in any case

    Read as the agent, without following a link; databases through SQLite's backup interface.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import archives

        archives.exported(
            name="Back up the agent",
            agent="maurice",
            home="/home/maurice/.hermes",
            rules=rules(),
            take=draft.take,
            skipped=draft.skip,
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if why := _why_not(state):
        yield refuse(why)
        return
    if not _executing():
        yield StringCommand("true")
        return
    request = {"home": home, "rules": rules, "secrets": secrets}
    command = _python(state, home, "export.py.txt", request)
    if stopped is not None and state.unit is not None and state.unit.running:
        unit = shlex.quote(stopped)
        again = QuoteString(f"systemctl start {unit}")
        command = StringCommand("trap", again, "EXIT; systemctl stop", unit, "&& {", command, "; }")
        command = StringCommand("sh -c", QuoteString(command))
        forget()
    try:
        streaming.run(command, read=lambda stream: _take_all(stream, take, skipped))
    except (streaming.Interrupted, Unwanted, OSError) as error:
        yield refuse(f"the backup was given up: {_reason(error)}")


@operation()
def replaced(
    agent: str,
    home: str,
    rules: Mapping[str, Any],
    give: Callable[[], Iterator[tuple[Mapping[str, Any], Iterator[bytes]]]],
    size: int,
    schema: int | None,
    leaves: Iterable[KeyPath] = (),
) -> Generator[StringCommand, None, None]:
    """
    Put what a backup holds in the place of what a stopped agent's home has of its own.

    + agent: name of the agent
    + home: its ``~/.hermes``
    + rules: what is left out, and what is secret
    + give: gives each file and folder as a mapping with path, kind, mode, size, sha256 and modified, and its content
    + size: bytes of all of it
    + schema: schema of the ``state.db`` in it, which the agent's release must be able to read
    + leaves: paths in its ``config.yaml`` that we had set

    All of it is on the host and checked before the first of what was there is moved aside. :func:`settled` ends it.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import archives

        archives.replaced(
            name="Put the backup back",
            agent="maurice",
            home="/home/maurice/.hermes",
            rules=rules(),
            give=archive.contents,
            size=archive.manifest.size,
            schema=archive.manifest.schema,
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if why := _why_not(state):
        yield refuse(why)
        return
    if state.unit is not None and state.unit.active not in ("inactive", "failed"):
        yield refuse(f"agent {agent} runs: nothing is put under a running daemon")
        return
    announce(Change("change", home, "memories, conversations, skills and configuration"))
    if not _executing():
        yield StringCommand("true")
        return
    request = {"home": home, "rules": rules, "do": "put", "schema": schema, "size": size}
    try:
        streaming.run(_python(state, home, "restore.py.txt", request), feed=_given(give))
    except (streaming.Interrupted, Unwanted, OSError) as error:
        yield refuse(_reason(error))
        return
    paths = {*(state.set_leaves or ()), *leaves}
    forget()
    yield StringCommand(note_restart(agent), *(["&&", note_leaves(agent, paths)] if paths else []))


@operation()
def settled(
    agent: str, home: str, rules: Mapping[str, Any], do: Literal["keep", "drop", "undo"], after: Callable[[str], None]
) -> Generator[StringCommand, None, None]:
    """
    End what :func:`replaced` began: keep what was put there, or undo it.

    + agent: name of the agent
    + home: its ``~/.hermes``
    + rules: what is left out, and what is secret
    + do: ``keep`` it; ``drop`` what was there before, too; or ``undo`` it, for which the agent must be stopped
    + after: called with the folder that what was there before was moved to; empty when there was nothing, or no more

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import archives

        archives.settled(
            name="Keep what was put back",
            agent="maurice",
            home="/home/maurice/.hermes",
            rules=rules(),
            do="keep",
            after=print,
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if not state.ours:
        yield refuse(f"the account {agent} was not made by pyinfra-hermes")
        return
    if not _executing():
        yield StringCommand("true")
        return
    request = {"home": home, "rules": rules, "do": do}
    try:
        said = streaming.run(_python(state, home, "restore.py.txt", request))
    except (streaming.Interrupted, OSError) as error:
        yield refuse(_reason(error))
        return
    forget()
    after(said.decode(errors="replace").strip())


@operation()
def arrival(agent: str, note: str | None) -> Generator[StringCommand, None, None]:
    """
    Note on a host that an agent is on its way to it, or that it has arrived.

    + agent: name of the agent
    + note: a line that says where it comes from and how far it is; None takes the note away

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import archives

        archives.arrival(name="Note where it comes from", agent="maurice", note="wolf-i copying", _sudo=True)
    """
    path = QuoteString(f"{PENDING}/{agent}.arrival")
    if note is None:
        yield StringCommand("rm -f --", path)
        return
    part = QuoteString(f"{PENDING}/{agent}.arrival.part")
    yield StringCommand(
        "mkdir -p --", PENDING, "&& printf '%s\\n'", QuoteString(note), ">", part, "&& sync --", part,
        "&& mv -fT --", part, path,
    )  # fmt: skip


def _why_not(state: AgentState) -> str | None:
    if not state.ours:
        return f"there is no account {state.name} that pyinfra-hermes made"
    found = state.paths.get("hermes")
    if found is None or found.kind != "directory" or found.owner != state.name:
        return f"the home of agent {state.name} is not there, or is not its own"
    if _executing() and not streaming.is_possible():
        return f"{ctx_host.get().name} is not reached over SSH, and backups are streams over SSH"
    return None


def _executing() -> bool:
    return bool(getattr(ctx_state.get(), "is_executing", False))


def _python(state: AgentState, home: str, script: str, request: Mapping[str, Any]) -> StringCommand:
    room = resources.files("pyinfra_hermes.operations")
    text = "".join(room.joinpath(name).read_text(encoding="utf-8") for name in ("home.py.txt", script))
    # The release's own Python where there is one; SQLite is in the system's as well.
    python = f'p={shlex.quote(home)}/code/venv/bin/python; [ -x "$p" ] || p=python3; exec "$p" -I -c '
    return as_agent(
        state.account, state.name, StringCommand(python, QuoteString(text), QuoteString(json.dumps(request)))
    )


def _take_all(stream: streaming.Inflated, take: Take, skipped: Callable[[str, str], None]) -> None:
    while True:
        row = _row(stream.line(_MOST_SKIPPED))
        if "end" in row:
            try:
                left = [(str(path), str(why)) for path, why in row["end"]]
            except (TypeError, ValueError):
                raise Unwanted("the host tells what cannot be read") from None
            for path, why in left:
                skipped(path, why)
            return
        try:
            found = Found(**row)
            sizes = found.mode, found.size, found.modified
            if not all(type(number) is int and number >= 0 for number in sizes):
                raise Unwanted("the host tells of a file without a size")
        except TypeError:
            raise Unwanted("the host tells of something that is no file") from None
        pieces = stream.pieces(found.size)
        take(found, pieces)
        for _ in pieces:
            pass


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise Unwanted("the host tells what cannot be read")
    return row


def _given(give: Callable[[], Iterator[tuple[Mapping[str, Any], Iterator[bytes]]]]) -> Iterator[bytes]:
    for row, content in give():
        yield json.dumps(dict(row)).encode() + b"\n"
        yield from content
    yield b'{"end": []}\n'


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.strerror} on the machine that clm runs on: make room there, or choose another folder"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
