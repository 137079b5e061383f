"""Integrations that agents work with, one declaration each; every one of them becomes an MCP server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import names
from .atlassian import ATLASSIAN
from .integration import IntegrationType, InvalidIntegration
from .mcp import MCP_HTTP, MCP_STDIO
from .texts import slug

_TYPES = (ATLASSIAN, MCP_STDIO, MCP_HTTP)

#: Every kind of integration, by name.
CATALOGUE: Mapping[str, IntegrationType] = {entry.name: entry for entry in _TYPES}


def integration_type(name: str) -> IntegrationType:
    """Return the declaration of a type, or raise :class:`InvalidIntegration` with the types there are."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise InvalidIntegration(f"Invalid integration type {name!r}. Valid types: {', '.join(CATALOGUE)}") from None


#: The sets of tools that Hermes has itself, in any listed release. Of a server with one's name Hermes offers that set,
#: and no tool of the server's; a server called ``terminal`` would even turn the terminal on.
TOOLSETS = frozenset(
    {
        "all", "browser", "clarify", "code_execution", "coding", "computer_use", "context_engine", "cronjob",
        "debugging", "delegation", "discord", "discord_admin", "feishu_doc", "feishu_drive", "file",
        "homeassistant", "image_gen", "kanban", "memory", "messaging", "moa", "no_mcp", "project", "rl", "safe",
        "search", "session_search", "skills", "spotify", "terminal", "todo", "tts", "video", "video_gen",
        "vision", "web", "x_search", "yuanbao",
    }
)  # fmt: skip
_PREFIXES_OF_HERMES = ("hermes-", "mcp-")


def check_name(name: str) -> str:
    """Check the name of an integration, which is its server's in Hermes: no name of Hermes' own tools."""
    names.provider_name(name)
    if name in TOOLSETS or name.startswith(_PREFIXES_OF_HERMES):
        raise InvalidIntegration(f"{name!r} is a name of Hermes' own tools; choose another, like my-{name}")
    return name


def check_distinct(chosen: Sequence[str]) -> None:
    """
    Check that the integrations of one agent can be told apart.

    ``a-b`` and ``a_b`` would both offer their tools as ``mcp_a_b_...``. Raises :class:`InvalidIntegration`.
    """
    seen: dict[str, str] = {}
    for name in chosen:
        other = seen.setdefault(slug(name).lower(), name)
        if other != name:
            raise InvalidIntegration(f"Integrations {other} and {name} become one name in Hermes; rename one of them")
    if len(seen) < len(chosen):
        raise InvalidIntegration("An integration is listed twice")


__all__ = [
    "ATLASSIAN",
    "CATALOGUE",
    "TOOLSETS",
    "IntegrationType",
    "InvalidIntegration",
    "check_distinct",
    "check_name",
    "integration_type",
]
