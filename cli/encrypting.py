"""Encryption at rest: turned on, off, given another key, and looked at."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import asking
from .exits import Exit
from .problems import Problem
from .state import conversion, generations, journal
from .state.conversion import NewKey, Outcome
from .state.directory import OpenDirectory
from .state.encryption import PARAMETERS, EncryptedFile, KeySource, defect_of, encrypted
from .state.mounts import network_mount
from .state.records import KINDS, SecretsFile
from .state.store import State
from .state.unlocking import PASSPHRASE_FILE, make_key_file, passphrase_of, read_key_file, read_passphrase_file

_NAME = SecretsFile.FILENAME
_LEAST_PASSPHRASE = 8
_WAYS = "--passphrase-stdin, --key-file, --command or --keyring"
#: Shorter values are in too many files by chance.
_LEAST_TELLING = 8


@dataclass(frozen=True)
class Choice:
    """Where the user wants the key to come from; a passphrase from the prompt when nothing is said."""

    passphrase_stdin: bool = False
    key_file: str | None = None
    generate: bool = False
    command: str | None = None
    keyring: bool = False

    @property
    def _ways(self) -> int:
        return self.passphrase_stdin + (self.key_file is not None) + (self.command is not None) + self.keyring

    @property
    def is_made(self) -> bool:
        """Whether the user said anything."""
        return self._ways > 0

    def new_key(self, state: State, environ: Mapping[str, str]) -> NewKey:
        """Return the key that was chosen; ``environ`` may name a file with a passphrase."""
        if self._ways > 1:
            raise Problem(f"Give one of {_WAYS}", None, Exit.USAGE)
        if self.generate and self.key_file is None:
            raise Problem("--generate makes a key file, and needs to know where", "--key-file PATH", Exit.USAGE)
        if self.key_file is not None:
            return self._from_key_file(state, Path(self.key_file).expanduser().absolute())
        if self.command is not None:
            return self._from_command()
        if self.keyring:
            from .state.system_keyring import make_key, read_key

            source = make_key()
            return NewKey(source, lambda: read_key(source))
        if self.passphrase_stdin:
            passphrase = asking.from_stdin()
        elif named := environ.get(PASSPHRASE_FILE):
            passphrase = read_passphrase_file(Path(named))
        else:
            passphrase = asking.hidden_twice("New passphrase", _WAYS)
        if len(passphrase.reveal()) < _LEAST_PASSPHRASE:
            raise Problem(f"A passphrase has {_LEAST_PASSPHRASE} characters or more", None, Exit.USAGE)
        return NewKey(KeySource(kind="passphrase"), lambda: passphrase)

    def _from_key_file(self, state: State, path: Path) -> NewKey:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(state.directory.path)):
            raise Problem(
                f"{path} would lie beside what it locks: a copy of {state.directory.path} would have both",
                "Keep it on another disk, or where no backup goes",
                Exit.USAGE,
            )
        if self.generate:
            make_key_file(path)
        elif not path.exists():
            raise Problem(f"There is no key file {path}", "Make one with --generate", Exit.USAGE)
        read_key_file(path)
        return NewKey(KeySource(kind="key-file", path=str(path)), lambda: read_key_file(path))

    def _from_command(self) -> NewKey:
        assert self.command is not None
        try:
            words = shlex.split(self.command)
        except ValueError:
            words = []
        program = shutil.which(words[0]) if words else None
        if program is None:
            raise Problem(
                f"There is no program {words[0]!r}" if words else "The command does not parse: check its quotes",
                None,
                Exit.USAGE,
            )
        # The path is kept, so that another PATH does not lead to another program.
        argv = (str(Path(program).absolute()), *words[1:])
        return NewKey(KeySource(kind="command", argv=argv), lambda: passphrase_of(argv))


@dataclass(frozen=True)
class Done:
    """What was done, and what is left that the user should know of."""

    path: Path
    outcome: Outcome
    #: Where the key comes from now, and where it came from before.
    source: KeySource
    before: KeySource | None
    #: Other files with secrets in the open, which nobody but the user may remove.
    strays: tuple[Path, ...]
    #: Files of ours in which the value of a secret stands as an ordinary setting.
    settings: tuple[Path, ...]


def encrypt(choice: Choice) -> Done:
    """Encrypt the secrets and their earlier versions."""
    state = State.open()
    _refuse_unless(state, is_encrypted=False)
    new = choice.new_key(state, os.environ)
    return _done(state, conversion.encrypt(state, new), new.source, None)


def rekey(choice: Choice, *, same: bool) -> Done:
    """Encrypt the secrets with another key; ``same`` keeps what it is derived from."""
    state = State.open()
    before = _refuse_unless(state, is_encrypted=True)
    if same and (choice.is_made or choice.generate):
        raise Problem(f"--same keeps the passphrase or key; {_WAYS} give another", None, Exit.USAGE)
    state.unlock()
    # The file that the environment names holds the old passphrase.
    new = None if same else choice.new_key(state, {})
    outcome = conversion.rekey(state, new)
    assert before is not None
    return _done(state, outcome, before if new is None else new.source, before)


def _done(state: State, outcome: Outcome, source: KeySource, before: KeySource | None) -> Done:
    # The key was made or used a moment ago, so nobody is asked.
    values = [entry.value.reveal() for _, _, entry in state.read().secrets.entries() if entry.value is not None]
    with state.directory.opened() as directory:
        found = [] if directory is None else _in_the_open(directory, values)
    settings = tuple(path for path in found if _is_settings(path, state.directory.path))
    strays = tuple(path for path in found if path not in settings)
    return Done(state.directory.path / _NAME, outcome, source, before, strays, settings)


def decrypt(*, yes: bool) -> tuple[Path, int]:
    """Write the secrets plain; return where, and how many earlier versions stay encrypted."""
    state = State.open()
    _refuse_unless(state, is_encrypted=True)
    path = state.directory.path / _NAME
    if not yes:
        asking.confirm(f"Write all secrets in the open to {path}?", "--yes")
    return path, conversion.decrypt(state)


def status() -> dict[str, Any]:
    """Say how the secrets are kept, as plain data. Needs no key."""
    state = State.open()
    path = state.directory.path / _NAME
    data: dict[str, Any] = {"path": str(path), "there": False, "storage": "none", "problem": None}
    with state.directory.opened() as directory:
        if directory is not None:
            data |= _kept(directory)
    return data | {"network_mount": network_mount(path)}


def _kept(directory: OpenDirectory) -> dict[str, Any]:
    content, found = directory.read(_NAME), directory.status(_NAME)
    data: dict[str, Any] = {
        "generations": _generations(directory),
        "left_over": sorted(name for name in directory.names() if journal.is_staged(name)),
        "strays": [str(path) for path in _in_the_open(directory)],
    }
    if content is None or found is None:
        return data
    mode = stat.S_IMODE(found.st_mode)
    data |= {"there": True, "mode": f"{mode:04o}", "owner": _account(found.st_uid), "storage": "plain"}
    file = encrypted(content)
    if isinstance(file, EncryptedFile):
        data |= {"storage": "encrypted", "encryption": _described(file)}
    elif defect := defect_of(SecretsFile, content):
        data |= {"storage": "damaged", "problem": defect.what}
    return data


def _described(file: EncryptedFile) -> dict[str, Any]:
    header = file.encryption
    parameters = None if header.parameters is None else header.parameters.model_dump()
    return {
        "cipher": header.cipher,
        "key_source": str(header.key_source),
        "kdf": header.kdf,
        "parameters": parameters,
        "up_to_date": header.parameters in (None, PARAMETERS),
    }


def _generations(directory: OpenDirectory) -> dict[str, int]:
    counted = {"plain": 0, "encrypted": 0, "damaged": 0}
    with directory.folder(generations.FOLDER) as folder:
        for number in [] if folder is None else generations.numbers(folder, _NAME):
            content = (folder.read(generations.file_name(_NAME, number)) if folder else None) or b""
            file = encrypted(content)
            if file is None and defect_of(SecretsFile, content) is None:
                counted["plain"] += 1
            else:
                counted["encrypted" if isinstance(file, EncryptedFile) else "damaged"] += 1
    return counted


def _in_the_open(directory: OpenDirectory, values: Collection[str] = ()) -> list[Path]:
    """
    Find the files with secrets in the open, beside secrets.json and its earlier versions.

    By their names: copies that a repair, an import or the user made. And by what they hold: one of these values.
    """
    telling = [value.encode(errors="surrogatepass") for value in values if len(value) >= _LEAST_TELLING]
    found: list[Path] = []
    for folder, folders, files in os.walk(directory.path):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if path == directory.path / _NAME or _is_earlier_version(directory.path, path):
                continue
            content = _looked_at(path)
            is_copy = _NAME in name and not isinstance(encrypted(content), EncryptedFile)
            if is_copy or any(value in content for value in telling):
                found.append(path)
    return found


def _is_earlier_version(state: Path, path: Path) -> bool:
    pattern = re.escape(_NAME) + r"\.~(schema-)?[1-9][0-9]*~"
    return path.parent == state / generations.FOLDER and bool(re.fullmatch(pattern, path.name))


def _is_settings(path: Path, state: Path) -> bool:
    """Tell whether this is a state file or an earlier version of one: nothing to remove."""
    name = path.name.partition(".~")[0]
    return path.parent in (state, state / generations.FOLDER) and name in {kind.FILENAME for kind in KINDS} - {_NAME}


def _looked_at(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    except OSError:
        return b""


def _refuse_unless(state: State, *, is_encrypted: bool) -> KeySource | None:
    """Refuse early, before anybody is asked for a passphrase; return where the key is from. Looked at again later."""
    path = state.directory.path / _NAME
    vault = state.read().vault
    if vault.is_encrypted == is_encrypted:
        return vault.key_source
    if is_encrypted:
        raise Problem(f"{path} is not encrypted", "clm secret encrypt", Exit.REFUSED)
    raise Problem(f"{path} is encrypted already", "To give it another key: clm secret rekey", Exit.REFUSED)


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
