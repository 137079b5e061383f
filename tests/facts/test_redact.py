"""No credential of an agent's ``.env`` comes through the filter that its journal is shown with."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import dotenv

REDACT = resources.files("pyinfra_hermes.facts").joinpath("redact.py.txt").read_text()
MARK = "********"


def redacted(env: Path, text: str, *options: str) -> str:
    result = subprocess.run(
        [sys.executable, "-I", "-c", REDACT, str(env), *options],
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return result.stdout


@pytest.fixture
def env(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.mark.parametrize(
    "name",
    ["API_SERVER_KEY", "OPENAI_API_KEY", "SLACK_BOT_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "X_CREDENTIALS_Y"],
)
def test_a_value_and_its_url_quoted_form_are_blacked_out(env: Path, name: str) -> None:
    env.write_text(f"{name}=sk/hunter2+x=\n")
    shown = redacted(env, "a sk/hunter2+x= b\nGET /?k=sk%2Fhunter2%2Bx%3D HTTP\n")
    assert shown == f"a {MARK} b\nGET /?k={MARK} HTTP\n"


def test_other_values_stay(env: Path) -> None:
    env.write_text("API_SERVER_HOST=127.0.0.1\nHERMES_INFERENCE_PROVIDER=custom\nTELEGRAM_ALLOWED_USERS=maurice1\n")
    assert redacted(env, "custom on 127.0.0.1 for maurice1\n") == "custom on 127.0.0.1 for maurice1\n"


def test_the_longer_of_two_values_wins(env: Path) -> None:
    env.write_text("A_KEY=abcdef\nB_KEY=abcdefgh\n")
    assert redacted(env, "abcdefgh abcdef\n") == f"{MARK} {MARK}\n"


def test_a_short_value_would_black_out_words(env: Path) -> None:
    env.write_text("A_KEY=abc\n")
    assert redacted(env, "abc\n") == "abc\n"


def test_each_line_of_a_value_with_several(env: Path) -> None:
    env.write_text(dotenv.document({"PEM_KEY": "-----BEGIN\nhunter2\thunter3\nend"}, "h"))
    assert redacted(env, "-----BEGIN\nhunter2\thunter3\nend\n") == f"{MARK}\n{MARK}\nend\n"


def test_comments_and_exports(env: Path) -> None:
    env.write_text("  export A_KEY = hunter22 \n")
    assert redacted(env, "hunter22\n") == f"{MARK}\n"


def test_without_a_file_or_with_an_odd_one_the_journal_is_still_shown(env: Path) -> None:
    assert redacted(env, "a line\n") == "a line\n"
    env.write_bytes(b"\xff\xfe\nA_KEY=hunter22\n")
    assert redacted(env, "a hunter22\n") == f"a {MARK}\n"


_SECRETS = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=6, max_size=40)


@pytest.mark.parametrize("value", ["hunter22\\", "${HERMES_NIL:-=}hunter", "${HERMES_NIL:-}hunter", "HUNTER=${HUNTER}"])
def test_what_is_spelled_as_an_expansion_is_known_too(env: Path, value: str) -> None:
    env.write_text(dotenv.document({"A_KEY": value}, "h"))
    assert redacted(env, f"<{value}>\n") == f"<{MARK}>\n"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(_SECRETS, min_size=1, max_size=4))
def test_whatever_we_write_into_env_never_comes_through(env: Path, values: list[str]) -> None:
    names = [f"S{number}_TOKEN" for number in range(len(values))]
    env.write_text(dotenv.document(dict(zip(names, values, strict=True)), "header"))
    # What the values are in between stays, so a part of one cannot complete another.
    told = "".join(f"\u00a7{value}\u00a7{quote(value, safe='')}\u00a7\n" for value in values)
    shown = redacted(env, told)
    for value in values:
        assert f"\u00a7{value}\u00a7" not in shown
        assert f"\u00a7{quote(value, safe='')}\u00a7" not in shown
    assert shown.count("\u00a7") == told.count("\u00a7")


@pytest.mark.parametrize(
    "message",
    ['key=sk-"quoted"-4711!', list(b'\x1b[31mkey=sk-"quoted"-4711!\xff')],
    ids=["text", "what is no plain text comes as numbers"],
)
def test_a_journal_for_a_program_is_looked_at_within_its_json(env: Path, message: object) -> None:
    env.write_text(dotenv.document({"API_KEY": 'sk-"quoted"-4711!'}, "ours"))
    said = redacted(env, json.dumps({"MESSAGE": message, "__CURSOR": "c"}) + "\nno JSON 4711\n", "json").splitlines()
    entry = json.loads(said[0])
    assert (MARK in entry["MESSAGE"], "4711" in entry["MESSAGE"], entry["__CURSOR"]) == (True, False, "c")
    assert said[1:] == ["no JSON 4711"]


def test_the_filter_ends_with_its_reader_though_nothing_comes(env: Path) -> None:
    filter_ = subprocess.Popen(
        [sys.executable, "-I", "-c", REDACT, str(env)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert filter_.stdin and filter_.stdout
    filter_.stdout.close()
    assert filter_.wait(60) == 0
    filter_.stdin.close()
