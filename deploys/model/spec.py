"""The specification of one agent: everything that decides what must be on its host, except secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from . import channels, names, providers, releases

Hardening = Literal["off", "standard", "strict"]
AgentName = Annotated[str, AfterValidator(names.agent_name)]
MemorySize = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}[MG]$")]

DEFAULT_PORT = 8642


def _scalar(value: Any) -> Any:
    # A union of three types would report three problems for one value.
    if not isinstance(value, str | int):
        raise ValueError("should be text, a whole number, true or false")
    return value


Option = Annotated[str | int | bool, BeforeValidator(_scalar)]


class InvalidSpec(ValueError):
    """An agent's specification that cannot be applied; the text names the field and never holds a secret."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class ProviderSpec(_Part):
    """Which provider an agent thinks with: a type of the catalogue and its non-secret options."""

    type: str
    options: dict[str, Option]

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        # Plain host data reads better flat: {"type": "ollama", "url": ..., "model": ...}
        if isinstance(data, Mapping) and "options" not in data and "type" in data:
            return {"type": data["type"], "options": {k: v for k, v in data.items() if k != "type"}}
        return data

    @model_validator(mode="after")
    def _declared(self) -> ProviderSpec:
        checked = providers.provider_type(self.type).options(self.options)
        object.__setattr__(self, "options", checked)
        return self


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


def _only_api() -> dict[str, dict[str, str | int | bool]]:
    return {"api": {}}


class AgentSpec(_Part):
    """
    One agent.

    Without a provider the agent can be installed, but not configured or started.
    """

    name: AgentName
    release: str = Field(default_factory=lambda: releases.manifest().default)
    method: Literal["wheel"] = "wheel"
    port: int = Field(default=DEFAULT_PORT, ge=1024, le=65535)
    provider: ProviderSpec | None = None
    channels: dict[str, dict[str, Option]] = Field(default_factory=_only_api)
    hardening: Hardening = "standard"
    limits: Limits = Limits()

    @field_validator("release")
    @classmethod
    def _listed(cls, tag: str) -> str:
        return releases.manifest().release(tag).tag

    @field_validator("channels")
    @classmethod
    def _known(cls, chosen: dict[str, Any]) -> dict[str, Any]:
        for name, settings in chosen.items():
            if name not in channels.CATALOGUE:
                raise ValueError(f"Unknown channel {name!r}; there are: {', '.join(channels.CATALOGUE)}")
            if unknown := sorted(set(settings) - set(channels.CATALOGUE[name].settings)):
                raise ValueError(f"Channel {name!r} has no setting {', '.join(map(repr, unknown))}")
        for entry in channels.CATALOGUE.values():
            if entry.always_on and entry.name not in chosen:
                raise ValueError(f"Channel {entry.name!r} is always on")
        return chosen

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> AgentSpec:
        """
        Read a specification from plain data, as an inventory or a file holds it.

        Raises :class:`InvalidSpec` with one line per problem: where it is and what is wrong.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            who = data.get("name") if isinstance(data.get("name"), str) else "agent"
            problems = [
                f"{who}: {'.'.join(str(part) for part in e['loc']) or 'specification'}: "
                + e["msg"].removeprefix("Value error, ")
                for e in error.errors(include_url=False, include_input=False, include_context=False)
            ]
            raise InvalidSpec("\n".join(_one_line(problem) for problem in problems)) from None


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def check_fleet(specs: Mapping[str, tuple[AgentSpec, ...]]) -> None:
    """
    Check what one specification cannot see: two agents of a host with one name or one port.

    ``specs`` maps a host's name to its agents. Raises :class:`InvalidSpec`.
    """
    for host, agents in specs.items():
        for attribute in ("name", "port"):
            seen: dict[Any, str] = {}
            for agent in agents:
                value = getattr(agent, attribute)
                if value in seen:
                    raise InvalidSpec(
                        f"{host}: agents {seen[value]} and {agent.name} have the same {attribute} {value}"
                    )
                seen[value] = agent.name
