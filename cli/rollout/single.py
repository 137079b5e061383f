"""``clm agent upgrade`` and ``clm agent rollback``: one agent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import click

from pyinfra_hermes.deploys.model.layout import Layout
from pyinfra_hermes.deploys.model.releases import Method, manifest, tags
from pyinfra_hermes.deploys.model.upgrading import Plan, database_for, is_older
from pyinfra_hermes.facts.snapshots import Snapshot

from .. import asking
from ..exits import Exit
from ..onboarding.configuring import installed
from ..output import emit, pairs, say
from ..problems import Problem
from ..reverting import go_back
from ..ssh.openssh import login_of, run_script
from ..state import receipts
from ..state.lookup import Lookup
from ..state.records import Instance
from ..state.store import State
from ..surveying import observe_host_of
from .rolling import Job, Options, Outcome, carry_out, follow_back, job


@dataclass(frozen=True)
class Wanted:
    """What the user asked for one agent."""

    agent: str
    to: str | None = None
    method: Method | None = None
    yes: bool = False
    plan_only: bool = False
    format_: str = "table"
    options: Options = field(default_factory=Options)


def upgrade(wanted: Wanted) -> Outcome | None:
    """Upgrade an agent; None when only the plan was asked for. Raises :class:`Problem`."""
    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = ready(snapshot, wanted.agent)
    decided = upgrade_job(snapshot, instance, wanted.to, wanted.method)
    if not _agreed(decided, wanted):
        return None
    return _carried_out(state, decided, wanted.options)


def ready(snapshot: Lookup, reference: str) -> Instance:
    """Return an agent that was configured and proven. Raises :class:`Problem`."""
    instance = installed(snapshot, reference)
    if instance.agent.onboarding_state != "ready":
        raise Problem(
            f"Cannot change the release of {instance.key}: onboarding incomplete "
            f"(state={instance.agent.onboarding_state})",
            f"clm agent configure {instance.agent.name}",
            Exit.REFUSED,
        )
    return instance


def upgrade_job(snapshot: Lookup, instance: Instance, to: str | None, method: Method | None) -> Job:
    """Decide an upgrade. Raises :class:`Problem`; an earlier release is a rollback."""
    agent = instance.agent
    after = manifest().release(to or tags.NEWEST[0])
    if is_older(after, manifest().release(agent.release)):
        raise Problem(
            f"{after.tag} is earlier than {agent.release}, which agent {agent.name} has",
            f"clm agent rollback {agent.name} --to {after.tag}",
            Exit.REFUSED,
        )
    chosen = method or (agent.method if agent.method in after.methods else after.methods[0])
    return job(snapshot, instance, "upgrade", after, chosen)


def rollback(wanted: Wanted) -> Outcome | None:
    """Bring an agent back to an earlier release; None when it has it, went back from a change, or a plan was asked."""
    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = installed(snapshot, wanted.agent)
    host, agent = instance
    seen = observe_host_of(state, host).agent(agent.name)
    found = seen.under_way
    if found is not None and not wanted.plan_only and not _leads_to(found, wanted.to):
        click.echo(f"A change of {found.at} was cut off; agent {agent.name} goes back to what it had.", err=True)
        from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

        go_back(state, instance, "it was cut off", wanted.options.verbose)
        click.echo(f"Agent {wanted.agent} serves on what it had.")
        follow_back(state, instance, found.release, wanted.options)
        if (aside := _kept_aside(state, instance, found.at)) is not None:
            click.echo(f"Its conversations since then are kept on {host.name}, in {aside}")
        return None
    ready(snapshot, wanted.agent)
    current = manifest().release(agent.release)
    to = wanted.to or _previous(state, instance, [(each.release, each.to) for each in seen.snapshots], current.tag)
    after = manifest().release(to)
    if after == current and found is None:
        # Killed after its last step, the same command finds that all is done.
        click.echo(f"Agent {agent.name} has {current.tag}; nothing to do.")
        return None
    if after != current and not is_older(after, current):
        raise Problem(
            f"{after.tag} is not earlier than {current.tag}, which agent {agent.name} has",
            f"clm agent upgrade {agent.name} --to {after.tag}",
            Exit.REFUSED,
        )
    method = wanted.method or (agent.method if agent.method in after.methods else after.methods[0])
    decided = job(snapshot, instance, "rollback", after, method)
    kept = {each.id: (each.release, each.database, each.schema) for each in seen.snapshots}
    try:
        decided = replace(decided, database=database_for(after, current, kept))
    except LookupError:
        raise Problem(
            f"{after.tag} reads schema {after.state_schema} of state.db, {current.tag} has made it "
            f"{current.state_schema}, and none of before is kept on {host.name}",
            f"Restore a backup that was made on {after.tag}, on another agent: clm agent install --host {host.name} "
            f"--name NAME --release {after.tag}, then clm agent restore NAME --from FILE",
            Exit.REFUSED,
        ) from None
    if not _agreed(decided, wanted):
        return None
    return _carried_out(state, decided, wanted.options, since=found.at if found is not None else "")


def _leads_to(change: Snapshot, to: str | None) -> bool:
    """Tell whether a change that was cut off is the rollback that is wanted, which goes on then."""
    return to is not None and change.what == "rollback" and change.to.startswith(f"{manifest().release(to).tag}-")


def _previous(state: State, instance: Instance, kept: list[tuple[str, str]], current: str) -> str:
    for before, _ in reversed(kept):
        tag = before.partition("-")[0]
        if tags.order(tag) < tags.order(current):
            return tag
    for receipt in reversed(receipts.read(state, instance.host.name, instance.agent.name)):
        earlier = tags.tag_of((receipt.before or "").partition("-")[0])
        # What a rollback came from is no release to go back to.
        if receipt.result == "applied" and earlier is not None and tags.order(earlier) < tags.order(current):
            return earlier
    raise Problem(
        f"No earlier release of agent {instance.agent.name} is known",
        f"Name one: clm agent rollback {instance.agent.name} --to RELEASE",
        Exit.REFUSED,
    )


def _agreed(decided: Job, wanted: Wanted) -> bool:
    """Show the plan and ask; tell whether to go on."""
    plan: Plan = decided.plan
    if wanted.plan_only:
        if not emit(plan.data(), wanted.format_):
            pairs(plan.rows())
        return False
    same = plan.before == plan.after and plan.method == plan.method_before
    if not same:
        pairs(_rows(decided), err=True)
    if not wanted.yes and not same:
        verb = "Upgrade" if plan.what == "upgrade" else "Roll back"
        asking.confirm(f"{verb} agent {plan.agent} to {plan.after.tag}?", "--yes")
    return True


def _rows(decided: Job) -> list[tuple[str, str]]:
    rows: list[tuple[str, Any]] = decided.plan.rows()
    if decided.plan.what == "rollback":
        text = "stays" if decided.database is None else "the one of before is put back; this one is kept aside"
        rows = [(name, text if name == "state.db" else value) for name, value in rows]
    return rows


def _carried_out(state: State, decided: Job, options: Options, since: str = "") -> Outcome:
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    plan = decided.plan
    try:
        [outcome] = carry_out(state, [decided], options)
    except KeyboardInterrupt:
        say(
            f"\nWhat worked is kept on {plan.host}, if it had come to that. "
            f"To go on: clm agent {plan.what} {plan.agent} --to {plan.after.tag}\n"
            f"To go back: clm agent rollback {plan.agent}",
            err=True,
        )
        raise
    if outcome.problem is not None:
        raise outcome.problem
    if decided.database is not None:
        outcome.aside = _kept_aside(state, decided.instance, since)
    return outcome


def _kept_aside(state: State, instance: Instance, since: str = "") -> str | None:
    """
    Return the file on the host with conversations that were put aside, the newest one.

    ``since``: when a change began that was cut off, RFC 3339 by the host's clock; then all files since, it may have
    made one, too.
    """
    home, earliest = Layout(instance.agent.name).hermes_home, re.sub("[-:]", "", since)
    try:
        listed = run_script(login_of(state, instance.host), f"ls -1 -- {home}\n", seconds=15)
    except Problem:
        return None
    # The agent may have made others, with whatever in their names.
    matches = (re.fullmatch(r"state\.db\.of-(?:v[0-9.]+|unknown)-(\d{8}T\d{6}Z)", name) for name in listed.split("\n"))
    found = sorted((match[1], f"{home}/{match[0]}") for match in matches if match and match[1] >= earliest)
    return " and ".join(path for _, path in (found if since else found[-1:])) or None
