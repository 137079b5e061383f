"""``clm doctor`` and ``clm agent doctor``: what is wrong, how bad it is, and what mends it. Nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..lazy import examples
from ..output import emit, folded, format_option, plain
from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..choosing import Choice
    from ..looking.findings import Finding

_SANDBOX = "Try its tools under its hardening, in a unit: shell, python, git, node, a browser's sandbox."
_PROVIDER = click.option("--no-provider", is_flag=True, help="Do not ask the providers whether they take the keys.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Only what is wrong or worth a note.")
_COLORS = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "red"}


@click.command(
    "doctor",
    epilog=examples(
        "clm agent doctor maurice", "clm agent doctor maurice -q", "clm agent doctor maurice --no-sandbox -o json"
    ),
)
@click.argument("name")
@click.option("--sandbox/--no-sandbox", default=True, show_default=True, help=_SANDBOX)
@_PROVIDER
@_QUIET
@format_option
def agent_doctor(name: str, sandbox: bool, no_provider: bool, quiet: bool, format_: str) -> None:
    """
    Find out what is wrong with an agent and its host, and say what mends it. Nothing is changed.

    It reads the journal and knows what Hermes says when it fails, asks the agent's provider from the agent's host,
    tries the agent's tools under its hardening, and looks for what nobody asked for: MCP servers, keys, user units,
    crontabs. Exit 7 when anything fails.
    """
    from contextlib import suppress

    from ..looking.doctor import Wanted, examine
    from ..state.errors import KeyUnavailable, WrongKey
    from ..state.store import State

    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(name)
    with suppress(KeyUnavailable, WrongKey):
        snapshot.vault.open()
    wanted = Wanted((instance,), sandbox=sandbox, provider=not no_provider)
    _say(examine(state, snapshot, wanted), format_, quiet=quiet)


@click.command(
    epilog=examples("clm doctor", "clm doctor --local", "clm doctor --host wolf-i -q", "clm doctor --tag lab --sandbox")
)
@options.choice()
@click.option("--local", is_flag=True, help="Only this machine; no host is asked.")
@click.option("--sandbox/--no-sandbox", default=False, show_default=True, help=_SANDBOX)
@_PROVIDER
@_QUIET
@format_option
def doctor(choice: Choice, local: bool, sandbox: bool, no_provider: bool, quiet: bool, format_: str) -> None:
    """
    Check this machine, then all hosts at once, and every agent on them. Nothing is changed.

    Here: ssh, the state's files, whether each host's key is known. On hosts: disks, memory, clock, systemd. Of agents:
    what clm agent doctor finds. Exit 7 when anything fails.
    """
    from ..looking.doctor import Wanted, examine, this_machine
    from ..looking.findings import worst
    from ..problems import Problem
    from ..state.errors import StateError
    from ..state.store import State

    found = this_machine()
    if not local:
        state = State.open()
        try:
            snapshot = state.read()
            chosen = choice.instances(snapshot)
        except StateError as error:
            # What is wrong with the files was found already; without them nobody knows of hosts.
            if worst(found) != "fail":
                raise
            raise Problem(error.message, error.remedy) from error
        found += examine(state, snapshot, Wanted(tuple(chosen), sandbox=sandbox, provider=not no_provider))
    _say(found, format_, quiet=quiet)


def _say(found: Sequence[Finding], format_: str, *, quiet: bool) -> None:
    from ..exits import Exit
    from ..looking.findings import LEVELS, worst

    shown = [each for each in found if each.level != "ok"] if quiet else list(found)
    if not emit([each.data() for each in shown], format_):
        subject = None
        for each in shown:
            if each.subject != subject:
                click.echo(f"{'' if subject is None else chr(10)}{click.style(each.subject, bold=True)}")
                subject = each.subject
            text = folded(f"        {plain(each.text)}", " " * 8).removeprefix(" " * 8)
            click.echo(f"  {click.style(each.level.ljust(4), fg=_COLORS[each.level])}  {text}")
            if each.evidence and each.level != "note":
                click.echo(click.style(folded(f"          {plain(each.evidence)}", " " * 12), dim=True))
            if each.remedy and each.level != "ok":
                for line in plain(each.remedy).splitlines():
                    click.echo(folded(f"        > {line.strip()}", " " * 10))
        counted = {level: sum(each.level == level for each in found) for level in LEVELS}
        end = ", ".join(f"{number} {level}" for level, number in counted.items())
        click.echo(f"\n{end}" if shown else end)
    click.get_current_context().exit(Exit.UNHEALTHY if worst(found) == "fail" else Exit.DONE)
