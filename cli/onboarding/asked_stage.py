"""What the stages of onboarding have in common at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..state.records import STAGES, Agent, Stage
from ..state.store import State
from .stages import ABOUT

if TYPE_CHECKING:
    from ..state.records import Instance
    from .configuring import Configuration


class AskedStage:
    """A stage at the terminal."""

    name: Stage | None = None
    asks = True

    def __init__(self, state: State, instance: Instance, wanted: Configuration) -> None:
        self._state = state
        self._key = instance.key
        self._wanted = wanted

    @property
    def _host(self) -> str:
        return self._key.partition(":")[0]

    @property
    def _agent(self) -> Agent:
        return self._state.read().agent(self._key).agent

    def take(self, again: bool) -> bool:
        """Ask and record, unless that is done and not wanted again; tell whether to go on to the host."""
        raise NotImplementedError

    def heading(self) -> None:
        assert self.name is not None
        number = STAGES.index(self.name) + 1
        click.secho(f"\nStage {number}/{len(STAGES)}: {self.name.upper()}", bold=True, err=True)
        click.echo(ABOUT[self.name], err=True)
