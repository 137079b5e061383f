"""What a host says of paths, by the shells that it may have."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
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


def look(shell: str, home: Path, known: str, contents: str = "print('told')") -> list[str]:
    command = [shell, "-c", DESCRIBE + INSIDE, "sh", str(home), sys.executable, "0", contents, known]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_files_that_are_as_they_were_are_not_read_again(shell: str, tmp_path: Path) -> None:
    hermes = tmp_path / ".hermes"
    hermes.mkdir()
    (hermes / "config.yaml").write_text("a: 1")
    (hermes / "auth.json").write_text("{}")
    one, three = (hashlib.sha256(text.encode()).hexdigest() for text in ("a: 1", "{}"))
    # Neither nothing known nor half of it will do.
    for known in ("", f"{one} - -", f"{one} {one} {three}"):
        assert "told" in (said := look(shell, tmp_path, known)) and "same" not in said
    assert "same" in (said := look(shell, tmp_path, f"{one} - {three}")) and "told" not in said
    (hermes / ".env").write_text("A=b")
    assert "told" in look(shell, tmp_path, f"{one} - {three}")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_cannot_be_told_by_its_digest_is_read(shell: str, tmp_path: Path) -> None:
    hermes = tmp_path / ".hermes"
    hermes.mkdir()
    (tmp_path / "elsewhere").write_text("a: 1")
    (hermes / "config.yaml").symlink_to(tmp_path / "elsewhere")
    assert "told" in look(shell, tmp_path, "- - -")
    assert "told" in look(shell, tmp_path, f"{hashlib.sha256(b'a: 1').hexdigest()} - -")
    (hermes / "config.yaml").unlink()
    with (hermes / "config.yaml").open("wb") as file:
        file.truncate(9 * 1024 * 1024)
    assert "told" in look(shell, tmp_path, "- - -")


@pytest.mark.parametrize("shell", SHELLS)
def test_key_and_port_are_told_of_as_they_stand_in_the_file(shell: str, tmp_path: Path) -> None:
    def told(text: str) -> tuple[str, str]:
        (tmp_path / ".hermes").mkdir(exist_ok=True)
        (tmp_path / ".hermes" / ".env").write_text(text)
        said = look(shell, tmp_path, "")
        assert said[-1] == "whole"
        return said[-3], said[-2]

    key = "0123456789abcdef" * 4
    assert told(f"# x\nAPI_SERVER_PORT=8642\nAPI_SERVER_KEY={key}\nB=c") == ("env_port 8642", "env_key valid")
    assert told(f"API_SERVER_KEY={key}") == ("env_port ", "env_key valid")
    for spoilt in (f"{key}0", key[1:], f"{key[1:]}g", f"'{key}'", f"{key} ", ""):
        assert told(f"API_SERVER_PORT=86420000\nAPI_SERVER_KEY={spoilt}\n") == ("env_port ", "env_key invalid")
    assert told("API_SERVER_PORT=8 642\nXAPI_SERVER_KEY=1\n") == ("env_port ", "env_key invalid")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "target", ["a b", "it's", "it's 'twice'", 'say "x"', "back\\slash", "$HOME", "x' -> 'y", "Zürich", "'", "''", "|"]
)
def test_a_link_is_told_with_its_very_target(shell: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(target)
    assert described(shell, key=tmp_path / "link")["key"][5:] == target.split("|")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_log_without_an_end_is_read_from_its_end(shell: str, tmp_path: Path) -> None:
    logs = tmp_path / ".hermes" / "logs"
    logs.mkdir(parents=True)
    line = "2026-11-22 17:00:00,123 INFO agent: API call failed after 3 retries "
    # A hole takes no room; whoever reads it as a line runs out of memory, or of time.
    with (logs / "agent.log").open("wb") as file:
        file.truncate(40 * 1024**3)
        file.seek(0, os.SEEK_END)
        file.write(f"\n{line}HTTP 429: {'x ' * 1_000_000}HTTP 500\n".encode())
    said = look(shell, tmp_path, "- - -")
    assert [each for each in said if each.startswith("turn")] == ["turn failed 1795366800 429"]
    assert not any("agent.log" in each for each in said)
    (logs / "agent.log").write_text(f"{line}(Connection error)\n")
    assert [each.split()[-1] for each in look(shell, tmp_path, "- - -") if each.startswith("turn")] == ["connection"]
    (logs / "agent.log").write_text("")
    assert not any(each.startswith("turn") for each in look(shell, tmp_path, "- - -"))


CONTENTS = resources.files("pyinfra_hermes.facts").joinpath("contents.py.txt").read_text(encoding="utf-8")


def test_what_could_not_be_told_of_is_not_taken_for_read(tmp_path: Path) -> None:
    (tmp_path / ".hermes").mkdir()
    (tmp_path / ".hermes" / "config.yaml").write_text("a: 1")
    (tmp_path / ".hermes" / "auth.json").write_text("{}")
    three = hashlib.sha256(b"{}").hexdigest()

    def last(contents: str) -> str:
        return next(line for line in look("sh", tmp_path, "", contents) if line.startswith("contents"))

    # A release that is not all there.
    assert last(f"import sys\nsys.modules['yaml'] = None\n{CONTENTS}") == f"contents unknown - {three}"
    (tmp_path / ".hermes" / ".env").write_text("A=b")
    no_dotenv = "import importlib.util\nimportlib.util.find_spec = lambda name: None\n"
    assert last(no_dotenv + CONTENTS) == f"contents {hashlib.sha256(b'a: 1').hexdigest()} unknown {three}"
    (tmp_path / ".hermes" / ".env").unlink()
    # Half a package, as a full disk leaves it.
    (tmp_path / "half" / "yaml").mkdir(parents=True)
    (tmp_path / "half" / "yaml" / "__init__.py").write_text("def (")
    half = f"import sys\nsys.path.insert(0, {str(tmp_path / 'half')!r})\n"
    assert last(half + CONTENTS) == f"contents unknown - {three}"
    # What the file holds is the file's own fault.
    (tmp_path / ".hermes" / "auth.json").write_text("{")
    assert last(CONTENTS).endswith(f"- {hashlib.sha256(b'{').hexdigest()}")
    (tmp_path / ".hermes" / "auth.json").write_text("{}")
    assert last(CONTENTS) == f"contents {hashlib.sha256(b'a: 1').hexdigest()} - {three}"
    with (tmp_path / ".hermes" / "config.yaml").open("wb") as file:
        file.truncate(100 * 1024**3)
    assert last(CONTENTS) == f"contents unknown - {three}"
