"""What a run found, as Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .rounds import Series


@dataclass(frozen=True)
class Row:
    """One thing that was measured."""

    what: str
    seconds: Series | None = None
    #: How it stands to something else in the section, in words.
    ratio: str = ""
    #: What went over SSH, as :mod:`.probe` or the engine counted it.
    counts: Mapping[str, Any] | None = None


@dataclass
class Section:
    """One subject: a table, and what must be said to read it."""

    title: str
    about: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load: tuple[float, float] = (0.0, 0.0)

    def markdown(self, runs: int) -> str:
        """Return the section's text."""
        lines = [f"### {self.title}", "", self.about, ""]
        lines += [
            f"| what | median s | min-max s | side by side | {' | '.join(_COUNTS)} |",
            "|---|--:|--:|---|--:|--:|--:|",
        ]
        lines += [_line(row) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += [f"- {runs} interleaved rounds; load average {self.load[0]:.1f} before, {self.load[1]:.1f} after."]
        return "\n".join(lines) + "\n"


_COUNTS = {"connections": "connections", "execs": "execs", "uploads": "SFTP uploads"}


def times(ratio: float, than: str) -> str:
    """Say how many times as long as something else a thing took."""
    return f"{ratio:.2f} x {than}"


def machine() -> str:
    """Describe the machine that everything ran on, control machine and hosts alike."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    tools = ", ".join(f"{name} {version(name)}" for name in ("pyinfra", "paramiko", "gevent"))
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {tools}, {ssh}"
    )


def commit() -> str:
    """Return the commit that is measured, and whether the work tree differs from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "not known"


def _line(row: Row) -> str:
    seconds = ("", "") if row.seconds is None else (f"{row.seconds.median:.2f}", row.seconds.spread)
    counts = [str(row.counts[key]) if row.counts and key in row.counts else "" for key in _COUNTS]
    return f"| {' | '.join([row.what, *seconds, row.ratio, *counts])} |"
