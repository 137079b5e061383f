"""Receipts on this machine: the last ones, private, whatever the file held before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state import receipts
from pyinfra_hermes.cli.state.inspection import inspect
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.facts.receipts import Receipt

RECEIPT = Receipt(
    "1", "2026-11-22T23:50:10.002Z", "ada@desk", "maurice", "upgrade", "a", "b", (), "applied", "", "0.1.0"
)


def test_receipts_are_kept_by_host_and_agent(state: State, path: Path) -> None:
    assert receipts.read(state, "wolf-i", "maurice") == []
    receipts.add(state, "wolf-i", [])
    assert not path.exists()
    receipts.add(state, "wolf-i", [RECEIPT])
    receipts.add(state, "wolf-ii", [replace(RECEIPT, id="2")])
    receipts.add(state, "wolf-i", [replace(RECEIPT, id="3"), replace(RECEIPT, id="4", agent="agnes")])
    assert [each.id for each in receipts.read(state, "wolf-i", "maurice")] == ["1", "3"]
    assert (path / receipts.FILENAME).stat().st_mode & 0o777 == 0o600
    assert not [name for name in path.iterdir() if name.suffix == ".new"]


def test_a_damaged_file_loses_what_is_damaged(state: State, path: Path) -> None:
    receipts.add(state, "wolf-i", [RECEIPT])
    with (path / receipts.FILENAME).open("ab") as file:
        file.write(b'\xff\x00\n[]\n{"host": "wolf-i", "receipt": 7}\n{"host": "wolf-i"}\n{"half')
    receipts.add(state, "wolf-i", [replace(RECEIPT, id="2")])
    assert [each.id for each in receipts.read(state, "wolf-i", "maurice")] == ["1", "2"]


def test_the_file_does_not_grow_for_ever(state: State, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MOST", 3)
    for number in range(5):
        receipts.add(state, "wolf-i", [replace(RECEIPT, id=str(number))])
    assert [each.id for each in receipts.read(state, "wolf-i", "maurice")] == ["2", "3", "4"]


def test_the_file_is_one_of_ours(filled: State, path: Path) -> None:
    receipts.add(filled, "wolf-i", [RECEIPT])
    assert receipts.FILENAME not in str(inspect(filled.directory).findings)


def test_how_a_run_ended_is_said_in_its_receipt() -> None:
    assert receipts.concluded(RECEIPT, None, went_back=False) == RECEIPT
    assert receipts.concluded(RECEIPT, "why\nmore", went_back=True).result == "reverted"
    failed = receipts.concluded(RECEIPT, "why\nmore", went_back=False)
    assert (failed.result, failed.reason) == ("failed", "why")
