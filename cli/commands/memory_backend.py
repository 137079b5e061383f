"""``clm agent memory-backend``: where an agent keeps memories beside its own files."""

from __future__ import annotations

from typing import Any

import click

from pyinfra_hermes.deploys.model.memory import CATALOGUE
from pyinfra_hermes.deploys.model.memory import memory_backend as declared

from ..catalogues import fields
from ..lazy import Group, examples
from ..output import emit, format_option, pairs


@click.group("memory-backend", cls=Group)
def memory_backend() -> None:
    """
    Where an agent keeps memories beside its own files: one backend, or none.

    What is changed here is recorded; `clm agent configure NAME` puts it in force.
    """


@memory_backend.command(
    short_help="Show what backends there are, or what one asks for.", epilog=examples("clm agent memory-backend types")
)
@click.argument("type_", metavar="[TYPE]", required=False, type=click.Choice(list(CATALOGUE)))
@format_option
def types(type_: str | None, format_: str) -> None:
    """Show what memory backends there are, or what one of them asks for."""
    from ..catalogues.catalogue import print_types

    print_types(CATALOGUE, type_, format_)


@memory_backend.command(
    "set",
    short_help="Give an agent a backend, or change its settings.",
    epilog=examples("clm agent memory-backend set maurice holographic --auto-extract"),
)
@click.argument("name")
@click.argument("type_", metavar="TYPE", type=click.Choice(list(CATALOGUE)))
@fields.field_options(CATALOGUE.values())
def set_(name: str, type_: str, **given: Any) -> None:
    """
    Give agent NAME a memory backend in place of any that it has, or change its settings.

    A key never is an option's value: it is asked for, or comes from a file, from standard input, or by reference.
    """
    from ..catalogues.memory_backends import set_backend

    if not set_backend(name, declared(type_), given):
        click.echo(f"Agent {name} has {type_} like that already; nothing was changed.")
        return
    click.echo(f"Agent {name} is to keep memories with {type_}.")
    click.echo(f"Apply it with: clm agent configure {name}")


@memory_backend.command(epilog=examples("clm agent memory-backend clear maurice"))
@click.argument("name")
def clear(name: str) -> None:
    """Let agent NAME have no memory backend, and forget its key. Its memories stay where they are."""
    from ..catalogues.memory_backends import clear_backend

    before = clear_backend(name)
    if before is None:
        click.echo(f"Agent {name} has no memory backend; nothing was changed.")
        return
    click.echo(f"Agent {name} is no longer to keep memories with {before}.")
    click.echo(f"Apply it with: clm agent configure {name}")


@memory_backend.command(epilog=examples("clm agent memory-backend show maurice"))
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show the memory backend of agent NAME."""
    from ..catalogues.memory_backends import shown

    data = shown(name)
    if emit(data, format_):
        return
    if data is None:
        click.echo(f"Agent {name} has no memory backend.")
    else:
        pairs([("type", data["type"]), *((option, str(value)) for option, value in data["options"].items())])
