"""
The file of a backup: a ``.tar.gz`` whose first member is the manifest, plain or sealed with a key.

Two gzip members, one after the other: the first is the manifest, stored and not compressed, so that there is one
spelling of it; the second everything else. The manifest holds the size and digest of the second, and of every file in
it. So no byte of an archive can change unnoticed, and ``tar`` reads it.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import sqlite3
import stat
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from typing_extensions import override

from pyinfra_hermes.deploys.model.archive import (
    HOME,
    LATEST,
    MANIFEST,
    MOST_BYTES,
    MOST_FILES,
    MOST_SCHEMA,
    SECRETS,
    BadManifest,
    Entry,
    Manifest,
    NewerFormat,
    Skipped,
    is_safe,
)
from pyinfra_hermes.operations.archives import Found, Unwanted

from ..state.encryption import Header, Key
from .sealed_file import Damaged, Sealer, Unsealer, read_header

_PIECE = 1 << 20
_STORED = 65535
_MOST_MANIFEST = 256 << 20
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_PART = ".clm-part"
#: What SQLite has at the start of a file, and where it says that it is used with a write-ahead log.
_SQLITE, _WAL_FLAGS = b"SQLite format 3\0", slice(18, 20)
_STATE = "state.db"
#: Steps of SQLite's machine after which the question for a schema is given up; a table of one row takes a dozen.
_MOST_STEPS = 100_000


class Corrupt(Exception):
    """An archive that is not as it was written; the text says how that shows."""


class Draft:
    """
    An archive that is being made. Until it is finished nothing of it has a name on the disk.

    ``key`` seals it; then nothing is written that is not sealed, not even meanwhile.
    """

    def __init__(self, folder: Path, key: Key | None, spool_key: Key | None) -> None:
        self._folder = folder
        self._key = key
        self._entries: list[Entry] = []
        self._kinds: dict[str, str] = {}
        self._skipped: list[Skipped] = []
        #: Bytes of the files so far.
        self.size = 0
        #: Schema of the state.db among them.
        self.schema: int | None = None
        # Unlinked from the start: killed or not, it goes with the process.
        self._spool = cast(BinaryIO, tempfile.TemporaryFile(dir=folder, prefix=".clm-"))  # noqa: SIM115 - closed with the draft
        self._spool_key = spool_key
        self._below: BinaryIO = cast(BinaryIO, Sealer(self._spool, spool_key)) if spool_key else self._spool
        self._counted = _Counted(self._below)
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._counted, mtime=0)
        self._tar = tarfile.open(fileobj=self._gzip, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Given up in the middle, their ends cannot be written; nobody needs them.
        for file in (self._tar.fileobj, self._gzip, self._below):
            with suppress(OSError, ValueError):
                cast(BinaryIO, file).close()
        self._spool.close()

    def take(self, found: Found, content: Iterator[bytes]) -> None:
        """Add a file or folder that a host tells of. Raises :class:`Unwanted` for what is no part of a backup."""
        self._check(found)
        info = tarfile.TarInfo(f"{HOME}/{found.path}")
        info.mode, info.mtime = found.mode & 0o777, found.modified
        if found.kind == "directory":
            info.type = tarfile.DIRTYPE
            self._tar.addfile(info)
            entry = Entry(found.path, "directory", info.mode, modified=found.modified)
        else:
            info.size = found.size
            if found.path == _STATE:
                whole = b"".join(content)
                self.schema = schema_of(whole)
                content = iter((whole,))
            digesting = _Digesting(content)
            self._tar.addfile(info, cast(Any, digesting))
            entry = Entry(found.path, "file", info.mode, found.size, digesting.hexdigest(), found.modified)
        self._entries.append(entry)
        self.size += entry.size

    def _check(self, found: Found) -> None:
        # Before a byte is read: what a host says of sizes is what would fill our disk.
        if not is_safe(found.path) or found.kind not in ("file", "directory") or len(self._entries) >= MOST_FILES:
            raise Unwanted("the host tells of something that is no part of a backup")
        if self.size + found.size > MOST_BYTES:
            raise Unwanted(f"the host sends more than {MOST_BYTES >> 30} GiB")
        parent = found.path.rpartition("/")[0]
        if found.modified > LATEST or found.path in self._kinds or (parent and self._kinds.get(parent) != "directory"):
            raise Unwanted("the host tells of something that is no part of a backup")
        self._kinds[found.path] = found.kind

    def skip(self, path: str, why: str) -> None:
        """Note something that was left."""
        shown = "".join(c if c.isprintable() else "?" for c in path)
        self._skipped.append(Skipped(shown[:4096], why[:200]))

    def add_secrets(self, content: bytes) -> None:
        """Add the agent's secrets on record; for an archive that is sealed."""
        assert self._key is not None
        info = tarfile.TarInfo(SECRETS)
        info.mode, info.size = 0o600, len(content)
        self._tar.addfile(info, io.BytesIO(content))

    def finish(self, manifest: Manifest, target: Path) -> Manifest:
        """
        Write the archive, 0600 and in one step; return its manifest with what was added.

        Raises ``FileExistsError`` for a file that is there, and ``OSError``.
        """
        complete = self._completed(manifest)
        self._named(complete, target)
        return complete

    def finish_unnamed(self, manifest: Manifest) -> tuple[Manifest, BinaryIO]:
        """Write the archive to a file without a name, which goes with this process; return it, too."""
        manifest = self._completed(manifest)
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._folder, prefix=".clm-"))  # noqa: SIM115 - the caller's
        try:
            self._write(manifest, file)
        except BaseException:
            file.close()
            raise
        return manifest, file

    def _completed(self, manifest: Manifest) -> Manifest:
        self._tar.close()
        self._gzip.close()
        if self._below is not self._spool:
            self._below.close()
        complete = replace(
            manifest,
            entries=tuple(self._entries),
            skipped=tuple(self._skipped),
            payload_size=self._counted.size,
            payload_sha256=self._counted.digest.hexdigest(),
        )
        Manifest.parse(complete.encode())
        return complete

    def _write(self, manifest: Manifest, file: BinaryIO) -> None:
        out = cast(BinaryIO, io.BufferedWriter(Sealer(file, self._key))) if self._key else file
        out.write(_stored(_first_member(manifest)))
        for piece in self._spooled():
            out.write(piece)
        if out is not file:
            out.close()
        file.flush()

    def _named(self, manifest: Manifest, target: Path) -> None:
        clear_parts(self._folder)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=_PART, dir=self._folder)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _hold(descriptor)
                self._write(manifest, file)
                os.fsync(descriptor)
                _name(part, target)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
        _sync(self._folder)

    def _spooled(self) -> Iterator[bytes]:
        self._spool.seek(0)
        source: BinaryIO = self._spool
        if self._spool_key is not None:
            header = read_header(self._spool)
            assert header is not None
            source = cast(BinaryIO, io.BufferedReader(Unsealer(self._spool, header, self._spool_key)))
        while piece := source.read(_PIECE):
            yield piece


class Archive:
    """An archive on disk. One open file is read for all: what is checked is what is used."""

    def __init__(self, path: Path, key_of: Callable[[Header], Key], file: BinaryIO | None = None) -> None:
        """
        Open it and read its manifest; ``file`` when it has no name.

        Raises :class:`Corrupt`, ``OSError``, and what ``key_of`` raises.
        """
        self.path = path
        self._file = file if file is not None else cast(BinaryIO, path.open("rb"))
        try:
            self._file.seek(0)
            header = read_header(self._file)
            self._key = None if header is None else key_of(header)
            self._header = header
            self._file.seek(0)
            self.manifest = self._read_manifest(self._stream())
        except Damaged as error:
            self._file.close()
            raise Corrupt(str(error)) from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def is_sealed(self) -> bool:
        return self._header is not None

    def verify(self, progress: Callable[[int], None] = lambda size: None) -> None:
        """Read all of it: every digest, and whether its ``state.db`` is whole. Raises :class:`Corrupt`."""
        seen, state = 0, bytearray()
        for entry, content in self._entries():
            keep = entry.path == _STATE
            for piece in content:
                seen += len(piece)
                progress(seen)
                if keep:
                    state += piece
        if state.startswith(_SQLITE):
            _check_database(state)

    def contents(self) -> Iterator[tuple[Mapping[str, Any], Iterator[bytes]]]:
        """Give every file and folder as :func:`pyinfra_hermes.operations.archives.replaced` takes it."""
        try:
            for entry, content in self._entries():
                yield (
                    {
                        "path": entry.path,
                        "kind": entry.kind,
                        "mode": entry.mode,
                        "size": entry.size,
                        "sha256": entry.sha256,
                        "modified": entry.modified,
                    },
                    content,
                )
        except Corrupt as error:
            raise Unwanted(f"{self.path}: {error}") from None

    def secrets(self) -> bytes | None:
        """Return the secrets on record that it holds; None when it holds none. It must have been verified."""
        found: list[bytes] = []
        for _ in self._entries(found.append):
            pass
        return found[0] if found else None

    def _stream(self) -> BinaryIO:
        self._file.seek(0)
        if self._header is None or self._key is None:
            return self._file
        read_header(self._file)
        return cast(BinaryIO, io.BufferedReader(Unsealer(self._file, self._header, self._key)))

    def _read_manifest(self, stream: BinaryIO) -> Manifest:
        content = _unstored(stream)
        name, size = _member(content)
        if name != MANIFEST or len(content) != 512 + _padded(size):
            raise Corrupt("it does not begin with a manifest")
        try:
            manifest = Manifest.parse(content[512 : 512 + size])
        except NewerFormat:
            raise
        except BadManifest as error:
            raise Corrupt(f"its manifest cannot be used: {error}") from None
        if _first_member(manifest) != content:
            raise Corrupt("its manifest was changed")
        return manifest

    def _entries(
        self, secrets: Callable[[bytes], None] = lambda content: None
    ) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Give what the manifest lists, in its order. At the end everything was read and found as it was written."""
        try:
            stream = self._stream()
            _unstored(stream)
            payload = _Payload(stream, self.manifest.payload_size)
            expected = iter(self.manifest.entries)
            with gzip.GzipFile(fileobj=cast(Any, payload), mode="rb") as unzipped:
                with tarfile.open(fileobj=unzipped, mode="r|") as tar:
                    for info in tar:
                        # Never in plain: nobody proves then that the references among them are the user's own.
                        if self.is_sealed and info.name == SECRETS and info.isreg() and info.size <= _MOST_MANIFEST:
                            file = tar.extractfile(info)
                            assert file is not None
                            secrets(file.read())
                            continue
                        entry = next(expected, None)
                        if entry is None or _described(info) != (entry.path, entry.kind, entry.mode, entry.size):
                            raise Corrupt("it holds something else than its manifest says")
                        content = _Checked(tar.extractfile(info), entry)
                        yield entry, iter(content)
                        content.finish()
                if next(expected, None) is not None:
                    raise Corrupt("it holds less than its manifest says")
                while unzipped.read(_PIECE):
                    pass
            payload.finish(self.manifest.payload_sha256)
        except _DAMAGE as error:
            raise Corrupt(str(error) or "it ends too early") from None


_DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError, Damaged, struct.error)


@contextmanager
def _as_corrupt() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise Corrupt(str(error) or "it ends too early") from None


class _Checked:
    """The content of one file, which must be what the manifest says once it was read."""

    def __init__(self, file: Any, entry: Entry) -> None:
        self._file, self._entry = file, entry
        self._digest = hashlib.sha256()
        self._reading = self._read()

    def __iter__(self) -> Iterator[bytes]:
        return self._reading

    def _read(self) -> Iterator[bytes]:
        while self._file is not None:
            # Read on the caller's account, so its errors come out there and not where the entries are gone through.
            with _as_corrupt():
                piece = self._file.read(_PIECE)
            if not piece:
                return
            self._digest.update(piece)
            yield piece

    def finish(self) -> None:
        for _ in self._reading:
            pass
        if self._entry.sha256 is not None and self._digest.hexdigest() != self._entry.sha256:
            raise Corrupt(f"{self._entry.path} is not what it was")


class _Payload(io.RawIOBase):
    """What follows the manifest, to its end."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream, self._left = stream, size
        self._digest = hashlib.sha256()

    @override
    def readable(self) -> bool:
        return True

    @override
    def read(self, size: int = -1) -> bytes:
        wanted = min(self._left, _PIECE if size < 0 else size)
        piece = self._stream.read(wanted)
        if len(piece) < wanted:
            raise Corrupt("its end is missing")
        self._left -= len(piece)
        self._digest.update(piece)
        return piece

    def finish(self, digest: str) -> None:
        while self._left:
            self.read(_PIECE)
        if self._stream.read(1):
            raise Corrupt("something was added at its end")
        if self._digest.hexdigest() != digest:
            raise Corrupt("it is not as it was written")


class _Counted(io.RawIOBase):
    """Counts and digests what is written to a file."""

    def __init__(self, below: BinaryIO) -> None:
        super().__init__()
        self._below = below
        self.size = 0
        self.digest = hashlib.sha256()

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        octets = bytes(data)
        self._below.write(octets)
        self.size += len(octets)
        self.digest.update(octets)
        return len(octets)


class _Digesting:
    """Pieces as a file to read from, digested on the way."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, b""
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        piece, self._held = self._held[:size], self._held[size:]
        self._digest.update(piece)
        return piece

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def clear_parts(folder: Path) -> None:
    """Remove what runs that were killed left in a folder: parts that nobody holds."""
    for part in folder.glob(f".*{_PART}"):
        with suppress(OSError), open(part, "rb", opener=_plain_file) as file:
            _hold(file.fileno())
            part.unlink()


def _plain_file(path: str, flags: int) -> int:
    # The folder may be everybody's: a fifo of somebody's would keep us waiting, a link lead elsewhere.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return descriptor


def _hold(descriptor: int) -> None:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _name(part: Path, target: Path) -> None:
    # A link does not replace a file that came meanwhile, as a rename would.
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise FileExistsError(f"{target} is there") from None
        part.rename(target)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_database(content: bytearray) -> None:
    # In memory there is no write-ahead log; the copy on disk is not touched.
    content[_WAL_FLAGS] = b"\x01\x01"
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(bytes(content))
            [said] = database.execute("PRAGMA integrity_check(1)").fetchone()
    except (sqlite3.Error, TypeError) as error:
        said = str(error)
    if said != "ok":
        raise Corrupt(f"its state.db is damaged: {said}")


def schema_of(content: bytes) -> int | None:
    """Return the schema that a ``state.db`` says it has; None when it says none."""
    octets = bytearray(content)
    if not octets.startswith(_SQLITE):
        return None
    octets[_WAL_FLAGS] = b"\x01\x01"
    with closing(sqlite3.connect(":memory:")) as database, suppress(sqlite3.Error, TypeError):
        database.deserialize(bytes(octets))
        # An agent may have made it: a view of that name would be a program of its own, which need not end.
        database.set_progress_handler(lambda: 1, _MOST_STEPS)
        [version] = database.execute("SELECT version FROM schema_version").fetchone()
        if type(version) is int and 0 <= version <= MOST_SCHEMA:
            return version
    return None


def _first_member(manifest: Manifest) -> bytes:
    content = manifest.encode()
    info = tarfile.TarInfo(MANIFEST)
    info.mode, info.size = 0o600, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content.ljust(_padded(len(content)), b"\0")


def _padded(size: int) -> int:
    return -(-size // 512) * 512


def _member(content: bytes) -> tuple[str, int]:
    try:
        info = tarfile.TarInfo.frombuf(content[:512], "utf-8", "strict")
    except (tarfile.TarError, ValueError):
        return "", 0
    return info.name, info.size


def _described(info: tarfile.TarInfo) -> tuple[str, str, int, int]:
    kind = "directory" if info.isdir() else "file" if info.isreg() else "other"
    path = info.name.removeprefix(f"{HOME}/") if info.name.startswith(f"{HOME}/") else ""
    return path, kind, info.mode, info.size


def _stored(content: bytes) -> bytes:
    """Return a gzip member of what is not compressed (RFC 1951, 3.2.4): other libraries would choose other blocks."""
    blocks = [content[at : at + _STORED] for at in range(0, len(content), _STORED)]
    parts = [_GZIP_HEADER]
    for number, block in enumerate(blocks, 1):
        parts += [struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack("<II", zlib.crc32(content), len(content))])


def _unstored(stream: BinaryIO) -> bytes:
    """Read what :func:`_stored` made; anything else is no archive of ours. Raises :class:`Corrupt`."""
    if stream.read(len(_GZIP_HEADER)) != _GZIP_HEADER:
        raise Corrupt("it is no backup that clm made")
    content, last = bytearray(), 0
    while not last:
        head = stream.read(5)
        if len(head) < 5:
            raise Corrupt("its end is missing")
        last, size, inverse = struct.unpack("<BHH", head)
        block = stream.read(size)
        if last > 1 or size ^ inverse != 0xFFFF or len(block) < size or len(content) > _MOST_MANIFEST:
            raise Corrupt("its first bytes were changed, or its end is missing")
        content += block
    end = stream.read(8)
    # The whole member, so that other blocks of the same content are refused, too.
    if end != struct.pack("<II", zlib.crc32(content), len(content)):
        raise Corrupt("its manifest was changed")
    return bytes(content)
