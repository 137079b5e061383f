"""Webhooks: other services wake the agent with a signed request."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ..declaration import Field, Json, KeyPath, Rendered, Target, Value
from ..secret import Secret
from . import shapes
from .channel import Channel, InvalidChannel

_EXTRA: KeyPath = ("platforms", "webhook", "extra")
_ROUTE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _rule(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    routes = options.get("routes")
    for name in routes if isinstance(routes, dict) else ():
        if not _ROUTE.fullmatch(name):
            raise InvalidChannel(
                f"Channel webhook: {name!r} is not the name of a route: lowercase letters, digits, - and _"
            )


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], target: Target) -> Rendered:
    routes = options.get("routes")
    config: dict[KeyPath, Json] = {
        (*_EXTRA, "routes", name, "prompt"): prompt
        for name, prompt in (routes.items() if isinstance(routes, dict) else ())
    }
    return Rendered(env={"WEBHOOK_ENABLED": "true"}, config=config)


WEBHOOK = Channel(
    name="webhook",
    title="Webhooks",
    fields=(
        Field(
            "secret",
            "Secret",
            "secret",
            "what senders sign with (HMAC-SHA256): openssl rand -hex 32",
            shape=shapes.hmac_secret,
            variable="WEBHOOK_SECRET",
        ),
        Field(
            "port",
            "Port",
            "integer",
            "port that it listens on",
            default=8644,
            between=(1024, 65535),
            variable="WEBHOOK_PORT",
        ),
        Field(
            "host",
            "Address",
            "text",
            "address that it listens on; 127.0.0.1 suits a reverse proxy on the host",
            default="127.0.0.1",
            shape=shapes.bind_address,
        ),
        Field(
            "routes",
            "Routes",
            "mapping",
            "NAME=PROMPT: what the agent is told when /webhooks/NAME is called; {field} is a field of the request",
            required=False,
        ),
        Field("rate_limit", "Limit", "integer", "requests a minute and route; 30", required=False),
    ),
    leaves={"host": (*_EXTRA, "host"), "rate_limit": (*_EXTRA, "rate_limit")},
    rule=_rule,
    more=_render,
    credential_url="https://hermes-agent.nousresearch.com/docs/user-guide/messaging/webhooks",
    listens=("port",),
)
