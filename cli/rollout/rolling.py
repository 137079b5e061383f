"""Carry changes of releases out: staged beside the old one, switched, proven, and gone back from on any failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pyinfra_hermes.deploys.model.releases import Method, Release
from pyinfra_hermes.deploys.model.render import Files, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.deploys.model.upgrading import Plan, rendered_changes

from ..acting import problem_of
from ..exits import Exit
from ..onboarding import stages as onboarding
from ..problems import Problem
from ..progress import Progress
from ..reverting import has_gone_back, keep_receipts, settled
from ..specification import digest, secrets_of, specification
from ..ssh.openssh import login_of
from ..state.errors import StateError
from ..state.lookup import Lookup
from ..state.records import Applied, Instance
from ..state.store import State
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
    #: Id of the snapshot on the host whose ``state.db`` it gets.
    database: str | None = None

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
_ROOM: Mapping[Method, Mapping[str, int]] = {"wheel": {"/opt": 900}, "installer": {"/home": 2500, "/opt": 80}}


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
        under_way = _UnderWay(state, options, progress, steps, outcomes)
        staged = under_way.stage(jobs)
        switched = under_way.switch(staged)
        under_way.conclude(under_way.record(switched))
    return list(outcomes.values())


@dataclass(frozen=True)
class _UnderWay:
    """Jobs that are being carried out: each step says what becomes of them, and returns those that went well."""

    state: State
    options: Options
    progress: Progress
    steps: Steps
    outcomes: Mapping[str, Outcome]

    def stage(self, jobs: Sequence[Job]) -> list[Job]:
        """Bring releases beside what the agents have, and verify them."""
        for each in jobs:
            self.steps.reach(each.host, 1)
        results = self._run(jobs, lambda each: [partial(self._install(each), part="stage")])
        staged = []
        for each in jobs:
            outcome, problem = self.outcomes[each.host], problem_of(results[each.host])
            if problem is None:
                staged.append(each)
                continue
            # Nothing of the agent was touched.
            outcome.end, outcome.problem = "failed", problem
            if problem.exit == Exit.FAILED:
                problem.exit = Exit.NOT_APPLIED
                problem.message += f"\nAgent {each.name} was not touched: it has {each.plan.before.tag}."
        return staged

    def switch(self, jobs: Sequence[Job]) -> list[Job]:
        """Give the agents the releases that were brought, and prove them; one that fails goes back."""
        from pyinfra_hermes.deploys.configure import configure
        from pyinfra_hermes.operations.snapshots import Switch

        def deploys(each: Job) -> list[Callable[..., object]]:
            return [
                partial(self._install(each), change=Switch(each.plan.what, each.database)),
                partial(
                    configure,
                    spec=each.spec,
                    secrets=each.secrets,
                    chat=self.options.chat,
                    progress=self.progress.waiting,
                    what=each.plan.what,
                    hold=True,
                ),
            ]

        results = self._run(jobs, deploys)
        done = []
        for each in jobs:
            outcome, result = self.outcomes[each.host], results[each.host]
            problem = problem_of(result)
            if problem is not None:
                problem = settled(self.state, each.instance, problem, self.options.verbose)
                outcome.problem, outcome.end = problem, "back" if has_gone_back(problem) else "failed"
                if outcome.end == "back":
                    problem.message += (
                        f"\nThat is {each.plan.before.tag}, with its state.db and settings; so it is on record."
                    )
                    problem.remedy = problem.remedy or f"See what was done: clm agent history {each.name}"
            keep_receipts(self.state, each.instance.host, result, problem)
            outcome.changed = result.changed
            if problem is None:
                done.append(each)
        return done

    def record(self, jobs: Sequence[Job]) -> list[Job]:
        """Put on record here what the agents have by now; where that cannot be, hosts keep their note."""
        recorded = []
        for each in jobs:
            self.steps.reach(each.host, 8)
            outcome = self.outcomes[each.host]
            try:
                _record(self.state, each, self.options, changed=outcome.changed)
            except StateError as error:
                outcome.end = "failed"
                outcome.problem = Problem(
                    f"{error.message.removesuffix('. Nothing was changed')}\nAgent {each.name} serves on "
                    f"{each.plan.after.tag}, and that is not on record here: another command would bring it back.",
                    f"{error.remedy}\n  The same command carries on: clm agent {each.plan.what} {each.name} "
                    f"--to {each.plan.after.tag}",
                )
            else:
                recorded.append(each)
        return recorded

    def conclude(self, jobs: Sequence[Job]) -> None:
        """Have hosts note that the changes are done."""
        from pyinfra_hermes.deploys.upgrade import conclude

        results = self._run(jobs, lambda each: [partial(conclude, agent=each.name)])
        for each in jobs:
            self.outcomes[each.host].end = "kept"
            if (problem := problem_of(results[each.host])) is not None:
                # It serves, and is on record; the next command on the agent takes the note away.
                problem.message += f"\nAgent {each.name} serves on {each.plan.after.tag}, and that is on record."
                self.outcomes[each.host].problem = problem

    def _install(self, each: Job) -> Callable[..., object]:
        from pyinfra_hermes.deploys.install import install
        from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

        wheelhouse = Wheelhouse(source=self.options.wheelhouse)
        return partial(install, spec=each.spec, wheelhouse=wheelhouse, progress=self.progress.waiting)

    def _run(self, jobs: Sequence[Job], deploys: Callable[[Job], list[Callable[..., object]]]) -> Mapping[str, Result]:
        from ..engine import Session

        if not jobs:
            return {}
        logins = [login_of(self.state, each.instance.host) for each in jobs]
        with Session.open(logins, self.steps.watch) as session:
            return session.run({each.host: deploys(each) for each in jobs})


def _record(state: State, done: Job, options: Options, *, changed: bool) -> None:
    with state.transaction() as tx:
        record = tx.host(done.host).agents[done.name]
        if not changed and (record.release, record.method) == (done.spec.release, done.spec.method):
            return
        record.release, record.method = done.spec.release, done.spec.method
        record.applied = Applied(digest=digest(done.files), release=done.spec.release)
        record.onboarding.pop("validate", None)
        onboarding.finish(record, "validate", {"chat": options.chat})


def follow_back(state: State, instance: Instance, id: str, options: Options) -> None:
    """Put on record that an agent went back to a release, by its id: it may have been cut off when it had another."""
    from pyinfra_hermes.deploys.model.releases import manifest

    tag, name, _ = id.split("-", 2)
    after, method = manifest().release(tag), {"installer": "installer", "wheel": "wheel"}[name]
    if (after.tag, method) == (instance.agent.release, instance.agent.method):
        return
    back = job(state.read(), instance, "rollback", after, cast("Method", method))
    _record(state, back, replace(options, chat=False), changed=True)


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
