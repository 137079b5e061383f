"""``clm ps``: the fleet in one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..output import emit, format_option, table

if TYPE_CHECKING:
    from ..fleet import Report


@click.command()
@click.option("-H", "--host", "hosts", multiple=True, help="Only agents of this host; may be repeated.")
@click.option("-t", "--tag", "tags", multiple=True, help="Only hosts with this tag; may be repeated.")
@format_option
def ps(hosts: tuple[str, ...], tags: tuple[str, ...], format_: str) -> None:
    """
    Show all agents and how they are, each host asked now.

    running: the unit runs, its own process holds the port and it accepts its key. degraded: a channel is not
    connected. drifted: something on the host differs from the record.
    """
    from ..exits import Exit
    from ..fleet import reports
    from ..state.store import State

    state = State.open()
    snapshot = state.read()
    chosen = [snapshot.host(name) for name in hosts] or list(snapshot.hosts.values())
    chosen = [h for h in chosen if not tags or set(tags) & set(h.tags)]
    found = reports(state, snapshot, chosen)
    if not emit([report.data() for report in found], format_):
        table(
            ("AGENT", "HOST", "STATE", "PROVIDER", "PORT", "RELEASE", "RESTARTS", "NOTE"),
            [
                (
                    r.instance.agent.name,
                    r.instance.host.name,
                    r.state,
                    r.instance.agent.provider or "-",
                    str(r.instance.agent.port),
                    r.instance.agent.release,
                    str(r.seen.unit.restarts) if r.seen and r.seen.unit else "-",
                    "; ".join(part for part in (r.why, *(f"{name} OPEN" for name in r.opened), _drift(r)) if part),
                )
                for r in found
            ],
            "No agents. Install one with: clm agent install --type hermes --host HOST --name NAME",
        )
        for why in sorted({r.drift_unknown for r in found if r.drift_unknown}):
            click.echo(f"Drift is not known: {why}", err=True)
    unreachable = [r for r in found if r.state == "unreachable"]
    if unreachable:
        click.get_current_context().exit(Exit.UNREACHABLE if len(unreachable) == len(found) else Exit.PARTLY)


def _drift(report: Report) -> str:
    if report.drift_unknown:
        return "drift not known"
    return f"drifted: {', '.join(report.drift)}" if report.drift else ""
