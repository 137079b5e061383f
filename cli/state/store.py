"""The state as a whole: read as it was at one moment, changed in one transaction."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from . import journal
from .directory import FileIdentity, OpenDirectory, StateDirectory, read_all
from .documents import Defect, decode, encode
from .encryption import encrypted
from .errors import StateCorrupt, StateError, StateInvalid
from .locking import DEFAULT_WAIT
from .lookup import Lookup
from .migrations import outdated
from .records import (
    KINDS,
    Document,
    Host,
    HostsFile,
    Integration,
    IntegrationsFile,
    Provider,
    ProvidersFile,
    SecretsFile,
)
from .vault import Vault
from .versions import LOST, kept, way_out
from .writing import commit, writer

D = TypeVar("D", bound=Document)

#: How often a reader starts again because a writer came in between, before it waits for its turn.
_ATTEMPTS = 20


@dataclass(frozen=True)
class Snapshot(Lookup):
    """The state at one moment. Nothing in it can be changed."""

    path: Path
    hosts: Mapping[str, Host]
    providers: Mapping[str, Provider]
    integrations: Mapping[str, Integration]
    vault: Vault


class Transaction(Lookup):
    """The state while it is changed; see :meth:`State.transaction`."""

    hosts: dict[str, Host]
    providers: dict[str, Provider]
    integrations: dict[str, Integration]

    def __init__(self, path: Path, files: _Files) -> None:
        self.path = path
        self.hosts = files.hosts.hosts
        self.providers = files.providers.providers
        self.integrations = files.integrations.integrations
        self.vault = files.vault


class State:
    """
    What the control machine knows of the fleet.

    A file of an older schema is read as one of the present schema, and written as one by its first change; see
    :mod:`.migrations`.

    Reading takes no lock and writes nothing, unless a command was stopped in the middle of a change: that is finished
    first then, and what it left behind is removed.
    """

    def __init__(self, directory: StateDirectory, *, lock_wait: float = DEFAULT_WAIT) -> None:
        self.directory = directory
        self.lock_wait = lock_wait
        self._writing: set[int] = set()

    @classmethod
    def open(cls, directory: StateDirectory | Path | None = None, *, lock_wait: float = DEFAULT_WAIT) -> Self:
        """Use a directory, the user's own by default. Nothing is touched before it is read or changed."""
        if directory is None:
            directory = StateDirectory.default()
        elif isinstance(directory, Path):
            directory = StateDirectory(directory)
        return cls(directory, lock_wait=lock_wait)

    def read(self) -> Snapshot:
        """
        Return the state as it was at one moment: of each change all files or none.

        A directory that is not there is empty. Raises :class:`StateRefused`, :class:`StateReadFailed` and
        :class:`StateCorrupt`.
        """
        files = self._read()
        for document in files.documents():
            document.seal()
        files.vault.seal()
        return Snapshot(
            self.directory.path,
            files.hosts.hosts,
            files.providers.providers,
            files.integrations.integrations,
            files.vault,
        )

    def unlock(self) -> None:
        """
        Have the key of encrypted secrets at hand; does nothing for plain ones.

        For before a transaction that looks at them: while its lock is held, nobody is to be asked anything.
        Raises what :attr:`.lookup.Lookup.secrets` raises.
        """
        self.read().vault.open()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Change the state: what was done to ``tx`` is recorded at the end of the block, all of it or nothing.

        An exception in the block undoes it. A file that was not changed is not written. The writer's lock is
        held for as long as the block runs, so no connection and no question to the user belongs in it.

        Raises what :meth:`read` raises, and :class:`StateLocked`, :class:`StateInvalid`,
        :class:`StateWriteFailed`.
        """
        with self._once_per_thread(), writer(self.directory, self.lock_wait) as directory:
            contents = _contents(directory)
            files = _believed(directory, _decoded(directory, contents))
            before = files.encoded(directory.path)
            tx = Transaction(directory.path, files)
            yield tx
            after = _Files.holding(tx).encoded(directory.path)
            before.setdefault(SecretsFile.FILENAME, tx.vault.opened_as or b"")
            changed = {name: content for name, content in after.items() if content != before[name]}
            if SecretsFile.FILENAME in changed:
                changed[SecretsFile.FILENAME] = tx.vault.protected(changed[SecretsFile.FILENAME])
            older = {kind.FILENAME: outdated(kind, contents[kind.FILENAME]) for kind in KINDS}
            if changed:
                commit(directory, changed, outdated={n: v for n, v in older.items() if n in changed and v is not None})

    def _read(self) -> _Files:
        for _ in range(_ATTEMPTS):
            with self.directory.opened() as directory:
                if directory is None:
                    return _Files()
                outcome = _decoded_at_one_moment(directory)
                if outcome is not None:
                    self._clear_up(directory)
                    return _believed(directory, outcome)
        # Writers are busy, or one was stopped in the middle of a change: the lock waits for the first and finishes
        # the second.
        with writer(self.directory, self.lock_wait) as directory:
            return _believed(directory, _decoded(directory, _contents(directory)))

    def _clear_up(self, directory: OpenDirectory) -> None:
        """Remove what a stopped writer left, which may be secrets in the open, when nobody is writing now."""
        if not any(map(journal.is_staged, directory.names())):
            return
        # Who only reads is not kept from it by a lock that is held or a disk that takes nothing.
        with suppress(StateError), writer(self.directory, 0):
            pass

    @contextmanager
    def _once_per_thread(self) -> Iterator[None]:
        thread = threading.get_ident()
        if thread in self._writing:
            raise RuntimeError("a transaction inside a transaction would wait for itself")
        self._writing.add(thread)
        try:
            yield
        finally:
            self._writing.remove(thread)


class _Files:
    """The documents of the directory."""

    def __init__(
        self,
        hosts: HostsFile | None = None,
        providers: ProvidersFile | None = None,
        integrations: IntegrationsFile | None = None,
        vault: Vault | None = None,
    ) -> None:
        self.hosts = hosts or HostsFile()
        self.providers = providers or ProvidersFile()
        self.integrations = integrations or IntegrationsFile()
        self.vault = vault or Vault(SecretsFile())

    @classmethod
    def holding(cls, tx: Transaction) -> Self:
        """Put what a transaction holds into documents, unchecked: :meth:`encoded` checks it."""
        return cls(
            HostsFile.model_construct(hosts=tx.hosts),
            ProvidersFile.model_construct(providers=tx.providers),
            IntegrationsFile.model_construct(integrations=tx.integrations),
            tx.vault,
        )

    def documents(self) -> tuple[Document, ...]:
        """All documents that can be looked at; of encrypted secrets nobody may have asked for anything."""
        secrets = (self.vault.open(),) if self.vault.is_open else ()
        return self.hosts, self.providers, self.integrations, *secrets

    def encoded(self, path: Path) -> dict[str, bytes]:
        """Give the content of each file by its name. Raises :class:`StateInvalid`."""
        contents = {}
        for document in self.documents():
            content = encode(document)
            if isinstance(content, Defect):
                file = path / document.FILENAME
                raise StateInvalid(f"This cannot be recorded in {file}: {content.what}. Nothing was written")
            contents[document.FILENAME] = content
        return contents


@dataclass(frozen=True)
class _Bad:
    """A file that cannot be believed."""

    kind: type[Document]
    defect: Defect


def _contents(directory: OpenDirectory) -> dict[str, bytes | None]:
    return {kind.FILENAME: directory.read(kind.FILENAME) for kind in KINDS}


def _decoded(directory: OpenDirectory, contents: Mapping[str, bytes | None]) -> _Files | _Bad:
    # Returned, not raised: the frames of an error's traceback must not hold the content of secrets.json.
    hosts = _document(directory, HostsFile, contents)
    if isinstance(hosts, _Bad):
        return hosts
    providers = _document(directory, ProvidersFile, contents)
    if isinstance(providers, _Bad):
        return providers
    integrations = _document(directory, IntegrationsFile, contents)
    if isinstance(integrations, _Bad):
        return integrations
    vault = _vault(directory, contents)
    return vault if isinstance(vault, _Bad) else _Files(hosts, providers, integrations, vault)


def _vault(directory: OpenDirectory, contents: Mapping[str, bytes | None]) -> Vault | _Bad:
    file = encrypted(contents[SecretsFile.FILENAME] or b"")
    if isinstance(file, Defect):
        return _Bad(SecretsFile, file)
    if file is not None:
        return Vault(file, directory.path / SecretsFile.FILENAME, partial(_altered, StateDirectory(directory.path)))
    secrets = _document(directory, SecretsFile, contents)
    return secrets if isinstance(secrets, _Bad) else Vault(secrets)


def _altered(directory: StateDirectory, defect: Defect) -> StateCorrupt:
    with directory.opened() as opened:
        if opened is None:
            return StateCorrupt(f"{directory.path} went away while it was used")
        return _corrupt(opened, _Bad(SecretsFile, defect))


def _document(directory: OpenDirectory, kind: type[D], contents: Mapping[str, bytes | None]) -> D | _Bad:
    content = contents[kind.FILENAME]
    if content is not None:
        document = decode(kind, content)
        return _Bad(kind, document) if isinstance(document, Defect) else document
    if kept(directory, kind):
        # We never remove a state file, so this is no beginning: somebody did, or it was lost.
        return _Bad(kind, LOST)
    return kind()


def _decoded_at_one_moment(directory: OpenDirectory) -> _Files | _Bad | None:
    """
    Read all files without the lock; None when a writer came in between.

    Writers replace files and never change them. So when no change was under way after the last file was
    opened, and every name still means the file that was opened, all files were there together at the moment
    in between. They are held open for the comparison, because the inode of a closed file may be given to its
    successor.
    """
    with ExitStack() as held:
        opened: dict[str, int | None] = {}
        for kind in KINDS:
            descriptor = directory.open_file(kind.FILENAME)
            opened[kind.FILENAME] = descriptor
            if descriptor is not None:
                held.callback(os.close, descriptor)
        contents = {
            name: None if descriptor is None else read_all(descriptor, directory.path / name)
            for name, descriptor in opened.items()
        }
        if journal.exists(directory):
            return None
        for name, descriptor in opened.items():
            if _identity(directory.status(name)) != _identity(None if descriptor is None else os.fstat(descriptor)):
                return None
    return _decoded(directory, contents)


def _identity(status: os.stat_result | None) -> FileIdentity | None:
    return None if status is None else FileIdentity.of(status)


def _believed(directory: OpenDirectory, outcome: _Files | _Bad) -> _Files:
    if isinstance(outcome, _Bad):
        raise _corrupt(directory, outcome)
    return outcome


def _corrupt(directory: OpenDirectory, bad: _Bad) -> StateCorrupt:
    path = directory.path / bad.kind.FILENAME
    message = f"{path}: {bad.defect.what}. Nothing was overwritten"
    what_there_is, remedy = way_out(directory, bad.kind, bad.defect)
    return StateCorrupt(f"{message}. {what_there_is}", remedy)
