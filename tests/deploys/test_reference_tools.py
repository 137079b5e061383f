"""Secrets that a tool prints: as a list of words, with a limit, and failures that name the tool and not the secret."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinfra_hermes.deploys import references
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.references import ToolFailed, UnresolvedSecret, resolve, said_by

Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a small program on PATH that stands in for a tool which is not there: a body for /bin/sh."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n# a stand-in for {name}, for tests\n{body}\n")
        path.chmod(0o755)
        return path

    return install


def refused(reference: str) -> str:
    with pytest.raises(UnresolvedSecret) as caught:
        resolve({"X_KEY": reference})
    return str(caught.value)


def test_a_command_is_a_list_of_words_and_no_shell(install: Install, tmp_path: Path) -> None:
    install("print-args", 'for each; do printf "%s|" "$each"; done')
    reference = f"cmd:print-args 'a b' $HOME ';' 'touch {tmp_path}/owned' `id`"
    assert resolve({"X_KEY": reference}) == {"X_KEY": Secret(f"a b|$HOME|;|touch {tmp_path}/owned|`id`|")}
    assert not tmp_path.joinpath("owned").exists()


def test_1password_is_asked_with_its_own_tool(install: Install) -> None:
    install("op", '[ "$1 $2 $3" = "read --no-newline op://vault/the item/field" ] && printf from-op')
    assert resolve({"X_KEY": "op://vault/the item/field"}) == {"X_KEY": Secret("from-op")}


def test_sops_is_asked_with_its_own_tool(install: Install, tmp_path: Path) -> None:
    install(
        "sops", f'[ "$1 $2" = "-d --extract" ] && printf "%s\\n" "$3" "$4" >{tmp_path}/asked && printf "from-sops\\n"'
    )
    file = tmp_path / "secrets.yaml"
    assert resolve({"X_KEY": f'sops:{file}#agents.0.to"ken'}) == {"X_KEY": Secret("from-sops")}
    extract, asked_of = tmp_path.joinpath("asked").read_text().splitlines()
    assert extract == '["agents"][0]["to"ken"]'
    assert asked_of == str(file)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 3", "X_KEY: op ended with exit status 3"),
        ("echo first >&2; echo 'not signed in' >&2; exit 1", "X_KEY: op ended with exit status 1: not signed in"),
        ("echo hunter2-x; echo 'bad: hunter2-x' >&2; exit 1", "X_KEY: op ended with exit status 1: bad: ********"),
        ("printf '\\033[31mred\\a\\n' >&2; exit 1", "X_KEY: op ended with exit status 1: [31mred"),
        ("kill -9 $$", "X_KEY: op was ended by signal 9"),
        ("true", "X_KEY: op printed nothing"),
        ("echo", "X_KEY: op printed nothing"),
        ("printf '\\377'", "X_KEY: op printed what is not text"),
    ],
)  # fmt: skip
def test_a_failure_names_the_tool_and_how_it_ended(install: Install, body: str, said: str) -> None:
    install("op", body)
    assert refused("op://a/b/c") == said


needs_sops = pytest.mark.skipif(
    not (shutil.which("sops") and shutil.which("age-keygen")), reason="needs sops and age, which are seldom packaged"
)


@needs_sops
def test_the_real_sops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str | Path) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    run("age-keygen", "-o", "key")
    recipient = run("age-keygen", "-y", "key").strip()
    tmp_path.joinpath("plain.yaml").write_text('agents:\n  - to"ké\\y: from-the-real-sops\n', encoding="utf-8")
    tmp_path.joinpath("kept.yaml").write_text(run("sops", "-e", "--age", recipient, "plain.yaml"))
    reference = f'sops:{tmp_path}/kept.yaml#agents.0.to"ké\\y'
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(tmp_path / "key"))
    assert resolve({"X_KEY": reference}) == {"X_KEY": Secret("from-the-real-sops")}
    assert refused(f"sops:{tmp_path}/kept.yaml#agents.1.x").startswith("X_KEY: sops ended with exit status 1: error")
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", "/dev/null")
    assert "no master key was able to decrypt" in refused(reference)


def test_a_complaint_that_was_wrapped_is_told_whole(install: Install) -> None:
    wrapped = (
        "the file could not be decrypted because the key\nis not here, or is another one than the one\nthat it needs"
    )
    install("op", f"printf '%s\\n' 'first of all, a line that stands alone and ends.' '{wrapped}' >&2; exit 1")
    assert refused("op://a/b/c") == f"X_KEY: op ended with exit status 1: {wrapped.replace(chr(10), ' ')}"


def test_a_long_complaint_is_cut(install: Install) -> None:
    install("op", "head -c 5000 /dev/zero | tr '\\0' x >&2; exit 1")
    assert len(refused("op://a/b/c")) < 300


def test_a_tool_that_is_not_there_or_may_not_be_run(tmp_path: Path) -> None:
    assert refused("cmd:no-such-tool x") == "X_KEY: no-such-tool is not installed: it is not on PATH"
    tmp_path.joinpath("plain").touch(mode=0o600)
    assert refused(f"cmd:{tmp_path}/plain") == "X_KEY: plain cannot be run: Permission denied"


def test_a_tool_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ToolFailed, match=r"^sh gave no answer in 0\.5 s"):
        said_by(["sh", "-c", f"sleep 60 & echo $! >{tmp_path}/child; wait"], seconds=0.5)
    assert time.monotonic() - started < 5
    child = int(tmp_path.joinpath("child").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError("what the tool started goes on")


def test_a_tool_has_no_standard_input() -> None:
    assert refused("cmd:cat") == "X_KEY: cat printed nothing"


@pytest.mark.parametrize(
    "reference",
    ["op://", "op://vault/item", "op:///item/field", "sops:", "sops:/x", "sops:/x#", "sops:/x#a..b", "sops:#a", "cmd:",
     "sops:/x#a[0]", "cmd:'", "cmd:''", "cmd: ", "cmd:a\nb", "file:", "env:", "hunter2", "ENV:X", " env:X", "https://x"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_before_anything_runs(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ValueError, match="reference") as caught:
        references.check(reference)
    assert "hunter2" not in str(caught.value)
    assert "reference" in refused(reference)


@pytest.mark.parametrize("reference", ["op://v/i/f", "sops:/x#a.b", "cmd:pass show x", "file:/x", "env:X", "env:env:X"])
def test_what_is_one_is_not_followed_to_be_checked(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert references.check(reference) == reference


def test_of_a_command_only_its_name_is_shown() -> None:
    assert references.shown("cmd:curl -H 'token: hunter2' https://x") == "cmd:curl ..."
    assert references.shown("cmd:tool") == "cmd:tool"
    assert references.shown("op://v/i/f") == "op://v/i/f"
