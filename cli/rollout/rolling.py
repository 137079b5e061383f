"""Carry changes of releases out: staged beside the old one, switched, proven, and gone back from on any failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyinfra_hermes.deploys.model.releases import Method, Release
from pyinfra_hermes.deploys.model.render import Files, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.deploys.model.upgrading import Plan, rendered_changes

from ..agents import problem_of
from ..exits import Exit
from ..hosts import login_of
from ..onboarding import stages as onboarding
from ..problems import Problem
from ..progress import Progress
from ..reverting import has_gone_back, keep_receipts, settled
from ..specification import digest, secrets_of, specification
from ..state.lookup import Lookup
from ..state.records import Applied, Instance
from ..state.store import State
from ..state.timestamps import now
from .steps import Steps

if TYPE_CHECKING:
    from ..engine import Result

#: ``kept``: the release was changed. ``back``: that failed, and the agent has what it had. ``failed``: see the problem.
End = Literal["kept", "back", "failed", "untouched"]


@dataclass(frozen=True)
class Options:
    """How rollouts are carried out."""

    chat: bool = True
    wheelhouse: Path | None = None
    verbose: bool = False


@dataclass(frozen=True)
class Job:
    """One agent's change of releases, decided and rendered."""

    instance: Instance
    plan: Plan
    spec: AgentSpec
    secrets: Mapping[str, Secret] = field(repr=False)
    files: Files = field(repr=False)
    #: Id of the snapshot on the host whose ``state.db`` it gets, and the name that the present one is kept under.
    database: str | None = None
    aside: str = ""

    @property
    def name(self) -> str:
        return self.instance.agent.name

    @property
    def host(self) -> str:
        return self.instance.host.name


@dataclass
class Outcome:
    """What became of a job."""

    instance: Instance
    plan: Plan | None = None
    end: End = "untouched"
    problem: Problem | None = None
    changed: bool = False
    #: File on the host that has the conversations since then.
    aside: str | None = None


def job(
    snapshot: Lookup, instance: Instance, what: Literal["upgrade", "rollback"], after: Release, method: Method
) -> Job:
    """
    Decide and render an agent's change of releases, without asking its host.

    Raises :class:`Problem` for what the release cannot do for this agent, before any connection is made.
    """
    from pyinfra_hermes.deploys.model.releases import manifest

    host, agent = instance
    before = manifest().release(agent.release)
    if method not in after.methods:
        raise Problem(
            f"Release {after.tag} cannot be installed by {method}",
            f"clm agent upgrade {agent.name} --to {after.tag} --method {after.methods[0]}",
            Exit.REFUSED,
        )
    changed = agent.model_copy(update={"release": after.tag, "method": method})
    try:
        spec = specification(snapshot, Instance(host, changed))
    except ValueError as error:
        raise Problem(
            f"Agent {agent.name} cannot get {after.tag}: {str(error).removeprefix(f'{agent.name}: ')}",
            f"See what it has: clm agent status {agent.name}",
            Exit.REFUSED,
        ) from None
    secrets = secrets_of(snapshot, instance)
    files = render(spec, secrets)
    plan = Plan(
        agent=agent.name,
        host=host.name,
        what=what,
        before=before,
        method_before=agent.method,
        after=after,
        method=method,
        changes=rendered_changes(render(specification(snapshot, instance), secrets), files),
        room=_ROOM[method],
    )
    return Job(instance, plan, spec, secrets, files)


#: MiB that a release takes by directory; as deploys.install asks the host for.
_ROOM: Mapping[Method, Mapping[str, int]] = {"wheel": {"/opt": 600}, "installer": {"/home": 2500, "/opt": 80}}


def carry_out(state: State, jobs: Sequence[Job], options: Options) -> list[Outcome]:
    """
    Carry out changes of releases side by side, of one agent on each host at most.

    What goes wrong with one is in its outcome, and hinders no other.
    """
    outcomes = {each.host: Outcome(each.instance, each.plan) for each in jobs}
    began = time.monotonic()
    title = jobs[0].name if len(jobs) == 1 else f"{len(jobs)} agents"
    with Progress.shown(f"{title}  connecting", options.verbose) as progress:
        steps = Steps(progress, {each.host: each.name for each in jobs}, began)
        staged = _staged(state, jobs, options, progress, steps, outcomes)
        switched = _switched(state, staged, options, progress, steps, outcomes)
        for each in switched:
            steps.reach(each.host, 8)
            _record(state, each, options, changed=outcomes[each.host].changed)
        _concluded(state, switched, steps, outcomes)
    return list(outcomes.values())


def _staged(
    state: State,
    jobs: Sequence[Job],
    options: Options,
    progress: Progress,
    steps: Steps,
    outcomes: Mapping[str, Outcome],
) -> list[Job]:
    from pyinfra_hermes.deploys.install import install
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

    def deploys(each: Job) -> list[Callable[..., object]]:
        wheelhouse = Wheelhouse(source=options.wheelhouse)
        stage: Callable[..., object] = partial(
            install, spec=each.spec, wheelhouse=wheelhouse, part="stage", progress=progress.waiting
        )
        return [stage]

    for each in jobs:
        steps.reach(each.host, 1)
    results = _run(state, jobs, deploys, steps)
    staged = []
    for each in jobs:
        outcome, problem = outcomes[each.host], problem_of(results[each.host])
        if problem is None:
            staged.append(each)
            continue
        # Nothing of the agent was touched.
        outcome.end, outcome.problem = "failed", problem
        if problem.exit == Exit.FAILED:
            problem.exit = Exit.NOT_APPLIED
            problem.message += f"\nAgent {each.name} was not touched: it has {each.plan.before.tag}."
    return staged


def _switched(
    state: State,
    jobs: Sequence[Job],
    options: Options,
    progress: Progress,
    steps: Steps,
    outcomes: Mapping[str, Outcome],
) -> list[Job]:
    from pyinfra_hermes.deploys.configure import configure
    from pyinfra_hermes.deploys.install import install
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
    from pyinfra_hermes.operations.snapshots import Switch

    def deploys(each: Job) -> list[Callable[..., object]]:
        switch = Switch(each.plan.what, each.database, each.aside)
        wheelhouse = Wheelhouse(source=options.wheelhouse)
        return [
            partial(install, spec=each.spec, wheelhouse=wheelhouse, change=switch, progress=progress.waiting),
            partial(
                configure,
                spec=each.spec,
                secrets=each.secrets,
                chat=options.chat,
                progress=progress.waiting,
                what=each.plan.what,
                hold=True,
            ),
        ]

    results = _run(state, jobs, deploys, steps)
    done = []
    for each in jobs:
        outcome, result = outcomes[each.host], results[each.host]
        problem = problem_of(result)
        if problem is not None:
            problem = settled(state, each.instance, problem, options.verbose)
            outcome.problem, outcome.end = problem, "back" if has_gone_back(problem) else "failed"
            if outcome.end == "back":
                problem.message += (
                    f"\nThat is {each.plan.before.tag}, with its state.db and settings; so it is on record."
                )
                problem.remedy = problem.remedy or f"See what was done: clm agent history {each.name}"
        keep_receipts(state, each.instance.host, result, problem)
        outcome.changed = result.changed
        if problem is None:
            done.append(each)
    return done


def _record(state: State, done: Job, options: Options, *, changed: bool) -> None:
    with state.transaction() as tx:
        record = tx.host(done.host).agents[done.name]
        if not changed and (record.release, record.method) == (done.spec.release, done.spec.method):
            return
        record.release, record.method = done.spec.release, done.spec.method
        record.applied = Applied(digest=digest(done.files), release=done.spec.release)
        record.onboarding.pop("validate", None)
        onboarding.finish(record, "validate", {"chat": options.chat})


def _concluded(state: State, jobs: Sequence[Job], steps: Steps, outcomes: Mapping[str, Outcome]) -> None:
    from pyinfra_hermes.deploys.upgrade import conclude

    def deploys(each: Job) -> list[Callable[..., object]]:
        return [partial(conclude, agent=each.name)]

    results = _run(state, jobs, deploys, steps)
    for each in jobs:
        outcomes[each.host].end = "kept"
        if (problem := problem_of(results[each.host])) is not None:
            # It serves, and is on record; the next command on the agent takes the note away.
            problem.message += f"\nAgent {each.name} serves on {each.plan.after.tag}, and that is on record."
            outcomes[each.host].problem = problem


def _run(
    state: State, jobs: Sequence[Job], deploys: Callable[[Job], list[Callable[..., object]]], steps: Steps
) -> Mapping[str, Result]:
    from ..engine import Session

    if not jobs:
        return {}
    logins = [login_of(state, each.instance.host) for each in jobs]
    with Session.open(logins, steps.watch) as session:
        return session.run({each.host: deploys(each) for each in jobs})


def with_database(decided: Job, database: str | None) -> Job:
    """Return the job with the ``state.db`` that it gets; the present one is kept under a name of its own."""
    aside = f"state.db.of-{decided.plan.before.tag}-{now():%Y%m%dT%H%M%SZ}" if database is not None else ""
    return replace(decided, database=database, aside=aside)


def exit_of(outcomes: Iterable[Outcome]) -> Exit:
    """Return how a rollout of several ends."""
    ends = [outcome.end for outcome in outcomes]
    return Exit.DONE if all(end == "kept" for end in ends) else Exit.PARTLY


def data(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as plain data, for programs."""
    host, agent = outcome.instance
    plan, problem = outcome.plan, outcome.problem
    return {
        "host": host.name,
        "agent": agent.name,
        "from": plan.before.tag if plan else agent.release,
        "to": plan.after.tag if plan else None,
        "result": {"kept": "upgraded", "back": "went back", "failed": "failed", "untouched": "not touched"}[
            outcome.end
        ],
        "why": problem.message if problem else None,
    }
