"""What is done with agents: installed, configured, started, stopped, removed. State follows what the host confirms."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import DEFAULT_PORT, AgentSpec, Hardening

from . import asking
from .exits import Exit
from .fleet import observe_host_of
from .hosts import login_of
from .problems import Problem
from .progress import Progress
from .specification import digest, secrets_of, specification
from .state.errors import NotFound
from .state.records import API_SERVER_KEY, Agent, AgentStatus, Applied, Host, Instance, StageResult, agent_scope
from .state.store import State
from .state.timestamps import now

if TYPE_CHECKING:
    from pyinfra_hermes.facts.observation import Observation

    from .engine import Result

_KEY_DESCRIPTION = "Bearer token for hermes local OpenAI-compatible API gateway (loopback only)."


@dataclass(frozen=True)
class Installation:
    """What the user asked ``clm agent install`` for; None keeps what is on record, or takes the default."""

    host: str
    name: str
    release: str | None = None
    port: int | None = None
    hardening: Hardening | None = None
    wheelhouse: Path | None = None
    verbose: bool = False


def install(wanted: Installation) -> bool:
    """
    Install an agent; tell whether anything changed on the host.

    Nothing is recorded before the host passed its preflight. Safe to repeat: a record keeps what it has.
    """
    names.agent_name(wanted.name)
    state = State.open()
    host = state.read().host(wanted.host)
    state.unlock()
    release = manifest().release(wanted.release)
    if wanted.port is not None and not 1024 <= wanted.port <= 65535:
        raise Problem(f"Port {wanted.port} is not between 1024 and 65535", None, Exit.USAGE)

    from .engine import Session, check

    # isort: split
    from pyinfra_hermes.deploys.install import install as deploy
    from pyinfra_hermes.deploys.install import requirements
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
    from pyinfra_hermes.operations.preflight import problems

    with (
        Progress.shown(f"{host.name}  connecting", wanted.verbose) as progress,
        Session.open([login_of(state, host)], progress.step) as session,
    ):
        check(session.results)
        observed = session.observe(wanted.name).get(host.name)
        check(session.results)
        if observed is None:
            raise Problem(f"{host.name}: the host could not be observed")
        port = _port(state, host, wanted, observed)
        chosen = manifest().release(wanted.release or _recorded(host, wanted.name, "release") or release.tag)
        if found := problems(observed, wanted.name, chosen.id, port, requirements(chosen)):
            raise _preflight_problem(host.name, found)
        _reserve(state, wanted, chosen.tag, port)
        try:
            spec = specification(snapshot := state.read(), snapshot.agent(f"{host.name}/{wanted.name}"))
            wheelhouse = Wheelhouse(source=wanted.wheelhouse)
            result = session.run({host.name: [lambda **kw: deploy(spec=spec, wheelhouse=wheelhouse, **kw)]})[host.name]
        except BaseException as error:
            _set_failed(state, host.name, wanted.name, _reason(str(error)) or type(error).__name__)
            raise
    if (problem := _problem(result)) is not None:
        _set_failed(state, host.name, wanted.name, _reason(problem.message))
        raise problem
    with state.transaction() as tx:
        agent = tx.host(host.name).agents[wanted.name]
        agent.status, agent.error = "installed", None
        agent.installed_at = agent.installed_at or now()
    return result.changed


@dataclass(frozen=True)
class Configuration:
    """What the user asked ``clm agent configure`` for."""

    agent: str
    provider: str | None = None
    model: str | None = None
    hardening: Hardening | None = None
    stage: str | None = None
    chat: bool = True
    wheelhouse: Path | None = None
    verbose: bool = False


def configure(wanted: Configuration) -> bool:
    """
    Take an agent through onboarding and bring it to what is on record; tell whether anything changed on the host.

    The choices are recorded first, ``validate`` only once the host has proven the agent.
    """
    state = State.open()
    instance = state.read().agent(wanted.agent)
    if instance.agent.status != "installed":
        raise Problem(
            f"Agent {instance.key} is not installed (status={instance.agent.status})",
            _install_command(instance),
            Exit.REFUSED,
        )
    instance = _choose(state, instance, wanted)
    if wanted.stage is not None and wanted.stage != "validate":
        return False
    return _apply(state, instance, wanted)


def put_in_force(
    state: State, instance: Instance, spec: AgentSpec, secrets: Mapping[str, Secret], verbose: bool
) -> bool:
    """Configure an agent on its host and prove that it serves, without a chat; nothing is recorded."""
    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.configure import configure as deploy

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [lambda **kw: deploy(spec=spec, secrets=secrets, chat=False, progress=progress.waiting, **kw)]

    return _run(state, instance, act, verbose)


def start(reference: str, *, force: bool, restart: bool, verbose: bool) -> bool:
    """Start or restart an agent and prove that it serves; tell whether anything changed."""
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    snapshot.api_key(instance)
    if instance.agent.onboarding_state != "ready" and not force:
        verb = "restart" if restart else "start"
        raise Problem(
            f"Cannot {verb} {instance.key}: onboarding incomplete (state={instance.agent.onboarding_state}). "
            f"Run 'clm agent configure {instance.agent.name}' first.",
            None,
            Exit.REFUSED,
        )
    spec = specification(snapshot, instance)

    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.lifecycle import start as deploy

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [lambda **kw: deploy(spec=spec, restart=restart, progress=progress.waiting, **kw)]

    return _run(state, instance, act, verbose)


def stop(reference: str, *, verbose: bool) -> bool:
    """Stop an agent and keep it from starting with its host; tell whether anything changed."""
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    spec = specification(snapshot, instance)

    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.lifecycle import stop as deploy

    return _run(state, instance, lambda _: [lambda **kw: deploy(spec=spec, **kw)], verbose)


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
    problem = _problem(result)
    if problem is not None:
        if not result.steps and before is not None:
            # The host was not reached: the agent is there as it was.
            _set_status(state, host.name, name, before)
        if problem.exit == Exit.UNREACHABLE:
            problem.remedy = f"{problem.remedy}\n  If the host is gone for good: clm agent remove {name} --local-only"
        raise problem
    return result.changed


def _choose(state: State, instance: Instance, wanted: Configuration) -> Instance:
    """Record the user's choices as results of the stages; what they change makes the proof void."""
    snapshot = state.read()
    agent = instance.agent
    provider = agent.provider
    if wanted.provider is not None:
        provider = snapshot.provider(wanted.provider).name
    elif provider is None:
        if not snapshot.providers:
            raise Problem(
                "No providers configured.",
                "clm provider add NAME --type ollama --url URL --model MODEL",
                Exit.REFUSED,
            )
        provider = asking.choice("Provider", "--provider", sorted(snapshot.providers))
    if wanted.model is not None:
        names.model_id(wanted.model)
    with state.transaction() as tx:
        record = tx.host(instance.host.name).agents[agent.name]
        before = (record.provider, record.model, record.hardening)
        if provider != record.provider:
            # Another provider has other models.
            record.model = None
        record.provider = provider
        record.model = wanted.model or record.model
        record.hardening = wanted.hardening or record.hardening
        if (record.provider, record.model, record.hardening) != before:
            record.onboarding.pop("validate", None)
        for stage in ("providers", "channels"):
            if wanted.stage in (None, stage, "validate"):
                detail: dict[str, str | int | bool] = (
                    {"provider": str(provider)} if stage == "providers" else {"channels": "api"}
                )
                if stage not in record.onboarding or record.onboarding[stage].detail != detail:
                    record.onboarding[stage] = StageResult(status="done", detail=detail)
        # Hermes owns SOUL.md; there is nothing to ask.
        record.onboarding.setdefault("identity", StageResult(status="skipped"))
        specification(tx, Instance(tx.host(instance.host.name), record))
    return state.read().agent(instance.key)


def _apply(state: State, instance: Instance, wanted: Configuration) -> bool:
    snapshot = state.read()
    spec = specification(snapshot, instance)
    known = secrets_of(snapshot, instance)
    files = render(spec, known)

    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.configure import configure as deploy
    from pyinfra_hermes.deploys.install import install as base
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

    wheelhouse = Wheelhouse(source=wanted.wheelhouse)

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [
            lambda **kw: base(spec=spec, wheelhouse=wheelhouse, **kw),
            lambda **kw: deploy(spec=spec, secrets=known, chat=wanted.chat, progress=progress.waiting, **kw),
        ]

    changed = _run(state, instance, act, wanted.verbose)
    with state.transaction() as tx:
        record = tx.host(instance.host.name).agents[instance.agent.name]
        applied = Applied(digest=digest(files), release=spec.release)
        if record.applied is None or (record.applied.digest, record.applied.release) != (
            applied.digest,
            applied.release,
        ):
            record.applied = applied
        if "validate" not in record.onboarding or changed:
            record.onboarding["validate"] = StageResult(status="done", detail={"chat": wanted.chat})
    return changed


def _run(
    state: State,
    instance: Instance,
    act: Callable[[Progress], Sequence[Callable[..., object]]],
    verbose: bool,
) -> bool:
    from .engine import Session

    with (
        Progress.shown(f"{instance.host.name}  connecting", verbose) as progress,
        Session.open([login_of(state, instance.host)], progress.step) as session,
    ):
        result = session.run({instance.host.name: act(progress)})[instance.host.name]
    problem = _problem(result)
    if problem is None:
        return result.changed
    if problem.exit in (Exit.FAILED, Exit.PREFLIGHT) and _still_serves(state, instance):
        problem.message += f"\nAgent {instance.agent.name} still serves on what it had."
        problem.exit = Exit.NOT_APPLIED if problem.exit == Exit.FAILED else problem.exit
    raise problem


def _still_serves(state: State, instance: Instance) -> bool:
    try:
        return observe_host_of(state, instance.host).agent(instance.agent.name).healthy
    except Problem:
        return False


def _problem(result: Result) -> Problem | None:
    from pyinfra_hermes.deploys.configure import ANSWERS
    from pyinfra_hermes.deploys.install import CHECK

    if result.problem is not None:
        return result.problem
    step = result.failed
    if step is None:
        return None
    text = redact(step.text) or "the host gave no reason"
    if step.name.endswith(CHECK):
        return _preflight_problem(result.host, text.splitlines())
    return Problem(
        f"{result.host}: {step.name}: {text}",
        None,
        Exit.UNHEALTHY if step.name.endswith(ANSWERS) else Exit.FAILED,
    )


def _preflight_problem(host: str, lines: Iterable[str]) -> Problem:
    found = list(lines)
    remedy = found.pop() if found and found[-1].startswith("Install it with: ") else None
    listed = "\n".join(f"- {line}" for line in found)
    return Problem(f"{host} is not ready; nothing was made or changed there:\n{listed}", remedy, Exit.PREFLIGHT)


def _port(state: State, host: Host, wanted: Installation, observed: Observation) -> int:
    """Choose the agent's port: as asked, as on record, as the host has it, or the next that nobody has."""
    if wanted.port is not None:
        return wanted.port
    if wanted.name in host.agents:
        return host.agents[wanted.name].port
    there = observed.agent(wanted.name)
    listening = {entry.port for entry in observed.listeners}
    recorded = {agent.port for agent in host.agents.values()}
    if there.ours and there.env_port is not None and there.env_port not in recorded:
        return there.env_port
    others = {agent.env_port for agent in observed.agents.values() if agent.env_port is not None}
    return state.read().next_free_port(host.name, DEFAULT_PORT, listening | others)


def _reserve(state: State, wanted: Installation, release: str, port: int) -> None:
    """Put the agent on record, with its API key, before anything is made on the host: a crash loses neither."""
    with state.transaction() as tx:
        agents = tx.host(wanted.host).agents
        for other in agents.values():
            if other.port == port and other.name != wanted.name:
                raise Problem(
                    f"Port {port} is agent {other.name}'s on {wanted.host}",
                    "Choose another --port",
                    Exit.USAGE,
                )
        record = agents.get(wanted.name)
        if record is None:
            record = agents[wanted.name] = Agent(name=wanted.name, release=release, port=port, status="installing")
        record.release, record.port = release, port
        if wanted.hardening is not None:
            record.hardening = wanted.hardening
        if record.status != "installed":
            record.status, record.error = "installing", None
        scope = agent_scope(wanted.host, wanted.name)
        key = tx.secrets.get(scope, API_SERVER_KEY)
        if key is None or not names.is_api_server_key(key.reveal()):
            if key is not None:
                click.echo(
                    f"Warning: the {API_SERVER_KEY} on record had the wrong shape; a new one was made.",
                    err=True,
                )
            tx.secrets.set(scope, API_SERVER_KEY, Secret(random.token_hex(32)), description=_KEY_DESCRIPTION)


def _set_status(state: State, host: str, name: str, status: AgentStatus) -> AgentStatus | None:
    """Put an agent's status on record and return the one before; None when there is no such agent."""
    with state.transaction() as tx:
        record = tx.host(host).agents.get(name)
        if record is None:
            return None
        before, record.status = record.status, status
    return before


def _set_failed(state: State, host: str, name: str, why: str) -> None:
    with state.transaction() as tx:
        record = tx.host(host).agents.get(name)
        if record is not None and record.status == "installing":
            record.status, record.error = "failed", why[:500]


def _recorded(host: Host, name: str, attribute: str) -> Any:
    record = host.agents.get(name)
    return None if record is None else getattr(record, attribute)


def _install_command(instance: Instance) -> str:
    return f"clm agent install --type hermes --host {instance.host.name} --name {instance.agent.name}"


def _reason(text: str) -> str:
    # One line for listings: what failed stands first, and what it came down to last.
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return lines[0][:250] if len(lines) == 1 else f"{lines[0][:250]} ... {lines[-1][-250:]}"
