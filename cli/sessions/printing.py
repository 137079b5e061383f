"""Conversations for people and for programs: nothing in them steers a terminal, secrets on record are blacked out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import click

from pyinfra_hermes.facts.sessions import Match, Message, Session

from ..exits import Exit
from ..output import plain
from ..problems import Problem

Form = Literal["jsonl", "markdown"]
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(seconds: float | None) -> str | None:
    """Return a time that a host told, as RFC 3339 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def minute(seconds: float | None) -> str | None:
    """Return a time that a host told, in UTC, short enough to stand whole in a table of 80 columns."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def since(text: str | None) -> float | None:
    """Read a time as a person types it: ``2h``, ``2026-05-07``, ``2026-05-07T12:00``. Raises :class:`Problem`."""
    if text is None:
        return None
    short = re.fullmatch(r"(\d{1,6}) ?([mhdw])", text.strip())
    try:
        if short:
            found = datetime.now(UTC) - timedelta(**{_UNITS[short[2]]: int(short[1])})
        else:
            found = datetime.fromisoformat(text.strip()).astimezone(UTC)
        return found.timestamp()
    except (ValueError, OverflowError, OSError):
        raise Problem(
            f"--since {text}: this is no time; 30m, 2h, 3d, 2w, 2026-05-07 or 2026-05-07T12:00 are", None, Exit.USAGE
        ) from None


def session_data(session: Session) -> dict[str, Any]:
    """Return a conversation as plain data."""
    return {
        "id": session.id,
        "source": session.source,
        "title": session.title,
        "first": session.first,
        "model": session.model,
        "messages": session.messages,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "started": moment(session.started),
        "last": moment(session.last),
        "ended": moment(session.ended),
        "parent": session.parent,
    }


def message_data(message: Message) -> dict[str, Any]:
    """Return a message as plain data."""
    return {
        "role": message.role,
        "at": moment(message.at),
        "text": message.text,
        "tool": message.tool,
        "calls": [{"tool": name, "arguments": arguments} for name, arguments in message.calls],
        "shortened": message.shortened,
    }


def around(text: str, words: Sequence[str]) -> str:
    """Return what is around the first of some words in a text, in one line."""
    whole = line(text, len(text))
    low = whole.lower()
    at = min((low.find(word.lower()) for word in words if word.lower() in low), default=0)
    begin = max(0, at - 40)
    return f"{'...' if begin else ''}{line(whole[begin:], 120)}"


def match_data(match: Match, words: Sequence[str]) -> dict[str, Any]:
    """Return what was found as plain data."""
    return {
        "session": match.session,
        "source": match.source,
        "title": match.title,
        "role": match.role,
        "at": moment(match.at),
        "text": around(match.text, words),
    }


def line(text: str | None, width: int) -> str:
    """Return a text in one line of so many characters at most."""
    whole = " ".join(plain(text or "").split())
    return whole if len(whole) <= width else f"{whole[: width - 3]}..."


def heading(session: Session) -> str:
    """Return a line that says which conversation this is."""
    what = [f"Conversation {session.id}", session.source, session.title, session.model, moment(session.started)]
    return plain(", ".join(part for part in what if part))


def transcript(session: Session, message: Message) -> Iterator[str]:
    """Return a message as lines for a person."""
    who = f"{message.role} ({message.tool})" if message.tool else message.role
    yield click.style(plain(f"{who}  {moment(message.at) or ''}").rstrip(), bold=True)
    for part in plain(message.text).split("\n") if message.text else ():
        yield f"  {part}"
    for name, arguments in message.calls:
        yield f"  -> {plain(name)} {line(arguments, 500)}"
    if message.shortened:
        yield "  [longer than what is shown]"


def exported(row: Session | Message, form: Form) -> str:
    """Return a conversation's head, or one message of it, as it stands in a file."""
    if form == "jsonl":
        data = {"session": session_data(row)} if isinstance(row, Session) else {"message": message_data(row)}
        return json.dumps(data, ensure_ascii=False) + "\n"
    if isinstance(row, Session):
        return f"# {heading(row)}\n"
    parts = [f"\n## {plain(row.role)}{f' ({plain(row.tool)})' if row.tool else ''}, {moment(row.at) or ''}\n"]
    parts += [f"{plain(row.text)}\n"] if row.text else []
    for name, arguments in row.calls:
        fence = "`" * (max((len(run) for run in re.findall("`+", arguments)), default=0) + 3)
        parts.append(f"Calls {plain(name)}:\n\n{fence}json\n{plain(arguments)}\n{fence}\n")
    return "\n".join(parts)
