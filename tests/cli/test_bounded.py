"""A program's output is read to its end or to a limit, whatever it does with its pipes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pyinfra_hermes.cli.ssh.bounded import TooMuch, run


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


def test_what_it_prints_is_returned_and_octets_that_are_no_text_are_replaced() -> None:
    echo = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() + b'\\xff'); sys.exit(3)"
    said = run(python(echo), "x" * 300_000, seconds=60, most=400_000)
    assert (said.returncode, said.stdout, said.stderr) == (3, "x" * 300_000 + "\ufffd", "")


def test_one_that_prints_without_end_is_ended() -> None:
    with pytest.raises(TooMuch):
        run(["yes"], "", seconds=60, most=1_000_000)


def test_errors_without_end_are_dropped_and_do_not_hold_it_up() -> None:
    said = run(python("import sys; sys.stderr.write('e' * 5_000_000); print('done')"), "", seconds=60, most=100)
    assert (said.stdout, len(said.stderr)) == ("done\n", 65536)


def test_one_that_reads_nothing_may_end_first() -> None:
    assert run(["true"], "x" * 10_000_000, seconds=60, most=10).returncode == 0


def test_one_that_says_nothing_is_ended_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sleep", "600"], "", seconds=0.2, most=10)
    assert time.monotonic() - began < 30
