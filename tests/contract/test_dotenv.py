"""A value that ``dotenv.check`` accepts arrives unchanged, in python-dotenv and in Hermes' own loader."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import dotenv as python_dotenv
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import dotenv
from pyinfra_hermes.deploys.model.dotenv import CannotEncode

from .values import FRAGMENTS, UNICODE, draw

HEADER = 'Managed: "quotes", ${EXPANSIONS}\nand A=B.'
NAMES = ("VALUE", "OTHER_API_KEY", "A_TOKEN")


def acceptable(name: str, value: str) -> bool:
    try:
        dotenv.check(name, value)
    except CannotEncode:
        return False
    return True


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})


@settings(max_examples=500)
@example(before="", value="\\", after='"')
@example(before="\\", value="\\\\", after="x y")
@example(before="a", value="${VALUE}${BEFORE}$", after="${VALUE}")
@example(before="a", value="'", after="'")
@given(
    before=st.text(max_size=20),
    value=st.text(max_size=60) | st.lists(st.sampled_from(FRAGMENTS + UNICODE), max_size=8).map("".join),
    after=st.lists(st.sampled_from(FRAGMENTS), max_size=4).map("".join),
)
def test_python_dotenv_reads_back_exactly_what_is_accepted(before: str, value: str, after: str) -> None:
    variables = {"BEFORE": before, "VALUE": value, "AFTER": after}
    assume(all(acceptable(name, text) for name, text in variables.items()))
    document = dotenv.document(variables, HEADER)
    assert dict(python_dotenv.dotenv_values(stream=StringIO(document), interpolate=True)) == variables
    assert len(document.splitlines()) == 2 + len(variables)


@given(st.text(max_size=30))
def test_what_is_refused_is_named_without_the_value(value: str) -> None:
    try:
        dotenv.check("A_TOKEN", f"hunter2{value}hunter2")
    except CannotEncode as error:
        assert "hunter2" not in str(error)
        assert str(error).startswith("A_TOKEN contains the ")


@pytest.mark.parametrize(
    "value", ["\0", "\r", "\x1b", "\x7f", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ud800"]
)
def test_what_cannot_arrive_is_refused(value: str) -> None:
    assert not acceptable("VALUE", f"a{value}b")


@pytest.mark.parametrize("name", ["X_API_KEY", "X_TOKEN", "X_SECRET", "X_KEY"])
def test_a_credential_with_a_lookalike_is_refused(name: str) -> None:
    # Hermes would drop the character and send the rest.
    assert not acceptable(name, "sk-ʋ")
    assert acceptable("X_NAME", "sk-ʋ")


@pytest.mark.parametrize("name", ["", "a", "A B", "A=", "1A", "_A", "A\n", "A-B", "É", "HERMES_NIL"])
def test_what_is_no_name_of_ours(name: str) -> None:
    # With HERMES_NIL set, every spelled-out character would turn into its value.
    assert not acceptable(name, "x")


def test_plain_values_are_not_quoted_so_that_every_reader_agrees() -> None:
    assert dotenv.assignment("A", "0f" * 32) == f"A={'0f' * 32}"
    assert dotenv.assignment("A", "http://h:1/v1") == "A=http://h:1/v1"
    assert dotenv.assignment("A", "") == "A="
    assert dotenv.assignment("A", "a b") == 'A="a b"'


def loads(in_hermes: Callable[..., Any], batches: list[dict[str, str]]) -> None:
    documents = [dotenv.document(batch, HEADER) for batch in batches]
    for batch, document, result in zip(batches, documents, in_hermes("load_dotenv", documents), strict=True):
        assert result["loaded"] == batch
        assert result["file"] == document


def test_hermes_reads_back_hundreds_of_values_and_leaves_the_file_alone(in_hermes: Callable[..., Any]) -> None:
    texts = draw(1, 3000, UNICODE)
    drawn = [
        {name: text for name, text in zip(NAMES, texts[i : i + 3], strict=True) if acceptable(name, text)}
        for i in range(0, len(texts), 3)
    ]
    assert sum(map(len, drawn)) > 2000
    loads(in_hermes, drawn)


@pytest.mark.parametrize("value", ["a b\\", "\\", "\\\\", 'a\\"', "${X}\\", "A=\\", "${HERMES_NIL:-}"])
def test_the_end_of_one_value_does_not_swallow_the_next(in_hermes: Callable[..., Any], value: str) -> None:
    # Else a provider's key could take the key of the API away, and 0.13 serves without one.
    loads(in_hermes, [{"CUSTOM_API_KEY": value, "OTHER": "x y", "API_SERVER_KEY": "0f" * 32}])


def test_hermes_splits_no_line_at_a_name_that_it_knows(in_hermes: Callable[..., Any]) -> None:
    known = in_hermes("known_names", None)
    assert len(known) > 100
    batches = []
    for i, name in enumerate(known):
        other = known[i - 1]
        batches.append({name: f"x{other}=y", "OTHER": f"{name}={other}={name}=", f"MY_{name}": f"{other}= {name}=*** "})
    loads(in_hermes, batches)


def test_the_check_on_splitting_can_fail(in_hermes: Callable[..., Any]) -> None:
    document = 'OTHER="x OPENAI_API_KEY=y"\nAPI_SERVER_KEY=fooOPENAI_API_KEY=bar\n'
    [result] = in_hermes("load_dotenv", [document])
    assert result["file"] != document
