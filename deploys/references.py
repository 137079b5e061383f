"""Secrets for plain host data: an inventory names where a secret is, never the secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from .model.secret import Secret


class UnresolvedSecret(ValueError):
    """A reference that leads to no secret; the text says where it points and the command that mends it."""


def resolve(references: Mapping[str, str]) -> dict[str, Secret]:
    """
    Turn ``{"NAME": "file:PATH"}`` or ``{"NAME": "env:VARIABLE"}`` into secrets.

    A file must be ours alone: readable by others it is refused. One newline at its end is not part of the secret.
    """
    return {name: _resolve(name, reference) for name, reference in references.items()}


def _resolve(name: str, reference: str) -> Secret:
    kind, _, where = reference.partition(":")
    if kind == "file" and where:
        return _from_file(name, Path(where).expanduser())
    if kind == "env" and where:
        value = os.environ.get(where)
        if not value:
            raise UnresolvedSecret(f"{name}: the environment variable {where} is not set")
        return Secret(value)
    raise UnresolvedSecret(f"{name}: give a reference, file:PATH or env:VARIABLE, not the secret itself")


def _from_file(name: str, path: Path) -> Secret:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = (
            f"umask 077; openssl rand -hex 32 >{path}" if name == "HERMES_API_SERVER_KEY" else f"umask 077; cat >{path}"
        )
        raise UnresolvedSecret(f"{name}: {path} does not exist. Make it with: {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnresolvedSecret(f"{name}: {path} cannot be read: {type(error).__name__}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnresolvedSecret(f"{name}: {path} can be read by others. Mend it with: chmod 600 {path}")
    value = text.removesuffix("\n")
    if not value:
        raise UnresolvedSecret(f"{name}: {path} is empty")
    return Secret(value)
