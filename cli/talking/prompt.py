"""A conversation at a terminal: questions typed, answers shown, until the person has enough."""

from __future__ import annotations

import click

from ..breaking_off import breaks_off
from ..exits import Exit
from ..problems import Problem
from .conversation import Answer, Conversation
from .screen import screen

_HELP = """\
  /reset   begin a new session; the agent keeps the one before
  /session show the id of this one
  /help    this
  /exit    leave, as Ctrl-D does
  Ctrl-C   gives an answer up; at the question it ends the conversation

A question of several lines: end a line with \\, or put it between lines of three quotation marks (\"\"\")."""
_COMMANDS = ("/reset", "/session", "/help", "/exit", "/quit")
_QUOTES = '"""'


def answered(conversation: Conversation, question: str, *, markdown: bool, quiet: bool = False) -> Answer:
    """Ask and show the answer as it comes. Raises what :meth:`Conversation.ask` raises."""
    asking = conversation.ask(question)
    with screen(markdown=markdown, quiet=quiet) as shown:
        try:
            while True:
                shown.show(next(asking))
        except StopIteration as done:
            answer: Answer = done.value
        finally:
            asking.close()
    return answer


def talk(conversation: Conversation, name: str, *, markdown: bool) -> Exit:
    """Talk until the person leaves; returns how it ended."""
    import readline  # noqa: F401 - gives input() its editing and history

    from ..main import show

    _note(f"Talking to {name}. /help shows what can be typed, /exit leaves.")
    asked = False
    ended = Exit.DONE
    while True:
        try:
            with breaks_off():
                text = _typed()
        except EOFError:
            click.echo(err=True)
            break
        except KeyboardInterrupt:
            click.echo(err=True)
            ended = Exit.INTERRUPTED
            break
        if text in ("/exit", "/quit"):
            break
        if text == "/reset":
            conversation.reset()
            asked = False
            _note("Forgotten: a new session has begun.")
        elif text == "/session":
            _note(conversation.session)
        elif text == "/help":
            click.echo(_HELP, err=True)
        elif text.startswith("/") and len(text.split()) == 1:
            _note(f"There is no {text}. There are {', '.join(_COMMANDS)}.")
        elif text:
            asked = True
            click.echo(click.style(f"{name}> ", fg="cyan"), nl=markdown)
            try:
                answer = answered(conversation, text, markdown=markdown)
                if answer.finish_reason == "length":
                    _note("(cut off at the length that the model may answer with)")
            except KeyboardInterrupt:
                _note("(given up; the session may keep the question, /reset begins a new one)")
            except Problem as problem:
                show(problem)
    if asked:
        _note(f"Go on with: clm chat {name} --session {conversation.session}")
    return ended


def _typed() -> str:
    line = input("you> ")
    if line.strip() == _QUOTES:
        lines = []
        while (line := input("...> ")).strip() != _QUOTES:
            lines.append(line)
        return "\n".join(lines).strip()
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input("...> "))
    return "\n".join(lines).strip()


def _note(text: str) -> None:
    click.echo(click.style(text, dim=True), err=True)
