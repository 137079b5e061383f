"""What an import from the predecessor would do, thing by thing, and how it is put on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..state.records import Agent, Host, Integration, Provider, SecretEntry, SecretsFile
from .clawrium import Key

Kind = Literal["host", "agent", "channel", "provider", "integration", "secrets"]
#: ``import``: will be recorded. ``known``: is on record, and stays as it is. ``later``: this version cannot record
#: it, a later one may. ``skip``: is not for us. ``refused``: is wrong, or in the way of something on record.
Outcome = Literal["import", "known", "later", "skip", "refused"]


@dataclass(frozen=True)
class Item:
    """One thing in the predecessor's files, and what becomes of it."""

    kind: Kind
    name: str
    outcome: Outcome
    notes: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return the item as plain data, for programs."""
        return {"kind": self.kind, "name": self.name, "outcome": self.outcome, "notes": list(self.notes)}


class OnRecord(Protocol):
    """What is on record, to be looked at."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """Hosts by name."""

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Providers by name."""

    @property
    def integrations(self) -> Mapping[str, Integration]:
        """Integrations by name."""

    @property
    def secrets(self) -> SecretsFile:
        """All secrets."""


class Records(Protocol):
    """What is on record, to be changed."""

    hosts: dict[str, Host]
    providers: dict[str, Provider]
    integrations: dict[str, Integration]

    @property
    def secrets(self) -> SecretsFile:
        """All secrets."""


@dataclass
class Plan:
    """Everything that an import would do."""

    items: list[Item] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: Fields that are not known here, by file.
    unknown: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    #: New agents by host, on hosts of this plan and on those on record.
    agents: dict[str, dict[str, Agent]] = field(default_factory=dict)
    #: What agents on record lack: provider and channels that could not be recorded before.
    completed: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    integrations: dict[str, Integration] = field(default_factory=dict)
    secrets: dict[str, dict[str, SecretEntry]] = field(default_factory=dict)
    #: Key pairs to copy beside our state, by their id.
    keys: dict[str, Key] = field(default_factory=dict)
    #: Settings without a place in our state, by what they belong to; there is no credential among them.
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything would be recorded."""
        return bool(self.hosts or self.agents or self.completed or self.providers or self.integrations or self.secrets)

    def of(self, *outcomes: Outcome) -> list[Item]:
        """Return the items with one of some outcomes."""
        return [item for item in self.items if item.outcome in outcomes]

    def apply(self, records: Records) -> None:
        """Put everything into what is on record."""
        records.hosts.update({name: host.model_copy(deep=True) for name, host in self.hosts.items()})
        records.providers.update(self.providers)
        records.integrations.update(self.integrations)
        for name, agents in self.agents.items():
            host = records.hosts[name]
            host.agents = {**host.agents, **agents}
        for (name, agent), lacking in self.completed.items():
            record = records.hosts[name].agents[agent]
            for attribute, value in lacking.items():
                setattr(record, attribute, value)
            record.onboarding.pop("validate", None)
        for scope, entries in self.secrets.items():
            records.secrets.scopes.setdefault(scope, {}).update(entries)


@dataclass(frozen=True)
class Wishes:
    """What the user decides about an import."""

    #: Takes the place of releases that the manifest does not list.
    release: str | None = None
