"""``clm agent variable`` and ``clm agent config``: what a user adds to an agent beyond the catalogues."""

from __future__ import annotations

import json

import click

from ..lazy import Group, examples
from ..output import emit, format_option, table


def _say(changed: bool, what: str, agent: str) -> None:
    if not changed:
        click.echo(f"{what} already; nothing to do.")
        return
    click.echo(f"{what}.")
    click.echo(f"Apply it with: clm agent configure {agent}")


@click.group(cls=Group)
def variable() -> None:
    """
    Variables of an agent's own, for its tools and for Hermes itself.

    They survive everything else that is written to its .env. What decides where the agent listens, who may talk to it
    or what code it runs cannot be set.
    """


@variable.command(
    "set",
    epilog=examples(
        "clm agent variable set maurice TZ Europe/Madrid",
        "clm agent variable set maurice TAVILY_API_KEY --file key.txt",
    ),
)
@click.argument("agent")
@click.argument("name")
@click.argument("value", required=False)
@click.option("--stdin", is_flag=True, help="Read the value from standard input.")
@click.option("--file", type=click.Path(), help="Read the value from a file.")
@click.option("--secret", is_flag=True, help="Keep it as a secret; names like ..._API_KEY are secrets anyway.")
def set_variable(agent: str, name: str, value: str | None, stdin: bool, file: str | None, secret: bool) -> None:
    """Put a variable on record. Without VALUE it is a secret, and asked for."""
    from ..catalogues.extras import Variable, set_variable

    if "=" in name:
        # The word is not repeated: it may hold a secret.
        raise click.UsageError("NAME and VALUE are two words here, without '=' between.")
    _say(
        set_variable(agent, Variable(name, value, stdin, file, secret)), f"{name} of agent {agent} is on record", agent
    )


@variable.command("unset", epilog=examples("clm agent variable unset maurice TZ"))
@click.argument("agent")
@click.argument("name")
def unset_variable(agent: str, name: str) -> None:
    """Take a variable off the record, its value too."""
    from ..catalogues.extras import unset_variable

    _say(unset_variable(agent, name), f"{name} of agent {agent} is off the record", agent)


@variable.command("list", epilog=examples("clm agent variable list maurice"))
@click.argument("agent")
@format_option
def list_variables(agent: str, format_: str) -> None:
    """Show an agent's own variables; of secrets no value."""
    from ..catalogues.extras import variables

    rows = variables(agent)
    if not emit(rows, format_):
        table(
            ("NAME", "VALUE"),
            [(row["name"], "(secret)" if row["secret"] else row["value"]) for row in rows],
            "No variables.",
        )


@click.group(cls=Group)
def config() -> None:
    """
    Settings in an agent's config.yaml, for what Hermes can be told beyond clm's options.

    They survive everything else that is written there. PATH is keys with dots between (agent.max_turns), or a JSON
    list where a key holds dots itself.
    """


@config.command("set", epilog=examples("clm agent config set maurice agent.max_turns 60"))
@click.argument("agent")
@click.argument("path")
@click.argument("value")
def set_leaf(agent: str, path: str, value: str) -> None:
    """Put a setting on record. VALUE is a single value as YAML has it, or JSON for a whole block."""
    from ..catalogues.extras import set_leaf

    _say(set_leaf(agent, path, value), f"{path} of agent {agent} is on record", agent)


@config.command("unset", epilog=examples("clm agent config unset maurice agent.max_turns"))
@click.argument("agent")
@click.argument("path")
def unset_leaf(agent: str, path: str) -> None:
    """Take a setting off the record."""
    from ..catalogues.extras import unset_leaf

    _say(unset_leaf(agent, path), f"{path} of agent {agent} is off the record", agent)


@config.command("list", epilog=examples("clm agent config list maurice"))
@click.argument("agent")
@format_option
def list_leaves(agent: str, format_: str) -> None:
    """Show the settings of config.yaml that an agent has of its own."""
    from ..catalogues.extras import leaves

    rows = leaves(agent)
    if not emit(rows, format_):
        table(
            ("PATH", "VALUE"),
            [(row["path"], json.dumps(row["value"], ensure_ascii=False)) for row in rows],
            "No settings of its own.",
        )
