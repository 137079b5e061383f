"""Ctrl-C while hosts are at work."""

from __future__ import annotations

import subprocess
import sys

import pytest

# paramiko reads each connection in a thread, which is a greenlet here: a signal may come while that one runs.
_IN_ANOTHER = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import pyinfra_hermes.cli.engine
import gevent
def other():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(3):
        time.sleep(0.01)
    print("the other goes on", flush=True)
    time.sleep(20)
thread = threading.Thread(target=other, daemon=True)
try:
    if sys.argv[1] == "joined":
        thread.start()
        gevent.joinall([gevent.spawn(time.sleep, 20)])
    else:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("where", ["joined", "main"])
def test_it_ends_the_command_in_whichever_greenlet_it_comes(where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER, where], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("stopped\n", "", 0)
