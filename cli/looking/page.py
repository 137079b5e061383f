"""The page about one agent: everything that one look tells of it, as rows for people and as data for programs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyinfra_hermes.facts.examination import AgentExamination
from pyinfra_hermes.facts.observation import AgentState, UnitState

from ..condition import said
from ..fleet import Report
from ..listing import span
from ..output import plain
from .findings import Finding

#: What is told of its home, and how it is called.
_PARTS = (
    (".", "home"),
    (".hermes/state.db", "state.db"),
    (".hermes/sessions", "sessions"),
    (".hermes/memories", "memories"),
    (".hermes/logs", "logs"),
)
#: The frame in which the daemon says that it starts.
_BANNER = re.compile("\\]: [┌│├└]")
_NOT_ASKED = "not known: the host was not reached"


@dataclass(frozen=True)
class Page:
    """One agent, its troubles, and the last lines of its journal."""

    report: Report
    looked: AgentExamination | None
    #: What is wrong with it, and worth a note; the good is in the rows.
    findings: Sequence[Finding]

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        report, seen = self.report, self.report.seen
        host, agent = report.instance
        unit = seen.unit if seen else None
        model = f", model {report.model}" if report.model else ""
        rows = [
            ("agent", report.instance.key),
            ("state", f"{report.state}{f': {plain(report.why)}' if report.why else ''}"),
            ("onboarding", agent.onboarding_state),
            ("provider", f"{agent.provider or '-'}{model}"),
            ("release", self._release()),
            ("address", f"http://127.0.0.1:{agent.port}/v1, on {host.name} only"),
            ("proof", _proof(seen, agent.port) if seen else _NOT_ASKED),
            ("channels", "\n".join(f"{name} {state}" for name, state in report.channels.items()) or "-"),
            ("unit", _unit(unit) if unit else "-"),
            ("since", _since(unit)),
            ("memory", _memory(unit)),
            ("tasks", _tasks(unit)),
            ("hardening", self._hardening()),
            ("linger", self._linger()),
            ("sizes", self._sizes()),
            ("drift", self._drift()),
            ("changed", self._changed()),
        ]
        return [(name, plain(value)) for name, value in rows if value]

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        looked = self.looked
        return {
            **self.report.data(),
            "exposure": looked.exposure if looked else None,
            "sizes_kib": dict(looked.sizes) if looked else {},
            "oom_kills": looked.oom_kills if looked else None,
            "examined": None if looked is None else _examined(looked),
            "troubles": [finding.data() for finding in self.findings],
            "journal": [said(line) for line in looked.journal] if looked else [],
        }

    def _drift(self) -> str:
        if self.report.seen is None:
            return _NOT_ASKED
        if self.report.drift_unknown:
            return f"not known: {self.report.drift_unknown}"
        return ", ".join(self.report.drift) or "none"

    def _release(self) -> str:
        agent, seen = self.report.instance.agent, self.report.seen
        installed = seen.releases.get(seen.runs or "") if seen else None
        more = f", Hermes {installed.version}, python {installed.python}" if installed else ""
        if installed and installed.fallback:
            more += f"; packages by its fallback tier ({said(installed.fallback)}), without hashes"
        return f"{agent.release}, by {agent.method}{more}"

    def _hardening(self) -> str:
        exposure = self.looked.exposure if self.looked else None
        rated = f", exposure {exposure} of 10 as systemd rates it" if exposure is not None else ""
        return f"{self.report.instance.agent.hardening}{rated}"

    def _linger(self) -> str:
        if self.report.seen is None:
            return ""
        if self.report.seen.linger:
            return "ENABLED: its own user manager runs outside the sandbox"
        return "no"

    def _sizes(self) -> str:
        if self.looked is None:
            return ""
        sizes = self.looked.sizes
        return ", ".join(f"{word} {_size(sizes[part])}" for part, word in _PARTS if part in sizes)

    def _changed(self) -> str:
        seen, at = self.report.seen, self.report.changed_at
        if seen is not None and (last := seen.last_change) is not None:
            reason = f": {last.reason}" if last.reason else ""
            return said(f"{last.at}, {last.what} by {last.by}, {last.result}{reason}")
        return f"{at.isoformat()}, by this machine's record" if at else ""


def journal_of(looked: AgentExamination | None, lines: int) -> list[str]:
    """Return the last lines of its journal, without secrets and without what could steer a terminal."""
    told = [line for line in looked.journal if not _BANNER.search(line)] if looked and lines else []
    return [said(line) for line in told[-lines:]]


def _examined(looked: AgentExamination) -> dict[str, Any]:
    told = asdict(looked)
    for name in ("name", "journal", "exposure", "sizes", "oom_kills"):
        del told[name]
    return told


def _proof(seen: AgentState, port: int) -> str:
    if seen.unit is None or not seen.unit.running:
        return "-"
    parts = []
    if seen.listening is None:
        parts.append(f"port {port} is not held by its process")
    else:
        parts.append(f"its process (pid {seen.unit.main_pid}) holds {seen.listening.address}:{seen.listening.port}")
    parts += [f"{name} {answer.status or 'silent'}" for name, answer in seen.answers.items()]
    if seen.turn is not None:
        parts.append("its model answered last" if seen.turn.answered else "its model did not answer last")
    return ", ".join(parts)


def _unit(unit: UnitState) -> str:
    enabled = "enabled" if unit.enabled else "disabled"
    return f"{unit.active} ({unit.sub}), {enabled}, {unit.restarts} restarts"


def _since(unit: UnitState | None) -> str:
    if unit is None or not (unit.since or unit.changed):
        return "-"
    age = f", {span(unit.age_seconds)} ago" if unit.age_seconds is not None else ""
    return f"{unit.changed if unit.active != 'active' and unit.changed else unit.since}{age}"


def _memory(unit: UnitState | None) -> str:
    if unit is None or unit.memory_bytes is None:
        return "not known"
    limit = f" of {unit.memory_max // 2**20} MiB" if unit.memory_max else ""
    cpu = f"; {unit.cpu_seconds:.0f} s of CPU" if unit.cpu_seconds is not None else ""
    return f"{unit.memory_bytes // 2**20} MiB{limit}{cpu}"


def _tasks(unit: UnitState | None) -> str:
    if unit is None or unit.tasks is None:
        return ""
    return f"{unit.tasks}{f' of {unit.tasks_max}' if unit.tasks_max else ''}"


def _size(kib: int | None) -> str:
    if kib is None:
        return "?"
    return f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"
