"""Run commands one after the other in a terminal, and draw what it showed at the end: ``SVG COMMAND...``."""

import fcntl
import io
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS = 100
_LINES = 400
_COLOURS = {"brown": "yellow", "default": None}


def shown(command: str, screen: pyte.Screen, stream: pyte.ByteStream) -> None:
    """Let a terminal show a command, and what it prints until it ends."""
    stream.feed(f"\x1b[1;32m$\x1b[0m {command}\r\n".encode())
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "PATH": path},
    )  # fmt: skip
    os.close(theirs)
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # EIO: the last process has left the terminal.
            break
        if not data:
            break
        stream.feed(data)
    os.close(ours)
    if process.wait():
        raise SystemExit(f"{command}: exit {process.returncode}\n" + "\n".join(screen.display).rstrip())
    stream.feed(b"\r\n")


def _style(char: pyte.screens.Char) -> Style:
    colour = _COLOURS.get(char.fg, char.fg)
    if colour and re.fullmatch(r"[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    return Style(color=colour, bold=char.bold, italic=char.italics)


def drawn(screen: pyte.Screen, title: str) -> str:
    """Return the screen as an SVG picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    last = max((number for number, line in enumerate(screen.display) if line.strip()), default=0)
    for number in range(last + 1):
        cells = [
            (screen.buffer[number][column].data, _style(screen.buffer[number][column])) for column in range(COLUMNS)
        ]
        line = Text()
        for style, run in itertools.groupby(cells, key=lambda cell: cell[1]):
            line.append("".join(data for data, _ in run), style)
        line.rstrip()
        console.print(line)
    return console.export_svg(title=title)


if __name__ == "__main__":
    target, *commands = sys.argv[1:]
    screen = pyte.Screen(COLUMNS, _LINES)
    stream = pyte.ByteStream(screen)
    for each in commands:
        shown(each, screen, stream)
    Path(target).write_text(drawn(screen, "pyinfra-hermes"), encoding="utf-8")
