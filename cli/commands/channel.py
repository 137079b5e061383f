"""``clm agent channel``: where an agent can be reached, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pyinfra_hermes.deploys.model.channels import CATALOGUE
from pyinfra_hermes.deploys.model.channels import channel as declared

from ..catalogues import fields
from ..catalogues.own_help import of_one
from ..lazy import Group, examples
from ..output import emit, format_option, say, table

if TYPE_CHECKING:
    from ..catalogues.channels import Changed

_CHANNELS = [entry for entry in CATALOGUE.values() if not entry.always_on]
_NAMES = ", ".join(entry.name for entry in _CHANNELS)
_ALLOW_OPEN = click.option(
    "--allow-open-access",
    is_flag=True,
    help="Second yes to settings that let everybody in; nothing else stands for it.",
)


_OF_ONE = of_one({entry.name: entry for entry in _CHANNELS}, "Each channel has more: add its name before --help.")


@click.group("channel", cls=Group)
def channel() -> None:
    """
    Where an agent can be reached, beside its API, and by whom.

    What is changed here is recorded; `clm agent configure NAME` puts it in force.
    """


@channel.command(
    cls=_OF_ONE,
    epilog=examples(
        "clm agent channel enable maurice discord --allowed-users 234567890123456789",
        "clm agent channel enable maurice telegram --bot-token-file token.txt",
    ),
)
@click.argument("name")
@click.argument("channel_", metavar="CHANNEL")
@fields.field_options(_CHANNELS)
@_ALLOW_OPEN
def enable(name: str, channel_: str, allow_open_access: bool, **given: Any) -> None:
    """
    Turn a channel of agent NAME on. `clm agent channel types CHANNEL` shows what it needs.

    A token never is an option's value: it is asked for, or comes from a file, from standard input, or by reference. One
    that is still on record is used again.
    """
    from ..catalogues.channels import change, refuse_lacking
    from ..onboarding.stages import ChannelChoices
    from ..state.store import State

    declaration = _other_than_api(channel_)
    # Before anything is asked.
    refuse_lacking(State.open().read().agent(name), declaration.name)
    recorded, secrets = _on_record(name, declaration.name)
    found = fields.answers(declaration, given, options=recorded or {}, secrets=secrets)
    choices = ChannelChoices(on={declaration.name: found})
    _say(change(name, choices, allow_open=allow_open_access), f"Channel {declaration.name} is on", name)


@channel.command(
    "set",
    cls=_OF_ONE,
    short_help="Change settings or credentials of a channel.",
    epilog=examples(
        "clm agent channel set maurice discord --no-require-mention",
        "clm agent channel set maurice slack --bot-token-file bot.txt",
        "clm agent channel set maurice discord --unset home_channel",
    ),
)
@click.argument("name")
@click.argument("channel_", metavar="CHANNEL")
@fields.field_options(_CHANNELS)
@click.option(
    "--unset", multiple=True, metavar="FIELD", help="Leave a setting to Hermes again. Can be given several times."
)
@_ALLOW_OPEN
def set_(name: str, channel_: str, unset: tuple[str, ...], allow_open_access: bool, **given: Any) -> None:
    """Change settings or credentials of a channel of agent NAME that is on; the others stay."""
    from dataclasses import replace

    from ..catalogues.channels import change
    from ..exits import Exit
    from ..onboarding.stages import ChannelChoices
    from ..problems import Problem

    declaration = _other_than_api(channel_)
    recorded, secrets = _on_record(name, declaration.name)
    if recorded is None:
        remedy = f"clm agent channel enable {name} {declaration.name}"
        raise Problem(f"Channel {declaration.name} of agent {name} is not on", remedy, Exit.REFUSED)
    removed = frozenset(each.replace("-", "_") for each in unset)
    if unknown := removed - {f.name for f in declaration.fields}:
        raise Problem(f"{declaration.what} has no field {sorted(unknown)[0]!r}", None, Exit.USAGE)
    found = replace(fields.given(declaration, given), removed=removed)
    if not found:
        remedy = f"clm agent channel types {declaration.name}"
        raise Problem("Nothing was given to change", remedy, Exit.USAGE)
    fields.check(declaration, found, options=recorded, secrets=secrets)
    choices = ChannelChoices(on={declaration.name: found})
    _say(change(name, choices, allow_open=allow_open_access), f"Channel {declaration.name} is changed", name)


@channel.command(
    epilog=examples(
        "clm agent channel disable maurice discord", "clm agent channel disable maurice discord slack --forget"
    )
)
@click.argument("name")
@click.argument("channels", nargs=-1, required=True, metavar="CHANNEL...")
@click.option("--forget", is_flag=True, help="Remove their tokens from secrets.json, too.")
def disable(name: str, channels: tuple[str, ...], forget: bool) -> None:
    """
    Turn channels of agent NAME off, with all their settings.

    Their tokens leave the host when it is configured. On this machine they are kept, for a service shows a token once
    and enabling the channel again is to need no other; --forget removes them.
    """
    from ..catalogues.channels import change
    from ..onboarding.stages import ChannelChoices

    off = tuple(_other_than_api(each).name for each in channels)
    result = change(name, ChannelChoices(off=off), forget=forget)
    _say(result, f"Off: {', '.join(off)}", name)
    if result.kept:
        say(f"Kept in secrets.json: {', '.join(result.kept)}. Remove: clm secret remove {name} {result.kept[0]}")


@channel.command(
    short_help="Ask the services whether they take the tokens.",
    epilog=examples("clm agent channel test maurice", "clm agent channel test maurice discord -o json"),
)
@click.argument("name")
@click.argument("channels", nargs=-1, metavar="[CHANNEL...]")
@format_option
def test(name: str, channels: tuple[str, ...], format_: str) -> None:
    """
    Ask the services, from the host of agent NAME, whether they take its tokens; nothing is sent to anybody.

    Exit 0: they do. 7: one answers and refuses. 1: one does not answer. 4: the agent's host does not.
    """
    from ..catalogues.channels import tested
    from ..exits import Exit

    found = tested(name, [_other_than_api(each).name for each in channels])
    rows = [
        {
            "channel": each,
            "outcome": verdict.outcome if verdict else None,
            "text": verdict.sentence if verdict else None,
        }
        for each, verdict in found
    ]
    if not emit(rows, format_):
        table(
            ("CHANNEL", "RESULT", "ABOUT"),
            [
                (
                    r["channel"] or "",
                    r["outcome"] or "not tested",
                    r["text"] or "there is no call that shows it cheaply",
                )
                for r in rows
            ],
            f"Agent {name} has no channels beside its API.",
            whole=("CHANNEL",),
        )
    bad = [verdict for _, verdict in found if verdict and not verdict.ok]
    if bad:
        reached = all(verdict.answered for verdict in bad)
        click.get_current_context().exit(Exit.UNHEALTHY if reached else Exit.FAILED)


@channel.command("list", epilog=examples("clm agent channel list maurice"))
@click.argument("name")
@format_option
def list_(name: str, format_: str) -> None:
    """Show the channels of agent NAME as they are on record. `clm agent status NAME` says how they are."""
    from ..catalogues.channels import listed

    rows = listed(name)
    if not emit(rows, format_):
        table(
            ("CHANNEL", "ACCESS", "SETTINGS", "SECRETS"),
            [
                (
                    r["channel"],
                    f"OPEN: {r['open']}" if r["open"] else "-" if declared(r["channel"]).always_on else "chosen",
                    "; ".join(f"{k}={_shown(r['channel'], k, v)}" for k, v in r["settings"].items()) or "-",
                    "encrypted" if r["secrets"] is None else ", ".join(r["secrets"]) or "-",
                )
                for r in rows
            ],
            "No channels.",
        )


@channel.command(epilog=examples("clm agent channel types", "clm agent channel types discord"))
@click.argument("channel_", metavar="[CHANNEL]", required=False)
@format_option
def types(channel_: str | None, format_: str) -> None:
    """Show all channels there are, or every field of one."""
    from ..catalogues.catalogue import described, print_types, say_more

    if channel_ is not None or format_ != "table":
        print_types(CATALOGUE, channel_ and declared(channel_).name, format_)
        return
    rows = [described(entry) for entry in CATALOGUE.values()]
    needs = [[f["name"] for f in r["fields"] if f["required"] and f["default"] is None] for r in rows]
    table(
        ("CHANNEL", "TITLE", "SINCE HERMES", "NEEDS"),
        [(r["name"], r["title"], r["since"], ", ".join(names) or "-") for r, names in zip(rows, needs, strict=True)],
        "",
        whole=("CHANNEL",),
    )
    say_more()


def _other_than_api(name: str) -> Any:
    from ..exits import Exit
    from ..problems import Problem

    declaration = declared(name)
    if declaration.always_on:
        raise Problem(f"Channel {name} is always on and has nothing to set", f"There are: {_NAMES}", Exit.USAGE)
    return declaration


def _on_record(name: str, channel_: str) -> tuple[dict[str, Any] | None, frozenset[str]]:
    """Return a channel's settings, None when it is off, and which of its secrets are there."""
    from ..onboarding.stages import kept_secrets
    from ..state.store import State

    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = snapshot.agent(name)
    recorded = instance.agent.channels.get(channel_)
    return None if recorded is None else dict(recorded), kept_secrets(snapshot, instance.key, declared(channel_))


def _shown(channel_: str, name: str, value: Any) -> str:
    known = {f.name: f for f in declared(channel_).fields}
    return fields.shown(known[name], value) if name in known else str(value)


def _say(result: Changed, done: str, name: str) -> None:
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if not result.changed:
        click.echo("It is so already; nothing was changed.")
        return
    click.echo(f"{done}, on record. Apply it with: clm agent configure {name}")
