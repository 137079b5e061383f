"""Channels an agent can be reached on, one declaration each: its fields, what it renders and how it is checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..declaration import Rendered
from .api import API
from .channel import Channel, InvalidChannel
from .discord import DISCORD
from .email import EMAIL
from .google_chat import GOOGLE_CHAT
from .matrix import MATRIX
from .mattermost import MATTERMOST
from .signal import SIGNAL
from .slack import SLACK
from .teams import TEAMS
from .telegram import TELEGRAM
from .webhook import WEBHOOK
from .whatsapp_cloud import WHATSAPP_CLOUD

_CHANNELS = (
    API,
    DISCORD,
    SLACK,
    TELEGRAM,
    WHATSAPP_CLOUD,
    SIGNAL,
    EMAIL,
    MATRIX,
    MATTERMOST,
    TEAMS,
    GOOGLE_CHAT,
    WEBHOOK,
)

#: Every channel, by name.
CATALOGUE: Mapping[str, Channel] = {entry.name: entry for entry in _CHANNELS}

# Upstream keeps it in files that no package of Hermes holds.
_WHATSAPP = (
    "Hermes reaches WhatsApp under the name 'whatsapp' through a bridge that needs Node and a telephone; no package of "
    "Hermes holds it. Use whatsapp_cloud, which is Meta's own interface"
)


def channel(name: str) -> Channel:
    """Return the declaration of a channel, or raise :class:`InvalidChannel` with the channels there are."""
    try:
        return CATALOGUE[name]
    except KeyError:
        if name == "whatsapp":
            raise InvalidChannel(_WHATSAPP) from None
        raise InvalidChannel(f"Unknown channel {name!r}; there are: {', '.join(CATALOGUE)}") from None


def together(names: Collection[str]) -> Rendered:
    """
    Return what channels put into an agent's files together: how long each may take to connect.

    They connect one after another, and the API is served after the last: with Hermes' own 30 seconds, two that
    cannot be reached keep it away for a minute. One that takes longer is tried again once the API is there.
    """
    seconds = [channel(name).connect_seconds for name in names if not channel(name).always_on]
    return Rendered(env={"HERMES_GATEWAY_PLATFORM_CONNECT_TIMEOUT": str(max(seconds))} if seconds else {})


__all__ = ["CATALOGUE", "Channel", "InvalidChannel", "channel", "together"]
