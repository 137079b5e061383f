"""Providers on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyinfra_hermes.deploys.model import dotenv, names
from pyinfra_hermes.deploys.model.providers import ProviderType, Value
from pyinfra_hermes.deploys.model.secret import Secret

from . import asking
from .exits import Exit
from .problems import Problem
from .state.errors import KeyUnavailable
from .state.lookup import Lookup
from .state.records import Instance, Provider, SecretsFile, Stage, provider_scope
from .state.store import State
from .state.unlocking import without_asking

_STAGES_OF_A_PROVIDER: tuple[Stage, ...] = ("providers", "validate")


def add_provider(
    name: str, declaration: ProviderType, options: Mapping[str, Value], secrets: Mapping[str, Secret]
) -> None:
    """Take a provider and its keys on record, both or neither."""
    names.provider_name(name)
    for field, value in secrets.items():
        # A key that the daemon would read differently is refused now, not when the first agent needs it.
        dotenv.check(field.upper(), value.reveal())
    state = State.open()
    if secrets:
        state.unlock()
    with state.transaction() as tx:
        if name in tx.providers:
            raise Problem(f"Provider {name!r} already exists", "clm provider list", Exit.REFUSED)
        tx.providers[name] = Provider(name=name, type=declaration.type, options=dict(options))
        for field, value in secrets.items():
            tx.secrets.set(provider_scope(name), field.upper(), value, description=f"{declaration.title}: {field}")


def remove_provider(name: str, *, force: bool = False, yes: bool = False) -> tuple[Instance, ...]:
    """
    Take a provider off the record, with its keys; return the agents that were left without one.

    One that an agent uses is refused, unless ``force``, which asks unless ``yes``. With ``force``, what is left of
    a provider that is not on record is removed as well: its keys, and its name at agents.
    """
    state = State.open()
    state.unlock()
    users = _users(state.read(), name, force)
    if users and not yes:
        asking.confirm(
            f"Remove provider {name}? It leaves {', '.join(users)} without a provider, and not onboarded.", "--yes"
        )
    with state.transaction() as tx:
        if set(_users(tx, name, force)) - set(users):
            raise Problem(f"Other agents use provider {name!r} now; nothing was removed", None, Exit.REFUSED)
        detached = tx.agents_using_provider(name)
        for _, agent in detached:
            # Another provider has other models, and nothing is proven with it.
            agent.provider = agent.model = None
            for stage in _STAGES_OF_A_PROVIDER:
                agent.onboarding.pop(stage, None)
        tx.providers.pop(name, None)
        tx.secrets.remove_scope(provider_scope(name))
    return detached


def listed() -> list[dict[str, Any]]:
    """Return every provider as plain data; of secrets only the names, None when they are encrypted and have no key."""
    state = State.open().read()
    try:
        with without_asking():
            secrets: SecretsFile | None = state.secrets
    except KeyUnavailable:
        # A listing is no reason to ask for a passphrase.
        secrets = None
    return [
        {
            "name": record.name,
            "type": record.type,
            "options": dict(record.options),
            "secrets": None if secrets is None else list(secrets.names(provider_scope(record.name))),
            "used_by": [instance.key for instance in state.agents_using_provider(record.name)],
        }
        for record in state.providers.values()
    ]


def _users(state: Lookup, name: str, force: bool) -> list[str]:
    users = [instance.key for instance in state.agents_using_provider(name)]
    if name not in state.providers and not (force and (users or state.secrets.names(provider_scope(name)))):
        state.provider(name)
    if users and not force:
        raise Problem(
            f"Provider {name!r} is used by {', '.join(users)}",
            f"Give them another first: clm agent configure {users[0].rpartition(':')[2]} --provider OTHER",
            Exit.REFUSED,
        )
    return users
