"""Whether an agent that was just started listens yet."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from .script import await_start


@dataclass(frozen=True)
class Start:
    """``listening``, ``waiting`` or ``failed``, and what there is to say about it, with the journal's last lines."""

    word: str
    detail: str


class HermesStart(FactBase[Start | None]):
    """
    Returns how far the start of an agent has come, waiting on the host for some seconds at most. Needs root.

    + agent: name of the agent
    + port: port that its API is to listen on
    + seconds: how long to wait on the host

    **Example:**

    .. code:: python

        host.get_fact(HermesStart, agent="maurice", port=8642, seconds=6, _sudo=True)
        # Start(word="listening", detail="4711")
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, agent: str, port: int, seconds: int) -> str:
        return await_start(agent, port, seconds)

    @override
    def process(self, output: list[str]) -> Start:
        if not output:
            raise FactProcessError("the host said nothing about the start")
        word, _, detail = output[0].partition(" ")
        return Start(word, "\n".join([detail, *output[1:]]))
