"""Providers of the predecessor's: which become records of ours, and which of them an agent thinks with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyinfra_hermes.deploys.model import names, providers

from ..state.records import Provider, provider_scope
from ..state.timestamps import now
from . import translation
from .ledger import TYPE, Ledger, words
from .plan import Outcome

#: Types that have another name here, with what they are called in the predecessor's files.
_TYPES = {"litellm": "custom"}
_FIELDS = words(
    "name type endpoint default_model available_models region context_window max_tokens created_at updated_at"
)


class Providers:
    """Plans the import of providers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: Why a provider of theirs is not on record after the import.
        self._missing: dict[str, str] = {}

    def add(self, number: int, entry: dict[str, Any]) -> None:
        """Plan what becomes of an entry of providers.json, which are numbered from 1."""
        self._ledger.count("providers.json", entry, _FIELDS)
        name, kind = self._ledger.named("provider", number, entry, provider_scope), entry.get("type")
        if name is None:
            return
        if not isinstance(kind, str) or not TYPE.fullmatch(kind):
            self._refuse(name, "refused", "it has no type")
            return
        type_ = kind if kind in providers.CATALOGUE else _TYPES.get(kind, kind)
        if type_ not in providers.CATALOGUE:
            self._refuse(name, "later", f"this version has no providers of type {kind}")
            return
        known = self._ledger.on_record.providers.get(name)
        if known is not None:
            self._known(known, kind, entry)
            return
        declaration = providers.CATALOGUE[type_]
        options, problem = translation.options(declaration, entry)
        if problem is not None:
            self._refuse(name, "refused", problem)
            return
        scope = provider_scope(name)
        at = translation.moment(entry.get("created_at")) or now()
        record = Provider(
            name=name,
            type=type_,
            options=options,
            created_at=at,
            updated_at=translation.moment(entry.get("updated_at")) or at,
        )
        self._ledger.plan.providers[name] = record
        notes = [f"type {kind} is {type_} here"] if kind != type_ else []
        if "//localhost" in str(options.get("url")) or "//127." in str(options.get("url")):
            notes.append("its URL means the host of each agent, not this machine")
        notes += [
            f"without its {label}, which cannot be used here" for label in translation.left_out(declaration, entry)
        ]
        self._ledger.say("provider", name, "import", f"type {type_}", *notes)
        self._ledger.take_secrets(scope, self._ledger.entries(scope))
        held = self._ledger.held(scope)
        for f in declaration.secrets:
            if f.required and f.key not in held:
                self._ledger.plan.warnings.append(f"provider {name} comes without its {f.key}")

    def _known(self, known: Provider, kind: str, entry: Mapping[str, Any]) -> None:
        declaration = providers.CATALOGUE.get(known.type)
        options = translation.options(declaration, entry)[0] if declaration is not None else {}
        same = known.type == _TYPES.get(kind, kind) and options == known.options
        self._ledger.say("provider", known.name, "known", *([] if same else ["with other settings, which stay"]))
        scope = provider_scope(known.name)
        self._ledger.take_secrets(scope, self._ledger.entries(scope))

    def _refuse(self, name: str, outcome: Outcome, why: str) -> None:
        self._missing[name] = why
        self._ledger.say("provider", name, outcome, why, *self._ledger.staying(provider_scope(name)))

    def of_agent(
        self, reference: str, data: Mapping[str, Any], config: Mapping[str, Any], notes: list[str]
    ) -> tuple[str | None, str | None]:
        """Return the provider that an agent gets, and its own model; the notes say why it gets none."""
        attached = data.get("providers") if isinstance(data.get("providers"), list) else []
        assert isinstance(attached, list)
        entries = [each if isinstance(each, dict) else {"name": each, "role": ""} for each in attached]
        primary = next((each for each in entries if each.get("role") == "primary"), entries[0] if entries else None)
        settings = config["provider"] if isinstance(config.get("provider"), dict) else {}
        name = translation.provider_name((primary or settings).get("name"))
        model = (primary or {}).get("model") or settings.get("default_model")
        if len(entries) > 1:
            notes.append(f"{len(entries) - 1} further providers of it, for other tasks, are not taken over")
        if name is None:
            return None, None
        record = self._ledger.provider(name)
        if record is None:
            notes.append(f"without its provider {name}: {self._missing.get(name, 'there is no such provider')}")
            return None, None
        declaration = providers.CATALOGUE.get(record.type)
        lack = self._ledger.lack(declaration, record.options, provider_scope(name)) if declaration is not None else None
        if declaration is not None and lack is not None:
            keys = self._ledger.kept(provider_scope(name))
            flags = [
                f"--{f.name.replace('_', '-')}-file PATH"
                for f in declaration.secrets
                if f.required and f.key not in keys
            ]
            edit = " ".join(["clm provider edit", name, *flags])
            mend = f"{edit}, then: clm agent configure {reference} --provider {name}"
            notes.append(f"without its provider {name}, which is not complete: {lack}; mend it: {mend}")
            return None, None
        checked = translation.checked(names.model_id, model)
        return name, checked if checked != record.options.get("model") else None
