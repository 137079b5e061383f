"""How agents are: hosts asked side by side over OpenSSH, with the very script that the deploys observe with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pyinfra_hermes.deploys.model.channels import CATALOGUE
from pyinfra_hermes.deploys.model.layout import Layout
from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.references import UnresolvedSecret
from pyinfra_hermes.facts.observation import AgentState, Observation, parse
from pyinfra_hermes.facts.script import observe_agents

from .catalogues.channels import opened
from .hosts import login_of
from .output import plain
from .problems import Problem
from .specification import secrets_of, specification
from .ssh.openssh import run_script
from .state.errors import KeyUnavailable, StateError, WrongKey
from .state.lookup import Lookup
from .state.records import Host, Instance
from .state.store import State
from .state.unlocking import without_asking

_SECONDS = 15
#: A dead host must not keep the others' states from the reader for long.
_CONNECT_SECONDS = 4
_HOSTS_AT_ONCE = 32
#: Seconds that a running unit may take until its API listens; channels that cannot be reached cost 30 each.
_START_SECONDS = 180
_LONGEST_COMPLAINT = 200
_NOT_RUNNING = "not running"
#: What keeps us from knowing what a host should have.
_UNKNOWN = (KeyUnavailable, WrongKey, UnresolvedSecret)


@dataclass(frozen=True)
class Report:
    """One agent as it is on record and as it is."""

    instance: Instance
    #: What the host says of it; None when the host could not be asked.
    seen: AgentState | None
    state: str
    #: Why the state is what it is, when it is not plain.
    why: str
    #: What on the host differs from what is on record, by name; values are not shown.
    drift: tuple[str, ...]
    #: Why it is not known whether something differs: the secrets are encrypted and there is no key, for one.
    drift_unknown: str | None = None

    @property
    def opened(self) -> Mapping[str, str]:
        """The channels that anybody may use, each with the reason."""
        return opened(self.instance.agent)

    @property
    def channels(self) -> Mapping[str, str]:
        """How each channel is, in a few words: what the daemon says of those that it runs, and of access."""
        found = dict(self.seen.channels) if self.seen else {}
        complaints = self.seen.channel_complaints if self.seen else {}
        found |= _absent(self.instance, self.seen) if self.seen and self.seen.healthy else {}
        return {
            name: state
            + (f" ({_said(complaints[name])})" if name in complaints and state != "connected" else "")
            + (" OPEN" if name in self.opened else "")
            for name, state in found.items()
        }

    def data(self) -> dict[str, Any]:
        """Return the report as plain data, for programs."""
        host, agent = self.instance
        seen, unit = self.seen, self.seen.unit if self.seen else None
        return {
            "name": agent.name,
            "host": host.name,
            "address": host.address,
            "state": self.state,
            "why": self.why,
            "onboarding": agent.onboarding_state,
            "provider": agent.provider,
            "model": agent.model,
            "port": agent.port,
            "release": agent.release,
            "hardening": agent.hardening,
            "drift": None if self.drift_unknown else list(self.drift),
            "drift_unknown": self.drift_unknown,
            "healthy": bool(seen and seen.healthy),
            "channels": dict(seen.channels) if seen else {},
            "channel_complaints": {name: _said(text) for name, text in seen.channel_complaints.items()} if seen else {},
            "open": dict(self.opened),
            "linger": "allowed" if seen and seen.linger else "no",
            "unit": None
            if unit is None
            else {
                "active": unit.active,
                "sub": unit.sub,
                "enabled": unit.enabled,
                "restarts": unit.restarts,
                "since": unit.since,
                "main_pid": unit.main_pid,
                "memory_bytes": unit.memory_bytes,
            },
            "installed_at": agent.installed_at.isoformat() if agent.installed_at else None,
            "applied_at": agent.applied.at.isoformat() if agent.applied else None,
        }


def observe_host_of(state: State, host: Host) -> Observation:
    """Ask one host about all its agents. Raises :class:`Problem`."""
    script = observe_agents(host.agents)
    answer = run_script(login_of(state, host), script, seconds=_SECONDS, connect_seconds=_CONNECT_SECONDS)
    return parse(answer.split("\n"))


def reports(state: State, snapshot: Lookup, hosts: Iterable[Host]) -> list[Report]:
    """Ask hosts side by side and report on every agent of theirs; a host that does not answer delays no other."""
    asked = [host for host in hosts if host.agents]

    def ask(host: Host) -> Observation | Problem:
        try:
            return observe_host_of(state, host)
        except Problem as problem:
            return problem
        except ValueError as error:
            return Problem(f"{host.name}: its answer cannot be read: {error}")

    with ThreadPoolExecutor(_HOSTS_AT_ONCE) as pool:
        answers = dict(zip((host.name for host in asked), pool.map(ask, asked), strict=True))
    return [
        report(snapshot, Instance(host, agent), answers[host.name]) for host in asked for agent in host.agents.values()
    ]


def report(snapshot: Lookup, instance: Instance, answer: Observation | Problem) -> Report:
    """Say how one agent is, from what its host answered."""
    if isinstance(answer, Problem):
        return Report(instance, None, "unreachable", answer.message, ())
    seen = answer.agent(instance.agent.name)
    state, why = _state(instance, answer, seen)
    try:
        with without_asking():
            return Report(instance, seen, state, why, tuple(_drift(snapshot, instance, answer, seen)))
    except _UNKNOWN as error:
        return Report(instance, seen, state, why, (), error.message if isinstance(error, StateError) else str(error))


def _state(instance: Instance, observed: Observation, seen: AgentState) -> tuple[str, str]:
    agent, unit = instance.agent, seen.unit
    if agent.status != "installed" and not seen.healthy:
        return ("install failed" if agent.status == "failed" else agent.status), agent.error or ""
    if not seen.traces:
        return "missing", "nothing of it is on the host"
    if seen.account is not None and not seen.ours:
        return "unknown", f"the account {agent.name} is not ours"
    if unit is None:
        return "missing", "its unit is not on the host"
    # One that asked for its restart (exit status 75) ended with success; one that was stopped after it had been
    # restarted once is no loop, nor is one that just starts again.
    died = unit.sub.startswith("auto-restart") and unit.result != "success"
    if died or (unit.running and unit.restarts > 1 and not seen.healthy):
        return "crash-looping", f"{unit.restarts} restarts, exit status {unit.exit_status}"
    if unit.active == "failed":
        return "failed", f"{unit.result}, exit status {unit.exit_status}"
    if unit.running:
        return _running(instance, observed, seen)
    if unit.active in ("activating", "deactivating", "reloading"):
        return {"activating": "starting", "deactivating": "stopping"}.get(unit.active, unit.active), unit.sub
    if agent.onboarding_state != "ready":
        return "not onboarded", f"onboarding is at {agent.onboarding_state}"
    return "stopped", "" if not unit.enabled else "it is enabled and will start with the host"


def _running(instance: Instance, observed: Observation, seen: AgentState) -> tuple[str, str]:
    port = instance.agent.port
    if seen.healthy:
        broken = {name: state for name, state in seen.channels.items() if state != "connected"}
        broken |= {name: state for name, state in _absent(instance, seen).items() if state == _NOT_RUNNING}
        if broken:
            said = {name: f": {_said(text)}" for name, text in seen.channel_complaints.items()}
            return "degraded", "; ".join(f"{name} {state}{said.get(name, '')}" for name, state in broken.items())
        if seen.proof_pending:
            return "running", "not proven since it was started"
        state = instance.agent.onboarding_state
        return "running", "" if state == "ready" else f"on what it had: onboarding is at {state}"
    holder = observed.listener(port)
    if seen.listening is None and holder is not None:
        return "unhealthy", f"port {port} is held by another process (pid {holder.pid})"
    if seen.listening is None:
        age = seen.unit.age_seconds if seen.unit else None
        if age is not None and age < _START_SECONDS:
            return "starting", f"for {age} s; nothing listens on port {port} yet"
        return "unhealthy", f"nothing listens on port {port}"
    answers = ", ".join(f"{name} {answer.status or 'no answer'}" for name, answer in seen.answers.items())
    return "unhealthy", answers or "its .env has no valid API_SERVER_KEY"


def _absent(instance: Instance, seen: AgentState) -> dict[str, str]:
    """Return the channels on record that the daemon does not know of."""
    state = _NOT_RUNNING if "validate" in instance.agent.onboarding else "not applied"
    return {
        name: state
        for name in instance.agent.channels
        if name in CATALOGUE and not CATALOGUE[name].always_on and name not in seen.channels
    }


def _said(complaint: str) -> str:
    """Return a daemon's words in one line, without secrets and without what could steer a terminal."""
    line = " ".join(plain(redact(complaint)).split())
    return line if len(line) <= _LONGEST_COMPLAINT else f"{line[:_LONGEST_COMPLAINT]}..."


def _drift(snapshot: Lookup, instance: Instance, observed: Observation, seen: AgentState) -> Iterable[str]:
    if instance.agent.applied is None or not seen.ours:
        return
    paths = Layout(instance.agent.name)
    try:
        files = render(specification(snapshot, instance), secrets_of(snapshot, instance))
    except _UNKNOWN:
        raise
    except Exception as error:
        # What is on record cannot be rendered: that is worth a line in a listing, not the end of it.
        yield f"record: {error}"
        return
    wanted: Mapping[str, bool] = {
        ".env": _is(seen, "env", files.env.reveal(), "600", paths.agent),
        **{
            f"credentials/{name}": _is(seen, f"credentials/{name}", text.reveal(), "600", paths.agent)
            for name, text in files.credentials.items()
        },
        **{f"mcp-tokens/{name}": seen.seeded(name, seed.content.reveal()) for name, seed in files.seeds.items()},
        "config.yaml": seen.config_has(files.leaves, files.absent_leaves),
        paths.service: _is(seen, "unit", files.service, "644", "root"),
        "release": files.release.id in observed.releases,
        "the running daemon": not (seen.restart_pending and seen.unit is not None and seen.unit.running),
    }
    yield from (name for name, same in wanted.items() if not same)


def _is(seen: AgentState, key: str, text: str, mode: str, owner: str) -> bool:
    found = seen.paths.get(key)
    return found is not None and found.is_file(text.encode(), mode, owner)
