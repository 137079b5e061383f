"""What the host tells of conversations: databases of other shapes, traps, and rows that an agent made up."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.facts import script
from pyinfra_hermes.facts.sessions import (
    Begin,
    End,
    Match,
    Message,
    NoDatabase,
    NotFound,
    Row,
    Session,
    Unreadable,
    read,
)

SCRIPT = Path(script.__file__).with_name("sessions.py.txt").read_text()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
SCHEMA = """
CREATE TABLE schema_version (version INTEGER);
INSERT INTO schema_version VALUES (11);
CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, started_at REAL);
CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT, timestamp REAL);
INSERT INTO sessions VALUES ('one', 'cli', 1000);
INSERT INTO messages VALUES (1, 'one', 'user', 'Where do the bees live?', 1001);
"""


def printed(home: Path, do: str = "list", **request: Any) -> str:
    asked = {"do": do, "limit": 10, "since": None, "session": None, "text": "", "most": 1 << 20} | request
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env={"HOME": str(home)},
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def told(home: Path, do: str = "list", **request: Any) -> list[Row]:
    lines = printed(home, do, **request).splitlines()
    return list(read(["account ours", *(f"own {line}" for line in lines), "end"]))


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    (tmp_path / ".hermes").mkdir()
    connection = sqlite3.connect(tmp_path / ".hermes/state.db", isolation_level=None)
    connection.executescript(SCHEMA)
    return connection


def test_without_the_columns_and_the_index_of_later_schemas_it_is_read_all_the_same(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    begin, session, end = told(tmp_path)
    assert (begin, end) == (Begin(11), End(cut=False))
    assert session == Session("one", "cli", started=1000, last=1001, first="Where do the bees live?")
    assert [row for row in told(tmp_path, "search", text="BEES") if isinstance(row, Match)]
    for wild in ("%", "_", "100%", "\\"):
        assert [row for row in told(tmp_path, "search", text=wild) if isinstance(row, Match)] == []


def test_a_newer_schema_is_told_of_and_read(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.execute("UPDATE schema_version SET version = 99")
    database.execute("ALTER TABLE messages ADD COLUMN novelty TEXT")
    begin, *_, message, _ = told(tmp_path, "show")
    assert isinstance(begin, Begin)
    assert (begin.schema, begin.known) == (99, False)
    assert isinstance(message, Message)
    assert message.text == "Where do the bees live?"


def test_what_is_needed_and_missing_is_named(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.execute("ALTER TABLE messages RENAME COLUMN content TO body")
    with pytest.raises(Unreadable, match=r"state\.db has no messages\.content"):
        told(tmp_path)


@pytest.mark.parametrize("trap", ["none", "link", "pipe", "directory", "text", "wal link"])
def test_a_trap_is_refused_and_not_followed(tmp_path: Path, trap: str) -> None:
    (tmp_path / ".hermes").mkdir()
    path = tmp_path / ".hermes/state.db"
    if trap == "link":
        path.symlink_to("/etc/passwd")
    elif trap == "pipe":
        os.mkfifo(path)
    elif trap == "directory":
        path.mkdir()
    elif trap == "text":
        path.write_text("no database" * 1000)
    elif trap == "wal link":
        sqlite3.connect(path).executescript(SCHEMA)
        path.with_name("state.db-wal").symlink_to("/etc/passwd")
    with pytest.raises(NoDatabase if trap == "none" else Unreadable):
        told(tmp_path)


def test_a_session_is_found_by_how_it_begins(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.execute("INSERT INTO sessions VALUES ('on_', 'cli', 2000), ('other', 'cli', 3000)")
    for asked, found in (("one", "one"), ("on_", "on_"), ("oth", "other"), (None, "other")):
        head = told(tmp_path, "show", session=asked)[1]
        assert isinstance(head, Session)
        assert head.id == found
    with pytest.raises(NotFound, match="several: other, on_, one"):
        told(tmp_path, "show", session="o")
    with pytest.raises(NotFound, match="none such"):
        told(tmp_path, "show", session="%")


def test_how_much_is_sent_is_bounded_and_told(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.executemany(
        "INSERT INTO messages VALUES (?, 'one', 'user', ?, 1)", [(n, "x" * 1000) for n in range(2, 99)]
    )
    database.execute("INSERT INTO messages VALUES (100, 'one', 'user', ?, 1)", ("y" * 5_000_000,))
    *messages, end = told(tmp_path, "show", most=20_000)
    assert end == End(cut=True)
    assert 5 < len(messages) < 30
    assert len(printed(tmp_path, "show", most=20_000)) < 21_000
    *_, longest, end = told(tmp_path, "show", most=1 << 30)
    assert isinstance(longest, Message)
    assert (len(longest.text), longest.shortened, end) == (200_000, True, End(cut=False))


def test_an_answer_that_ends_in_the_middle_is_not_taken_for_all() -> None:
    whole = [
        "account ours",
        'own {"schema": 11}',
        'own {"session": {"id": "one"}}',
        'own {"end": {"cut": false}}',
        "end",
    ]
    assert list(read(whole))[-1] == End(cut=False)
    assert list(read([*whole[:2], 'own {"session": {"id": "on', "end"]))[-1] == End(cut=True)
    assert list(read([*whole[:3], "end"]))[-1] == End(cut=True)
    with pytest.raises(Unreadable, match="cut off"):
        list(read(whole[:-1]))
    with pytest.raises(Unreadable, match="not installed"):
        list(read(["account none", "end"]))


@given(st.sampled_from(["schema", "session", "message", "match", "end"]), JSON, st.text("ab\0{}[]", max_size=5))
def test_whatever_an_agent_makes_up_is_taken_or_refused_and_nothing_else(kind: str, value: Any, noise: str) -> None:
    names = (
        "id",
        "session_id",
        "content",
        "timestamp",
        "tool_calls",
        "message_count",
        "first",
        "title",
        "error",
        "cut",
    )
    for row in ({kind: value}, *({kind: {"id": "x", "session_id": "x", name: value}} for name in names)):
        for line in (json.dumps(row), json.dumps(row) + noise):
            with contextlib.suppress(Unreadable):
                assert isinstance(list(read(["account ours", f"own {line}", "end"]))[-1], End)
