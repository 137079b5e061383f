"""What commands print: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, TextIO, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def printed_as(*formats: str, help: str = "How to print.") -> Callable[[F], F]:
    """Return the decorator that gives a command ``-o`` with some formats, the first when it is not given."""
    return click.option(
        "-o",
        "--output",
        "format_",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help=help,
    )


format_option = printed_as("table", "json", "yaml")


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


#: Commands in what is said: they are copied from there, so no line is broken within one.
_COMMANDS = re.compile(
    r"'clm [^'\n]*'"
    r"|(?<=On the host, as root: )\S.*|(?<=On the host: )\S.*"
    r"|(?:^|(?<=: )) *(?:apt-get|chmod|chown|cp|eval|keyring|ls|mkdir|mv|pip|rm|ssh|ssh-keygen|sudo) .*"
    r"|\bclm(?: (?:[^\s;,.:)]|[;,.:)](?!\s|$))+)+"
    r"|(?<=\d) (?=[KMG]iB\b)",
    re.MULTILINE,
)
_KEPT = "\x1f"


def folded(text: str, indent: str = "", *, stream: TextIO | None = None) -> str:
    """
    Return text with its lines folded at words where they go to a terminal; what follows a fold is indented.

    A command stays on one line, however long it is.
    """
    if not (stream or sys.stdout).isatty():
        return text
    import shutil
    import textwrap

    width = max(40, shutil.get_terminal_size().columns)
    fold = textwrap.TextWrapper(
        width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    text = _COMMANDS.sub(lambda found: _held(found[0]), text)
    return "\n".join(fold.fill(line) for line in text.split("\n")).replace(_KEPT, " ")


def _held(text: str) -> str:
    # What leads a line in is no part of a command, and stays what textwrap(3) takes for an indentation.
    bare = text.lstrip(" ") if text.strip() else ""
    return f"{text[: len(text) - len(bare)]}{bare.replace(' ', _KEPT)}" if bare else _KEPT


def say(text: str, *, err: bool = False) -> None:
    """Print sentences, folded at words at a terminal."""
    click.echo(folded(text, "  ", stream=sys.stderr if err else sys.stdout), err=err)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str, *, whole: Collection[str] = ()) -> None:
    """
    Print rows under headings; ``empty`` when there are none. In a pipe: plain text, no line is cut.

    + whole: columns whose words are typed or copied, and so are not cut at a terminal that is too narrow
    """
    click.echo(render(columns, rows, empty, whole=whole) if rows else folded(empty))


def render(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    empty: str,
    *,
    cut: bool = True,
    whole: Collection[str] = (),
) -> str:
    """
    Return rows under headings as :func:`table` prints them, without a line end after the last.

    + cut: whether a terminal that is too narrow gets shorter cells; without it, lines are as long as they are
    """
    if not rows:
        return empty
    import shutil

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # What leads a line in would be taken for a part of its first word, and that be cut.
    rows = [["\n".join(line.strip() for line in cell.split("\n")) for cell in row] for row in rows]
    widths = [max(cell_width(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    if sys.stdout.isatty() and cut:
        least = [
            max(cell_width(name), *(_longest_word(cell) for cell in cells))
            for name, *cells in zip(columns, *rows, strict=True)
        ]
        room = shutil.get_terminal_size().columns - _GAP * (len(columns) - 1)
        widths = fitted(widths, least, room, [name in whole for name in columns])
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(columns, widths, strict=True):
        grid.add_column(name, width=width)
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    # As wide as it has to be: it was made to fit, where it can.
    console = Console(width=sum(widths) + _GAP * len(columns))
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def fitted(wanted: Sequence[int], least: Sequence[int], room: int, whole: Sequence[bool]) -> list[int]:
    """
    Return how wide each column of a table is.

    + wanted: what its longest cell takes
    + least: what its longest word takes
    + room: what there is for all of them
    + whole: whether it may not have less than ``least``
    """
    if sum(wanted) <= room:
        return list(wanted)
    widths = list(least)
    if sum(least) <= room:
        # What is left goes in equal parts to all that want it; who wants less than that leaves the rest to the others.
        hungry = sorted(range(len(least)), key=lambda n: wanted[n] - least[n])
        left = room - sum(least)
        for served, n in enumerate(hungry):
            more = min(wanted[n] - least[n], left // (len(hungry) - served))
            widths[n] += more
            left -= more
        return widths
    while sum(widths) > room:
        loose = [n for n, kept in enumerate(whole) if not kept and widths[n] > _NARROWEST]
        if not loose:
            break
        widths[max(loose, key=lambda n: widths[n])] -= 1
    return widths


def cell_width(text: str) -> int:
    """Return how many columns of a terminal the longest line of a text takes."""
    from rich.cells import cell_len

    return max((cell_len(line) for line in text.split("\n")), default=0)


def _longest_word(text: str) -> int:
    return max((cell_width(word) for word in text.split()), default=0)


#: Columns of a terminal between two columns of a table, and what a column is not made narrower than.
_GAP, _NARROWEST = 2, 4


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
