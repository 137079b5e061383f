"""A file that is not what we wrote: named with its place and a remedy, never overwritten, never shown."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.state.documents import Defect, decode, encode
from pyinfra_hermes.cli.state.errors import StateCorrupt, StateError
from pyinfra_hermes.cli.state.records import KINDS, SecretsFile
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

SENTINEL = "sk-Sentinel-7f3a"
ENTRY = {"value": SENTINEL, "created_at": "2026-05-07T12:00:00Z", "updated_at": "2026-05-07T12:00:00Z"}


def refusal(state: State) -> StateCorrupt:
    """The error of reading, which must be the error of writing as well."""
    with pytest.raises(StateCorrupt) as writing, state.transaction():
        raise AssertionError("a corrupt state must not be changed")
    with pytest.raises(StateCorrupt) as reading:
        state.read()
    assert str(reading.value) == str(writing.value)
    return reading.value


def run_remedy(error: StateError, path: Path) -> None:
    """Do what the error says, ready to lose what was added since."""
    clm, *words = shlex.split(error.remedy or "")
    assert clm == "clm"
    command = [sys.executable, "-m", "pyinfra_hermes.cli", *words, "--yes", "--force"]
    subprocess.run(command, check=True, env={**os.environ, "XDG_CONFIG_HOME": str(path.parent)})


def everything_said(error: BaseException) -> Iterator[str]:
    """All that a crash report could show of an error: its hidden context, the variables of our frames."""
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), repr(vars(seen)), repr(seen.args))
        yield "".join(traceback.format_exception(seen))
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if "/cli/state/" in frame.f_code.co_filename:
                yield repr(frame.f_locals)
        seen = seen.__cause__ or seen.__context__


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1, column 1: is not JSON (Expecting value)"),
        (b'{\n  "schema_version": 1,\n  "hosts": {\n', "line 4, column 1: is not JSON"),
        (b'{"schema_version": 1}}', "line 1, column 22: is not JSON (Extra data)"),
        (b'{"schema_version": 1,\n "hosts": {"a\xff": 1}}', "line 2, column 14: is not UTF-8"),
        (b"\xef\xbb\xbf{}", "line 1, column 1: is not JSON"),
        (b"[]", "should hold a JSON object, and holds an array"),
        (b"null", "should hold a JSON object, and holds null"),
        (b"7", "should hold a JSON object, and holds a number"),
        (b"{}", "has no schema_version, so this program did not write it"),
        (b'{"schema_version": "1"}', "has a schema_version that is not a number"),
        (b'{"schema_version": true}', "has a schema_version that is not a number"),
        (b'{"schema_version": 0}', "has schema_version 0, and this program knows 1"),
        (b'{"schema_version": 1, "hosts": {}, "hosts": {}}', "hosts: is there twice"),
        (b'{"schema_version": 1, "hosts": {"h": {"port": 1, "port": 2}}}', "hosts.h.port: is there twice"),
        (b'{"schema_version": 1, "hosts": [{"a": 1, "a": 1}]}', "hosts.0.a: is there twice"),
        (b'{"schema_version": 1, "host": {}}', "host: is not a known field"),
        (b'{"schema_version": 1, "hosts": []}', "hosts: should be an object"),
        (b'{"schema_version": 1, "hosts": {"h": 1}}', "hosts.h: should be an object"),
        (b'{"schema_version": 1, "hosts": {"a/b": {}}}', "hosts.a/b: Host name 'a/b' must start with"),
        (
            b'{"schema_version": 1, "hosts": {"h": {"name": "h", "address": "::1", "port": "22"}}}',
            "hosts.h.port: input should be a valid integer; hosts.h.user: is missing",
        ),
        (b'{"schema_version": 1, "hosts": {"h": {}, "i": {}}}', "hosts.h.user: is missing; and 3 more"),
        (b'{"schema_version": 1, "hosts": ' + b"9" * 5000 + b"}", "holds a number that is too long"),
        (b'{"schema_version": 1, "hosts": ' + b"[" * 100_000, "is nested too deeply"),
        (b'{"schema_version": 1, "hosts": ' + b"[" * 400 + b'{"a":1,"a":2}' + b"]" * 400 + b"}", ": "),
        (b'{"schema_version": 1, "hosts": ' + b"[" * 900 + b'"\\ud800"' + b"]" * 900 + b"}", ": "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(filled: State, path: Path, content: bytes, message: str) -> None:
    hosts = path / "hosts.json"
    hosts.write_bytes(content)
    error = refusal(filled)
    assert error.message.startswith(f"{hosts}: ")
    assert message in error.message
    assert "Nothing was overwritten" in error.message
    assert hosts.read_bytes() == content


def test_the_remedy_restores_the_last_good_version(filled: State, path: Path) -> None:
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].port = 2222
    path.joinpath("hosts.json").write_text("{")
    # The newest earlier version is damaged too, so the one before it is the last good one.
    path.joinpath("generations", "hosts.json.~2~").write_text("{")
    error = refusal(filled)
    assert error.remedy == "clm state restore hosts.json"
    assert f"The last good version is {path}/generations/hosts.json.~1~, of 2" in error.message
    run_remedy(error, path)
    assert filled.read().hosts["wolf-i"].agents == {}
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].port = 23
    assert path.joinpath("generations", "hosts.json.~3~").exists()


def test_a_file_of_the_predecessor_is_named(filled: State, path: Path) -> None:
    path.joinpath("integrations.json").write_text("[]")
    for earlier in path.joinpath("generations").glob("integrations.json.*"):
        earlier.unlink()
    error = refusal(filled)
    assert "It is a file of clawrium, the predecessor" in error.message
    assert error.remedy == "clm import clawrium"


def test_without_a_good_version_those_that_are_none_go_too(filled: State, path: Path) -> None:
    path.joinpath("hosts.json").write_text("{")
    path.joinpath("generations", "hosts.json.~1~").write_text("{")
    error = refusal(filled)
    subprocess.run(["sh", "-c", (error.remedy or "").rpartition(": ")[2]], check=True)
    assert dict(filled.read().hosts) == {}


def test_the_remedy_without_a_good_version_begins_anew(state: State, path: Path) -> None:
    with state.transaction():
        pass
    path.joinpath("hosts.json").write_text("{")
    path.joinpath("hosts.json").chmod(0o600)
    error = refusal(state)
    assert "There is no earlier version that is whole" in error.message
    assert error.remedy == f"Mend it by hand, or begin without it: mv {path}/hosts.json {path}/hosts.json.bad"
    subprocess.run(shlex.split(error.remedy.rpartition(": ")[2]), check=True)
    assert dict(state.read().hosts) == {}


def test_a_file_of_a_later_version_is_not_to_be_replaced_by_an_earlier_one(filled: State, path: Path) -> None:
    path.joinpath("secrets.json").write_text('{"schema_version": 2}')
    error = refusal(filled)
    assert "has schema_version 2, and this program knows 1" in error.message
    assert f"A later version of pyinfra-hermes wrote it, and this is {version('pyinfra-hermes')}" in error.message
    assert error.remedy == f"pip install --upgrade 'pyinfra-hermes>{version('pyinfra-hermes')}'"


def test_a_file_that_is_lost_is_not_an_empty_one(filled: State, path: Path) -> None:
    path.joinpath("secrets.json").unlink()
    error = refusal(filled)
    assert "is not there, although earlier versions of it are" in error.message
    run_remedy(error, path)
    assert filled.read().secrets.of("provider:cloud")


CORRUPT_SECRETS = {
    "a bare value": {"provider:p": {"API_KEY": SENTINEL}},
    "a value of another type": {"provider:p": {"API_KEY": ENTRY | {"value": [SENTINEL]}}},
    "a value that is a number": {"provider:p": {"API_KEY": ENTRY | {"value": 1, "description": SENTINEL}}},
    "a value in the place of a scope's name": {SENTINEL: {"API_KEY": ENTRY}},
    "a value in the place of a secret's name": {"provider:p": {SENTINEL: ENTRY}},
    "a value in the place of a field": {"provider:p": {"API_KEY": ENTRY | {SENTINEL: 1}}},
    "a value in the place of a moment": {"provider:p": {"API_KEY": ENTRY | {"created_at": SENTINEL}}},
    "a scope that is a value": {"provider:p": SENTINEL},
    "a scope of an unknown kind": {f"vault:{SENTINEL}": {"API_KEY": ENTRY}},
    "a field too many": {"provider:p": {"API_KEY": ENTRY | {"vaule": SENTINEL}}},
    "a field too few": {"provider:p": {"API_KEY": {"value": SENTINEL}}},
    "half a surrogate pair": {"provider:p": {"API_KEY": ENTRY | {"value": SENTINEL + "\ud800"}}},
}


@pytest.mark.parametrize("content", CORRUPT_SECRETS.values(), ids=CORRUPT_SECRETS.keys())
def test_no_error_shows_a_secret(state: State, path: Path, content: dict[str, object]) -> None:
    assert_refused_in_silence(state, path, json.dumps({"schema_version": 1} | content).encode())


REPEATED = f'{{"schema_version": 1, "provider:p": {{"{SENTINEL}": 1, "{SENTINEL}": 2}}}}'.encode()
SYNTAX = f'{{"schema_version": 1, "provider:p": {{"API_KEY": {{"value": "{SENTINEL}\n'.encode()
ESCAPE = f'{{"schema_version": 1, "provider:p": {{"API_KEY": {{"value": "\\x{SENTINEL}"}}}}}}'.encode()
BYTES = f'{{"schema_version": 1, "provider:p": "{SENTINEL}'.encode() + b"\xff"


@pytest.mark.parametrize("content", [REPEATED, SYNTAX, ESCAPE, BYTES, f'"{SENTINEL}"'.encode()])
def test_no_error_about_the_form_shows_a_secret(state: State, path: Path, content: bytes) -> None:
    assert_refused_in_silence(state, path, content)


def assert_refused_in_silence(state: State, path: Path, content: bytes) -> None:
    with state.transaction():
        pass
    file = path / "secrets.json"
    file.write_bytes(content)
    file.chmod(0o600)
    error = refusal(state)
    assert str(file) in error.message
    for text in everything_said(error):
        assert SENTINEL not in text, text
    assert file.read_bytes() == content


def test_a_place_is_named_as_far_as_it_is_safe(state: State, path: Path) -> None:
    content = {"schema_version": 1, "provider:p": {SENTINEL: ENTRY}}
    assert_refused_in_silence(state, path, json.dumps(content).encode())
    assert "provider:p → (a name not shown)" in refusal(state).message


def whole() -> bytes:
    secrets = SecretsFile()
    secrets.set("provider:p", "API_KEY", Secret(SENTINEL), description="a")
    secrets.set("h:hermes:m", "HERMES_API_SERVER_KEY", Secret(SENTINEL))
    content = encode(secrets)
    assert isinstance(content, bytes)
    return content


def test_every_truncation_is_noticed() -> None:
    content = whole()
    for length in range(len(content.rstrip())):
        defect = decode(SecretsFile, content[:length])
        assert isinstance(defect, Defect)
        assert SENTINEL not in repr(defect)


@given(st.integers(0, len(whole()) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_no_damage_makes_an_error_that_shows_a_secret(offset: int, put: bytes, removed: int) -> None:
    content = whole()
    outcome = decode(SecretsFile, content[:offset] + put + content[offset + removed :])
    assert SENTINEL not in repr(outcome)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([kind.FILENAME for kind in KINDS]), content=st.binary(max_size=60))
def test_any_file_is_read_or_refused(filled: State, path: Path, name: str, content: bytes) -> None:
    path.joinpath(name).write_bytes(content)
    with pytest.raises(StateError):
        filled.read()
    assert path.joinpath(name).read_bytes() == content
    subprocess.run(["cp", "-p", path / "generations" / f"{name}.~1~", path / name], check=False)
