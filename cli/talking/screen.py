"""An answer at a terminal: markdown that is drawn while it comes, or the text as it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from .conversation import Said, Working

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


class Screen(Protocol):
    """Where an answer is shown."""

    def show(self, event: Said | Working) -> None:
        """Show a piece of it."""
        ...


class Text:
    """Standard output, and what is being done on standard error. The text ends with a line's end."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._last = "\n"
        self._begun = False

    def show(self, event: Said | Working) -> None:
        """Write a piece as it is."""
        if isinstance(event, Said):
            # A daemon that used a tool begins what it says then with empty lines.
            text = event.text if self._begun else event.text.lstrip("\n")
            if text:
                sys.stdout.write(text)
                sys.stdout.flush()
                self._last, self._begun = text[-1], True
        elif not self._quiet:
            self.end()
            self._begun = False
            click.echo(click.style(f"  {event.label}", dim=True), err=True)

    def end(self) -> None:
        """End the line that was begun."""
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._last = "\n"


class Markdown:
    """
    Markdown, block by block: the one that is being written is drawn anew with each piece, those before stay.

    So an answer that is longer than the screen scrolls as any text does.
    """

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._block = ""

    def show(self, event: Said | Working) -> None:
        """Draw a piece."""
        if isinstance(event, Working):
            self.end()
            self._console.print(f"  {event.label}", style="dim", markup=False, highlight=False)
            return
        self._block += event.text
        *done, self._block = blocks(self._block)
        for block in done:
            self._commit(block)
        self._live.update(_drawn(self._block))

    def end(self) -> None:
        """Leave what was drawn last."""
        block, self._block = self._block, ""
        self._commit(block)

    def _commit(self, block: str) -> None:
        self._live.update("")
        if block.strip():
            self._console.print(_drawn(block))


@contextmanager
def screen(*, markdown: bool, quiet: bool = False) -> Iterator[Screen]:
    """Show an answer in the block; what was begun is ended with it, however it ends. ``quiet``: no tools."""
    if not markdown:
        text = Text(quiet=quiet)
        try:
            yield text
        finally:
            text.end()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live("", console=console, transient=True, refresh_per_second=12) as live:
        drawn = Markdown(console, live)
        try:
            yield drawn
        finally:
            drawn.end()


def blocks(text: str) -> list[str]:
    """Split markdown at empty lines that no fence holds; the last part is what may still grow. Loses no character."""
    parts, begin, fence = [], 0, ""
    at = 0
    for line in text.splitlines(keepends=True):
        at += len(line)
        bare = line.strip()
        if fence:
            if bare.startswith(fence) and not bare.strip(fence[0]):
                fence = ""
        elif bare.startswith(("```", "~~~")):
            fence = bare[: len(bare) - len(bare.lstrip(bare[0]))]
        elif not bare and line.endswith("\n") and text[begin:at].strip():
            parts.append(text[begin:at])
            begin = at
    return [*parts, text[begin:]]


def _drawn(block: str) -> RenderableType:
    from rich.markdown import Markdown as Document

    # A link shows where it leads: what is hidden behind words could be anything.
    return Document(block, hyperlinks=False)
