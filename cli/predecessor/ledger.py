"""What is being planned: what was read, what is on record, and what becomes of the former so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyinfra_hermes.deploys.model.declaration import Declaration, InvalidSetting
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec

from ..state.records import Agent, Integration, Provider, SecretEntry
from . import translation
from .clawrium import Source
from .plan import Item, Kind, OnRecord, Outcome, Plan

#: What may be shown of a file that was edited by hand: words that have the shape of a type or of a secret's name.
TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
SECRET_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,127}")


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_SECRET_FIELDS = words("key value created_at updated_at description")


class Ledger:
    """What those who plan the import of each kind of thing have in common."""

    def __init__(self, source: Source, on_record: OnRecord) -> None:
        self.source = source
        self.on_record = on_record
        self.plan = Plan(warnings=list(source.warnings))
        #: Scopes of theirs that were dealt with.
        self.seen: set[str] = set()

    def say(self, kind: Kind, name: str, outcome: Outcome, *notes: str) -> None:
        """Put down what becomes of a thing."""
        self.plan.items.append(Item(kind, name, outcome, tuple(notes)))

    def count(self, file: str, entry: Mapping[str, Any], known: Iterable[str]) -> None:
        """Count the fields of an entry that are not known here."""
        if unknown := len(entry.keys() - set(known)):
            self.plan.unknown[file] = self.plan.unknown.get(file, 0) + unknown

    def named(self, kind: Kind, number: int, entry: Mapping[str, Any], scope_of: Callable[[str], str]) -> str | None:
        """
        Return the name of an entry, which are numbered from 1; None, which is said, where it has none that can be used.

        That is also one that another of the same kind before it has. Its secrets are dealt with from now on.
        """
        name = translation.provider_name(entry.get("name"))
        if name is None:
            article = "an" if kind == "integration" else "a"
            self.say(kind, f"entry {number}", "refused", f"it has no name that can be {article} {kind}'s")
        elif (scope := scope_of(name)) in self.seen:
            self.say(kind, name, "refused", "there is another one of this name before it")
        else:
            self.seen.add(scope)
            return name
        return None

    def keep(self, whose: str, what: str, value: Any) -> None:
        """Put aside a setting that has no place in our state."""
        self.plan.kept.setdefault(whose, {})[what] = value

    def provider(self, name: str) -> Provider | None:
        """Return a provider as it is after the import."""
        return self.plan.providers.get(name) or self.on_record.providers.get(name)

    def integration(self, name: str) -> Integration | None:
        """Return an integration as it is after the import."""
        return self.plan.integrations.get(name) or self.on_record.integrations.get(name)

    def entries(self, scope: str) -> dict[str, Any]:
        """Return their secrets of a scope."""
        entries = self.source.secrets.get(scope)
        return entries if isinstance(entries, dict) else {}

    def held(self, scope: str) -> dict[str, SecretEntry]:
        """Return the secrets that a scope has after the import."""
        return {**self.plan.secrets.get(scope, {}), **self.on_record.secrets.scopes.get(scope, {})}

    def kept(self, scope: str) -> dict[str, Secret]:
        """Return the secrets that a scope has after the import, a reference to one as it is spelled."""
        kept = {key: entry.kept() for key, entry in self.held(scope).items()}
        return {key: each if isinstance(each, Secret) else Secret(each.text) for key, each in kept.items()}

    def staying(self, scope: str) -> list[str]:
        """Name the secrets that wait with something that is refused: without it nothing could use or remove them."""
        keys = sorted(key for key in self.entries(scope) if SECRET_KEY.fullmatch(key))
        return [f"its {', '.join(keys)} stays with it"] if keys else []

    def lack(self, declaration: Declaration, options: Mapping[str, Any], scope: str) -> str | None:
        """Say what an entry lacks; None when it is complete. An agent with such a one would stop every inventory."""
        kept = self.kept(scope)
        try:
            declaration.check_complete(options, [f.name for f in declaration.secrets if kept.get(f.key)])
        except InvalidSetting as error:
            said = str(error)
            return said if not any(quote in said for quote in "'\"") else "its settings do not go together"
        return None

    def fits(self, agent: Agent, settings: Mapping[str, Any] | None = None) -> bool:
        """Tell whether an agent, with the settings of some channels, can be one here."""
        record = None if agent.provider is None else self.provider(agent.provider)
        provider = None
        if record is not None:
            options = {**record.options, **({"model": agent.model} if agent.model is not None else {})}
            provider = {"type": record.type, "options": options}
        try:
            AgentSpec.parse(
                {
                    "name": agent.name,
                    "release": agent.release,
                    "port": agent.port,
                    "provider": provider,
                    "channels": {"api": {}, **(settings or {})},
                }
            )
        except InvalidSpec:
            return False
        return True

    def take_secrets(self, scope: str, entries: Mapping[str, Any], notes: Iterable[str] = ()) -> None:
        """Take over their secrets of a scope; what is on record stays."""
        self.seen.add(scope)
        taken: list[str] = []
        known: list[str] = []
        for key, entry in entries.items():
            if not SECRET_KEY.fullmatch(key):
                self.say("secrets", scope, "refused", "a secret in it has no name that can be one")
                continue
            if isinstance(entry, dict):
                self.count("secrets.json", entry, _SECRET_FIELDS)
            read = translation.secret(key, entry)
            if isinstance(read, str):
                self.say("secrets", scope, "refused", f"{key} {read}")
                continue
            old = self.on_record.secrets.get(scope, key)
            if old is None:
                self.plan.secrets.setdefault(scope, {})[key] = read
                taken.append(key)
            else:
                known.append(key if old == read.value else f"{key} with another value, which stays")
        if taken:
            self.say("secrets", scope, "import", ", ".join(taken), *notes)
        if known:
            self.say("secrets", scope, "known", ", ".join(known))
