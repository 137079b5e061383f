"""``clm provider``: what agents think with."""

from __future__ import annotations

from typing import Any

import click

from pyinfra_hermes.deploys.model.providers import CATALOGUE, provider_type

from ..catalogues import entries, fields
from ..catalogues.own_help import of_one
from ..lazy import Group, examples
from ..output import emit, format_option, say, table
from . import options


@click.group(cls=Group)
def provider() -> None:
    """Inference providers that agents think with."""


@provider.command(
    cls=of_one(CATALOGUE, "Each type has more: name one before --help, like --type ollama --help."),
    epilog=examples(
        "clm provider add local -t ollama --url http://gpu:11434 --model qwen3:8b",
        "clm provider add cloud --type openrouter --model anthropic/claude-sonnet-4.6",
        "clm provider add work --type openai --model gpt-5.2 --api-key-file key.txt",
    ),
)
@click.argument("name")
@click.option("-t", "--type", "type_", metavar="TYPE", type=click.Choice(list(CATALOGUE)), help="Kind of provider.")
@fields.field_options(CATALOGUE.values())
def add(name: str, type_: str | None, **given: Any) -> None:
    """
    Take a provider on record under NAME.

    A key never is a flag's value: it is asked for, or comes from a file or standard input.
    """
    from .. import asking
    from ..catalogues.providers import add_provider, refuse_known
    from ..state.store import State

    # Before anything is asked.
    refuse_known(State.open().read(), name)
    chosen = type_ or asking.choice("Type", "--type", list(CATALOGUE))
    declaration = provider_type(chosen)
    add_provider(name, declaration, fields.answers(declaration, given))
    click.echo(f"Provider {name!r} added successfully!")
    click.echo(f"Next: clm agent configure AGENT --provider {name}")


@provider.command("list", epilog=examples("clm provider list"))
@format_option
def list_(format_: str) -> None:
    """Show all providers. Keys are never shown, only whether there is one."""
    from ..catalogues.providers import listed

    rows = listed()
    if not emit(rows, format_):
        table(
            ("NAME", "TYPE", "MODEL", "URL", "KEY", "USED BY"),
            [
                (r["name"], r["type"], str(r["options"].get("model", "-")), str(r["options"].get("url", "-")),
                 entries.secret_names(r["secrets"]),
                 ", ".join(r["used_by"]) or "-")
                for r in rows
            ],
            "No providers configured. Use 'clm provider add' to add a provider.",
            whole=("NAME", "TYPE"),
        )  # fmt: skip


@provider.command(
    short_help="Show what kinds there are, or what one asks for.",
    epilog=examples("clm provider types", "clm provider types bedrock"),
)
@click.argument("type_", metavar="[TYPE]", required=False, type=click.Choice(list(CATALOGUE)))
@format_option
def types(type_: str | None, format_: str) -> None:
    """Show what kinds of providers there are, or what one of them asks for."""
    from ..catalogues.catalogue import print_types

    print_types(CATALOGUE, type_, format_)


@provider.command(epilog=examples("clm provider show local"))
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show a provider. Keys are never shown, only whether there is one."""
    from ..catalogues.providers import shown

    row = shown(name)
    if not emit(row, format_):
        entries.print_entry(row, provider_type(row["type"]))


@provider.command(
    epilog=examples(
        "clm provider edit local --model llama3.1:8b", "pass show openrouter | clm provider edit cloud --api-key-stdin"
    )
)
@click.argument("name")
@fields.field_options(CATALOGUE.values())
@click.option("--unset", multiple=True, metavar="FIELD", help="Take a value or key away. Can be given several times.")
def edit(name: str, unset: tuple[str, ...], **given: Any) -> None:
    """Change settings or keys of a provider. It reaches its agents when they are configured next."""
    from ..catalogues.providers import edit_provider

    entries.print_edited(f"Provider {name!r}", edit_provider(name, given, unset))


@provider.command(
    epilog=examples("clm provider test local", "clm provider test cloud --agent maurice --model openai/gpt-5.2")
)
@click.argument("name")
@click.option("--agent", help="Ask from this agent's host, about its model.")
@click.option("--model", help="Ask about another model than the one on record.")
@format_option
def test(name: str, agent: str | None, model: str | None, format_: str) -> None:
    """
    Ask a provider whether its key and model can be used.

    Exit 0: yes. 7: the service answers, and refuses. 1: it does not answer. 4: the agent's host does not.
    """
    from ..catalogues import connectivity

    verdict = connectivity.test(connectivity.known(name, agent, model))
    problem = connectivity.problem(name, verdict)
    if not emit({"name": name, "outcome": verdict.outcome, "text": verdict.sentence}, format_):
        if not verdict.ok:
            raise problem
        click.echo(verdict.sentence)
    elif not verdict.ok:
        raise click.exceptions.Exit(problem.exit)


@provider.command(epilog=examples("clm provider models local", "clm provider models local --agent maurice"))
@click.argument("name")
@click.option("--agent", help="Ask from this agent's host.")
@format_option
def models(name: str, agent: str | None, format_: str) -> None:
    """Show the models that a provider offers to its key."""
    from ..catalogues import connectivity

    found = connectivity.models(connectivity.known(name, agent))
    if not emit(found, format_):
        click.echo("\n".join(found) or f"Provider {name!r} lists no models.")


@provider.command(epilog=examples("clm provider remove local"))
@click.argument("name")
@click.option("--force", is_flag=True, help="Leave the agents that use it without a provider.")
@options.yes
def remove(name: str, force: bool, yes: bool) -> None:
    """Take a provider and its keys off the record. One that an agent uses is refused."""
    from ..catalogues.providers import remove_provider

    detached = remove_provider(name, force=force, yes=yes)
    click.echo(f"Provider {name!r} removed.")
    if detached:
        say("Agents without a provider now. What runs goes on with what is on its host until it is configured:")
    for instance in detached:
        click.echo(f"- {instance.key}: onboarding is at {instance.agent.onboarding_state}")
        click.echo(f"    clm agent configure {instance.host.name}/{instance.agent.name} --provider OTHER")
