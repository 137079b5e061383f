"""Deploys on one host for a command that goes through several runs: what went wrong ends it as a problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyinfra_hermes.deploys.model.redaction import redact

from .exits import Exit
from .hosts import login_of
from .problems import Problem
from .progress import Progress
from .reverting import keep_receipts
from .state.records import Host
from .state.store import State

if TYPE_CHECKING:
    from pyinfra_hermes.facts.observation import Observation

    from .engine import Session

Deploys = Sequence[Callable[..., object]]


def observed(state: State, host: Host, name: str, progress: Progress) -> Observation:
    """Return what is true on a host. Raises :class:`Problem`."""
    from .engine import Session

    with Session.open([login_of(state, host)], progress.step) as session:
        return _observed(session, host, name)


def run(
    state: State,
    host: Host,
    deploys: Deploys,
    progress: Progress,
    look: tuple[str, Callable[[Observation], None]] | None = None,
) -> bool:
    """
    Run deploys on a host, over one connection; tell whether that changed anything.

    Raises :class:`Problem` at the first that fails.

    ``look``: an agent's name, and what is called before with what is true on the host; it may raise.
    """
    from .engine import Session

    # isort: split
    from pyinfra_hermes.deploys.configure import ANSWERS

    with Session.open([login_of(state, host)], progress.step) as session:
        if look is not None:
            name, judge = look
            session.hold(name)
            judge(_observed(session, host, name))
        result = session.run({host.name: deploys})[host.name]
    problem = result.problem
    if problem is None and (step := result.failed) is not None:
        text = redact(step.text) or "the host gave no reason"
        exit = Exit.UNHEALTHY if step.name.endswith(ANSWERS) else Exit.FAILED
        problem = Problem(f"{result.host}: {step.name}: {text}", None, exit)
    keep_receipts(state, host, result, problem)
    if problem is not None:
        raise problem
    return result.changed


def _observed(session: Session, host: Host, name: str) -> Observation:
    from .engine import check

    check(session.results)
    found = session.observe(name).get(host.name)
    check(session.results)
    if found is None:
        raise Problem(f"{host.name}: the host could not be observed")
    return found
