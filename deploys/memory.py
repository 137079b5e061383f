"""What an agent remembers, put there or taken away while it goes on."""

from __future__ import annotations

from pyinfra.api import deploy

from pyinfra_hermes.operations import memories

from .model.memories import memory_file


@deploy("Write what Hermes remembers")
def write(agent: str, file: str, text: str | None, expected: str | None = None, limit: int | None = None) -> None:
    """
    Put a text into a memory file of an agent, or remove the file.

    + agent: name of the agent
    + file: ``MEMORY.md``, ``USER.md`` or ``SOUL.md``
    + text: all that it is to hold; None removes it
    + expected: SHA256 of what must be there before, ``absent`` for no file; any when not given
    + limit: characters that it may hold; Hermes' own when not given

    Raises :class:`pyinfra_hermes.deploys.model.memories.InvalidMemory` before anything is asked of a host.

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.memory import write

        write("maurice", "USER.md", "Keeps bees.", _sudo=True)
    """
    kind = memory_file(file)
    stored = None if text is None else kind.check(text, limit or kind.limit)
    memories.memory(name=f"{agent}: {file}", agent=agent, file=file, text=stored, expected=expected)


@deploy("Change an entry of what Hermes remembers")
def entry(agent: str, file: str, text: str, present: bool = True, limit: int | None = None) -> None:
    """
    Have an entry in a memory file of an agent, or not have it; the others stay.

    + agent: name of the agent
    + file: ``MEMORY.md`` or ``USER.md``
    + text: the entry
    + present: whether it is to be there
    + limit: characters that all entries together may hold; Hermes' own when not given

    Raises :class:`pyinfra_hermes.deploys.model.memories.InvalidMemory` before anything is asked of a host.

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.memory import entry

        entry("maurice", "USER.md", "Keeps bees.", _sudo=True)
    """
    kind = memory_file(file)
    memories.entry(
        name=f"{agent}: {file}",
        agent=agent,
        file=file,
        text=kind.check_entry(text),
        present=present,
        limit=limit or kind.limit,
    )
