"""What is going on: one line per step that did something, and a clock while one is under way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .output import plain

if TYPE_CHECKING:
    from .engine import Step


class Progress:
    """Watches a run. At a terminal the step under way is shown with its elapsed time."""

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self._status: Any = None

    @classmethod
    @contextmanager
    def shown(cls, title: str, verbose: bool = False) -> Iterator[Progress]:
        """Show progress on standard error while the block runs."""
        progress = cls(verbose)
        if not sys.stderr.isatty():
            yield progress
            return
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            progress._status = (bar, bar.add_task(title))
            yield progress

    def step(self, host: str, name: str, step: Step | None) -> None:
        """Take note of an operation: before it runs, and after."""
        if step is None:
            self._say(f"{host}  {name}")
        elif step.changed:
            self._print(f"{click.style('changed', fg='green')}  {host}  {name}  {step.seconds:.1f} s")
            for change in step.changes:
                if self._verbose or change.action == "remove":
                    self._print(f"         {plain(str(change))}")
        elif step.failed:
            self._print(f"{click.style('failed', fg='red')}   {host}  {name}  {step.seconds:.1f} s")
        elif self._verbose:
            self._print(f"{click.style('as is', dim=True)}    {host}  {name}: {step.text}")

    def waiting(self, text: str) -> None:
        """Take note of what a step is waiting for; a warning among it stays to be read."""
        if text.startswith("Warning: "):
            self.tell(text)
        elif self._status is None:
            click.echo(f"         {text}", err=True)
        else:
            self._say(text)

    def tell(self, text: str) -> None:
        """Say something that stays to be read."""
        self._print(text)

    def _say(self, text: str) -> None:
        if self._status is not None:
            bar, task = self._status
            bar.update(task, description=text)

    def _print(self, line: str) -> None:
        if self._status is None:
            click.echo(line, err=True)
        else:
            from rich.text import Text

            self._status[0].console.print(Text.from_ansi(line))
