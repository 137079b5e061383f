"""Inference providers, one declaration each: fields, what they render, how they are probed, where a key comes from."""

from __future__ import annotations

from collections.abc import Mapping

from ..declaration import KeyPath
from .anthropic import ANTHROPIC
from .azure import AZURE
from .bedrock import BEDROCK
from .custom import CUSTOM, OLLAMA
from .gemini import GEMINI
from .openai import OPENAI
from .openrouter import OPENROUTER
from .provider import InvalidProvider, ProviderType
from .vertex import VERTEX
from .zai import ZAI

_TYPES = (OPENROUTER, ANTHROPIC, OPENAI, OLLAMA, CUSTOM, BEDROCK, GEMINI, VERTEX, ZAI, AZURE)

#: Every provider type, by name.
CATALOGUE: Mapping[str, ProviderType] = {entry.name: entry for entry in _TYPES}

#: Every leaf of config.yaml that some provider sets, and so that is ours to remove.
LEAVES: tuple[KeyPath, ...] = tuple(dict.fromkeys(leaf for entry in _TYPES for leaf in entry.leaves))


def provider_type(name: str) -> ProviderType:
    """Return the declaration of a type, or raise :class:`InvalidProvider` with the types there are."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise InvalidProvider(f"Invalid provider type {name!r}. Valid types: {', '.join(CATALOGUE)}") from None


__all__ = ["CATALOGUE", "LEAVES", "InvalidProvider", "ProviderType", "provider_type"]
