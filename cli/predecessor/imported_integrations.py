"""Integrations of the predecessor's: which become records of ours, and which of them an agent can work with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyinfra_hermes.deploys.model import integrations
from pyinfra_hermes.deploys.model.integrations.texts import slug

from ..state.records import Integration, integration_scope
from ..state.timestamps import now
from . import translated_integrations, translation
from .ledger import SECRET_KEY, TYPE, Ledger, words
from .plan import Item, Outcome

_FIELDS = words("name type config created_at updated_at")


class Integrations:
    """Plans the import of integrations."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: Why an agent cannot work with one of theirs, and what mends it.
        self._incomplete: dict[str, tuple[str, str]] = {}

    def add(self, number: int, entry: dict[str, Any]) -> None:
        """Plan what becomes of an entry of integrations.json, which are numbered from 1."""
        self._ledger.count("integrations.json", entry, _FIELDS)
        name, kind = self._ledger.named("integration", number, entry, integration_scope), entry.get("type")
        if name is None:
            return
        if not isinstance(kind, str) or not TYPE.fullmatch(kind):
            self._refuse(name, "refused", "it has no type")
            return
        known = self._ledger.on_record.integrations.get(name)
        if known is not None:
            self._known(known, kind)
        elif kind not in integrations.CATALOGUE:
            instead = "an MCP server can take its place: clm integration add NAME --type mcp-http"
            self._refuse(name, "later", f"this version has no integrations of type {kind}; {instead}")
        elif (why := translated_integrations.unnamable(name)) is not None:
            instead = f"clm integration add my-{name} --type {kind}"
            self._refuse(name, "refused", f"{why}; define it under another: {instead}")
        else:
            self._new(name, kind, entry)

    def _new(self, name: str, kind: str, entry: Mapping[str, Any]) -> None:
        scope = integration_scope(name)
        at = translation.moment(entry.get("created_at")) or now()
        changed = translation.moment(entry.get("updated_at")) or at
        found = translated_integrations.translated(integrations.CATALOGUE[kind], self._ledger.entries(scope))
        record = Integration(name=name, type=kind, options=found.options, created_at=at, updated_at=changed)
        self._ledger.plan.integrations[name] = record
        place = len(self._ledger.plan.items)
        self._ledger.take_secrets(scope, found.secrets)
        keys = self._ledger.held(scope)
        lack = translated_integrations.incomplete(record, keys, found.unusable)
        notes = [f"type {kind}"]
        if found.options:
            notes.append(f"its {', '.join(found.options)} are settings here, no secrets")
        if lack is not None:
            self._incomplete[name] = lack
            notes += [f"not complete: {lack[0]}", f"mend it: {lack[1]}"]
        # Its secrets are looked at first and said afterwards.
        self._ledger.plan.items.insert(place, Item("integration", name, "import", tuple(notes)))
        self._unplaced(scope, kind, found.unplaced)

    def _known(self, known: Integration, kind: str) -> None:
        declaration = integrations.CATALOGUE.get(known.type)
        if known.type != kind or declaration is None:
            self._ledger.say("integration", known.name, "known", "of another type, which stays")
            return
        scope = integration_scope(known.name)
        found = translated_integrations.translated(declaration, self._ledger.entries(scope))
        same = all(known.options.get(name) == value for name, value in found.options.items())
        self._ledger.say("integration", known.name, "known", *([] if same else ["with other settings, which stay"]))
        self._ledger.take_secrets(scope, found.secrets)
        self._unplaced(scope, kind, found.unplaced)

    def _refuse(self, name: str, outcome: Outcome, why: str) -> None:
        self._ledger.say("integration", name, outcome, why, *self._ledger.staying(integration_scope(name)))

    def _unplaced(self, scope: str, kind: str, keys: Iterable[str]) -> None:
        shown = sorted(key if SECRET_KEY.fullmatch(key) else "(a name not shown)" for key in keys)
        if shown:
            self._ledger.say("secrets", scope, "skip", f"{', '.join(shown)}: type {kind} has no place for it")

    def of_agent(self, reference: str, data: Mapping[str, Any], notes: list[str]) -> tuple[str, ...]:
        """Return those of an agent's integrations that it can work with; the notes name the others."""
        chosen: dict[str, str] = {}
        missing: list[str] = []
        asked = [one for one in translation.texts(data.get("integrations")) if translation.provider_name(one)]
        for name in dict.fromkeys(asked):
            record = self._ledger.integration(name)
            attach = f"clm agent integration add {reference} {name}"
            if record is None:
                missing.append(name)
            elif not self._is_usable(record):
                notes.append(f"not attached to {name}, which is not complete; once it is: {attach}")
            elif (other := chosen.setdefault(slug(name).lower(), name)) != name:
                notes.append(f"not attached to {name}, whose tools would have the names of {other}'s")
        if missing:
            notes.append(f"without its integrations {', '.join(sorted(missing))}, which are not imported")
        return tuple(chosen.values())

    def _is_usable(self, record: Integration) -> bool:
        if record.type not in integrations.CATALOGUE or translated_integrations.unnamable(record.name) is not None:
            return False
        if record.name in self._incomplete:
            return False
        scope = integration_scope(record.name)
        keys = self._ledger.held(scope)
        return translated_integrations.incomplete(record, keys) is None
