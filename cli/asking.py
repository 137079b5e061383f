"""Questions at the terminal. Every one has a flag; without a terminal a missing answer is an error, never a guess."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from pyinfra_hermes.deploys.model.redaction import is_placeholder
from pyinfra_hermes.deploys.model.secret import Secret

from .breaking_off import breaks_off
from .exits import Exit
from .output import folded, say
from .problems import Problem

T = TypeVar("T")

#: What is typed to see the question before once more.
BACK = ("<", "back")


class Back(Exception):
    """The person wants to go back to an earlier question."""


def interactive() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def missing(what: str, flag: str) -> Problem:
    """Say that an answer is missing and which flag gives it."""
    return Problem(f"{what} is missing and there is no terminal to ask at", f"Give it with {flag}", Exit.USAGE)


def confirm(question: str, flag: str) -> None:
    """Ask for a yes. Anything else ends the command with nothing done."""
    if not interactive():
        raise Problem(
            f"A confirmation is missing and there is no terminal to ask at: {question}",
            f"Give it with {flag}",
            Exit.USAGE,
        )
    with breaks_off():
        confirmed = click.confirm(folded(question, stream=sys.stderr), default=False, err=True)
    if not confirmed:
        raise Problem("Cancelled; nothing was changed.", None, Exit.REFUSED)


def text(label: str, flag: str, default: str | None = None) -> str:
    """Ask for a line of text."""
    if not interactive():
        raise missing(label, flag)
    return _prompt(label, default=default)


def choice(label: str, flag: str, options: list[str]) -> str:
    """Ask for one of some names."""
    if not interactive():
        raise missing(label, flag)
    return _prompt(label, type=click.Choice(options), default=options[0] if len(options) == 1 else None)


def until(
    label: str,
    flag: str,
    read: Callable[[str], T],
    default: str | None = None,
    *,
    hide: bool = False,
    back: bool = False,
) -> T:
    """
    Ask until ``read`` takes the answer; what it raises (``ValueError``) is shown, and the question asked again.

    Enter answers with the default, or with nothing. With ``back``, typing ``<`` raises :class:`Back`.
    """
    if not interactive():
        raise missing(label, flag)
    while True:
        answer = _prompt(label, default=default or "", show_default=bool(default) and not hide, hide_input=hide)
        if back and answer.strip().lower() in BACK:
            raise Back
        try:
            return read(answer if hide else answer.strip())
        except ValueError as error:
            click.echo(f"  {error}", err=True)


def yes(question: str, flag: str, *, default: bool, back: bool = False) -> bool:
    """Ask for yes or no."""

    def read(answer: str) -> bool:
        if answer.lower() in ("y", "yes"):
            return True
        if answer.lower() in ("n", "no"):
            return False
        raise ValueError("Answer yes or no")

    def answered(answer: str) -> bool:
        return read(answer) if answer else default

    return until(f"{question} [{'Y/n' if default else 'y/N'}]", flag, answered, back=back)


def pick(label: str, flag: str, names: Sequence[str], default: str | None = None, *, back: bool = False) -> str:
    """Ask for one of some names, by the name or by its number in a list that was shown."""

    def read(answer: str) -> str:
        if answer.isdecimal() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]
        if answer in names:
            return answer
        wanted = "1" if len(names) == 1 else f"a number from 1 to {len(names)}"
        raise ValueError(f"Answer with {wanted}, or a name of the list")

    return until(label, flag, read, default, back=back)


def in_order(*steps: Callable[[], bool]) -> bool:
    """
    Ask questions one after the other; :class:`Back` in one returns to the one that was asked before it.

    Each step tells whether it asked anything, and so does this.
    """
    asked: list[int] = []
    at = 0
    while at < len(steps):
        try:
            if steps[at]():
                asked.append(at)
            at += 1
        except Back:
            if not asked:
                raise
            at = asked.pop()
    return bool(asked)


def hidden(label: str, flag: str, required: bool) -> Secret | None:
    """Ask for a secret without showing it; an empty answer to an optional one is None."""
    if not interactive():
        if required:
            raise missing(label, flag)
        return None
    hint = "" if required else " (Enter for none)"
    answer = _prompt(f"{label}{hint}", default=None if required else "", hide_input=True, show_default=False)
    return Secret(answer) if answer else None


def hidden_twice(label: str, flag: str) -> Secret:
    """Ask for a new secret without showing it, twice: a slip would be noticed too late."""
    if not interactive():
        raise missing(label, flag)
    return Secret(_prompt(label, hide_input=True, confirmation_prompt="Once more"))


def _prompt(label: str, **options: Any) -> str:
    with breaks_off():
        answer: str = click.prompt(folded(label, stream=sys.stderr), err=True, **options)
    return answer


def warn_of_placeholder(name: str, value: Secret) -> None:
    """Say so when a new secret looks like none: the redactor does not look for it then."""
    if is_placeholder(value.reveal()):
        say(
            f"Warning: {name} looks like a placeholder, and is kept as it is. A word like this is not blacked out "
            "where other programs print it.",
            err=True,
        )


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
