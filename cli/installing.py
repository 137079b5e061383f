"""``clm agent install``: what it was asked for, and how an agent comes to its host and on record."""

from __future__ import annotations

import os
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.deploys.model.releases import Method, Release, manifest
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import DEFAULT_PORT, Hardening

from .acting import not_ready, observed_over, problem_of
from .exits import Exit
from .problems import Problem
from .progress import Progress
from .reverting import keep_receipts
from .specification import specification
from .ssh.openssh import login_of
from .state.records import API_SERVER_KEY, API_SERVER_KEY_DESCRIPTION, Agent, Host, Instance, agent_scope
from .state.store import State
from .state.timestamps import now

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.upstream import Upstream
    from pyinfra_hermes.facts.observation import Observation

    from .onboarding.agentfile import AgentFile

#: A release and the method by which it came.
_Before = tuple[str, Method]


@dataclass(frozen=True)
class Installation:
    """What the user asked ``clm agent install`` for; None keeps what is on record, or takes the default."""

    host: str
    name: str
    release: str | None = None
    port: int | None = None
    hardening: Hardening | None = None
    method: Method | None = None
    wheelhouse: Path | None = None
    #: Where upstream's installer comes from and what it clones; None for upstream's own addresses.
    installers: str | None = None
    repository: str | None = None
    #: Whether to install the packages of programs that the host lacks.
    packages: bool = False
    verbose: bool = False


def installation(file: AgentFile | None, given: dict[str, Any], rest: Mapping[str, Any]) -> Installation:
    """
    Put together what a file says and what options say. Raises :class:`Problem` where they differ.

    ``given`` are the options that a file may say, too, ``rest`` the others.
    """
    if file is None:
        return Installation(**given, **rest)
    for key, value in given.items():
        said = file.data.get(key)
        if None not in (said, value) and said != value:
            raise file.problem(f"the file says {key} {said}, and --{key} says {value}", key)
        given[key] = value if value is not None else said
    for key in ("host", "name"):
        if given[key] is None:
            raise Problem(f"{file.source} does not say the agent's {key}", f"Give it with --{key}", Exit.USAGE)
    return Installation(**given, **rest)


def install(wanted: Installation) -> bool:
    """
    Install an agent; tell whether anything changed on the host.

    Nothing is recorded before the host passed its preflight. Safe to repeat: a record keeps what it has.
    """
    names.agent_name(wanted.name)
    state = State.open()
    host = state.read().host(wanted.host)
    state.unlock()
    chosen = manifest().release(wanted.release or _recorded(host, wanted.name, "release"))
    if wanted.port is not None and not 1024 <= wanted.port <= 65535:
        raise Problem(f"Port {wanted.port} is not between 1024 and 65535", None, Exit.USAGE)
    upstream = _upstream(wanted)
    method: Method = wanted.method or _recorded(host, wanted.name, "method") or _usual_method()
    # Its name is asked for once before anything is connected to: there is none when the method cannot install it.
    release_id = chosen.id_of(method)

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
        session.hold(wanted.name)
        observed = observed_over(session, host, wanted.name)
        port = _port(state, host, wanted, observed)
        _refuse_another_release(host, wanted, chosen.tag, method)
        if found := problems(observed, wanted.name, release_id, port, requirements(chosen, method), wanted.packages):
            raise not_ready(host.name, found)
        if not observed.has_release(wanted.name, release_id):
            _say_untested(progress, chosen, method, observed)
        before = _reserve(state, wanted, chosen.tag, method, port)
        try:
            spec = specification(snapshot := state.read(), snapshot.agent(f"{host.name}/{wanted.name}"))
            wheelhouse = Wheelhouse(source=wanted.wheelhouse)

            def act(**kw: Any) -> object:
                told = partial(_tell, progress)
                return deploy(
                    spec=spec,
                    wheelhouse=wheelhouse,
                    upstream=upstream,
                    progress=told,
                    packages=wanted.packages,
                    receipt=True,
                    **kw,
                )

            result = session.run({host.name: [act]})[host.name]
        except BaseException as error:
            _set_failed(state, host.name, wanted.name, _reason(str(error)) or type(error).__name__)
            raise
    problem = problem_of(result)
    keep_receipts(state, host, result, problem)
    if problem is not None:
        # What is under way on a host that was lost is waited for by the same command.
        lost = problem.exit == Exit.UNREACHABLE
        _set_failed(state, host.name, wanted.name, _reason(problem.message), None if lost else before)
        raise problem
    with state.transaction() as tx:
        agent = tx.host(host.name).agents[wanted.name]
        agent.status, agent.error = "installed", None
        agent.installed_at = agent.installed_at or now()
    return result.changed


def _refuse_another_release(host: Host, wanted: Installation, release: str, method: Method) -> None:
    """Refuse to change the release of an agent in use without what an upgrade does: keeping, proving, going back."""
    record = host.agents.get(wanted.name)
    if record is None or record.applied is None or (record.release, record.method) == (release, method):
        return
    way = f" --method {method}" if method != record.method else ""
    raise Problem(
        f"Agent {wanted.name} is on {record.release} by {record.method}; an install does not change that",
        f"clm agent upgrade {wanted.name} --to {release}{way}\n  Or back: clm agent rollback {wanted.name}",
        Exit.REFUSED,
    )


def _upstream(wanted: Installation) -> Upstream:
    from pyinfra_hermes.deploys.upstream import InvalidSource, Upstream

    try:
        return Upstream.of(wanted.installers, wanted.repository)
    except InvalidSource as error:
        raise Problem(str(error)[:1].upper() + str(error)[1:], None, Exit.USAGE) from None


def _usual_method() -> Method:
    """Return the method for an agent of which nothing is said and nothing is on record."""
    said = os.environ.get("HERMES_METHOD") or "installer"
    for method in get_args(Method):
        if said == method:
            return method  # type: ignore[no-any-return]
    raise Problem(f"$HERMES_METHOD is {said!r}", f"Set it to {' or '.join(get_args(Method))}", Exit.USAGE)


def _say_untested(progress: Progress, release: Release, method: Method, observed: Observation) -> None:
    seen = observed.host
    platform = release.platform(seen.os, seen.os_version, seen.arch)
    if platform is not None and platform.status(method) == "untested":
        progress.waiting(f"{release.tag} by {method} is untested on {platform}: clm release show {release.tag}")


def _tell(progress: Progress, text: str) -> None:
    progress.waiting(redact(text))


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


def _reserve(state: State, wanted: Installation, release: str, method: Method, port: int) -> _Before | None:
    """
    Put the agent on record, with its API key, before anything is made on the host: a crash loses neither.

    Returns the release and the method that it was installed with before, if it was.
    """
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
        before = (record.release, record.method) if record.status == "installed" else None
        record.release, record.method, record.port = release, method, port
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
            tx.secrets.set(scope, API_SERVER_KEY, Secret(random.token_hex(32)), description=API_SERVER_KEY_DESCRIPTION)
    return before


def _set_failed(state: State, host: str, name: str, why: str, before: _Before | None = None) -> None:
    """Put on record that an installation failed; an agent that was installed ``before`` has still what it had."""
    with state.transaction() as tx:
        record = tx.host(host).agents.get(name)
        if record is not None and record.status == "installing":
            record.status, record.error = "failed", why[:500]
        if record is not None and before is not None:
            record.release, record.method = before


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
