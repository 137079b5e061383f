"""Questions at the terminal. Every one has a flag; without a terminal a missing answer is an error, never a guess."""

from __future__ import annotations

import sys

import click

from pyinfra_hermes.deploys.model.secret import Secret

from .exits import Exit
from .problems import Problem


def interactive() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def missing(what: str, flag: str) -> Problem:
    """Say that an answer is missing and which flag gives it."""
    return Problem(f"{what} is missing and there is no terminal to ask at", f"Give it with {flag}", Exit.USAGE)


def confirm(question: str, flag: str) -> None:
    """Ask for a yes. Anything else ends the command with nothing done."""
    if not interactive():
        raise missing("A confirmation", flag)
    if not click.confirm(question, default=False, err=True):
        raise Problem("Cancelled; nothing was changed.", None, Exit.REFUSED)


def text(label: str, flag: str, default: str | None = None) -> str:
    """Ask for a line of text."""
    if not interactive():
        raise missing(label, flag)
    answer: str = click.prompt(label, default=default, err=True)
    return answer


def choice(label: str, flag: str, options: list[str]) -> str:
    """Ask for one of some names."""
    if not interactive():
        raise missing(label, flag)
    answer: str = click.prompt(
        label, type=click.Choice(options), default=options[0] if len(options) == 1 else None, err=True
    )
    return answer


def hidden(label: str, flag: str, required: bool) -> Secret | None:
    """Ask for a secret without showing it; an empty answer to an optional one is None."""
    if not interactive():
        if required:
            raise missing(label, flag)
        return None
    hint = "" if required else " (Enter for none)"
    answer = click.prompt(
        f"{label}{hint}", default=None if required else "", hide_input=True, show_default=False, err=True
    )
    return Secret(answer) if answer else None


def hidden_twice(label: str, flag: str) -> Secret:
    """Ask for a new secret without showing it, twice: a slip would be noticed too late."""
    if not interactive():
        raise missing(label, flag)
    return Secret(click.prompt(label, hide_input=True, confirmation_prompt="Once more", err=True))


def from_stdin() -> Secret:
    """Read a secret from standard input; one newline at its end is not part of it."""
    value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise Problem("Standard input holds no secret", None, Exit.USAGE)
    return Secret(value)


def from_file(path: str) -> Secret:
    """Read a secret from a file; one newline at its end is not part of it."""
    from pathlib import Path

    try:
        value = Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Problem(f"{path} cannot be read: {reason}", None, Exit.USAGE) from None
    if not value:
        raise Problem(f"{path} holds no secret", None, Exit.USAGE)
    return Secret(value)
