"""What state an agent is in: one pure function of what is on record and of what its host was seen to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from pyinfra_hermes.deploys.model.channels import CATALOGUE
from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.facts.observation import AgentState, Listener, Observation, UnitState
from pyinfra_hermes.facts.snapshots import Snapshot

from .output import plain
from .state.records import Instance

State = Literal[
    "running",
    "drifted",
    "degraded",
    "starting",
    "stopping",
    "stopped",
    "not onboarded",
    "installing",
    "install failed",
    "crash-looping",
    "port taken",
    "unhealthy",
    "failed",
    "half-removed",
    "missing",
    "unknown",
    "unreachable",
]
#: Every state that there is, the good ones first.
STATES: tuple[State, ...] = get_args(State)
#: States in which nobody needs to do anything.
SOUND: frozenset[State] = frozenset({"running", "starting", "stopping", "stopped", "not onboarded", "installing"})

#: Seconds that a running unit may take until its API listens; channels that cannot be reached cost 30 each.
START_SECONDS = 180
#: A unit that was given up after so many restarts died again and again.
_LOOP = 3
_LONGEST_COMPLAINT = 200
_NOT_RUNNING = "not running"
_TURNS = {
    "connection": "its model could not be reached",
    "401": "its provider refuses the key (HTTP 401)",
    "402": "its provider wants to be paid (HTTP 402)",
    "403": "its provider does not let it use the model (HTTP 403)",
    "404": "its provider does not know the model, or the URL (HTTP 404)",
    "429": "its provider has limited it (HTTP 429)",
}


@dataclass(frozen=True)
class Condition:
    """A state, why it is that, and the command that mends it."""

    state: State
    #: In a few words, when the state does not say it all.
    why: str = ""
    remedy: str | None = None


def condition(instance: Instance, observed: Observation, drift: Sequence[str] = ()) -> Condition:
    """
    Say how an agent is.

    + drift: what on the host differs from what is on record, by name

    ``running`` means proven, as far as one look can: its unit runs, its own process holds the port on loopback, answers
    and takes its key; every channel that is on record is connected; the last question to its model was answered; and
    what is on the host is what is on record.
    """
    seen = observed.agent(instance.agent.name)
    name, unit = instance.agent.name, seen.unit
    again = f"clm agent install --type hermes --host {instance.host.name} --name {name}"
    remove = f"clm agent remove {_reference(instance)}"
    if seen.account is not None and not seen.ours:
        return Condition("unknown", f"the account {name} on the host is not ours", f"{remove} --local-only")
    if instance.agent.status == "removing":
        left = f"still there: {', '.join(seen.traces)}" if seen.traces else "only its record is left"
        return Condition("half-removed", f"its removal did not come to an end; {left}", remove)
    if instance.agent.status != "installed" and not seen.healthy:
        if seen.installation is not None and seen.installation.active:
            return Condition("installing", f"the installer of {seen.installation.release} runs on the host", again)
        if instance.agent.status == "failed":
            return Condition("install failed", instance.agent.error or "", again)
        return Condition("installing", instance.agent.error or "", again)
    if not seen.traces:
        return Condition("missing", "nothing of it is on the host", again)
    if unit is None or seen.account is None:
        gone = "its unit" if unit is None else "its account"
        return Condition("half-removed", f"{gone} is not on the host; still there: {', '.join(seen.traces)}", again)
    found = _of_unit(instance, observed, seen, unit, drift)
    return found if seen.under_way is None else _under_way(instance, seen.under_way, found)


def _under_way(instance: Instance, change: Snapshot, found: Condition) -> Condition:
    """Say that a change is not concluded: it is made at this moment, or was cut off."""
    reference, tag = _reference(instance), change.to.partition("-")[0]
    what = "a configure" if change.what == "configure" else f"the {change.what} to {tag}"
    go_on = "configure {0}" if change.what == "configure" else f"{change.what} {{0}} --to {tag}"
    why = f"{what} of {change.at} is under way or was cut off"
    remedy = f"Go on: clm agent {go_on.format(reference)}\n  Or back to what it had: clm agent rollback {reference}"
    state: State = "drifted" if found.state == "running" else found.state
    return Condition(state, f"{found.why}; {why}" if found.why else why, remedy)


def _of_unit(
    instance: Instance, observed: Observation, seen: AgentState, unit: UnitState, drift: Sequence[str]
) -> Condition:
    reference, port = _reference(instance), instance.agent.port
    doctor = f"clm agent doctor {reference}"
    holder = observed.listener(port)
    # One that asked for its restart (exit status 75) ended with success; one that was stopped after it had been
    # restarted once is no loop, nor is one that just starts again.
    died = unit.sub.startswith("auto-restart") and unit.result != "success"
    if not seen.healthy and holder is not None and holder.pid != unit.main_pid and (died or unit.active != "inactive"):
        return Condition("port taken", _held(port, holder, observed), doctor)
    again = unit.running or (unit.active, unit.sub) == ("activating", "start")
    if died or (again and unit.restarts > 1 and not seen.healthy):
        status = f", exit status {unit.exit_status}" if unit.exit_status else ""
        return Condition("crash-looping", f"{_restarts(unit)}{status}", doctor)
    if unit.active == "failed" and unit.restarts >= _LOOP:
        why = f"given up after {_restarts(unit)}, exit status {unit.exit_status}"
        return Condition("crash-looping", why, doctor)
    if unit.active == "failed":
        return Condition("failed", f"{unit.result}, exit status {unit.exit_status}", doctor)
    if unit.running:
        return _running(instance, seen, unit, drift)
    if unit.active in ("activating", "deactivating", "reloading"):
        return Condition("stopping" if unit.active == "deactivating" else "starting", unit.sub)
    if instance.agent.onboarding_state != "ready":
        why = f"onboarding is at {instance.agent.onboarding_state}"
        return Condition("not onboarded", why, f"clm agent configure {reference}")
    said = ["it is enabled and will start with the host"] if unit.enabled else []
    said += [f"{_held(port, holder, observed)}: it could not start"] if holder is not None else []
    return Condition("stopped", "; ".join(said), f"clm agent start {reference}")


def _running(instance: Instance, seen: AgentState, unit: UnitState, drift: Sequence[str]) -> Condition:
    reference, port = _reference(instance), instance.agent.port
    doctor = f"clm agent doctor {reference}"
    if not seen.healthy:
        return _silent(instance, seen, unit)
    if broken := broken_channels(instance, seen):
        return Condition("degraded", "; ".join(f"{name} {why}" for name, why in broken.items()), doctor)
    if (why := failing_turn(seen)) is not None:
        return Condition("degraded", f"{why}, the last time it was asked", doctor)
    if seen.proof_pending:
        return Condition("degraded", "not proven since it was started", f"clm agent start {reference}")
    configure = f"clm agent configure {reference}"
    if drift:
        return Condition("drifted", ", ".join(drift), configure)
    if seen.listening is not None and seen.listening.port != port:
        return Condition("drifted", f"it listens on port {seen.listening.port}, {port} is on record", configure)
    notes = []
    if instance.agent.onboarding_state != "ready":
        notes.append(f"on what it had: onboarding is at {instance.agent.onboarding_state}")
    if instance.agent.status != "installed":
        notes.append(f"the record says that it is {instance.agent.status}")
    if not unit.enabled:
        notes.append("it will not start with its host")
    return Condition("running", "; ".join(notes), configure if notes else None)


def _silent(instance: Instance, seen: AgentState, unit: UnitState) -> Condition:
    """Say of an agent whose unit runs, and that does not answer as it should, what is wrong."""
    reference, port = _reference(instance), instance.agent.port
    doctor = f"clm agent doctor {reference}"
    if seen.listening is None:
        age = unit.age_seconds
        if age is not None and age < START_SECONDS:
            after = f", after {_restarts(unit)}" if unit.restarts else ""
            return Condition("starting", f"for {age} s{after}; nothing listens on port {port} yet")
        return Condition("unhealthy", f"nothing listens on port {port}", doctor)
    health, models = (seen.answers[name].status if name in seen.answers else None for name in ("health", "models"))
    if not seen.env_key_valid:
        return Condition("unhealthy", "its .env has no valid API_SERVER_KEY", f"clm agent configure {reference}")
    if health is None:
        return Condition("unhealthy", "its files could not be read in time", doctor)
    if health == 0:
        return Condition("unhealthy", f"it listens on {port} and does not answer", f"clm agent restart {reference}")
    if models in (401, 403):
        why = f"it does not take the key in its .env (HTTP {models}): it runs on another one"
        return Condition("unhealthy", why, f"clm agent restart {reference}")
    answers = ", ".join(f"{name} {answer.status or 'no answer'}" for name, answer in seen.answers.items())
    return Condition("unhealthy", answers, doctor)


def broken_channels(instance: Instance, seen: AgentState) -> dict[str, str]:
    """Return the channels that an agent is not connected to and should be, each with its state and complaint."""
    return dict(_broken(instance, seen))


def _broken(instance: Instance, seen: AgentState) -> Iterator[tuple[str, str]]:
    complaints = seen.channel_complaints
    for name, state in seen.channels.items():
        if state != "connected":
            yield said(name), f"{said(state)}: {said(complaints[name])}" if name in complaints else said(state)
    for name, state in absent_channels(instance, seen).items():
        if state == _NOT_RUNNING:
            yield name, state


def failing_turn(seen: AgentState) -> str | None:
    """Say why the last question to its model was not answered; None when it was, or was asked of an earlier daemon."""
    turn = seen.turn
    if turn is None or turn.answered:
        return None
    started = _moment(seen.unit.since) if seen.unit else None
    if started is not None and turn.at < started.timestamp():
        return None
    return _TURNS.get(turn.reason, f"its model did not answer{f' (HTTP {turn.reason})' if turn.reason else ''}")


def absent_channels(instance: Instance, seen: AgentState) -> Mapping[str, str]:
    """Return the channels on record that the daemon does not know of, each with the reason."""
    state = _NOT_RUNNING if "validate" in instance.agent.onboarding else "not applied"
    return {
        name: state
        for name in instance.agent.channels
        if name in CATALOGUE and not CATALOGUE[name].always_on and name not in seen.channels
    }


def said(complaint: str) -> str:
    """Return a daemon's words in one line, without secrets and without what could steer a terminal."""
    line = " ".join(plain(redact(complaint)).split())
    return line if len(line) <= _LONGEST_COMPLAINT else f"{line[:_LONGEST_COMPLAINT]}..."


def _held(port: int, holder: Listener, observed: Observation) -> str:
    others = (a.name for a in observed.agents.values() if a.unit is not None and 0 < a.unit.main_pid == holder.pid)
    who = next((f"agent {name}" for name in others), "another process")
    return f"port {port} is held by {who} (pid {holder.pid})"


def _restarts(unit: UnitState) -> str:
    return f"{unit.restarts} restarts"


def _reference(instance: Instance) -> str:
    """Name an agent for a command, whatever else the fleet has."""
    return f"{instance.host.name}/{instance.agent.name}"


def _moment(text: str) -> datetime | None:
    """Read a time as systemctl(1) prints it in UTC; None when it is none."""
    try:
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None
