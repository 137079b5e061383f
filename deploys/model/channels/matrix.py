"""Matrix, with an account of the agent's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..declaration import Field, Value
from . import access, checking, shapes
from .access import flag, ids
from .channel import Channel, InvalidChannel


def _rule(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    if "access_token" in secrets:
        return
    if "password" not in secrets:
        raise InvalidChannel("Channel matrix lacks its Access token, or its User and Password")
    if "user_id" not in options:
        raise InvalidChannel("Channel matrix needs User (user_id) to sign in with a password")


MATRIX = Channel(
    name="matrix",
    title="Matrix",
    fields=(
        Field(
            "homeserver",
            "Homeserver",
            "url",
            "its address, as https://matrix.example.org",
            shape=shapes.https_url,
            variable="MATRIX_HOMESERVER",
        ),
        Field(
            "access_token",
            "Access token",
            "secret",
            "of the agent's account; instead of user and password",
            required=False,
            shape=shapes.token,
            variable="MATRIX_ACCESS_TOKEN",
        ),
        Field(
            "user_id",
            "User",
            "text",
            "of the agent's account, as @agent:example.org",
            required=False,
            shape=shapes.matrix_account,
            variable="MATRIX_USER_ID",
        ),
        Field("password", "Password", "secret", "of the agent's account", required=False, variable="MATRIX_PASSWORD"),
        access.allowed_users("MATRIX", shapes.matrix_user, "user ids"),
        access.allow_all_users("MATRIX"),
        access.strangers(),
        ids(
            "allowed_rooms",
            "Allowed rooms",
            "MATRIX_ALLOWED_ROOMS",
            shapes.matrix_room,
            "ids of the only rooms it works in",
        ),
        ids(
            "free_response_rooms",
            "Free rooms",
            "MATRIX_FREE_RESPONSE_ROOMS",
            shapes.matrix_room,
            "ids of rooms where no mention is needed",
        ),
        *access.home("MATRIX", shapes.matrix_room, "id of a room", variable="MATRIX_HOME_ROOM"),
        flag("require_mention", "Mention needed", "MATRIX_REQUIRE_MENTION", "in rooms, answer only to a mention; on"),
        flag("auto_thread", "Threads", "MATRIX_AUTO_THREAD", "answer in a thread; on"),
        flag(
            "encryption",
            "Encryption",
            "MATRIX_ENCRYPTION",
            "work in encrypted rooms; off (needs libolm: Python below 3.13)",
        ),
        Field(
            "device_id",
            "Device",
            "text",
            "id of the device, which keeps its keys over restarts",
            required=False,
            shape=shapes.conversation,
            variable="MATRIX_DEVICE_ID",
        ),
        Field(
            "recovery_key",
            "Recovery key",
            "secret",
            "of the account's key backup, for encrypted rooms",
            required=False,
            variable="MATRIX_RECOVERY_KEY",
        ),
    ),
    leaves=access.strangers_leaf("matrix"),
    credential_url="https://spec.matrix.org/latest/client-server-api/#login",
    rule=_rule,
    admits=("allowed_users",),
    check=checking.MATRIX,
    exclusive=("access_token", "user_id"),
    # The first sync of an account with many rooms takes a while.
    connect_seconds=30,
)
