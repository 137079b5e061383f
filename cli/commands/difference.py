"""``clm agent diff``: what a configure would change."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from ..lazy import examples
from ..output import emit, format_option, plain

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.difference import Difference

_SIGNS = {"add": "+", "change": "~", "remove": "-", "do": "!", "refuse": "x"}
_COLORS = {"add": "green", "change": "yellow", "remove": "red", "do": "cyan", "refuse": "red"}


@click.command(epilog=examples("clm agent diff maurice", "clm agent diff maurice -o json"))
@click.argument("name")
@format_option
def diff(name: str, format_: str) -> None:
    """
    Show what a configure would change on the agent's host, setting by setting. Nothing is changed.

    Of secrets it says that they change, never what they are. Exit 8 when something differs, 0 when nothing does.
    """
    from ..difference import differences
    from ..exits import Exit

    found = differences(name)
    if not emit([each.data() for each in found], format_):
        for subject, items in groupby(found, key=lambda each: each.subject):
            click.echo(plain(subject))
            for each in items:
                click.secho(f"  {_SIGNS[each.action]} {plain(_line(each))}", fg=_COLORS[each.action])
        click.echo(f"\nBring it about: clm agent configure {name}" if found else f"Agent {name} is as it should be.")
    click.get_current_context().exit(Exit.DIFFERENT if found else Exit.DONE)


def _line(each: Difference) -> str:
    if each.item == "line":
        return str(each.old if each.new is None else each.new)
    values = ""
    if each.secret:
        values = "missing" if each.action == "add" else "changed" if each.action == "change" else "copied secret"
    elif each.old is not None and each.new is not None:
        values = f"{each.old} -> {each.new}"
    elif each.new is not None:
        values = each.new
    elif each.old is not None:
        values = f"was {each.old}"
    words = {"refuse": "configure would fail here"}.get(each.action, "")
    return ": ".join(part for part in (each.item, values, words) if part) or {"add": "made", "change": "changed"}.get(
        each.action, each.action
    )
