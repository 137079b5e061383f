"""What goes to a narrow terminal is folded at words; what goes elsewhere is as it was."""

from __future__ import annotations

import io
import os
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.output import folded

WORDS = st.lists(st.text("abc-/.:", min_size=1, max_size=60), max_size=30)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(WORDS, st.integers(40, 120))
def test_no_word_is_broken_and_no_line_is_longer_than_it_must_be(words: list[str], columns: int) -> None:
    with patch.dict(os.environ, {"COLUMNS": str(columns)}):
        text = folded(" ".join(words), "    ", stream=Terminal())
    assert text.split() == words
    for line in text.split("\n"):
        assert len(line) <= columns or len(line.split()) == 1


@given(st.text(max_size=200))
def test_elsewhere_nothing_is_changed(text: str) -> None:
    assert folded(text, "  ", stream=io.StringIO()) == text


def test_lines_stay_lines() -> None:
    with patch.dict(os.environ, {"COLUMNS": "80"}):
        assert folded("one\n  two\n\nthree", "  ", stream=Terminal()) == "one\n  two\n\nthree"
