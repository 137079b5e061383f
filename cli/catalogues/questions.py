"""The fields of one entry of a catalogue, asked one after the other at a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import click

from pyinfra_hermes.deploys.model.declaration import Declaration, Field, InvalidSetting, Value

from .. import asking
from . import fields


class Questions:
    """The fields of one entry, asked one after the other, with what is there as defaults."""

    def __init__(
        self,
        declaration: Declaration,
        options: Mapping[str, Value],
        kept: frozenset[str],
        *,
        first: tuple[str, ...] = (),
        later: tuple[str, ...] = (),
    ) -> None:
        """
        Take an entry, its settings, and the names of the secret fields that have something on record.

        + first: fields to ask for though they are not required
        + later: fields that somebody else asks for
        """
        self.declaration = declaration
        self.answers = fields.Answers(options=dict(options))
        self._before = frozenset(options)
        self._kept = kept
        self._later = later
        asked = [f for f in declaration.fields if f.name not in later]
        self._main = [f for f in asked if f.secret or f.required or f.name in first]
        self._more = [f for f in asked if f not in self._main]

    def ask(self) -> bool:
        """Ask, until the answers go together. Raises :class:`Back` at the first question."""
        while True:
            asked = asking.in_order(*(partial(self._one, f) for f in self._main), self._ask_more)
            try:
                self.check()
            except InvalidSetting as error:
                if not asked:
                    raise
                click.echo(f"  {error}", err=True)
            else:
                return asked

    def check(self) -> dict[str, Value]:
        """Return all settings, complete but for those that somebody else asks for."""
        waiting = [f.name for f in self.declaration.fields if f.name in self._later and f.name not in self.options]
        if waiting:
            return self.options
        return fields.check(self.declaration, self.answers, options={}, secrets=self._kept)

    @property
    def changes(self) -> fields.Answers:
        """The answers as changes of what was there: what was emptied is removed."""
        return replace(self.answers, removed=self._before - self.options.keys())

    @property
    def options(self) -> dict[str, Value]:
        """The settings so far."""
        return self.answers.options

    def _one(self, f: Field) -> bool:
        if f.secret:
            kept = f.name in self._kept or f.name in self.answers.secrets
            secret = fields.ask_secret(f, fields.flag_of(f), kept=kept, back=True)
            if secret is not None:
                self.answers.secrets[f.name] = secret
            return True
        value = fields.ask(f, fields.flag_of(f), self.options.get(f.name), back=True)
        if value is None:
            self.options.pop(f.name, None)
        else:
            self.options[f.name] = value
        return True

    def _ask_more(self) -> bool:
        if not self._more:
            return False
        chosen: list[Field] = []

        def pick() -> bool:
            known = {f.name: f for f in self._more}
            named = (f"{n}={fields.shown(f, self.options[n])}" if n in self.options else n for n, f in known.items())
            shown = textwrap.fill(f"Also: {', '.join(named)}", 78, initial_indent="  ", subsequent_indent="  ")
            click.secho(shown, dim=True, err=True)

            def read(answer: str) -> list[Field]:
                wanted = [word.strip().replace("-", "_") for word in answer.replace(",", " ").split()]
                for word in wanted:
                    if word not in known:
                        raise ValueError(f"There is no setting {word!r}")
                return [known[word] for word in wanted]

            chosen[:] = asking.until("Other settings to change (names; Enter for none)", "--set", read, back=True)
            return True

        def ask_chosen() -> bool:
            return asking.in_order(*(partial(self._one, f) for f in chosen))

        return asking.in_order(pick, ask_chosen)
