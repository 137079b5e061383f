"""Colours at a terminal, and none where they are not wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pyinfra_hermes.cli.main import show
from pyinfra_hermes.cli.problems import Problem


@pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("", True), ("1", False)])
def test_no_color_is_honoured_at_a_terminal(tmp_path: Path, no_color: str | None, colored: bool) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm-256color"}
    if no_color is not None:
        environment["NO_COLOR"] = no_color
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pyinfra_hermes.cli", "host", "show", "nowhere"]
    subprocess.run(command, env=environment, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, check=False)
    os.close(theirs)
    said = os.read(ours, 65536)
    os.close(ours)
    assert b"There is no host 'nowhere'" in said
    assert (b"\x1b[31m" in said) is colored


def test_what_a_host_says_of_an_error_does_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(Problem("/home/a/\x1b]0;mine\x07\x9b2J\u202eb\nDone", "clm x\x08y"))
    assert capsys.readouterr().err == "Error: /home/a/]0;mine2Jb\nDone\n  clm xy\n"
