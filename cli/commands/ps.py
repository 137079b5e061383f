"""``clm ps``: the fleet in one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..lazy import examples
from ..output import emit, folded, printed_as, render
from . import options

if TYPE_CHECKING:
    from ..choosing import Choice
    from ..fleet import Fleet
    from ..state.store import State


@click.command(
    epilog=examples(
        "clm ps",
        "clm ps -o wide --limit 'wolf-*/*'",
        "clm ps --state degraded --state crash-looping",
        "clm ps --watch 10",
        "clm ps --check -o name --host wolf-i",
    )
)
@options.choice()
@click.option(
    "-s",
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="Only agents in this state. Can be given several times.",
)
@click.option("-w", "--watch", is_flag=False, flag_value=5.0, type=click.FloatRange(min=1), metavar="[SECONDS]",
              help="Look again every few seconds, 5 when not given, until Ctrl-C.")  # fmt: skip
@click.option("--check", is_flag=True, help="Exit 7 when anything is wrong with any of them.")
@printed_as("table", "wide", "json", "yaml", "name")
def ps(choice: Choice, states: tuple[str, ...], watch: float | None, check: bool, format_: str) -> None:
    """
    Show all agents and how they are, each host asked now, all at once.

    running: the unit runs, its own process holds the port on loopback and takes its key, every channel is connected,
    the last question to its model was answered, and the host has what is on record. drifted: all that, but something on
    the host differs. degraded: it serves, and a channel or its model does not. RST counts restarts, AGE is how long ago
    it was last configured from here. Below the table: what is wrong, and the command that mends it.

    The connections stay open for a minute, for the next look; CLM_SSH_PERSIST=0 in the environment keeps none.

    Exit 0 although some are down; 10 when a host could not be reached, 4 when none could. With --check: 7 when anything
    is wrong.
    """
    import sys
    from dataclasses import replace

    from ..exits import Exit
    from ..problems import Problem
    from ..state.store import State

    choice = replace(choice, states=_known(states))
    state = State.open()
    if format_ == "name" and not states:
        for host, agent in choice.instances(state.read()):
            click.echo(f"{host.name}/{agent.name}")
        return
    if watch is not None:
        if not sys.stdout.isatty() or format_ not in ("table", "wide"):
            raise Problem(
                "--watch is for a terminal", "For a program: clm ps -o json, as often as you like", Exit.USAGE
            )
        _watch(state, choice, watch, wide=format_ == "wide")
        return
    fleet = _show(state, choice, format_)

    from ..listing import in_trouble

    found = choice.reports(fleet)
    unreachable = [each for each in fleet.reports if each.state == "unreachable"]
    if check and in_trouble(found):
        click.get_current_context().exit(Exit.UNHEALTHY)
    if unreachable:
        click.get_current_context().exit(Exit.UNREACHABLE if len(unreachable) == len(fleet.reports) else Exit.PARTLY)


def _known(states: tuple[str, ...]) -> tuple[str, ...]:
    """Return states as they are spelt. Raises :class:`Problem` for one that there is not."""
    if not states:
        return ()
    from ..condition import STATES
    from ..exits import Exit
    from ..problems import Problem

    states = tuple(name.replace("-", " ") if name not in STATES else name for name in states)
    for name in states:
        if name not in STATES:
            raise Problem(f"There is no state {name!r}; there are: {', '.join(STATES)}", None, Exit.USAGE)
    return states


def _look(state: State, choice: Choice, *, waiting: bool = False) -> Fleet:
    # Before the hosts have been asked, nothing is imported that is needed only for their answers.
    from ..surveying import survey

    snapshot = state.read()
    return survey(state, snapshot, choice.instances(snapshot), waiting=waiting)


def _show(state: State, choice: Choice, format_: str) -> Fleet:
    fleet = _look(state, choice, waiting=True)

    from ..listing import data

    found = choice.reports(fleet)
    if format_ == "name":
        for each in found:
            click.echo(f"{each.instance.host.name}/{each.instance.agent.name}")
    elif not emit(data(found), "table" if format_ == "wide" else format_):
        click.echo("\n".join(_screen(fleet, choice, wide=format_ == "wide")))
        for why in sorted({r.drift_unknown for r in found if r.drift_unknown}):
            click.echo(f"Drift is not known: {why}", err=True)
    return fleet


def _screen(fleet: Fleet, choice: Choice, *, wide: bool, most: int | None = None) -> list[str]:
    """Return the lines that show a fleet. With ``most``, agents in trouble come first when there is no room for all."""
    from datetime import UTC, datetime

    from ..choosing import Choice
    from ..listing import NARROW, WIDE, in_trouble, notes, rows

    found = choice.reports(fleet)
    if most is not None and len(found) >= most:
        bad = in_trouble(found)
        found = [*bad, *(each for each in found if each not in bad)]
    empty = (
        "No agent matches."
        if choice != Choice()
        else "No agents. Install one with: clm agent install --type hermes --host HOST --name NAME"
    )
    if fleet.reports:
        empty = f"None of {len(fleet.reports)} agents."
    cut = not wide or most is not None
    text = render(WIDE if wide else NARROW, rows(found, datetime.now(UTC), wide=wide), folded(empty), cut=cut)
    below = [folded(line, "    ") for line in notes(fleet, found)]
    return "\n".join([text, *(("", *below) if below else ())]).split("\n")


def _watch(state: State, choice: Choice, seconds: float, *, wide: bool) -> None:
    from ..watching import watch

    watch(lambda: _look(state, choice), lambda fleet, most: _screen(fleet, choice, wide=wide, most=most), seconds)
