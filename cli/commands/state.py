"""``clm state``: what is kept on this machine, checked and restored."""

from __future__ import annotations

import click

from ..lazy import Group, examples
from ..output import emit, folded, format_option, pairs, say
from . import options


@click.group(cls=Group)
def state() -> None:
    """What is kept on this machine: hosts, agents, providers, integrations and their secrets."""


@state.command(short_help="Look at all files, and show what is wrong with them.", epilog=examples("clm state check"))
@format_option
def check(format_: str) -> None:
    """
    Look at all files and show what is wrong with them, each with what mends it. Exit 1 when something is.

    Changes nothing, connects to no host, and never shows a secret.
    """
    from .. import checking
    from ..exits import Exit

    found = checking.check()
    if not emit(checking.data(found), format_):
        click.echo(found.path)
        if found.files:
            pairs(
                [
                    (report.name, _of(report.state, report.holds, report.generations, report.whole))
                    for report in found.files
                ]
            )
        for title, findings in (("To mend:", found.problems), ("Worth knowing:", found.notes)):
            if findings:
                click.echo(f"\n{title}")
            for finding in findings:
                say(f"- {finding.where}: {finding.what}")
                if finding.remedy:
                    click.echo(folded(f"    {finding.remedy}", " " * 6))
        if not found.problems:
            click.echo("\nNothing to mend.")
    click.get_current_context().exit(Exit.FAILED if found.problems else Exit.DONE)


@state.command(
    short_help="Bring back a damaged file from an earlier version.",
    epilog=examples("clm state restore", "clm state restore hosts.json --generation 12"),
)
@click.argument("file", required=False)
@click.option("-g", "--generation", type=click.IntRange(min=1), help="Which earlier version; the newest whole one.")
@options.yes
@click.option("--force", is_flag=True, help="Restore although something in other files would lead nowhere.")
def restore(file: str | None, generation: int | None, yes: bool, force: bool) -> None:
    """
    Bring back a damaged file from an earlier version: FILE, or all that are damaged.

    FILE is hosts.json, providers.json, integrations.json or secrets.json. The damaged file is kept beside it.
    """
    from ..restoring import run

    run(file, generation, yes=yes, force=force)


def _of(state: str, holds: str, generations: tuple[int, ...], whole: tuple[int, ...]) -> str:
    earlier = f"earlier versions: {', '.join(map(str, whole)) or 'none'}"
    if len(whole) < len(generations):
        earlier += f"; {len(generations) - len(whole)} more not whole"
    words = {
        "absent": "not there yet",
        "lost": "LOST",
        "damaged": "DAMAGED",
        "newer": "OF A LATER CLM",
        "refused": "CANNOT BE READ",
    }
    return "; ".join(part for part in (words.get(state, state), holds if state not in words else "", earlier) if part)
