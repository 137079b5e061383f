"""
From plain secrets to encrypted ones, back, and from one key to another.

Nothing is dropped before what takes its place was written, read back from the disk and decrypted with a key that
was derived anew. The earlier versions come first and ``secrets.json`` itself last, by one rename: whoever is
stopped in between leaves a file as it was, beside earlier versions of which some are encrypted already, and the
same command begins again. Only after the rename is anything said to be encrypted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pyinfra_hermes.deploys.model.secret import Secret

from . import generations, journal
from .directory import OpenDirectory, reason, way_out_of
from .documents import Defect, decode, encode
from .encryption import Altered, EncryptedFile, Key, KeySource, NotTheKey, derive, encrypted
from .errors import StateError, StateRefused, StateWriteFailed
from .records import SecretsFile
from .store import State
from .unlocking import KEYS
from .vault import opened, written
from .writing import commit, writer

_NAME = SecretsFile.FILENAME


@dataclass(frozen=True)
class NewKey:
    """What a new key is derived from: where it comes from, and a function that gets it there, each time anew."""

    source: KeySource
    material: Callable[[], Secret | bytes]


@dataclass(frozen=True)
class Outcome:
    """What became of the earlier versions."""

    #: Encrypted with the new key now.
    converted: int
    #: Encrypted with a key that is neither the old nor the new one; left as they were.
    left: int


def encrypt(state: State, new: NewKey) -> Outcome:
    """
    Encrypt plain secrets and their earlier versions. Where there are no secrets yet, the first ones will be.

    Raises what reading and writing raise, and :class:`StateRefused` when they are encrypted.
    """
    with _sole(state) as directory:
        content = directory.read(_NAME)
        if content is not None and encrypted(content) is not None:
            raise StateRefused(f"{directory.path / _NAME} is encrypted already", "clm secret rekey")
        return _Conversion(directory, new, None).carry_out(_plain(content))


def rekey(state: State, new: NewKey | None) -> Outcome:
    """
    Encrypt secrets and their earlier versions with a new key; None: the old passphrase or key file, stretched anew.

    Raises what reading and writing raise, and :class:`StateRefused` when they are not encrypted.
    """
    # A person is asked before the lock is held.
    state.read().vault.open()
    with _sole(state) as directory:
        file, key = _encrypted_one(directory)
        if new is None:
            path, source = directory.path / _NAME, file.encryption.key_source
            new = NewKey(source, lambda: KEYS.material(source, path))
        return _Conversion(directory, new, key).carry_out(_decrypted(file, key))


def decrypt(state: State) -> int:
    """
    Write the secrets plain again; return how many earlier versions stay encrypted.

    Raises what reading and writing raise, and :class:`StateRefused` when they are not encrypted.
    """
    state.read().vault.open()
    with _sole(state) as directory:
        content = _decrypted(*_encrypted_one(directory))
        with directory.folder(generations.FOLDER) as folder:
            kept = 0 if folder is None else len(generations.numbers(folder, _NAME))
        commit(directory, {_NAME: content})
        if not _holds(directory, content):
            raise StateWriteFailed(
                f"{directory.path / _NAME} is plain now, and does not read back as it was written; the encrypted one "
                "is the last of the earlier versions",
                _restore(),
            )
        return min(kept + 1, generations.KEPT)


def _holds(directory: OpenDirectory, content: bytes) -> bool:
    with suppress(StateError):
        return directory.read(_NAME) == content
    return False


class _Conversion:
    """One change of all versions of the secrets to a new key."""

    def __init__(self, directory: OpenDirectory, new: NewKey, old: Key | None) -> None:
        self._directory = directory
        self._new = new
        self._old = old
        self._key = derive(new.material(), new.source)
        self._proof: Key | None = None

    def carry_out(self, content: bytes) -> Outcome:
        """Convert the earlier versions, keep the present content as one more of them, replace the file."""
        directory = self._directory
        present = directory.status(_NAME)
        moment = present.st_mtime_ns if present else None
        with directory.created_folder(generations.FOLDER) as folder:
            outcome = self._earlier(folder)
            newest = next(iter(generations.numbers(folder, _NAME)), 0)
            self._put(content, folder, generations.file_name(_NAME, newest + 1), moment)
            folder.sync()
            self._put(content, directory, _NAME, None)
        try:
            directory.sync()
        except OSError as error:
            raise StateWriteFailed(
                f"{directory.path / _NAME} is encrypted, but may not survive a power failure: {reason(error)}"
            ) from None
        KEYS.remember(self._key)
        generations.prune(directory, _NAME)
        return outcome

    def _earlier(self, folder: OpenDirectory) -> Outcome:
        converted = left = 0
        names = [
            *(generations.file_name(_NAME, n) for n in generations.numbers(folder, _NAME)[: generations.KEPT]),
            *(generations.schema_name(_NAME, n) for n in generations.schemas(folder, _NAME)),
        ]
        for name in names:
            content, status = folder.read(name), folder.status(name)
            plain = None if content is None else self._content_of(content)
            if plain is None or status is None:
                left += 1
                continue
            self._put(plain, folder, name, status.st_mtime_ns)
            converted += 1
        # What pruning could not remove at its time must not stay behind in the open.
        for number in generations.numbers(folder, _NAME)[generations.KEPT :]:
            folder.unlink(generations.file_name(_NAME, number))
        return Outcome(converted, left)

    def _content_of(self, content: bytes) -> bytes | None:
        """The content of an earlier version; a damaged one is converted as it is, and stays as damaged."""
        file = encrypted(content)
        if not isinstance(file, EncryptedFile):
            return content
        for key in (self._old, self._key):
            with suppress(NotTheKey, Altered):
                if key is not None:
                    return key.decrypt(file)
        # Of a command like this one that was stopped: it had the same passphrase and another salt, or another key.
        with suppress(NotTheKey, Altered, StateError):
            return derive(self._new.material(), file.encryption.key_source, file.encryption).decrypt(file)
        with suppress(NotTheKey, Altered, StateError):
            if file.encryption.key_source.is_random:
                return KEYS.key_of(file, self._directory.path / _NAME).decrypt(file)
        return None

    def _put(self, content: bytes, folder: OpenDirectory, name: str, moment: int | None) -> None:
        staged = journal.staged_name(_NAME)
        self._directory.write_new(staged, written(self._key, content))
        if not self._reads_back(staged, content):
            raise StateWriteFailed(f"{self._directory.path / staged} does not read back as it was written")
        if moment is not None:
            os.utime(staged, ns=(moment, moment), dir_fd=self._directory.descriptor)
        os.replace(staged, name, src_dir_fd=self._directory.descriptor, dst_dir_fd=folder.descriptor)

    def _reads_back(self, staged: str, content: bytes) -> bool:
        file = encrypted(self._directory.read(staged) or b"")
        if not isinstance(file, EncryptedFile):
            return False
        if self._proof is None:
            self._proof = derive(self._new.material(), self._new.source, file.encryption)
        with suppress(NotTheKey, Altered):
            return self._proof.decrypt(file) == content
        return False


@contextmanager
def _sole(state: State) -> Iterator[OpenDirectory]:
    """Be the one writer, and leave no trace of what was not finished."""
    state.read()  # whatever is wrong with the state is said before anything is changed
    with writer(state.directory, state.lock_wait) as directory:
        try:
            yield directory
        except BaseException as error:
            with suppress(OSError):
                for name in filter(journal.is_staged, directory.names()):
                    directory.unlink(name)
            if isinstance(error, OSError):
                raise StateWriteFailed(
                    f"Cannot write in {directory.path}: {reason(error)}. {_NAME} is as it was",
                    way_out_of(error, directory.path),
                ) from None
            raise


def _plain(content: bytes | None) -> bytes:
    document = SecretsFile() if content is None else decode(SecretsFile, content)
    encoded = document if isinstance(document, Defect) else encode(document)
    if isinstance(encoded, Defect):
        raise StateRefused(f"{_NAME} was damaged a moment ago: {encoded.what}", _restore())
    return encoded


def _encrypted_one(directory: OpenDirectory) -> tuple[EncryptedFile, Key]:
    file = encrypted(directory.read(_NAME) or b"")
    if not isinstance(file, EncryptedFile):
        raise StateRefused(f"{directory.path / _NAME} is not encrypted", "clm secret encrypt")
    return file, KEYS.key_of(file, directory.path / _NAME)


def _decrypted(file: EncryptedFile, key: Key) -> bytes:
    document = opened(file, key)
    encoded = document if isinstance(document, Defect) else encode(document)
    if isinstance(encoded, Defect):
        raise StateRefused(f"{_NAME} cannot be decrypted: it {encoded.what}", _restore())
    return encoded


def _restore() -> str:
    return f"clm state restore {_NAME}"
