"""A standard output that has not all characters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Provider
from pyinfra_hermes.cli.state.store import State
from tests.lab.clm import Terminal

SHOW = [sys.executable, "-m", "pyinfra_hermes.cli", "provider", "show", "local"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    with State.open(tmp_path / "clawrium").transaction() as tx:
        tx.providers["local"] = Provider(
            name="local", type="ollama", options={"url": "http://192.0.2.1", "model": "łódź"}
        )
    return {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONIOENCODING": "latin-1"}


def test_a_terminal_shows_others_for_them(environment: dict[str, str]) -> None:
    with Terminal(SHOW, environment) as terminal:
        assert terminal.end() == Exit.DONE
        # What is read here takes the one that Latin-1 has for no UTF-8.
        assert "?\N{REPLACEMENT CHARACTER}d?" in terminal.text


@pytest.mark.parametrize("arguments", [[], ["-o", "yaml"]], ids=["for people", "for programs"])
def test_what_goes_into_a_file_is_never_changed(environment: dict[str, str], arguments: list[str]) -> None:
    done = subprocess.run([*SHOW, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert "?" not in done.stdout and "Traceback" not in done.stderr
    if done.returncode != Exit.DONE:
        assert "Standard output is latin-1, which has no '\\u0142'" in done.stderr
        assert "PYTHONIOENCODING=utf-8" in done.stderr
    else:
        assert "\\u0142" in done.stdout, "the format has a way to write it"


def test_in_utf_8_all_is_well(environment: dict[str, str]) -> None:
    done = subprocess.run(SHOW, env={**environment, "PYTHONIOENCODING": "utf-8"}, capture_output=True, check=True)
    assert "łódź" in done.stdout.decode()
