"""``clm agent remove``: an agent taken from its host and from the record."""

from __future__ import annotations

import click

from pyinfra_hermes.deploys.model import names

from . import asking
from .acting import problem_of
from .exits import Exit
from .progress import Progress
from .ssh.openssh import login_of
from .state.errors import NotFound
from .state.records import AgentStatus, Host, agent_scope
from .state.store import State


def remove(reference: str, *, host: str | None, yes: bool, local_only: bool, verbose: bool) -> bool:
    """
    Remove an agent from its host and from the record; tell whether there was anything to remove.

    With ``host`` the host is cleaned even when nothing is on record, for what a lost state left behind.
    """
    state = State.open()
    snapshot = state.read()
    try:
        instance = snapshot.agent(f"{host}/{reference}" if host else reference)
        on, name = instance.host, instance.agent.name
    except NotFound as error:
        if host is None or local_only:
            click.echo(f"{error.message}.", err=True)
            return False
        on, name = snapshot.host(host), names.agent_name(reference)
    if not yes:
        where = "the record only" if local_only else f"{on.name}, with all its memories and conversations"
        asking.confirm(f"Remove {name} from {where}? This cannot be undone.", "--yes")
    state.unlock()
    changed = False
    if not local_only:
        before = _set_status(state, on.name, name, "removing")
        changed = _remove_from_host(state, on, name, before, verbose)
    with state.transaction() as tx:
        known = tx.host(on.name).agents.pop(name, None)
        had_secrets = tx.secrets.remove_scope(agent_scope(on.name, name))
    return changed or known is not None or had_secrets


def _remove_from_host(state: State, host: Host, name: str, before: AgentStatus | None, verbose: bool) -> bool:
    from .engine import Session

    # isort: split
    from pyinfra_hermes.deploys.remove import remove as deploy

    with (
        Progress.shown(f"{host.name}  connecting", verbose) as progress,
        Session.open([login_of(state, host)], progress.step) as session,
    ):
        result = session.run({host.name: [lambda **kw: deploy(agent=name, **kw)]})[host.name]
    problem = problem_of(result)
    if problem is not None:
        if not result.steps and before is not None:
            # The host was not reached: the agent is there as it was.
            _set_status(state, host.name, name, before)
        if problem.exit == Exit.UNREACHABLE:
            problem.remedy = f"{problem.remedy}\n  If the host is gone for good: clm agent remove {name} --local-only"
        raise problem
    return result.changed


def _set_status(state: State, host: str, name: str, status: AgentStatus) -> AgentStatus | None:
    """Put an agent's status on record and return the one before; None when there is no such agent."""
    with state.transaction() as tx:
        record = tx.host(host).agents.get(name)
        if record is None:
            return None
        before, record.status = record.status, status
    return before
