"""Discord, through a bot of one's own."""

from __future__ import annotations

from collections.abc import Mapping

from ..declaration import Field, Value
from . import access, checking, shapes
from .access import flag, ids, one_of
from .channel import Channel

_BOTS = ("none", "mentions", "all")


def any_bot(options: Mapping[str, Value]) -> str | None:
    """Say that other bots, and so whoever runs one, are let in past the allow-list."""
    return "allow_bots all lets every bot in" if options.get("allow_bots") == "all" else None


DISCORD = Channel(
    name="discord",
    title="Discord",
    fields=(
        Field(
            "bot_token",
            "Bot token",
            "secret",
            "from the Bot page of the application; the bot needs the Message Content intent",
            shape=shapes.discord_token,
            variable="DISCORD_BOT_TOKEN",
        ),
        access.allowed_users(
            "DISCORD", shapes.discord_user, "user IDs, or user names (those need the Server Members intent)"
        ),
        ids("allowed_roles", "Allowed roles", "DISCORD_ALLOWED_ROLES", shapes.discord_id, "IDs of roles that may, too"),
        access.allow_all_users("DISCORD"),
        access.strangers(),
        *access.home("DISCORD", shapes.discord_id, "ID of a channel"),
        flag(
            "require_mention", "Mention needed", "DISCORD_REQUIRE_MENTION", "in channels, answer only to a mention; on"
        ),
        flag(
            "thread_require_mention",
            "Mention needed in threads",
            "DISCORD_THREAD_REQUIRE_MENTION",
            "also in threads that the agent takes part in; off",
        ),
        ids(
            "allowed_channels",
            "Allowed channels",
            "DISCORD_ALLOWED_CHANNELS",
            shapes.discord_channel,
            "IDs of the only channels it works in",
        ),
        ids(
            "ignored_channels",
            "Ignored channels",
            "DISCORD_IGNORED_CHANNELS",
            shapes.discord_channel,
            "IDs of channels it never works in",
        ),
        ids(
            "free_response_channels",
            "Free channels",
            "DISCORD_FREE_RESPONSE_CHANNELS",
            shapes.discord_channel,
            "IDs of channels where no mention is needed",
        ),
        ids(
            "no_thread_channels",
            "Channels without threads",
            "DISCORD_NO_THREAD_CHANNELS",
            shapes.discord_channel,
            "IDs of channels where it answers without a thread",
        ),
        flag("auto_thread", "Threads", "DISCORD_AUTO_THREAD", "open a thread for each conversation in a channel; on"),
        flag("reactions", "Reactions", "DISCORD_REACTIONS", "show with reactions that it works; on"),
        one_of(
            "allow_bots",
            "Other bots",
            "DISCORD_ALLOW_BOTS",
            _BOTS,
            "whether messages of other bots count; none",
        ),
        one_of(
            "reply_to_mode",
            "Replies",
            "DISCORD_REPLY_TO_MODE",
            ("off", "first", "all"),
            "which parts of an answer are replies to the question; first",
        ),
        flag(
            "allow_mention_everyone",
            "May mention everyone",
            "DISCORD_ALLOW_MENTION_EVERYONE",
            "let its answers ping @everyone and @here; off",
        ),
        flag(
            "allow_mention_roles", "May mention roles", "DISCORD_ALLOW_MENTION_ROLES", "let its answers ping roles; off"
        ),
        flag(
            "allow_mention_users", "May mention users", "DISCORD_ALLOW_MENTION_USERS", "let its answers ping users; on"
        ),
        flag(
            "allow_mention_replied_user",
            "Ping the asker",
            "DISCORD_ALLOW_MENTION_REPLIED_USER",
            "ping whom it replies to; on",
        ),
        one_of(
            "command_sync_policy",
            "Slash commands",
            "DISCORD_COMMAND_SYNC_POLICY",
            ("safe", "bulk", "off"),
            "how they are registered; safe",
        ),
        flag(
            "hide_slash_commands",
            "Hide slash commands",
            "DISCORD_HIDE_SLASH_COMMANDS",
            "show them to administrators of the server only; off",
        ),
        Field("proxy", "Proxy", "text", "URL of a proxy", False, shape=shapes.proxy, variable="DISCORD_PROXY"),
        Field(
            "channel_prompts",
            "Prompts of channels",
            "mapping",
            "ID=TEXT: what the agent is told in one channel",
            required=False,
        ),
    ),
    leaves={**access.strangers_leaf("discord"), "channel_prompts": ("discord", "channel_prompts")},
    credential_url="https://discord.com/developers/applications",
    admits=("allowed_users", "allowed_roles"),
    also_opens=any_bot,
    check=checking.DISCORD,
    exclusive=("bot_token",),
)
