"""What every integration's declaration holds: an MCP server, as Hermes starts it or connects to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from typing_extensions import override

from ..declaration import Declaration, Field, InvalidSetting, Json, KeyPath, Rendered, Seed, Value
from ..probing import Probe
from ..secret import Secret
from ..tools import Tool
from . import texts


class InvalidIntegration(InvalidSetting):
    """An integration that there is not, or that cannot be as it is asked for."""


@dataclass(frozen=True)
class Held:
    """A secret's place in a server's settings: the field that holds it, and what stands before it."""

    field: str
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server: a command with its environment, or a URL with its headers. Texts arrive there as they are here."""

    command: str | None = None
    args: Sequence[str] = ()
    env: Mapping[str, str | Held] = field(default_factory=dict)
    url: str | None = None
    headers: Mapping[str, str | Held] = field(default_factory=dict)
    #: Files of Hermes' OAuth: the fields that hold their content, by how their names end.
    oauth: Mapping[str, str] = field(default_factory=dict)
    #: Further settings of the server that hold no text of a user.
    settings: Mapping[str, Json] = field(default_factory=dict)


#: What Hermes has for every server, whatever it is.
COMMON = (
    Field("timeout", "Timeout of a call", "integer", "seconds; 120 when not given", required=False, between=(1, 3600)),
    Field(
        "connect_timeout",
        "Timeout of a start",
        "integer",
        "seconds; 60 when not given",
        required=False,
        between=(1, 600),
    ),
    Field("include", "Tools to offer", "list", "names of tools, without any others", required=False),
    Field("exclude", "Tools to leave out", "list", "names of tools", required=False),
    Field("resources", "Offer resources", "flag", "yes when not given", required=False),
    Field("prompts", "Offer prompts", "flag", "yes when not given", required=False),
    Field(
        "sampling",
        "Let it use the agent's model",
        "flag",
        "whether the server may ask the model itself, at the agent's cost; yes when not given",
        required=False,
    ),
)


def common(options: Mapping[str, Value]) -> dict[str, Json]:
    """Return what the common fields become in a server's block."""
    tools: dict[str, Json] = {}
    for name in ("include", "exclude", "resources", "prompts"):
        if name in options:
            value = options[name]
            tools[name] = list(value) if isinstance(value, list) else bool(value)
    settings: dict[str, Json] = {
        name: int(str(options[name])) for name in ("timeout", "connect_timeout") if name in options
    }
    if tools:
        settings["tools"] = tools
    if "sampling" in options:
        settings["sampling"] = {"enabled": bool(options["sampling"])}
    return settings


def check_common(options: Mapping[str, Value]) -> None:
    """Check what the common fields cannot see one by one."""
    if options.get("include") and options.get("exclude"):
        raise InvalidIntegration("Give the tools to offer or those to leave out, not both: Hermes heeds the first only")


def no_tools(options: Mapping[str, Value]) -> tuple[Tool, ...]:
    """Ask for nothing on the host."""
    return ()


@dataclass(frozen=True, kw_only=True)
class IntegrationType(Declaration):
    """
    The declaration of one kind of integration.

    Its secrets lie under ``integration:<name>``, and reach :meth:`render` under their fields' names.
    """

    #: Makes the server of the settings and the names of the secrets that there are.
    server: Callable[[Mapping[str, Value], Collection[str]], Server]
    #: Programs of ours that must be on the host.
    tools: Callable[[Mapping[str, Value]], tuple[Tool, ...]] = no_tools
    #: The field whose items name further secrets, which the user chose.
    naming: str | None = None
    #: How the service behind the server is asked whether it can be used; None where there is no telling.
    probe: Probe | None = None

    @property
    @override
    def what(self) -> str:
        return f"Integration type {self.name}"

    def of(self, options: Mapping[str, Value]) -> Self:
        """Return the declaration with a secret field for each secret that the settings name."""
        named = options.get(self.naming, []) if self.naming else []
        assert isinstance(named, list)
        return replace(self, fields=(*self.fields, *(_chosen(name) for name in named)), naming=None)

    def commands(self, options: Mapping[str, Value]) -> tuple[str, ...]:
        """Return what of the host's own must be there to start the server: its command, unless it is a tool of ours."""
        command = self.server(options, ()).command
        return (command,) if command is not None and not self.tools(options) else ()

    def opened(self, options: Mapping[str, Value], secrets: Mapping[str, Secret]) -> dict[str, Json]:
        """Return the server as it is to be started, its secrets in the open: for the standard input of a host only."""
        server = self.server(options, frozenset(secrets))
        tokens = self._oauth(server, secrets).get(".json")
        headers: dict[str, Json] = {}
        if tokens is not None:
            headers["Authorization"] = f"Bearer {json.loads(tokens.reveal())['access_token']}"

        def text(value: str | Held) -> str:
            return value if isinstance(value, str) else value.before + secrets[value.field].reveal()

        return {
            "command": server.command,
            "args": list(server.args),
            "env": {name: text(value) for name, value in server.env.items()},
            "url": server.url,
            "headers": headers | {name: text(value) for name, value in server.headers.items()},
            **server.settings,
        }

    def _oauth(self, server: Server, secrets: Mapping[str, Secret]) -> dict[str, Secret]:
        # A reference, or an inventory, may give by now what was never checked.
        shapes = {f.name: f for f in self.secrets}
        return {end: shapes[held].check_secret(secrets[held]) for end, held in server.oauth.items()}

    def render(self, name: str, options: Mapping[str, Value], secrets: Mapping[str, Secret]) -> Rendered:
        """
        Return what the integration ``name`` puts into an agent's files: one block below ``mcp_servers``.

        Hermes replaces ``${VARIABLE}`` twice, by the configuration's loader and by that of the servers, and leaves
        an unknown or an empty one as it is written: each that we write has a variable with a value.
        """
        server = self.server(options, frozenset(secrets))
        writer = texts.Writer(name)
        keys = {f.name: f.key for f in self.secrets}

        def written(value: str | Held) -> Json:
            if isinstance(value, str):
                return writer.literal(value)
            return writer.literal(value.before) + writer.secret(keys[value.field], secrets[value.field])

        block: dict[str, Json] = {}
        if server.command is not None:
            block["command"] = writer.literal(server.command)
            block["args"] = [writer.literal(arg) for arg in server.args]
        if server.url is not None:
            block["url"] = writer.literal(server.url)
        for part, values in (("env", server.env), ("headers", server.headers)):
            if values:
                block[part] = {key: written(value) for key, value in values.items()}
        seeds = {
            f"{oauth_file(name)}{end}": Seed(content, f"{server.oauth[end]} of {name}")
            for end, content in self._oauth(server, secrets).items()
        }
        if seeds:
            block["auth"] = "oauth"
        config: dict[KeyPath, Json] = {("mcp_servers", name): {**block, **server.settings}}
        return Rendered(env=writer.variables, config=config, seeds=seeds)


def oauth_file(name: str) -> str:
    """Return how the names of a server's files in ``mcp-tokens`` begin, as ``_safe_filename`` of Hermes makes it."""
    return re.sub(r"[^\w\-]", "_", name).strip("_")[:128]


def _chosen(name: str) -> Field:
    return Field(name, name, "secret", "a secret that you named", stored_as=texts.variable(name))
