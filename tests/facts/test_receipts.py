"""Receipts and snapshots as hosts tell of them: whatever a damaged file holds, reading it never fails."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.facts.observation import parse
from pyinfra_hermes.facts.receipts import MOST_CHANGES, Receipt, merged, read
from pyinfra_hermes.facts.snapshots import Snapshot

from .captured import AGENT, HOST

RECEIPT = Receipt(
    "0a1b2c3d4e5f", "2026-11-22T23:50:10.002Z", "ada@desk", "maurice", "upgrade", "v2026.5.7-wheel-5a8bb6d9",
    "v2026.7.1-wheel-6d6f8086", ("~ a file: a leaf",), "applied", "", "0.1.0",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = list(json.loads(RECEIPT.encode()))


def test_a_receipt_is_one_line_of_ascii_and_read_back() -> None:
    odd = Receipt(**{**vars(RECEIPT), "reason": "ä\nb\x1b[31m", "changes": ("x\ny",)})
    line = odd.encode()
    assert line.isascii() and "\n" not in line
    assert Receipt.parse(line) == odd


def test_a_run_that_changed_everything_has_a_short_receipt() -> None:
    many = Receipt(**{**vars(RECEIPT), "changes": tuple("x" * 5000 for _ in range(1000))})
    found = Receipt.parse(many.encode())
    assert found is not None
    assert (len(found.changes), found.changes[-1]) == (MOST_CHANGES + 1, f"and {1000 - MOST_CHANGES} more")
    assert len(many.encode()) < 30_000


@given(st.text() | JSON.map(json.dumps) | st.binary().map(lambda data: data.decode("latin-1")))
def test_a_damaged_line_is_left_out(line: str) -> None:
    assert read([line, RECEIPT.encode()])[-1] == RECEIPT
    assert Snapshot.parse(line) is None or json.loads(line)["id"]


@given(st.sampled_from(FIELDS), JSON)
def test_a_field_of_another_kind_is_no_receipt_or_a_whole_one(name: str, value: Any) -> None:
    found = Receipt.parse(json.dumps({**json.loads(RECEIPT.encode()), name: value}))
    if found is not None:
        assert Receipt.parse(found.encode()) is not None
        assert all(isinstance(text, str) for text in (found.at, found.by, found.what, *found.changes))


@given(st.sampled_from(FIELDS))
def test_a_field_that_is_missing_is_no_receipt(name: str) -> None:
    plain = json.loads(RECEIPT.encode())
    del plain[name]
    assert Receipt.parse(json.dumps(plain)) is None or name in ("before", "after")


def test_receipts_of_two_machines_are_put_together_once_each() -> None:
    earlier = Receipt(**{**vars(RECEIPT), "id": "1", "at": "2026-11-22T10:00:00.000Z"})
    ended = Receipt(**{**vars(RECEIPT), "result": "reverted"})
    assert merged([RECEIPT, earlier], [ended]) == [earlier, ended]


@given(st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"])))
def test_a_record_that_is_damaged_does_not_hide_the_agent(text: str) -> None:
    lines = [
        *HOST,
        *AGENT,
        f"before {text}",
        f"snapshot {text}",
        f"receipt {text}",
        "runs v2026.7.1-wheel-6d6f8086",
        "end",
    ]
    seen = parse(lines).agent("maurice")
    assert seen.healthy
    assert seen.runs == "v2026.7.1-wheel-6d6f8086"


def test_what_is_under_way_is_seen() -> None:
    record = json.dumps(
        {"id": "1", "at": "then", "what": "upgrade", "release": "a", "to": "b", "schema": 11, "database": True}
    )
    seen = parse([*HOST, *AGENT, f"before {record}", f"snapshot {record}", f"receipt {RECEIPT.encode()}", "end"]).agent(
        "maurice"
    )
    assert seen.under_way == Snapshot("1", "then", "upgrade", "a", "b", 11, True)
    assert (seen.snapshots, seen.last_change) == ((seen.under_way,), RECEIPT)
