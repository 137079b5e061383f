"""Encryption at rest: turned on, off, given another key, and looked at."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import asking
from .exits import Exit
from .problems import Problem
from .state import conversion, generations, journal
from .state.conversion import NewKey, Outcome
from .state.directory import OpenDirectory
from .state.documents import Defect
from .state.encryption import PARAMETERS, EncryptedFile, KeySource, defect_of, encrypted
from .state.mounts import network_mount
from .state.records import SecretsFile
from .state.store import State
from .state.unlocking import PASSPHRASE_FILE, make_key_file, passphrase_of, read_key_file, read_passphrase_file

_NAME = SecretsFile.FILENAME
_LEAST_PASSPHRASE = 8
_WAYS = "--passphrase-stdin, --key-file or --command"


@dataclass(frozen=True)
class Choice:
    """Where the user wants the key to come from; a passphrase from the prompt when nothing is said."""

    passphrase_stdin: bool = False
    key_file: str | None = None
    generate: bool = False
    command: str | None = None

    @property
    def is_made(self) -> bool:
        return self.passphrase_stdin or self.key_file is not None or self.command is not None

    def new_key(self, state: State, environ: Mapping[str, str]) -> NewKey:
        """Return the key that was chosen; ``environ`` may name a file with a passphrase."""
        if self.passphrase_stdin + (self.key_file is not None) + (self.command is not None) > 1:
            raise Problem(f"Give one of {_WAYS}", None, Exit.USAGE)
        if self.generate and self.key_file is None:
            raise Problem("--generate makes a key file, and needs to know where", "--key-file PATH", Exit.USAGE)
        if self.key_file is not None:
            return self._from_key_file(state, Path(self.key_file).expanduser().absolute())
        if self.command is not None:
            return self._from_command()
        if self.passphrase_stdin:
            passphrase = asking.from_stdin()
        elif named := environ.get(PASSPHRASE_FILE):
            return NewKey(KeySource(kind="passphrase"), lambda: read_passphrase_file(Path(named)))
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
    #: Other files with secrets in the open, which nobody but the user may remove.
    strays: tuple[Path, ...]


def encrypt(choice: Choice) -> Done:
    """Encrypt the secrets and their earlier versions."""
    state = State.open()
    _refuse_unless(state, is_encrypted=False)
    outcome = conversion.encrypt(state, choice.new_key(state, os.environ))
    return Done(state.directory.path / _NAME, outcome, _strays(state))


def rekey(choice: Choice, *, same: bool) -> Done:
    """Encrypt the secrets with another key; ``same`` keeps what it is derived from."""
    state = State.open()
    _refuse_unless(state, is_encrypted=True)
    if same and (choice.is_made or choice.generate):
        raise Problem(f"--same keeps the passphrase or key; {_WAYS} give another", None, Exit.USAGE)
    state.unlock()
    # The file that the environment names holds the old passphrase.
    outcome = conversion.rekey(state, None if same else choice.new_key(state, {}))
    return Done(state.directory.path / _NAME, outcome, _strays(state))


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


def _in_the_open(directory: OpenDirectory) -> list[Path]:
    """Copies of the secrets that somebody else made here, as the remedies for a damaged file do."""
    return [
        directory.path / name
        for name in sorted(directory.names())
        if name.startswith(_NAME) and name != _NAME and not isinstance(_looked_at(directory, name), EncryptedFile)
    ]


def _looked_at(directory: OpenDirectory, name: str) -> EncryptedFile | Defect | None:
    try:
        return encrypted((directory.path / name).read_bytes())
    except OSError:
        return None


def _strays(state: State) -> tuple[Path, ...]:
    with state.directory.opened() as directory:
        return () if directory is None else tuple(_in_the_open(directory))


def _refuse_unless(state: State, *, is_encrypted: bool) -> None:
    """Refuse early, before anybody is asked for a passphrase; the conversion looks again."""
    path = state.directory.path / _NAME
    if state.read().vault.is_encrypted == is_encrypted:
        return
    if is_encrypted:
        raise Problem(f"{path} is not encrypted", "clm secret encrypt", Exit.REFUSED)
    raise Problem(f"{path} is encrypted already", "To give it another key: clm secret rekey", Exit.REFUSED)


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
