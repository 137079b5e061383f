"""What a host says of paths, by the shells that it may have."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
DESCRIBE, INSIDE = (
    resources.files("pyinfra_hermes.facts").joinpath(name).read_text(encoding="utf-8")
    for name in ("describe.sh", "inside.sh")
)


def described(shell: str, **paths: Path) -> dict[str, list[str]]:
    words = [word for key, path in paths.items() for word in (key, str(path))]
    command = [shell, "-c", f'{DESCRIBE}describe "$@"', "sh", *words]
    # A reader that opened the pipe would wait for ever.
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    assert answer.stderr == ""
    lines = [line.removeprefix("path ").split("|") for line in answer.stdout.splitlines()]
    return {key: rest for key, *rest in lines}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_path_is_told_of_as_what_it_is(shell: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one\n")
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "state.db").write_bytes(b"12345")
    (tmp_path / "folder").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("text")
    (tmp_path / "loose").symlink_to("/nowhere at all")
    (tmp_path / "with * star [a] and  spaces").write_text("two")
    os.mkfifo(tmp_path / "pipe")
    names = ("loose", "text", "missing", "empty", "state.db", "folder", "link", "pipe", "with * star [a] and  spaces")
    paths = {f"key{number}": tmp_path / name for number, name in enumerate(names)}
    found = {names[int(key[3:])]: rest for key, rest in described(shell, **paths).items()}
    assert list(found) == [name for name in names if name != "missing"], "in the order of the question"
    digest = {text: hashlib.sha256(text.encode()).hexdigest() for text in ("one\n", "", "two")}
    assert {name: (rest[0], rest[-1]) for name, rest in found.items()} == {
        "text": ("regular file", digest["one\n"]),
        "empty": ("regular empty file", digest[""]),
        "state.db": ("regular file", "-"),
        "folder": ("directory", "-"),
        "link": ("symbolic link", "text"),
        "loose": ("symbolic link", "/nowhere at all"),
        "pipe": ("fifo", "-"),
        "with * star [a] and  spaces": ("regular file", digest["two"]),
    }
    assert (found["folder"][1], found["empty"][1], found["state.db"][4]) == ("750", "600", "5")


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_is_said_of_nothing(shell: str, tmp_path: Path) -> None:
    assert described(shell) == {}
    assert described(shell, gone=tmp_path / "gone", never=tmp_path / "never") == {}


@pytest.mark.parametrize("shell", SHELLS)
def test_one_that_cannot_be_hashed_hides_no_other(shell: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one\n")
    # Not even root can read a process's memory from its start.
    found = described(shell, odd=Path("/proc/self/mem"), text=tmp_path / "text")
    assert found["text"][-1] == hashlib.sha256(b"one\n").hexdigest()
    assert found["odd"][-1] == "-"


@pytest.mark.parametrize("shell", SHELLS)
def test_hundreds_of_credentials_are_told_of_in_the_time_that_there_is(shell: str, tmp_path: Path) -> None:
    hermes = tmp_path / ".hermes"
    for folder in ("credentials", "mcp-tokens"):
        (hermes / folder).mkdir(parents=True)
        for number in range(150):
            (hermes / folder / f"{number}.json").touch()
    (hermes / "credentials" / "what | is | this").touch()
    command = [shell, "-c", DESCRIBE + INSIDE, "sh", str(tmp_path), "/nonexistent", "0"]
    # Root gives it so long, see agents.sh; with one call for all of them it takes more than a minute.
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    assert sum(line.startswith("path credentials/") for line in said.splitlines()) == 150
    assert sum(line.startswith("path mcp-tokens/") for line in said.splitlines()) == 150
