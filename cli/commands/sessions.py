"""``clm agent sessions``: an agent's conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..lazy import Group, examples
from ..output import emit, format_option, plain, table
from . import options

if TYPE_CHECKING:
    from ..sessions.printing import Form
    from ..sessions.reading import Answer

_LATEST = options.together(
    click.option(
        "-n",
        "--limit",
        default=20,
        show_default=True,
        type=click.IntRange(1, 10_000),
        help="How many, the latest first.",
    ),
    click.option("--since", metavar="TIME", help="Only from then on: 30m, 2h, 3d, 2026-05-07, 2026-05-07T12:00."),
    format_option,
)
_SESSION = click.argument("session", required=False, metavar="[SESSION]")


@click.group(
    cls=Group,
    epilog=examples(
        "clm agent sessions list maurice --since 2d",
        "clm agent sessions show maurice",
        "clm agent sessions search maurice 'deploy failed'",
        "clm agent sessions export maurice 20260507 --format markdown --file talk.md",
    ),
)
def sessions() -> None:
    """
    An agent's conversations, whatever channel they are held in.

    Read from its state.db while it goes on; nothing of it is changed, and Hermes itself is not run. SESSION is an id or
    how one begins; without it the latest is meant. Secrets on record are blacked out.
    """


@sessions.command(
    "list",
    short_help="List conversations, the latest first.",
    epilog=examples("clm agent sessions list maurice", "clm agent sessions list maurice --since 2d -o json"),
)
@click.argument("name")
@_LATEST
def list_(name: str, limit: int, since: str | None, format_: str) -> None:
    """List conversations, the latest first."""
    from pyinfra_hermes.facts.sessions import Session

    from ..sessions import printing
    from ..sessions.reading import Request, answered

    with answered(name, Request("list", limit=limit, since=printing.since(since))) as answer:
        found = [row for row in answer if isinstance(row, Session)]
    more = len(found) > limit
    if not emit([printing.session_data(each) for each in found[:limit]], format_):
        table(
            ("ID", "SOURCE", "MSGS", "TOKENS", "LAST (UTC)", "TITLE"),
            [
                (
                    printing.line(each.id, 60),
                    printing.line(each.source, 20) or "-",
                    "-" if each.messages is None else str(each.messages),
                    _tokens(each.input_tokens, each.output_tokens),
                    printing.minute(each.last) or "-",
                    printing.line(each.title or each.first, 40) or "-",
                )
                for each in found[:limit]
            ],
            f"{name} has no conversations{' since then' if since else ''}.",
            whole=("ID",),
        )
    if more:
        click.echo(f"There are more: clm agent sessions list {name} --limit {min(limit * 5, 10_000)}", err=True)
    _notes(answer)


@sessions.command(
    short_help="Show a conversation.",
    epilog=examples("clm agent sessions show maurice", "clm agent sessions show maurice 20260507_1200"),
)
@click.argument("name")
@_SESSION
@format_option
def show(name: str, session: str | None, format_: str) -> None:
    """Show what was said in a conversation; the latest one when none is named."""
    from pyinfra_hermes.facts.sessions import Message, Session

    from ..sessions import printing
    from ..sessions.reading import Request, answered

    with answered(name, Request("show", session=session)) as answer:
        head: Session | None = None
        messages = []
        for row in answer:
            if isinstance(row, Session):
                head = row
                if format_ == "table":
                    click.echo(printing.heading(row))
            elif isinstance(row, Message) and head is not None:
                if format_ == "table":
                    click.echo("\n" + "\n".join(printing.transcript(head, row)))
                else:
                    messages.append(printing.message_data(row))
    if format_ != "table":
        begin = printing.session_data(head) if head is not None else None
        emit({"session": begin, "messages": messages, "complete": not answer.cut}, format_)
    _notes(answer)


@sessions.command(
    short_help="Write a conversation to a file.",
    epilog=examples(
        "clm agent sessions export maurice --format markdown --file talk.md",
        "clm agent sessions export maurice 20260507_1200 >talk.jsonl",
    ),
)
@click.argument("name")
@_SESSION
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "markdown"]),
    default="jsonl",
    show_default=True,
    help="A line of JSON for each message, or a text.",
)
@click.option("--file", "target", metavar="PATH", type=click.Path(dir_okay=False), help="File to write, for you alone.")
@click.option("--overwrite", is_flag=True, help="Write over a file that is there.")
def export(name: str, session: str | None, form: Form, target: str | None, overwrite: bool) -> None:
    """Write a conversation to a file that only you can read, or to standard output."""
    from pathlib import Path

    from ..sessions import exporting
    from ..sessions.reading import Request, answered

    with answered(name, Request("show", session=session, to_file=True)) as answer:
        if target is None:
            exporting.to_stdout(answer, form)
        else:
            count = exporting.to_file(answer, form, Path(target).absolute(), overwrite=overwrite)
            click.echo(f"{count} messages are in {target}.")
    _notes(answer)


@sessions.command(
    short_help="Search what was said.", epilog=examples("clm agent sessions search maurice 'deploy failed' --since 7d")
)
@click.argument("name")
@click.argument("text")
@_LATEST
def search(name: str, text: str, limit: int, since: str | None, format_: str) -> None:
    """
    Search what was said, for messages that hold all words of TEXT.

    Whole words first, by Hermes' own index; where nothing has them, parts of words.
    """
    from pyinfra_hermes.facts.sessions import Match

    from ..exits import Exit
    from ..problems import Problem
    from ..sessions import printing
    from ..sessions.reading import Request, answered

    words = text.split()
    if not words or len(text) > 500:
        raise Problem("Search for one word at least, and 500 characters at most", None, Exit.USAGE)
    with answered(name, Request("search", limit=limit, since=printing.since(since), text=text)) as answer:
        found = [row for row in answer if isinstance(row, Match)]
    if not emit([printing.match_data(each, words) for each in found[:limit]], format_):
        table(
            ("SESSION", "WHEN", "WHO", "TEXT"),
            [
                (
                    printing.line(each.session, 60),
                    printing.moment(each.at) or "-",
                    printing.line(each.role, 20),
                    printing.around(each.text, words),
                )
                for each in found[:limit]
            ],
            f"{name} has no message with {plain(text)}.",
        )
    if len(found) > limit:
        click.echo(f"There are more: --limit {min(limit * 5, 10_000)}", err=True)
    _notes(answer)


def _tokens(asked: int | None, answered: int | None) -> str:
    return "-" if asked is None and answered is None else str((asked or 0) + (answered or 0))


def _notes(answer: Answer) -> None:
    for text in answer.notes:
        click.echo(plain(text), err=True)
