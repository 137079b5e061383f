"""What a configure would change on a host: the same deploys, prepared and not run, and what is there now."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pyinfra.context import ctx_host

from pyinfra_hermes.facts.leaves import leaf_key
from pyinfra_hermes.facts.values import HermesValues, Values
from pyinfra_hermes.operations.announcing import Action, Change

from .model.integrations.texts import is_credential
from .model.layout import release_directory
from .model.redaction import redact
from .model.render import Files


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be. It never holds a secret."""

    action: Action
    #: The file, account, service or release.
    subject: str
    #: The leaf, the variable, the unit's line, or words.
    item: str
    old: str | None
    new: str | None
    #: Whether the values are secret, and so are not told.
    secret: bool = False

    def data(self) -> dict[str, str | bool | None]:
        """Return it as plain data, for programs."""
        return {
            "action": {"refuse": "refused", "do": "act"}.get(self.action, self.action),
            "subject": self.subject,
            "item": self.item or None,
            "old": self.old,
            "new": self.new,
            "secret": self.secret,
        }


def differences(changes: Sequence[Change], files: Files, *, sudo: bool) -> list[Difference]:
    """
    Add to what the operations announced what is on the current host now; one command, none when nothing differs.

    Old values are asked for only where the new one is known not to be secret.
    """
    plain = [change for change in changes if not change.secret]
    leaves = tuple(change.path for change in plain if change.path)
    variables = tuple(change.item for change in plain if change.subject == files.paths.env and change.new is not None)
    units = tuple(change.subject for change in plain if change.subject in _units(files))
    found = Values()
    if leaves or variables or units:
        found = ctx_host.get().get_fact(
            HermesValues,
            agent=files.paths.agent,
            home=files.paths.home,
            python=f"{release_directory(files.paths.agent, files.release_id)}/venv/bin/python",
            leaves=leaves,
            variables=variables,
            units=units,
            _sudo=sudo,
        )
    return list(_with_old(changes, files, found))


def _with_old(changes: Iterable[Change], files: Files, found: Values) -> Iterator[Difference]:
    units = _units(files)
    for change in changes:
        same = Difference(change.action, change.subject, change.item, None, change.new, change.secret)
        if change.path:
            yield replace(same, old=_shown(found.leaves, leaf_key(change.path)))
        elif change.subject == files.paths.env and change.new is not None and change.item:
            old = _shown(found.variables, change.item)
            yield replace(same, old=old if old is None else _text(old))
        elif change.subject in found.units:
            yield from _lines(change.subject, found.units[change.subject], units[change.subject])
        else:
            yield same


def _lines(path: str, old: str, new: str) -> Iterator[Difference]:
    compared = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    told = False
    for line in compared:
        if line.startswith(("---", "+++", "@@")):
            continue
        told = True
        action: Action = "remove" if line[0] == "-" else "add"
        yield Difference(
            action, path, "line", line[1:] if line[0] == "-" else None, line[1:] if line[0] == "+" else None
        )
    if not told:
        yield Difference("change", path, "mode or owner", None, None)


def _units(files: Files) -> dict[str, str]:
    folder = files.paths.unit.rpartition("/")[0]
    return {files.paths.unit: files.service, f"{folder}/hermes.slice": files.slice}


def _shown(values: Mapping[str, str | None], name: str) -> str | None:
    if name not in values:
        return None
    value = values[name]
    return "(hidden: it looks like a secret)" if value is None or is_credential(value) else redact(value)


def _text(value: str) -> str:
    try:
        return str(json.loads(value))
    except ValueError:
        return value
