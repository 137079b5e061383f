"""Integrations on record."""

from __future__ import annotations

from typing import Any

from . import asking
from .exits import Exit
from .problems import Problem
from .state.errors import KeyUnavailable
from .state.lookup import Lookup
from .state.records import Instance, Integration, SecretsFile, integration_scope
from .state.store import State
from .state.unlocking import without_asking


def listed() -> list[dict[str, Any]]:
    """Return every integration as plain data; of secrets only the names, None when they have no key."""
    state = State.open().read()
    secrets = _secrets(state)
    return [_data(state, record, secrets) for record in state.integrations.values()]


def shown(name: str) -> dict[str, Any]:
    """Return one integration as plain data. Raises ``NotFound``."""
    state = State.open().read()
    return _data(state, state.integration(name), _secrets(state))


def remove_integration(name: str, *, force: bool = False, yes: bool = False) -> tuple[Instance, ...]:
    """
    Take an integration off the record, with its secrets; return the agents that it was detached from.

    One that an agent uses is refused, unless ``force``, which asks unless ``yes``. With ``force``, what is left of
    an integration that is not on record is removed as well: its secrets, and its name at agents.
    """
    state = State.open()
    state.unlock()
    users = _users(state.read(), name, force)
    if users and not yes:
        asking.confirm(f"Remove integration {name}? It is detached from {', '.join(users)}.", "--yes")
    with state.transaction() as tx:
        if set(_users(tx, name, force)) - set(users):
            raise Problem(f"Other agents use integration {name!r} now; nothing was removed", None, Exit.REFUSED)
        detached = tx.agents_using_integration(name)
        for _, agent in detached:
            agent.integrations = tuple(each for each in agent.integrations if each != name)
        tx.integrations.pop(name, None)
        tx.secrets.remove_scope(integration_scope(name))
    return detached


def _users(state: Lookup, name: str, force: bool) -> list[str]:
    users = [instance.key for instance in state.agents_using_integration(name)]
    if name not in state.integrations and not (force and (users or state.secrets.names(integration_scope(name)))):
        state.integration(name)
    if users and not force:
        raise Problem(
            f"Integration {name!r} is used by {', '.join(users)}",
            f"Detach it from them: clm integration remove {name} --force",
            Exit.REFUSED,
        )
    return users


def _secrets(state: Lookup) -> SecretsFile | None:
    try:
        with without_asking():
            return state.secrets
    except KeyUnavailable:
        # A listing is no reason to ask for a passphrase.
        return None


def _data(state: Lookup, record: Integration, secrets: SecretsFile | None) -> dict[str, Any]:
    return {
        "name": record.name,
        "type": record.type,
        "options": dict(record.options),
        "secrets": None if secrets is None else list(secrets.names(integration_scope(record.name))),
        "used_by": [instance.key for instance in state.agents_using_integration(record.name)],
        "created_at": record.created_at.isoformat(),
        "updated_at": record.updated_at.isoformat(),
    }
