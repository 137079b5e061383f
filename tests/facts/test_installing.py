"""How far an installation is: from a log that anything may stand in to lines that may be shown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.facts import script
from pyinfra_hermes.facts.installing import Course, read

LOG = (
    "\x1b[0;36m→\x1b[0m Checking\n\x1b[0;32m✓\x1b[0m Found\r\nnoise 10%\rnoise 99%\n"
    "\x1b]0;title\x07→ Cloning \x1b[2Jx\n  token=abc\n\xff\n"
)


def printed(folder: Path, result: str, offset: int = 0, log: bytes = LOG.encode("utf-8", "surrogateescape")) -> Course:
    """Run the real script where systemd knows of no installation: it has ended."""
    work = folder / "maurice.installer"
    work.mkdir()
    (work / "log").write_bytes(log)
    (work / "release").touch()
    if result:
        (work / "result").write_text(f"{result}\n")
    text = script.await_installation("maurice", offset, 0).replace(f"PENDING={script.PENDING}", f"PENDING={folder}")
    done = subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True, check=True, env=dict(os.environ))
    course = read(done.stdout.splitlines())
    assert course is not None, done
    return course


def test_a_log_becomes_steps(tmp_path: Path) -> None:
    course = printed(tmp_path, "done")
    assert course.word == "done"
    assert course.size == len(LOG.encode("utf-8", "surrogateescape"))
    assert course.steps == ("→ Checking", "✓ Found", "→ Cloning x")
    assert (course.at, course.log) == ("", ())


def test_only_what_is_new_is_told(tmp_path: Path) -> None:
    assert printed(tmp_path, "done", LOG.encode().index(b"Found")).steps == ("→ Cloning x",)


def test_a_failure_is_told_with_its_step_and_its_last_lines(tmp_path: Path) -> None:
    long = "".join(f"line {n}\n" for n in range(100)).encode()
    course = printed(
        tmp_path, "failed exit code 3", log="→ Building\n".encode() + long + b"API_TOKEN: hunter2hunter2\n"
    )
    assert (course.word, course.reason, course.at) == ("failed", "exit code 3", "Building")
    assert course.log == (*(f"line {n}" for n in range(81, 100)), "API_TOKEN: ********")


def test_a_host_that_went_down_is_told_apart(tmp_path: Path) -> None:
    assert printed(tmp_path, "").word == "gone"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("ANTHROPIC_API_KEY=sk-ant-api03-0123456789abcdef", "ANTHROPIC_API_KEY=********"),
        ("Authorization: Bearer abcdef0123", "Authorization: Bearer ********"),
        ("fetching https://user:pw@host/simple", "fetching https://********@host/simple"),
        ("found ghp_0123456789abcdefghij in x", "found ******** in x"),
        ('{"client_secret": "a b"}', '{"client_secret": "******** b"}'),
        ("✓ Public key found", "✓ Public key found"),
        ("sha256:" + "a" * 64, "sha256:" + "a" * 64),
    ],
)
def test_what_looks_like_a_credential_is_blacked_out(line: str, shown: str) -> None:
    course = read(["failed 1 2 exit code 1", f"log {line}", "end"])
    assert course is not None
    assert course.log == (shown,)


@given(st.lists(st.text(), max_size=5))
def test_nothing_that_a_host_prints_upsets_the_reading(lines: list[str]) -> None:
    read(lines)
    course = read(["running 1 2", *(f"step {line}" for line in lines), "end"])
    assert course is not None
    assert all(character.isprintable() for line in course.steps for character in line)


def test_what_was_cut_off_is_not_read() -> None:
    assert read([]) is None
    assert read(["running 1 2", "step → x"]) is None
    assert read(["running x y", "end"]) is None
