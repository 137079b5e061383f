"""What is wrong with one agent: pure functions of what is on record and what its host was seen to be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pyinfra_hermes.deploys.model.troubles import OF_THE_MODEL, Diagnosis, diagnose
from pyinfra_hermes.facts.examination import AgentExamination
from pyinfra_hermes.facts.observation import AgentState, Observation

from ..condition import said
from ..fleet import Report
from .findings import Finding, Findings, Level

#: What `systemd-analyze security` says at most of the unit as it is written: measured with systemd 252, and some more
#: for versions that know more directives.
EXPOSURES = {"off": 9.6, "standard": 4.5, "strict": 3.0}
_LEVEL_OF_STATE: dict[str, Level] = {
    "running": "ok",
    "starting": "note",
    "stopping": "note",
    "stopped": "note",
    "not onboarded": "note",
    "installing": "warn",
    "drifted": "warn",
    "degraded": "warn",
}
#: What only the agent itself may read: how an observation calls it, a person, and its mode.
_SECRET_FILES = (
    ("env", ".env", "600"),
    ("config", "config.yaml", "600"),
    ("hermes", "~/.hermes", "700"),
    ("home", "its home", "700"),
)
#: States of the unit in which what its journal says of the last run is what is wrong now.
_DOWN = frozenset({"crash-looping", "failed", "unhealthy", "port taken", "degraded", "starting"})


def agent_findings(report: Report, observed: Observation, looked: AgentExamination) -> list[Finding]:
    """Return what was checked of an agent that was looked at, the good among it."""
    host, agent = report.instance
    reference = f"{host.name}/{agent.name}"
    found = Findings(f"agent {reference}")
    _state(found, report)
    if report.seen is None or not report.seen.ours:
        return found.found
    seen = report.seen
    _proof(found, report, seen, reference)
    _channels(found, report, seen, reference)
    _journal(found, report, looked, reference)
    _drift(found, report, reference)
    _files(found, seen, looked, reference)
    _intruders(found, report, seen, looked, reference)
    _sandbox(found, report, looked, reference)
    _resources(found, seen, looked, reference)
    if seen.cut:
        found.say("warn", "size", "its files were not read to their end: what is shown of them is not all")
    return found.found


def _state(found: Findings, report: Report) -> None:
    level = _LEVEL_OF_STATE.get(report.state, "fail")
    why = f": {said(report.why)}" if report.why else ""
    remedy = report.condition.remedy
    # To be sent here from here would be no help.
    found.say(level, "state", f"{report.state}{why}", None if remedy and "agent doctor" in remedy else remedy)


def _proof(found: Findings, report: Report, seen: AgentState, reference: str) -> None:
    if seen.unit is None or not seen.unit.running:
        return
    port = report.instance.agent.port
    if seen.healthy:
        found.say("ok", "api", f"its own process holds port {port} on loopback, answers, and takes its key")
    if seen.listening is not None and not seen.listening.address.strip("[]").startswith(("127.", "::1")):
        found.say(
            "fail",
            "loopback",
            f"it listens on {seen.listening.address}, not on loopback",
            f"clm agent configure {reference}",
        )
    if seen.turn is not None and seen.turn.answered:
        found.say("ok", "model", "its model answered the last question")
    if seen.unit.restarts:
        times = "once" if seen.unit.restarts == 1 else f"{seen.unit.restarts} times"
        found.say("note", "restarts", f"it died and was restarted {times} since its host started it")
    if not seen.unit.enabled:
        found.say("warn", "enabled", "it will not start with its host", f"clm agent start {reference}")


def _channels(found: Findings, report: Report, seen: AgentState, reference: str) -> None:
    for name, state in report.channel_states.items():
        complaint = seen.channel_complaints.get(name)
        if state == "connected":
            found.say("ok", f"channel {name}", f"channel {name} is connected")
        else:
            text = f"channel {name} is {state}{f': {said(complaint)}' if complaint else ''}"
            known = name in report.instance.agent.channels
            remedy = f"clm agent channel test {reference} {name}" if known else None
            found.say("note" if state == "not applied" else "fail", f"channel {name}", text, remedy)
    for name, reason in report.opened.items():
        found.say(
            "warn", f"open {name}", f"anybody may use it: {reason}", f"clm agent channel set {reference} {name} --help"
        )


def _journal(found: Findings, report: Report, looked: AgentExamination, reference: str) -> None:
    host, agent = report.instance
    about = {"HOST": host.name, **({"PROVIDER": agent.provider} if agent.provider else {})}
    troubles = [each for each in diagnose(last_run(looked.journal), reference, about) if not _is_over(each, report)]
    for each in troubles:
        # A daemon that serves has got over what it said, or says it again; what it said stays worth reading.
        level: Level = each.trouble.level
        if level == "fail" and report.state not in _DOWN:
            level = "warn"
        times = f" ({each.times} times)" if each.times > 1 else ""
        found.say(level, each.trouble.name, f"the journal says: {said(each.says)}{times}", each.remedy, said(each.line))
    if not troubles:
        found.say("ok", "journal", f"no known trouble in the last {len(looked.journal)} lines of its journal")


def _is_over(found: Diagnosis, report: Report) -> bool:
    """Tell whether the agent got over a trouble since: what went well is in another log of it than its journal."""
    if found.trouble.name in OF_THE_MODEL:
        return report.seen is not None and report.seen.turn is not None and report.seen.turn.answered
    for channel, state in report.channel_states.items():
        if found.says.startswith(f"channel {channel} "):
            # What it is now is told already.
            return True
        if found.trouble.name.startswith(f"{channel}-"):
            return state == "connected"
    return False


def last_run(journal: Sequence[str]) -> Sequence[str]:
    """Return the lines from the last start on: what was before may be mended. A loop's last starts all count."""
    starts = [n for n, line in enumerate(journal) if "systemd[1]: Starting " in line]
    failed = [n for n, line in enumerate(journal) if "Scheduled restart job" in line]
    if not starts:
        return journal
    # After a restart by systemd itself, the run that died before it says why.
    first = starts[-2] if len(starts) > 1 and failed and starts[-2] < failed[-1] < starts[-1] else starts[-1]
    return journal[first:]


def _drift(found: Findings, report: Report, reference: str) -> None:
    if report.drift_unknown:
        found.say("note", "drift", f"not known: {report.drift_unknown}", "clm secret status")
    elif report.instance.agent.applied is not None:
        found.expect(
            not report.drift,
            "drift",
            "the host has what is on record",
            "warn",
            f"it differs from the record: {', '.join(report.drift)}",
            f"See what: clm agent diff {reference}; bring it back: clm agent configure {reference}",
        )


def open_to_others(seen: AgentState) -> list[str]:
    """Return what of an agent's own others can get at, and who and what should have it instead."""
    return [
        f"{file} (mode {state.mode}, {state.owner}; should be {mode}, {seen.name})"
        for key, file, mode in _SECRET_FILES
        if (state := seen.paths.get(key)) is not None and (int(state.mode, 8) & 0o077 or state.owner != seen.name)
    ]


def _files(found: Findings, seen: AgentState, looked: AgentExamination, reference: str) -> None:
    wrong = open_to_others(seen)
    told = {text.partition(" ")[0] for text in wrong}
    others = [path for path in looked.open if path.rpartition("~/.hermes/")[2] not in told]
    wrong += [f"{said(path)} may be read by others" for path in others]
    remedy = f"clm agent configure {reference}"
    found.expect(not wrong, "modes", "nobody else can read its secrets", "fail", "; ".join(wrong), remedy)
    if seen.config_error:
        found.say("fail", "config.yaml", f"config.yaml {said(seen.config_error)}", f"Mend it by hand, then: {remedy}")
    if "env" in seen.paths and not seen.env_key_valid:
        found.say("fail", "key", "its .env has no valid API_SERVER_KEY line", remedy)
    if looked.state_db not in (None, "ok"):
        found.say(
            "fail",
            "state.db",
            f"its database of conversations is damaged: {said(looked.state_db or '')}",
            f"clm agent backup {reference}, then restore an older one: clm agent restore {reference} FILE",
        )
    if looked.odd:
        found.say(
            "warn", "odd files", f"set-user-ID or somebody else's in its home: {', '.join(map(said, looked.odd))}"
        )


def _intruders(found: Findings, report: Report, seen: AgentState, looked: AgentExamination, reference: str) -> None:
    """What nobody asked for: an agent that is led astray puts down what lets it, or others, come back."""
    ours = set(report.instance.agent.integrations) | {path[1] for path in seen.set_leaves or () if _is_server(path)}
    others = sorted(set(_servers(seen.leaves)) - ours)
    for name in others:
        text = f"config.yaml has an MCP server that is not on record: {said(name)}"
        found.say(
            "warn", "mcp", text, f"On the host, as the agent: look at mcp_servers in ~{seen.name}/.hermes/config.yaml"
        )
    stays = f"Unless you put it there, take it away; a new key for the agent: clm secret rotate {reference}"
    if looked.authorized_keys:
        text = f"~/.ssh/authorized_keys has {looked.authorized_keys} keys: whoever has one gets in, past the sandbox"
        found.say("fail", "authorized_keys", text, stays)
    if looked.user_units:
        text = f"units of its own, for a manager outside its sandbox: {', '.join(map(said, looked.user_units))}"
        found.say("warn", "user units", text, stays)
    if looked.crontab_lines:
        found.say("warn", "crontab", f"a crontab of {looked.crontab_lines} lines, run outside its sandbox", stays)
    if looked.linger or looked.manager:
        word = "it lingers: " if looked.linger else ""
        text = f"{word}a user manager of it {'runs' if looked.manager else 'may run'} outside its sandbox"
        # The profile `off` has no sandbox to be left.
        level: Level = "note" if report.instance.agent.hardening == "off" else "fail"
        found.say(
            level,
            "linger",
            text,
            f"On the host: loginctl disable-linger {seen.name}; loginctl terminate-user {seen.name}",
        )
    if seen.stray_processes:
        text = f"{seen.stray_processes} of its {seen.processes} processes are outside its unit"
        found.say("warn", "processes", text, f"On the host: systemd-cgls; ps -u {seen.name}")
    if looked.jobs:
        found.say("note", "jobs", f"it has planned {looked.jobs} jobs of its own (~/.hermes/cron)")
    if looked.dropins:
        found.say("warn", "drop-ins", f"files that change its unit: {', '.join(map(said, looked.dropins))}")


def _servers(leaves: Iterable[str]) -> Iterable[str]:
    for leaf in leaves:
        path = json.loads(leaf)
        if _is_server(path):
            yield str(path[1])


def _is_server(path: Sequence[object]) -> bool:
    return len(path) > 1 and path[0] == "mcp_servers"


def _sandbox(found: Findings, report: Report, looked: AgentExamination, reference: str) -> None:
    profile = report.instance.agent.hardening
    if looked.exposure is not None:
        found.expect(
            looked.exposure <= EXPOSURES[profile],
            "exposure",
            f"systemd rates the exposure of its unit {looked.exposure} of 10 (profile {profile})",
            "warn",
            f"systemd rates the exposure of its unit {looked.exposure} of 10, more than profile {profile} should have",
            f"clm agent configure {reference}",
        )
    if not looked.probes:
        return
    works = [probe.name for probe in looked.probes if probe.worked == "ok"]
    found.say("ok", "tools", f"work under its profile: {', '.join(works) or 'none'}")
    for probe in looked.probes:
        if probe.worked == "fail":
            text = f"{probe.name} does not work under profile {profile}: {said(probe.detail)}"
            found.say("warn", f"tool {probe.name}", text, _probe_remedy(probe.name, reference))
    absent = [probe.name for probe in looked.probes if probe.worked == "absent"]
    if absent:
        found.say(
            "note", "tools", f"not on the host: {', '.join(absent)}", "Where it should use them, install them there"
        )
    if profile != "off":
        wide = [*(["the system's bus"] if looked.bus_open else []), *looked.writable]
        wide += [f"{looked.others_seen} other homes"] if looked.others_seen else []
        found.expect(
            not wide,
            "walls",
            "it sees no other home, writes nowhere in the system, and does not reach the system's bus",
            "fail",
            f"its sandbox is open: {', '.join(wide)}",
            f"clm agent configure {reference}",
        )


def _probe_remedy(name: str, reference: str) -> str:
    if name == "browser-sandbox":
        return "The host forbids user namespaces: on Ubuntu 24.04 sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    return f"clm agent configure {reference} --hardening off, when it cannot do without"


def _resources(found: Findings, seen: AgentState, looked: AgentExamination, reference: str) -> None:
    unit = seen.unit
    if looked.oom_kills:
        text = f"the kernel killed {looked.oom_kills} processes of it for want of memory since it started"
        found.say("fail", "oom", text, f"clm agent status {reference}")
    if unit is None:
        return
    for what, now, limit in (("memory", unit.memory_bytes, unit.memory_high), ("tasks", unit.tasks, unit.tasks_max)):
        if now is not None and limit and now > limit * 0.9:
            found.say("warn", what, f"it takes {now * 100 // limit} % of the {what} that it may have")
    if unit.needs_reload:
        found.say(
            "warn", "unit", "its unit on disk is newer than what systemd runs", f"clm agent configure {reference}"
        )
