"""The specification of one agent: everything that decides what must be on its host, except secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import override

from . import channels, extras, integrations, memory, names, providers, releases
from .declaration import Declaration, Json, Value
from .layout import release_directory
from .releases import Method

Hardening = Literal["off", "standard", "strict"]
AgentName = Annotated[str, AfterValidator(names.agent_name)]
MemorySize = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}[MG]$")]

DEFAULT_PORT = 8642


def _plain(value: Any) -> Any:
    # A union of five types would report five problems for one value.
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    if isinstance(value, dict) and all(isinstance(text, str) for item in value.items() for text in item):
        return value
    if not isinstance(value, str | int):
        raise ValueError("should be text, a whole number, true or false, a list of texts, or names with their texts")
    return value


Option = Annotated[Value, BeforeValidator(_plain)]


class InvalidSpec(ValueError):
    """An agent's specification that cannot be applied; the text names the field and never holds a secret."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Choice(_Part):
    """A type of a catalogue, and its options that are not secret."""

    type: str
    options: dict[str, Option]

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        # Plain host data reads better flat: {"type": "ollama", "url": ..., "model": ...}
        if not isinstance(data, Mapping) or "options" in data or "type" not in data:
            return data
        own = cls.model_fields
        return {**{k: data[k] for k in own if k in data}, "options": {k: v for k, v in data.items() if k not in own}}

    @model_validator(mode="after")
    def _declared(self) -> Self:
        object.__setattr__(self, "options", self._declaration().options(self.options))
        return self

    def _declaration(self) -> Declaration:
        raise NotImplementedError


class ProviderSpec(_Choice):
    """Which provider an agent thinks with."""

    @override
    def _declaration(self) -> Declaration:
        return providers.provider_type(self.type)


class IntegrationSpec(_Choice):
    """What an agent works with, under a name of its own."""

    name: Annotated[str, AfterValidator(integrations.check_name)]

    @override
    def _declaration(self) -> Declaration:
        return integrations.integration_type(self.type)


class MemorySpec(_Choice):
    """Where an agent keeps memories beside its own files."""

    @override
    def _declaration(self) -> Declaration:
        return memory.memory_backend(self.type)


class Limits(_Part):
    """What one agent may take of its host (systemd.resource-control(5))."""

    memory_high: MemorySize = "1536M"
    memory_max: MemorySize = "2G"
    tasks_max: int = Field(default=1024, ge=64, le=32768)

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if _mib(self.memory_high) > _mib(self.memory_max):
            raise ValueError(f"memory_high {self.memory_high} is above memory_max {self.memory_max}")
        return self


def _mib(size: str) -> int:
    return int(size[:-1]) * (1024 if size.endswith("G") else 1)


def _only_api() -> dict[str, dict[str, Value]]:
    return {"api": {}}


class AgentSpec(_Part):
    """
    One agent.

    Without a provider the agent can be installed, but not configured or started.
    """

    name: AgentName
    release: str = Field(default_factory=lambda: releases.manifest().default)
    method: Method = "installer"
    port: int = Field(default=DEFAULT_PORT, ge=1024, le=65535)
    provider: ProviderSpec | None = None
    channels: dict[str, dict[str, Option]] = Field(default_factory=_only_api)
    integrations: tuple[IntegrationSpec, ...] = ()
    memory: MemorySpec | None = None
    #: Variables of the user's own, by name; those of ``secret_environment`` have their values among the secrets.
    environment: dict[str, str] = Field(default_factory=dict)
    secret_environment: tuple[str, ...] = ()
    #: Leaves of config.yaml of the user's own, by their path as text.
    config: dict[str, JsonValue] = Field(default_factory=dict)
    hardening: Hardening = "standard"
    limits: Limits = Limits()

    @field_validator("release")
    @classmethod
    def _listed(cls, tag: str) -> str:
        return releases.manifest().release(tag).tag

    @field_validator("channels")
    @classmethod
    def _declared(cls, chosen: dict[str, Any]) -> dict[str, Any]:
        always: dict[str, Any] = {entry.name: {} for entry in channels.CATALOGUE.values() if entry.always_on}
        return {name: channels.channel(name).options(settings) for name, settings in {**always, **chosen}.items()}

    @field_validator("integrations", "secret_environment", mode="before")
    @classmethod
    def _listed_one_by_one(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("integrations")
    @classmethod
    def _told_apart(cls, chosen: tuple[IntegrationSpec, ...]) -> tuple[IntegrationSpec, ...]:
        integrations.check_distinct([each.name for each in chosen])
        return chosen

    @model_validator(mode="after")
    def _release_has(self) -> AgentSpec:
        release = releases.manifest().release(self.release)
        # Raises for a release that the method cannot install.
        release.id_of(self.method)
        wanted: list[Declaration] = [channels.channel(name) for name in self.channels]
        if self.provider is not None:
            wanted.append(providers.provider_type(self.provider.type))
        if self.memory is not None:
            memory.memory_backend(self.memory.type).check_release(release)
        for entry in wanted:
            if (why := lacking(entry, release)) is not None:
                raise ValueError(why)
        return self

    @model_validator(mode="after")
    def _extras_are_not_ours(self) -> AgentSpec:
        config: dict[str, Json] = dict(self.config)
        extras.check(self.environment, self.secret_environment, config)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> AgentSpec:
        for port in self.ports:
            if self.ports.count(port) > 1:
                raise ValueError(f"two parts of the agent would listen on port {port}")
        return self

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on which the agent listens on its host: its API's, and those of channels that are called."""
        held = (
            options[name]
            for channel, options in self.channels.items()
            for name in channels.channel(channel).listens
            if name in options
        )
        return (self.port, *(int(port) for port in held if isinstance(port, int)))

    @property
    def release_id(self) -> str:
        """Name of the release's folder on the agent's host."""
        return releases.manifest().release(self.release).id_of(self.method)

    @property
    def release_directory(self) -> str:
        """Where the agent's release lies on its host, see :func:`.layout.release_directory`."""
        return release_directory(self.name, self.release_id)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> AgentSpec:
        """
        Read a specification from plain data, as an inventory or a file holds it.

        Raises :class:`InvalidSpec` with one line per problem: where it is and what is wrong.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            name = data.get("name")
            who = name if isinstance(name, str) else "agent"
            problems = [
                ": ".join([who, *filter(None, [".".join(map(str, e["loc"]))]), e["msg"].removeprefix("Value error, ")])
                for e in error.errors(include_url=False, include_input=False, include_context=False)
            ]
            raise InvalidSpec("\n".join(_one_line(problem) for problem in problems)) from None


def lacking(entry: Declaration, release: releases.Release) -> str | None:
    """Say that a release does not have a provider or channel, and which does; None when it has."""
    if entry.feature is None or release.adapter.has(entry.feature):
        return None
    first = releases.first_with(entry.feature)
    since = f"it needs {first.tag} or later" if first else "no listed release has it"
    return f"{entry.what} is not in Hermes {release.tag}; {since}"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def check_fleet(specs: Mapping[str, tuple[AgentSpec, ...]]) -> None:
    """
    Check what one specification cannot see: two agents of a host with one name or one port.

    ``specs`` maps a host's name to its agents. Raises :class:`InvalidSpec`.
    """
    for host, agents in specs.items():
        names_seen: set[str] = set()
        ports_seen: dict[int, str] = {}
        for agent in agents:
            if agent.name in names_seen:
                raise InvalidSpec(f"{host}: agents {agent.name} and {agent.name} have the same name {agent.name}")
            names_seen.add(agent.name)
            for port in agent.ports:
                if port in ports_seen:
                    raise InvalidSpec(f"{host}: agents {ports_seen[port]} and {agent.name} have the same port {port}")
                ports_seen[port] = agent.name
