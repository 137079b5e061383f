"""
An agent is moved to another host: the old one goes only once the new one is proven, and at no time do both run.

Until the new one is proven and on record, the record is of the old one, and a failure starts that again. The new host
has a note of where the agent comes from and how far it is, so that a run which was killed is carried on by the next:
``copying`` until the new agent is proven, ``proven`` until nothing of the old one is left.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import DEFAULT_PORT, AgentSpec
from pyinfra_hermes.facts.script import PENDING

from ..acting import observed, run
from ..exits import Exit
from ..problems import Problem
from ..progress import Progress
from ..specification import digest, secrets_of, specification
from ..ssh.openssh import login_of, run_script
from ..state.directory import reason
from ..state.lookup import Lookup
from ..state.records import Agent, Applied, Host, Instance, StageResult, agent_scope
from ..state.store import Snapshot, State
from .archive_keys import in_memory
from .backups import drafting, opened, put_back, take, verify

if TYPE_CHECKING:
    from pyinfra_hermes.facts.observation import Observation


@dataclass(frozen=True)
class Moving:
    """What the user asked ``clm agent move`` for."""

    agent: str
    to: str
    port: int | None = None
    chat: bool = True
    wheelhouse: Path | None = None
    verbose: bool = False


@dataclass(frozen=True)
class Moved:
    """What became of a move."""

    instance: Instance
    #: The host that it left; None when there was nothing left to do.
    left: str | None
    #: Its port there.
    port: int


@dataclass(frozen=True)
class _Note:
    """What a host has noted of an agent that is on its way to it."""

    left: str
    #: Tells whose agent it is, by its API key.
    mark: str
    stage: str

    @classmethod
    def parse(cls, line: str) -> _Note | None:
        words = line.split()
        return cls(*words) if len(words) == 3 and words[2] in ("copying", "proven") else None


@dataclass(frozen=True)
class _Plan:
    """Everything that a move is about."""

    state: State
    old: Instance
    new: Instance
    spec: AgentSpec
    secrets: dict[str, Secret]
    mark: str
    wanted: Moving
    progress: Progress
    #: What becomes of what is on the new host before the copy: nobody has used it, unless it was proven once.
    settling: Literal["keep", "drop"]

    def note(self, stage: str) -> Any:
        from pyinfra_hermes.deploys.arrival import note

        return partial(note, agent=self.new.agent.name, text=f"{self.old.host.name} {self.mark} {stage}")


def move(wanted: Moving) -> Moved:
    """Move an agent to another host. On failure the old one serves."""
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = snapshot.agent(wanted.agent)
    target = snapshot.host(wanted.to)
    mark = _mark(snapshot, instance)
    with Progress.shown(f"{target.name}  connecting", wanted.verbose) as progress:
        if instance.host.name == target.name:
            return _cleared(state, snapshot, instance, mark, progress)
        _check_record(snapshot, instance, target)
        note = _note(state, target, instance.agent.name)
        there = observed(state, target, instance.agent.name, progress)
        ours = note is not None and (note.left, note.mark) == (instance.host.name, mark)
        _check_target(instance, target, there, ours=ours)
        settling: Literal["keep", "drop"] = "keep" if ours and note is not None and note.stage == "proven" else "drop"
        plan = _planned(state, snapshot, instance, target, there, mark, wanted, progress, settling)
        here = observed(state, instance.host, instance.agent.name, progress).agent(instance.agent.name)
        if not here.ours:
            raise Problem(f"Agent {instance.key} is not on its host: nothing can be moved", None, Exit.REFUSED)
        runs = here.unit is not None and here.unit.active not in ("inactive", "failed")
        proven = ours and note is not None and note.stage == "proven" and not runs
        if not (proven and there.agent(instance.agent.name).healthy):
            _carry(plan)
        _record(plan)
        _leave(state, instance.host, plan.new, progress)
    return Moved(plan.new, instance.host.name, plan.new.agent.port)


def _carry(plan: _Plan) -> None:
    """Bring the agent to the new host and prove it there; on failure the old one is started again."""
    stopped = False
    try:
        _install(plan)
        stopped = True
        _stop_old(plan)
        _transfer(plan)
    except BaseException as error:
        raise _back(plan, error, stopped=stopped) from None


def _install(plan: _Plan) -> None:
    """Install on the new host, while the old agent goes on."""
    from pyinfra_hermes.deploys.install import install
    from pyinfra_hermes.deploys.lifecycle import stop
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

    wheelhouse = Wheelhouse(source=plan.wanted.wheelhouse)
    deploys = [
        plan.note("copying"),
        partial(install, spec=plan.spec, wheelhouse=wheelhouse, progress=plan.progress.waiting),
        # After a run that was killed it may be running, and must not beside the old one.
        partial(stop, spec=plan.spec),
    ]
    run(plan.state, plan.new.host, deploys, plan.progress)


def _stop_old(plan: _Plan) -> None:
    from pyinfra_hermes.deploys.lifecycle import stop

    # Disabled, too: a host that boots meanwhile must not start it beside the new one.
    spec = specification(plan.state.read(), plan.old)
    run(plan.state, plan.old.host, [partial(stop, spec=spec)], plan.progress)


def _transfer(plan: _Plan) -> None:
    """Take everything along, and prove it. On its way it lies in a file without a name, under a key in memory."""
    from pyinfra_hermes.deploys.configure import configure
    from pyinfra_hermes.deploys.restore import settle

    key, name = in_memory(), plan.old.agent.name
    folder = Path(tempfile.gettempdir())
    try:
        with drafting(folder, key) as draft:
            taken = take(plan.state, plan.old, draft, secrets=True, stop=False, progress=plan.progress)
            _, file = draft.finish_unnamed(taken)
    except OSError as error:
        raise Problem(f"There is no way to keep a copy in {folder}: {reason(error)}", "Set TMPDIR") from None
    with opened(Path(f"the copy of {name}"), lambda header: key, file) as archive:
        verify(archive, plan.progress)
        prove = partial(
            configure,
            spec=plan.spec,
            secrets=plan.secrets,
            chat=plan.wanted.chat,
            progress=plan.progress.waiting,
        )
        deploys = [
            put_back(archive, name, stop=False),
            prove,
            partial(settle, agent=name, do=plan.settling, after=lambda path: None),
            plan.note("proven"),
        ]
        run(plan.state, plan.new.host, deploys, plan.progress)


def _record(plan: _Plan) -> None:
    """Put the agent on record at its new host, with its secrets, in one step."""
    old, new = plan.old, plan.new
    try:
        with plan.state.transaction() as tx:
            tx.host(new.host.name).agents[new.agent.name] = _as_recorded(
                tx.host(old.host.name).agents.pop(old.agent.name), plan
            )
            scope = agent_scope(old.host.name, old.agent.name)
            if scope in tx.secrets.scopes:
                tx.secrets.scopes[agent_scope(new.host.name, new.agent.name)] = tx.secrets.scopes.pop(scope)
    except BaseException as error:
        if new.agent.name in plan.state.read().host(new.host.name).agents:
            return
        raise _back(plan, error, stopped=True) from None


def _as_recorded(record: Agent, plan: _Plan) -> Agent:
    applied = Applied(digest=digest(render(plan.spec, plan.secrets)), release=plan.spec.release)
    proof = StageResult(status="done", detail={"chat": plan.wanted.chat})
    onboarding = {**record.onboarding, "validate": proof}
    return record.model_copy(update={"port": plan.spec.port, "applied": applied, "onboarding": onboarding})


def _leave(state: State, old: Host, new: Instance, progress: Progress) -> None:
    """Remove what is left on the old host; the new one serves, whatever comes of it."""
    from pyinfra_hermes.deploys.arrival import note
    from pyinfra_hermes.deploys.remove import remove

    name = new.agent.name
    try:
        run(state, old, [partial(remove, agent=name)], progress)
        run(state, new.host, [partial(note, agent=name, text=None)], progress)
    except Problem as problem:
        raise Problem(
            f"Agent {name} is moved: it runs and answers on {new.host.name}. "
            f"What is left of it on {old.name}, stopped, could not be removed: {problem.message}",
            f"Later: clm agent move {name} --to {new.host.name}",
            problem.exit,
        ) from None


def _cleared(state: State, snapshot: Snapshot, instance: Instance, mark: str, progress: Progress) -> Moved:
    """Finish a move of which only the old host was left to be cleared."""
    note = _note(state, instance.host, instance.agent.name)
    if note is None or note.mark != mark or note.left not in snapshot.hosts or note.left == instance.host.name:
        return Moved(instance, None, instance.agent.port)
    if instance.agent.name in snapshot.hosts[note.left].agents:
        # There is another one of that name by now.
        return Moved(instance, None, instance.agent.port)
    _leave(state, snapshot.hosts[note.left], instance, progress)
    return Moved(instance, note.left, instance.agent.port)


def _back(plan: _Plan, error: BaseException, *, stopped: bool) -> BaseException:
    """Take away what was made on the new host, and have the old agent serve; return what ends the command."""
    from pyinfra_hermes.deploys.lifecycle import start
    from pyinfra_hermes.deploys.remove import remove

    old, new = plan.old, plan.new
    left = ""
    plan.progress.waiting(f"going back to {old.host.name}")
    try:
        # First of all: while both run, both answer on the same channels.
        run(plan.state, new.host, [partial(remove, agent=new.agent.name)], plan.progress)
    except Problem as trouble:
        left = (
            f"\nWhat was made on {new.host.name} could not be removed: {trouble.message}\n"
            f"It may run there, too, until: clm agent remove {new.agent.name} --host {new.host.name}"
        )
    message = error.message if isinstance(error, Problem) else None
    remedy = error.remedy if isinstance(error, Problem) else None
    if stopped:
        spec = specification(plan.state.read(), old)
        try:
            run(plan.state, old.host, [partial(start, spec=spec, progress=plan.progress.waiting)], plan.progress)
        except Problem as trouble:
            why = f"Agent {old.key} could not be started again: {trouble.message}"
            return Problem(
                f"{message or type(error).__name__}\n{why}{left}",
                f"clm agent start {old.agent.name}",
                Exit.UNHEALTHY,
            )
    if message is None:
        if left:
            click.echo(left.strip(), err=True)
        return error
    return Problem(
        f"{message}\nAgent {old.agent.name} was not moved: it serves on {old.host.name} as before.{left}",
        remedy,
        Exit.NOT_APPLIED,
    )


def _check_record(snapshot: Snapshot, instance: Instance, target: Host) -> None:
    """Refuse what can be told without a connection."""
    agent = instance.agent
    if agent.status != "installed" or agent.onboarding_state != "ready":
        raise Problem(
            f"Agent {instance.key} is not configured yet (state={agent.onboarding_state}), so there is nothing to move",
            f"clm agent configure {agent.name}",
            Exit.REFUSED,
        )
    if agent.name in target.agents:
        raise Problem(f"Host {target.name} has an agent {agent.name} on record already", None, Exit.REFUSED)
    if snapshot.secrets.scopes.get(agent_scope(target.name, agent.name)):
        raise Problem(
            f"There are secrets under {agent_scope(target.name, agent.name)}, which the agent would take over",
            f"clm agent remove {agent.name} --host {target.name}",
            Exit.REFUSED,
        )
    for other in snapshot.instances():
        if other.key == instance.key:
            continue
        shared = _tokens(snapshot, instance.key) & _tokens(snapshot, other.key)
        if shared:
            names = ", ".join(sorted(key for key, _ in shared))
            raise Problem(
                f"{instance.key} and {other.key} have the same {names}: one token must not run twice",
                f"clm secret set {agent.name} {names.partition(',')[0]}",
                Exit.REFUSED,
            )


def _tokens(snapshot: Lookup, scope: str) -> set[tuple[str, str]]:
    entries = snapshot.secrets.scopes.get(scope, {})
    kept = {key: entry.kept() for key, entry in entries.items() if key.endswith("_TOKEN")}
    return {
        (key, hashlib.sha256((value.reveal() if isinstance(value, Secret) else value.text).encode()).hexdigest())
        for key, value in kept.items()
    }


def _check_target(instance: Instance, target: Host, there: Observation, *, ours: bool) -> None:
    agent = there.agent(instance.agent.name)
    if agent.traces and not ours:
        raise Problem(
            f"{target.name} has something of an agent {agent.name} that is not on record: {', '.join(agent.traces)}",
            f"If it may go: clm agent remove {agent.name} --host {target.name}",
            Exit.PREFLIGHT,
        )


def _planned(
    state: State,
    snapshot: Snapshot,
    instance: Instance,
    target: Host,
    there: Observation,
    mark: str,
    wanted: Moving,
    progress: Progress,
    settling: Literal["keep", "drop"],
) -> _Plan:
    from pyinfra_hermes.deploys.install import requirements
    from pyinfra_hermes.operations.preflight import problems

    port = _port(snapshot, instance, target, there, wanted.port)
    new = Instance(target, instance.agent.model_copy(update={"port": port}))
    spec, known = specification(snapshot, new), secrets_of(snapshot, instance)
    render(spec, known)
    release = manifest().release(spec.release)
    if found := problems(there, spec.name, spec.release_id, port, requirements(release, spec.method)):
        listed = "\n".join(f"- {line}" for line in found)
        raise Problem(
            f"{target.name} is not ready; agent {spec.name} serves on {instance.host.name} as before:\n{listed}",
            None,
            Exit.PREFLIGHT,
        )
    return _Plan(state, instance, new, spec, known, mark, wanted, progress, settling)


def _port(snapshot: Snapshot, instance: Instance, target: Host, there: Observation, wanted: int | None) -> int:
    """Return the port that was asked for, or the one it has, or the next that is free there."""
    own = there.agent(instance.agent.name)
    held = own.listening.port if own.listening is not None else None
    taken = {entry.port for entry in there.listeners if entry.port != held}
    taken |= {agent.env_port for name, agent in there.agents.items() if name != own.name and agent.env_port is not None}
    recorded = {agent.port for agent in target.agents.values()}
    if wanted is not None:
        if not 1024 <= wanted <= 65535:
            raise Problem(f"Port {wanted} is not between 1024 and 65535", None, Exit.USAGE)
        if wanted in taken or wanted in recorded:
            raise Problem(f"Port {wanted} is taken on {target.name}", "Leave out --port", Exit.PREFLIGHT)
        return wanted
    if instance.agent.port not in taken | recorded:
        return instance.agent.port
    return snapshot.next_free_port(target.name, DEFAULT_PORT, taken)


def _note(state: State, host: Host, name: str) -> _Note | None:
    path = f"{PENDING}/{name}.arrival"
    said = run_script(login_of(state, host), f"[ ! -f {path} ] || head -n 1 {path}\n")
    return _Note.parse(said)


def _mark(snapshot: Lookup, instance: Instance) -> str:
    key = snapshot.api_key(instance).reveal()
    return hashlib.sha256(f"arrival of {key}".encode()).hexdigest()[:16]
