"""Commands that are ended before they are done, as Ctrl-C, kill -9 and a lost machine end them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

from tests.lab.clm import Clm, Failed
from tests.lab.process import wait_until


def interrupt(clm: Clm, *command: str, with_: signal.Signals, after: str | float | Callable[[], bool]) -> str:
    """
    Start a command and end it: so many seconds after its start, when it has printed a word, or when something is so.

    Returns what it had printed.
    """
    process = clm.start(*command)
    assert process.stderr is not None
    printed: list[str] = []
    deadline = time.monotonic() + 60
    try:
        if isinstance(after, str):
            while after not in "".join(printed):
                line = process.stderr.readline()
                if not line or time.monotonic() > deadline:
                    raise Failed(f"{command} ended before it printed {after!r}:\n{''.join(printed)}")
                printed.append(line)
        elif isinstance(after, float):
            time.sleep(after)
        else:
            assert wait_until(lambda: process.poll() is not None or after(), seconds=90, pause=0.01)
            assert process.poll() is None, "it had ended before"
        if process.poll() is None:
            # Ctrl-C reaches everything in the foreground, kill -9 one process.
            (os.killpg if with_ == signal.SIGINT else os.kill)(process.pid, with_)
        _, rest = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    text = "".join(printed) + rest
    if with_ == signal.SIGINT and process.returncode != 0:
        # A shell says 130 to both; CPython chooses the second when it was importing.
        assert process.returncode in (130, -signal.SIGINT), text
        # The first is said only when nothing had begun: early in a command, at 0.4 s on a slow machine.
        assert re.search(r"Interrupted\. (Nothing was changed|Nothing is lost: the same command carries on)\.", text)
        assert "Traceback" not in text and "KeyboardInterrupt" not in text, text
    return text
