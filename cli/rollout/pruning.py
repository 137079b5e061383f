"""``clm release prune``: releases that no agent of a host needs go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyinfra_hermes.deploys.model.pruning import superfluous
from pyinfra_hermes.facts.observation import Observation
from pyinfra_hermes.facts.script import END, sizes_of

from ..acting import run
from ..problems import Problem
from ..progress import Progress
from ..specification import specification
from ..ssh.openssh import login_of, run_script
from ..state.lookup import Lookup
from ..state.records import Host, Instance
from ..state.store import State
from ..surveying import observe_host_of

#: Measuring reads every folder of a release.
_SECONDS = 120


@dataclass(frozen=True)
class Found:
    """A release on a host that nobody needs."""

    host: str
    #: The agent whose own it is; None when all agents share it.
    agent: str | None
    id: str
    mib: int | None

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        return {"host": self.host, "agent": self.agent, "release": self.id, "mib": self.mib}


def found(state: State, hosts: Collection[str], keep: int) -> tuple[list[Found], list[Problem]]:
    """Return what can go on hosts, all of them when none is named, and which hosts could not be asked."""
    snapshot = state.read()
    chosen = [snapshot.host(name) for name in hosts] or list(snapshot.hosts.values())
    result: list[Found] = []
    problems = []
    for host in chosen:
        try:
            result += _of(state, snapshot, host, keep)
        except Problem as problem:
            problems.append(problem)
    return result, problems


def _of(state: State, snapshot: Lookup, host: Host, keep: int) -> list[Found]:
    observed = observe_host_of(state, host)
    needed = needs(observed, _recorded(snapshot, host))
    shared = superfluous(observed.releases, needed, keep)
    own = [
        (agent.name, id)
        for agent in observed.agents.values()
        for id in superfluous(agent.releases, needed, keep)
        if agent.ours
    ]
    if not shared and not own:
        return []
    answer = run_script(login_of(state, host), sizes_of(shared, own), seconds=_SECONDS)
    sizes = {name: int(mib) for name, _, mib in (line.partition(" ") for line in answer.split("\n")) if mib.isdigit()}
    if END not in answer.split("\n"):
        raise Problem(f"{host.name}: its answer was cut off")
    return [
        *(Found(host.name, None, id, sizes.get(id)) for id in shared),
        *(Found(host.name, agent, id, sizes.get(f"{agent}/{id}")) for agent, id in own),
    ]


def needs(observed: Observation, recorded: Collection[str]) -> set[str]:
    """Return the ids of releases that agents run, may go back to, or are to have."""
    return {*recorded, *observed.needed_releases}


def _recorded(snapshot: Lookup, host: Host) -> set[str]:
    ids = set()
    for agent in host.agents.values():
        try:
            ids.add(specification(snapshot, Instance(host, agent)).release_id)
        except ValueError:
            continue  # a release that the manifest does not list any more: what it runs is seen on the host
    return ids


def prune(state: State, going: Sequence[Found], verbose: bool) -> list[Problem]:
    """Remove releases from their hosts; return what went wrong, a problem for each host."""
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.prune import prune as deploy

    snapshot, problems = state.read(), []
    for name in dict.fromkeys(each.host for each in going):
        mine = [each for each in going if each.host == name]
        own: dict[str, list[str]] = {}
        for each in mine:
            if each.agent is not None:
                own.setdefault(each.agent, []).append(each.id)
        # All of the host are held meanwhile: one that is being changed may be about to get one of these.
        agents = sorted({*snapshot.host(name).agents, *own})
        act = partial(deploy, shared=[each.id for each in mine if each.agent is None], own=own, agents=agents)
        try:
            with Progress.shown(f"{name}  connecting", verbose) as progress:
                run(state, snapshot.host(name), [act], progress)
        except Problem as problem:
            problems.append(problem)
    return problems
