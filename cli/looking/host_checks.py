"""What is wrong with one host: pure functions of what it was seen to be."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra_hermes.facts.examination import Examination
from pyinfra_hermes.facts.observation import Observation
from pyinfra_hermes.operations.preflight import Requirements, host_problems, remedy

from ..listing import span
from ..state.records import Host
from .findings import Finding, Findings, Level

#: Seconds by which a host's clock may differ: TLS and the services' signatures take some minutes, logs are read by it.
_SKEW = 60
#: MiB below which a folder is about to be full.
_ROOM = 1024
_RECENT_BOOT = 600


def host_findings(
    host: Host,
    observed: Observation,
    looked: Examination,
    requirements: Sequence[Requirements],
    asked_between: tuple[float, float],
) -> list[Finding]:
    """
    Return what was checked of a host, the good among it.

    + requirements: of the releases that its agents run, each once
    + asked_between: seconds since the epoch, by the clock of this machine, before and after it was asked
    """
    found = Findings(f"host {host.name}")
    state = observed.host
    has = f"systemd {state.systemd or 'none'}, python {state.python or 'none'}"
    found.say(
        "ok", "reached", f"{state.os} {state.os_version} {state.arch}, {has}, up for {span(state.uptime_seconds)}"
    )
    told: set[str] = set()
    for each in requirements:
        for problem in host_problems(state, each, installing=False):
            if problem not in told:
                told.add(problem)
                found.say("warn", "preflight", problem, remedy(state, each))
    _clock(found, looked, asked_between)
    _room(found, observed, looked)
    if looked.reboot_required:
        found.say("note", "reboot", "an upgrade wants a reboot; agents that are enabled come back with it")
    if state.uptime_seconds < _RECENT_BOOT:
        found.say("note", "boot", f"it was booted {span(state.uptime_seconds)} ago")
    if looked.system not in ("running", ""):
        text = f"systemd says that the host is {looked.system}"
        found.say("note", "systemd", text, "On the host: systemctl --failed")
    strangers = [n for n, seen in observed.agents.items() if n not in host.agents and seen.traces]
    for name in strangers:
        text = f"agent {name} is there and not on record here: another machine's, or left behind"
        remedy_ = f"Remove it, when it is nobody's: clm agent remove {name} --host {host.name}"
        found.say("note", "strangers", text, remedy_)
    return found.found


def _clock(found: Findings, looked: Examination, between: tuple[float, float]) -> None:
    if looked.time is None:
        return
    before, after = between
    off = 0.0 if before - 1 <= looked.time <= after + 1 else min(abs(looked.time - before), abs(looked.time - after))
    ahead = "ahead" if looked.time > after else "behind"
    found.expect(
        off <= _SKEW,
        "clock",
        "its clock is right" if off < 2 else f"its clock is {span(int(off))} {ahead}",
        "warn",
        f"its clock is {span(int(off))} {ahead} of this machine's: TLS and tokens may fail",
        "On the host: timedatectl set-ntp true",
    )


def _room(found: Findings, observed: Observation, looked: Examination) -> None:
    free = {folder: mib for folder, mib in observed.host.free_mib.items() if folder in ("/", "/home", "/var", "/opt")}
    for folder, mib in free.items():
        if mib < _ROOM:
            level: Level = "fail" if mib < 100 else "warn"
            found.say(level, "disk", f"{folder} has {mib} MiB free", f"On the host: du -xh {folder} | sort -h | tail")
    if all(mib >= _ROOM for mib in free.values()):
        found.say("ok", "disk", ", ".join(f"{folder} {mib // 1024} GiB" for folder, mib in free.items()) + " free")
    if looked.inodes_percent is not None and looked.inodes_percent > 95:
        found.say("fail", "inodes", f"{looked.inodes_percent} % of the inodes of /home are taken")
    if looked.available_mib is not None:
        found.expect(
            looked.available_mib >= 200,
            "memory",
            f"{looked.available_mib} of {observed.host.memory_mib} MiB of memory are available",
            "fail",
            f"only {looked.available_mib} of {observed.host.memory_mib} MiB of memory are available",
            "Move an agent, or give the host more",
        )
