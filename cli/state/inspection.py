"""
Everything about the state directory at once: what is wrong with it, and what is worth knowing.

Unlike a command that uses the state, an inspection does not stop at the first thing that it cannot trust. It
believes nothing that it reads there and changes nothing: it opens regular files only, follows no link, finishes no
change, asks for no passphrase. It never shows more than names of a known shape.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from typing_extensions import override

from . import generations, journal
from .dangling import Documents, dangling
from .directory import FileIdentity, OpenDirectory, StateDirectory, file_faults, folder_faults, reason
from .documents import Defect, decode
from .encryption import EncryptedFile, begins_encrypted, defect_of, encrypted
from .errors import StateCorrupt, StateError, StateReadFailed, StateRefused
from .known_hosts import FILENAME as KNOWN_HOSTS
from .locking import LOCK, holder
from .migrations import outdated, versions
from .mounts import network_mount
from .receipts import FILENAME as RECEIPTS
from .records import KINDS, Document, Host, HostsFile, IntegrationsFile, ProvidersFile, SecretsFile
from .unlocking import without_asking
from .vault import Vault
from .versions import LOST, kept, way_out

D = TypeVar("D", bound=Document)

FileState = Literal["whole", "encrypted", "damaged", "newer", "lost", "refused", "absent"]

#: How often, and after how many seconds, an inspection begins again because a writer came in between.
_ATTEMPTS, _PAUSE = 40, 0.05

_KEYS = "keys"
_OURS = frozenset({*(kind.FILENAME for kind in KINDS), KNOWN_HOSTS, RECEIPTS, LOCK, journal.JOURNAL})
#: Folders that an import and a repair leave behind on purpose.
_KEPT_ASIDE = re.compile(r"imported-from-clawrium-.*")
#: What :mod:`.restoring` calls a damaged file that it replaced.
DAMAGED = re.compile(r"(?P<file>[a-z_]+\.json)\.damaged-[0-9TZ]+(-[0-9]+)?")
_GENERATION = re.compile(r"(?P<file>[a-z_]+(\.json)?)\.~(?P<schema>schema-)?[1-9][0-9]{0,17}~")


@dataclass(frozen=True)
class Finding:
    """Something that an inspection found: a problem, or a thing worth knowing."""

    where: str
    what: str
    remedy: str | None = None
    is_problem: bool = True

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        return {"where": self.where, "what": self.what, "remedy": self.remedy}


@dataclass(frozen=True)
class FileReport:
    """How one state file is."""

    name: str
    state: FileState
    #: What it holds, by counts; empty when it cannot be looked into.
    holds: str
    #: The numbers of its earlier versions, newest first, and those of them that are whole.
    generations: tuple[int, ...]
    whole: tuple[int, ...]

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        return {
            "state": self.state,
            "holds": self.holds,
            "generations": list(self.generations),
            "whole_generations": list(self.whole),
        }


@dataclass
class Inspection:
    """What an inspection found."""

    path: Path
    findings: list[Finding] = field(default_factory=list)
    files: list[FileReport] = field(default_factory=list)
    #: The files that could be looked into.
    documents: Documents = field(default_factory=Documents)
    #: The text of our list of host keys; None when it cannot be read.
    known_hosts: str | None = None

    @property
    def problems(self) -> list[Finding]:
        """What is to be mended."""
        return [finding for finding in self.findings if finding.is_problem]

    @property
    def notes(self) -> list[Finding]:
        """What is worth knowing."""
        return [finding for finding in self.findings if not finding.is_problem]

    @property
    def hosts(self) -> list[Host]:
        """The hosts on record, as far as they can be read."""
        return list(self.documents.hosts.hosts.values()) if self.documents.hosts else []


def inspect(directory: StateDirectory) -> Inspection:
    """Look at everything. Raises nothing of the state's own errors: they are what is found."""
    for _ in range(_ATTEMPTS):
        found, settled = _looked(directory.path)
        if settled:
            break
        time.sleep(_PAUSE)
    return found


def _looked(path: Path) -> tuple[Inspection, bool]:
    """Look once; tell whether nobody changed anything meanwhile."""
    inspection = Inspection(path)
    if mount := network_mount(path):
        inspection.findings.append(
            Finding(
                str(path),
                f"is on a network file system, {mount}: locks between machines, modes and what survives a power "
                "failure are its server's promise",
                "Keep it on a local disk: set XDG_CONFIG_HOME",
                is_problem=False,
            )
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        inspection.findings.append(_unopened(path, error))
        return inspection, True
    try:
        directory = _AsItIs(path, descriptor)
        before = _moment(directory)
        _Inspector(directory, inspection).look()
        return inspection, _moment(directory) == before and before is not None
    finally:
        os.close(descriptor)


def _unopened(path: Path, error: OSError) -> Finding:
    if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
        return Finding(
            str(path), "is not there: nothing is on record yet", "clm host add NAME --address ADDRESS", is_problem=False
        )
    if isinstance(error, FileNotFoundError):
        return Finding(str(path), "is a symbolic link to a directory that is not there", f"rm {shlex.quote(str(path))}")
    if isinstance(error, NotADirectoryError):
        quoted = shlex.quote(str(path))
        return Finding(str(path), "is not a directory", f"mv {quoted} {quoted}.old")
    return Finding(str(path), f"cannot be opened: {reason(error)}", f"ls -ld {shlex.quote(str(path))}")


def _moment(directory: OpenDirectory) -> dict[str, FileIdentity | None] | None:
    """Say which files are there; None while somebody is in the middle of a change."""
    with suppress(StateError):
        if journal.exists(directory) and holder(directory) is not None:
            return None
    present: dict[str, FileIdentity | None] = {}
    for name in (*_OURS - {LOCK}, generations.FOLDER):
        with suppress(StateError):
            status = directory.status(name)
            present[name] = None if status is None else FileIdentity.of(status)
    return present


class _AsItIs(OpenDirectory):
    """A directory that is looked at whoever owns it and whoever may read it."""

    @override
    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int | None:
        path = self.path / name
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.descriptor
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateReadFailed(f"Cannot open {path}: {reason(error)}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StateRefused(f"{path} is not a regular file")
        return descriptor

    @contextmanager
    @override
    def folder(self, name: str) -> Iterator[OpenDirectory | None]:
        descriptor = self._open_folder(name)
        if descriptor is None:
            yield None
            return
        try:
            yield _AsItIs(self.path / name, descriptor)
        finally:
            os.close(descriptor)


class _Inspector:
    """One look at a directory that is open."""

    def __init__(self, directory: OpenDirectory, inspection: Inspection) -> None:
        self._directory = directory
        self._found = inspection
        #: Where a change that was decided has the new content of a file.
        self._staged: dict[str, str] = {}
        #: Somebody is at work: what they leave behind for a moment is not left over.
        self._is_busy = False

    def look(self) -> None:
        """Look at everything, the outermost first."""
        self._refused(folder_faults(self._directory.path, os.fstat(self._directory.descriptor)), self._directory.path)
        self._guarded(self._lock)
        self._guarded(self._journal)
        self._guarded(self._generations)
        documents = {kind: self._file(kind) for kind in KINDS}
        self._found.documents = Documents(
            _of(HostsFile, documents), _of(ProvidersFile, documents), _of(IntegrationsFile, documents),
            _of(SecretsFile, documents),
        )  # fmt: skip
        self._guarded(self._host_keys)
        self._guarded(self._keys)
        self._guarded(self._names)
        self._across()

    def _add(self, where: Path | str, what: str, remedy: str | None = None, *, is_problem: bool = True) -> None:
        finding = Finding(str(where), what, remedy, is_problem)
        if finding not in self._found.findings:
            self._found.findings.append(finding)

    def _refused(self, faults: Iterator[StateRefused], path: Path) -> bool:
        """Report faults; tell whether there was one."""
        told = False
        for fault in faults:
            self._add(path, fault.message.removeprefix(f"{path} "), fault.remedy)
            told = True
        return told

    def _guarded(self, look: Callable[[], None]) -> None:
        try:
            look()
        except StateError as error:
            self._add(self._directory.path, error.message, error.remedy)

    def _looks_like_a_file(self, name: str) -> bool:
        """Report the faults of a file; tell whether there is a regular one that can be read."""
        status = self._directory.status(name)
        if status is None:
            return False
        self._refused(file_faults(self._directory.path / name, status), self._directory.path / name)
        return stat.S_ISREG(status.st_mode)

    def _lock(self) -> None:
        if not self._looks_like_a_file(LOCK):
            return
        held = holder(self._directory)
        if held is not None:
            who, look = held
            self._is_busy = True
            self._add(
                self._directory.path / LOCK,
                f"is held by {who}",
                f"Nothing to mend: it goes with that command{f'; {look}' if look else ''}",
                is_problem=False,
            )

    def _journal(self) -> None:
        if not self._looks_like_a_file(journal.JOURNAL):
            return
        path = self._directory.path / journal.JOURNAL
        try:
            steps = journal.pending(self._directory)
        except StateCorrupt as error:
            if not self._is_busy:
                self._add(path, error.message, error.remedy)
            return
        if steps is None:
            return
        self._staged = {step.target: step.staged for step in steps}
        if not self._is_busy:
            self._add(
                path,
                "a command was stopped in the middle of a change that was decided already; the next command completes "
                "it, and the files are judged as they will be then",
                "clm host list",
            )

    def _generations(self) -> None:
        status = self._directory.status(generations.FOLDER)
        if status is None:
            return
        path = self._directory.path / generations.FOLDER
        self._refused(folder_faults(path, status), path)
        if not stat.S_ISDIR(status.st_mode):
            return
        with self._directory.folder(generations.FOLDER) as folder:
            for name in sorted(folder.names()) if folder is not None else ():
                match = _GENERATION.fullmatch(name)
                if match is None or match["file"] not in _OURS:
                    self._foreign(path / name)
                elif folder is not None and (there := folder.status(name)) is not None:
                    self._refused(file_faults(path / name, there), path / name)
                    if match["schema"]:
                        self._add(
                            path / name,
                            f"is {match['file']} as it was before a later clm changed it: an older clm reads it",
                            f"When you do not go back to an older clm: rm {shlex.quote(str(path / name))}",
                            is_problem=False,
                        )

    def _file(self, kind: type[D]) -> D | None:
        document, state = self._document(kind)
        numbers, whole = self._earlier(kind)
        damaged = sorted(set(numbers) - set(whole))
        if damaged:
            listed = ", ".join(str(number) for number in damaged)
            folder = self._directory.path / generations.FOLDER
            paths = (str(folder / generations.file_name(kind.FILENAME, number)) for number in damaged)
            self._add(
                folder,
                f"earlier version {listed} of {kind.FILENAME} is not whole, and will not be offered",
                f"rm {' '.join(map(shlex.quote, paths))}",
            )
        holds = contents_of(document) if document is not None else ""
        self._found.files.append(FileReport(kind.FILENAME, state, holds, tuple(numbers), tuple(whole)))
        return document

    def _document(self, kind: type[D]) -> tuple[D | None, FileState]:
        path = self._directory.path / kind.FILENAME
        try:
            present = self._staged.get(kind.FILENAME, kind.FILENAME)
            if self._directory.status(present) is not None and not self._looks_like_a_file(present):
                return None, "refused"
            content = self._directory.read(present)
            if content is None:
                if not kept(self._directory, kind):
                    return kind(), "absent"
                self._damaged(kind, LOST)
                return None, "lost"
            file = encrypted(content) if kind is SecretsFile else None
            if isinstance(file, EncryptedFile):
                return self._opened(kind, file, path), "encrypted"
            document = file if isinstance(file, Defect) else decode(kind, content)
            if file is None and (older := outdated(kind, content)) is not None:
                self._add(
                    path,
                    f"has schema_version {older}, and is read as {versions(kind)[-1]}: its next change writes that, "
                    "and keeps the file as it is now in generations/",
                    is_problem=False,
                )
        except StateError as error:
            self._add(path, error.message.removeprefix(f"{path} "), error.remedy)
            return None, "refused"
        if isinstance(document, Defect):
            self._damaged(kind, document)
            return None, "newer" if document.is_newer else "damaged"
        return document, "whole"

    def _damaged(self, kind: type[D], defect: Defect) -> None:
        what_there_is, remedy = way_out(self._directory, kind, defect)
        self._add(self._directory.path / kind.FILENAME, f"{defect.what}. {what_there_is}", remedy)

    def _opened(self, kind: type[D], file: EncryptedFile, path: Path) -> D | None:
        source = file.encryption.key_source
        try:
            with without_asking():
                document = Vault(file, path, lambda defect: StateCorrupt(defect.what)).open()
        except StateCorrupt as error:
            self._damaged(kind, Defect(error.message))
            return None
        except StateError as error:
            self._add(
                path,
                f"is encrypted with {source} and was not looked into ({error.message.partition('. ')[0]})",
                error.remedy,
                is_problem=False,
            )
            return None
        return document if isinstance(document, kind) else None

    def _earlier(self, kind: type[Document]) -> tuple[list[int], list[int]]:
        whole: list[int] = []
        numbers: list[int] = []
        with suppress(StateError), self._directory.folder(generations.FOLDER) as folder:
            numbers = [] if folder is None else generations.numbers(folder, kind.FILENAME)
            for number in numbers:
                with suppress(StateError):
                    content = folder.read(generations.file_name(kind.FILENAME, number)) if folder else None
                    if content is not None and defect_of(kind, content) is None:
                        whole.append(number)
        return numbers, whole

    def _host_keys(self) -> None:
        if self._directory.status(KNOWN_HOSTS) is None:
            self._found.known_hosts = ""
        elif self._looks_like_a_file(KNOWN_HOSTS):
            content = self._directory.read(KNOWN_HOSTS) or b""
            self._found.known_hosts = content.decode(errors="replace")
            try:
                content.decode()
            except UnicodeDecodeError as error:
                line = content.count(b"\n", 0, error.start) + 1
                path = self._directory.path / KNOWN_HOSTS
                self._add(path, f"line {line} is not UTF-8", f"sed -i {line}d {shlex.quote(str(path))}")

    def _keys(self) -> None:
        if self._directory.status(_KEYS) is not None:
            self._folder_of_keys(self._directory, _KEYS)

    def _folder_of_keys(self, above: OpenDirectory, name: str) -> None:
        path, status = above.path / name, above.status(name)
        if status is None:
            return
        self._refused(folder_faults(path, status), path)
        if not stat.S_ISDIR(status.st_mode):
            return
        with above.folder(name) as folder:
            for entry in sorted(folder.names()) if folder is not None else ():
                inner = folder.status(entry) if folder is not None else None
                if folder is None or inner is None:
                    continue
                if stat.S_ISDIR(inner.st_mode):
                    self._folder_of_keys(folder, entry)
                elif not entry.endswith(".pub"):
                    self._refused(file_faults(path / entry, inner), path / entry)

    def _names(self) -> None:
        for name in sorted(self._directory.names()):
            path = self._directory.path / name
            if name in _OURS or name in (_KEYS, generations.FOLDER) or name in self._staged.values():
                continue
            if journal.is_staged(name):
                if not self._is_busy and journal.JOURNAL not in self._directory.names():
                    in_the_open = self._holds_secrets_in_the_open(name)
                    self._add(
                        path,
                        "was left by a command that was stopped before it decided a change"
                        + (", and holds secrets in the open" if in_the_open else ""),
                        "clm host list removes it, as every command does that reads or changes the state",
                        is_problem=in_the_open,
                    )
            elif DAMAGED.fullmatch(name):
                self._add(
                    path,
                    "is a damaged file that a repair kept"
                    + ("; it may hold secrets in the open" if name.startswith(SecretsFile.FILENAME) else ""),
                    f"When it is not needed any more: rm {shlex.quote(str(path))}",
                    is_problem=False,
                )
            elif not _KEPT_ASIDE.fullmatch(name):
                self._foreign(path)

    def _holds_secrets_in_the_open(self, name: str) -> bool:
        if not name.startswith(f".{SecretsFile.FILENAME}."):
            return False
        with suppress(StateError):
            content = self._directory.read(name) or b""
            return content != b"" and not begins_encrypted(content)
        return True

    def _foreign(self, path: Path) -> None:
        may_hold_secrets = SecretsFile.FILENAME in path.name
        what = "is none of our files, and is left alone"
        if may_hold_secrets:
            what = f"is none of our files, and by its name a copy of {SecretsFile.FILENAME}: it may hold secrets"
        self._add(path, what, f"Move it elsewhere or remove it: {shlex.quote(str(path))}", is_problem=may_hold_secrets)

    def _across(self) -> None:
        for each in dangling(self._found.documents):
            self._add(self._directory.path / each.file, each.what, each.remedy)
        seen: dict[tuple[str, int], str] = {}
        for host in self._found.hosts:
            other = seen.setdefault((host.address, host.port), host.name)
            if other != host.name:
                self._add(
                    self._directory.path / HostsFile.FILENAME,
                    f"hosts {other} and {host.name} have the same address and port, {host.address} port {host.port}",
                    f"clm host edit {host.name} --address ADDRESS",
                )


def contents_of(document: Document) -> str:
    """Say by counts what a document holds."""
    if isinstance(document, HostsFile):
        agents = sum(len(host.agents) for host in document.hosts.values())
        return f"{_count(len(document.hosts), 'host')}, {_count(agents, 'agent')}"
    if isinstance(document, ProvidersFile):
        return _count(len(document.providers), "provider")
    if isinstance(document, IntegrationsFile):
        return _count(len(document.integrations), "integration")
    if isinstance(document, SecretsFile):
        return _count(sum(len(entries) for entries in document.scopes.values()), "secret")
    return ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _of(kind: type[D], documents: dict[type[Document], Document | None]) -> D | None:
    document = documents[kind]
    return document if isinstance(document, kind) else None
