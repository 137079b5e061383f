"""A program's output is read to its end or to a limit, whatever it does with its pipes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyinfra_hermes.cli.ssh.bounded import BrokenOff, TooMuch, run, side_by_side


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


def test_what_runs_side_by_side_ends_when_somebody_breaks_it_off(tmp_path: Path) -> None:
    # As ssh(1) that has another one do it: that one keeps the pipes open when it has ended.
    code = f"cd {tmp_path}; (trap '' INT TERM; echo $$ >>begun; until [ -e enough ]; do sleep 0.1; done) & wait"

    def ask(_: int) -> None:
        run(["sh", "-c", code], "", seconds=60, most=100)

    began = tmp_path / "begun"
    try:
        with pytest.raises(KeyboardInterrupt), side_by_side(2) as pool:
            asked = [pool.submit(ask, number) for number in range(4)]
            while not began.exists() or len(began.read_text().splitlines()) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt
    finally:
        (tmp_path / "enough").touch()
    assert [each.cancelled() for each in asked] == [False, False, True, True]
    assert [type(each.exception()) for each in asked[:2]] == [BrokenOff, BrokenOff]


def test_what_ends_by_itself_side_by_side_is_told() -> None:
    with side_by_side(2) as pool:
        said = list(pool.map(lambda text: run(["cat"], text, seconds=60, most=100).stdout, "abc"))
    assert said == ["a", "b", "c"]
