"""How agents are, from what their hosts answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pyinfra_hermes.deploys.model.layout import Layout
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.references import UnresolvedSecret
from pyinfra_hermes.facts.observation import AgentState, Observation

from .catalogues.channels import opened
from .condition import Condition, absent_channels, condition, said
from .condition import State as ConditionName
from .problems import Problem
from .specification import secrets_of, specification
from .state.errors import KeyUnavailable, StateError, WrongKey
from .state.lookup import Lookup
from .state.records import Instance
from .state.unlocking import without_asking

#: What keeps us from knowing what a host should have.
_UNKNOWN = (KeyUnavailable, WrongKey, UnresolvedSecret)


@dataclass(frozen=True)
class Report:
    """One agent as it is on record and as it is."""

    instance: Instance
    #: What the host says of it; None when the host could not be asked.
    seen: AgentState | None
    condition: Condition
    #: What on the host differs from what is on record, by name; values are not shown.
    drift: tuple[str, ...] = ()
    #: Why it is not known whether something differs: the secrets are encrypted and there is no key, for one.
    drift_unknown: str | None = None
    #: What it thinks with: the agent's own choice, or its provider's.
    model: str | None = None

    @property
    def state(self) -> ConditionName:
        return self.condition.state

    @property
    def why(self) -> str:
        """Why the state is what it is, when it is not plain."""
        return self.condition.why

    @property
    def opened(self) -> Mapping[str, str]:
        """The channels that anybody may use, each with the reason."""
        return opened(self.instance.agent)

    @property
    def changed_at(self) -> datetime | None:
        """When something was last done to it: by the receipt on its host, else as far as this machine's record goes."""
        agent = self.instance.agent
        if self.seen is not None and self.seen.last_change is not None:
            with suppress(ValueError):
                at = datetime.fromisoformat(self.seen.last_change.at)
                return at if at.tzinfo else at.replace(tzinfo=UTC)
        return agent.applied.at if agent.applied else agent.installed_at

    @property
    def channel_states(self) -> Mapping[str, str]:
        """The state of each channel: what the daemon says of those that it runs, and which of ours it does not run."""
        if self.seen is None:
            return {}
        absent = absent_channels(self.instance, self.seen) if self.seen.healthy else {}
        # Names and states are the daemon's words, too.
        return {said(name): said(state) for name, state in {**self.seen.channels, **absent}.items()}

    @property
    def channels(self) -> Mapping[str, str]:
        """How each channel is, in a few words: its state, the daemon's complaint, and of access."""
        complaints = self.seen.channel_complaints if self.seen else {}
        return {
            name: state
            + (f" ({said(complaints[name])})" if name in complaints and state != "connected" else "")
            + (" OPEN" if name in self.opened else "")
            for name, state in self.channel_states.items()
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
            "remedy": self.condition.remedy,
            "onboarding": agent.onboarding_state,
            "provider": agent.provider,
            "model": self.model,
            "port": agent.port,
            "release": agent.release,
            "method": agent.method,
            "hardening": agent.hardening,
            "drift": None if self.drift_unknown or seen is None else list(self.drift),
            "drift_unknown": self.drift_unknown,
            "healthy": bool(seen and seen.healthy),
            "channels": dict(seen.channels) if seen else {},
            "channel_complaints": {name: said(text) for name, text in seen.channel_complaints.items()} if seen else {},
            "open": dict(self.opened),
            "linger": "allowed" if seen and seen.linger else "no",
            "model_answered": seen.turn.answered if seen and seen.turn else None,
            "unit": None
            if unit is None
            else {
                "active": unit.active,
                "sub": unit.sub,
                "enabled": unit.enabled,
                "restarts": unit.restarts,
                "since": unit.since,
                "changed": unit.changed,
                "main_pid": unit.main_pid,
                "memory_bytes": unit.memory_bytes,
                "memory_high": unit.memory_high,
                "memory_max": unit.memory_max,
                "tasks": unit.tasks,
                "tasks_max": unit.tasks_max,
                "cpu_seconds": unit.cpu_seconds,
            },
            "incomplete": bool(seen and seen.cut),
            "last_change": None
            if seen is None or (last := seen.last_change) is None
            else {"at": last.at, "what": last.what, "by": last.by, "result": last.result, "reason": said(last.reason)},
            "changed_at": self.changed_at.isoformat() if self.changed_at else None,
            "installed_at": agent.installed_at.isoformat() if agent.installed_at else None,
            "applied_at": agent.applied.at.isoformat() if agent.applied else None,
        }


@dataclass(frozen=True)
class Fleet:
    """Hosts as they were seen, side by side, and what that says of their agents."""

    #: What each host answered, or why it did not, by its name; only of those that have agents on record.
    answers: Mapping[str, Observation | Problem]
    reports: tuple[Report, ...]

    @property
    def strangers(self) -> Mapping[str, tuple[str, ...]]:
        """Agents of ours on hosts that are not on record here, by the host's name."""
        known: dict[str, set[str]] = {}
        for each in self.reports:
            known.setdefault(each.instance.host.name, set(each.instance.host.agents))
        found = {
            host: tuple(name for name, seen in answer.agents.items() if name not in known[host] and seen.traces)
            for host, answer in self.answers.items()
            if isinstance(answer, Observation) and host in known
        }
        return {host: names for host, names in found.items() if names}


def report(snapshot: Lookup, instance: Instance, answer: Observation | Problem) -> Report:
    """Say how one agent is, from what its host answered."""
    agent = instance.agent
    provider = snapshot.providers.get(agent.provider or "")
    model = agent.model or (str(provider.options.get("model") or "") if provider else "")
    return replace(_report(snapshot, instance, answer), model=model or None)


def _report(snapshot: Lookup, instance: Instance, answer: Observation | Problem) -> Report:
    if isinstance(answer, Problem):
        return Report(instance, None, Condition("unreachable", answer.message, answer.remedy))
    seen = answer.agent(instance.agent.name)
    try:
        with without_asking():
            drift = tuple(_drift(snapshot, instance, answer, seen))
    except _UNKNOWN as error:
        why = error.message if isinstance(error, StateError) else str(error)
        return Report(instance, seen, condition(instance, answer), (), why)
    return Report(instance, seen, condition(instance, answer, drift), drift)


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
        "release": observed.has_release(instance.agent.name, files.release_id),
        "the running daemon": not (seen.restart_pending and seen.unit is not None and seen.unit.running),
    }
    yield from (name for name, same in wanted.items() if not same)


def _is(seen: AgentState, key: str, text: str, mode: str, owner: str) -> bool:
    found = seen.paths.get(key)
    return found is not None and found.is_file(text.encode(), mode, owner)
