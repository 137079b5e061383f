"""Conversations as the real Hermes of each release keeps them, read by ours while it has the database open."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyinfra_hermes.facts import script
from pyinfra_hermes.facts.sessions import FIRST_SCHEMA, LAST_SCHEMA, Begin, End, Match, Message, Row, Session, read

from .releases import on_every_release

SCRIPT = Path(script.__file__).with_name("sessions.py.txt").read_text()


def rows(printed: str) -> list[Row]:
    return list(read(["account ours", *(f"own {line}" for line in printed.splitlines()), "end"]))


def asked(do: str, **request: Any) -> dict[str, Any]:
    return {"do": do, "limit": 10, "since": None, "session": None, "text": "", "most": 1 << 20} | request


@on_every_release()
def test_conversations_are_read_and_the_database_is_as_it_was(in_hermes: Callable[..., Any], hermes_home: Path) -> None:
    requests = [
        asked("list"),
        asked("show", session="20260507"),
        asked("show", session="20260508_120000_bbbb"),
        asked("search", text="bees live"),
        asked("search", text="本の"),
        asked("search", text="wasps"),
        asked("list", since=4e9),
        asked("show", session="2026"),
    ]
    given = {"home": str(hermes_home.parent), "python": sys.executable, "script": SCRIPT, "requests": requests}
    found = in_hermes("sessions", given)
    before, during, closed, after = found["files"]
    assert before == during, "a database in use is not changed by who looks"
    assert closed == after, "nor is one that rests, and nothing is left beside it"
    assert FIRST_SCHEMA <= found["schema"] <= LAST_SCHEMA

    for at, printed in enumerate((found["live"], found["resting"])):
        listed, bees, wasps, by_word, by_part, taken_back, none, several = printed
        begin, *sessions, end = rows(listed)
        assert (begin, end) == (Begin(found["schema"]), End(cut=False))
        latest, first = sessions
        assert isinstance(first, Session) and isinstance(latest, Session)
        assert (latest.id, latest.source) == ("20260508_120000_bbbb", "api_server")
        assert (first.title, first.source, first.model) == ("About bees", "discord", "stand-in")
        assert (first.messages, first.first) == (4, "Where do the bees live?")
        assert first.started and first.last and first.started <= first.last

        _, head, *messages, _ = rows(bees)
        assert head == first
        told = [(m.role, m.text, m.tool, m.calls) for m in messages if isinstance(m, Message)]
        assert told == [
            ("user", "Where do the bees live?", None, ()),
            ("assistant", "", None, (("terminal", '{"command": "ls"}'),)),
            ("tool", "hives.txt", "terminal", ()),
            ("assistant", "In hives.\n[image_url]", None, ()),
        ]
        texts = [row.text for row in rows(wasps) if isinstance(row, Message)]
        assert texts == ["日本の蜂は?", *([] if found["rewinds"] else ["never mind the wasps"]), *["done"] * at]
        assert [row.session for row in rows(by_word) if isinstance(row, Match)] == [first.id]
        assert [row.text for row in rows(by_part) if isinstance(row, Match)] == ["日本の蜂は?"]
        assert len([row for row in rows(taken_back) if isinstance(row, Match)]) == (0 if found["rewinds"] else 1)
        assert [row for row in rows(none) if isinstance(row, Session)] == []
        assert '"several: 2026' in several
