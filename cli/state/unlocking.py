"""Where the key of an encrypted ``secrets.json`` comes from: derived once in a process, kept in memory only."""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pyinfra_hermes.deploys.model.secret import Secret

from .directory import OpenDirectory, reason
from .encryption import KEY_SIZE, EncryptedFile, Key, KeySource, derive
from .errors import KeyUnavailable, StateReadFailed, StateRefused, StateWriteFailed, WrongKey

#: A file that holds the passphrase, for runs without a person.
PASSPHRASE_FILE = "CLM_PASSPHRASE_FILE"  # noqa: S105 - its name
#: A key file in another place than the one that was named when the secrets were encrypted.
KEY_FILE = "CLM_KEY_FILE"

_COMMAND_SECONDS = 60.0

_may_ask: ContextVar[bool] = ContextVar("may_ask", default=True)


@contextmanager
def without_asking() -> Iterator[None]:
    """Ask nobody for a passphrase in this block: a key that is not there otherwise is unavailable."""
    token = _may_ask.set(False)
    try:
        yield
    finally:
        _may_ask.reset(token)


class Keys:
    """The keys that this process has derived."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._derived: list[Key] = []
        self._answer: Secret | None = None
        self._lock = threading.Lock()

    def key_of(self, file: EncryptedFile, path: Path) -> Key:
        """Return the key of a file. Raises :class:`KeyUnavailable`, :class:`WrongKey` and :class:`StateRefused`."""
        with self._lock:
            header = file.encryption
            for key in self._derived:
                if key.fits(header):
                    return key
            key = derive(self.material(header.key_source, path), header.key_source, header)
            if not key.fits(header):
                self._answer = None
                raise _wrong(path, header.key_source, self._environ)
            self._derived.append(key)
            return key

    def remember(self, key: Key) -> None:
        """Keep a key that was just made."""
        with self._lock:
            self._derived.append(key)

    def material(self, source: KeySource, path: Path) -> Secret | bytes:
        """Return what a key is derived from; for a passphrase the person is asked when nothing else gives it."""
        if source.is_random and (elsewhere := self._environ.get(KEY_FILE)):
            return read_key_file(Path(elsewhere))
        if source.kind == "key-file":
            return read_key_file(Path(source.path or ""))
        if source.kind == "keyring":
            return _from_keyring(source, path)
        if named := self._environ.get(PASSPHRASE_FILE):
            return read_passphrase_file(Path(named))
        if source.kind == "command":
            return passphrase_of(source.argv)
        if self._answer is None:
            self._answer = _ask(path)
        return self._answer


#: The keys of this process.
KEYS = Keys()


def read_passphrase_file(path: Path) -> Secret:
    """Read a passphrase; one newline at the end is not part of it."""
    octets = _read_private(path, "passphrase")
    try:
        text = octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise KeyUnavailable(f"{path} holds no passphrase")
    return Secret(text)


def read_key_file(path: Path) -> bytes:
    """Read a key: 32 random bytes in base64."""
    octets = _read_private(path, "key")
    try:
        key = base64.b64decode(octets.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise KeyUnavailable(f"{path} is not a key file: it should hold {KEY_SIZE} bytes in base64")
    return key


def make_key_file(path: Path) -> None:
    """Make a key file of random bytes, 0600. One that is there is never overwritten."""
    content = base64.b64encode(os.urandom(KEY_SIZE)) + b"\n"
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            folder = OpenDirectory(path.parent, descriptor)
            folder.write_new(path.name, content)
            folder.sync()
        finally:
            os.close(descriptor)
    except FileExistsError:
        raise StateRefused(f"{path} is there already; a key is never overwritten", "Leave out --generate") from None
    except OSError as error:
        raise StateWriteFailed(f"Cannot make the key file {path}: {reason(error)}") from None


def passphrase_of(argv: Sequence[str]) -> Secret:
    """Run a command and return the passphrase that it prints. Raises :class:`KeyUnavailable`."""
    from pyinfra_hermes.deploys.references import ToolFailed, said_by

    try:
        value = said_by(argv, seconds=_COMMAND_SECONDS)
    except ToolFailed as error:
        raise KeyUnavailable(
            f"The command that prints the passphrase gave none: {error}",
            f"Mend it, or give the passphrase another way: {PASSPHRASE_FILE}=FILE",
        ) from None
    return value


def _from_keyring(source: KeySource, path: Path) -> bytes:
    if not _may_ask.get():
        raise KeyUnavailable(f"The key of {path} is in the system keyring, which may ask for its own password")
    from .system_keyring import read_key

    return read_key(source)


def _ask(path: Path) -> Secret:
    # Looked up late: this room is used without a terminal as well, and asking is Click's.
    from ..asking import hidden, interactive

    if not (_may_ask.get() and interactive()):
        raise KeyUnavailable(
            f"{path} is encrypted with a passphrase, and nobody can be asked for it here",
            f"Put it into a file that only you can read: {PASSPHRASE_FILE}=FILE",
        )
    answer = hidden(f"Passphrase for {path}", PASSPHRASE_FILE, required=True)
    assert answer is not None
    return answer


def _wrong(path: Path, source: KeySource, environ: Mapping[str, str]) -> WrongKey:
    if source.is_random:
        in_file = environ.get(KEY_FILE) or source.path
        what = f"The key in {in_file}" if in_file else f"The system keyring's key {source.entry} of {source.service}"
        remedy = f"Say where the right one is: {KEY_FILE}=FILE"
    elif named := environ.get(PASSPHRASE_FILE):
        what, remedy = f"The passphrase in {named}", f"Put the right one there, or unset {PASSPHRASE_FILE}"
    elif source.kind == "command":
        what, remedy = f"What {source} prints", f"Give the passphrase another way: {PASSPHRASE_FILE}=FILE"
    else:
        what, remedy = "This passphrase", f"Run the command again, or give it from a file: {PASSPHRASE_FILE}=FILE"
    return WrongKey(f"{what} is not the one that {path} was encrypted with; the file itself is undamaged", remedy)


def _read_private(path: Path, what: str) -> bytes:
    """Read a file that must be ours alone."""
    real = Path(os.path.realpath(path))
    try:
        descriptor = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _missing(path, what, reason(error)) from None
    try:
        content = OpenDirectory(real.parent, descriptor).read(real.name)
    except StateReadFailed as error:
        raise _missing(path, what, error.message.rpartition(": ")[2]) from None
    finally:
        os.close(descriptor)
    if content is None:
        raise _missing(path, what, "No such file or directory")
    return content


def _missing(path: Path, what: str, why: str) -> KeyUnavailable:
    variable = KEY_FILE if what == "key" else PASSPHRASE_FILE
    return KeyUnavailable(
        f"The {what} file {path} cannot be read: {why}",
        f"Bring it back, or say where it is: {variable}=FILE",
    )
