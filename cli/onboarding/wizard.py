"""Onboarding at a terminal: the stages that are not decided yet, question by question, each recorded as it is done."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from .. import asking
from ..asking import Back
from ..exits import Exit
from ..output import folded, pairs
from ..problems import Problem
from ..state.records import STAGES, Instance
from ..state.store import State
from . import stages as onboarding
from .asked_channels import ChannelsStage
from .asked_provider import ProviderStage
from .asked_stage import AskedStage
from .review import reviewed
from .stages import ABOUT, deciding

if TYPE_CHECKING:
    from .configuring import Configuration

_KEYS = "Enter takes what is in [brackets], '<' goes back, Ctrl-C stops and keeps what is done."


def walk(state: State, instance: Instance, wanted: Configuration) -> bool:
    """
    Ask for what is not decided yet, and record it stage by stage; tell whether it is to be applied.

    Ctrl-C keeps the stages that are done. Raises :class:`Problem` then, which names the command that goes on.
    """
    state.unlock()
    stages = [
        ProviderStage(state, instance, wanted),
        _Identity(state, instance, wanted),
        ChannelsStage(state, instance, wanted),
        _Review(state, instance, wanted),
    ]
    if wanted.stage is not None:
        stages = [stage for stage in stages if stage.name == wanted.stage]
    else:
        click.echo(f"Onboarding of {instance.key} ({onboarding.done_of(instance.agent)} stages done)", err=True)
    keys = "Enter takes what is in [brackets], '<' goes back, Ctrl-C stops and keeps what is done."
    click.secho(folded(keys, stream=sys.stderr), dim=True, err=True)
    try:
        return _walk(stages, again=wanted.edit or wanted.stage is not None)
    except (click.Abort, KeyboardInterrupt):
        # The terminal shows ^C at the end of the question.
        click.echo(err=True)
        agent = state.read().agent(instance.key).agent
        stage = f" --stage {wanted.stage}" if wanted.stage else ""
        raise Problem(
            f"Stopped. What was finished is kept: {onboarding.done_of(agent)} stages of {instance.key} "
            f"(state={agent.onboarding_state}); nothing was changed on {instance.host.name}.",
            f"Go on with: clm agent configure {wanted.agent}{stage}",
            Exit.INTERRUPTED,
        ) from None


def _walk(stages: list[AskedStage], *, again: bool) -> bool:
    at, forced = 0, set(range(len(stages))) if again else set()
    go_on = True
    while at < len(stages):
        try:
            go_on = stages[at].take(at in forced)
            at += 1
        except Back:
            earlier = [i for i in range(at) if stages[i].asks]
            if earlier:
                at = earlier[-1]
                forced.add(at)
            else:
                click.echo("  This is the first question.", err=True)
    return go_on


class _Identity(AskedStage):
    name = "identity"
    asks = False

    @override
    def take(self, again: bool) -> bool:
        with deciding(self._state, self._state.read().agent(self._key)) as now:
            if onboarding.skip_identity(now):
                from .configuring import say_skipped

                say_skipped()
        return True


class _Review(AskedStage):
    @override
    def take(self, again: bool) -> bool:
        snapshot = self._state.read()
        instance = snapshot.agent(self._key)
        click.secho(f"\nStage {len(STAGES)}/{len(STAGES)}: VALIDATE", bold=True, err=True)
        click.echo(ABOUT["validate"], err=True)
        pairs(reviewed(snapshot, instance), err=True)
        return asking.yes(f"Apply this to {instance.host.name} now?", "--stage validate", default=True, back=True)
