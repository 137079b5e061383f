"""Channels an agent can be reached on, one declaration each: what it renders into ``.env`` and how it is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import names
from .secret import Secret


class InvalidChannel(ValueError):
    """A channel whose settings do not fit its declaration."""


@dataclass(frozen=True)
class Channel:
    """The declaration of one channel."""

    name: str
    title: str
    always_on: bool
    #: Names of its settings that are not secret.
    settings: tuple[str, ...]
    #: Names in secrets.json, under the agent's key, that the channel needs.
    secrets: tuple[str, ...]
    render: Callable[[int, Mapping[str, Secret]], dict[str, Secret | str]]


def _render_api(port: int, secrets: Mapping[str, Secret]) -> dict[str, Secret | str]:
    # 0.13 serves without authentication when the key is missing, so a missing or odd key is refused here,
    # and the unit checks the line once more before it starts.
    key = secrets.get("HERMES_API_SERVER_KEY")
    if key is None or not names.is_api_server_key(key.reveal()):
        raise InvalidChannel("HERMES_API_SERVER_KEY is missing or is not 64 lowercase hexadecimal digits")
    return {
        "API_SERVER_ENABLED": "1",
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": str(names.port(port)),
        "API_SERVER_KEY": key,
    }


_CHANNELS = (
    Channel(
        name="api",
        title="Local OpenAI-compatible HTTP API",
        always_on=True,
        settings=(),
        secrets=("HERMES_API_SERVER_KEY",),
        render=_render_api,
    ),
)

#: Every channel, by name.
CATALOGUE: Mapping[str, Channel] = {entry.name: entry for entry in _CHANNELS}
