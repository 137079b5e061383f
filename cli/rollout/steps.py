"""The steps of a rollout as they are told: numbered, with the time since it began."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..progress import Progress

if TYPE_CHECKING:
    from ..engine import Step

#: What is told of each step, and how the names of its operations begin, behind the agent's.
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("check the host", ("check the host", "what was cut off")),
    ("bring the release", ("installer of", "account", "release ", "uv", "directories", ".env is private")),
    ("verify the release", ("verify",)),
    ("stop it, keep what works", ("keep what works",)),
    ("switch: link, unit, settings", ("link to the release", "unit", ".env", "config.yaml", "auth.json")),
    ("start it", ("service",)),
    ("prove it", ("answers",)),
    ("put it on record", ("conclude",)),
)


class Steps:
    """Tells the steps of the rollouts of agents, one on each host."""

    def __init__(self, progress: Progress, agents: Mapping[str, str], began: float) -> None:
        """``agents``: the agent of each host; ``began``: when the rollout began, by the monotonic clock."""
        self._progress = progress
        self._agents = agents
        self._began = began
        self._reached: dict[str, int] = {}

    def watch(self, host: str, name: str, step: Step | None) -> None:
        """Take note of an operation, as a session tells of it."""
        if step is None:
            self.reach(host, _number(name.rpartition(": ")[2]))
        self._progress.step(host, name, step)

    def reach(self, host: str, number: int) -> None:
        """Tell that a host's agent has come to a step, unless it was there already."""
        if number <= self._reached.get(host, 0):
            return
        self._reached[host] = number
        who = f"{self._agents[host]}: " if len(self._agents) > 1 else ""
        elapsed = time.monotonic() - self._began
        self._progress.tell(f"[{number}/{len(STEPS)}] {who}{STEPS[number - 1][0]}  ({elapsed:.1f} s)")


def _number(what: str) -> int:
    return next((number for number, (_, beginnings) in enumerate(STEPS, 1) if what.startswith(beginnings)), 0)
