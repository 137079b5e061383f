"""
From an older shape of a state file to the present one: a pure step on plain JSON for each version, named ``1→2``.

A file of an older version is read through the steps, in memory; reading writes nothing. The first change of that file
writes it in the present version, as every change does, all or nothing, and keeps the file as it was beside the
earlier versions, under a name that says so: ``generations/<file>.~schema-1~``.

A step is given what was parsed and not checked yet: what it does not understand it leaves for the check that follows.
One that changes nothing is there for what a later clm may put into the file, and an older one would not understand.
A version that is later than ours is never read: what it holds more would be lost by the next change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from .records import Document, HostsFile, IntegrationsFile, ProvidersFile

Plain = dict[str, Any]


@dataclass(frozen=True)
class Migration:
    """One step from a version to the next."""

    before: int
    #: What the step does, for people.
    what: str
    step: Callable[[Plain], Plain]

    @property
    def after(self) -> int:
        """The version that it leads to."""
        return self.before + 1

    @property
    def name(self) -> str:
        """``1→2``."""
        return f"{self.before}→{self.after}"


def _nothing(plain: Plain) -> Plain:
    return plain


def _agents_with_more(plain: Plain) -> Plain:
    new: Plain = {"memory": None, "environment": {}, "secret_environment": [], "config": {}}

    def host(record: Any) -> Any:
        agents = _each(record.get("agents"), lambda agent: {**new, **agent}) if isinstance(record, dict) else None
        return record if agents is None else {**record, "agents": agents}

    hosts = _each(plain.get("hosts"), host)
    return plain if hosts is None else {**plain, "hosts": hosts}


def _each(entries: object, change: Callable[[Plain], Any]) -> Plain | None:
    if not isinstance(entries, dict):
        return None
    return {name: change(entry) if isinstance(entry, dict) else entry for name, entry in entries.items()}


#: The steps of each file, in their order; a file without any has one version only.
MIGRATIONS: Mapping[type[Document], Sequence[Migration]] = {
    HostsFile: (
        Migration(
            1, "agents have a memory backend, an environment and a configuration of their own", _agents_with_more
        ),
        Migration(2, "an agent's release may come by upstream's installer", _nothing),
    ),
    ProvidersFile: (Migration(1, "an option may be a list or an object", _nothing),),
    IntegrationsFile: (Migration(1, "an option may be a list or an object", _nothing),),
}


def versions(kind: type[Document]) -> tuple[int, ...]:
    """Return the versions that a document may have as it is, without a step; the last is the one that is written."""
    return get_args(kind.model_fields["schema_version"].annotation)


def oldest(kind: type[Document]) -> int:
    """Return the oldest version that can be read."""
    return min((*versions(kind), *(step.before for step in MIGRATIONS.get(kind, ()))))


def migrated(kind: type[Document], plain: Plain) -> Plain | None:
    """Return a document in a version that can be read as it is; None when no steps lead there. Changes nothing."""
    steps = {step.before: step for step in MIGRATIONS.get(kind, ())}
    while (version := plain["schema_version"]) not in versions(kind):
        if version not in steps:
            return None
        plain = {**steps[version].step(plain), "schema_version": steps[version].after}
    return plain


def outdated(kind: type[Document], content: bytes | None) -> int | None:
    """Return the version of a file when it is an older one that the next change of the file leaves behind."""
    try:
        plain = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    # The version of what is encrypted is inside: see .encryption.
    version = plain.get("schema_version") if isinstance(plain, dict) and "encryption" not in plain else None
    return version if type(version) is int and oldest(kind) <= version < versions(kind)[0] else None
