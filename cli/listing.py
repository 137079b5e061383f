"""The fleet in one screen: what ``clm ps`` shows of each agent, as rows, as notes below them, and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .condition import SOUND, State
from .fleet import Fleet, Report
from .output import plain

#: What fits 80 columns, and what there is room for elsewhere.
NARROW = ("AGENT", "HOST", "STATE", "PROVIDER", "PORT", "RELEASE", "RST", "AGE")
WIDE = (
    *("AGENT", "HOST", "STATE", "PROVIDER", "MODEL", "PORT", "RELEASE", "METHOD", "HEALTH", "CHANNELS", "RST"),
    *("DRIFT", "MEMORY", "AGE"),
)
#: Age above which a unit counts in the next larger word, in seconds.
_WORDS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def in_trouble(reports: Iterable[Report]) -> list[Report]:
    """Return the agents of which somebody should look after one."""
    return [each for each in reports if each.state not in SOUND or _stopped_by_another(each)]


def _stopped_by_another(report: Report) -> bool:
    """Tell whether an agent does not run although it is to start with its host: `clm agent stop` disables, too."""
    return report.state == "stopped" and report.seen is not None and bool(report.seen.unit and report.seen.unit.enabled)


def rows(reports: Iterable[Report], now: datetime, *, wide: bool) -> list[tuple[str, ...]]:
    """Return a line for each agent, under :data:`NARROW` or :data:`WIDE`."""
    return [_wide(each, now) if wide else _narrow(each, now) for each in reports]


def notes(fleet: Fleet, reports: Sequence[Report]) -> list[str]:
    """Say below the rows what is wrong, host by host, and what mends it; nothing when all is well."""
    found: list[str] = []
    said: set[str] = set()
    for each in reports:
        host, agent = each.instance
        parts = [part for part in (each.why, *(f"{name} OPEN" for name in each.opened)) if part]
        if each.drift and each.state != "drifted":
            parts.append(f"drifted: {', '.join(each.drift)}")
        if each.seen is not None and each.seen.cut:
            parts.append("its files were not read to their end")
        who = host.name if each.state == "unreachable" else f"{host.name}/{agent.name}"
        if not parts or who in said:
            continue
        said.add(who)
        reason = "; ".join(parts).removeprefix(f"{host.name}: ")
        text = f"{who}: {reason}" if reason.startswith(each.state) else f"{who}: {each.state}: {reason}"
        asked = each.state not in SOUND or each.state in ("running", "not onboarded") or _stopped_by_another(each)
        remedy = each.condition.remedy if asked else None
        found.append(plain(f"{text}\n  {remedy}" if remedy else text))
    for name, strangers in fleet.strangers.items():
        found.append(f"{name}: there are agents that are not on record here: {', '.join(strangers)}")
    return found


def age(since: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one word: ``3m``, ``5d``; ``-`` when it is not known."""
    return "-" if since is None else span(max(0, int((now - since).total_seconds())))


def span(seconds: int) -> str:
    """Return a length of time in one word."""
    return next((f"{seconds // unit}{word}" for unit, word in _WORDS if seconds >= unit), "0s")


def health(report: Report) -> str:
    """Say in a word what the agent's API says: ``ok``, a status, or ``-`` when it was not asked."""
    seen = report.seen
    if seen is None or not seen.answers:
        return "-"
    if seen.healthy:
        return "ok"
    return next((str(a.status or "silent") for a in seen.answers.values() if a.status != 200), "no")


def counts(reports: Iterable[Report]) -> Mapping[State, int]:
    """Return how many agents are in each state."""
    found: dict[State, int] = {}
    for each in reports:
        found[each.state] = found.get(each.state, 0) + 1
    return found


def data(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """Return the reports as plain data, for programs."""
    return [each.data() for each in reports]


def _narrow(report: Report, now: datetime) -> tuple[str, ...]:
    host, agent = report.instance
    return (
        *(agent.name, host.name, report.state, agent.provider or "-", str(agent.port), agent.release),
        *(_restarts(report), age(report.changed_at, now)),
    )


def _wide(report: Report, now: datetime) -> tuple[str, ...]:
    host, agent = report.instance
    unit = report.seen.unit if report.seen else None
    channels = ",".join(name if state == "connected" else f"{name}!" for name, state in report.channel_states.items())
    drift = "?" if report.drift_unknown else ",".join(report.drift) or ("-" if report.seen is None else "no")
    memory = f"{unit.memory_bytes // 2**20}M" if unit and unit.memory_bytes is not None else "-"
    return (
        *(agent.name, host.name, report.state, agent.provider or "-", report.model or "-", str(agent.port)),
        *(agent.release, agent.method, health(report), channels or "-", _restarts(report), drift, memory),
        age(report.changed_at, now),
    )


def _restarts(report: Report) -> str:
    return str(report.seen.unit.restarts) if report.seen and report.seen.unit else "-"
