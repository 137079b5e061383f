"""``clm upgrade``: another release for many agents, one of them first, the others in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyinfra_hermes.deploys.model.releases import Method, manifest, tags

from ..exits import Exit
from ..problems import Problem
from ..state.lookup import Lookup
from ..state.records import Instance
from ..state.store import State
from .rolling import Job, Options, Outcome, carry_out
from .single import ready, upgrade_job


@dataclass(frozen=True)
class Wanted:
    """What the user asked for."""

    names: Sequence[str] = ()
    tags: Sequence[str] = ()
    to: str | None = None
    method: Method | None = None
    #: How many agents at a time, each on another host.
    batch: int = 5
    #: Whether the others go on after one failed.
    go_on: bool = False
    canary: str | None = None
    options: Options = field(default_factory=Options)


@dataclass
class Rollout:
    """Who gets the release in which order, and who does not."""

    release: str
    #: The canary alone, then the batches.
    batches: list[list[Job]]
    #: Those that cannot get it, with the reason.
    refused: list[Outcome]
    #: Those that have it.
    there: list[Instance]


def planned(snapshot: Lookup, wanted: Wanted) -> Rollout:
    """Decide a rollout, without asking any host. Raises :class:`Problem` when it cannot be."""
    after = manifest().release(wanted.to or tags.NEWEST[0])
    chosen = _chosen(snapshot, wanted)
    canary = _canary(snapshot, wanted, chosen)
    jobs, refused, there = [], [], []
    for instance in chosen:
        method = wanted.method or instance.agent.method
        if (instance.agent.release, instance.agent.method) == (after.tag, method):
            there.append(instance)
            continue
        try:
            jobs.append(upgrade_job(snapshot, ready(snapshot, _reference(instance)), after.tag, wanted.method))
        except Problem as problem:
            refused.append(Outcome(instance, problem=problem))
    jobs.sort(key=lambda job: job.instance.key != (canary.key if canary else None))
    return Rollout(after.tag, batches(jobs, wanted.batch), refused, there)


def batches(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Put jobs into batches: the first alone, then so many at a time, of a host one at a time."""
    result = [[job] for job in jobs[:1]]
    waiting = list(jobs[1:])
    while waiting:
        batch: list[Job] = []
        for job in list(waiting):
            if len(batch) < size and job.host not in {each.host for each in batch}:
                batch.append(job)
                waiting.remove(job)
        result.append(batch)
    return result


def roll_out(rollout: Rollout, wanted: Wanted, told: Callable[[str], None]) -> list[Outcome]:
    """Carry a rollout out; return what became of every agent, those that were not touched included."""
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    state = State.open()
    outcomes: list[Outcome] = []
    for number, batch in enumerate(rollout.batches, 1):
        failed = any(outcome.end != "kept" for outcome in outcomes)
        if failed and not wanted.go_on:
            outcomes += [Outcome(job.instance, job.plan) for job in batch]
            continue
        names = ", ".join(job.name for job in batch)
        told(f"Batch {number} of {len(rollout.batches)}{' (canary)' if number == 1 else ''}: {names}")
        outcomes += carry_out(state, batch, wanted.options)
    return [*outcomes, *rollout.refused]


def _chosen(snapshot: Lookup, wanted: Wanted) -> list[Instance]:
    if wanted.names:
        return list({(found := snapshot.agent(name)).key: found for name in wanted.names}.values())
    hosts = [host for host in snapshot.hosts.values() if not wanted.tags or set(wanted.tags) & set(host.tags)]
    chosen = [Instance(host, agent) for host in hosts for agent in host.agents.values()]
    if not chosen:
        where = f" on hosts with the tag {' or '.join(wanted.tags)}" if wanted.tags else ""
        raise Problem(f"There are no agents{where}", "clm ps", Exit.USAGE)
    return [instance for instance in chosen if instance.agent.status == "installed"]


def _canary(snapshot: Lookup, wanted: Wanted, chosen: Sequence[Instance]) -> Instance | None:
    if wanted.canary is None:
        return None
    canary = snapshot.agent(wanted.canary)
    if canary.key not in {instance.key for instance in chosen}:
        raise Problem(f"Agent {canary.key} is to be the first, and is none of those chosen", None, Exit.USAGE)
    return canary


def _reference(instance: Instance) -> str:
    return f"{instance.host.name}/{instance.agent.name}"
