"""Deploys that a command runs on one host: what went wrong there ends it as a problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pyinfra_hermes.deploys.model.redaction import redact

from .exits import Exit
from .problems import Problem
from .progress import Progress
from .reverting import keep_receipts, settled
from .ssh.openssh import login_of
from .state.records import Host, Instance
from .state.store import State

if TYPE_CHECKING:
    from pyinfra_hermes.facts.observation import Observation

    from .engine import Result, Session

Deploys = Sequence[Callable[..., object]]


def observed(state: State, host: Host, name: str, progress: Progress) -> Observation:
    """Return what is true on a host. Raises :class:`Problem`."""
    from .engine import Session

    with Session.open([login_of(state, host)], progress.step) as session:
        return observed_over(session, host, name)


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

    with Session.open([login_of(state, host)], progress.step) as session:
        if look is not None:
            name, judge = look
            session.hold(name)
            judge(observed_over(session, host, name))
        result = session.run({host.name: deploys})[host.name]
    problem = problem_of(result)
    keep_receipts(state, host, result, problem)
    if problem is not None:
        raise problem
    return result.changed


def run_on_host(
    state: State,
    instance: Instance,
    act: Callable[[Progress], Sequence[Callable[..., object]]],
    verbose: bool,
    first: Callable[[Session], None] | None = None,
    last: Callable[[Result], None] | None = None,
) -> bool:
    """
    Run deploys for one agent on its host, over one connection; tell whether that changed anything.

    ``first`` is called with the session before them, and may raise; ``last`` with what came of them, when all went
    well. Raises :class:`Problem` for what went wrong, which says whether the agent still serves on what it had.
    """
    from .engine import Session, check

    with (
        Progress.shown(f"{instance.host.name}  connecting", verbose) as progress,
        Session.open([login_of(state, instance.host)], progress.step) as session,
    ):
        if first is not None:
            check(session.results)
            first(session)
        result = session.run({instance.host.name: act(progress)})[instance.host.name]
    problem = problem_of(result)
    if problem is not None:
        problem = settled(state, instance, problem, verbose)
    keep_receipts(state, instance.host, result, problem)
    if problem is not None:
        raise problem
    if last is not None:
        last(result)
    return result.changed


def problem_of(result: Result) -> Problem | None:
    """Return what went wrong on a host; None when nothing did."""
    from pyinfra_hermes.deploys.configure import ANSWERS
    from pyinfra_hermes.deploys.install import CHECK

    if result.problem is not None:
        return result.problem
    step = result.failed
    if step is None:
        return None
    text = redact(step.text) or "the host gave no reason"
    if step.name.endswith(CHECK):
        return not_ready(result.host, text.splitlines())
    return Problem(
        f"{result.host}: {step.name}: {text}",
        None,
        Exit.UNHEALTHY if step.name.endswith(ANSWERS) else Exit.FAILED,
    )


def not_ready(host: str, lines: Iterable[str]) -> Problem:
    """Say what a host lacks, of which the last line may be what mends it."""
    found = list(lines)
    remedy = found.pop() if found and found[-1].startswith("Install it ") else None
    listed = "\n".join(f"- {line}" for line in found)
    return Problem(f"{host} is not ready; nothing was made or changed there:\n{listed}", remedy, Exit.PREFLIGHT)


def observed_over(session: Session, host: Host, name: str) -> Observation:
    """Return what is true on a host that a session has a connection to. Raises :class:`Problem`."""
    from .engine import check

    check(session.results)
    found = session.observe(name).get(host.name)
    check(session.results)
    if found is None:
        raise Problem(f"{host.name}: the host could not be observed")
    return found
