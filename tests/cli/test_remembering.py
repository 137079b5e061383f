"""What is remembered of agents' files from one look to the next."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pyinfra_hermes.cli.remembering import Remembered
from pyinfra_hermes.cli.state.records import Host
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.facts.contents import Contents
from pyinfra_hermes.facts.observation import AgentState, Observation, parse
from tests.facts.captured import WHOLE

DEN = Host(name="den", address="192.0.2.7", user="root")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pyinfra-hermes" / "contents"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


def test_what_a_host_told_is_there_the_next_time_for_nobody_else(cache: Path, state: State) -> None:
    observed = parse(WHOLE)
    assert Remembered(state, DEN).contents == {}
    Remembered(state, DEN).keep(observed)
    assert Remembered(state, DEN).contents == {"maurice": observed.agent("maurice").contents}
    (file,) = cache.iterdir()
    assert (file.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o600, 0o700)
    # Another host, the same name elsewhere, and the same host on another record.
    assert Remembered(state, DEN.model_copy(update={"name": "wolf"})).contents == {}
    assert Remembered(state, DEN.model_copy(update={"address": "192.0.2.8"})).contents == {}
    assert Remembered(State.open(cache / "other"), DEN).contents == {}


def test_it_is_written_only_when_something_is_new(cache: Path, state: State) -> None:
    Remembered(state, DEN).keep(parse(WHOLE))
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns, file.stat().st_ino
    Remembered(state, DEN).keep(parse(WHOLE))
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    Remembered(state, DEN).keep(_of("maurice", Contents("- - -", ())))
    assert Remembered(state, DEN).contents == {"maurice": Contents("- - -", ())}


@pytest.mark.parametrize("hours", [25, -2])
def test_what_was_told_is_believed_for_a_day_and_asked_for_anew(hours: int, cache: Path, state: State) -> None:
    Remembered(state, DEN).keep(parse(WHOLE))
    (file,) = cache.iterdir()
    os.utime(file, (0, time.time() - 23 * 3600))
    assert "maurice" in Remembered(state, DEN).contents
    os.utime(file, (0, time.time() - hours * 3600))
    again = Remembered(state, DEN)
    assert again.contents == {}
    again.keep(parse(WHOLE))
    assert "maurice" in Remembered(state, DEN).contents


def test_what_nobody_wrote_for_months_goes(cache: Path, state: State) -> None:
    Remembered(state, DEN).keep(parse(WHOLE))
    (old,) = cache.iterdir()
    os.utime(old, (0, time.time() - 61 * 86400))
    Remembered(state, DEN.model_copy(update={"name": "wolf"})).keep(parse(WHOLE))
    assert [file.exists() for file in (old, *cache.iterdir())] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"version": 1}',
        "VERSION[]",
        'VERSION{"a": 7}',
        'VERSION{"a": {"digests": "x", "lines": 5}}',
    ],
)
def test_what_is_spoilt_is_forgotten(text: str, cache: Path, state: State) -> None:
    Remembered(state, DEN).keep(parse(WHOLE))
    (file,) = cache.iterdir()
    version = json.loads(file.read_text())["version"]
    if text.startswith("VERSION"):
        text = json.dumps({"version": version})[:-1] + f', "agents": {text.removeprefix("VERSION")}}}'
    file.write_text(text)
    assert Remembered(state, DEN).contents == {}
    Remembered(state, DEN).keep(parse(WHOLE))
    assert "maurice" in Remembered(state, DEN).contents


def test_that_it_cannot_be_kept_is_no_trouble(cache: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    Remembered(state, DEN).keep(parse(WHOLE))
    assert Remembered(state, DEN).contents == {}
    cache.unlink()
    Remembered(state, DEN).keep(_of("maurice", Contents("- - -", ("x" * 5_000_000,))))
    assert not cache.exists()


def test_somebody_without_a_home_remembers_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    Remembered(state, DEN).keep(parse(WHOLE))
    assert Remembered(state, DEN).contents == {}


def _of(name: str, contents: Contents) -> Observation:
    observed = parse(WHOLE)
    return Observation(observed.host, {name: AgentState(name, contents=contents)}, (), {}, None)
