"""A screen at a terminal that is drawn anew every few seconds, and at once when the terminal gets another size."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click

from .output import cell_width

T = TypeVar("T")


def watch(look: Callable[[], T], lines_of: Callable[[T, int], Sequence[str]], seconds: float) -> None:
    """
    Look and draw until Ctrl-C.

    + look: asks whatever is watched; may take its time
    + lines_of: what to show of it, in so many lines if it can be; of more lines those at the end are left out
    + seconds: how long to wait between an answer and the next look
    """
    plain = os.environ.get("TERM") in (None, "", "dumb")
    try:
        with _resized() as wait:
            if not plain:
                click.echo("\x1b[2J", nl=False)
            while True:
                found = look()
                ends = time.monotonic() + seconds
                head = f"Every {seconds:g} s until Ctrl-C; last {time.strftime('%H:%M:%S')}"
                while True:
                    size = shutil.get_terminal_size()
                    if plain:
                        click.echo("\n".join([head, *lines_of(found, size.lines), ""]))
                    else:
                        shown = fitting([head, "", *lines_of(found, size.lines - 2)], size.lines, size.columns)
                        # A line is cleared before it is written: cleared after, one as wide as the terminal loses its
                        # last character. All of it in one go, and what is left below goes last: nothing flickers.
                        click.echo("\x1b[H" + "\n".join(f"\x1b[K{line}" for line in shown) + "\x1b[J", nl=False)
                        sys.stdout.flush()
                    if not wait(ends - time.monotonic()):
                        break
                    if not plain:
                        click.echo("\x1b[2J", nl=False)
    except KeyboardInterrupt:
        click.echo()


def fitting(lines: Sequence[str], most: int, columns: int) -> list[str]:
    """Return the first lines, as many as a terminal shows at once, and how many are left out where it is not all."""
    heights = [max(1, -(-cell_width(click.unstyle(line)) // columns)) for line in lines]
    if sum(heights) <= most:
        return list(lines)
    shown: list[str] = []
    room = most - 1
    for line, height in zip(lines, heights, strict=True):
        if height > room:
            break
        room -= height
        shown.append(line)
    left = len(lines) - len(shown)
    return [*shown, f"... and {left} more line{'s' if left > 1 else ''}"[:columns]]


@contextmanager
def _resized() -> Iterator[Callable[[float], bool]]:
    """Give a function that waits some seconds, and tells whether it was cut short by another size of the terminal."""
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    others = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def wait(seconds: float) -> bool:
        if not select.select([woken], [], [], max(0.0, seconds))[0]:
            return False
        while select.select([woken], [], [], 0)[0]:
            os.read(woken, 4096)
        return True

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(others)
        signal.signal(signal.SIGWINCH, before)
        os.close(woken)
        os.close(waker)
