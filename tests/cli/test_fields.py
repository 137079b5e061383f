"""From a declaration to options, questions and answers: every kind of field, and what is refused at the field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli import asking
from pyinfra_hermes.cli.catalogues import fields
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.deploys.model import channels, providers
from pyinfra_hermes.deploys.model.declaration import Declaration, Field, InvalidSetting, Value
from pyinfra_hermes.deploys.model.integrations import CATALOGUE as INTEGRATIONS
from pyinfra_hermes.deploys.model.memory import CATALOGUE as MEMORY
from pyinfra_hermes.deploys.model.secret import Secret


def _short(value: str) -> str:
    if len(value) > 8:
        raise ValueError("is too long")
    return value


EVERYTHING = Declaration(
    name="everything",
    title="Everything",
    fields=(
        Field("word", "Word", "text", "a word", shape=_short),
        Field("address", "Address", "url", "an address", required=False),
        Field("count", "Count", "integer", "a number", required=False, between=(2, 9)),
        Field("loud", "Loud", "flag", "whether it is", required=False),
        Field("colour", "Colour", "choice", "which one", required=False, choices=("red", "blue")),
        Field("people", "People", "list", "who", required=False),
        Field("headers", "Headers", "mapping", "more", required=False),
        Field("token", "Token", "secret", "of the service", shape=_short, variable="SERVICE_TOKEN"),
        Field("other", "Other", "secret", "not needed", required=False),
    ),
    credential_url="https://example.com",
)
FEWER = Declaration(
    name="fewer",
    title="Fewer",
    fields=(Field("word", "Word", "text", "another"),),
    credential_url="https://example.com",
)


def run(*arguments: str, prefix: str = "", stdin: str = "", records: Mapping[str, Value] | None = None) -> Result:
    """Run a command with the options of an entry; it prints what was given."""

    @click.command()
    @fields.field_options([EVERYTHING, FEWER], prefix=prefix)
    def command(**values: Any) -> None:
        found = fields.answers(EVERYTHING, values, prefix=prefix, options=records or {})
        click.echo({"options": found.options, "secrets": sorted(found.secrets)})

    return CliRunner().invoke(command, list(arguments), input=stdin)


def test_every_kind_of_field_is_an_option(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("geheim\n")
    done = run(
        "--word", "hello", "--address", "https://example.com/", "--count", "3", "--no-loud", "--colour", "red",
        "--people", "ann,bob", "--people", "ann", "--people", "eve", "--headers", "A=1=2", "--headers", "B=",
        "--token-file", str(tmp_path / "token"), "--other-stdin", stdin="x",
    )  # fmt: skip
    assert done.exception is None, done.output
    assert done.stdout == (
        "{'options': {'word': 'hello', 'address': 'https://example.com', 'count': 3, 'loud': False, 'colour': 'red', "
        "'people': ['ann', 'bob', 'eve'], 'headers': {'A': '1=2', 'B': ''}}, 'secrets': ['other', 'token']}\n"
    )


def test_no_secret_can_be_a_flags_value() -> None:
    for catalogue in (providers.CATALOGUE, channels.CATALOGUE, INTEGRATIONS, MEMORY):
        for entry in catalogue.values():

            @click.command()
            @fields.field_options([entry])
            def command(**values: Any) -> None: ...

            flags = {flag for parameter in command.params for flag in parameter.opts}
            for f in entry.secrets:
                own = {flag for flag in flags if flag.startswith("--" + f.name.replace("_", "-"))}
                assert own - {"--" + f.name.replace("_", "-") + way for way in ("-stdin", "-file", "-reference")} <= {
                    "--" + other.name.replace("_", "-") for other in entry.fields if not other.secret
                }, own


def test_help_says_which_entries_an_option_is_for() -> None:
    shown = run("--help").output
    assert "Word: each type has its own, see types." in " ".join(shown.split())
    assert "Count: a number. [everything]" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--word", "much too long"], "Word: is too long"),
        (["--address", "ftp://x"], "Address: URL must start with http"),
        (["--count", "1"], "Count: '1' is not a whole number from 2 to 9"),
        (["--count", "many"], "Count: 'many' is not a whole number"),
        (["--headers", "novalue"], "Headers: give each as NAME=VALUE"),
        (["--headers", "=x"], "Headers: give each as NAME=VALUE"),
        (["--token-stdin", "--other-stdin"], "--token-stdin and --other-stdin ask for two"),
        (["--token-stdin", "--token-reference", "env:X"], "Give Token one way only"),
        (["--token-reference", "geheim"], "give a reference"),
        (["--token-file", "/does/not/exist"], "cannot be read"),
        ([], "Word is missing and there is no terminal to ask at"),
        (["--word", "x"], "Token is missing and there is no terminal to ask at"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(arguments: list[str], says: str) -> None:
    done = run(*arguments, stdin="geheim")
    assert says in str(done.exception), done.output


def test_a_missing_answer_names_its_flag() -> None:
    plain, secret = run(prefix="x").exception, run("--x-word", "y", prefix="x").exception
    assert isinstance(plain, Problem) and plain.remedy == "Give it with --x-word"
    assert isinstance(secret, Problem)
    assert secret.remedy == "Give it with --x-token-stdin, --x-token-file or --x-token-reference"


def test_a_wrong_secret_is_refused_without_being_repeated() -> None:
    done = run("--word", "x", "--token-stdin", stdin="a-secret-that-is-too-long")
    assert "Token: is too long" in str(done.exception)
    assert "a-secret" not in str(done.exception) + done.output


def test_options_of_another_entry_are_refused() -> None:
    with pytest.raises(Problem, match=r"fewer has no field 'count' \(--count\)"):
        fields.given(FEWER, {"field_word": "x", "field_count": "3"})


def test_what_is_on_record_is_not_asked_for() -> None:
    found = fields.answers(EVERYTHING, {}, options={"word": "there"}, secrets=["token"])
    assert not found
    assert fields.check(EVERYTHING, found, options={"word": "there"}, secrets=["token"]) == {"word": "there"}
    with pytest.raises(InvalidSetting, match="lacks its Token"):
        fields.check(EVERYTHING, found, options={"word": "there"}, secrets=[])


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True), st.text(max_size=12), max_size=4))
def test_a_mapping_survives_the_prompt(headers: dict[str, str]) -> None:
    import shlex

    [f] = [f for f in EVERYTHING.fields if f.name == "headers"]
    spelled = fields.shown(f, headers)
    assert fields.parse(f, shlex.split(spelled) if headers else []) == headers


class _Typed:
    """A person whose answers are written down beforehand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.asked: list[str] = []
        self._left = list(answers)
        monkeypatch.setattr(asking, "interactive", lambda: True)
        monkeypatch.setattr(click, "prompt", self._answer)

    def _answer(self, label: str, **how: Any) -> str:
        self.asked.append(label)
        return self._left.pop(0) or str(how["default"])


def test_questions_are_asked_until_the_answer_is_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_name = {f.name: f for f in EVERYTHING.fields}
    person = _Typed(monkeypatch, "", "1", "2")
    assert fields.ask(by_name["count"], "--count") is None
    assert fields.ask(by_name["count"], "--count") == 2
    assert len(person.asked) == 3
    assert "'1' is not a whole number from 2 to 9" in capsys.readouterr().err

    _Typed(monkeypatch, "")
    assert fields.ask(by_name["count"], "--count", 7) == 7
    _Typed(monkeypatch, "-")
    assert fields.ask(by_name["count"], "--count", 7) is None
    _Typed(monkeypatch, "", "word")
    assert fields.ask(by_name["word"], "--word") == "word"
    _Typed(monkeypatch, "yes")
    assert fields.ask(by_name["loud"], "--loud") is True
    _Typed(monkeypatch, "'A=1 2' B=3")
    assert fields.ask(by_name["headers"], "--headers") == {"A": "1 2", "B": "3"}
    _Typed(monkeypatch, "much too long", "short")
    assert fields.ask_secret(by_name["token"], "--token") == Secret("short")
    _Typed(monkeypatch, "")
    assert fields.ask_secret(by_name["token"], "--token", kept=True) is None
    for back in ("<", "back", " BACK "):
        _Typed(monkeypatch, back)
        with pytest.raises(asking.Back):
            fields.ask(by_name["word"], "--word", back=True)


def test_back_goes_to_the_question_that_was_asked_before() -> None:
    seen: list[str] = []

    def step(name: str, *outcomes: bool | None) -> Any:
        left = list(outcomes)

        def ask() -> bool:
            seen.append(name)
            outcome = left.pop(0)
            if outcome is None:
                raise asking.Back
            return outcome

        return ask

    # The second asks nothing, so going back from the third passes over it.
    assert asking.in_order(step("a", True, True), step("b", False, False), step("c", None, True))
    assert seen == ["a", "b", "c", "a", "b", "c"]
    with pytest.raises(asking.Back):
        asking.in_order(step("a", None))
