"""Signal, through a signal-cli daemon that serves HTTP."""

from __future__ import annotations

from ..declaration import Field
from . import access, shapes
from .access import flag, ids
from .channel import Channel

SIGNAL = Channel(
    name="signal",
    title="Signal (signal-cli)",
    fields=(
        Field(
            "http_url",
            "URL of signal-cli",
            "url",
            "of `signal-cli daemon --http`, as the agent's host reaches it",
            variable="SIGNAL_HTTP_URL",
        ),
        Field(
            "account",
            "Account",
            "text",
            "telephone number that is registered with signal-cli",
            shape=shapes.phone,
            variable="SIGNAL_ACCOUNT",
        ),
        access.allowed_users("SIGNAL", shapes.signal_user, "telephone numbers or UUIDs"),
        access.allow_all_users("SIGNAL"),
        access.strangers(),
        ids(
            "group_allowed_users",
            "Groups",
            "SIGNAL_GROUP_ALLOWED_USERS",
            shapes.signal_group,
            "ids of groups it works in, '*' for all; in each, only allowed users may",
        ),
        *access.home("SIGNAL", shapes.signal_home, "a telephone number, or group:ID"),
        flag("ignore_stories", "Ignore stories", "SIGNAL_IGNORE_STORIES", "leave stories alone; on"),
        flag("reactions", "Reactions", "SIGNAL_REACTIONS", "show with reactions that it works; on"),
    ),
    leaves=access.strangers_leaf("signal"),
    credential_url="https://github.com/AsamK/signal-cli",
    admits=("allowed_users",),
    exclusive=("account",),
)
