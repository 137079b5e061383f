"""``clm chat``: talk to an agent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ..lazy import examples
from ..output import printed_as

if TYPE_CHECKING:
    from ..talking.conversation import Answer, Conversation


@click.command(
    epilog=examples(
        "clm chat maurice",
        'clm chat maurice "What is on my list today?"',
        'git diff | clm chat maurice --once - --system "Review this change."',
        'clm chat maurice --once "Go on" --session clm-20261122-9f2c01ab -o json',
    )
)
@click.argument("name")
@click.argument("question", nargs=-1)
@click.option(
    "--once",
    metavar="TEXT",
    help="Ask this, print the answer, end; the same as QUESTION. A lone - reads it from standard input.",
)
@click.option(
    "--session",
    metavar="ID",
    help="Go on with a session: the agent keeps what was said in it. One that it does not know begins.",
)
@click.option(
    "--system", metavar="TEXT", help="Instructions that are sent with each question, on top of the agent's own."
)
@click.option(
    "--timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds until an answer is given up that shows no sign of work; above 30 it may take 30 more.",
)
@click.option("--plain", "as_is", is_flag=True, help="Show answers as they are: no markdown is drawn.")
@printed_as(
    "text",
    "json",
    help="For one question: the answer, or an object with text, session, model, finish_reason and usage.",
)
def chat(
    name: str,
    question: tuple[str, ...],
    once: str | None,
    session: str | None,
    system: str | None,
    timeout: float,
    as_is: bool,
    format_: str,
) -> None:
    """
    Talk to an agent, through SSH to its loopback; no port is opened.

    Without QUESTION at a terminal it is a conversation; /help tells what can be typed, Ctrl-C gives up an answer. In a
    pipe, standard input is the question. What the agent says cannot steer the terminal.

    Exit 7 when there is no answer, or only a part of one, 4 when the connection was lost: what came is printed all the
    same.
    """
    from ..exits import Exit
    from ..problems import Problem
    from ..talking.conversation import Broken, Conversation
    from ..talking.prompt import answered, talk

    if question and once is not None:
        raise click.UsageError("Give the question as an argument or with --once, not both.")
    text = " ".join(question) if question else once
    here = text is None and sys.stdin.isatty()
    if here and format_ == "json":
        raise click.UsageError("-o json takes one question: give it as an argument, or on standard input.")
    if text == "-" or (text is None and not here):
        piped = text is None
        text = sys.stdin.read()
        if piped and not text.strip():
            raise Problem(
                "There is no terminal to talk at, and standard input holds no question",
                "Ask one question with --once TEXT, or pipe it in",
                Exit.USAGE,
            )
    if text is not None and not text.strip():
        raise Problem("The question is empty", None, Exit.USAGE)
    markdown = sys.stdout.isatty() and not as_is
    with Conversation.open(name, timeout, session, system) as conversation:
        if text is None:
            click.get_current_context().exit(talk(conversation, name, markdown=markdown))
        if format_ == "text":
            answered(conversation, text, markdown=markdown, quiet=not sys.stderr.isatty())
            return
        try:
            _print(_whole(conversation, text).data())
        except Broken as broken:
            _print({**broken.answer.data(), "error": broken.message})
            raise


def _whole(conversation: Conversation, text: str) -> Answer:
    asking = conversation.ask(text)
    try:
        while True:
            next(asking)
    except StopIteration as done:
        answer: Answer = done.value
        return answer


def _print(data: dict[str, object]) -> None:
    import json

    click.echo(json.dumps(data, ensure_ascii=False))
