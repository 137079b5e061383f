"""``clm agent integration``: which integrations an agent works with."""

from __future__ import annotations

import click

from ..lazy import Group, examples
from ..output import emit, format_option, table


@click.group("integration", cls=Group)
def integration() -> None:
    """
    What an agent works with; `clm integration` defines it.

    What is changed here is recorded; `clm agent configure NAME` puts it in force.
    """


@integration.command(epilog=examples("clm agent integration add maurice work search"))
@click.argument("name")
@click.argument("integrations", nargs=-1, required=True, metavar="INTEGRATION...")
def add(name: str, integrations: tuple[str, ...]) -> None:
    """Let agent NAME use integrations."""
    from ..catalogues.integrations import attach

    instance, new = attach(name, integrations)
    if not new:
        click.echo(f"Agent {instance.agent.name} has {', '.join(integrations)} already; nothing was changed.")
        return
    click.echo(f"Agent {instance.agent.name} is to use {', '.join(new)}.")
    click.echo(f"Apply it with: clm agent configure {name}")


@integration.command(epilog=examples("clm agent integration remove maurice search"))
@click.argument("name")
@click.argument("integrations", nargs=-1, required=True, metavar="INTEGRATION...")
def remove(name: str, integrations: tuple[str, ...]) -> None:
    """Let agent NAME no longer use integrations. They stay on record."""
    from ..catalogues.integrations import detach

    instance, gone = detach(name, integrations)
    if not gone:
        click.echo(f"Agent {instance.agent.name} does not use {', '.join(integrations)}; nothing was changed.")
        return
    click.echo(f"Agent {instance.agent.name} is no longer to use {', '.join(gone)}.")
    click.echo(f"Apply it with: clm agent configure {name}")


@integration.command("list", epilog=examples("clm agent integration list maurice"))
@click.argument("name")
@format_option
def list_(name: str, format_: str) -> None:
    """Show the integrations of agent NAME."""
    from ..catalogues.integrations import attached

    rows = attached(name)
    if not emit(rows, format_):
        table(
            ("NAME", "TYPE"),
            [(row["name"], row["type"]) for row in rows],
            f"Agent {name} uses no integrations. Use 'clm agent integration add {name} INTEGRATION'.",
        )
