"""``clm provider``: what agents think with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pyinfra_hermes.deploys.model.providers import CATALOGUE, Field, ProviderType, provider_type
from pyinfra_hermes.deploys.model.secret import Secret

from ..output import emit, format_option, table

F = TypeVar("F", bound=Callable[..., Any])


def _field_options(command: F) -> F:
    """Give a command one flag per non-secret field of the catalogue, and two ways in for each secret one."""
    fields = {f.name: f for entry in CATALOGUE.values() for f in entry.fields}
    for f in reversed(fields.values()):
        flag = f.name.replace("_", "-")
        if f.secret:
            command = click.option(
                f"--{flag}-file", type=click.Path(), help=f"Read it from a file. {f.label}: {f.help}."
            )(command)
            command = click.option(
                f"--{flag}-stdin", is_flag=True, help=f"Read it from standard input. {f.label}: {f.help}."
            )(command)
        else:
            command = click.option(f"--{flag}", type=int if f.kind == "integer" else str, help=f"{f.label}: {f.help}.")(
                command
            )
    return command


@click.group()
def provider() -> None:
    """Inference providers that agents think with."""


@provider.command()
@click.argument("name")
@click.option("--type", "type_", type=click.Choice(list(CATALOGUE)), help="Kind of provider.")
@_field_options
def add(name: str, type_: str | None, **given: Any) -> None:
    """
    Take a provider on record under NAME.

    A key never is a flag's value: it is asked for, or comes from a file or standard input.
    """
    from .. import asking
    from ..providers import add_provider

    chosen = type_ or asking.choice("Type", "--type", list(CATALOGUE))
    declaration = provider_type(chosen)
    options = {f.name: _value(f, given) for f in declaration.fields if not f.secret}
    checked = declaration.options({k: v for k, v in options.items() if v is not None})
    secrets = _secrets(declaration, given)
    add_provider(name, declaration, checked, secrets)
    click.echo(f"Provider {name!r} added successfully!")
    click.echo(f"Next: clm agent configure AGENT --provider {name}")


@provider.command("list")
@format_option
def list_(format_: str) -> None:
    """Show all providers. Keys are never shown, only whether there is one."""
    from ..providers import listed

    rows = listed()
    if not emit(rows, format_):
        table(
            ("NAME", "TYPE", "MODEL", "URL", "KEY", "USED BY"),
            [
                (r["name"], r["type"], str(r["options"].get("model", "-")), str(r["options"].get("url", "-")),
                 "encrypted" if r["secrets"] is None else ", ".join(r["secrets"]) or "none",
                 ", ".join(r["used_by"]) or "-")
                for r in rows
            ],
            "No providers configured. Use 'clm provider add' to add a provider.",
        )  # fmt: skip


@provider.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Leave the agents that use it without a provider.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, force: bool, yes: bool) -> None:
    """Take a provider and its keys off the record. One that an agent uses is refused."""
    from ..providers import remove_provider

    detached = remove_provider(name, force=force, yes=yes)
    click.echo(f"Provider {name!r} removed.")
    if detached:
        click.echo("Agents without a provider now. What runs goes on with what is on its host until it is configured:")
    for instance in detached:
        click.echo(f"- {instance.key}: onboarding is at {instance.agent.onboarding_state}")
        click.echo(f"    clm agent configure {instance.host.name}/{instance.agent.name} --provider OTHER")


def _value(field: Field, given: dict[str, Any]) -> Any:
    from .. import asking

    value = given.get(field.name)
    if value is None and field.required and field.default is None:
        return asking.text(field.label, f"--{field.name.replace('_', '-')}")
    return value


def _secrets(declaration: ProviderType, given: dict[str, Any]) -> dict[str, Secret]:
    from .. import asking

    found: dict[str, Secret] = {}
    for field in declaration.secrets:
        flag = field.name.replace("_", "-")
        value: Secret | None
        if given.get(f"{field.name}_stdin"):
            value = asking.from_stdin()
        elif given.get(f"{field.name}_file"):
            value = asking.from_file(given[f"{field.name}_file"])
        else:
            value = asking.hidden(field.label, f"--{flag}-stdin or --{flag}-file", field.required)
        if value is not None:
            found[field.name] = value
    return found
