"""What providers and integrations have in common on record: how they are changed and listed, and who uses them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra_hermes.deploys.model.declaration import Declaration

from ..exits import Exit
from ..problems import Problem
from ..specification import specification
from ..state.errors import KeyUnavailable
from ..state.lookup import Lookup
from ..state.records import Entry, Instance, SecretsFile
from ..state.store import Transaction
from ..state.timestamps import now, rfc3339
from ..state.unlocking import without_asking
from . import fields
from .fields import Answers


@dataclass(frozen=True)
class Edited:
    """What came of an edit."""

    changed: bool
    #: The agents that use the entry: what changed reaches them at their next configure.
    users: tuple[Instance, ...]


def removable(declaration: Declaration, unset: Collection[str], answers: Answers) -> frozenset[str]:
    """Return the names of the fields to take away. Raises :class:`Problem` for one unknown, or given as well."""
    known = {f.name: f for f in declaration.fields}
    wanted = frozenset(name.replace("-", "_") for name in unset)
    for name in sorted(wanted):
        if name not in known:
            raise Problem(f"{declaration.what} has no field {name!r}; it has {', '.join(known)}", None, Exit.USAGE)
        if name in answers.options or name in answers.secrets:
            raise Problem(f"{known[name].label} is both given and unset", None, Exit.USAGE)
    return wanted


def change(
    tx: Transaction,
    record: Entry,
    scope: str,
    declaration: Declaration,
    answers: Answers,
    users: Sequence[Instance],
) -> bool:
    """
    Put changes of an entry on record, in a transaction; tell whether there were any.

    + scope: of the entry's secrets
    + users: the agents that use it; what they have proven is void when something did change
    """
    kept = tx.secrets.names(scope)
    there = [f.name for f in declaration.secrets if f.key in kept]
    options = fields.check(declaration, answers, options=record.options, secrets=there)
    changed = options != record.options
    if changed:
        record.options = options
        record.updated_at = now()
    changed |= fields.keep_secrets(tx.secrets, scope, declaration, answers)
    void(tx, users if changed else ())
    return changed


def void(tx: Transaction, users: Sequence[Instance]) -> None:
    """Take back what agents have proven; what they are to be now must still be a valid agent each."""
    for instance in users:
        instance.agent.onboarding.pop("validate", None)
        specification(tx, instance)


def secrets_in_reach(state: Lookup) -> SecretsFile | None:
    """Return the secrets, or None when they are encrypted and the key is not at hand: a listing asks for none."""
    try:
        with without_asking():
            return state.secrets
    except KeyUnavailable:
        return None


def plain(record: Entry, scope: str, users: Sequence[Instance], secrets: SecretsFile | None) -> dict[str, Any]:
    """Return an entry as plain data; of secrets only the names, None when they cannot be read."""
    return {
        "name": record.name,
        "type": record.type,
        "options": dict(record.options),
        "secrets": None if secrets is None else list(secrets.names(scope)),
        "used_by": [instance.key for instance in users],
        "created_at": rfc3339(record.created_at),
        "updated_at": rfc3339(record.updated_at),
    }
