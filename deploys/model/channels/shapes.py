"""Shapes of tokens and ids, one rule each. A message never quotes a token."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re

from .. import names

_SNOWFLAKE = re.compile(r"[0-9]{15,20}")
_DISCORD_MENTION = re.compile(r"<[@#]?[@#!&]?([0-9]+)>")
_DISCORD_NAME = re.compile(r"[a-z0-9_.]{2,32}")
_DISCORD_TOKEN = re.compile(r"([A-Za-z0-9_-]{18,40})\.[A-Za-z0-9_-]{5,8}\.[A-Za-z0-9_-]{25,80}")
_SLACK_BOT = re.compile(r"xoxb-[A-Za-z0-9-]{10,250}")
_SLACK_APP = re.compile(r"xapp-[A-Za-z0-9-]{10,250}")
_SLACK_USER = re.compile(r"[UW][A-Z0-9]{6,20}")
_SLACK_CHANNEL = re.compile(r"[CGD][A-Z0-9]{6,20}")
_TELEGRAM_TOKEN = re.compile(r"[0-9]{6,12}:[A-Za-z0-9_-]{35}")
_TELEGRAM_USER = re.compile(r"[0-9]{1,15}")
_TELEGRAM_CHAT = re.compile(r"-?[0-9]{1,15}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_GROUP = re.compile(r"[A-Za-z0-9+/_=-]{8,128}")
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@([A-Za-z0-9-]+\.)+[A-Za-z]{2,24}")
_MATRIX_USER = re.compile(r"@[a-z0-9._=/+-]+:[A-Za-z0-9.\[\]:-]+")
_MATRIX_ROOM = re.compile(r"[!#][^\s,:]+(:[A-Za-z0-9.\[\]:-]+)?")
_MATTERMOST_ID = re.compile(r"[a-z0-9]{26}")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SUBSCRIPTION = re.compile(r"projects/[a-z][a-z0-9:.-]+/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")
_PLACEHOLDER = re.compile(
    r"(your|my|the)?[-_ ]*(bot|app|api|access)?[-_ ]*(token|secret|password|key)([-_ ]*here)?", re.I
)
_THREAD = re.compile(r"[A-Za-z0-9._:$-]{1,128}")

EVERYBODY = "*"


def everybody_or(value: str, what: str, *patterns: re.Pattern[str]) -> str:
    """Return an item of an allow-list: ``*``, or what one of the patterns takes."""
    if value == EVERYBODY or any(pattern.fullmatch(value) for pattern in patterns):
        return value
    raise ValueError(f"{value!r} is not {what}")


def token(value: str) -> str:
    """Check a credential without a shape of its own: printable ASCII, no spaces, no placeholder from a manual."""
    _no_placeholder(value)
    if not _TOKEN.fullmatch(value):
        raise ValueError("should be 8 or more printable ASCII characters without spaces; was all of it copied?")
    return value


def discord_token(value: str) -> str:
    """Check a bot token: three parts with dots between, of which the first is the bot's id in base64."""
    value = value.strip()
    _no_placeholder(value)
    if value.startswith("Bot "):
        raise ValueError("should be the token alone, without 'Bot ' before it")
    found = _DISCORD_TOKEN.fullmatch(value)
    if found is None:
        raise ValueError(
            "should be three parts with dots between them, as the Bot page of the Developer Portal shows it once "
            "(the client secret and the public key are other things)"
        )
    try:
        first = base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        first = ""
    if not _SNOWFLAKE.fullmatch(first):
        raise ValueError("its first part should hold the bot's id; was a character lost?")
    return value


def discord_id(value: str) -> str:
    """Check the id of a channel, role or thread; ``<#...>`` and the like lose what is around it."""
    value = _bare(value)
    if not _SNOWFLAKE.fullmatch(value):
        raise ValueError(f"{value!r} is not an id (15 to 20 digits: Developer Mode, then Copy ID)")
    return value


def discord_channel(value: str) -> str:
    """Check an item of a list of channels: an id, or ``*``."""
    return value if value == EVERYBODY else discord_id(value)


def discord_user(value: str) -> str:
    """Check an item of the allow-list: an id, a user name, or ``*``."""
    value = _bare(value).removeprefix("user:")
    return everybody_or(
        value if value.isdigit() else value.lower(),
        "an id of 15 to 20 digits or a user name",
        _SNOWFLAKE,
        _DISCORD_NAME,
    )


def slack_bot_token(value: str) -> str:
    """Check one or more bot tokens, with commas between: one for each workspace."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts or [""]:
        _no_placeholder(part)
        if _SLACK_APP.fullmatch(part):
            raise ValueError("this is an app-level token (xapp-); the bot token begins with xoxb-")
        if part.startswith(("xoxp-", "xoxe")):
            raise ValueError("this is a token of a person; the bot token begins with xoxb-")
        if not _SLACK_BOT.fullmatch(part):
            raise ValueError("should begin with xoxb- (OAuth & Permissions, Bot User OAuth Token)")
    return ",".join(parts)


def slack_app_token(value: str) -> str:
    """Check the app-level token of Socket Mode."""
    value = value.strip()
    _no_placeholder(value)
    if value.startswith("xoxb-"):
        raise ValueError("this is a bot token (xoxb-); the app-level token begins with xapp-")
    if not _SLACK_APP.fullmatch(value):
        raise ValueError("should begin with xapp- (Basic Information, App-Level Tokens, scope connections:write)")
    return value


def slack_user(value: str) -> str:
    """Check an item of the allow-list: a member's id, or ``*``."""
    return everybody_or(value, "a member ID (U or W and letters and digits: Profile, Copy member ID)", _SLACK_USER)


def slack_channel(value: str) -> str:
    """Check the id of a channel."""
    if not _SLACK_CHANNEL.fullmatch(value):
        raise ValueError(f"{value!r} is not a channel ID (C, G or D and letters and digits), names do not work")
    return value


def telegram_token(value: str) -> str:
    """Check a bot token: the bot's id, a colon, 35 characters."""
    value = value.strip()
    _no_placeholder(value)
    if not _TELEGRAM_TOKEN.fullmatch(value):
        raise ValueError("should be digits, a colon and 35 characters, as @BotFather gives it")
    return value


def telegram_user(value: str) -> str:
    """Check an item of the allow-list: a numeric id, or ``*``."""
    return everybody_or(value, "a numeric user id (@userinfobot tells it), names do not work", _TELEGRAM_USER)


def telegram_chat(value: str) -> str:
    """Check the id of a chat; those of groups are negative."""
    return everybody_or(value, "a numeric chat id, negative for groups", _TELEGRAM_CHAT)


def telegram_home(value: str) -> str:
    """Check the id of the chat that the agent reports to."""
    if not _TELEGRAM_CHAT.fullmatch(value):
        raise ValueError(f"{value!r} is not a numeric chat id")
    return value


def phone(value: str) -> str:
    """Check a telephone number in E.164: a plus, the country and the number, nothing between."""
    bare = re.sub(r"[ ().-]", "", value)
    if not _E164.fullmatch(bare):
        raise ValueError(f"{value!r} is not a telephone number as +491701234567")
    return bare


def signal_user(value: str) -> str:
    """Check an item of the allow-list: a telephone number, the UUID of an account, or ``*``."""
    if value == EVERYBODY or _UUID.fullmatch(value):
        return value
    return phone(value)


def signal_group(value: str) -> str:
    """Check the id of a group, or ``*``."""
    return everybody_or(value, "the id of a group (signal-cli listGroups)", _GROUP)


def signal_home(value: str) -> str:
    """Check where the agent reports to: a telephone number, or ``group:`` and the id of a group."""
    if value.startswith("group:") and _GROUP.fullmatch(value.removeprefix("group:")):
        return value
    return phone(value)


def whatsapp_user(value: str) -> str:
    """Check an item of the allow-list: a telephone number, of which WhatsApp keeps the digits, or ``*``."""
    return value if value == EVERYBODY else phone(value if value.startswith("+") else f"+{value}")[1:]


def digits(value: str) -> str:
    """Check an id that is made of digits."""
    if not re.fullmatch(r"[0-9]{5,25}", value):
        raise ValueError(f"{value!r} is not an id of digits")
    return value


def email_address(value: str) -> str:
    """Check an e-mail address."""
    if not _EMAIL.fullmatch(value):
        raise ValueError(f"{value!r} is not an e-mail address")
    return value


def email_user(value: str) -> str:
    """Check an item of the allow-list: an address, or ``*``."""
    return value if value == EVERYBODY else email_address(value.lower())


def server(value: str) -> str:
    """Check the name or address of a server, without a scheme or a port."""
    return names.address(value)


def https_url(value: str) -> str:
    """Check a URL that a token is sent to: https, but for servers on the agent's own host."""
    if not value.startswith("https://") and not re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])(:|/|$)", value):
        raise ValueError("should begin with https://: the token is sent there")
    return value


def matrix_user(value: str) -> str:
    """Check a user's id, or ``*`` in an allow-list."""
    return everybody_or(value, "a user id as @name:server", _MATRIX_USER)


def matrix_account(value: str) -> str:
    """Check the id of the account that the agent uses."""
    if not _MATRIX_USER.fullmatch(value):
        raise ValueError(f"{value!r} is not a user id as @name:server")
    return value


def matrix_room(value: str) -> str:
    """Check the id or the alias of a room."""
    if not _MATRIX_ROOM.fullmatch(value):
        raise ValueError(f"{value!r} is not a room as !id:server or #alias:server")
    return value


def mattermost_id(value: str) -> str:
    """Check an id of Mattermost: 26 lowercase letters and digits."""
    if not _MATTERMOST_ID.fullmatch(value):
        raise ValueError(f"{value!r} is not an id of 26 lowercase letters and digits")
    return value


def mattermost_user(value: str) -> str:
    """Check an item of the allow-list: a user's id, or ``*``."""
    return value if value == EVERYBODY else mattermost_id(value)


def guid(value: str) -> str:
    """Check a GUID as Azure shows it."""
    if not _UUID.fullmatch(value):
        raise ValueError(f"{value!r} is not a GUID as 00000000-0000-0000-0000-000000000000")
    return value.lower()


def teams_user(value: str) -> str:
    """Check an item of the allow-list: the object ID of a user in Entra, or ``*``."""
    return value if value == EVERYBODY else guid(value)


def conversation(value: str) -> str:
    """Check the id of a conversation or a thread as the service shows it."""
    if not re.fullmatch(r"[A-Za-z0-9:@._/=-]{1,256}", value):
        raise ValueError(f"{value!r} is not the id of a conversation")
    return value


def google_project(value: str) -> str:
    """Check the id of a Google Cloud project."""
    if not _PROJECT.fullmatch(value):
        raise ValueError(f"{value!r} is not a project id (lowercase letters, digits and hyphens, 6 to 30)")
    return value


def google_subscription(value: str) -> str:
    """Check the full name of a Pub/Sub subscription."""
    if not _SUBSCRIPTION.fullmatch(value):
        raise ValueError(f"{value!r} is not projects/PROJECT/subscriptions/NAME")
    return value


def google_space(value: str) -> str:
    """Check the name of a space."""
    if not re.fullmatch(r"spaces/[A-Za-z0-9_-]{4,64}", value):
        raise ValueError(f"{value!r} is not spaces/ID")
    return value


def service_account(value: str) -> str:
    """Check the JSON key of a Google service account, and bring it onto one line."""
    try:
        key = json.loads(value)
    except ValueError:
        raise ValueError("should be the JSON file of a service account's key") from None
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise ValueError(
            "should be the JSON key of a service account (its type says so), not of a person or an OAuth client"
        )
    lacking = [name for name in ("private_key", "client_email", "token_uri") if not isinstance(key.get(name), str)]
    if lacking:
        raise ValueError(f"lacks {', '.join(lacking)}: download the key anew")
    return json.dumps(key, separators=(",", ":"))


def thread(value: str) -> str:
    """Check the id of a thread."""
    if not _THREAD.fullmatch(value):
        raise ValueError(f"{value!r} is not the id of a thread")
    return value


def line(value: str) -> str:
    """Check a short text: one line without control characters."""
    if not value.isprintable() or len(value) > 200:
        raise ValueError("should be one line of at most 200 characters")
    return value


def proxy(value: str) -> str:
    """Check the URL of a proxy. One with a password would lie in the open, and is refused."""
    if not re.fullmatch(r"(https?|socks[45]h?)://[A-Za-z0-9._\[\]:-]+/?", value):
        raise ValueError("should be http://, https:// or socks5:// with host and port, and without a password")
    return value


def bind_address(value: str) -> str:
    """Check an address to listen on."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


def url_path(value: str) -> str:
    """Check the path of a URL."""
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]{1,200}", value):
        raise ValueError(f"{value!r} is not a path as /hook")
    return value


def hmac_secret(value: str) -> str:
    """Check the secret that senders sign with; Hermes' word for 'no check at all' is refused."""
    if value == "INSECURE_NO_AUTH":
        raise ValueError("would let anybody in: make one with openssl rand -hex 32")
    if len(value) < 16:
        raise ValueError("should have 16 characters or more: make one with openssl rand -hex 32")
    return token(value)


def _bare(value: str) -> str:
    found = _DISCORD_MENTION.fullmatch(value)
    return found[1] if found else value


def _no_placeholder(value: str) -> None:
    if _PLACEHOLDER.fullmatch(value.strip(" <>[]{}\"'")):
        raise ValueError("is a placeholder from a manual, not a token")
