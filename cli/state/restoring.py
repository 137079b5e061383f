"""
From a damaged state file back to an earlier version of it.

What is possible is looked at first, without the lock, so that a person can be asked. It is carried out under the
lock only while all files still are as they were then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pyinfra_hermes.deploys.model import names

from . import journal
from .dangling import Dangling, Documents, dangling
from .directory import OpenDirectory, StateDirectory
from .documents import Defect, decode
from .encryption import EncryptedFile, begins_encrypted, encrypted
from .errors import NotFound, StateCorrupt, StateError, StateRefused
from .inspection import contents_of
from .locking import DEFAULT_WAIT
from .records import KINDS, Document, HostsFile, IntegrationsFile, ProvidersFile, SecretsFile, is_scope, is_secret_key
from .timestamps import now
from .unlocking import without_asking
from .vault import Vault
from .versions import LOST, Version, kept, whole
from .writing import commit, writer

D = TypeVar("D", bound=Document)

#: How many names one difference shows.
_SHOWN = 8


@dataclass(frozen=True)
class Earlier:
    """An earlier version that may be restored."""

    version: Version
    is_encrypted: bool
    #: What it holds, by counts; empty for one that is encrypted and was not opened.
    holds: str
    #: What is otherwise in it than in what is there now, or in the next newer version, by names.
    differs: str
    document: Document | None = field(repr=False)


@dataclass(frozen=True)
class Offer:
    """A state file and what it can be restored from."""

    kind: type[Document]
    path: Path
    #: Why the file is damaged; None for one that is whole.
    defect: Defect | None
    #: Newest first.
    earlier: tuple[Earlier, ...]

    def get(self, number: int | None) -> Earlier:
        """Return one of the versions; the newest when no number is given. Raises :class:`NotFound`."""
        for each in self.earlier:
            if number in (None, each.version.number):
                return each
        there = ", ".join(str(each.version.number) for each in self.earlier)
        raise NotFound(
            f"There is no earlier version {'' if number is None else f'{number} '}of {self.path} that is whole"
            + (f"; there is {there}" if there else ""),
            None if there else "clm state check",
        )


@dataclass(frozen=True)
class Offers:
    """All state files at one moment, with their earlier versions."""

    directory: StateDirectory
    files: Mapping[str, Offer]
    #: What the files held, to notice a change.
    contents: Mapping[str, bytes | None] = field(repr=False)
    documents: Mapping[str, Document | None] = field(repr=False)

    @property
    def damaged(self) -> list[Offer]:
        """The files that are damaged."""
        return [offer for offer in self.files.values() if offer.defect is not None]

    def dangling(self, chosen: Mapping[str, Earlier]) -> list[Dangling]:
        """Say which references the chosen versions leave behind that lead nowhere, and do not today."""
        today = dangling(_documents(self.documents))
        then = dangling(_documents({**self.documents, **{name: each.document for name, each in chosen.items()}}))
        return [each for each in then if each not in today and {each.file, each.other} & chosen.keys()]

    def change_of_encryption(self, chosen: Mapping[str, Earlier]) -> str | None:
        """Say so when secrets would be plain that were encrypted since, or the other way round."""
        name = SecretsFile.FILENAME
        if name not in chosen:
            return None
        version, offer = chosen[name].version.number, self.files[name]
        since = [each.is_encrypted for each in offer.earlier if each.version.number > version]
        since.append(begins_encrypted(self.contents[name] or b""))
        if not chosen[name].is_encrypted and any(since):
            return f"{name}: it was encrypted since, and this version holds every secret in the open"
        if chosen[name].is_encrypted and offer.defect is None and not since[-1]:
            return f"{name}: it is not encrypted now, and this version is"
        return None


def offers(directory: StateDirectory, lock_wait: float = DEFAULT_WAIT) -> Offers:
    """
    Look at all state files and their earlier versions.

    A change that a stopped command left is finished first. Raises :class:`StateRefused` and
    :class:`StateReadFailed`.
    """
    with directory.opened() as opened:
        if opened is None:
            raise NotFound(f"There is no directory {directory.path}, and nothing to restore in it")
        stopped = journal.exists(opened)
    if stopped:
        with writer(directory, lock_wait):
            pass
    with directory.opened() as opened:
        if opened is None:
            raise NotFound(f"There is no directory {directory.path}, and nothing to restore in it")
        files, contents, documents = {}, {}, {}
        for kind in KINDS:
            content = opened.read(kind.FILENAME)
            offer, document = _offer(opened, kind, content)
            files[kind.FILENAME], contents[kind.FILENAME], documents[kind.FILENAME] = offer, content, document
    return Offers(directory, files, contents, documents)


def restore(offered: Offers, chosen: Mapping[str, Earlier], lock_wait: float = DEFAULT_WAIT) -> dict[str, Path]:
    """
    Put the chosen versions in the place of the present files, all of them or none.

    A damaged file is kept beside the restored one; returns where, by file name. A file that is whole becomes an
    earlier version, as with every change. Raises what writing raises, and :class:`StateRefused` when something
    was changed since the offer.
    """
    with writer(offered.directory, lock_wait) as directory:
        present = {kind.FILENAME: directory.read(kind.FILENAME) for kind in KINDS}
        if present != offered.contents:
            raise StateRefused(
                f"The state in {offered.directory.path} was changed in the meantime; nothing was restored",
                "Look at it again: clm state restore",
            )
        damaged: dict[str, tuple[str, bytes]] = {}
        for name in chosen:
            content = present[name]
            if content is not None and offered.files[name].defect is not None:
                damaged[name] = (_free_name(directory, name), content)
        commit(directory, {name: each.version.content for name, each in chosen.items()}, damaged)
    return {name: offered.directory.path / aside for name, (aside, _) in damaged.items()}


def _offer(directory: OpenDirectory, kind: type[Document], content: bytes | None) -> tuple[Offer, Document | None]:
    defect: Defect | None = None
    document: Document | None = None
    if content is not None:
        read = _read(directory, kind, content)
        defect, document = (read, None) if isinstance(read, Defect) else (None, read)
    elif kept(directory, kind):
        defect = LOST
    else:
        document = kind()
    newer = _entries(document) if document is not None else _names_in(kind, content or b"")
    against: int | None = None
    earlier: list[Earlier] = []
    for version in whole(directory, kind):
        held = _read(directory, kind, version.content)
        held = None if isinstance(held, Defect) else held
        entries = _entries(held) if held is not None else None
        earlier.append(
            Earlier(
                version,
                kind is SecretsFile and isinstance(encrypted(version.content), EncryptedFile),
                contents_of(held) if held is not None else "",
                _difference(entries, newer, against),
                held,
            )
        )
        if document is None and entries is not None:
            newer, against = entries, version.number
    return Offer(kind, directory.path / kind.FILENAME, defect, tuple(earlier)), document


def _read(directory: OpenDirectory, kind: type[Document], content: bytes) -> Document | Defect | None:
    """Read a file; None for one that is encrypted and cannot be opened without asking somebody."""
    file = encrypted(content) if kind is SecretsFile else None
    if isinstance(file, Defect):
        return file
    if file is None:
        return decode(kind, content)
    found: list[Defect] = []

    def corrupt(defect: Defect) -> StateCorrupt:
        found.append(defect)
        return StateCorrupt(defect.what)

    try:
        with without_asking():
            return Vault(file, directory.path / kind.FILENAME, corrupt).open()
    except StateError:
        return found[0] if found else None


def _entries(document: Document) -> dict[str, object]:
    """Give each thing of a document by what it is called, with what tells whether it is still the same."""
    if isinstance(document, HostsFile):
        hosts = {f"host {host.name}": host.model_dump(exclude={"agents"}) for host in document.hosts.values()}
        return hosts | {
            f"agent {host.name}/{agent.name}": agent
            for host in document.hosts.values()
            for agent in host.agents.values()
        }
    if isinstance(document, ProvidersFile):
        return {f"provider {name}": provider for name, provider in document.providers.items()}
    if isinstance(document, IntegrationsFile):
        return {f"integration {name}": integration for name, integration in document.integrations.items()}
    if isinstance(document, SecretsFile):
        return {f"{key} of {scope}": entry for scope, key, entry in document.entries()}
    return {}


def _names_in(kind: type[Document], content: bytes) -> dict[str, object] | None:
    """
    Find the names in a damaged file; None when it does not even parse.

    What is under them is not believed, and a name is taken only in the shape of one: it may be a misplaced secret.
    """
    try:
        plain: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if kind is SecretsFile:
        scopes = ((scope, inner) for scope, inner in _objects(plain) if is_scope(scope))
        return {f"{key} of {scope}": None for scope, inner in scopes for key in inner if is_secret_key(key)}
    what = kind.FILENAME.removesuffix(".json")
    there = dict(_objects(plain)).get(what, {})
    check = names.host_name if kind is HostsFile else names.provider_name
    found: dict[str, object] = {f"{what[:-1]} {name}": None for name in there if _is(check, name)}
    if kind is HostsFile:
        for host, record in _objects(there):
            agents = dict(_objects(record)).get("agents", {})
            if _is(check, host):
                found |= {f"agent {host}/{agent}": None for agent in agents if _is(names.agent_name, agent)}
    return found


def _objects(plain: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(plain, dict):
        yield from ((key, value) for key, value in plain.items() if isinstance(value, dict))


def _is(check: Any, name: str) -> bool:
    try:
        check(name)
    except names.InvalidName:
        return False
    return True


def _difference(entries: dict[str, object] | None, newer: dict[str, object] | None, against: int | None) -> str:
    if entries is None or newer is None:
        return "what differs cannot be told"
    parts = {
        "without": [name for name in newer if name not in entries],
        "with": [name for name in entries if name not in newer],
        # Of what is in a damaged file nothing but the name is known.
        "another": [name for name in entries if newer.get(name) is not None and newer[name] != entries[name]],
    }
    said = "; ".join(f"{word} {_listed(found)}" for word, found in parts.items() if found)
    other = "now" if against is None else str(against)
    return f"compared with {other}: {said}" if said else f"holds the same as {other}"


def _listed(found: list[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _documents(documents: Mapping[str, Document | None]) -> Documents:
    def of(kind: type[D]) -> D | None:
        document = documents[kind.FILENAME]
        return document if isinstance(document, kind) else None

    return Documents(of(HostsFile), of(ProvidersFile), of(IntegrationsFile), of(SecretsFile))


def _free_name(directory: OpenDirectory, name: str) -> str:
    stamp = f"{name}.damaged-{now():%Y%m%dT%H%M%SZ}"
    number, free = 1, stamp
    while directory.status(free) is not None:
        number += 1
        free = f"{stamp}-{number}"
    return free
