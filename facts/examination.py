"""A closer look at agents and their host, as frozen values; reading what the script printed is a function of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .observation import CutOff
from .script import END

#: How a tool did: it works, it does not, or it is not there.
Worked = Literal["ok", "fail", "absent"]

_OWN_WORDS = frozenset(
    {"size", "authorized_keys", "user_unit", "odd", "open", "jobs", "state_db", "probe"}
)  # fmt: skip
#: Lines that are kept of anything that an agent may make longer at will.
_MOST = 20


@dataclass(frozen=True)
class Probe:
    """One thing that was tried under the hardening of an agent's unit."""

    name: str
    worked: Worked
    detail: str = ""


@dataclass(frozen=True)
class AgentExamination:
    """What a closer look at one agent found. What its own files tell, the agent may have made up."""

    name: str
    #: What ``systemd-analyze security`` says, 0 to 10; None where it says nothing.
    exposure: float | None = None
    #: Processes of the unit that the kernel killed for want of memory, since the unit was started.
    oom_kills: int = 0
    #: Files that change the unit and are not ours.
    dropins: tuple[str, ...] = ()
    #: Last lines of its journal, the oldest first; credentials in its .env are blacked out.
    journal: tuple[str, ...] = ()
    #: The account may run a manager of its own, also without anybody logged in.
    linger: bool = False
    #: Such a manager runs.
    manager: bool = False
    crontab_lines: int = 0
    authorized_keys: int = 0
    user_units: tuple[str, ...] = ()
    #: What in its home is set-user-ID or somebody else's.
    odd: tuple[str, ...] = ()
    #: Files with secrets that others may read, with their modes.
    open: tuple[str, ...] = ()
    #: Jobs that the agent plans to run by itself.
    jobs: int | None = None
    #: KiB, by what it is: ``.`` is the whole home; None where it took too long.
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    #: What SQLite says of state.db: ``ok``, or what is wrong; None when it was not asked.
    state_db: str | None = None
    #: Empty when nothing was tried.
    probes: tuple[Probe, ...] = ()
    #: Whether the system's bus can be reached from its sandbox: the way out of it.
    bus_open: bool | None = None
    #: Other homes that it sees.
    others_seen: int | None = None
    #: Folders of the system that it may write to.
    writable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examination:
    """What a closer look at a host and some of its agents found."""

    #: Seconds since the epoch, by its own clock.
    time: int | None = None
    available_mib: int | None = None
    #: Per cent of the inodes of /home that are taken.
    inodes_percent: int | None = None
    reboot_required: bool = False
    #: What systemd says of itself: ``running``, ``degraded``...
    system: str = ""
    agents: Mapping[str, AgentExamination] = field(default_factory=dict)

    def agent(self, name: str) -> AgentExamination:
        """Return what was found of an agent; nothing when it was not looked at."""
        return self.agents.get(name, AgentExamination(name))


def read(lines: Iterable[str]) -> Examination:
    """Read what the script printed. Raises :class:`.observation.CutOff` when the last line is missing."""
    host: dict[str, str] = {}
    agents: dict[str, _Collected] = {}
    current: _Collected | None = None
    complete = False
    for line in lines:
        word, _, rest = line.rstrip("\r\n").partition(" ")
        if word == END:
            complete = True
        elif word == "agent":
            current = agents.setdefault(rest, _Collected(rest))
        elif current is None:
            host[word] = rest
        elif word == "own":
            own, _, rest = rest.partition(" ")
            if own in _OWN_WORDS:
                current.take(own, rest)
        elif word not in _OWN_WORDS:
            current.take(word, rest)
    if not complete:
        raise CutOff("the host's answer was cut off")
    return Examination(
        time=_number(host.get("time")),
        available_mib=_number(host.get("available_mib")),
        inodes_percent=_number(host.get("inodes")),
        reboot_required="reboot_required" in host,
        system=host.get("system", ""),
        agents={name: collected.examination() for name, collected in agents.items()},
    )


class _Collected:
    """Lines about one agent, gathered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lists: dict[str, list[str]] = {}

    def take(self, word: str, rest: str) -> None:
        found = self.lists.setdefault(word, [])
        if word == "journal" or len(found) < _MOST:
            found.append(rest)

    def examination(self) -> AgentExamination:
        probes = [self._probe(text) for text in self.lists.get("probe", ())]
        special = {name: detail for name, _, detail in (t.partition(" ") for t in self.lists.get("probe", ()))}
        exposure = self._last("exposure")
        return AgentExamination(
            name=self.name,
            exposure=float(exposure) if re.fullmatch(r"[0-9]{1,2}\.[0-9]", exposure) else None,
            oom_kills=_number(self._last("oom_kills")) or 0,
            dropins=tuple(self.lists.get("dropin", ())),
            journal=tuple(self.lists.get("journal", ())),
            linger="linger" in self.lists,
            manager="manager" in self.lists,
            crontab_lines=_number(self._last("crontab")) or 0,
            authorized_keys=_number(self._last("authorized_keys")) or 0,
            user_units=tuple(self.lists.get("user_unit", ())),
            odd=tuple(self.lists.get("odd", ())),
            open=tuple(self.lists.get("open", ())),
            jobs=_number(self._last("jobs")),
            sizes={part: _number(kib) for part, _, kib in (t.partition(" ") for t in self.lists.get("size", ()))},
            state_db=self._last("state_db") or None,
            probes=tuple(probe for probe in probes if probe is not None),
            bus_open=special["system-bus"] == "open" if "system-bus" in special else None,
            others_seen=_number(special.get("others")),
            writable=tuple(special.get("writable", "").split()),
        )

    def _last(self, word: str) -> str:
        return self.lists.get(word, [""])[-1]

    @staticmethod
    def _probe(text: str) -> Probe | None:
        found = re.fullmatch(r"([a-z-]{1,32}) (ok|fail|absent)(?: (.*))?", text)
        return Probe(found[1], found[2], found[3] or "") if found else None  # type: ignore[arg-type]


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None
