"""A conversation written to a file of one's own, or to standard output."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

from pyinfra_hermes.facts.sessions import Match, Message, Session

from ..exits import Exit
from ..problems import Problem
from .printing import Form, exported


def to_stdout(rows: Iterable[Session | Message | Match], form: Form) -> int:
    """Print a conversation; return how many messages it has."""
    count = 0
    for row in rows:
        if not isinstance(row, Match):
            click.echo(exported(row, form), nl=False)
            count += isinstance(row, Message)
    return count


def to_file(rows: Iterable[Session | Message | Match], form: Form, path: Path, *, overwrite: bool) -> int:
    """
    Write a conversation to a file that only its owner can read; return how many messages it has.

    The file is there once it is whole. Raises :class:`Problem`.
    """
    if path.exists() and not overwrite:
        raise Problem(f"{path} is there already", "Give --overwrite, or another name", Exit.REFUSED)
    count = 0
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}", None, Exit.USAGE) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as handle:
            for row in rows:
                if not isinstance(row, Match):
                    handle.write(exported(row, form))
                    count += isinstance(row, Message)
            handle.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Problem(f"{path} cannot be written: {error.strerror}") from None
        raise
    return count
