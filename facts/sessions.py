"""What an agent's state.db tells of its conversations, line by line; the agent could make up all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .script import END

#: Schemas of state.db that were looked at: 0.13 has 11, 0.15 13, 0.18 17 and 19, 0.19 22. They differ in columns that
#: are added, of which each is used where it is.
FIRST_SCHEMA, LAST_SCHEMA = 11, 22
#: How Hermes keeps a message of several parts (hermes_state.py, _CONTENT_JSON_PREFIX).
_PARTS = "\0json:"
_LONGEST_NAME = 500


class Unreadable(ValueError):
    """What a host told of its conversations cannot be used; the text says why."""


class NoDatabase(Unreadable):
    """The agent has no state.db: it never had a conversation."""


class NotFound(Unreadable):
    """There is no such conversation, or there are several."""


@dataclass(frozen=True)
class Session:
    """One conversation."""

    id: str
    #: Where it is held: ``api_server``, ``discord``, ``cli``.
    source: str | None = None
    title: str | None = None
    model: str | None = None
    messages: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    #: Seconds since the epoch, as are the next two.
    started: float | None = None
    ended: float | None = None
    last: float | None = None
    #: The conversation that this one goes on from.
    parent: str | None = None
    #: How it begins, longer than is shown.
    first: str | None = None


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: str
    text: str
    #: Seconds since the epoch.
    at: float | None = None
    tool: str | None = None
    #: The tools that it calls, as the model said it.
    calls: tuple[tuple[str, str], ...] = ()
    #: Whether it is longer than what is shown.
    shortened: bool = False


@dataclass(frozen=True)
class Match:
    """A message in which something was found."""

    session: str
    role: str
    text: str
    at: float | None = None
    title: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Begin:
    """The first that is told: the schema of the database; None when it does not say."""

    schema: int | None

    @property
    def known(self) -> bool:
        return self.schema is not None and FIRST_SCHEMA <= self.schema <= LAST_SCHEMA


@dataclass(frozen=True)
class End:
    """The last that is told: whether there was more than could be sent."""

    cut: bool


Row = Begin | Session | Message | Match | End


def read(lines: Iterable[str]) -> Iterator[Row]:
    """
    Read what the script prints, as it comes; the last is an :class:`End`.

    Raises :class:`Unreadable` for what is no such thing, and when the agent is not there.
    """
    ended = whole = False
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == END:
            whole = True
        elif word == "account" and rest != "ours":
            raise Unreadable("is not installed" if rest == "none" else "is an account that pyinfra-hermes did not make")
        elif word == "own" and not ended:
            row = _row(rest)
            if row is None:  # the last line of what was cut off
                break
            yield row
            ended = isinstance(row, End)
    if not ended:
        yield End(cut=True)
    elif not whole:
        raise Unreadable("the connection was cut off")


def _row(text: str) -> Row | None:
    try:
        row = json.loads(text)
        if not isinstance(row, dict):
            return None
        if "schema" in row:
            return Begin(_int(row["schema"]))
        if "session" in row:
            return _session(row["session"])
        if "message" in row:
            return _message(row["message"])
        if "match" in row:
            return _match(row["match"])
        error = row["end"].get("error")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if error == "none":
        raise NoDatabase("has no state.db: it never had a conversation")
    if isinstance(error, str) and error.startswith(("none such", "several")):
        raise NotFound(error)
    if error is not None:
        raise Unreadable(str(error)[:_LONGEST_NAME])
    return End(row["end"].get("cut") is True)


def _session(row: Mapping[str, Any]) -> Session:
    return Session(
        id=str(row["id"]),
        source=_name(row.get("source")),
        title=_name(row.get("title")),
        model=_name(row.get("model")),
        messages=_int(row.get("message_count")),
        input_tokens=_int(row.get("input_tokens")),
        output_tokens=_int(row.get("output_tokens")),
        started=_time(row.get("started_at")),
        ended=_time(row.get("ended_at")),
        last=_time(row.get("last")),
        parent=_name(row.get("parent_session_id")),
        first=_text(row.get("first")) or None,
    )


def _message(row: Mapping[str, Any]) -> Message:
    return Message(
        role=str(row.get("role"))[:_LONGEST_NAME],
        text=_text(row.get("content")),
        at=_time(row.get("timestamp")),
        tool=_name(row.get("tool_name")),
        calls=tuple(_calls(row.get("tool_calls"))),
        shortened=row.get("shortened") is True,
    )


def _match(row: Mapping[str, Any]) -> Match:
    return Match(
        session=str(row["session_id"]),
        role=str(row.get("role"))[:_LONGEST_NAME],
        text=_text(row.get("content")),
        at=_time(row.get("timestamp")),
        title=_name(row.get("title")),
        source=_name(row.get("source")),
    )


def _text(value: object) -> str:
    """Return the text of a message, of whose parts some have none."""
    if value is None:
        return ""
    text = str(value)
    if not text.startswith(_PARTS):
        return text
    try:
        parts = json.loads(text.removeprefix(_PARTS))
    except (ValueError, RecursionError):
        return text.removeprefix(_PARTS)
    return "\n".join(_part(part) for part in (parts if isinstance(parts, list) else [parts]))


def _part(part: object) -> str:
    if isinstance(part, dict):
        return str(part["text"]) if "text" in part else f"[{part.get('type', 'something else')}]"
    return str(part)


def _calls(value: object) -> Iterator[tuple[str, str]]:
    try:
        calls = json.loads(str(value)) if value else []
    except (ValueError, RecursionError):
        return
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield str(function.get("name"))[:_LONGEST_NAME], str(function.get("arguments", ""))


def _name(value: object) -> str | None:
    return str(value)[:_LONGEST_NAME] if value is not None else None


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> float | None:
    # Beyond this there is no calendar.
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return number if number is not None and 0 <= number < 1 << 36 else None
