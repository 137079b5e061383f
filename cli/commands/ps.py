"""``clm ps``: the fleet in one screen."""

from __future__ import annotations

import click

from ..output import emit, format_option, table


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
                    "; ".join(part for part in (r.why, f"drifted: {', '.join(r.drift)}" if r.drift else "") if part),
                )
                for r in found
            ],
            "No agents. Install one with: clm agent install --type hermes --host HOST --name NAME",
        )
    unreachable = [r for r in found if r.state == "unreachable"]
    if unreachable:
        click.get_current_context().exit(Exit.UNREACHABLE if len(unreachable) == len(found) else Exit.PARTLY)
