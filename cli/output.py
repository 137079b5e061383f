"""What commands print: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def format_option(command: F) -> F:
    """Give a command ``-o``: table, json or yaml."""
    return click.option(
        "-o",
        "--output",
        "format_",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print.",
    )(command)


def emit(data: Any, format_: str) -> bool:
    """Print data for a program; False when a person is to be served."""
    if format_ == "json":
        click.echo(json.dumps(data, indent=2, default=str))
    elif format_ == "yaml":
        import yaml

        value = json.loads(json.dumps(data, default=str))
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        if not _REORDERING.isdisjoint(text):
            text = yaml.safe_dump(value, sort_keys=False)  # the same, with escapes instead
        click.echo(text, nl=False)
    return format_ != "table"


def folded(text: str, indent: str = "", *, stream: TextIO | None = None) -> str:
    """Return text with its lines folded at words where they go to a terminal; what follows a fold is indented."""
    if not (stream or sys.stdout).isatty():
        return text
    import shutil
    import textwrap

    width = max(40, shutil.get_terminal_size().columns)
    fold = textwrap.TextWrapper(
        width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join(fold.fill(line) for line in text.split("\n"))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print rows under headings; ``empty`` when there are none. In a pipe: plain text, no line is cut."""
    click.echo(render(columns, rows, empty))


def render(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str, *, cut: bool = True) -> str:
    """
    Return rows under headings as :func:`table` prints them, without a line end after the last.

    + cut: whether a terminal that is too narrow gets shorter cells; without it, lines are as long as they are
    """
    if not rows:
        return empty
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    at_terminal = sys.stdout.isatty() and cut
    console = Console(width=None if at_terminal else 500)
    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    with console.capture() as captured:
        console.print(grid)
    lines = captured.get().splitlines()
    return "\n".join(lines if at_terminal else [line.rstrip() for line in lines])


def pairs(rows: Sequence[tuple[str, str]], *, err: bool = False) -> None:
    """Print names and values in two columns, with ``err`` beside the questions that they belong to."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        indent = " " * (width + 2)
        text = folded(f"{indent}{value}", indent, stream=sys.stderr if err else sys.stdout)
        first, *others = [line.removeprefix(indent) for line in text.splitlines()] or [""]
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {first}", err=err)
        for line in others:
            click.echo(f"{' ' * width}  {line}", err=err)


def plain(text: str) -> str:
    """Return text from another machine without what could steer a terminal or reorder what is read."""
    return "".join(c for c in text if c in "\n\t" or (c.isprintable() and c not in _REORDERING))


def visible(text: str) -> str:
    """Return text from another machine with what could steer a terminal or hide something spelt out instead."""
    return "".join(c if c in "\n\t" or (c.isprintable() and c not in _REORDERING) else repr(c)[1:-1] for c in text)


_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
