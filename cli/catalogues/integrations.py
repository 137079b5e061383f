"""Integrations: on record, and at the agents that work with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyinfra_hermes.deploys.model.declaration import Value
from pyinfra_hermes.deploys.model.integrations import IntegrationType, check_distinct, check_name, integration_type

from .. import asking
from ..exits import Exit
from ..onboarding.stages import deciding
from ..problems import Problem
from ..state.lookup import Lookup
from ..state.records import Instance, Integration, SecretsFile, integration_scope
from ..state.store import State
from . import fields, recorded
from .fields import Answers
from .recorded import Edited


@dataclass(frozen=True)
class Chosen:
    """Where the secrets come from whose names the user chose: ways of :func:`fields.read_secret` by those names."""

    ways: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, stdin: Sequence[str], files: Sequence[str], references: Sequence[str]) -> Chosen:
        """Read ``--secret-stdin NAME``, ``--secret-file NAME=PATH`` and ``--secret-reference NAME=REFERENCE``."""
        ways: dict[str, dict[str, Any]] = {name: {"stdin": True} for name in stdin}
        if len(stdin) > 1:
            raise Problem("Standard input holds one secret", "Give the others with --secret-file", Exit.USAGE)
        for way, given in (("file", files), ("reference", references)):
            for text in given:
                name, equals, where = text.partition("=")
                if not equals or not where:
                    raise Problem(f"{text} is not NAME={way.upper()}", None, Exit.USAGE)
                ways.setdefault(name, {})[way] = where
        return cls(ways)


def add_integration(name: str, declaration: IntegrationType, given: Mapping[str, Any], chosen: Chosen) -> None:
    """Take an integration and its secrets on record, both or neither; what is missing is asked for."""
    check_name(name)
    state = State.open()
    if name in state.read().integrations:
        raise Problem(f"Integration {name!r} already exists", f"clm integration edit {name}", Exit.REFUSED)
    found = fields.answers(declaration, given)
    full, found = _complete(declaration, found, chosen, options={}, kept=())
    options = fields.check(full, found, options={}, secrets=())
    if found.secrets:
        state.unlock()
    with state.transaction() as tx:
        if name in tx.integrations:
            raise Problem(f"Integration {name!r} already exists", f"clm integration edit {name}", Exit.REFUSED)
        tx.integrations[name] = Integration(name=name, type=declaration.name, options=options)
        fields.keep_secrets(tx.secrets, integration_scope(name), full, found)


def edit_integration(name: str, given: Mapping[str, Any], chosen: Chosen, unset: Collection[str] = ()) -> Edited:
    """
    Change settings and secrets of an integration, all or none of them.

    + given: the options of :func:`fields.field_options`
    + chosen: secrets whose names the user chose
    + unset: names of fields that are to have no value any more

    What an agent that uses it has proven is void when something did change.
    """
    state = State.open()
    snapshot = state.read()
    record = snapshot.integration(name)
    declaration = integration_type(record.type)
    found = fields.given(declaration, given, what=f"Integration {name} ({declaration.name})")
    found = replace(found, removed=recorded.removable(declaration, unset, found))
    if not found and not chosen.ways:
        raise Problem("No changes specified", "clm integration edit --help", Exit.USAGE)
    state.unlock()
    kept = state.read().secrets.names(integration_scope(name))
    full, found = _complete(declaration, found, chosen, options=record.options, kept=kept)
    with state.transaction() as tx:
        scope, users = integration_scope(name), tx.agents_using_integration(name)
        changed = recorded.change(tx, tx.integration(name), scope, full, found, users)
        for key in set(tx.secrets.names(scope)) - {f.key for f in full.secrets}:
            # Its name is no longer among those that the settings list.
            if tx.secrets.remove(scope, key):
                changed = True
                recorded.void(tx, users)
    return Edited(changed, state.read().agents_using_integration(name))


def _complete(
    declaration: IntegrationType,
    found: Answers,
    chosen: Chosen,
    *,
    options: Mapping[str, Value],
    kept: Collection[str],
) -> tuple[IntegrationType, Answers]:
    """Return the declaration with the secrets that the user named, and the answers with them; asks for the missing."""
    full = declaration.of(declaration.options(found.over(options)))
    own = {f.name for f in declaration.fields}
    named = {f.name: f for f in full.secrets if f.name not in own}
    if unknown := set(chosen.ways) - set(named):
        listed = ", ".join(named) or f"none; name them with --{(declaration.naming or 'secret').replace('_', '-')}"
        raise Problem(f"There is no secret named {sorted(unknown)[0]}; there is {listed}", None, Exit.USAGE)
    secrets = dict(found.secrets)
    for name, f in named.items():
        if name in chosen.ways:
            secrets[name] = fields.read_secret(f, chosen.ways[name], "--secret")
        elif f.key not in kept:
            flag = f"--secret-stdin {name}, --secret-file {name}=PATH or --secret-reference {name}=REFERENCE"
            value = fields.ask_secret(f, flag)
            assert value is not None
            secrets[name] = value
    return full, replace(found, secrets=secrets)


def attach(reference: str, wanted: Sequence[str]) -> tuple[Instance, tuple[str, ...]]:
    """Let an agent work with integrations, on record; return the agent and those that are new to it."""
    state = State.open()
    instance = state.read().agent(reference)
    with deciding(state, instance) as choice:
        agent = choice.agent
        new = tuple(dict.fromkeys(name for name in wanted if name not in agent.integrations))
        for name in new:
            choice.tx.integration(name)
        check_distinct((*agent.integrations, *new))
        agent.integrations = (*agent.integrations, *new)
    return instance, new


def detach(reference: str, unwanted: Sequence[str]) -> tuple[Instance, tuple[str, ...]]:
    """Let an agent work without integrations, on record; return the agent and those that it had."""
    state = State.open()
    instance = state.read().agent(reference)
    with deciding(state, instance) as choice:
        agent = choice.agent
        gone = tuple(name for name in agent.integrations if name in unwanted)
        for name in unwanted:
            if name not in gone:
                choice.tx.integration(name)
        agent.integrations = tuple(name for name in agent.integrations if name not in unwanted)
    return instance, gone


def attached(reference: str) -> list[dict[str, Any]]:
    """Return the integrations of an agent as plain data, see :func:`listed`."""
    state = State.open().read()
    secrets = recorded.secrets_in_reach(state)
    return [_data(state, state.integration(name), secrets) for name in state.agent(reference).agent.integrations]


def listed() -> list[dict[str, Any]]:
    """Return every integration as plain data; of secrets only the names, None when they have no key."""
    state = State.open().read()
    secrets = recorded.secrets_in_reach(state)
    return [_data(state, record, secrets) for record in state.integrations.values()]


def shown(name: str) -> dict[str, Any]:
    """Return one integration as plain data. Raises ``NotFound``."""
    state = State.open().read()
    return _data(state, state.integration(name), recorded.secrets_in_reach(state))


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
            agent.onboarding.pop("validate", None)
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
            f"Detach it first: clm agent integration remove {users[0].rpartition(':')[2]} {name}\n"
            f"  Or from all of them: clm integration remove {name} --force",
            Exit.REFUSED,
        )
    return users


def _data(state: Lookup, record: Integration, secrets: SecretsFile | None) -> dict[str, Any]:
    users = state.agents_using_integration(record.name)
    return recorded.plain(record, integration_scope(record.name), users, secrets)
