"""WhatsApp through Meta's Cloud API: no telephone and no bridge, but an address that Meta can reach."""

from __future__ import annotations

from ..declaration import Field
from . import access, checking, shapes
from .channel import Channel

_PREFIX = "WHATSAPP_CLOUD"

WHATSAPP_CLOUD = Channel(
    name="whatsapp_cloud",
    title="WhatsApp (Meta's Cloud API)",
    fields=(
        Field(
            "phone_number_id",
            "Phone number ID",
            "text",
            "id of the business number, from WhatsApp, API Setup (not the number)",
            shape=shapes.digits,
            variable=f"{_PREFIX}_PHONE_NUMBER_ID",
        ),
        Field(
            "access_token",
            "Access token",
            "secret",
            "of a system user, which does not expire",
            shape=shapes.token,
            variable=f"{_PREFIX}_ACCESS_TOKEN",
        ),
        Field(
            "app_secret",
            "App secret",
            "secret",
            "what Meta signs its calls with; without it no message arrives",
            shape=shapes.token,
            variable=f"{_PREFIX}_APP_SECRET",
        ),
        Field(
            "verify_token",
            "Verify token",
            "secret",
            "made up by you, and given to Meta with the webhook's address",
            shape=shapes.token,
            variable=f"{_PREFIX}_VERIFY_TOKEN",
        ),
        access.allowed_users(_PREFIX, shapes.whatsapp_user, "telephone numbers with their country"),
        access.allow_all_users(_PREFIX),
        *access.home(_PREFIX, shapes.whatsapp_user, "a telephone number", thread=False),
        Field(
            "webhook_host",
            "Webhook address",
            "text",
            "address that it listens on; 127.0.0.1 suits a reverse proxy on the host",
            default="127.0.0.1",
            shape=shapes.bind_address,
            variable=f"{_PREFIX}_WEBHOOK_HOST",
        ),
        Field(
            "webhook_port",
            "Webhook port",
            "integer",
            "port that it listens on",
            default=8090,
            between=(1024, 65535),
            variable=f"{_PREFIX}_WEBHOOK_PORT",
        ),
        Field(
            "webhook_path",
            "Webhook path",
            "text",
            "path of the webhook; /whatsapp/webhook",
            required=False,
            shape=shapes.url_path,
            variable=f"{_PREFIX}_WEBHOOK_PATH",
        ),
    ),
    credential_url="https://developers.facebook.com/apps",
    feature="whatsapp-cloud",
    admits=("allowed_users",),
    check=checking.WHATSAPP_CLOUD,
    exclusive=("phone_number_id",),
    listens=("webhook_port",),
)
