"""Slack in Socket Mode, which needs no address that Slack can reach."""

from __future__ import annotations

from ..declaration import Field
from . import access, checking, shapes
from .access import flag, ids, one_of
from .channel import Channel
from .discord import any_bot

SLACK = Channel(
    name="slack",
    title="Slack (Socket Mode)",
    fields=(
        Field(
            "bot_token",
            "Bot token",
            "secret",
            "xoxb-..., from OAuth & Permissions; several workspaces with commas between",
            shape=shapes.slack_bot_token,
            variable="SLACK_BOT_TOKEN",
        ),
        Field(
            "app_token",
            "App-level token",
            "secret",
            "xapp-..., from Basic Information, with the scope connections:write",
            shape=shapes.slack_app_token,
            variable="SLACK_APP_TOKEN",
        ),
        access.allowed_users("SLACK", shapes.slack_user, "member IDs"),
        access.allow_all_users("SLACK"),
        access.strangers(),
        *access.home("SLACK", shapes.slack_channel, "ID of a channel"),
        flag("require_mention", "Mention needed", "SLACK_REQUIRE_MENTION", "in channels, answer only to a mention; on"),
        flag(
            "strict_mention",
            "Mention needed always",
            "SLACK_STRICT_MENTION",
            "also in threads that the agent takes part in; off",
        ),
        ids(
            "allowed_channels",
            "Allowed channels",
            "SLACK_ALLOWED_CHANNELS",
            shapes.slack_channel,
            "IDs of the only channels it works in",
        ),
        ids(
            "free_response_channels",
            "Free channels",
            "SLACK_FREE_RESPONSE_CHANNELS",
            shapes.slack_channel,
            "IDs of channels where no mention is needed",
        ),
        one_of(
            "allow_bots",
            "Other bots",
            "SLACK_ALLOW_BOTS",
            ("none", "mentions", "all"),
            "whether messages of other bots count; none",
        ),
        flag("reactions", "Reactions", "SLACK_REACTIONS", "show with reactions that it works; on"),
        Field(
            "reply_in_thread", "Replies in threads", "flag", "answer in a thread of the question; on", required=False
        ),
        Field(
            "channel_prompts",
            "Prompts of channels",
            "mapping",
            "ID=TEXT: what the agent is told in one channel",
            required=False,
        ),
    ),
    leaves={
        **access.strangers_leaf("slack"),
        "reply_in_thread": ("slack", "reply_in_thread"),
        "channel_prompts": ("slack", "channel_prompts"),
    },
    credential_url="https://api.slack.com/apps",
    admits=("allowed_users",),
    also_opens=any_bot,
    check=checking.SLACK,
    exclusive=("bot_token", "app_token"),
)
