"""``clm integration``: what agents work with."""

from __future__ import annotations

import click

from ..output import emit, format_option, pairs, table


@click.group()
def integration() -> None:
    """Integrations that agents work with."""


@integration.command("list")
@format_option
def list_(format_: str) -> None:
    """Show all integrations. Secrets are never shown, only whether there are any."""
    from ..integrations import listed

    rows = listed()
    if not emit(rows, format_):
        table(
            ("NAME", "TYPE", "SECRETS", "USED BY"),
            [(r["name"], r["type"], _secrets(r["secrets"]), ", ".join(r["used_by"]) or "-") for r in rows],
            "No integrations.",
        )


@integration.command()
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show one integration as it is on record. Secrets are never shown, only whether there are any."""
    from ..integrations import shown

    data = shown(name)
    if not emit(data, format_):
        pairs(
            [
                ("name", data["name"]),
                ("type", data["type"]),
                *((option, str(value)) for option, value in data["options"].items()),
                ("secrets", _secrets(data["secrets"])),
                ("used by", ", ".join(data["used_by"]) or "-"),
                ("created", data["created_at"]),
                ("updated", data["updated_at"]),
            ]
        )


@integration.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Detach it from the agents that use it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, force: bool, yes: bool) -> None:
    """Take an integration and its secrets off the record. One that an agent uses is refused."""
    from ..integrations import remove_integration

    detached = remove_integration(name, force=force, yes=yes)
    click.echo(f"Integration {name!r} removed.")
    if detached:
        click.echo(f"Detached from: {', '.join(instance.key for instance in detached)}")
        click.echo("What is on their hosts stays until they are configured again:")
        for host, agent in detached:
            click.echo(f"  clm agent configure {host.name}/{agent.name}")


def _secrets(names: list[str] | None) -> str:
    return "encrypted" if names is None else ", ".join(names) or "none"
