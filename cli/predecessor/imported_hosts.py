"""Hosts of the predecessor's: under which names they become records of ours, with which keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys.model import names

from ..state.records import Host
from ..state.timestamps import now
from . import translation
from .clawrium import is_same
from .imported_agents import Agents
from .ledger import Ledger, words
from .plan import Outcome

_FIELDS = words(
    "hostname key_id port user auth_method alias ssh_config_host addresses hardware metadata agents claws os_family "
    "description"
)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Hosts:
    """Plans the import of hosts, each with its agents."""

    def __init__(self, ledger: Ledger, ours: Path, agents: Agents) -> None:
        self._ledger = ledger
        self._ours = ours
        self._agents = agents

    def add_all(self) -> None:
        """Plan what becomes of all hosts."""
        named = self._names()
        for number, entry in enumerate(self._ledger.source.hosts):
            self._add(number, entry, named[number])

    def _names(self) -> list[str | None]:
        """Choose a name for each host: its alias, else what its secrets are kept under; each name once."""
        chosen: dict[int, str] = {}
        taken: set[str] = set()
        aliases = [translation.host_name(entry.get("alias")) for entry in self._ledger.source.hosts]
        for number, alias in enumerate(aliases):
            if alias is not None and alias not in taken:
                chosen[number] = alias
                taken.add(alias)
        for number, entry in enumerate(self._ledger.source.hosts):
            if number not in chosen:
                candidates = (name for name in self._fallbacks(entry) if name not in taken)
                if (name := next(candidates, None)) is not None:
                    chosen[number] = name
                    taken.add(name)
        return [chosen.get(number) for number in range(len(self._ledger.source.hosts))]

    def _fallbacks(self, entry: Mapping[str, Any]) -> Iterator[str]:
        ids = [entry.get("key_id"), entry.get("hostname")]
        ids.sort(key=lambda one: not self._has_secrets(one))
        for one in ids:
            if (name := translation.host_name(one)) is not None:
                yield name
        for one in (entry.get("alias"), *ids):
            if isinstance(one, str):
                made = re.sub(r"[^A-Za-z0-9._-]+", "-", one).strip("-._")[:64]
                if made and (name := translation.host_name(made)) is not None:
                    yield name

    def _has_secrets(self, host: object) -> bool:
        return isinstance(host, str) and any(
            scope.startswith(f"{host}:hermes:") for scope in self._ledger.source.secrets
        )

    def _add(self, number: int, entry: dict[str, Any], name: str | None) -> None:
        self._ledger.count("hosts.json", entry, _FIELDS)
        agents = entry.get("agents") or {}
        shown = name or f"entry {number + 1}"
        if name is None:
            self._refuse(shown, agents, "refused", "nothing in it can be its name")
            return
        if entry.get("os_family", "linux") != "linux":
            self._refuse(name, agents, "skip", "it is not a Linux host")
            return
        record, notes, problem = self._record(entry, name)
        if record is None:
            self._refuse(name, agents, "refused", problem)
            return
        if entry.get("claws"):
            notes.append("its agents under `claws`, from before clawrium 26.4, are not read")
        if not isinstance(agents, dict):
            self._ledger.say("agent", f"{name}/?", "refused", "the host's agents should be an object")
            agents = {}
        known = self._ledger.on_record.hosts.get(name)
        if known is None:
            others = [*self._ledger.on_record.hosts.values(), *self._ledger.plan.hosts.values()]
            where = translation.where(record)
            other = next((each.name for each in others if translation.where(each) == where), None)
            if other is not None:
                why = f"{record.address} port {record.port} is host {other}'s"
                self._refuse(name, agents, "refused", why)
                return
            self._take_key(entry, record, notes)
            self._ledger.plan.hosts[name] = record
            self._ledger.say("host", name, "import", f"{record.user}@{record.address} port {record.port}", *notes)
        elif translation.where(known) == translation.where(record):
            self._ledger.say("host", name, "known")
        elif all(
            translation.agent_name(key, data) in known.agents
            for key, data in agents.items()
            if translation.is_hermes(key, data)
        ):
            self._ledger.say("host", name, "known", "at another address, which stays")
        else:
            self._refuse(name, agents, "refused", "a host of this name is on record at another address")
            return
        self._agents.add(number, name, agents)

    def _refuse(self, name: str, agents: object, outcome: Outcome, why: str) -> None:
        self._ledger.say("host", name, outcome, why)
        for key, data in agents.items() if isinstance(agents, dict) else ():
            self._ledger.say(
                "agent", f"{name}/{translation.shown_agent(key, data)}", outcome, "its host is not imported"
            )

    def _record(self, entry: Mapping[str, Any], name: str) -> tuple[Host | None, list[str], str]:
        notes: list[str] = []
        alias = entry.get("alias")
        if alias and alias != name:
            notes.append("its alias cannot be its name here, or is another host's")
        elif not alias:
            notes.append(f"it has no alias, so its name is {name}")
        address = translation.checked(names.address, entry.get("hostname"))
        if address is None:
            return None, notes, "its hostname is not an address"
        port = entry.get("port", 22)
        if not translation.is_port(port):
            return None, notes, "its port is not a port"
        user = translation.checked(names.ssh_user, entry.get("user", "xclm"))
        if user is None:
            return None, notes, "its user is not a login name"
        metadata = entry.get("metadata") if isinstance(entry.get("metadata"), dict) else {}
        assert isinstance(metadata, dict)
        tags = translation.texts(metadata.get("tags"))
        good = tuple(dict.fromkeys(tag for tag in tags if _TAG.fullmatch(tag)))
        if dropped := len(set(tags)) - len(good):
            notes.append(f"{dropped} of its tags cannot be tags here")
        others = [
            translation.checked(names.address, each.get("address"))
            for each in translation.objects(entry.get("addresses"))
        ]
        further = sorted({other for other in others if other is not None} - {address})
        if further:
            notes.append(f"{len(further)} further addresses are only kept in the report")
            self._ledger.keep(name, "addresses", further)
        record = Host(
            name=name,
            address=address,
            port=port,
            user=user,
            tags=good,
            added_at=translation.moment(metadata.get("added_at")) or now(),
        )
        return record, notes, ""

    def _take_key(self, entry: Mapping[str, Any], record: Host, notes: list[str]) -> None:
        here = self._ours / "keys"
        key = self._ledger.source.key_of(entry.get("key_id"), (self._ledger.source.path / "keys", here))
        problem = "no key of it is there" if key is None else key.problem()
        if key is None or problem is not None:
            notes.append(f"{problem}; your ssh agent and configuration decide")
            return
        ours = here / key.key_id / key.path.name
        record.identity_file = str(ours)
        if not is_same(key.path, ours):
            if not os.path.lexists(ours):
                self._ledger.plan.keys[key.key_id] = key
                notes.append("its key is copied")
            elif not key.is_same_as(ours):
                record.identity_file = str(key.path)
                notes.append("its key is used where it is: there is another one of that id in our keys/")
        if not key.is_open_to_others() or key.key_id in self._ledger.plan.keys:
            return
        self._ledger.plan.warnings.append(f"{key.path} is open to other users, and ssh refuses such a key: chmod 600")
