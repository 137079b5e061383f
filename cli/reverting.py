"""What becomes of an agent whose change failed: it goes back to what it had, and both machines keep a receipt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from pyinfra_hermes.deploys.model.redaction import redact

from .exits import Exit
from .problems import Problem
from .progress import Progress
from .ssh.openssh import login_of
from .state import receipts
from .state.errors import StateError
from .state.records import Host, Instance
from .state.store import State
from .surveying import observe_host_of

if TYPE_CHECKING:
    from .engine import Result


def keep_receipts(state: State, host: Host, result: Result, problem: Problem | None) -> None:
    """Keep here what the run on a host did, as the host keeps it; that it cannot be kept is told and no more."""
    if not result.receipts:
        return
    text = None if problem is None else redact(result.failed.text if result.failed else problem.message)
    back = problem is not None and has_gone_back(problem)
    try:
        receipts.add(state, host.name, [receipts.concluded(each, text, went_back=back) for each in result.receipts])
    except StateError as error:
        click.echo(f"Warning: the receipt was not kept here: {error.message}", err=True)


def has_gone_back(problem: Problem) -> bool:
    """Tell whether a problem says that the agent has what it had before."""
    from pyinfra_hermes.operations.snapshots import IS_AS_IT_WAS, SERVES_AGAIN

    return SERVES_AGAIN in problem.message or IS_AS_IT_WAS in problem.message


def settled(state: State, instance: Instance, problem: Problem, verbose: bool) -> Problem:
    """
    Have an agent whose change failed go back, where its host has not seen to that itself.

    Returns what ends the command: it says what the agent serves on.
    """
    host, agent = instance
    if has_gone_back(problem):
        problem.exit = Exit.NOT_APPLIED
        return problem
    if problem.exit == Exit.UNREACHABLE:
        if problem.remedy and "cut off" in problem.message:
            problem.remedy += f"\n  Or back to what it had, if it was changed: clm agent rollback {agent.name}"
        return problem
    if problem.exit not in (Exit.FAILED, Exit.PREFLIGHT, Exit.UNHEALTHY):
        return problem
    try:
        seen = observe_host_of(state, host).agent(agent.name)
    except (Problem, ValueError):
        return problem
    if seen.under_way is not None and "does not serve on that either" not in problem.message:
        return _sent_back(state, instance, problem, verbose)
    if problem.exit != Exit.UNHEALTHY and seen.healthy:
        problem.message += f"\nAgent {agent.name} still serves on what it had."
        problem.exit = Exit.NOT_APPLIED if problem.exit == Exit.FAILED else problem.exit
    return problem


def _sent_back(state: State, instance: Instance, problem: Problem, verbose: bool) -> Problem:
    try:
        go_back(state, instance, redact(problem.message).partition("\n")[0], verbose)
    except Problem as another:
        problem.message += f"\nIt could not go back to what it had: {another.message}"
        problem.remedy = f"The next command tries again: clm agent rollback {instance.agent.name}"
        problem.exit = Exit.UNHEALTHY
        return problem
    problem.message += f"\nAgent {instance.agent.name} still serves on what it had."
    problem.exit = Exit.NOT_APPLIED
    return problem


def go_back(state: State, instance: Instance, reason: str, verbose: bool) -> bool:
    """Put back what an agent had before the change that is under way; tell whether there was one. Raises Problem."""
    from .engine import Session

    # isort: split
    from pyinfra_hermes.deploys.upgrade import go_back as deploy

    from .acting import problem_of

    host, agent = instance
    with (
        Progress.shown(f"{host.name}  connecting", verbose) as progress,
        Session.open([login_of(state, host)], progress.step) as session,
    ):
        result = session.run({host.name: [partial(deploy, agent=agent.name, reason=reason)]})[host.name]
    failed = problem_of(result)
    if failed is None and result.receipts:
        failed_because = Problem(f"{reason}\nAgent {agent.name} serves on what it had.")
        keep_receipts(state, host, result, failed_because)
    if failed is not None:
        raise failed
    return result.changed
