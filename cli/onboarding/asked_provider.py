"""The providers stage at a terminal: one of those on record or a new one, its model, and whether it answers."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from pyinfra_hermes.deploys import references
from pyinfra_hermes.deploys.model import names, providers
from pyinfra_hermes.deploys.model.declaration import Value
from pyinfra_hermes.deploys.model.providers import ProviderType
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.secret import Secret

from .. import asking
from ..catalogues import fields
from ..catalogues.providers import change
from ..catalogues.questions import Questions
from ..problems import Problem
from ..progress import Progress
from ..ssh.openssh import login_of
from ..state.lookup import Lookup
from ..state.records import Provider, provider_scope
from . import stages as onboarding
from .asked_stage import AskedStage
from .stages import deciding

if TYPE_CHECKING:
    from ..catalogues.connectivity import Known

_NEW = "new"
_MOST_MODELS = 20
#: What can be done about a provider that does not answer as it should.
_WAYS_ON = {
    "retry": "ask it again",
    "edit": "change its settings or its key",
    "model": "choose another model",
    "go on": "keep it as it is",
    "stop": "leave, and come back later",
}


class ProviderStage(AskedStage):
    name = "providers"

    @override
    def take(self, again: bool) -> bool:
        if "providers" in self._agent.onboarding and not again:
            return True
        self.heading()
        self._snapshot: Lookup = self._state.read()
        self._chosen: str | None = self._agent.provider
        self._model: str | None = None
        self._new: Questions | None = None
        self._type: ProviderType | None = None
        self._name: str | None = None
        self._edited: Questions | None = None
        asking.in_order(self._pick, self._describe, self._ask_model, self._test)
        self._record()
        return True

    def _pick(self) -> bool:
        known = self._snapshot.providers
        if not known:
            click.echo("  No provider is on record yet; this makes the first.", err=True)
            self._chosen = None
            return False
        listed = [*known, _NEW]
        for number, name in enumerate(listed, 1):
            click.echo(f"  {number}. {self._line(name) if name != _NEW else 'a new one'}", err=True)
        default = self._chosen or (listed[0] if len(known) == 1 else None)
        chosen = asking.pick("Provider", "--provider", listed, default, back=True)
        chosen_now = None if chosen == _NEW and _NEW not in known else chosen
        if chosen_now != self._chosen:
            self._model = self._edited = None
        self._chosen = chosen_now
        return True

    def _line(self, name: str) -> str:
        record = self._snapshot.providers[name]
        model = record.options.get("model", "-")
        return f"{name}  ({record.type}, {model}{self._credentials(record)})"

    def _credentials(self, record: Provider) -> str:
        declaration = providers.provider_type(record.type)
        kept = onboarding.kept_secrets(self._snapshot, provider_scope(record.name), declaration)
        lacking = [f.label for f in declaration.secrets if f.required and f.name not in kept]
        if lacking:
            return f", lacks its {', '.join(lacking)}"
        return ", with its credentials" if kept else ""

    def _describe(self) -> bool:
        if self._chosen is not None:
            self._new = self._type = None
            return False
        release = manifest().release(self._agent.release)
        types = {
            name: entry
            for name, entry in providers.CATALOGUE.items()
            if entry.feature is None or release.has(entry.feature)
        }

        def pick_type() -> bool:
            for number, entry in enumerate(types.values(), 1):
                click.echo(f"  {number:>2}. {entry.name:<12} {entry.title}", err=True)
            default = self._type.name if self._type else None
            picked = types[asking.pick("Type", "--provider", list(types), default, back=True)]
            if picked is not self._type:
                self._type, self._new = picked, Questions(picked, {}, frozenset(), later=("model",))
            return True

        def ask_name() -> bool:
            assert self._type is not None
            default = self._name or _free_name(self._type.name, self._snapshot)
            self._name = asking.until("Name to keep it under", "--provider", self._new_name, default, back=True)
            return True

        def ask_fields() -> bool:
            assert self._new is not None
            click.secho(f"  See {self._new.declaration.credential_url}", dim=True, err=True)
            return self._new.ask()

        return asking.in_order(pick_type, ask_name, ask_fields)

    def _new_name(self, answer: str) -> str:
        name = names.provider_name(answer)
        if name in self._snapshot.providers or name == _NEW:
            raise ValueError(f"There is a provider {name!r} already")
        return name

    def _declaration(self) -> ProviderType:
        if self._chosen is None:
            assert self._type is not None
            return self._type
        return providers.provider_type(self._snapshot.provider(self._chosen).type)

    def _known(self, model: str) -> Known:
        """Return the provider as the answers so far make it, to be asked from the agent's host."""
        from ..catalogues.connectivity import Known

        instance = self._snapshot.agent(self._key)
        declaration, questions = self._declaration(), self._new or self._edited
        options: dict[str, Value] = {}
        secrets: dict[str, Secret] = {}
        if self._chosen is not None:
            kept = self._snapshot.secrets.of(provider_scope(self._chosen))
            secrets = {f.name: kept[f.key] for f in declaration.secrets if f.key in kept}
            options = dict(self._snapshot.provider(self._chosen).options)
        if questions is not None:
            options = dict(questions.options)
            for name, value in questions.answers.secrets.items():
                secrets[name] = value if isinstance(value, Secret) else references.resolve_one(name, value.text)
        options["model"] = model
        return Known(
            self._chosen or self._name or "", declaration, options, secrets, login_of(self._state, instance.host)
        )

    def _ask_model(self) -> bool:
        f = next((f for f in self._declaration().fields if f.name == "model"), None)
        if f is None:
            return False
        current: Value | None = self._model
        if self._chosen is not None and current is None:
            agent = self._agent
            own = self._snapshot.provider(self._chosen).options.get("model")
            current = (agent.model if agent.provider == self._chosen else None) or own
        listed = self._listed()
        if listed:
            click.echo(
                textwrap.fill(f"It has: {_some(listed)}", 78, initial_indent="  ", subsequent_indent="  "), err=True
            )

        def read(answer: str) -> str:
            if not answer:
                raise ValueError(f"{f.label} is needed")
            model = str(fields.parse(f, answer))
            if listed and model not in listed and model != current:
                close = difflib.get_close_matches(model, listed, n=3)
                hint = f"; did you mean {' or '.join(close)}?" if close else ""
                click.echo(f"  {model} is not among the {len(listed)} models that it lists{hint}", err=True)
                if not asking.yes("Use it all the same?", "--model", default=False):
                    raise ValueError("Then choose another")
            return model

        default = str(current) if current and (current in listed or not listed) else None
        if default is None and len(listed) == 1:
            default = listed[0]
        self._model = asking.until(f.label, "--model", read, default, back=True)
        return True

    def _listed(self) -> list[str]:
        """Return the models that the provider lists; none where it does not, or cannot be asked yet."""
        from ..catalogues import connectivity

        if not self._wanted.connectivity:
            return []
        try:
            with Progress.shown(f"{self._host}  asking for models"):
                return connectivity.models(self._known(self._model or ""))
        except (Problem, ValueError):
            return []

    def _test(self) -> bool:
        """Ask from the agent's host whether the provider can be used, and what to do when it cannot."""
        from ..catalogues import connectivity

        if not self._wanted.connectivity:
            return False
        while True:
            try:
                with Progress.shown(f"{self._host}  asking the provider"):
                    verdict = connectivity.test(self._known(self._model or ""))
                ok, sentence = verdict.ok, verdict.sentence
            except (Problem, ValueError) as error:
                ok, sentence = False, str(error)
            click.echo(f"  {'✓' if ok else '✗'} from {self._host}: {sentence}", err=True)
            if ok:
                return False
            for number, (name, what) in enumerate(_WAYS_ON.items(), 1):
                click.echo(f"  {number}. {name:<6} {what}", err=True)
            match asking.pick("What now", "--skip-connectivity", list(_WAYS_ON), "retry", back=True):
                case "go on":
                    return True
                case "stop":
                    raise click.Abort
                case "model":
                    asking.in_order(self._ask_model)
                case "edit":
                    self._edit()

    def _edit(self) -> None:
        if self._new is not None:
            self._new.ask()
            return
        assert self._chosen is not None
        others = [user.key for user in self._snapshot.agents_using_provider(self._chosen) if user.key != self._key]
        if others:
            click.echo(f"  {', '.join(others)} use it, too, and get the change with their next configure.", err=True)
        if self._edited is None:
            declaration = self._declaration()
            kept = onboarding.kept_secrets(self._snapshot, provider_scope(self._chosen), declaration)
            recorded = self._snapshot.provider(self._chosen).options
            self._edited = Questions(declaration, recorded, kept, later=("model",))
        self._edited.ask()

    def _record(self) -> None:
        instance = self._state.read().agent(self._key)
        with deciding(self._state, instance) as now:
            if self._new is not None:
                if self._model is not None:
                    self._new.options["model"] = self._model
                assert self._name is not None
                name = self._name
                options = fields.check(self._new.declaration, self._new.answers, options={}, secrets=())
                now.tx.providers[name] = Provider(name=name, type=self._new.declaration.name, options=options)
                fields.keep_secrets(now.tx.secrets, provider_scope(name), self._new.declaration, self._new.answers)
                click.echo(f"Provider {name} is on record.", err=True)
                self._chosen, self._new, self._model = name, None, None
            assert self._chosen is not None
            if self._edited is not None:
                change(now.tx, self._chosen, self._edited.changes)
            own = now.tx.provider(self._chosen).options.get("model")
            onboarding.choose_provider(now, self._chosen, None)
            now.agent.model = self._model if self._model != own else None


def _some(models: Sequence[str]) -> str:
    shown = ", ".join(models[:_MOST_MODELS])
    return shown if len(models) <= _MOST_MODELS else f"{shown}, and {len(models) - _MOST_MODELS} more"


def _free_name(wanted: str, state: Lookup) -> str:
    return next(name for name in (wanted, *(f"{wanted}-{n}" for n in range(2, 1000))) if name not in state.providers)
