"""Providers on record."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.providers import ProviderType, provider_type

from .. import asking
from ..exits import Exit
from ..problems import Problem
from ..state.lookup import Lookup
from ..state.records import Instance, Provider, SecretsFile, Stage, provider_scope
from ..state.store import State, Transaction
from . import fields, recorded
from .fields import Answers
from .recorded import Edited

_STAGES_OF_A_PROVIDER: tuple[Stage, ...] = ("providers", "validate")


def refuse_known(state: Lookup, name: str) -> None:
    """Refuse a name that a provider has already."""
    if name in state.providers:
        raise Problem(f"Provider {name!r} already exists", f"Change it: clm provider edit {name}", Exit.REFUSED)


def add_provider(name: str, declaration: ProviderType, answers: Answers) -> None:
    """Take a provider and its keys on record, both or neither."""
    names.provider_name(name)
    options = fields.check(declaration, answers, options={}, secrets=())
    state = State.open()
    if answers.secrets:
        state.unlock()
    with state.transaction() as tx:
        refuse_known(tx, name)
        tx.providers[name] = Provider(name=name, type=declaration.name, options=options)
        fields.keep_secrets(tx.secrets, provider_scope(name), declaration, answers)


def edit_provider(name: str, given: Mapping[str, Any], unset: Collection[str] = ()) -> Edited:
    """
    Change settings and keys of a provider, all or none of them.

    + given: the options of :func:`fields.field_options`
    + unset: names of fields that are to have no value any more

    What an agent that uses it has proven is void when something did change.
    """
    state = State.open()
    record = state.read().provider(name)
    declaration = provider_type(record.type)
    answers = fields.given(declaration, given, what=f"Provider {name} ({declaration.name})")
    answers = replace(answers, removed=recorded.removable(declaration, unset, answers))
    if not answers:
        raise Problem("No changes specified", "clm provider edit --help", Exit.USAGE)
    state.unlock()
    with state.transaction() as tx:
        changed = change(tx, name, answers)
    return Edited(changed, state.read().agents_using_provider(name))


def change(tx: Transaction, name: str, answers: Answers) -> bool:
    """Put changes of a provider on record, in a transaction; what its agents have proven is void. Tell whether any."""
    record = tx.provider(name)
    users = tx.agents_using_provider(name)
    return recorded.change(tx, record, provider_scope(name), provider_type(record.type), answers, users)


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
    secrets = recorded.secrets_in_reach(state)
    return [_plain(state, record, secrets) for record in state.providers.values()]


def shown(name: str) -> dict[str, Any]:
    """Return one provider as :func:`listed` does. Raises ``NotFound``."""
    state = State.open().read()
    return _plain(state, state.provider(name), recorded.secrets_in_reach(state))


def _plain(state: Lookup, record: Provider, secrets: SecretsFile | None) -> dict[str, Any]:
    users = state.agents_using_provider(record.name)
    return recorded.plain(record, provider_scope(record.name), users, secrets)


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
