"""``clm agent upgrade``, ``rollback`` and ``history``: releases of an agent, and what was done to it."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..lazy import examples
from ..output import emit, format_option, plain, say, table
from . import options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyinfra_hermes.deploys.model.releases import Method

    from ..rollout.rolling import Options
    from ..rollout.single import Wanted

_METHOD = click.option(
    "--method", type=click.Choice(["installer", "wheel"]), help="How the release comes to the host; as it did so far."
)
_PLAN = click.option("--plan", "--dry-run", "plan_only", is_flag=True, help="Only show what would be done.")


def _how(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of how a release is brought and proven, and call it with ``how``."""

    @options.together(
        click.option("--skip-chat", is_flag=True, help="Prove it without a conversation."),
        options.wheelhouse,
        options.verbose,
    )
    @wraps(command)
    def called(*, skip_chat: bool, wheelhouse: Path | None, verbose: bool, **rest: Any) -> None:
        from ..rollout.rolling import Options

        command(how=Options(not skip_chat, wheelhouse, verbose), **rest)

    return called


def _of_one_agent(to: str) -> Callable[[Callable[[Wanted], None]], Callable[..., None]]:
    """
    Give a command the argument and options of a change of one agent's release, and call it with what is wanted.

    + to: help of ``--to``
    """

    def decorate(command: Callable[[Wanted], None]) -> Callable[..., None]:
        @click.argument("name")
        @click.option("--to", metavar="RELEASE", help=to)
        @_METHOD
        @options.yes
        @_PLAN
        @format_option
        @_how
        @wraps(command)
        def called(
            name: str, to: str | None, method: Method | None, yes: bool, plan_only: bool, format_: str, how: Options
        ) -> None:
            from ..rollout.single import Wanted

            command(Wanted(name, to, method, yes, plan_only, format_, how))

        return called

    return decorate


@click.command(
    short_help="Give an agent another release; it goes back by itself when that fails.",
    epilog=examples("clm agent upgrade maurice --plan", "clm agent upgrade maurice --to v2026.7.20 --yes"),
)
@_of_one_agent("Release of Hermes; the newest that is listed when not given.")
def upgrade(wanted: Wanted) -> None:
    """
    Give an agent a later release: brought beside the one that serves, verified, switched to, and proven.

    When anything fails the agent goes back to what it had, state.db included, and is proven on it (exit 6).
    """
    from ..rollout.single import upgrade

    outcome = upgrade(wanted)
    if outcome is not None and outcome.plan is not None:
        name, release = wanted.agent, outcome.plan.after.tag
        if outcome.changed:
            say(f"Agent {name} runs {release} and answers.\nBack again: clm agent rollback {name}")
        else:
            click.echo(f"Agent {name} runs {release}; nothing to do.")


@click.command(
    short_help="Bring an agent back to an earlier release.",
    epilog=examples("clm agent rollback maurice", "clm agent rollback maurice --to v2026.5.7 --yes"),
)
@_of_one_agent("Release of Hermes; the one before when not given.")
def rollback(wanted: Wanted) -> None:
    """
    Bring an agent back to an earlier release, or from a change that was cut off to what it had before.

    Where the earlier release cannot read state.db, the one that was kept before the upgrade is put back; the present
    one stays on the host, in a file that is named. Memories, SOUL.md and settings stay as they are.
    """
    from ..rollout.single import rollback

    outcome = rollback(wanted)
    if outcome is not None and outcome.plan is not None:
        click.echo(f"Agent {wanted.agent} runs {outcome.plan.after.tag} and answers.")
        if outcome.aside is not None:
            click.echo(f"Its conversations since then are kept on {outcome.instance.host.name}, in {outcome.aside}")


@click.command(
    short_help="Show what was done to an agent, when, by whom, and how it ended.",
    epilog=examples("clm agent history maurice -n 5", "clm agent history maurice -o json"),
)
@click.argument("name")
@click.option(
    "-n", "--lines", "most", default=20, show_default=True, type=click.IntRange(1, 4000), help="How many of the last."
)
@format_option
def history(name: str, most: int, format_: str) -> None:
    """
    Show what was done to an agent, when, by whom, and how it ended.

    That is in receipts, on its host and on this machine; both are put together. When the host cannot be reached, it is
    said, and there are those of this machine.
    """
    from ..rollout.history import history

    found, unread = history(name)
    found = found[-most:]
    if unread is not None:
        click.echo(f"Warning: only what this machine keeps: {plain(unread)}", err=True)
    if emit([_data(each) for each in found], format_):
        return
    rows = [
        [
            each.at.partition(".")[0].replace("T", " "),
            plain(each.by),
            plain(each.what),
            _releases(each),
            plain(f"{each.result}{f': {each.reason}' if each.reason else ''}"),
        ]
        for each in found
    ]
    table(["AT (UTC)", "BY", "WHAT", "RELEASE", "RESULT"], rows, f"Nothing is on record of agent {name}.")


def _releases(receipt: Any) -> str:
    before, after = ((text or "-").partition("-")[0] or "-" for text in (receipt.before, receipt.after))
    return plain(after if before == after else f"{before} > {after}")


def _data(receipt: Any) -> dict[str, Any]:
    from dataclasses import asdict

    plain_ = asdict(receipt)
    return {**plain_, "changes": list(receipt.changes)}


@click.command(
    short_help="Give many agents a later release: one first, then the others in batches.",
    epilog=examples("clm upgrade --all --plan", "clm upgrade --tag lab --to v2026.7.20 --canary maurice --batch 3"),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "all_", is_flag=True, help="Every agent on record.")
@click.option(
    "-t", "--tag", "tags", multiple=True, help="Every agent on hosts with this tag. Can be given several times."
)
@click.option("--to", metavar="RELEASE", help="Release of Hermes; the newest that is listed when not given.")
@_METHOD
@click.option("--canary", metavar="NAME", help="Agent that comes first, alone; the first one chosen when not given.")
@click.option(
    "--batch", default=5, show_default=True, type=click.IntRange(1, 50), help="Agents at a time, each on another host."
)
@click.option(
    "--continue/--stop-on-failure",
    "go_on",
    help="Go on with the others after one failed; else they keep what they have.",
)
@options.yes
@_PLAN
@format_option
@_how
def upgrade_many(
    names: tuple[str, ...],
    all_: bool,
    tags: tuple[str, ...],
    to: str | None,
    method: Method | None,
    canary: str | None,
    batch: int,
    go_on: bool,
    yes: bool,
    plan_only: bool,
    format_: str,
    how: Options,
) -> None:
    """
    Give many agents a later release: one first, then the others in batches.

    Each is brought there as by clm agent upgrade: one that fails goes back by itself. Exit 10 when some did.
    """
    from .. import asking
    from ..exits import Exit
    from ..problems import Problem
    from ..rollout.fleet import Wanted, planned, roll_out
    from ..rollout.rolling import Outcome, data, exit_of
    from ..state.store import State

    if sum(map(bool, (names, all_, tags))) != 1:
        raise click.UsageError("Say which agents: their names, --tag TAG, or --all")
    state = State.open()
    state.unlock()
    wanted = Wanted(names, tags, to, method, batch, go_on, canary, how)
    rollout = planned(state.read(), wanted)
    jobs = [job for each in rollout.batches for job in each]
    for instance in rollout.there:
        click.echo(f"{instance.host.name}/{instance.agent.name} has {rollout.release} already.", err=True)
    if plan_only or not yes:
        planned_rows = [
            [
                f"{number}{' (canary)' if number == 1 else ''}",
                job.host,
                job.name,
                job.plan.before.tag,
                job.plan.after.tag,
            ]
            for number, each in enumerate(rollout.batches, 1)
            for job in each
        ]
        if plan_only and emit([job.plan.data() for job in jobs], format_):
            return
        table(["BATCH", "HOST", "AGENT", "FROM", "TO"], planned_rows, "Nobody is to get another release.")
        for refused in rollout.refused:
            click.echo(f"Not {refused.instance.agent.name}: {plain(str(refused.problem))}", err=True)
    if plan_only:
        return
    if jobs and not yes:
        asking.confirm(f"Upgrade {len(jobs)} agents to {rollout.release}?", "--yes")
    outcomes: list[Outcome] = roll_out(rollout, wanted, lambda text: click.echo(text, err=True))
    if not emit([data(each) for each in outcomes], format_):
        rows = [[each["host"], each["agent"], each["from"], each["to"] or "-", each["result"],
                 plain((each["why"] or "").partition("\n")[0])] for each in map(data, outcomes)]  # fmt: skip
        table(["HOST", "AGENT", "FROM", "TO", "RESULT", "WHY"], rows, "Nobody is to get another release.")
    exit = exit_of(outcomes)
    if exit != Exit.DONE and len(outcomes) == 1 and outcomes[0].problem is not None:
        raise Problem(outcomes[0].problem.message, outcomes[0].problem.remedy, outcomes[0].problem.exit)
    click.get_current_context().exit(exit)


@click.command(
    short_help="Remove releases that no agent needs.",
    epilog=examples("clm release prune --dry-run", "clm release prune --host wolf-i --keep 1 --yes"),
)
@options.hosts
@click.option("--keep", default=3, show_default=True, type=click.IntRange(0, 100), help="How many of the latest stay.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@options.yes
@format_option
@options.verbose
def prune(hosts: tuple[str, ...], keep: int, dry_run: bool, yes: bool, format_: str, verbose: bool) -> None:
    """
    Remove releases from hosts that no agent needs: none runs them, has them on record, or may go back to them.

    Those that agents share and those that upstream's installer made for one are counted apart.
    """
    from .. import asking
    from ..exits import Exit
    from ..rollout.pruning import found, prune
    from ..state.store import State

    state = State.open()
    going, problems = found(state, hosts, keep)
    if not emit([each.data() for each in going], format_):
        rows = [
            [each.host, each.agent or "-", each.id, f"{each.mib} MiB" if each.mib is not None else "-"]
            for each in going
        ]
        table(["HOST", "AGENT", "RELEASE", "SIZE"], rows, "There is nothing to remove.")
    if going and not dry_run:
        total = sum(each.mib or 0 for each in going)
        if not yes:
            asking.confirm(f"Remove {len(going)} releases, {total} MiB?", "--yes")
        problems += prune(state, going, verbose)
        if not problems and format_ == "table":
            click.echo(f"Removed: {total} MiB.")
    for problem in problems:
        click.echo(f"Error: {plain(problem.message)}", err=True)
    if problems:
        click.get_current_context().exit(problems[0].exit if len(problems) == 1 and not going else Exit.PARTLY)
