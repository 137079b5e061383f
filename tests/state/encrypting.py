"""What the tests of encrypted secrets share."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

from pyinfra_hermes.cli.state import unlocking
from pyinfra_hermes.cli.state.conversion import NewKey
from pyinfra_hermes.cli.state.encryption import KeySource
from pyinfra_hermes.cli.state.unlocking import read_key_file
from pyinfra_hermes.deploys.model.secret import Secret

PASSPHRASE = Secret("correct horse battery staple")


def with_passphrase(passphrase: Secret = PASSPHRASE) -> NewKey:
    return NewKey(KeySource(kind="passphrase"), lambda: passphrase)


def with_key_file(path: Path) -> NewKey:
    """A key file, made when it is not there: deriving from it costs nothing."""
    if not path.exists():
        private(path, base64.b64encode(os.urandom(32)).decode())
    return NewKey(KeySource(kind="key-file", path=str(path)), lambda: read_key_file(path))


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def forget() -> None:
    """Be a new process, as far as keys are concerned."""
    unlocking.KEYS.__init__()  # type: ignore[misc]


def holding(folder: Path, sentinel: str) -> Iterator[str]:
    """Name every file below a folder that holds a text in the open."""
    for file in folder.rglob("*"):
        if file.is_file() and sentinel.encode() in file.read_bytes():
            yield str(file.relative_to(folder))
