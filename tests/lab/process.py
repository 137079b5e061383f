"""A process named so that it cannot be mistaken for a later one with the same number."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process id and the moment the kernel started it (in its ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def current(cls) -> "Process":
        """This process."""
        return cls(os.getpid(), _stat(os.getpid())[1])

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs; one that only waits to be collected does not."""
        try:
            state, started = _stat(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return False
        return started == self.started and state not in "ZX"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def command(self) -> str:
        """Its command line, for a person to read."""
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
            return b" ".join(words).decode(errors="replace").strip()
        return ""


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
    """Ask again and again until it is so; False when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def _stat(pid: int) -> tuple[str, int]:
    # The program's name, in brackets, may itself hold blanks and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])
