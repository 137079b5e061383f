"""Manage what an agent remembers: its memory files, as a whole or entry by entry, beside a daemon that writes, too."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Generator
from importlib import resources
from typing import Any, Literal
from weakref import WeakKeyDictionary

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.memories import HermesMemories
from pyinfra_hermes.facts.memory_files import Memories, MemoryFile
from pyinfra_hermes.facts.script import memory_home

from .announcing import Change, announce
from .commands import as_agent, refuse, unobserved

#: What ``expected`` says of a file that must not be there.
ABSENT = "absent"
#: Seconds that another process may hold the lock. Hermes holds it for a few milliseconds.
_WAIT = 20

#: What was seen of each host and is to be used once: the files by agent and name.
_seen: WeakKeyDictionary[Any, dict[tuple[str, str], MemoryFile]] = WeakKeyDictionary()


@operation()
def memory(
    agent: str, file: str, text: str | None, expected: str | None = None
) -> Generator[StringCommand, None, None]:
    """
    Put a text into a memory file of an agent, or remove the file.

    + agent: name of the agent
    + file: ``MEMORY.md``, ``USER.md`` or ``SOUL.md``
    + text: all that it is to hold; None removes it
    + expected: SHA256 of what must be there before, ``absent`` for no file; any when not given

    It is written beside and renamed, as the agent, under the lock that Hermes itself takes: neither it nor anybody
    else sees a part, or loses what they wrote. A file that holds something else than ``expected`` is left alone, and
    the host fails. The daemon need not be stopped. It reads these files when a session begins.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import memories

        memories.memory(
            name="Tell the agent who it works for",
            agent="maurice",
            file="USER.md",
            text="Keeps bees.\\n§\\nLives in Brno.",
            expected="absent",
            _sudo=True,
        )
    """
    found = _look(agent, file)
    if isinstance(found, StringCommand):
        yield found
        return
    if expected not in (None, found.sha256 or ABSENT):
        yield refuse(f"{file} was changed meanwhile: it is not what was read")
    elif text is None and not found.there:
        ctx_host.get().noop(f"there is no {file} of {agent}")
    elif text is not None and found.content == text.encode() and found.mode == "600":
        ctx_host.get().noop(f"{file} of {agent} holds this")
    else:
        action: Literal["add", "change", "remove"] = "change" if found.there else "add"
        announce(Change("remove" if text is None else action, file))
        yield _change(agent, file, "put", text, expected)


@operation()
def entry(
    agent: str, file: str, text: str, present: bool = True, limit: int = 2200
) -> Generator[StringCommand, None, None]:
    """
    Have an entry in a memory file of an agent, or not have it.

    + agent: name of the agent
    + file: ``MEMORY.md`` or ``USER.md``
    + text: the entry
    + present: whether it is to be there
    + limit: characters that all entries together may hold

    The other entries stay as they are at the moment of the change, whoever wrote them. When it would be too long with
    all of them, the host fails and the file is left alone.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import memories

        memories.entry(name="Remember the bees", agent="maurice", file="USER.md", text="Keeps bees.", limit=1375)
    """
    found = _look(agent, file)
    if isinstance(found, StringCommand):
        yield found
        return
    if (hashlib.sha256(text.encode()).hexdigest() in found.entries) == present:
        ctx_host.get().noop(f"{file} of {agent} {'has' if present else 'does not have'} this entry")
        return
    announce(Change("add" if present else "remove", file, "an entry"))
    # The host looks again, with the lock held: the daemon may have written since.
    yield _change(agent, file, "add" if present else "remove", text, None, limit)


def observe(agent: str, **arguments: Any) -> Memories | None:
    """
    Return what the memory files of an agent hold, for the operations of this run and whoever asks before them.

    ``arguments``: pyinfra's own, ``_sudo`` for one. None when the host could not be asked.
    """
    found: Memories | None = ctx_host.get().get_fact(HermesMemories, agent=agent, **arguments)
    if found is not None:
        _seen.setdefault(ctx_host.get(), {}).update({(agent, name): file for name, file in found.files.items()})
    return found


def _look(agent: str, file: str) -> MemoryFile | StringCommand:
    """Return what is there, or the command that refuses."""
    # What was seen before is good enough: the host compares again, with the lock held.
    known = _seen.get(ctx_host.get(), {}).pop((agent, file), None)
    if known is None:
        found = observe(agent)
        if found is None:
            return unobserved()
        if found.account != "ours":
            return refuse(f"there is no account {agent} that pyinfra-hermes made")
        known = _seen[ctx_host.get()].pop((agent, file), None)
    if known is None:
        return refuse(f"{file} is no memory file of Hermes")
    if known.kind == "trouble":
        return refuse(known.detail)
    return known


def _change(
    agent: str, file: str, do: str, text: str | None, expected: str | None, limit: int | None = None
) -> StringCommand:
    home = f"/home/{agent}/.hermes"
    request = {
        "home": home,
        "file": file,
        "do": do,
        "text": text,
        "expected": expected,
        "limit": limit,
        "wait": _WAIT,
    }
    script = resources.files("pyinfra_hermes.operations").joinpath("memory.py.txt").read_text(encoding="utf-8")
    python = f'p=$(command -v python3) || p={shlex.quote(home)}/code/venv/bin/python; exec "$p" -I -c'
    command = StringCommand(python, QuoteString(memory_home() + script))
    return as_agent(None, agent, command, stdin=json.dumps(request))
