"""What an agent's memory files hold, in one round trip."""

from __future__ import annotations

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from .memory_files import Memories, Unreadable, parse
from .script import memories_of


class HermesMemories(FactBase[Memories | None]):
    """
    Returns the memory files of an agent as :class:`pyinfra_hermes.facts.memory_files.Memories`; ``None`` when the host
    could not be asked. Needs root (``_sudo=True``); the files are read as the agent, and no link is followed.

    + agent: name of the agent

    **Example:**

    .. code:: python

        found = host.get_fact(HermesMemories, agent="maurice", _sudo=True)
        found.files["MEMORY.md"].text    # "Keeps bees.\\n§\\nLives in Brno."
        found.files["MEMORY.md"].sha256  # for memories.memory(expected=...)
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, agent: str) -> str:
        return memories_of(agent)

    @override
    def process(self, output: list[str]) -> Memories:
        # Any other exception would leave the greenlet and end the run for every host.
        try:
            return parse(output)
        except Unreadable as error:
            raise FactProcessError(str(error)) from error
