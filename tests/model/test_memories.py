"""
Memory files: their entries and characters as Hermes counts them, and what is refused.

L_1 to L_11 in names: the bugs of the predecessor's memory commands, one test for each.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.memories import (
    FILES,
    SEPARATOR,
    InvalidMemory,
    TooLong,
    decoded,
    difference,
    memory_file,
)

MEMORY, USER, SOUL = (FILES[name] for name in ("MEMORY.md", "USER.md", "SOUL.md"))
TEXTS = st.lists(st.sampled_from(["§", "\n", "\n§\n", "\r\n", " ", "a", "bees", "日", "\u2029"])).map("".join)


@pytest.mark.parametrize(("file", "limit"), [(MEMORY, 2200), (USER, 1375), (SOUL, 3000)])
@pytest.mark.parametrize("letter", ["x", "日", "\U0001f41d"])
def test_a_limit_is_in_characters_and_exact(file: object, limit: int, letter: str) -> None:
    assert isinstance(file, type(MEMORY))
    assert file.limit == limit
    assert file.characters(file.check(letter * limit, limit)) == limit
    with pytest.raises(TooLong, match=rf"^hermes memory file '{file.name}' exceeds character limit \({limit + 1} > "):
        file.check(letter * (limit + 1), limit)


def test_a_newline_that_an_editor_adds_is_not_counted() -> None:
    # The predecessor refused a text of exactly 1375 characters once vi had ended its last line.
    assert len(USER.check("x" * 1375 + "\n", 1375)) == 1375
    assert SOUL.characters(SOUL.check("x" * 3000, 3000)) == 3000


@pytest.mark.parametrize("name", ["notes.md", "memory/x.md", "../USER.md", "/etc/passwd", "user.md", "", "USER.md\n"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidMemory, match=r"^hermes memory accepts only MEMORY\.md and USER\.md"):
        memory_file(name)


def test_L_10_the_limits_are_in_one_place_and_a_user_can_change_them() -> None:
    assert MEMORY.limit_by({"memory.memory_char_limit": 5000}) == 5000
    assert USER.limit_by({"memory.memory_char_limit": 5000}) == 1375
    for nonsense in ("5000", True, 0, -1, None, [5000]):
        assert MEMORY.limit_by({"memory.memory_char_limit": nonsense}) == 2200
    assert SOUL.limit_by({"memory.memory_char_limit": 5000}) == 3000


@given(TEXTS)
def test_what_is_stored_stays_as_it_is_with_the_same_entries(text: str) -> None:
    for file in (MEMORY, SOUL):
        stored = file.stored(text)
        assert file.stored(stored) == stored
        assert file.characters(stored) == len(stored.strip())
        # Everything else is as Hermes reads it.
        if not any(line.strip() == "§" for entry in file.entries(text) for line in entry.split("\n")):
            assert file.entries(stored) == file.entries(text)


@given(TEXTS)
def test_entries_are_without_space_around_them_none_empty_none_twice(text: str) -> None:
    entries = MEMORY.entries(text)
    assert all(entry and entry == entry.strip() and SEPARATOR not in entry for entry in entries)
    assert len(set(entries)) == len(entries)


@given(st.lists(st.text("ab §", min_size=1).filter(lambda t: t.strip() == t and t != "§"), unique=True))
def test_entries_come_back(entries: list[str]) -> None:
    assert list(MEMORY.entries(SEPARATOR.join(entries))) == entries


def test_a_section_sign_within_an_entry_does_not_split_it() -> None:
    assert MEMORY.entries("See § 3.\n§ 4 too\n§\nbees") == ("See § 3.\n§ 4 too", "bees")


def test_an_entry_is_one() -> None:
    assert USER.check_entry("  Keeps bees.\n") == "Keeps bees."
    for text in ("", " \n", "a\n§\nb"):
        with pytest.raises(InvalidMemory):
            USER.check_entry(text)
    with pytest.raises(InvalidMemory, match="no entries"):
        SOUL.check_entry("x")


def test_what_cannot_be_carried_is_refused() -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(InvalidMemory):
            MEMORY.check(text, 2200)


@given(st.binary(max_size=40))
def test_L_6_bytes_that_are_no_text_are_refused_in_a_sentence(content: bytes) -> None:
    try:
        assert decoded(USER, content).encode() == content
    except InvalidMemory as error:
        assert "is not UTF-8, from byte" in str(error)


@pytest.mark.parametrize("text", ["{a: b}", "{{ x }}", "- a\n- b", "null", "!!python/object", "'", "%s %d {0}", "\\n"])
def test_L_7_a_text_that_looks_like_something_else_stays_as_it_is(text: str) -> None:
    assert USER.check(text, 1375) == text


def test_what_differs_is_told_by_entries() -> None:
    assert difference(MEMORY, "a\n§\nb", "b\n§\nc") == (("a",), ("c",))
