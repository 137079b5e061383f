"""The local OpenAI-compatible HTTP API, which every agent has."""

from __future__ import annotations

from collections.abc import Mapping

from .. import names
from ..declaration import Field, Rendered, Target, Value
from ..secret import Secret
from .channel import Channel, InvalidChannel


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], target: Target) -> Rendered:
    # 0.13 serves without authentication when the key is missing, so a missing or odd key is refused here,
    # and the unit checks the line once more before it starts.
    key = secrets.get("key")
    if key is None or not names.is_api_server_key(key.reveal()):
        raise InvalidChannel("HERMES_API_SERVER_KEY is missing or is not 64 lowercase hexadecimal digits")
    return Rendered(
        env={
            "API_SERVER_ENABLED": "1",
            "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": str(names.port(target.port)),
            "API_SERVER_KEY": key,
        }
    )


API = Channel(
    name="api",
    title="Local OpenAI-compatible HTTP API",
    fields=(
        Field(
            "key",
            "API key",
            "secret",
            "made at install; clm secret rotate AGENT makes another",
            required=False,
            # Scripts of users read it under this name; Hermes calls it API_SERVER_KEY.
            stored_as="HERMES_API_SERVER_KEY",
        ),
    ),
    credential_url="https://hermes-agent.nousresearch.com/docs/user-guide/features/api-server",
    always_on=True,
    more=_render,
)
