"""Options that several commands have, each written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Show the steps that had nothing to do, too.")
wheelhouse = click.option(
    "--wheelhouse",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Folder of wheels to install from, instead of the package index.",
)
hosts = click.option("-H", "--host", "hosts", multiple=True, help="Only this host. Can be given several times.")


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return the decorator that gives a command all of some options, in this order in its help."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def choice(*, of_agents: bool = True) -> Callable[[F], Callable[..., Any]]:
    """
    Give a command ``-H``, ``-t`` and ``-l``, and call it with ``choice``, the :class:`..choosing.Choice` they make.

    + of_agents: whether there is ``-l``; without it whole hosts are chosen
    """
    options = [
        hosts,
        click.option(
            "-t", "--tag", "tags", multiple=True, help="Only hosts with this tag. Can be given several times."
        ),
    ]
    if of_agents:
        options.append(
            click.option(
                "-l",
                "--limit",
                "limits",
                multiple=True,
                metavar="PATTERN",
                help="Only NAME or HOST/NAME; * is any text. Can be given several times.",
            )
        )

    def decorate(command: F) -> Callable[..., Any]:
        @together(*options)
        @wraps(command)
        def choosing(
            *args: Any, hosts: tuple[str, ...], tags: tuple[str, ...], limits: tuple[str, ...] = (), **rest: Any
        ) -> Any:
            from ..choosing import Choice

            return command(*args, choice=Choice(hosts, tags, limits), **rest)

        return choosing

    return decorate
