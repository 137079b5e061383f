"""Integrations that agents work with, one declaration each; every one of them becomes an MCP server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def check_names(names: Iterable[str]) -> None:
    """
    Check that the integrations of one agent can be told apart.

    ``a-b`` and ``a_b`` would both offer their tools as ``mcp_a_b_...``. Raises :class:`InvalidIntegration`.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(slug(name).lower(), name)
        if other != name:
            raise InvalidIntegration(f"Integrations {other} and {name} become one name in Hermes; rename one of them")


def check_distinct(names: Iterable[str]) -> None:
    """Check that no integration is named twice, and that all can be told apart."""
    listed = list(names)
    for name in listed:
        if listed.count(name) > 1:
            raise InvalidIntegration(f"Integration {name} is listed twice")
    check_names(listed)


__all__ = ["CATALOGUE", "IntegrationType", "InvalidIntegration", "check_distinct", "check_names", "integration_type"]
