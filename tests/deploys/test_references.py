"""Secrets that an inventory only names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.references import UnresolvedSecret, resolve


def refused(reference: str, name: str = "X_KEY") -> str:
    with pytest.raises(UnresolvedSecret) as caught:
        resolve({name: reference})
    return str(caught.value)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "x.key"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    return path


def test_a_file_without_its_last_newline(key: Path) -> None:
    assert resolve({"X_KEY": f"file:{key}"}) == {"X_KEY": Secret("hunter2")}
    key.write_text("hunter2\n\n")
    assert resolve({"X_KEY": f"file:{key}"}) == {"X_KEY": Secret("hunter2\n")}


def test_a_file_below_the_home_of_who_asks(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(key.parent))
    assert resolve({"X_KEY": "file:~/x.key"}) == {"X_KEY": Secret("hunter2")}


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "hunter2")
    assert resolve({"X_KEY": "env:X"}) == {"X_KEY": Secret("hunter2")}
    monkeypatch.setenv("X", "")
    assert refused("env:X") == "X_KEY: the environment variable X is not set"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(key: Path, mode: int) -> None:
    key.chmod(mode)
    assert refused(f"file:{key}") == f"X_KEY: {key} can be read by others. Mend it with: chmod 600 {key}"


@pytest.mark.parametrize("reference", ["hunter2", "file:", "env:", "", "FILE:/x", "https://x"])
def test_a_secret_itself_is_refused_and_not_repeated(reference: str) -> None:
    said = refused(reference)
    assert said.startswith("X_KEY: give a reference (file:PATH, env:VARIABLE, cmd:COMMAND, op://VAULT/ITEM/FIELD, ")
    assert not reference or reference in ("file:", "env:") or reference not in said


def test_an_empty_a_missing_and_an_unreadable_file(key: Path, tmp_path: Path) -> None:
    assert refused(f"file:{tmp_path}/none") == (
        f"X_KEY: {tmp_path}/none does not exist. Make it with: umask 077; cat >{tmp_path}/none"
    )
    assert "openssl rand -hex 32" in refused(f"file:{tmp_path}/none", "HERMES_API_SERVER_KEY")
    assert refused(f"file:{tmp_path}") == f"X_KEY: {tmp_path} cannot be read: IsADirectoryError"
    key.write_text("\n")
    assert refused(f"file:{key}") == f"X_KEY: {key} is empty"
    key.write_bytes(b"hunter2\xff")
    assert refused(f"file:{key}") == f"X_KEY: {key} cannot be read: UnicodeDecodeError"
