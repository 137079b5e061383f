"""The key of a sealed backup: from a passphrase or a key file, and never from an argument."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .. import asking
from ..exits import Exit
from ..problems import Problem
from ..state.encryption import Header, Key, KeySource, derive
from ..state.unlocking import read_key_file, read_passphrase_file

_LEAST_PASSPHRASE = 8
_WAYS = "--passphrase-file or --key-file"


@dataclass(frozen=True)
class Given:
    """What the user gave; neither means the prompt."""

    passphrase_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse both."""
        if self.passphrase_file is not None and self.key_file is not None:
            raise Problem(f"Give one of {_WAYS}", None, Exit.USAGE)

    @property
    def is_made(self) -> bool:
        return self.passphrase_file is not None or self.key_file is not None

    def new(self) -> Key:
        """Return a key for a new archive; a person is asked twice."""
        if self.key_file is not None:
            path = Path(self.key_file).expanduser().absolute()
            return derive(read_key_file(path), KeySource(kind="key-file", path=str(path)))
        if self.passphrase_file is not None:
            passphrase = read_passphrase_file(Path(self.passphrase_file).expanduser())
        else:
            passphrase = asking.hidden_twice("Passphrase for the backup", _WAYS)
        if len(passphrase.reveal()) < _LEAST_PASSPHRASE:
            raise Problem(f"A passphrase has {_LEAST_PASSPHRASE} characters or more", None, Exit.USAGE)
        return derive(passphrase, KeySource(kind="passphrase"))

    def of(self, header: Header, path: Path) -> Key:
        """Return the key of an archive. Raises :class:`Problem` when what was given is not it."""
        if header.key_source.is_random:
            where = self.key_file or header.key_source.path or ""
            if self.passphrase_file is not None or not (self.key_file or Path(where).exists()):
                raise Problem(f"{path} is sealed with a key file", "Give it with --key-file", Exit.USAGE)
            key = derive(read_key_file(Path(where).expanduser()), header.key_source, header)
            what = f"The key in {where}"
        else:
            if self.key_file is not None:
                raise Problem(f"{path} is sealed with a passphrase", "Give it with --passphrase-file", Exit.USAGE)
            if self.passphrase_file is not None:
                passphrase = read_passphrase_file(Path(self.passphrase_file).expanduser())
            else:
                asked = asking.hidden(f"Passphrase for {path}", "--passphrase-file", required=True)
                assert asked is not None
                passphrase = asked
            key = derive(passphrase, header.key_source, header)
            what = "This passphrase"
        if not key.fits(header):
            raise Problem(
                f"{what} is not the one that {path} was sealed with, or its first lines were changed",
                None,
                Exit.REFUSED,
            )
        return key


def in_memory() -> Key:
    """Return a key that nobody will know once this process has ended."""
    return derive(os.urandom(32), KeySource(kind="key-file", path="/dev/null"))
