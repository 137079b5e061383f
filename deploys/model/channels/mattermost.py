"""Mattermost, through a bot account."""

from __future__ import annotations

from ..declaration import Field
from . import access, checking, shapes
from .access import flag, ids, one_of
from .channel import Channel

MATTERMOST = Channel(
    name="mattermost",
    title="Mattermost",
    fields=(
        Field(
            "url",
            "Server",
            "url",
            "its address, as https://chat.example.org",
            shape=shapes.https_url,
            variable="MATTERMOST_URL",
        ),
        Field(
            "token",
            "Token",
            "secret",
            "of a bot account, or a personal access token",
            shape=shapes.token,
            variable="MATTERMOST_TOKEN",
        ),
        access.allowed_users("MATTERMOST", shapes.mattermost_user, "user ids of 26 characters"),
        access.allow_all_users("MATTERMOST"),
        access.strangers(),
        *access.home("MATTERMOST", shapes.mattermost_id, "id of a channel"),
        flag(
            "require_mention",
            "Mention needed",
            "MATTERMOST_REQUIRE_MENTION",
            "in channels, answer only to a mention; on",
        ),
        ids(
            "allowed_channels",
            "Allowed channels",
            "MATTERMOST_ALLOWED_CHANNELS",
            shapes.mattermost_id,
            "ids of the only channels it works in",
        ),
        ids(
            "free_response_channels",
            "Free channels",
            "MATTERMOST_FREE_RESPONSE_CHANNELS",
            shapes.mattermost_id,
            "ids of channels where no mention is needed",
        ),
        one_of(
            "reply_mode", "Replies", "MATTERMOST_REPLY_MODE", ("off", "thread"), "whether it answers in a thread; off"
        ),
    ),
    leaves=access.strangers_leaf("mattermost"),
    credential_url="https://docs.mattermost.com/integrations/cloud-bot-accounts.html",
    admits=("allowed_users",),
    check=checking.MATTERMOST,
    exclusive=("token",),
)
