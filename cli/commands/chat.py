"""``clm chat``: talk to an agent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..conversation import Conversation


@click.command()
@click.argument("name")
@click.option(
    "--once",
    metavar="TEXT",
    help="Ask this, print the answer, end. A lone - reads the question from standard input.",
)
@click.option(
    "--timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds of silence until an answer is given up.",
)
def chat(name: str, once: str | None, timeout: float) -> None:
    """
    Talk to an agent, through SSH to its loopback.

    Type /reset to begin anew, /exit or Ctrl-D to leave; Ctrl-C gives up an answer.
    """
    from ..conversation import Conversation
    from ..exits import Exit
    from ..problems import Problem

    if once is None and not sys.stdin.isatty():
        raise Problem(
            "There is no terminal to talk at",
            "Ask one question with --once TEXT, or --once - to read it",
            Exit.USAGE,
        )
    question = sys.stdin.read() if once == "-" else once
    if question is not None and not question.strip():
        raise Problem("The question is empty", None, Exit.USAGE)
    with Conversation.open(name, timeout) as conversation:
        if question is not None:
            click.echo(conversation.ask(question))
        else:
            _talk(conversation, name)


def _talk(conversation: Conversation, name: str) -> None:
    import readline  # noqa: F401 - gives input() its editing and history

    from ..main import show
    from ..problems import Problem

    click.echo(click.style(f"Talking to {name}. /reset begins anew, /exit leaves.", dim=True), err=True)
    while True:
        try:
            text = input("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        if text in ("/exit", "/quit"):
            return
        if text == "/reset":
            conversation.reset()
            click.echo(click.style("Forgotten.", dim=True), err=True)
        elif text.startswith("/"):
            click.echo("There are /reset and /exit.", err=True)
        elif text:
            try:
                click.echo(click.style(f"{name}> ", fg="cyan"), nl=False)
                for piece in conversation.stream(text):
                    click.echo(piece, nl=False)
                click.echo()
            except KeyboardInterrupt:
                click.echo(click.style("\n(given up)", dim=True))
            except Problem as problem:
                click.echo()
                show(problem)
