"""Ctrl-C in the moment between a question and the wait for its answer."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from pyinfra_hermes.cli.breaking_off import breaks_off
from tests.lab.clm import Failed, Terminal

# Python calls its input hook right before it waits for a line: there the signal is noted, and no call is broken off.
_JUST_BEFORE = """
import ctypes, sys
from contextlib import nullcontext
from pyinfra_hermes.cli.breaking_off import breaks_off
hook = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook")
hook.value = ctypes.cast(ctypes.pythonapi.PyErr_SetInterrupt, ctypes.c_void_p).value
with breaks_off() if sys.argv[1] == "ours" else nullcontext():
    try:
        input("? ")
    except KeyboardInterrupt:
        sys.exit(7)
"""


def _question(kind: str) -> Terminal:
    return Terminal([sys.executable, "-c", _JUST_BEFORE, kind], dict(os.environ))


def test_a_signal_right_before_the_wait_breaks_it_off() -> None:
    with _question("ours") as terminal:
        assert terminal.end() == 7


def test_python_alone_would_wait_for_the_next_key() -> None:
    with _question("python's") as terminal:
        terminal.expect("? ")
        with pytest.raises(Failed):
            terminal.end(seconds=0.5)


def test_what_was_there_is_put_back() -> None:
    before = signal.getsignal(signal.SIGURG), signal.set_wakeup_fd(-1)
    with breaks_off():
        pass
    assert (signal.getsignal(signal.SIGURG), signal.set_wakeup_fd(-1)) == before
