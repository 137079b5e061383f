"""Telegram, through a bot of one's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..declaration import Field, Value
from . import access, checking, shapes
from .access import flag, ids, one_of
from .channel import Channel, InvalidChannel


def _rule(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    if "webhook_url" in options and "webhook_secret" not in secrets:
        raise InvalidChannel(
            "Channel telegram needs a webhook secret with webhook_url: else anybody could pose as Telegram"
        )
    if "webhook_port" in options and "webhook_url" not in options:
        raise InvalidChannel("Channel telegram listens on webhook_port only with webhook_url")


TELEGRAM = Channel(
    name="telegram",
    title="Telegram",
    fields=(
        Field(
            "bot_token",
            "Bot token",
            "secret",
            "from @BotFather",
            shape=shapes.telegram_token,
            variable="TELEGRAM_BOT_TOKEN",
        ),
        access.allowed_users("TELEGRAM", shapes.telegram_user, "numeric user ids"),
        ids(
            "group_allowed_users",
            "Allowed users in groups",
            "TELEGRAM_GROUP_ALLOWED_USERS",
            shapes.telegram_user,
            "user ids that may in groups only",
        ),
        ids(
            "group_allowed_chats",
            "Allowed groups",
            "TELEGRAM_GROUP_ALLOWED_CHATS",
            shapes.telegram_chat,
            "ids of groups in which every member may",
        ),
        access.allow_all_users("TELEGRAM"),
        access.strangers(),
        *access.home("TELEGRAM", shapes.telegram_home, "id of a chat"),
        ids(
            "allowed_chats",
            "Only chats",
            "TELEGRAM_ALLOWED_CHATS",
            shapes.telegram_home,
            "ids of the only groups it works in",
        ),
        flag(
            "require_mention", "Mention needed", "TELEGRAM_REQUIRE_MENTION", "in groups, answer only to a mention; off"
        ),
        ids(
            "free_response_chats",
            "Free chats",
            "TELEGRAM_FREE_RESPONSE_CHATS",
            shapes.telegram_home,
            "ids of groups where no mention is needed",
        ),
        flag("reactions", "Reactions", "TELEGRAM_REACTIONS", "show with reactions that it works; off"),
        one_of(
            "reply_to_mode",
            "Replies",
            "TELEGRAM_REPLY_TO_MODE",
            ("off", "first", "all"),
            "which parts of an answer are replies to the question; first",
        ),
        Field("proxy", "Proxy", "text", "URL of a proxy", False, shape=shapes.proxy, variable="TELEGRAM_PROXY"),
        Field(
            "webhook_url",
            "Webhook URL",
            "url",
            "public https address that Telegram calls; without it the agent asks Telegram itself",
            required=False,
            shape=shapes.https_url,
            variable="TELEGRAM_WEBHOOK_URL",
        ),
        Field(
            "webhook_port",
            "Webhook port",
            "integer",
            "where it listens then, on every address of the host; 8443",
            required=False,
            between=(1024, 65535),
            variable="TELEGRAM_WEBHOOK_PORT",
        ),
        Field(
            "webhook_secret",
            "Webhook secret",
            "secret",
            "what Telegram proves itself with: openssl rand -hex 32",
            required=False,
            shape=shapes.hmac_secret,
            variable="TELEGRAM_WEBHOOK_SECRET",
        ),
    ),
    leaves=access.strangers_leaf("telegram"),
    credential_url="https://core.telegram.org/bots/features#botfather",
    rule=_rule,
    admits=("allowed_users", "group_allowed_users", "group_allowed_chats"),
    check=checking.TELEGRAM,
    exclusive=("bot_token",),
    listens=("webhook_port",),
)
