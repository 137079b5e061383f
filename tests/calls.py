"""Calls of clm in lines for a shell, parsed as the command parses them and never run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from pyinfra_hermes.cli.main import cli


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group, each with the words that lead to it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name="clm")
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) is not None:
                yield from commands(found, (*path, name))


def of_clm(line: str) -> list[list[str]]:
    """The arguments of each call of clm in a line, without what the shell keeps for itself."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    calls: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word in ("|", ";", "&&", "&"):
            calls.append([])
        elif word in (">", "<", ">>", "<<<"):
            next(words, None)
        else:
            calls[-1].append(word)
    return [call[1:] for call in calls if call and call[0] == "clm"]


def parse(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """
    Parse a call, and return the name of its command.

    Files that it names are taken to be there: they are the reader's. Raises ``click.UsageError``.
    """
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    command: click.Command = cli
    path: list[str] = []
    context = click.Context(cli, info_name="clm")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no clm {' '.join([*path, name])}")
        command = found
        path.append(name)
        context = click.Context(command, parent=context, info_name=name)
    command.make_context(path[-1] if path else "clm", list(arguments), parent=context.parent)
    return " ".join(path)
