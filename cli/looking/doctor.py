"""The doctor: this machine first, then hosts side by side, each with one look, and each agent's provider by another."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra_hermes.deploys.model.declaration import InvalidSetting
from pyinfra_hermes.deploys.model.releases import UnknownRelease, manifest
from pyinfra_hermes.operations.preflight import Requirements

from .. import checking
from ..condition import said
from ..fleet import Report, report
from ..problems import Problem
from ..ssh import bounded
from ..state.errors import KeyUnavailable, StateError, WrongKey
from ..state.lookup import Lookup
from ..state.records import Host, Instance
from ..state.store import State
from ..state.unlocking import without_asking
from .agent_checks import agent_findings
from .closer import look_at
from .findings import Finding, Findings, Level
from .host_checks import host_findings

_HOSTS_AT_ONCE = 32
_OUTCOMES: dict[str, Level] = {"rate-limited": "warn", "broken": "warn", "no-curl": "note"}


@dataclass(frozen=True)
class Wanted:
    """What is to be looked at; without agents, only this machine."""

    instances: tuple[Instance, ...]
    #: Try the agents' tools under their units' hardening: some seconds for each.
    sandbox: bool
    #: Ask each agent's provider, from its host, whether it takes the key.
    provider: bool


def this_machine() -> list[Finding]:
    """Check what is kept here, and what is needed here; no host is asked anything."""
    found = Findings("clm")
    ssh = shutil.which("ssh")
    if ssh is None:
        found.say("fail", "ssh", "there is no ssh on this machine", "apt-get install openssh-client")
    else:
        version = subprocess.run([ssh, "-V"], capture_output=True, text=True, check=False).stderr.strip()
        found.say("ok", "ssh", version.partition(",")[0])
    kept = checking.check()
    for problem in kept.problems:
        found.say("fail", "state", f"{problem.where}: {problem.what}", problem.remedy)
    for note in kept.notes:
        found.say("note", "state", f"{note.where}: {note.what}", note.remedy)
    if kept.files and not kept.problems:
        found.say("ok", "state", f"{kept.path}: every file is whole, private, and agrees with the others")
    return found.found


def examine(state: State, snapshot: Lookup, wanted: Wanted) -> list[Finding]:
    """Look at hosts side by side, and at the agents on each; what cannot be reached is a finding, too."""
    hosts = {each.host.name: each.host for each in wanted.instances}
    by_host = {name: [each for each in wanted.instances if each.host.name == name] for name in hosts}

    def visit(host: Host) -> list[Finding]:
        return _visit(state, snapshot, host, by_host[host.name], wanted)

    with bounded.side_by_side(_HOSTS_AT_ONCE) as pool:
        return [finding for found in pool.map(visit, hosts.values()) for finding in found]


def _visit(state: State, snapshot: Lookup, host: Host, instances: list[Instance], wanted: Wanted) -> list[Finding]:
    before = time.time()
    try:
        observed, looked = look_at(state, host, [each.agent.name for each in instances], probe=wanted.sandbox)
    except Problem as problem:
        found = Findings(f"host {host.name}")
        found.say("fail", "reached", problem.message.removeprefix(f"{host.name}: "), problem.remedy)
        return found.found
    after = time.time()
    findings = host_findings(host, observed, looked, _requirements(instances), (before, after))
    for instance in instances:
        each = report(snapshot, instance, observed)
        findings += agent_findings(each, observed, looked.agent(instance.agent.name))
        if wanted.provider:
            findings += _provider(snapshot, each)
    return findings


def _requirements(instances: Iterable[Instance]) -> list[Requirements]:
    from pyinfra_hermes.deploys.install import requirements

    found: dict[tuple[str, str], Requirements] = {}
    for _, agent in instances:
        try:
            found[agent.release, agent.method] = requirements(manifest().release(agent.release), agent.method)
        except UnknownRelease:
            # A release that this clm does not know asks for nothing that could be told.
            continue
    return list(found.values())


def _provider(snapshot: Lookup, each: Report) -> list[Finding]:
    """Ask the agent's provider from the agent's host."""
    from ..catalogues import connectivity

    host, agent = each.instance
    reference = f"{host.name}/{agent.name}"
    found = Findings(f"agent {reference}")
    if agent.provider is None:
        return found.found
    again = f"clm provider test {agent.provider} --agent {reference}"
    try:
        with without_asking():
            known = connectivity.known(agent.provider, reference)
            verdict = connectivity.test(known)
    except (KeyUnavailable, WrongKey) as error:
        found.say("note", "provider", f"not asked: {error.message}", again)
    except (Problem, StateError) as error:
        found.say("fail", "provider", said(error.message), error.remedy or again)
    except InvalidSetting as error:
        found.say("fail", "provider", said(str(error)), f"clm provider edit {agent.provider}")
    else:
        text = f"provider {agent.provider}: {said(verdict.sentence)}"
        if verdict.ok:
            found.say("ok", "provider", text)
        else:
            # A list that leaves models out says nothing of those.
            unsure = verdict.outcome == "no-model" and not known.type.probe.lists_all
            found.say("warn" if unsure else _OUTCOMES.get(verdict.outcome, "fail"), "provider", text, again)
    return found.found
