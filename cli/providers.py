"""Providers on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyinfra_hermes.deploys.model import dotenv, names
from pyinfra_hermes.deploys.model.providers import ProviderType, Value
from pyinfra_hermes.deploys.model.secret import Secret

from .exits import Exit
from .problems import Problem
from .state.records import Provider, provider_scope
from .state.store import State


def add_provider(
    name: str, declaration: ProviderType, options: Mapping[str, Value], secrets: Mapping[str, Secret]
) -> None:
    """Take a provider and its keys on record, both or neither."""
    names.provider_name(name)
    for field, value in secrets.items():
        # A key that the daemon would read differently is refused now, not when the first agent needs it.
        dotenv.check(field.upper(), value.reveal())
    with State.open().transaction() as tx:
        if name in tx.providers:
            raise Problem(f"Provider {name!r} already exists", "clm provider list", Exit.REFUSED)
        tx.providers[name] = Provider(name=name, type=declaration.type, options=dict(options))
        for field, value in secrets.items():
            tx.secrets.set(provider_scope(name), field.upper(), value, description=f"{declaration.title}: {field}")


def remove_provider(name: str) -> None:
    """Take a provider that no agent uses off the record, with its keys."""
    with State.open().transaction() as tx:
        tx.provider(name)
        users = [instance.key for instance in tx.agents_using_provider(name)]
        if users:
            raise Problem(
                f"Provider {name!r} is used by {', '.join(users)}",
                f"Give them another first: clm agent configure {users[0].rpartition(':')[2]} --provider OTHER",
                Exit.REFUSED,
            )
        del tx.providers[name]
        tx.secrets.remove_scope(provider_scope(name))


def listed() -> list[dict[str, Any]]:
    """Return every provider as plain data; of secrets only the names."""
    state = State.open().read()
    return [
        {
            "name": record.name,
            "type": record.type,
            "options": dict(record.options),
            "secrets": sorted(state.secrets.of(provider_scope(record.name))),
            "used_by": [instance.key for instance in state.agents_using_provider(record.name)],
        }
        for record in state.providers.values()
    ]
