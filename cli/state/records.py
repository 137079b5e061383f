"""What the state files hold: hosts and their agents, providers, integrations, and secrets by their scope."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PrivateAttr, field_validator, model_validator
from typing_extensions import override

from pyinfra_hermes.deploys import references
from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.secret import Secret

from .errors import StateInvalid
from .sealing import Record
from .timestamps import Timestamp, now

Stage = Literal["providers", "identity", "channels", "validate"]
OnboardingState = Literal["pending", "providers", "identity", "channels", "validate", "ready"]
AgentStatus = Literal["installing", "installed", "failed", "removing"]
Hardening = Literal["off", "standard", "strict"]
#: What an option that is not secret holds.
Plain = str | int | bool | list[str] | dict[str, str]

#: The stages of onboarding in their order.
STAGES: tuple[Stage, ...] = ("providers", "identity", "channels", "validate")

#: The port of a host's first agent.
FIRST_PORT = 8642

API_SERVER_KEY = "HERMES_API_SERVER_KEY"
#: What is told of such a key where secrets are listed.
API_SERVER_KEY_DESCRIPTION = "Bearer token for hermes local OpenAI-compatible API gateway (loopback only)."
#: The key that is to take its place, while a rotation is under way.
NEXT_API_SERVER_KEY = "HERMES_API_SERVER_KEY_NEXT"

_SECRET_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _recorded_agent_name(value: str) -> str:
    # A name that a later version reserves must not make the records of an older one unreadable.
    return value if value in names.RESERVED_ACCOUNTS else names.agent_name(value)


def _shape(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{what} must match {pattern.pattern}")
        return value

    return AfterValidator(check)


def _secret_key(value: str) -> str:
    if not _SECRET_KEY.fullmatch(value):
        raise ValueError(f"name must match {_SECRET_KEY.pattern}")
    return value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _no_duplicates(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("names something twice")
    return values


HostName = Annotated[str, AfterValidator(names.host_name)]
AgentName = Annotated[str, AfterValidator(_recorded_agent_name)]
ProviderName = Annotated[str, AfterValidator(names.provider_name)]
Kind = Annotated[str, _shape(_KIND, "a type")]
Option = Annotated[str, _shape(_OPTION, "an option's name")]
Tag = Annotated[str, _shape(_TAG, "a tag")]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1)]
Variable = Annotated[str, _shape(_SECRET_KEY, "a variable's name")]
SecretKey = Annotated[str, AfterValidator(_secret_key)]


def _check_keys(entries: Mapping[str, Host] | Mapping[str, Agent] | Mapping[str, Entry]) -> None:
    for key, entry in entries.items():
        if key != entry.name:
            raise ValueError(f"the entry {key!r} says that its name is {entry.name!r}")


class Document(Record):
    """
    One state file as a whole.

    Each has a ``schema_version`` of its own. Whoever adds, removes or changes a field, here or in what a document
    holds, raises it and adds the step to :mod:`.migrations`: an older clm then names the version, and changes nothing.
    """

    FILENAME: ClassVar[str]

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read the document from the parsed JSON of its file. Raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(plain))

    def to_plain(self) -> dict[str, Any]:
        """Give the document as it is written to its file, with secrets in the open where it holds any."""
        return self.model_dump(mode="python", warnings=False)

    @classmethod
    def where(cls, location: tuple[str | int, ...]) -> str:
        """Name a place inside the document for a message."""
        return ".".join(str(part) for part in location if part != "[key]")


class StageResult(Record):
    """How a stage of onboarding ended."""

    status: Literal["done", "skipped"]
    at: Timestamp = Field(default_factory=now)
    detail: dict[str, Plain] = Field(default_factory=dict)


class Applied(Record):
    """What a host confirmed: the digest of the rendered files and the release that serves them."""

    digest: Text
    release: Text
    at: Timestamp = Field(default_factory=now)


def _only_api() -> dict[str, dict[str, Plain]]:
    return {"api": {}}


class Memory(Record):
    """A memory backend of an agent, without its credentials."""

    type: Kind
    options: dict[Option, Plain] = Field(default_factory=dict)


class Agent(Record):
    """An agent on a host: what the user chose for it and what the host confirmed."""

    name: AgentName = Field(frozen=True)
    type: Literal["hermes"] = "hermes"
    release: Text
    #: What was on record before there was a choice came as wheels.
    method: Literal["installer", "wheel"] = "wheel"
    port: Port
    #: The name of a configured provider.
    provider: ProviderName | None = None
    #: Takes the place of the provider's own model.
    model: Annotated[str, AfterValidator(names.model_id)] | None = None
    #: The settings of each enabled channel; its credentials are in secrets.json.
    channels: dict[Kind, dict[Option, Plain]] = Field(default_factory=_only_api)
    integrations: Annotated[tuple[ProviderName, ...], BeforeValidator(_as_tuple), AfterValidator(_no_duplicates)] = ()
    #: Where it keeps memories beside its own files; its credentials are in secrets.json.
    memory: Memory | None = None
    #: Variables of the user's own, by name; those in ``secret_environment`` have their values in secrets.json.
    environment: dict[Variable, str] = Field(default_factory=dict)
    secret_environment: Annotated[tuple[Variable, ...], BeforeValidator(_as_tuple), AfterValidator(_no_duplicates)] = ()
    #: Leaves of config.yaml of the user's own, by their path.
    config: dict[Text, JsonValue] = Field(default_factory=dict)
    hardening: Hardening = "standard"
    status: AgentStatus
    #: Why the status is ``failed``.
    error: str | None = None
    installed_at: Timestamp | None = None
    applied: Applied | None = None
    onboarding: dict[Stage, StageResult] = Field(default_factory=dict)

    @property
    def onboarding_state(self) -> OnboardingState:
        """
        Say how far onboarding is: the first stage that is neither done nor skipped.

        ``pending`` when no stage has a result, ``ready`` when all have one. It is derived and never stored,
        so it cannot disagree with the stages.
        """
        if not self.onboarding:
            return "pending"
        return next((stage for stage in STAGES if stage not in self.onboarding), "ready")


class Host(Record):
    """A host under its immutable name; where and how it is reached may change."""

    name: HostName = Field(frozen=True)
    address: Annotated[str, AfterValidator(names.address)]
    port: Port = 22
    user: Annotated[str, AfterValidator(names.ssh_user)]
    #: Path of the private key; None leaves the choice to the SSH agent and configuration.
    identity_file: Text | None = None
    tags: Annotated[tuple[Tag, ...], BeforeValidator(_as_tuple), AfterValidator(_no_duplicates)] = ()
    added_at: Timestamp = Field(default_factory=now)
    agents: dict[AgentName, Agent] = Field(default_factory=dict)

    @field_validator("agents")
    @classmethod
    def _agents_fit(cls, agents: dict[str, Agent]) -> dict[str, Agent]:
        _check_keys(agents)
        holders: dict[int, str] = {}
        for agent in agents.values():
            if agent.port in holders:
                raise ValueError(f"agents {holders[agent.port]} and {agent.name} have the same port {agent.port}")
            holders[agent.port] = agent.name
        return agents


class HostsFile(Document):
    """``hosts.json``."""

    FILENAME = "hosts.json"

    schema_version: Literal[3] = 3
    hosts: dict[HostName, Host] = Field(default_factory=dict)

    @field_validator("hosts")
    @classmethod
    def _hosts_fit(cls, hosts: dict[str, Host]) -> dict[str, Host]:
        _check_keys(hosts)
        return hosts


class Entry(Record):
    """An entry of a catalogue under a name of the user's, without its credentials."""

    name: ProviderName = Field(frozen=True)
    type: Kind
    #: The fields that are not secret: url, model, user...
    options: dict[Option, Plain] = Field(default_factory=dict)
    created_at: Timestamp = Field(default_factory=now)
    updated_at: Timestamp = Field(default_factory=now)


class Provider(Entry):
    """A configured provider."""


class ProvidersFile(Document):
    """``providers.json``."""

    FILENAME = "providers.json"

    schema_version: Literal[2] = 2
    providers: dict[ProviderName, Provider] = Field(default_factory=dict)

    @field_validator("providers")
    @classmethod
    def _providers_fit(cls, providers: dict[str, Provider]) -> dict[str, Provider]:
        _check_keys(providers)
        return providers


class Integration(Entry):
    """A configured integration."""


class IntegrationsFile(Document):
    """``integrations.json``."""

    FILENAME = "integrations.json"

    schema_version: Literal[2] = 2
    integrations: dict[ProviderName, Integration] = Field(default_factory=dict)

    @field_validator("integrations")
    @classmethod
    def _integrations_fit(cls, integrations: dict[str, Integration]) -> dict[str, Integration]:
        _check_keys(integrations)
        return integrations


class Instance(NamedTuple):
    """An agent together with the host it is on."""

    host: Host
    agent: Agent

    @property
    def key(self) -> str:
        """The instance key, ``<host>:hermes:<agent>``: also the scope of the agent's secrets."""
        return agent_scope(self.host.name, self.agent.name)


def agent_scope(host: str, agent: str) -> str:
    """Name the scope of an agent's secrets: its instance key, ``<host>:hermes:<agent>``."""
    return f"{names.host_name(host)}:hermes:{_recorded_agent_name(agent)}"


def provider_scope(name: str) -> str:
    """Name the scope of a provider's secrets: ``provider:<name>``."""
    return f"provider:{names.provider_name(name)}"


def integration_scope(name: str) -> str:
    """Name the scope of an integration's secrets: ``integration:<name>``."""
    return f"integration:{names.provider_name(name)}"


def is_secret_key(value: str) -> bool:
    """Tell whether a text has the shape of a secret's name."""
    return bool(_SECRET_KEY.fullmatch(value))


def is_scope(value: str) -> bool:
    """Tell whether a text has the shape of a scope of secrets."""
    try:
        match value.split(":"):
            case [host, "hermes", agent]:
                return agent_scope(host, agent) == value
            case ["provider" | "integration", name]:
                return names.provider_name(name) == name
    except names.InvalidName:
        pass
    return False


def _scope(value: str) -> str:
    # The text holds no part of the value: in a file that was edited by hand it may be a misplaced secret.
    if not is_scope(value):
        raise ValueError("scope should be <host>:hermes:<agent>, provider:<name> or integration:<name>")
    return value


Scope = Annotated[str, AfterValidator(_scope)]


def _writable(value: Secret) -> Secret:
    if any("\ud800" <= character <= "\udfff" for character in value.reveal()):
        raise ValueError("value is not text that UTF-8 can carry")
    return value


class Reference(NamedTuple):
    """Where a secret is, in place of the secret: ``op://vault/item/field`` and what else deploys.references knows."""

    text: str


class SecretEntry(Record):
    """
    A secret with its history; dumps of it are redacted.

    It has a value, or a reference to where the value is. A value that looks like a reference is a value.
    """

    value: Annotated[Secret, AfterValidator(_writable)] | None = None
    reference: Annotated[str, AfterValidator(references.check)] | None = None
    created_at: Timestamp
    updated_at: Timestamp
    description: str = ""

    _resolved: Secret | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.value is None) == (self.reference is None):
            raise ValueError("should have either a value or a reference")
        return self

    def secret(self, key: str) -> Secret:
        """
        Return the value; a reference is followed once for each time that the state is read.

        ``key`` is for the message. Raises :class:`pyinfra_hermes.deploys.references.UnresolvedSecret`.
        """
        if self.value is not None:
            return self.value
        if self._resolved is None:
            assert self.reference is not None
            self._resolved = references.resolve_one(key, self.reference)
        return self._resolved

    def kept(self) -> Secret | Reference:
        """Return what is on record: the value, or the reference to it."""
        if self.value is not None:
            return self.value
        assert self.reference is not None
        return Reference(self.reference)

    def to_plain(self) -> dict[str, Any]:
        """Give the entry as it is written to the file, with the secret in the open."""
        plain = self.model_dump(warnings=False)
        if self.value is None:
            del plain["value"]
        else:
            plain["value"] = self.value.reveal()
        if self.reference is None:
            del plain["reference"]
        return plain


class SecretsFile(Document):
    """
    ``secrets.json``: ``{"schema_version": 1, "<scope>": {"<KEY>": {"value", ...}}}``.

    The file is flat, because people read it with
    ``jq -r '.["wolf-i:hermes:m"].HERMES_API_SERVER_KEY.value'``.
    ``model_dump`` redacts; :meth:`to_plain`, which is for the file, is the only way that reveals.
    """

    FILENAME = "secrets.json"

    schema_version: Literal[1] = 1
    scopes: dict[Scope, dict[SecretKey, SecretEntry]] = Field(default_factory=dict)

    @classmethod
    @override
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        scopes = {key: value for key, value in plain.items() if key != "schema_version"}
        return cls.model_validate({"schema_version": plain.get("schema_version"), "scopes": scopes})

    @override
    def to_plain(self) -> dict[str, Any]:
        return {"schema_version": self.schema_version} | {
            scope: {key: entry.to_plain() for key, entry in entries.items()} for scope, entries in self.scopes.items()
        }

    @classmethod
    @override
    def where(cls, location: tuple[str | int, ...]) -> str:
        # A key in a file that was edited by hand can be a misplaced secret: only known shapes are shown.
        parts = [str(part) for part in location if part not in ("scopes", "[key]")]
        known: tuple[Callable[[str], object], ...] = (
            is_scope,
            is_secret_key,
            SecretEntry.model_fields.__contains__,
        )
        shown = [part if is_known(part) else "(a name not shown)" for part, is_known in zip(parts, known, strict=False)]
        return " → ".join(shown)

    def get(self, scope: str, key: str) -> Secret | None:
        """Return a secret, or None when there is none. A reference is followed: see :meth:`SecretEntry.secret`."""
        entry = self.scopes.get(scope, {}).get(key)
        return None if entry is None else entry.secret(key)

    def of(self, scope: str) -> dict[str, Secret]:
        """Return every secret of a scope by its name; empty when there is none. References are followed."""
        return {key: entry.secret(key) for key, entry in self.scopes.get(scope, {}).items()}

    def names(self, scope: str) -> tuple[str, ...]:
        """Return the names of a scope's secrets; no reference is followed."""
        return tuple(sorted(self.scopes.get(scope, {})))

    def entries(self) -> Iterator[tuple[str, str, SecretEntry]]:
        """Go through all secrets as scope, name and entry."""
        for scope, entries in self.scopes.items():
            for key, entry in entries.items():
                yield scope, key, entry

    def set(
        self,
        scope: str,
        key: str,
        value: Secret | Reference,
        *,
        description: str | None = None,
        at: datetime | None = None,
    ) -> bool:
        """
        Keep a secret; tell whether that changed anything.

        Setting it again keeps ``created_at``, and the description unless a new one is given. The same value
        with the same description changes nothing, ``updated_at`` included. Raises :class:`StateInvalid` for a
        scope, a name or a value that cannot be kept; the text holds none of them.
        """
        try:
            _scope(scope)
            _secret_key(key)
            if isinstance(value, Secret):
                _writable(value)
        except ValueError as error:
            raise StateInvalid(f"Cannot keep this secret: its {error}") from None
        if isinstance(value, Reference):
            try:
                references.check(value.text)
            except ValueError as error:
                raise StateInvalid(f"Cannot keep this reference: {error}") from None
        old = self.scopes.get(scope, {}).get(key)
        wanted = description if description is not None else old.description if old else ""
        if old is not None and old.kept() == value and old.description == wanted:
            return False
        moment = at or now()
        entry = SecretEntry(
            value=value if isinstance(value, Secret) else None,
            reference=value.text if isinstance(value, Reference) else None,
            created_at=old.created_at if old else moment,
            updated_at=moment,
            description=wanted,
        )
        self.scopes.setdefault(scope, {})[key] = entry
        return True

    def remove(self, scope: str, key: str) -> bool:
        """Forget one secret; tell whether it was there. A scope without secrets goes with its last one."""
        entries = self.scopes.get(scope, {})
        if key not in entries:
            return False
        del entries[key]
        if not entries:
            del self.scopes[scope]
        return True

    def remove_scope(self, scope: str) -> bool:
        """Forget every secret of a scope; tell whether there was any."""
        return self.scopes.pop(scope, None) is not None


#: The state files, in the order in which they are read and written.
KINDS: tuple[type[Document], ...] = (HostsFile, ProvidersFile, IntegrationsFile, SecretsFile)
