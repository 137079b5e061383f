"""``clm agent memory``: what an agent remembers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ..lazy import Group, examples
from ..output import emit, folded, format_option, plain, table
from . import options

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.model.memories import MemoryFile

    from ..memories.changing import Changed
    from ..memories.reading import Remembered


def _kind(ctx: click.Context, parameter: click.Parameter, name: str) -> MemoryFile:
    from ..memories.reading import chosen

    [kind] = chosen(name)
    return kind


_FILE = click.argument("kind", metavar="FILE", callback=_kind)
_ANY_FILE = click.argument("file", metavar="[FILE]", required=False)


@click.group(
    cls=Group,
    epilog=examples(
        "clm agent memory show maurice",
        "clm agent memory edit maurice USER.md",
        "clm agent memory add maurice USER.md 'Keeps bees.'",
        "clm agent memory read maurice MEMORY.md >memory.md",
        "clm agent memory write maurice MEMORY.md --file memory.md",
    ),
)
def memory() -> None:
    """
    What an agent remembers: MEMORY.md, USER.md, and SOUL.md, which says who it is.

    The agent writes these files, too, and goes on meanwhile: nothing of either side is overwritten unseen. It reads
    them when a conversation begins; one under way keeps what it began with.
    """


@memory.command(
    short_help="Show what is remembered, entry by entry.",
    epilog=examples("clm agent memory show maurice", "clm agent memory show maurice USER.md"),
)
@click.argument("name")
@_ANY_FILE
@format_option
def show(name: str, file: str | None, format_: str) -> None:
    """
    Show what is remembered: entries with their numbers, characters used and allowed.

    What could steer a terminal is left out; clm agent memory read gives every byte.
    """
    from ..memories.changing import described
    from ..memories.reading import chosen, remembered

    kinds = chosen(file)
    seen = remembered(name)
    if emit([seen.data(kind) for kind in kinds], format_):
        return
    for number, kind in enumerate(kinds):
        found = seen.file(kind)
        if number:
            click.echo()
        click.secho(plain(described(seen, kind)), bold=True)
        text = found.content.decode(errors="replace") if found.content is not None else ""
        for n, entry in enumerate(kind.entries(text), 1):
            label = f"{n:4}  " if kind.has_entries else "      "
            first, *others = plain(entry).split("\n")
            click.echo(folded(f"{label}{first}", "      "))
            for line in others:
                click.echo(folded(f"      {line}", "      ") if line else "")
    _warn(seen, kinds)


@memory.command(short_help="Print a file as it is.", epilog=examples("clm agent memory read maurice SOUL.md >SOUL.md"))
@click.argument("name")
@_FILE
def read(name: str, kind: MemoryFile) -> None:
    """Print a memory file as it is: every byte of it in a pipe, at a terminal without what could steer that."""
    from ..memories.reading import refuse_unusable, remembered

    seen = remembered(name)
    refuse_unusable(seen, kind)
    content = seen.file(kind).content
    if content is None:
        click.echo(f"{kind.name} of {name} is not there yet.", err=True)
    elif sys.stdout.isatty():
        click.echo(plain(content.decode(errors="replace")))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)


@memory.command(
    short_help="Show sizes, limits, digests, and copies beside.",
    epilog=examples("clm agent memory info maurice", "clm agent memory info maurice USER.md -o json"),
)
@click.argument("name")
@_ANY_FILE
@format_option
def info(name: str, file: str | None, format_: str) -> None:
    """Show of each file how much is used of what is allowed, its digest, and the copies that Hermes made of it."""
    from ..memories.reading import chosen, moment, remembered

    kinds = chosen(file)
    seen = remembered(name)
    rows = [seen.data(kind) for kind in kinds]
    if emit([{key: value for key, value in row.items() if key not in ("entries", "text")} for row in rows], format_):
        return
    table(
        ("FILE", "STATUS", "CHARS", "LIMIT", "ENTRIES", "BYTES", "CHANGED (UTC)", "SHA256"),
        [
            (
                row["file"],
                {"file": "present"}.get(row["kind"], plain(row["kind"])),
                *("-" if row[key] is None else str(row[key]) for key in ("characters", "limit")),
                "-" if row["entries"] is None else str(len(row["entries"])),
                "-" if row["bytes"] is None else str(row["bytes"]),
                (row["modified"] or "-")[:16].replace("T", " "),
                (row["sha256"] or "-")[:12],
            )
            for row in rows
        ],
        "",
    )
    for kind in kinds:
        for each in seen.file(kind).beside:
            what = {True: "lock", False: "beside"}[each.name.endswith(".lock")]
            what = "copy that Hermes made" if ".bak" in each.name else what
            click.echo(f"{plain(each.name)}: {what}, {each.size} bytes, {moment(each.modified)}")
    _warn(seen, kinds)


@memory.command(
    short_help="Put a text in the place of a whole file.",
    epilog=examples(
        "clm agent memory write maurice USER.md --file user.md",
        "clm agent memory write maurice SOUL.md --replace <soul.md",
    ),
)
@click.argument("name")
@_FILE
@click.option("--file", "source", metavar="PATH", help="File with the text; - is standard input, as when not given.")
@click.option("--replace", is_flag=True, help="Replace whatever is there, without a question.")
@click.option("--expected", metavar="SHA256", help="Replace only this, as info -o json told; 'absent' for no file.")
def write(name: str, kind: MemoryFile, source: str | None, replace: bool, expected: str | None) -> None:
    """
    Put a text in the place of a whole file, or make the file.

    Where there is something already, it is asked about, or --replace or --expected say what may go. A text that is
    refused for any reason is not lost.
    """
    from pyinfra_hermes.deploys.model.memories import decoded

    from ..memories.changing import write

    if replace and expected is not None:
        raise click.UsageError("--replace replaces anything, and --expected one text: give one of them")
    content = _given(source)
    with _not_lost(name, kind, content if source in (None, "-") else None):
        done = write(name, kind, decoded(kind, content), expected, replace=replace)
    _told(done, name, kind)


@memory.command(
    short_help="Edit a file, or make it, with your editor.",
    epilog=examples("clm agent memory edit maurice USER.md", "clm agent memory edit maurice SOUL.md --editor nano"),
)
@click.argument("name")
@_FILE
@click.option("--editor", metavar="COMMAND", help="Editor to use instead of VISUAL, EDITOR or vi.")
def edit(name: str, kind: MemoryFile, editor: str | None) -> None:
    """
    Edit a file with your editor, or make it.

    Nothing is changed when the agent wrote meanwhile. Until the agent has your text, it stays in a file that only you
    can read, and is named.
    """
    from ..memories.editing import edit

    done = edit(name, kind, editor)
    if done is None:
        click.echo("No changes.")
    else:
        _told(done, name, kind)


@memory.command(
    short_help="Add one entry.",
    epilog=examples(
        "clm agent memory add maurice USER.md 'Keeps bees.'",
        "date +'Today is %F.' | clm agent memory add maurice MEMORY.md -",
    ),
)
@click.argument("name")
@_FILE
@click.argument("text", required=False)
def add(name: str, kind: MemoryFile, text: str | None) -> None:
    """Add one entry to MEMORY.md or USER.md; TEXT, or standard input. The others stay, whoever writes meanwhile."""
    from pyinfra_hermes.deploys.model.memories import decoded

    from ..memories.changing import add

    content = _given(None) if text in (None, "-") else str(text).encode(errors="surrogateescape")
    with _not_lost(name, kind, content if text in (None, "-") else None):
        done = add(name, kind, decoded(kind, content))
    _told(done, name, kind)


@memory.command(
    short_help="Remove an entry, a file, or all.",
    epilog=examples("clm agent memory delete maurice MEMORY.md --entry 3", "clm agent memory delete maurice --all"),
)
@click.argument("name")
@_ANY_FILE
@click.option("--entry", type=click.IntRange(min=1), metavar="NUMBER", help="Only this entry, as show numbers them.")
@click.option("--all", "all_", is_flag=True, help="All three files.")
@options.yes
def delete(name: str, file: str | None, entry: int | None, all_: bool, yes: bool) -> None:
    """
    Remove an entry, a file, or all three; what goes is shown and asked about.

    An entry goes by its text: what the agent adds meanwhile changes numbers, and not what is removed. Hermes makes
    a new SOUL.md when there is none.
    """
    from ..memories.changing import delete, forget
    from ..memories.reading import chosen

    if (file is None) != all_ or (entry is not None and all_):
        raise click.UsageError("Name a FILE, with --entry for one of its entries, or give --all")
    kinds = chosen(file)
    if entry is not None:
        _told(forget(name, kinds[0], entry, yes=yes), name, kinds[0])
        return
    done = delete(name, kinds, yes=yes)
    listed = ", ".join(kind.name for kind in kinds)
    click.echo(f"{listed} of {name} removed." if done.changed else f"There is no {listed} of {name}; nothing to do.")


def _given(source: str | None) -> bytes:
    from pathlib import Path

    from ..exits import Exit
    from ..problems import Problem

    if source not in (None, "-"):
        try:
            return Path(str(source)).read_bytes()
        except OSError as error:
            raise Problem(f"{source} cannot be read: {error.strerror}", None, Exit.USAGE) from None
    if sys.stdin.isatty():
        click.echo("Type the text; Ctrl-D ends it.", err=True)
    return sys.stdin.buffer.read()


@contextmanager
def _not_lost(name: str, kind: MemoryFile, piped: bytes | None) -> Iterator[None]:
    """Say where a text that came from a pipe, and can be had no second time, is kept when it is refused."""
    try:
        yield
    except BaseException:
        if piped is not None:
            from ..memories.drafts import Draft

            click.echo(f"Your text is kept in {Draft.of(name, kind.name, piped).path}", err=True)
        raise


def _told(done: Changed, name: str, kind: MemoryFile) -> None:
    from ..memories.changing import described

    if done.after is None:
        click.echo(f"{kind.name} of {name} was written; the host could not be asked again.")
        return
    if not done.changed:
        click.echo(f"{plain(described(done.after, kind))}, as it was; nothing to do.")
        return
    click.echo(f"{plain(described(done.after, kind))}.")
    if done.after.memories.runs:
        click.echo(f"{name} has it in every conversation that begins from now on.")
    else:
        click.echo(f"{name} does not run; it reads this once it does.")
    _warn(done.after, [kind])


def _warn(seen: Remembered, kinds: list[MemoryFile]) -> None:
    for kind in kinds:
        for text in seen.warnings(kind):
            click.echo(f"{click.style('Warning:', fg='yellow')} {plain(text)}", err=True)
