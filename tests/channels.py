"""For every channel: settings and credentials of the right shape, somebody who is let in, and somebody who is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DISCORD_TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE." + "x" * 38
SLACK_BOT_TOKEN = "xoxb-123456789012-1234567890123-" + "y" * 24
SLACK_APP_TOKEN = "xapp-1-A0123456789-1234567890123-" + "f" * 64
TELEGRAM_TOKEN = "123456789:" + "A" * 35
GUID = "01234567-89ab-cdef-0123-456789abcdef"
SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "acme-chat",
    "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE+/==\n-----END PRIVATE KEY-----\n",
    "client_email": "agent@acme-chat.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}


@dataclass(frozen=True)
class Sample:
    """One channel, complete. ``secrets`` are by their fields' names."""

    options: Mapping[str, Any]
    secrets: Mapping[str, str]
    allowed: str = ""
    stranger: str = ""
    #: What the gateway takes for the home, when there is one.
    home: tuple[str, str] | None = None
    #: Variables that the gateway must find with these values.
    environment: Mapping[str, str] = field(default_factory=dict)


SAMPLES: Mapping[str, Sample] = {
    "discord": Sample(
        {
            "allowed_users": ["234567890123456789", "some.one"],
            "home_channel": "345678901234567890",
            "home_channel_name": "Zuhause",
            "allowed_channels": ["345678901234567890", "*"],
            "require_mention": False,
            "reply_to_mode": "off",
            "unauthorized_dm_behavior": "ignore",
            "channel_prompts": {"345678901234567890": "Be brief: #1"},
        },
        {"bot_token": DISCORD_TOKEN},
        "234567890123456789",
        "999999999999999999",
        ("345678901234567890", "Zuhause"),
        {"DISCORD_REQUIRE_MENTION": "false", "DISCORD_ALLOWED_CHANNELS": "345678901234567890,*"},
    ),
    "slack": Sample(
        {
            "allowed_users": ["U012ABCDEF"],
            "home_channel": "C012ABCDEF",
            "home_channel_name": "general",
            "strict_mention": True,
            "reply_in_thread": False,
        },
        {"bot_token": f"{SLACK_BOT_TOKEN},{SLACK_BOT_TOKEN}z", "app_token": SLACK_APP_TOKEN},
        "U012ABCDEF",
        "U999999999",
        ("C012ABCDEF", "general"),
        {"SLACK_APP_TOKEN": SLACK_APP_TOKEN, "SLACK_STRICT_MENTION": "true"},
    ),
    "telegram": Sample(
        {"allowed_users": ["123456"], "home_channel": "-1001234567890", "require_mention": True},
        {"bot_token": TELEGRAM_TOKEN},
        "123456",
        "654321",
        ("-1001234567890", "Home"),
        {"TELEGRAM_REQUIRE_MENTION": "true"},
    ),
    "whatsapp_cloud": Sample(
        {"phone_number_id": "123456789012345", "allowed_users": ["+49 170 1234567"], "webhook_path": "/hook"},
        {"access_token": "EAA" + "b" * 60, "app_secret": "0123456789abcdef", "verify_token": "made-up-words"},
        "491701234567",
        "491709999999",
    ),
    "signal": Sample(
        {
            "http_url": "http://127.0.0.1:8080",
            "account": "+491701234567",
            "allowed_users": ["+491707654321", GUID],
            "home_channel": "+491707654321",
            "ignore_stories": False,
        },
        {},
        "+491707654321",
        "+491709999999",
        ("+491707654321", "Home"),
    ),
    "email": Sample(
        {
            "address": "agent@example.org",
            "imap_host": "imap.example.org",
            "smtp_host": "smtp.example.org",
            "smtp_port": 2525,
            "allowed_users": ["Boss@Example.org"],
            "home_channel": "boss@example.org",
        },
        {"password": "abcd efgh #ijkl"},
        "boss@example.org",
        "spam@example.org",
        ("boss@example.org", "Home"),
        {"EMAIL_PASSWORD": "abcd efgh #ijkl", "EMAIL_SMTP_PORT": "2525"},
    ),
    "matrix": Sample(
        {
            "homeserver": "https://matrix.example.org",
            "user_id": "@agent:example.org",
            "allowed_users": ["@boss:example.org"],
            "home_channel": "!room:example.org",
        },
        {"password": "p$w{d}"},
        "@boss:example.org",
        "@spam:example.org",
        ("!room:example.org", "Home"),
    ),
    "mattermost": Sample(
        {"url": "https://chat.example.org", "allowed_users": ["a" * 26], "home_channel": "b" * 26},
        {"token": "c" * 26},
        "a" * 26,
        "d" * 26,
        ("b" * 26, "Home"),
    ),
    "teams": Sample(
        {"client_id": GUID, "tenant_id": GUID, "allowed_users": [GUID], "home_channel": "19:abc@thread.tacv2"},
        {"client_secret": "abc~DEF_123456"},
        GUID,
        "11111111-89ab-cdef-0123-456789abcdef",
        ("19:abc@thread.tacv2", "Home"),
    ),
    "google_chat": Sample(
        {
            "project_id": "acme-chat",
            "subscription_name": "projects/acme-chat/subscriptions/agent",
            "allowed_users": ["boss@example.org"],
            "home_channel": "spaces/AAAA1234",
        },
        {"service_account_json": json.dumps(SERVICE_ACCOUNT, indent=2)},
        "boss@example.org",
        "spam@example.org",
        ("spaces/AAAA1234", "Home"),
    ),
    "webhook": Sample(
        {"routes": {"github": "A push: {ref}"}, "port": 8700, "rate_limit": 5}, {"secret": "0123456789abcdef0123"}
    ),
}
