"""Microsoft Teams, through a bot registered in Azure, which must be able to reach the agent's host."""

from __future__ import annotations

from ..declaration import Field
from . import access, shapes
from .channel import Channel

TEAMS = Channel(
    name="teams",
    title="Microsoft Teams",
    fields=(
        Field(
            "client_id",
            "Client ID",
            "text",
            "of the bot's app registration",
            shape=shapes.guid,
            variable="TEAMS_CLIENT_ID",
        ),
        Field(
            "client_secret",
            "Client secret",
            "secret",
            "its value, not its id",
            shape=shapes.token,
            variable="TEAMS_CLIENT_SECRET",
        ),
        Field("tenant_id", "Tenant ID", "text", "of the directory", shape=shapes.guid, variable="TEAMS_TENANT_ID"),
        Field(
            "port",
            "Port",
            "integer",
            "where it listens for Microsoft's calls, on every address of the host",
            default=3978,
            between=(1024, 65535),
            variable="TEAMS_PORT",
        ),
        access.allowed_users("TEAMS", shapes.teams_user, "object IDs of users"),
        access.allow_all_users("TEAMS"),
        *access.home("TEAMS", shapes.conversation, "id of a conversation", thread=False),
    ),
    credential_url="https://dev.teams.microsoft.com/bots",
    feature="plugin-platforms",
    admits=("allowed_users",),
    exclusive=("client_id",),
    listens=("port",),
)
