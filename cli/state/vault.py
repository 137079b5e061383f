"""``secrets.json`` of one moment. An encrypted one is opened when somebody first looks, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from .documents import Defect, decode, encode
from .encryption import Altered, EncryptedFile, Key, KeySource
from .errors import StateCorrupt, StateError
from .records import SecretsFile
from .unlocking import KEYS


class Vault:
    """
    The secrets, plain or encrypted.

    What was encrypted is written encrypted, with the same key, and what was plain is written plain: changing
    that is what :mod:`.conversion` is for.
    """

    def __init__(
        self,
        content: SecretsFile | EncryptedFile,
        path: Path | None = None,
        corrupt: Callable[[Defect], StateCorrupt] | None = None,
    ) -> None:
        self._plain = content if isinstance(content, SecretsFile) else None
        self._file = content if isinstance(content, EncryptedFile) else None
        self._path = path
        self._corrupt = corrupt
        self._key: Key | None = None
        self._failed: StateError | None = None
        self._sealed = False
        self._lock = threading.Lock()
        #: The plain content as it was when it was opened; None for a file that is not encrypted.
        self.opened_as: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether the secrets can be looked at without a key."""
        return self._plain is not None

    @property
    def is_encrypted(self) -> bool:
        """Tell whether the file is encrypted."""
        return self._file is not None

    @property
    def key_source(self) -> KeySource | None:
        """Where the key of an encrypted file comes from."""
        return self._file.encryption.key_source if self._file is not None else None

    def seal(self) -> None:
        """Refuse every later change of the secrets, of those that will be opened as well."""
        self._sealed = True
        if self._plain is not None:
            self._plain.seal()

    def open(self) -> SecretsFile:
        """
        Return the secrets.

        Raises :class:`.errors.KeyUnavailable`, :class:`.errors.WrongKey` and :class:`.errors.StateCorrupt`.
        """
        with self._lock:
            if self._failed is not None:
                # Asking and deriving again would give the same answer, a third of a second later.
                raise type(self._failed)(self._failed.message, self._failed.remedy) from None
            if self._plain is None:
                try:
                    self._plain = self._opened()
                except StateError as error:
                    self._failed = error
                    raise
            return self._plain

    def protected(self, content: bytes) -> bytes:
        """Return the bytes to write for a plain content: itself, or encrypted when the file was."""
        if self._file is None:
            return content
        assert self._key is not None
        return written(self._key, content)

    def _opened(self) -> SecretsFile:
        assert self._file is not None and self._path is not None and self._corrupt is not None
        self._key = KEYS.key_of(self._file, self._path)
        document = opened(self._file, self._key)
        if isinstance(document, Defect):
            raise self._corrupt(document)
        before = encode(document)
        self.opened_as = before if isinstance(before, bytes) else None
        if self._sealed:
            document.seal()
        return document


def opened(file: EncryptedFile, key: Key) -> SecretsFile | Defect:
    """Decrypt secrets with their key. A defect is returned, so that no traceback leads to the bytes."""
    try:
        return decode(SecretsFile, key.decrypt(file))
    except Altered:
        return Defect("was changed by somebody on purpose: the key is right, and the content is not what it encrypted")


def written(key: Key, content: bytes) -> bytes:
    """Return the bytes of a file that holds a content encrypted."""
    encoded = encode(key.encrypt(content))
    assert isinstance(encoded, bytes)
    return encoded
