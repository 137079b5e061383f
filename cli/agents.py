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
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import DEFAULT_PORT, AgentSpec, Hardening

from . import asking
from .exits import Exit
from .fleet import observe_host_of
from .hosts import login_of
from .problems import Problem
from .progress import Progress
from .specification import specification
from .state.errors import NotFound
from .state.records import API_SERVER_KEY, Agent, AgentStatus, Host, Instance, agent_scope
from .state.store import State
from .state.timestamps import now

if TYPE_CHECKING:
    from pyinfra_hermes.facts.observation import Observation

    from .engine import Result, Session
    from .onboarding.agentfile import AgentFile

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


def installation(
    file: AgentFile,
    host: str | None,
    name: str | None,
    release: str | None,
    port: int | None,
    hardening: Hardening | None,
    wheelhouse: Path | None,
    verbose: bool,
) -> Installation:
    """Put together what a file says and what options say. Raises :class:`Problem` where they differ."""
    given: dict[str, Any] = {"host": host, "name": name, "release": release, "port": port, "hardening": hardening}
    for key, value in given.items():
        said = file.data.get(key)
        if None not in (said, value) and said != value:
            raise file.problem(f"the file says {key} {said}, and --{key} says {value}", key)
        given[key] = value if value is not None else said
    for key in ("host", "name"):
        if given[key] is None:
            raise Problem(f"{file.source} does not say the agent's {key}", f"Give it with --{key}", Exit.USAGE)
    return Installation(**given, wheelhouse=wheelhouse, verbose=verbose)


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


def put_in_force(
    state: State, instance: Instance, spec: AgentSpec, secrets: Mapping[str, Secret], verbose: bool
) -> bool:
    """Configure an agent on its host and prove that it serves, without a chat; nothing is recorded."""
    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.configure import configure as deploy

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [lambda **kw: deploy(spec=spec, secrets=secrets, chat=False, progress=progress.waiting, **kw)]

    return run_on_host(state, instance, act, verbose)


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

    return run_on_host(state, instance, act, verbose)


def stop(reference: str, *, verbose: bool) -> bool:
    """Stop an agent and keep it from starting with its host; tell whether anything changed."""
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    spec = specification(snapshot, instance)

    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.lifecycle import stop as deploy

    return run_on_host(state, instance, lambda _: [lambda **kw: deploy(spec=spec, **kw)], verbose)


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


def run_on_host(
    state: State,
    instance: Instance,
    act: Callable[[Progress], Sequence[Callable[..., object]]],
    verbose: bool,
    first: Callable[[Session], None] | None = None,
) -> bool:
    """
    Run deploys for one agent on its host, over one connection; tell whether that changed anything.

    ``first`` is called with the session before them, and may raise. Raises :class:`Problem` for what went wrong, which
    says whether the agent still serves on what it had.
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
    remedy = found.pop() if found and found[-1].startswith("Install it ") else None
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


def install_command(instance: Instance) -> str:
    """Spell the command that installs an agent."""
    return f"clm agent install --type hermes --host {instance.host.name} --name {instance.agent.name}"


def _reason(text: str) -> str:
    # One line for listings: what failed stands first, and what it came down to last.
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return lines[0][:250] if len(lines) == 1 else f"{lines[0][:250]} ... {lines[-1][-250:]}"
