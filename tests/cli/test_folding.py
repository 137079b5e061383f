"""What goes to a narrow terminal is folded at words, and fits; what goes elsewhere is as it was."""

from __future__ import annotations

import io
import os
import sys
from unittest.mock import patch

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.main import show
from pyinfra_hermes.cli.output import cell_width, fitted, folded, render
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.watching import fitting

WORDS = st.lists(st.text("abc-/.:", min_size=1, max_size=60), max_size=30)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@settings(deadline=None)
@given(WORDS, st.integers(40, 120))
def test_no_word_is_broken_and_no_line_is_longer_than_it_must_be(words: list[str], columns: int) -> None:
    with patch.dict(os.environ, {"COLUMNS": str(columns)}):
        text = folded(" ".join(words), "    ", stream=Terminal())
    assert text.split() == words
    for line in text.split("\n"):
        assert len(line) <= columns or len(line.split()) == 1


@settings(deadline=None)
@given(st.text(max_size=200))
def test_elsewhere_nothing_is_changed(text: str) -> None:
    assert folded(text, "  ", stream=io.StringIO()) == text


def test_lines_stay_lines() -> None:
    with patch.dict(os.environ, {"COLUMNS": "80"}):
        assert folded("one\n  two\n\nthree", "  ", stream=Terminal()) == "one\n  two\n\nthree"


COMMAND = "clm agent configure wolf-i/maurice --provider local --from a-file-in-a-folder/that-is-far-away/maurice.yaml"


@pytest.mark.parametrize(
    "text",
    [
        f"To go on: {COMMAND}",
        f"Run '{COMMAND}' first.",
        f"{COMMAND}; and when that is done there is nothing left to do but to wait until it has come to its end",
        f"There is a sentence before it, longer than a line of the terminal is wide, and then: {COMMAND}",
        "On the host, as root: sshd -T | grep -Ei 'allow|deny|authorizedkeys|pubkey' | sort | uniq -c | sort --numeric",
        "mv /home/somebody/.config/clawrium/secrets.json '/home/somebody/.config/clawrium/secrets of the other.json'",
    ],
)
def test_a_command_stays_on_one_line_however_long_it_is(text: str) -> None:
    with patch.dict(os.environ, {"COLUMNS": "80"}):
        lines = folded(f"  {text}", "    ", stream=Terminal()).split("\n")
    command = COMMAND if COMMAND in text else text.removeprefix("On the host, as root: ")
    assert [line for line in lines if command in line]
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= 80 for line in lines if command not in line)


@pytest.mark.parametrize("columns", [80, 1000])
def test_a_problem_is_folded_at_a_terminal_and_its_command_is_not(columns: int) -> None:
    sentence = "Agent wolf-i:hermes:maurice is not what is on record, and nothing of it was changed"
    with patch.dict(os.environ, {"COLUMNS": str(columns)}), patch.object(sys, "stderr", Terminal()) as stderr:
        show(Problem(f"{sentence}:\n- one\n- two", f"To go on, when that is as it should be: {COMMAND}"))
    lines = click.unstyle(stderr.getvalue()).splitlines()
    assert f"{sentence}:".startswith(lines[0].removeprefix("Error: "))
    assert len(lines[0]) <= columns
    assert (lines[0] == f"Error: {sentence}:") is (columns == 1000)
    assert [line for line in lines if line.startswith("- ")] == ["- one", "- two"]
    assert lines[-1].endswith(COMMAND)
    assert (lines[-1].strip() == COMMAND) is (columns == 80)


CELLS = st.lists(st.lists(st.text("ab -/:", max_size=50), min_size=4, max_size=4), min_size=1, max_size=6)


@settings(deadline=None)
@given(CELLS, st.integers(40, 140))
def test_a_table_fits_its_terminal_and_what_is_typed_stays_whole(rows: list[list[str]], columns: int) -> None:
    names = ["NAME", "WHAT IT IS", "WHERE", "WHY"]
    with patch.dict(os.environ, {"COLUMNS": str(columns)}), patch.object(sys, "stdout", Terminal()):
        lines = [click.unstyle(line) for line in render(names, rows, "", whole=("NAME",)).split("\n")]
    longest = max(len(word) for word in ["NAME", *(word for row in rows for word in row[0].split())])
    # The others may be as narrow as four, and there is a gap before each.
    assert all(len(line) <= max(columns, longest + 3 * (2 + 4)) for line in lines)
    for row in rows:
        assert all(any(word in line for line in lines) for word in row[0].split())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), min_size=1, max_size=8), st.integers(0, 300))
def test_columns_take_what_there_is_and_no_more(columns: list[tuple[int, int]], room: int) -> None:
    wanted, least = [low + more for low, more in columns], [low for low, _ in columns]
    widths = fitted(wanted, least, room, [False] * len(columns))
    if sum(least) <= room:
        assert all(low <= width <= most for low, width, most in zip(least, widths, wanted, strict=True))
        assert sum(wanted) - sum(widths) == max(0, sum(wanted) - room), "no room is left where somebody wants it"
    else:
        assert sum(widths) <= max(room, 4 * len(columns))


@settings(deadline=None)
@given(st.lists(st.text("ab\N{CJK UNIFIED IDEOGRAPH-4E00} ", max_size=200), max_size=40), st.integers(5, 50))
def test_a_watch_shows_no_more_than_there_is_room_for(lines: list[str], most: int) -> None:
    shown = fitting(lines, most, 80)
    assert sum(max(1, -(-cell_width(line) // 80)) for line in shown) <= most
    if shown != lines:
        left = len(lines) - len(shown) + 1
        assert shown == [*lines[: len(shown) - 1], f"... and {left} more line{'s' if left > 1 else ''}"]
