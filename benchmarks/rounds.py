"""Measure several things in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Seconds that something took, and the processor seconds in it: its own, and the whole machine's."""

    wall: float
    own: float
    machine: float


@dataclass(frozen=True)
class Series:
    """Seconds of one thing, a value per round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        return f"{min(self.values):.2f}-{max(self.values):.2f}"

    def ratio(self, to: Series) -> float:
        """Return the median of the rounds' own ratios: both sides of each were measured moments apart."""
        return statistics.median(a / b for a, b in zip(self.values, to.values, strict=True))

    def __add__(self, other: Series) -> Series:
        return Series(tuple(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __sub__(self, other: Series) -> Series:
        return Series(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))


def interleave(actions: Mapping[str, Callable[[], float]], runs: int) -> dict[str, Series]:
    """Run every action once per round, each round beginning with another one. An action returns its seconds."""
    names = list(actions)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(runs):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(actions[name]())
    return {name: Series(tuple(values)) for name, values in seconds.items()}


def collect(rounds: Sequence[Mapping[str, float]]) -> dict[str, Series]:
    """Turn one mapping per round into one series per key."""
    return {key: Series(tuple(values[key] for values in rounds)) for key in rounds[0]}


class Failed(Exception):
    """A measured command did not do what it is measured for."""


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, expect: int = 0, **options: Any) -> float:
    """Run a command to its end and return the seconds it took. Raises :class:`Failed` when it exits otherwise."""
    started = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, **options)
    seconds = time.monotonic() - started
    if done.returncode != expect:
        raise Failed(f"{' '.join(command)}\nexit {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return seconds


def cost(action: Callable[[], object]) -> Cost:
    """Run something that starts programs and waits for them, and return what it cost; nothing else may be at work."""
    started, own, machine = time.monotonic(), _children(), _machine()
    action()
    return Cost(time.monotonic() - started, _children() - own, _machine() - machine)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine() -> float:
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
