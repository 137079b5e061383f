"""
What of the predecessor's records becomes a record of ours, and what does not and why.

A plan is a function of what was read and of what is on record; nothing is changed here. No text in it holds a
value from ``secrets.json``, and a name is shown only when it has the shape of one: in a file that was edited by
hand it may be a misplaced secret.
"""

from __future__ import annotations

import os
import re
import secrets as random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pyinfra_hermes.deploys.model import channels, integrations, names, providers, releases
from pyinfra_hermes.deploys.model.channels.sharing import Membership
from pyinfra_hermes.deploys.model.declaration import Declaration, InvalidSetting
from pyinfra_hermes.deploys.model.integrations.texts import slug
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec

from ..state.records import (
    API_SERVER_KEY,
    Agent,
    Host,
    Integration,
    Provider,
    SecretEntry,
    SecretsFile,
    agent_scope,
    integration_scope,
    provider_scope,
)
from ..state.timestamps import now
from . import translated_integrations, translation
from .clawrium import Key, Source, is_same

Kind = Literal["host", "agent", "channel", "provider", "integration", "secrets"]
#: ``import``: will be recorded. ``known``: is on record, and stays as it is. ``later``: this version cannot record
#: it, a later one may. ``skip``: is not for us. ``refused``: is wrong, or in the way of something on record.
Outcome = Literal["import", "known", "later", "skip", "refused"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Types that have another name here, with what they are called in the predecessor's files.
_TYPES = {"litellm": "custom"}
_TOKENS = {
    ("discord", "BOT_TOKEN"): "DISCORD_BOT_TOKEN",
    ("slack", "BOT_TOKEN"): "SLACK_BOT_TOKEN",
    ("slack", "APP_TOKEN"): "SLACK_APP_TOKEN",
}

_HOST_FIELDS = _words(
    "hostname key_id port user auth_method alias ssh_config_host addresses hardware metadata agents claws os_family "
    "description"
)
_AGENT_FIELDS = _words(
    "type version status installed_at error agent_name name config integrations onboarding runtime providers channels "
    "skills"
)
_PROVIDER_FIELDS = _words(
    "name type endpoint default_model available_models region context_window max_tokens created_at updated_at"
)
_ENTRY_FIELDS = _words("name type config created_at updated_at")
_SECRET_FIELDS = _words("key value created_at updated_at description")
_API_KEY_DESCRIPTION = "Bearer token for hermes local OpenAI-compatible API gateway (loopback only)."
_CREDENTIALS = _words("key bot_token app_token api_key token")

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RELEASE = re.compile(r"v?([0-9]{1,6}(?:\.[0-9]{1,6}){2,3})")
_SECRET_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_SCOPE = re.compile(r"[A-Za-z0-9._-]{1,64}:[a-z]{1,16}:[a-z][a-z0-9_-]{0,31}|[a-z]{1,16}:[A-Za-z][A-Za-z0-9_-]{0,63}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Item:
    """One thing in the predecessor's files, and what becomes of it."""

    kind: Kind
    name: str
    outcome: Outcome
    notes: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return the item as plain data, for programs."""
        return {"kind": self.kind, "name": self.name, "outcome": self.outcome, "notes": list(self.notes)}


class OnRecord(Protocol):
    """What is on record, to be looked at."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """Hosts by name."""

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Providers by name."""

    @property
    def integrations(self) -> Mapping[str, Integration]:
        """Integrations by name."""

    @property
    def secrets(self) -> SecretsFile:
        """All secrets."""


class Records(Protocol):
    """What is on record, to be changed."""

    hosts: dict[str, Host]
    providers: dict[str, Provider]
    integrations: dict[str, Integration]

    @property
    def secrets(self) -> SecretsFile:
        """All secrets."""


@dataclass
class Plan:
    """Everything that an import would do."""

    items: list[Item] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: Fields that are not known here, by file.
    unknown: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    #: New agents by host, on hosts of this plan and on those on record.
    agents: dict[str, dict[str, Agent]] = field(default_factory=dict)
    #: What agents on record lack: provider and channels that could not be recorded before.
    completed: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    integrations: dict[str, Integration] = field(default_factory=dict)
    secrets: dict[str, dict[str, SecretEntry]] = field(default_factory=dict)
    #: Key pairs to copy beside our state, by their id.
    keys: dict[str, Key] = field(default_factory=dict)
    #: Settings without a place in our state, by what they belong to; there is no credential among them.
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything would be recorded."""
        return bool(self.hosts or self.agents or self.completed or self.providers or self.integrations or self.secrets)

    def of(self, *outcomes: Outcome) -> list[Item]:
        """Return the items with one of some outcomes."""
        return [item for item in self.items if item.outcome in outcomes]

    def apply(self, records: Records) -> None:
        """Put everything into what is on record."""
        records.hosts.update({name: host.model_copy(deep=True) for name, host in self.hosts.items()})
        records.providers.update(self.providers)
        records.integrations.update(self.integrations)
        for name, agents in self.agents.items():
            host = records.hosts[name]
            host.agents = {**host.agents, **agents}
        for (name, agent), lacking in self.completed.items():
            record = records.hosts[name].agents[agent]
            for attribute, value in lacking.items():
                setattr(record, attribute, value)
            record.onboarding.pop("validate", None)
        for scope, entries in self.secrets.items():
            records.secrets.scopes.setdefault(scope, {}).update(entries)


@dataclass(frozen=True)
class Wishes:
    """What the user decides about an import."""

    #: Takes the place of releases that the manifest does not list.
    release: str | None = None


def plan(source: Source, on_record: OnRecord, ours: Path, wishes: Wishes) -> Plan:
    """Say what an import of ``source`` would do to what is on record in our directory."""
    return _Planner(source, on_record, ours, wishes).plan()


class _Planner:
    def __init__(self, source: Source, on_record: OnRecord, ours: Path, wishes: Wishes) -> None:
        self._source = source
        self._on_record = on_record
        self._ours = ours
        self._wishes = wishes
        self._plan = Plan(warnings=list(source.warnings))
        #: Scopes of theirs that were dealt with.
        self._seen: set[str] = set()
        #: Why a provider of theirs is not on record after the import.
        self._missing: dict[str, str] = {}
        #: Names of integrations of theirs that were dealt with.
        self._integrations: set[str] = set()
        #: Why an agent cannot work with an integration of theirs, and what mends it.
        self._incomplete: dict[str, tuple[str, str]] = {}
        #: Which agent has a bot or an account that no other may have.
        self._claims: dict[tuple[str, Secret], str] = {
            (channel, value): scope
            for host in on_record.hosts.values()
            for agent in host.agents.values()
            for scope in [agent_scope(host.name, agent.name)]
            for channel, value, _ in self._membership(scope, agent.channels).claims()
        }

    def plan(self) -> Plan:
        for number, entry in enumerate(self._source.providers, 1):
            self._provider(number, entry)
        for number, entry in enumerate(self._source.integrations, 1):
            self._integration(number, entry)
        named = self._host_names()
        for number, entry in enumerate(self._source.hosts):
            self._host(number, entry, named[number])
        self._other_secrets()
        return self._plan

    def _say(self, kind: Kind, name: str, outcome: Outcome, *notes: str) -> None:
        self._plan.items.append(Item(kind, name, outcome, tuple(notes)))

    def _count(self, file: str, entry: Mapping[str, Any], known: Iterable[str]) -> None:
        if unknown := len(entry.keys() - set(known)):
            self._plan.unknown[file] = self._plan.unknown.get(file, 0) + unknown

    # providers

    def _provider(self, number: int, entry: dict[str, Any]) -> None:
        self._count("providers.json", entry, _PROVIDER_FIELDS)
        name, kind = translation.provider_name(entry.get("name")), entry.get("type")
        if name is None:
            self._say("provider", f"entry {number}", "refused", "it has no name that can be a provider's")
            return
        scope = provider_scope(name)
        self._seen.add(scope)
        if name in self._plan.providers or name in self._missing:
            self._say("provider", name, "refused", "there is another one of this name before it")
            return
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            self._refuse_provider(name, "refused", "it has no type")
            return
        type_ = kind if kind in providers.CATALOGUE else _TYPES.get(kind, kind)
        if type_ not in providers.CATALOGUE:
            self._refuse_provider(name, "later", f"this version has no providers of type {kind}")
            return
        known = self._on_record.providers.get(name)
        if known is not None:
            self._known_provider(known, kind, entry)
            return
        declaration = providers.CATALOGUE[type_]
        options, problem = translation.options(declaration, entry)
        if problem is not None:
            self._refuse_provider(name, "refused", problem)
            return
        at = translation.moment(entry.get("created_at")) or now()
        record = Provider(
            name=name,
            type=type_,
            options=options,
            created_at=at,
            updated_at=translation.moment(entry.get("updated_at")) or at,
        )
        self._plan.providers[name] = record
        notes = [f"type {kind} is {type_} here"] if kind != type_ else []
        if "//localhost" in str(options.get("url")) or "//127." in str(options.get("url")):
            notes.append("its URL means the host of each agent, not this machine")
        notes += [
            f"without its {label}, which cannot be used here" for label in translation.left_out(declaration, entry)
        ]
        self._say("provider", name, "import", f"type {type_}", *notes)
        self._secrets(scope, self._entries(scope))
        held = {**self._plan.secrets.get(scope, {}), **self._on_record.secrets.scopes.get(scope, {})}
        for f in declaration.secrets:
            if f.required and f.key not in held:
                self._plan.warnings.append(f"provider {name} comes without its {f.key}")

    def _known_provider(self, known: Provider, kind: str, entry: Mapping[str, Any]) -> None:
        declaration = providers.CATALOGUE.get(known.type)
        options = translation.options(declaration, entry)[0] if declaration is not None else {}
        same = known.type == _TYPES.get(kind, kind) and options == known.options
        self._say("provider", known.name, "known", *([] if same else ["with other settings, which stay"]))
        scope = provider_scope(known.name)
        self._secrets(scope, self._entries(scope))

    def _refuse_provider(self, name: str, outcome: Outcome, why: str) -> None:
        # Its keys wait with it: without the record nothing could use or remove them.
        keys = sorted(key for key in self._entries(provider_scope(name)) if _SECRET_KEY.fullmatch(key))
        self._missing[name] = why
        self._say("provider", name, outcome, why, *([f"its {', '.join(keys)} stays with it"] if keys else []))

    def _integration(self, number: int, entry: dict[str, Any]) -> None:
        self._count("integrations.json", entry, _ENTRY_FIELDS)
        name, kind = translation.provider_name(entry.get("name")), entry.get("type")
        if name is None:
            self._say("integration", f"entry {number}", "refused", "it has no name that can be an integration's")
            return
        scope = integration_scope(name)
        self._seen.add(scope)
        if name in self._integrations:
            self._say("integration", name, "refused", "there is another one of this name before it")
            return
        self._integrations.add(name)
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            self._refuse_integration(name, "refused", "it has no type")
            return
        known = self._on_record.integrations.get(name)
        if known is not None:
            self._known_integration(known, kind)
        elif kind not in integrations.CATALOGUE:
            instead = "an MCP server can take its place: clm integration add NAME --type mcp-http"
            self._refuse_integration(name, "later", f"this version has no integrations of type {kind}; {instead}")
        elif (why := translated_integrations.unnamable(name)) is not None:
            instead = f"clm integration add my-{name} --type {kind}"
            self._refuse_integration(name, "refused", f"{why}; define it under another: {instead}")
        else:
            self._new_integration(name, kind, entry)

    def _new_integration(self, name: str, kind: str, entry: Mapping[str, Any]) -> None:
        scope = integration_scope(name)
        at = translation.moment(entry.get("created_at")) or now()
        changed = translation.moment(entry.get("updated_at")) or at
        found = translated_integrations.translated(integrations.CATALOGUE[kind], self._entries(scope))
        record = Integration(name=name, type=kind, options=found.options, created_at=at, updated_at=changed)
        self._plan.integrations[name] = record
        place = len(self._plan.items)
        self._secrets(scope, found.secrets)
        keys = {**self._plan.secrets.get(scope, {}), **self._on_record.secrets.scopes.get(scope, {})}
        lack = translated_integrations.incomplete(record, keys, found.unusable)
        notes = [f"type {kind}"]
        if found.options:
            notes.append(f"its {', '.join(found.options)} are settings here, no secrets")
        if lack is not None:
            self._incomplete[name] = lack
            notes += [f"not complete: {lack[0]}", f"mend it: {lack[1]}"]
        # Its secrets are looked at first and said afterwards.
        self._plan.items.insert(place, Item("integration", name, "import", tuple(notes)))
        self._unplaced(scope, kind, found.unplaced)

    def _known_integration(self, known: Integration, kind: str) -> None:
        declaration = integrations.CATALOGUE.get(known.type)
        if known.type != kind or declaration is None:
            self._say("integration", known.name, "known", "of another type, which stays")
            return
        scope = integration_scope(known.name)
        found = translated_integrations.translated(declaration, self._entries(scope))
        same = all(known.options.get(name) == value for name, value in found.options.items())
        self._say("integration", known.name, "known", *([] if same else ["with other settings, which stay"]))
        self._secrets(scope, found.secrets)
        self._unplaced(scope, kind, found.unplaced)

    def _refuse_integration(self, name: str, outcome: Outcome, why: str) -> None:
        keys = sorted(key for key in self._entries(integration_scope(name)) if _SECRET_KEY.fullmatch(key))
        self._say("integration", name, outcome, why, *([f"its {', '.join(keys)} stays with it"] if keys else []))

    def _unplaced(self, scope: str, kind: str, keys: Iterable[str]) -> None:
        shown = sorted(key if _SECRET_KEY.fullmatch(key) else "(a name not shown)" for key in keys)
        if shown:
            self._say("secrets", scope, "skip", f"{', '.join(shown)}: type {kind} has no place for it")

    def _attachable(self, reference: str, data: Mapping[str, Any], notes: list[str]) -> tuple[str, ...]:
        """Return those of an agent's integrations that it can work with; the notes name the others."""
        chosen: dict[str, str] = {}
        missing: list[str] = []
        asked = [one for one in translation.texts(data.get("integrations")) if translation.provider_name(one)]
        for name in dict.fromkeys(asked):
            record = self._plan.integrations.get(name) or self._on_record.integrations.get(name)
            attach = f"clm agent integration add {reference} {name}"
            if record is None:
                missing.append(name)
            elif not self._is_usable(record):
                notes.append(f"not attached to {name}, which is not complete; once it is: {attach}")
            elif (other := chosen.setdefault(slug(name).lower(), name)) != name:
                notes.append(f"not attached to {name}, whose tools would have the names of {other}'s")
        if missing:
            notes.append(f"without its integrations {', '.join(sorted(missing))}, which are not imported")
        return tuple(chosen.values())

    def _is_usable(self, record: Integration) -> bool:
        if record.type not in integrations.CATALOGUE or translated_integrations.unnamable(record.name) is not None:
            return False
        if record.name in self._incomplete:
            return False
        scope = integration_scope(record.name)
        keys = {**self._plan.secrets.get(scope, {}), **self._on_record.secrets.scopes.get(scope, {})}
        return translated_integrations.incomplete(record, keys) is None

    # hosts

    def _host_names(self) -> list[str | None]:
        """Choose a name for each host: its alias, else what its secrets are kept under; each name once."""
        chosen: dict[int, str] = {}
        taken: set[str] = set()
        aliases = [translation.host_name(entry.get("alias")) for entry in self._source.hosts]
        for number, alias in enumerate(aliases):
            if alias is not None and alias not in taken:
                chosen[number] = alias
                taken.add(alias)
        for number, entry in enumerate(self._source.hosts):
            if number not in chosen:
                candidates = (name for name in self._fallbacks(entry) if name not in taken)
                if (name := next(candidates, None)) is not None:
                    chosen[number] = name
                    taken.add(name)
        return [chosen.get(number) for number in range(len(self._source.hosts))]

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
        return isinstance(host, str) and any(scope.startswith(f"{host}:hermes:") for scope in self._source.secrets)

    def _host(self, number: int, entry: dict[str, Any], name: str | None) -> None:
        self._count("hosts.json", entry, _HOST_FIELDS)
        agents = entry.get("agents") or {}
        shown = name or f"entry {number + 1}"
        if name is None:
            self._refuse_host(shown, agents, "refused", "nothing in it can be its name")
            return
        if entry.get("os_family", "linux") != "linux":
            self._refuse_host(name, agents, "skip", "it is not a Linux host")
            return
        record, notes, problem = self._host_record(entry, name)
        if record is None:
            self._refuse_host(name, agents, "refused", problem)
            return
        if entry.get("claws"):
            notes.append("its agents under `claws`, from before clawrium 26.4, are not read")
        if not isinstance(agents, dict):
            self._say("agent", f"{name}/?", "refused", "the host's agents should be an object")
            agents = {}
        known = self._on_record.hosts.get(name)
        if known is None:
            others = [*self._on_record.hosts.values(), *self._plan.hosts.values()]
            where = translation.where(record)
            other = next((each.name for each in others if translation.where(each) == where), None)
            if other is not None:
                why = f"{record.address} port {record.port} is host {other}'s"
                self._refuse_host(name, agents, "refused", why)
                return
            self._take_key(entry, record, notes)
            self._plan.hosts[name] = record
            self._say("host", name, "import", f"{record.user}@{record.address} port {record.port}", *notes)
        elif translation.where(known) == translation.where(record):
            self._say("host", name, "known")
        elif all(
            translation.agent_name(key, data) in known.agents
            for key, data in agents.items()
            if translation.is_hermes(key, data)
        ):
            self._say("host", name, "known", "at another address, which stays")
        else:
            self._refuse_host(name, agents, "refused", "a host of this name is on record at another address")
            return
        self._agents(number, name, agents)

    def _refuse_host(self, name: str, agents: object, outcome: Outcome, why: str) -> None:
        self._say("host", name, outcome, why)
        for key, data in agents.items() if isinstance(agents, dict) else ():
            self._say("agent", f"{name}/{translation.shown_agent(key, data)}", outcome, "its host is not imported")

    def _host_record(self, entry: Mapping[str, Any], name: str) -> tuple[Host | None, list[str], str]:
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
            self._keep(name, "addresses", further)
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
        key = self._source.key_of(entry.get("key_id"), (self._source.path / "keys", here))
        problem = "no key of it is there" if key is None else key.problem()
        if key is None or problem is not None:
            notes.append(f"{problem}; your ssh agent and configuration decide")
            return
        ours = here / key.key_id / key.path.name
        record.identity_file = str(ours)
        if not is_same(key.path, ours):
            if not os.path.lexists(ours):
                self._plan.keys[key.key_id] = key
                notes.append("its key is copied")
            elif not key.is_same_as(ours):
                record.identity_file = str(key.path)
                notes.append("its key is used where it is: there is another one of that id in our keys/")
        if not key.is_open_to_others() or key.key_id in self._plan.keys:
            return
        self._plan.warnings.append(f"{key.path} is open to other users, and ssh refuses such a key: chmod 600")

    # agents

    def _agents(self, number: int, host: str, agents: Mapping[str, Any]) -> None:
        on_record = self._on_record.hosts.get(host)
        recorded = on_record.agents if on_record is not None else {}
        asked = [translation.port_of(data) for data in agents.values() if isinstance(data, dict)]
        taken = {agent.port for agent in recorded.values()}
        for key, data in agents.items():
            name = translation.agent_name(key, data)
            shown = f"{host}/{translation.shown_agent(key, data)}"
            if not isinstance(data, dict):
                self._say("agent", shown, "refused", "it should be an object")
                continue
            self._count("hosts.json", data, _AGENT_FIELDS)
            kind = data.get("type") or key
            if not translation.is_hermes(key, data):
                what = f"type {kind}" if isinstance(kind, str) and _KIND.fullmatch(kind) else "another type"
                self._say("agent", shown, "skip", f"{what}; only agents of type hermes are imported")
                continue
            if name is None:
                self._say("agent", shown, "refused", "its name cannot be an agent's here")
            elif name in self._plan.agents.get(host, {}):
                self._say("agent", shown, "refused", "there is another one of this name before it")
            elif name in recorded:
                self._complete(number, host, recorded[name], data)
            else:
                port, note = translation.free_port(translation.port_of(data), taken, asked)
                if self._agent(number, host, name, data, port, note):
                    taken.add(port)

    def _agent(self, number: int, host: str, name: str, data: dict[str, Any], port: int, moved: str | None) -> bool:
        shown, notes = f"{host}/{name}", [moved] if moved else []
        release, problem = self._release(data.get("version"), notes)
        if release is None:
            self._seen.update(self._scopes(number, name))
            self._say("agent", shown, "later", problem, "its secrets stay with it")
            return False
        config = data["config"] if isinstance(data.get("config"), dict) else {}
        api = config["api_server"] if isinstance(config.get("api_server"), dict) else {}
        if api.get("host") not in (None, "127.0.0.1", "localhost"):
            notes.append("its API was open to the network and is on loopback here")
        if any(_CREDENTIALS & part.keys() for part in (api, *translation.parts(config.get("channels")))):
            notes.append("hosts.json holds credentials of it, which are not read from there")
        provider, model = self._provider_of(shown, data, config, notes)
        status, error = translation.status(data.get("status"))
        agent = Agent(
            name=name,
            release=release,
            port=port,
            provider=provider,
            model=model,
            status=status,
            error=error,
            installed_at=translation.moment(data.get("installed_at")),
        )
        if not self._fits(agent):
            self._seen.update(self._scopes(number, name))
            self._say("agent", shown, "refused", "it does not fit what an agent can be here")
            return False
        # What an agent comes with depends on its secrets, which are said after it.
        place = len(self._plan.items)
        self._agent_secrets(number, host, name, data)
        agent.channels = {"api": {}, **dict(self._channels(agent, data, config, agent_scope(host, name)))}
        agent.onboarding = translation.onboarding(agent, data)
        agent.integrations = self._attachable(shown, data, notes)
        self._plan.agents.setdefault(host, {})[name] = agent
        self._plan.items.insert(place, Item("agent", shown, "import", (f"{release} on port {port}", *notes)))
        self._warn_of_tokens(shown, agent, agent_scope(host, name))
        return True

    def _complete(self, number: int, host: str, agent: Agent, data: dict[str, Any]) -> None:
        """Give an agent on record what could not be recorded when it was imported."""
        config = data["config"] if isinstance(data.get("config"), dict) else {}
        lacking: dict[str, Any] = {}
        notes: list[str] = []
        place = len(self._plan.items)
        self._agent_secrets(number, host, agent.name, data)
        if agent.provider is None:
            provider, model = self._provider_of(agent.name, data, config, [])
            if provider is not None:
                lacking = {"provider": provider, "model": model}
                notes.append(f"gets its provider {provider}")
        settings = dict(self._channels(agent, data, config, agent_scope(host, agent.name)))
        new = {name: options for name, options in settings.items() if name not in agent.channels}
        if new:
            lacking["channels"] = {**agent.channels, **new}
        if lacking:
            self._plan.completed[host, agent.name] = lacking
        outcome: Outcome = "import" if lacking else "known"
        self._plan.items.insert(place, Item("agent", f"{host}/{agent.name}", outcome, tuple(notes)))

    def _warn_of_tokens(self, reference: str, agent: Agent, scope: str) -> None:
        """Name the tokens that are refused when the agent is configured, and can be mended now."""
        new = self._plan.secrets.get(scope, {})
        for f in [f for channel in agent.channels for f in channels.CATALOGUE[channel].secrets if f.key in new]:
            try:
                f.check_secret(new[f.key].value or Secret(""))
            except InvalidSetting:
                remedy = f"clm secret set {reference} {f.key}"
                self._plan.warnings.append(f"{f.key} of {reference} does not look like one: {remedy}")

    def _kept(self, scope: str) -> dict[str, Secret]:
        """Return the secrets that a scope has after the import, a reference to one as it is spelled."""
        entries = {**self._plan.secrets.get(scope, {}), **self._on_record.secrets.scopes.get(scope, {})}
        kept = {key: entry.kept() for key, entry in entries.items()}
        return {key: each if isinstance(each, Secret) else Secret(each.text) for key, each in kept.items()}

    def _membership(self, scope: str, chosen: Mapping[str, Mapping[str, Any]]) -> Membership:
        return Membership(scope, chosen, self._kept(scope))

    def _lack(self, declaration: Declaration, options: Mapping[str, Any], scope: str) -> str | None:
        """Say what an entry lacks; None when it is complete. An agent with such a one would stop every inventory."""
        kept = self._kept(scope)
        try:
            declaration.check_complete(options, [f.name for f in declaration.secrets if kept.get(f.key)])
        except InvalidSetting as error:
            said = str(error)
            return said if not any(quote in said for quote in "'\"") else "its settings do not go together"
        return None

    def _clash(self, scope: str, name: str, settings: Mapping[str, Any]) -> str | None:
        """Say which other agent has the bot of a channel already; None when none has, and then it is this one's."""
        claims = list(self._membership(scope, {name: settings}).claims())
        for channel, value, label in claims:
            if (holder := self._claims.get((channel, value), scope)) != scope:
                return f"its {label} is that of {holder}, and two agents would take each other's messages"
        self._claims.update({(channel, value): scope for channel, value, _ in claims})
        return None

    def _release(self, version: object, notes: list[str]) -> tuple[str | None, str]:
        listed = {release.tag for release in releases.manifest().releases}
        match = _RELEASE.fullmatch(version) if isinstance(version, str) else None
        tag = f"v{match[1]}" if match else None
        if tag in listed:
            return tag, ""
        if self._wishes.release is not None:
            notes.append(f"{tag or 'an unknown release'} becomes {self._wishes.release}, as you said")
            return self._wishes.release, ""
        what = f"{tag} is not in the manifest" if tag else "it does not say which release it is"
        return None, f"{what}; --release TAG records it with a release that is"

    def _provider_of(
        self, reference: str, data: Mapping[str, Any], config: Mapping[str, Any], notes: list[str]
    ) -> tuple[str | None, str | None]:
        attached = data.get("providers") if isinstance(data.get("providers"), list) else []
        assert isinstance(attached, list)
        entries = [each if isinstance(each, dict) else {"name": each, "role": ""} for each in attached]
        primary = next((each for each in entries if each.get("role") == "primary"), entries[0] if entries else None)
        settings = config["provider"] if isinstance(config.get("provider"), dict) else {}
        name = translation.provider_name((primary or settings).get("name"))
        model = (primary or {}).get("model") or settings.get("default_model")
        if len(entries) > 1:
            notes.append(f"{len(entries) - 1} further providers of it, for other tasks, are not taken over")
        if name is None:
            return None, None
        record = self._plan.providers.get(name) or self._on_record.providers.get(name)
        if record is None:
            notes.append(f"without its provider {name}: {self._missing.get(name, 'there is no such provider')}")
            return None, None
        declaration = providers.CATALOGUE.get(record.type)
        lack = self._lack(declaration, record.options, provider_scope(name)) if declaration is not None else None
        if declaration is not None and lack is not None:
            keys = self._kept(provider_scope(name))
            flags = [
                f"--{f.name.replace('_', '-')}-file PATH"
                for f in declaration.secrets
                if f.required and f.key not in keys
            ]
            edit = " ".join(["clm provider edit", name, *flags])
            mend = f"{edit}, then: clm agent configure {reference} --provider {name}"
            notes.append(f"without its provider {name}, which is not complete: {lack}; mend it: {mend}")
            return None, None
        checked = translation.checked(names.model_id, model)
        return name, checked if checked != record.options.get("model") else None

    def _channels(
        self, agent: Agent, data: Mapping[str, Any], config: Mapping[str, Any], scope: str
    ) -> Iterator[tuple[str, dict[str, translation.Setting]]]:
        """Go through the channels that can be recorded; what cannot is kept for the report."""
        for name, given in self._channel_settings(data, config):
            shown = f"{scope}/{name}"
            if name in agent.channels:
                self._say("channel", shown, "known")
                continue
            declaration = channels.CATALOGUE.get(name)
            if declaration is None:
                self._keep_channel(scope, name, given, "this version has no such channel")
                continue
            settings, notes, problem = translation.channel(declaration, given)
            if problem is None and not self._fits(agent, {name: settings}):
                problem = "its settings do not fit"
            if problem is None and (problem := self._lack(declaration, settings, scope)) is not None:
                problem += f"; once it is there: clm agent channel enable {agent.name} {name}"
            problem = problem or self._clash(scope, name, settings)
            if problem is not None:
                self._keep_channel(scope, name, given, problem)
                continue
            if notes:
                self._keep_settings(scope, name, given)
            self._say("channel", shown, "import", *notes)
            yield name, settings

    def _keep_channel(self, scope: str, name: str, given: Mapping[str, Any], why: str) -> None:
        self._keep_settings(scope, name, given)
        self._say("channel", f"{scope}/{name}", "later", f"{why}; its settings are kept")

    def _keep_settings(self, scope: str, name: str, given: Mapping[str, Any]) -> None:
        kept = self._plan.kept.get(scope, {}).get("channels", {})
        self._keep(scope, "channels", {**kept, name: translation.settings(given)})

    def _channel_settings(
        self, data: Mapping[str, Any], config: Mapping[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        inside = config["channels"] if isinstance(config.get("channels"), dict) else {}
        for name, given in inside.items():
            if name in ("discord", "slack") and isinstance(given, dict) and given.get("enabled", True) is not False:
                yield name, given
        for entry in self._attached_channels(data):
            if entry["type"] not in inside:
                yield entry["type"], entry["config"] if isinstance(entry.get("config"), dict) else {}

    def _attached_channels(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        attached = translation.texts(data.get("channels"))
        found = {
            entry["type"]: entry
            for entry in self._source.channels
            if entry.get("type") in ("discord", "slack") and entry.get("name") in attached
        }
        return list(found.values())

    def _fits(self, agent: Agent, settings: Mapping[str, Any] | None = None) -> bool:
        record = None
        if agent.provider is not None:
            record = self._plan.providers.get(agent.provider) or self._on_record.providers.get(agent.provider)
        provider = None
        if record is not None:
            options = {**record.options, **({"model": agent.model} if agent.model is not None else {})}
            provider = {"type": record.type, "options": options}
        try:
            AgentSpec.parse(
                {
                    "name": agent.name,
                    "release": agent.release,
                    "port": agent.port,
                    "provider": provider,
                    "channels": {"api": {}, **(settings or {})},
                }
            )
        except InvalidSpec:
            return False
        return True

    # secrets

    def _entries(self, scope: str) -> dict[str, Any]:
        entries = self._source.secrets.get(scope)
        return entries if isinstance(entries, dict) else {}

    def _scopes(self, number: int, agent: str) -> list[str]:
        """Return the scopes under which the predecessor kept an agent's secrets, the newest form first."""
        ids = translation.ids(self._source.hosts[number])
        return [f"{one}:hermes:{agent}" for one in ids if self._owners_of(one) == [number]]

    def _owners_of(self, host: str) -> list[int]:
        # An address or an alias of one host may be the id of another one: then it is the other's.
        entries = list(enumerate(self._source.hosts))
        first = [number for number, entry in entries if host in (entry.get("key_id"), entry.get("hostname"))]
        return first or [number for number, entry in entries if host in translation.ids(entry)]

    def _agent_secrets(self, number: int, host: str, name: str, data: Mapping[str, Any]) -> None:
        scope, notes = agent_scope(host, name), []
        found: dict[str, Any] = {}
        for theirs in self._scopes(number, name):
            entries = self._entries(theirs)
            self._seen.add(theirs)
            if not entries:
                continue
            if theirs != scope:
                notes.append(f"they were under {theirs}")
            for key, entry in entries.items():
                if (
                    key in found
                    and translation.value_of(found[key]) != translation.value_of(entry)
                    and _SECRET_KEY.fullmatch(key)
                ):
                    notes.append(f"another {key} under {theirs} is not taken")
                found.setdefault(key, entry)
        for entry in self._attached_channels(data):
            theirs = f"channel:{entry.get('name')}"
            self._seen.add(theirs)
            for (kind, key), ours in _TOKENS.items():
                if kind == entry["type"] and key in self._entries(theirs):
                    found.setdefault(ours, self._entries(theirs)[key])
        self._secrets(scope, found, notes)
        held = {**self._plan.secrets.get(scope, {}), **self._on_record.secrets.scopes.get(scope, {})}
        if API_SERVER_KEY not in held:
            self._new_api_key(scope)

    def _new_api_key(self, scope: str) -> None:
        # As an installation does: an agent on record without one would stop every inventory.
        at = now()
        made = SecretEntry(
            value=Secret(random.token_hex(32)), created_at=at, updated_at=at, description=_API_KEY_DESCRIPTION
        )
        self._plan.secrets.setdefault(scope, {})[API_SERVER_KEY] = made
        self._say("secrets", scope, "import", f"a new {API_SERVER_KEY}: there is none that can be taken over")

    def _secrets(self, scope: str, entries: Mapping[str, Any], notes: Iterable[str] = ()) -> None:
        self._seen.add(scope)
        taken: list[str] = []
        known: list[str] = []
        for key, entry in entries.items():
            if not _SECRET_KEY.fullmatch(key):
                self._say("secrets", scope, "refused", "a secret in it has no name that can be one")
                continue
            if isinstance(entry, dict):
                self._count("secrets.json", entry, _SECRET_FIELDS)
            read = translation.secret(key, entry)
            if isinstance(read, str):
                self._say("secrets", scope, "refused", f"{key} {read}")
                continue
            old = self._on_record.secrets.get(scope, key)
            if old is None:
                self._plan.secrets.setdefault(scope, {})[key] = read
                taken.append(key)
            else:
                known.append(key if old == read.value else f"{key} with another value, which stays")
        if taken:
            self._say("secrets", scope, "import", ", ".join(taken), *notes)
        if known:
            self._say("secrets", scope, "known", ", ".join(known))

    def _other_secrets(self) -> None:
        for scope, entries in self._source.secrets.items():
            if scope in self._seen:
                if not isinstance(entries, dict):
                    self._say("secrets", scope, "refused", "it should be an object")
                continue
            shown = scope if _SCOPE.fullmatch(scope) else "(a name not shown)"
            match scope.split(":"):
                case [_, "hermes", _]:
                    self._say("secrets", shown, "skip", "no agent that is imported has them, or several hosts could")
                case [_, _, _]:
                    self._say("secrets", shown, "skip", "they are of an agent of another type")
                case ["channel", _]:
                    self._say("secrets", shown, "skip", "no agent that is imported has this channel")
                case _:
                    self._say("secrets", shown, "skip", "there is no agent, provider or integration that has them")

    def _keep(self, whose: str, what: str, value: Any) -> None:
        self._plan.kept.setdefault(whose, {})[what] = value
