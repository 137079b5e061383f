"""How hosts and agents are as metrics, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pyinfra_hermes.facts.observation import Observation

from .condition import SOUND
from .fleet import Fleet, Report
from .state.records import Provider

_CHANNEL = re.compile(r"[a-z0-9_-]{1,32}")
_MOST_CHANNELS = 32

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True)
class Metric:
    """One metric with its samples."""

    name: str
    type: Literal["gauge", "counter"]
    help: str
    samples: tuple[Sample, ...]


def metrics(fleet: Fleet, seconds: float, providers: Mapping[str, Provider]) -> list[Metric]:
    """
    Return what was seen of a fleet, which took so many seconds to ask.

    ``providers``: those on record, for their models.

    Of an agent whose host did not answer there is only what is on record: nothing is made up, and nothing looks healthy
    that was not seen to be.
    """
    hosts = tuple(
        ({"host": host}, float(isinstance(answer, Observation))) for host, answer in sorted(fleet.answers.items())
    )
    duration: tuple[Sample, ...] = (({}, round(seconds, 3)),)
    info = tuple(_info(each, providers) for each in fleet.reports)
    return [
        Metric("hermes_scrape_duration_seconds", "gauge", "How long it took to ask all hosts.", duration),
        Metric("hermes_host_up", "gauge", "Whether the host answered (1) or could not be asked (0).", hosts),
        Metric("hermes_agent_info", "gauge", "What the agent is on record as; always 1.", info),
        *(
            Metric(name, type_, help_, tuple(sample for each in fleet.reports for sample in read(each)))
            for name, type_, help_, read in _OF_AGENTS
        ),
    ]


def exposition(found: list[Metric]) -> str:
    """Return metrics as Prometheus reads them; one without samples is left out."""
    lines = []
    for metric in found:
        if metric.samples:
            lines.append(f"# HELP {metric.name} {_escaped(metric.help, quotes=False)}")
            lines.append(f"# TYPE {metric.name} {metric.type}")
            lines += [f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def data(found: list[Metric]) -> list[dict[str, object]]:
    """Return metrics as plain data, a sample each."""
    return [
        {"name": metric.name, "type": metric.type, "labels": dict(labels), "value": value}
        for metric in found
        for labels, value in metric.samples
    ]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str, *, quotes: bool = True) -> str:
    # The format knows three escapes; anything else is taken as it is, so no other control character gets in.
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    text = text.replace('"', '\\"') if quotes else text
    return "".join(char if char.isprintable() else "?" for char in text)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _who(report: Report, **more: str | None) -> Labels:
    own = {"host": report.instance.host.name, "agent": report.instance.agent.name}
    return {**own, **{name: value or "" for name, value in more.items()}}


def _info(report: Report, providers: Mapping[str, Provider]) -> Sample:
    agent = report.instance.agent
    provider = providers.get(agent.provider or "")
    model = agent.model or (str(provider.options.get("model", "")) if provider else "")
    return _who(report, release=agent.release, method=agent.method, provider=agent.provider, model=model), 1


def _up(report: Report) -> Iterator[Sample]:
    if report.seen is not None:
        yield _who(report), float(report.seen.unit is not None and report.seen.unit.running)


def _healthy(report: Report) -> Iterator[Sample]:
    if report.seen is not None:
        yield _who(report), float(report.seen.healthy)


def _trouble(report: Report) -> Iterator[Sample]:
    yield _who(report), float(report.state not in SOUND)


def _drifted(report: Report) -> Iterator[Sample]:
    if report.seen is not None and report.drift_unknown is None:
        yield _who(report), float(bool(report.drift))


def _restarts(report: Report) -> Iterator[Sample]:
    if report.seen is not None and report.seen.unit is not None:
        yield _who(report), report.seen.unit.restarts


def _memory(report: Report) -> Iterator[Sample]:
    unit = report.seen.unit if report.seen else None
    if unit is not None and unit.memory_bytes is not None:
        yield _who(report), unit.memory_bytes


def _cpu(report: Report) -> Iterator[Sample]:
    unit = report.seen.unit if report.seen else None
    if unit is not None and unit.cpu_seconds is not None:
        yield _who(report), unit.cpu_seconds


def _state_db(report: Report) -> Iterator[Sample]:
    if report.seen is not None and "state_db" in report.seen.paths:
        yield _who(report), report.seen.paths["state_db"].size


def _channels(report: Report) -> Iterator[Sample]:
    # The daemon names them, so the agent may: it must neither spoil the page for the others nor flood it.
    named = {name: state for name, state in report.channel_states.items() if _CHANNEL.fullmatch(name)}
    for name, state in sorted(named.items())[:_MOST_CHANNELS]:
        yield _who(report, channel=name), float(state == "connected")


def _changed(report: Report) -> Iterator[Sample]:
    if report.changed_at is not None:
        yield _who(report), round(report.changed_at.timestamp(), 3)


#: Name, type, help and where it is read, of each metric of an agent.
_OF_AGENTS: tuple[tuple[str, Literal["gauge", "counter"], str, Callable[[Report], Iterator[Sample]]], ...] = (
    ("hermes_agent_up", "gauge", "Whether its service runs.", _up),
    ("hermes_agent_healthy", "gauge", "Whether its own process answers on loopback and takes its key.", _healthy),
    ("hermes_agent_trouble", "gauge", "Whether somebody should look after it, as clm ps has it.", _trouble),
    ("hermes_agent_drifted", "gauge", "Whether something on its host differs from the record.", _drifted),
    ("hermes_agent_channel_connected", "gauge", "Whether a channel is connected.", _channels),
    ("hermes_agent_restarts_total", "counter", "How often systemd restarted it since it was started.", _restarts),
    ("hermes_agent_cpu_seconds_total", "counter", "CPU time of its service since it was started.", _cpu),
    ("hermes_agent_memory_bytes", "gauge", "Memory of its service.", _memory),
    ("hermes_agent_state_db_bytes", "gauge", "Size of state.db, which holds its sessions.", _state_db),
    ("hermes_agent_changed_timestamp_seconds", "gauge", "When something was last done to it.", _changed),
)  # fmt: skip
