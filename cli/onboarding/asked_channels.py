"""The channels stage at a terminal: which are on, and the settings of each."""

from __future__ import annotations

from functools import partial

import click
from typing_extensions import override

from pyinfra_hermes.deploys.model import channels
from pyinfra_hermes.deploys.model.declaration import InvalidSetting
from pyinfra_hermes.deploys.model.releases import manifest

from .. import asking
from ..catalogues import channels as agent_channels
from ..catalogues import fields
from ..catalogues.questions import Questions
from ..output import say
from ..state.lookup import Lookup
from . import stages as onboarding
from .asked_stage import AskedStage
from .stages import ChannelChoices, deciding


class ChannelsStage(AskedStage):
    name = "channels"

    @override
    def take(self, again: bool) -> bool:
        agent = self._agent
        if "channels" in agent.onboarding and not again:
            return True
        self.heading()
        self._snapshot: Lookup = self._state.read()
        release = manifest().release(agent.release)
        self._offered = [
            entry for entry in channels.CATALOGUE.values() if entry.feature is None or release.has(entry.feature)
        ]
        self._before = agent.channels
        self._on = [name for name in agent.channels if name in channels.CATALOGUE]
        self._questions: dict[str, Questions] = {}
        asking.in_order(self._toggle, self._settings)
        self._record()
        return True

    def _toggle(self) -> bool:
        choosable = [entry for entry in self._offered if not entry.always_on]
        numbers = {str(number): entry.name for number, entry in enumerate(choosable, 1)}

        def read(answer: str) -> list[str]:
            wanted = [numbers.get(word, word) for word in answer.replace(",", " ").split()]
            for word in wanted:
                if word not in numbers.values():
                    raise ValueError(f"There is no channel {word!r} to turn on or off")
            return wanted

        while True:
            for entry in self._offered:
                if entry.always_on:
                    click.echo(f"  [x]     {entry.name:<15} {entry.title} (always on)", err=True)
            for number, name in numbers.items():
                mark = "x" if name in self._on else " "
                click.echo(f"  [{mark}] {number:>2}. {name:<15} {channels.channel(name).title}", err=True)
            toggled = asking.until(
                "Turn on or off (numbers or names; Enter when it is right)", "--channel", read, back=True
            )
            if not toggled:
                return True
            for name in toggled:
                self._on.remove(name) if name in self._on else self._on.append(name)

    def _settings(self) -> bool:
        steps = [partial(self._one, name) for name in self._on if not channels.channel(name).always_on]
        return asking.in_order(*steps)

    def _one(self, name: str) -> bool:
        declaration = channels.channel(name)
        kept = onboarding.kept_secrets(self._snapshot, self._key, declaration)
        if name in self._before and name not in self._questions:
            try:
                fields.check(declaration, fields.Answers(), options=self._before[name], secrets=kept)
                if not asking.yes(f"Change the settings of {name}?", "--set", default=False, back=True):
                    return True
            except InvalidSetting as error:
                click.echo(f"  {error}", err=True)
        questions = self._questions.get(name)
        if questions is None:
            first = (*declaration.admits, "home_channel")
            questions = Questions(declaration, self._before.get(name, {}), kept, first=first)
        click.echo(err=True)
        click.secho(f"{declaration.title}", bold=True, err=True)
        click.secho(f"  Set it up at {declaration.credential_url}", dim=True, err=True)
        while True:
            questions.ask()
            reason = declaration.opens(questions.options)
            if reason is None or name in agent_channels.opened(self._agent) or self._wanted.open_access:
                break
            say(
                f"  Warning: {reason}. Whoever reaches {declaration.title} can make {self._key} "
                "run commands as its user.",
                err=True,
            )
            if asking.yes(f"Open {name} of {self._key} to everybody?", "--allow-open-access", default=False, back=True):
                break
        if declaration.admits_nobody(questions.options):
            say("  Nobody is allowed yet: whoever writes gets a pairing code, to be approved on the host.", err=True)
        self._questions[name] = questions
        return True

    def _record(self) -> None:
        off = [name for name in self._before if name not in self._on]
        on = {name: questions.answers for name, questions in self._questions.items() if name in self._on}
        with deciding(self._state, self._state.read().agent(self._key)) as now:
            onboarding.choose_channels(now, ChannelChoices(on=on, off=off, anew=True))
            agent_channels.refuse_clashes(now.tx, now.instance)
