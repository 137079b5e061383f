"""What the observing scripts print, as frozen values; reading it is a function of text."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from .contents import Contents
from .leaves import Difference, Json, KeyPath, difference, leaf_key
from .receipts import Receipt
from .script import ACCOUNT_COMMENT, END
from .snapshots import Snapshot


class CutOff(ValueError):
    """An observation without its last line: the connection or the script broke."""


@dataclass(frozen=True)
class HostState:
    """What a host is, and what it has; the latter is empty after a look at agents that was not thorough."""

    uid: int
    os: str
    os_version: str
    arch: str
    boot_id: str
    systemd: int | None
    memory_mib: int
    free_mib: Mapping[str, int]
    tools: Mapping[str, str]
    python: str | None
    uptime_seconds: int = 0


@dataclass(frozen=True)
class PathState:
    """One file, directory or link, as stat(1) tells it."""

    kind: str
    mode: str
    owner: str
    group: str
    size: int
    #: SHA256 of a regular file, target of a link, None otherwise or where it may not be read.
    detail: str | None

    def is_directory(self, mode: str, owner: str) -> bool:
        return (self.kind, self.mode, self.owner) == ("directory", mode, owner)

    def is_file(self, content: bytes, mode: str, owner: str) -> bool:
        """Tell whether this is a regular file with exactly this content, mode and owner."""
        digest = hashlib.sha256(content).hexdigest()
        return self.kind.startswith("regular") and (self.mode, self.owner, self.detail) == (
            mode,
            owner,
            digest,
        )


@dataclass(frozen=True)
class Account:
    """An entry of passwd(5)."""

    uid: int
    gid: int
    home: str
    shell: str
    comment: str

    @property
    def ours(self) -> bool:
        return self.comment.split(",")[0] == ACCOUNT_COMMENT


@dataclass(frozen=True)
class UnitState:
    """A unit as ``systemctl show`` tells it."""

    load: str
    active: str
    sub: str
    enabled: bool
    restarts: int
    result: str
    exit_status: int
    main_pid: int
    needs_reload: bool
    memory_bytes: int | None
    since: str
    #: Seconds since the unit became active; None while it is not.
    age_seconds: int | None = None
    #: When it last became what it is now, as systemctl(1) prints it in UTC.
    changed: str = ""
    tasks: int | None = None
    tasks_max: int | None = None
    memory_high: int | None = None
    memory_max: int | None = None
    cpu_seconds: float | None = None

    @property
    def running(self) -> bool:
        return (self.active, self.sub) == ("active", "running")


@dataclass(frozen=True)
class Answer:
    """What the agent's API said: HTTP status (0 when nothing answered) and the body, parsed when it is JSON."""

    status: int
    body: Any


@dataclass(frozen=True)
class Turn:
    """How the last question to an agent's model ended, by the daemon's own log."""

    answered: bool
    #: Seconds since the epoch, by the clock of the host; 0 for one that was answered, and when the log does not tell.
    at: int
    #: ``connection``, an HTTP status, or empty where the log tells neither.
    reason: str


@dataclass(frozen=True)
class Listener:
    """A TCP port that something listens on. ``pid`` is 0 where it could not be seen."""

    address: str
    port: int
    pid: int


@dataclass(frozen=True)
class Release:
    """An installed release: its folder's name and what its own ``hermes --version`` printed when it was built."""

    id: str
    version: str
    calver: str
    python: str
    #: What upstream's installer took instead of packages that it verifies by their hashes, in its own words: ``all``,
    #: ``core only (no extras)``; empty when it did not say so.
    fallback: str = ""


@dataclass(frozen=True)
class Installation:
    """An installation by upstream's installer, under way or ended, as root has it on record."""

    release: str
    #: Whether it is under way.
    active: bool
    #: How it ended, in words; None while it has not, and after a host that went down in the middle of it.
    result: str | None


@dataclass(frozen=True)
class CopiedCredential:
    """A credential that lies in Hermes' auth.json with its value, and where Hermes says it has it from."""

    pool: str
    #: ``env:NAME`` for a copy of a variable; ``manual``, ``device_code`` and others for what the agent's user put in.
    source: str


@dataclass(frozen=True)
class AgentState:
    """Everything about one agent on its host."""

    name: str
    account: Account | None = None
    linger: bool = False
    #: Processes of the account, and those of them outside the agent's unit; 0 for an agent whose unit runs after a look
    #: that was not thorough.
    processes: int = 0
    stray_processes: int = 0
    paths: Mapping[str, PathState] = field(default_factory=dict)
    #: Digest of each leaf of config.yaml by its path, see :func:`.leaves.leaf_key`.
    leaves: Mapping[str, str] = field(default_factory=dict)
    #: Paths in config.yaml that we set; None where there is no record, as after an older version of ours.
    set_leaves: tuple[KeyPath, ...] | None = None
    #: Files of ~/.hermes/mcp-tokens that we put there, with the SHA256 of what was put there last, empty while that is
    #: under way; None where there is no record. The daemon rewrites them, so what they hold now says nothing.
    seeds: Mapping[str, str] | None = None
    #: Keyed digest of each variable of .env by its name, see :func:`variable_digest`.
    variables: Mapping[str, str] = field(default_factory=dict)
    credentials: tuple[CopiedCredential, ...] = ()
    config_error: str | None = None
    #: Where leaves, variables, credentials and the error come from; None when its files could not be read to the end.
    contents: Contents | None = None
    env_port: int | None = None
    env_key_valid: bool = False
    #: Complete releases of the agent's own, by their ids. Root has them on record, and their programs are there.
    releases: Mapping[str, Release] = field(default_factory=dict)
    #: What upstream's installer does for the agent, or last did.
    installation: Installation | None = None
    #: Id of the release that the unit starts.
    runs: str | None = None
    #: What is to be gone back to when the change under way fails; a run that was cut off left it, too.
    under_way: Snapshot | None = None
    #: What is kept of states that worked, the oldest first.
    snapshots: tuple[Snapshot, ...] = ()
    #: What was applied last, as root has it on record.
    last_change: Receipt | None = None
    unit: UnitState | None = None
    #: The port that the unit's own main process listens on.
    listening: Listener | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    #: The last question to its model, as the agent's own files tell it.
    turn: Turn | None = None
    #: Its files had more to say than anybody reads, or did not say it in time: what they told is not all.
    cut: bool = False

    @property
    def ours(self) -> bool:
        return self.account is not None and self.account.ours

    @property
    def restart_pending(self) -> bool:
        """Something of the agent was changed, and its daemon was not started since: it may run on what was before."""
        return "pending_restart" in self.paths

    @property
    def proof_pending(self) -> bool:
        """The agent was started and not proven since."""
        return "pending_proof" in self.paths

    @property
    def healthy(self) -> bool:
        """The unit runs, its own process answers on loopback, and it accepts this agent's key."""
        return (
            self.unit is not None
            and self.unit.running
            and self.listening is not None
            and self.answers.get("health", _SILENT).status == 200
            and self.answers.get("models", _SILENT).status == 200
        )

    @property
    def channels(self) -> Mapping[str, str]:
        """State of each channel, as the daemon tells it (``connected``, ``retrying``, ...)."""
        return {name: str(platform.get("state", "unknown")) for name, platform in self._platforms()}

    @property
    def channel_complaints(self) -> Mapping[str, str]:
        """What the daemon says of each channel that has trouble, in its own words; they may quote anything."""
        return {name: str(p["error_message"]) for name, p in self._platforms() if p.get("error_message")}

    def _platforms(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        # The daemon tells of channels that it had before it was started anew, too, as they were then.
        body = self.answers.get("detailed", _SILENT).body
        platforms = body.get("platforms") if isinstance(body, dict) else None
        started = _started(self.unit.since) if self.unit else None
        for name, platform in platforms.items() if isinstance(platforms, dict) else ():
            if isinstance(platform, dict):
                updated = _moment(platform.get("updated_at"))
                if started is None or updated is None or updated >= started:
                    yield str(name), platform

    def config_difference(self, leaves: Mapping[KeyPath, Json], absent: Iterable[KeyPath]) -> Difference:
        """Tell what of config.yaml differs among what is ours: these leaves, and what we once set."""
        return difference(self.leaves, leaves, (*(self.set_leaves or ()), *absent))

    def config_has(self, leaves: Mapping[KeyPath, Json], absent: Iterable[KeyPath]) -> bool:
        """Tell whether config.yaml is private and has exactly these leaves among those that are ours."""
        found = self.paths.get("config")
        private = found is not None and (found.mode, found.owner) == ("600", self.name)
        return private and not self.config_difference(leaves, absent)

    def seeded(self, name: str, content: str) -> bool:
        """Tell whether a file is there for which this was the last that we put there, whatever it holds since."""
        found = self.paths.get(f"mcp-tokens/{name}")
        last = (self.seeds or {}).get(name)
        return found is not None and found.kind.startswith("regular") and last == seed_digest(content)

    @property
    def traces(self) -> tuple[str, ...]:
        """What of the agent is on the host, for messages; empty when nothing is."""
        found = [f"account {self.name}"] if self.account else []
        found += [f"{key}" for key in ("home", "unit", "dropins", *_PENDING) if key in self.paths]
        if self.set_leaves is not None:
            found.append("record of leaves")
        if self.seeds is not None:
            found.append("record of seeds")
        if self.installation is not None:
            found.append("record of the installer")
        if self.linger:
            found.append("linger")
        if self.processes:
            found.append(f"{self.processes} processes")
        return tuple(found)


_SILENT = Answer(0, None)
_PENDING = ("pending_restart", "pending_proof")

# What facts/inside.sh prints.
_CONTENTS_WORDS = frozenset({"leaf", "config_error", "variable", "credential"})
_OWN_WORDS = _CONTENTS_WORDS | {"path", "env_port", "env_key", "answer", "tree", "turn"}
_DIGESTS = re.compile(r"(-|[0-9a-f]{64})( (-|[0-9a-f]{64})){2}")
_WHOLE = "whole"
_OWN_PATHS = frozenset({"hermes", "env", "config", "auth", "memories", "soul", "code", "state_db"})


@dataclass(frozen=True)
class Observation:
    """A host and its agents at one moment."""

    host: HostState
    agents: Mapping[str, AgentState]
    listeners: tuple[Listener, ...]
    releases: Mapping[str, Release]
    slice: PathState | None
    #: Ids of the installed tools.
    tools: tuple[str, ...] = ()

    def agent(self, name: str) -> AgentState:
        """Return the state of an agent; one without any trace is an empty state."""
        return self.agents.get(name, AgentState(name))

    def has_release(self, agent: str, release: str) -> bool:
        """Tell whether a release is complete: one that all agents share, or one of this agent's own."""
        return release in self.releases or release in self.agent(agent).releases

    @property
    def needed_releases(self) -> set[str]:
        """Ids of releases that agents run, have chosen, or may go back to; there may be none of them."""
        ids: set[str | None] = set()
        for agent in self.agents.values():
            link = agent.paths.get("code")
            ids |= {agent.runs, (link.detail or "").rpartition("/")[2] if link is not None else None}
            ids |= {snapshot.release for snapshot in agent.snapshots}
            if agent.under_way is not None:
                ids |= {agent.under_way.release, agent.under_way.to}
        return {id for id in ids if id}

    def listener(self, port: int) -> Listener | None:
        """Return who listens on a port."""
        return next((entry for entry in self.listeners if entry.port == port), None)


def variable_digest(key: str, name: str, value: str) -> str:
    """Return the digest that the observing script computes for a variable; ``key`` is the value of API_SERVER_KEY."""
    return hmac.new(key.encode(), f"{name}={value}".encode("utf-8", "replace"), "sha256").hexdigest()


def seed_digest(content: str) -> str:
    """
    Return the digest by which the record knows what was put into a file of ``mcp-tokens``.

    It has no key, unlike that of a variable: a key that changes would make every renewed token look out of date. What
    is digested holds a token made by a server to be beyond guessing.
    """
    return hashlib.sha256(content.encode()).hexdigest()


def parse(lines: Iterable[str], known: Mapping[str, Contents] = MappingProxyType({})) -> Observation:
    """
    Read what a script of :mod:`.script` printed.

    + known: what the host was told to be known of its agents' files

    Raises :class:`CutOff` when the last line is missing, ValueError when a line cannot be read.
    """
    try:
        return _parse(lines, known)
    except (TypeError, LookupError, RecursionError) as error:
        # Nothing that one host says may end what is said of the others.
        raise ValueError(repr(error)[:200]) from error


def _parse(lines: Iterable[str], known: Mapping[str, Contents]) -> Observation:
    host: dict[str, str] = {}
    listeners: list[Listener] = []
    releases: dict[str, Release] = {}
    tools: list[str] = []
    agents: dict[str, _Collected] = {}
    paths: dict[str, PathState] = {}
    current: _Collected | None = None
    complete = False
    for line in lines:
        word, _, rest = line.rstrip("\r\n").partition(" ")
        if word == END:
            complete = True
        elif not word:
            if current is not None:
                current.own_ended = True
        elif word == "host":
            key, _, value = rest.partition(" ")
            host[key] = value
        elif word == "listener":
            address, number, pid = rest.rsplit(" ", 2)
            listeners.append(Listener(address, int(number), int(pid)))
        elif word == "release":
            release = Release(**json.loads(rest))
            releases[release.id] = release
        elif word == "tool":
            tools.append(rest)
        elif word == "own":
            if current is not None:
                current.own.append(rest)
                current.own_ended = False
        elif word == "agent":
            current = agents.setdefault(rest, _Collected(rest, known.get(rest)))
        elif current is not None:
            current.take(word, rest)
        elif word == "path":
            key, path = _path(rest)
            name, slash, own = key.partition("/")
            if slash:
                agents.setdefault(name, _Collected(name, known.get(name))).paths[own] = path
            else:
                paths[key] = path
    if not complete:
        raise CutOff("the host's answer was cut off")
    return Observation(
        host=_host(host),
        agents={name: collected.state(listeners, int(host.get("uptime") or 0)) for name, collected in agents.items()},
        listeners=tuple(listeners),
        releases=releases,
        slice=paths.get("slice"),
        tools=tuple(tools),
    )


def _is_own_path(key: str) -> bool:
    return (
        key in _OWN_PATHS
        or re.fullmatch(r"credentials(/[a-z0-9._-]{1,64})?|mcp-tokens/[A-Za-z0-9._-]{1,160}", key) is not None
    )


class _Collected:
    """Lines about one agent, gathered."""

    def __init__(self, name: str, known: Contents | None) -> None:
        self.name = name
        self.known = known
        self.contents: Contents | None = None
        #: Lines that the agent may have made up, and whether the last one is no half of one.
        self.own: list[str] = []
        self.own_ended = False
        self.values: dict[str, str] = {}
        self.unit: dict[str, str] = {}
        self.paths: dict[str, PathState] = {}
        self.leaves: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.credentials: list[CopiedCredential] = []
        self.installed: dict[str, Release] = {}
        self.trees: set[str] = set()
        self.snapshots: list[Snapshot] = []
        self.answers: dict[str, Answer] = {}

    def _take_own(self) -> bool:
        """Read what the agent may have made up, and tell whether it is all there."""
        whole = self.own[-1:] == [_WHOLE]
        told: list[str] = []
        for line in self.own if self.own_ended else self.own[:-1]:
            word, _, rest = line.partition(" ")
            if word == "contents" and self.contents is None and _DIGESTS.fullmatch(rest):
                self.contents = Contents(rest, tuple(told))
            elif word == "same" and self.contents is None and self.known is not None:
                self.contents = self.known
                for known in self.known.lines:
                    self._take_told(known)
            else:
                told += [line] if word in _CONTENTS_WORDS else []
                self._take_told(line)
        return whole

    def _take_told(self, line: str) -> None:
        """Read a line that the agent may have made up: it can say only this, and only of the agent itself."""
        word, _, rest = line.partition(" ")
        if word not in _OWN_WORDS or (word == "path" and not _is_own_path(rest.partition("|")[0])):
            return
        # An agent must not be able to make its host unreadable for the others.
        with suppress(ValueError, TypeError, RecursionError):
            self.take(word, rest)

    def take(self, word: str, rest: str) -> None:
        if word == "path":
            key, path = _path(rest)
            self.paths[key] = path
        elif word == "unit":
            key, _, value = rest.partition("=")
            self.unit[key] = value
        elif word == "leaf":
            digest, _, path_text = rest.partition(" ")
            self.leaves[leaf_key(json.loads(path_text))] = digest
        elif word == "variable":
            digest, _, name = rest.partition(" ")
            self.variables[name] = digest
        elif word == "credential":
            pool, source = json.loads(rest)
            self.credentials.append(CopiedCredential(str(pool), str(source)))
        elif word == "installed":
            release = Release(**json.loads(rest))
            self.installed[release.id] = release
        elif word == "tree":
            self.trees.add(rest)
        elif word == "snapshot":
            snapshot = Snapshot.parse(rest)
            self.snapshots += [] if snapshot is None else [snapshot]
        elif word == "answer":
            name, status, *body = rest.split(" ", 2)
            self.answers[name] = Answer(int(status) if status.isdigit() else 0, _json(body[0] if body else ""))
        else:
            self.values[word] = rest

    def state(self, listeners: list[Listener], uptime: int) -> AgentState:
        whole = self._take_own()
        unit = _unit(self.unit, uptime) if self.unit else None
        account = _account(self.values["account"]) if "account" in self.values else None
        processes, stray = (int(n) for n in self.values.get("processes", "0 0").split())
        own = [entry for entry in listeners if unit is not None and 0 < entry.pid == unit.main_pid]
        return AgentState(
            name=self.name,
            account=account,
            linger="linger" in self.values,
            processes=processes,
            stray_processes=stray,
            paths=self.paths,
            leaves=self.leaves,
            set_leaves=_set_leaves(self.values["set_leaves"]) if "set_leaves" in self.values else None,
            seeds=_seeds(self.values["seeds"]) if "seeds" in self.values else None,
            variables=self.variables,
            credentials=tuple(self.credentials),
            config_error=self.values.get("config_error"),
            contents=self.contents,
            env_port=int(port) if re.fullmatch("[0-9]{1,5}", port := self.values.get("env_port", "")) else None,
            env_key_valid=self.values.get("env_key") == "valid",
            releases={id: release for id, release in self.installed.items() if id in self.trees},
            installation=_installation(self.values["installer"]) if "installer" in self.values else None,
            runs=self.values.get("runs"),
            under_way=Snapshot.parse(self.values["before"]) if "before" in self.values else None,
            snapshots=tuple(sorted(self.snapshots, key=lambda snapshot: snapshot.id)),
            last_change=Receipt.parse(self.values["receipt"]) if "receipt" in self.values else None,
            unit=unit,
            listening=own[0] if own else None,
            answers=self.answers,
            turn=_turn(self.values["turn"]) if "turn" in self.values else None,
            cut=account is not None and account.ours and not whole,
        )


def _host(values: Mapping[str, str]) -> HostState:
    def per(prefix: str) -> dict[str, int]:
        return {k.removeprefix(prefix): int(v) for k, v in values.items() if k.startswith(prefix) and v.isdigit()}

    return HostState(
        uid=int(values["uid"]),
        os=values["os"],
        os_version=values["os_version"],
        arch=values["arch"],
        boot_id=values["boot_id"],
        systemd=int(values["systemd"]) if values.get("systemd") else None,
        memory_mib=int(values["memory_mib"]),
        free_mib=per("free_mib:"),
        tools={k.removeprefix("tool:"): v for k, v in values.items() if k.startswith("tool:")},
        python=values.get("python") or None,
        uptime_seconds=int(values.get("uptime") or 0),
    )


def _started(since: str) -> datetime | None:
    """Read a time as systemctl(1) prints it in UTC; None when it is none."""
    try:
        return datetime.strptime(since, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None


def _moment(text: object) -> datetime | None:
    """Read a time as the daemon prints it; None when it is none, or says nothing of its zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return None if found.tzinfo is None else found


def _path(rest: str) -> tuple[str, PathState]:
    key, kind, mode, owner, group, size, detail = rest.split("|", 6)
    return key, PathState(kind, mode, owner, group, int(size), None if detail == "-" else detail)


def _set_leaves(text: str) -> tuple[KeyPath, ...] | None:
    # Root writes it, in one step; should it be spoilt all the same, we know as much as without it.
    paths = _json(text)
    if not isinstance(paths, list) or not all(isinstance(path, list) for path in paths):
        return None
    return tuple(tuple(map(str, path)) for path in paths)


def _seeds(text: str) -> dict[str, str]:
    # Should it be spoilt, nothing was seeded that we know of; the record is there, and goes with the agent.
    found = _json(text)
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}


def _installation(text: str) -> Installation:
    state, release, result = (*text.split(" ", 2), "", "")[:3]
    return Installation(release, state not in ("inactive", "failed", ""), result or None)


def _turn(text: str) -> Turn | None:
    # The agent may have made it up.
    found = re.fullmatch(r"(answered|failed) ([0-9]{1,12}) (-|connection|[0-9]{3})", text)
    return None if found is None else Turn(found[1] == "answered", int(found[2]), found[3].strip("-"))


def _account(entry: str) -> Account:
    _, _, uid, gid, comment, home, shell = entry.split(":")
    return Account(uid=int(uid), gid=int(gid), home=home, shell=shell, comment=comment)


def _unit(values: Mapping[str, str], uptime: int) -> UnitState:
    # Both count from the boot of the kernel, so no clock has to be right.
    entered = int(values.get("ActiveEnterTimestampMonotonic") or 0) // 1_000_000
    return UnitState(
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState") == "enabled",
        restarts=int(values.get("NRestarts") or 0),
        result=values.get("Result", ""),
        exit_status=int(values.get("ExecMainStatus") or 0),
        main_pid=int(values.get("MainPID") or 0),
        needs_reload=values.get("NeedDaemonReload") == "yes",
        memory_bytes=_amount(values.get("MemoryCurrent")),
        since=values.get("ActiveEnterTimestamp", ""),
        age_seconds=max(0, uptime - entered) if entered and values.get("ActiveState") == "active" else None,
        changed=values.get("StateChangeTimestamp", ""),
        tasks=_amount(values.get("TasksCurrent")),
        tasks_max=_amount(values.get("TasksMax")),
        memory_high=_amount(values.get("MemoryHigh")),
        memory_max=_amount(values.get("MemoryMax")),
        cpu_seconds=None if (cpu := _amount(values.get("CPUUsageNSec"))) is None else cpu / 1e9,
    )


def _amount(text: str | None) -> int | None:
    # "[not set]" and "infinity" are none, nor is the highest number there is, which old versions print for both.
    return int(text) if text and re.fullmatch("[0-9]{1,20}", text) and int(text) < 2**63 else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
