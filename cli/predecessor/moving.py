"""
Carry out an import from the predecessor: all of it in one transaction, with their files kept as they were.

Both programs use the same directory. There, copies of their files are on disk before the first of them is
replaced by ours; anywhere else their files are only read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..exits import Exit
from ..problems import Problem
from ..state import generations, journal
from ..state.directory import OpenDirectory, reason
from ..state.documents import Defect, encode
from ..state.errors import StateError, StateInvalid, StateWriteFailed
from ..state.records import Host, HostsFile, Integration, IntegrationsFile, Provider, ProvidersFile, SecretsFile
from ..state.store import State
from ..state.timestamps import now, rfc3339
from ..state.writing import commit, writer
from .clawrium import KEPT, Source, find, held_still, is_same, is_theirs
from .importing import plan
from .plan import OnRecord, Plan, Wishes

#: What an import could not record, in the folder where it keeps things.
REPORT = "not-imported.json"


@dataclass(frozen=True)
class Import:
    """An import that was planned and not carried out yet."""

    source: Source
    plan: Plan
    #: Their files are where ours belong.
    in_place: bool
    wishes: Wishes

    @property
    def changes(self) -> bool:
        """Whether carrying it out changes anything."""
        return self.in_place or self.plan.changes


@dataclass
class _Nothing:
    """What is on record before an import in place: nothing."""

    path: Path
    hosts: dict[str, Host] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    integrations: dict[str, Integration] = field(default_factory=dict)
    secrets: SecretsFile = field(default_factory=SecretsFile)


def prepare(state: State, given: Path | None, wishes: Wishes) -> Import:
    """Read the predecessor's files and plan their import. Nothing is written. Raises :class:`Problem`."""
    ours = state.directory.path
    with state.directory.opened() as directory:
        stopped = directory is not None and journal.exists(directory)
    if stopped:
        with writer(state.directory, state.lock_wait):
            pass  # a command was stopped in the middle of a change, perhaps of this very import: it is finished first
    source = find(given, state.directory)
    in_place = is_same(source.path, ours)
    if not in_place and is_theirs(ours):
        raise Problem(
            f"{ours} is clawrium's own directory, so nothing can be recorded in it yet",
            "Import that one first: clm import clawrium",
            Exit.REFUSED,
        )
    on_record: OnRecord = _Nothing(ours) if in_place else state.read()
    return Import(source, plan(source, on_record, ours, wishes), in_place, wishes)


def carry_out(state: State, wanted: Import) -> Path | None:
    """Record what was planned; return the folder with what was kept, None when nothing had to be."""
    return _in_place(state, wanted) if wanted.in_place else _from_elsewhere(state, wanted)


def _in_place(state: State, wanted: Import) -> Path:
    with writer(state.directory, state.lock_wait) as directory, held_still(wanted.source):
        empty = _Nothing(directory.path)
        wanted.plan.apply(empty)
        contents = _encoded(directory.path, empty)
        theirs = wanted.source.contents
        with ExitStack() as undo:
            kept = _keep(directory, {**theirs, **_report(wanted)}, undo)
            for name in theirs.keys() & contents.keys():
                _close_to_others(directory, name)
            undo.pop_all()
        commit(directory, contents)
        _forget_generations(directory, theirs)
    return kept


def _from_elsewhere(state: State, wanted: Import) -> Path | None:
    kept = None
    with state.transaction() as tx, held_still(wanted.source), ExitStack() as undo:
        # Planned again, now that nobody else can change what is on record.
        current = plan(wanted.source, tx, state.directory.path, wanted.wishes)
        if current.items != wanted.plan.items:
            raise Problem(
                f"The state in {state.directory.path} was changed in the meantime; nothing was imported",
                "Look at it again: clm import clawrium",
            )
        with state.directory.opened() as directory:
            assert directory is not None
            for key_id, key in current.keys.items():
                _copy_key(directory, key_id, key.files(), undo)
            if report := _report(wanted):
                kept = _keep(directory, report, undo)
        current.apply(tx)
        undo.pop_all()
    return kept


def _encoded(path: Path, records: _Nothing) -> dict[str, bytes]:
    documents = (
        HostsFile.model_construct(hosts=records.hosts),
        ProvidersFile.model_construct(providers=records.providers),
        IntegrationsFile.model_construct(integrations=records.integrations),
        records.secrets,
    )
    contents: dict[str, bytes] = {}
    for document in documents:
        content = encode(document)
        if isinstance(content, Defect):
            raise StateInvalid(
                f"This cannot be recorded in {path / document.FILENAME}: {content.what}. Nothing was imported"
            )
        contents[document.FILENAME] = content
    return contents


def _report(wanted: Import) -> dict[str, bytes]:
    left_out = wanted.plan.of("later", "skip", "refused")
    if not left_out and not wanted.plan.kept:
        return {}
    data: dict[str, Any] = {
        "from": str(wanted.source.path),
        "at": rfc3339(now()),
        "not_imported": [item.data() for item in left_out],
        "settings": wanted.plan.kept,
    }
    return {REPORT: (json.dumps(data, indent=2) + "\n").encode()}


def _keep(directory: OpenDirectory, contents: Mapping[str, bytes], undo: ExitStack) -> Path:
    """Write files into a new folder of our directory, durably."""
    stamp = f"{KEPT}{now():%Y%m%dT%H%M%SZ}"
    path = directory.path / stamp
    try:
        name = _new_folder(directory, stamp)
        path = directory.path / name
        undo.callback(_forget, lambda: os.rmdir(name, dir_fd=directory.descriptor))
        with directory.folder(name) as folder:
            assert folder is not None
            _write(folder, contents, undo)
        directory.sync()
    except OSError as error:
        raise StateWriteFailed(
            f"Cannot keep clawrium's files in {path}: {reason(error)}. Nothing was imported"
        ) from None
    return path


def _new_folder(directory: OpenDirectory, stamp: str) -> str:
    number = 1
    while True:
        name = stamp if number == 1 else f"{stamp}-{number}"
        try:
            os.mkdir(name, 0o700, dir_fd=directory.descriptor)
        except FileExistsError:
            number += 1
        else:
            return name


def _copy_key(directory: OpenDirectory, key_id: str, files: Mapping[str, bytes], undo: ExitStack) -> None:
    try:
        with directory.created_folder("keys") as keys, keys.created_folder(key_id) as folder:
            _write(folder, {name: content for name, content in files.items() if folder.read(name) is None}, undo)
    except OSError as error:
        raise StateWriteFailed(
            f"Cannot copy a key to {directory.path / 'keys' / key_id}: {reason(error)}. Nothing was imported"
        ) from None


def _write(folder: OpenDirectory, contents: Mapping[str, bytes], undo: ExitStack) -> None:
    for name, content in contents.items():
        folder.write_new(name, content)
        undo.callback(_forget, (folder.path / name).unlink)
    folder.sync()


def _close_to_others(directory: OpenDirectory, name: str) -> None:
    # Their file becomes an earlier version of ours, and one that others can read would be refused as such.
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.descriptor)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StateWriteFailed(
            f"Cannot close {directory.path / name} to others: {reason(error)}. Nothing was imported"
        ) from None


def _forget_generations(directory: OpenDirectory, theirs: Mapping[str, bytes]) -> None:
    # Their files are no earlier versions of ours that could be gone back to, and they are kept elsewhere by now.
    with suppress(OSError, StateError), directory.folder(generations.FOLDER) as folder:
        if folder is None:
            return
        for name, content in theirs.items():
            for number in generations.numbers(folder, name):
                earlier = generations.file_name(name, number)
                if folder.read(earlier) == content:
                    folder.unlink(earlier)


def _forget(remove: Callable[[], object]) -> None:
    with suppress(OSError):
        remove()
