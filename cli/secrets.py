"""Secrets on record: listed, shown, set, removed, copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys import references
from pyinfra_hermes.deploys.model import channels, dotenv, memory, names
from pyinfra_hermes.deploys.model.declaration import Declaration
from pyinfra_hermes.deploys.model.providers import provider_type
from pyinfra_hermes.deploys.model.secret import Secret

from . import asking
from .exits import Exit
from .problems import Problem
from .state.errors import NotFound
from .state.lookup import Lookup
from .state.records import (
    API_SERVER_KEY,
    NEXT_API_SERVER_KEY,
    Instance,
    Reference,
    SecretEntry,
    integration_scope,
    provider_scope,
)
from .state.store import State
from .state.timestamps import rfc3339

#: What clm makes and replaces itself.
_OURS = (API_SERVER_KEY, NEXT_API_SERVER_KEY)


@dataclass(frozen=True)
class Owner:
    """Whose secrets a scope holds, and which agents use them."""

    scope: str
    users: tuple[Instance, ...]
    instance: Instance | None = None


def owner_of(state: Lookup, text: str) -> Owner:
    """
    Find who is meant by an agent's name, ``provider:NAME``, ``integration:NAME`` or an instance key.

    Raises :class:`NotFound` for one that is not on record.
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "provider":
        return Owner(provider_scope(state.provider(name).name), state.agents_using_provider(name))
    if colon and kind == "integration":
        return Owner(integration_scope(state.integration(name).name), state.agents_using_integration(name))
    instance = state.agent(text)
    return Owner(instance.key, (instance,), instance)


def listed(reference: str | None) -> list[dict[str, Any]]:
    """Return the secrets of one owner, or of all, as plain data without their values."""
    state = State.open().read()
    scope = None if reference is None else _scope_with_secrets(state, reference)
    return [
        {
            "scope": entry_scope,
            "key": key,
            "reference": references.shown(entry.reference) if entry.reference else None,
            "description": entry.description,
            "created_at": rfc3339(entry.created_at),
            "updated_at": rfc3339(entry.updated_at),
        }
        for entry_scope, key, entry in sorted(state.secrets.entries(), key=lambda row: row[:2])
        if scope in (None, entry_scope)
    ]


def get(reference: str, key: str) -> Secret:
    """Return one secret; a reference is followed."""
    state = State.open().read()
    return _entry(state, _scope_with_secrets(state, reference), key).secret(key)


@dataclass(frozen=True)
class Given:
    """How the user gives a value: one of these, or at the prompt."""

    stdin: bool = False
    file: str | None = None
    reference: str | None = None

    def read(self, label: str) -> Secret | Reference:
        """Return the value or the reference."""
        if self.stdin + (self.file is not None) + (self.reference is not None) > 1:
            raise Problem("Give the value one way only: --stdin, --file or --reference", None, Exit.USAGE)
        if self.reference is not None:
            return checked_reference(self.reference)
        if self.stdin:
            return asking.from_stdin()
        if self.file is not None:
            return asking.from_file(self.file)
        return asking.hidden_twice(label, "--stdin, --file or --reference")


def put(
    reference: str, key: str, given: Given, description: str | None, *, yes: bool
) -> tuple[bool, Owner, str | None]:
    """
    Keep a secret; return whether that changed anything, whose it is, and why it cannot be used now, if so.

    What the daemon would read differently is refused. Replacing one asks.
    """
    state = State.open()
    snapshot = state.read()
    owner = owner_of(snapshot, reference)
    _check_key(snapshot, owner, key)
    old = snapshot.secrets.scopes.get(owner.scope, {}).get(key)
    value = given.read(f"{key} of {owner.scope}")
    warning = None
    if isinstance(value, Secret):
        _check_value(key, value)
        asking.warn_of_placeholder(key, value)
    else:
        warning = _why_unusable(key, value)
    if old is not None and old.kept() == value and description in (None, old.description):
        return False, owner, warning
    if old is not None and not yes:
        asking.confirm(f"Replace {key} of {owner.scope}, set at {rfc3339(old.updated_at)}?", "--yes")
    with state.transaction() as tx:
        _refuse_if_other(tx, owner.scope, key, old)
        changed = tx.secrets.set(owner.scope, key, value, description=description)
    return changed, owner, warning


def remove(reference: str, key: str, *, force: bool, yes: bool) -> str:
    """Forget a secret that nobody uses, or any with ``force``; return whose it was."""
    state = State.open()
    snapshot = state.read()
    scope = _scope_with_secrets(snapshot, reference)
    old = _entry(snapshot, scope, key)
    users = list(_users(snapshot, scope, key))
    if users and not force:
        raise Problem(
            f"{key} of {scope} is used by {', '.join(users)}",
            "\n  Or ".join(_instead(snapshot, scope, reference, key)),
            Exit.REFUSED,
        )
    if not (yes or force):
        asking.confirm(f"Remove {key} of {scope}? There is no other copy here but in the earlier versions.", "--yes")
    with state.transaction() as tx:
        _refuse_if_other(tx, scope, key, old)
        tx.secrets.remove(scope, key)
    return scope


@dataclass(frozen=True)
class Copying:
    """What is copied from one agent to another."""

    source: Instance
    target: Instance
    new: tuple[str, ...]
    replaced: tuple[str, ...]


def copy(source: str, target: str, *, yes: bool) -> Copying:
    """Copy an agent's secrets, but its API key, to another agent; references stay references. Asks."""
    state = State.open()
    snapshot = state.read()
    of, to = snapshot.agent(source), snapshot.agent(target)
    if of.key == to.key:
        raise Problem(f"{of.key} cannot be copied to itself", None, Exit.USAGE)
    theirs = {key: entry for key, entry in snapshot.secrets.scopes.get(of.key, {}).items() if key not in _OURS}
    ours = snapshot.secrets.scopes.get(to.key, {})
    differing = [key for key in sorted(theirs) if key not in ours or ours[key].kept() != theirs[key].kept()]
    plan = Copying(of, to, tuple(k for k in differing if k not in ours), tuple(k for k in differing if k in ours))
    if not differing:
        return plan
    if not yes:
        what = ", ".join([*plan.new, *(f"{key} (replaced)" for key in plan.replaced)])
        asking.confirm(f"Copy from {of.key} to {to.key}: {what}?", "--yes")
    with state.transaction() as tx:
        for key in differing:
            _refuse_if_other(tx, of.key, key, theirs[key])
            _refuse_if_other(tx, to.key, key, ours.get(key))
            tx.secrets.set(to.key, key, theirs[key].kept(), description=theirs[key].description)
    return plan


def _scope_with_secrets(state: Lookup, text: str) -> str:
    try:
        return owner_of(state, text).scope
    except NotFound:
        # What is left of something that is no longer on record can still be looked at and removed.
        if text in state.secrets.scopes:
            return text
        raise


def _entry(state: Lookup, scope: str, key: str) -> SecretEntry:
    entry = state.secrets.scopes.get(scope, {}).get(key)
    if entry is None:
        known = ", ".join(state.secrets.names(scope)) or "none"
        raise NotFound(f"There is no {key} of {scope}; there is {known}")
    return entry


def _check_key(state: Lookup, owner: Owner, key: str) -> None:
    if key == NEXT_API_SERVER_KEY:
        raise Problem(f"{key} is kept while a key is rotated", f"clm secret rotate {owner.scope}", Exit.USAGE)
    dotenv.check(key, "")
    if owner.scope.startswith("provider:"):
        declaration = provider_type(state.provider(owner.scope.removeprefix("provider:")).type)
        taken = [field.key for field in declaration.secrets]
        if key not in taken:
            raise Problem(
                f"A provider of type {declaration.name} takes {', '.join(taken)}, not {key}", None, Exit.USAGE
            )


def _check_value(key: str, value: Secret) -> None:
    dotenv.check(key, value.reveal())
    if key == API_SERVER_KEY and not names.is_api_server_key(value.reveal()):
        raise Problem(
            f"{key} must be 64 lowercase hexadecimal digits",
            "Have a new one made and put in force: clm secret rotate AGENT",
            Exit.USAGE,
        )


def checked_reference(text: str) -> Reference:
    try:
        references.check(text)
    except ValueError as error:
        raise Problem(f"This is no reference: {error}", None, Exit.USAGE) from None
    for kind in ("file:", "sops:"):
        if text.startswith(kind) and not Path(text.removeprefix(kind)).expanduser().is_absolute():
            raise Problem(
                f"{text} depends on where clm is run", f"Give a full path: {kind}{Path.cwd()}/...", Exit.USAGE
            )
    return Reference(text)


def _why_unusable(key: str, reference: Reference) -> str | None:
    """Follow a new reference once: what is wrong is said now, and not refused, for it may hold elsewhere or later."""
    try:
        _check_value(key, references.resolve_one(key, reference.text))
    except (references.UnresolvedSecret, dotenv.CannotEncode) as error:
        return str(error)
    except Problem as problem:
        return problem.message
    return None


def _refuse_if_other(state: Lookup, scope: str, key: str, expected: SecretEntry | None) -> None:
    now = state.secrets.scopes.get(scope, {}).get(key)
    if (now and now.kept()) != (expected and expected.kept()):
        raise Problem(f"{key} of {scope} was changed by another command meanwhile", "Look again: clm secret list")


def _users(state: Lookup, scope: str, key: str) -> Iterator[str]:
    try:
        owner = owner_of(state, scope)
    except NotFound:
        return
    for user in owner.users:
        if owner.instance is None or key in _OURS or key in _of_entries(user):
            yield user.key


def _instead(state: Lookup, scope: str, reference: str, key: str) -> Iterator[str]:
    """Say what may be wanted in the place of removing a secret that is used."""
    if key in _OURS:
        yield f"Make a new one: clm secret rotate {reference}"
    else:
        yield f"Replace it: clm secret set {reference} {key}"
        instance = owner_of(state, scope).instance
        for name in instance.agent.channels if instance else ():
            if name in channels.CATALOGUE and key in {f.key for f in channels.CATALOGUE[name].secrets}:
                yield f"turn the channel off: clm agent channel disable {reference} {name} --forget"
    yield f"remove it all the same: clm secret remove {reference} {key} --force"


def _of_entries(instance: Instance) -> set[str]:
    """Name the secrets of an agent's own that its channels and its memory backend use."""
    enabled: list[Declaration | None] = [channels.CATALOGUE.get(name) for name in instance.agent.channels]
    if instance.agent.memory is not None:
        enabled.append(memory.CATALOGUE.get(instance.agent.memory.type))
    return {field.key for entry in enabled if entry for field in entry.secrets}
