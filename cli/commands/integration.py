"""``clm integration``: what agents work with."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from pyinfra_hermes.deploys.model.integrations import CATALOGUE, integration_type

from ..catalogues import entries, fields
from ..catalogues.own_help import of_one
from ..lazy import Group, examples
from ..output import emit, format_option, plain, table
from . import options

if TYPE_CHECKING:
    from ..catalogues.integrations import Chosen


def _chosen_secrets(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of secrets that have names of the user's own, and call it with ``chosen``."""

    @options.together(
        click.option(
            "--secret-stdin",
            multiple=True,
            metavar="NAME",
            help="Value of a secret variable or header that you named, from standard input.",
        ),
        click.option("--secret-file", multiple=True, metavar="NAME=PATH", help="The same from a file."),
        click.option(
            "--secret-reference", multiple=True, metavar="NAME=REFERENCE", help="The same by reference: env:NAME, ..."
        ),
    )
    @wraps(command)
    def called(
        *, secret_stdin: tuple[str, ...], secret_file: tuple[str, ...], secret_reference: tuple[str, ...], **rest: Any
    ) -> None:
        from ..catalogues.integrations import Chosen

        command(chosen=Chosen.of(secret_stdin, secret_file, secret_reference), **rest)

    return called


@click.group(cls=Group)
def integration() -> None:
    """
    Integrations that agents work with: Jira and Confluence, and any MCP server.

    `clm agent integration add AGENT NAME` lets an agent use one.
    """


@integration.command(
    short_help="Show what kinds there are, or what one asks for.",
    epilog=examples("clm integration types", "clm integration types atlassian"),
)
@click.argument("type_", metavar="[TYPE]", required=False, type=click.Choice(list(CATALOGUE)))
@format_option
def types(type_: str | None, format_: str) -> None:
    """Show what kinds of integrations there are, or what one of them asks for."""
    from ..catalogues.catalogue import print_types

    print_types(CATALOGUE, type_, format_)


@integration.command(
    cls=of_one(CATALOGUE, "Each type has more: name one before --help, like --type atlassian --help."),
    short_help="Take an integration on record under NAME.",
    epilog=examples(
        "clm integration add work -t atlassian --url https://you.atlassian.net \\",
        "    --username you@example.org --api-token-stdin",
        "clm integration add search -t mcp-http --url https://mcp.example.org/mcp",
    ),
)
@click.argument("name")
@click.option("-t", "--type", "type_", type=click.Choice(list(CATALOGUE)), help="Kind of integration.")
@fields.field_options(CATALOGUE.values())
@_chosen_secrets
def add(name: str, type_: str | None, chosen: Chosen, **given: Any) -> None:
    """
    Take an integration on record under NAME, which is the MCP server's name, too.

    A secret never is an option's value: it is asked for, or comes from a file, from standard input, or by reference.
    """
    from .. import asking
    from ..catalogues.integrations import add_integration

    declaration = integration_type(type_ or asking.choice("Type", "--type", list(CATALOGUE)))
    add_integration(name, declaration, given, chosen)
    click.echo(f"Integration {name!r} added successfully!")
    click.echo(f"Next: clm agent integration add AGENT {name}")


@integration.command("list", epilog=examples("clm integration list"))
@format_option
def list_(format_: str) -> None:
    """Show all integrations. Secrets are never shown, only whether there are any."""
    from ..catalogues.integrations import listed

    rows = listed()
    if not emit(rows, format_):
        table(
            ("NAME", "TYPE", "SECRETS", "USED BY"),
            [
                (r["name"], r["type"] if r["type"] in CATALOGUE else f"{r['type']} (unknown)",
                 entries.secret_names(r["secrets"]), ", ".join(r["used_by"]) or "-")
                for r in rows
            ],
            "No integrations.",
        )  # fmt: skip


@integration.command(epilog=examples("clm integration show work"))
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show one integration as it is on record. Secrets are never shown, only whether there are any."""
    from ..catalogues.integrations import shown

    data = shown(name)
    if not emit(data, format_):
        entries.print_entry(data, integration_type(data["type"]))


@integration.command(
    epilog=examples(
        "clm integration edit work --username other@example.org", "clm integration edit work --api-token-file token.txt"
    )
)
@click.argument("name")
@fields.field_options(CATALOGUE.values())
@_chosen_secrets
@click.option(
    "--unset", multiple=True, metavar="FIELD", help="Take a value or secret away. Can be given several times."
)
def edit(name: str, chosen: Chosen, unset: tuple[str, ...], **given: Any) -> None:
    """Change settings or secrets of an integration. It reaches its agents when they are configured next."""
    from ..catalogues.integrations import edit_integration

    entries.print_edited(f"Integration {name!r}", edit_integration(name, given, chosen, unset))


@integration.command(epilog=examples("clm integration test work", "clm integration test work --agent maurice"))
@click.argument("name")
@click.option("--agent", help="Try it on this agent's host; on that of an agent that uses it when not given.")
@click.option(
    "--timeout", default=60, show_default=True, type=click.IntRange(1, 600), help="Seconds for the server to answer."
)
@format_option
def test(name: str, agent: str | None, timeout: int, format_: str) -> None:
    """
    Try an integration, and show the tools that it offers.

    Atlassian is asked whether it takes the token. The MCP server is started, or connected to, on the agent's host as
    the agent's own account. Exit 0: it works. 7: it does not. 4: the host is not reached.
    """
    from ..catalogues.handshaking import test
    from ..exits import Exit

    tried = test(name, agent, timeout)
    if not emit(tried.data(name), format_):
        if tried.service is not None:
            click.echo(tried.service.sentence, err=not tried.service.ok)
        if tried.server is not None and "error" in tried.server:
            click.echo(f"The MCP server does not work: {plain(tried.server['error'])}", err=True)
        elif tried.server is not None:
            tools = tried.server["tools"]
            click.echo(f"{plain(tried.server['server'])} {plain(tried.server['version'])} offers {len(tools)} tools")
            if tools:
                rows = [(plain(each["name"]), plain(each["description"])) for each in tools]
                table(("TOOL", "WHAT IT DOES"), rows, "")
        elif agent is not None:
            click.echo(f"Its program is not on the host yet: clm agent configure {agent}")
    if not tried.ok:
        click.get_current_context().exit(Exit.UNHEALTHY)


@integration.command(epilog=examples("clm integration remove work"))
@click.argument("name")
@click.option("--force", is_flag=True, help="Detach it from the agents that use it.")
@options.yes
def remove(name: str, force: bool, yes: bool) -> None:
    """Take an integration and its secrets off the record. One that an agent uses is refused."""
    from ..catalogues.integrations import remove_integration

    detached = remove_integration(name, force=force, yes=yes)
    click.echo(f"Integration {name!r} removed.")
    if detached:
        click.echo(f"Detached from: {', '.join(instance.key for instance in detached)}")
        click.echo("What is on their hosts stays until they are configured again:")
        for host, agent in detached:
            click.echo(f"  clm agent configure {host.name}/{agent.name}")
