"""E-mail: a mailbox of the agent's own, read with IMAP and answered with SMTP."""

from __future__ import annotations

from ..declaration import Field
from . import access, shapes
from .channel import Channel

EMAIL = Channel(
    name="email",
    title="E-mail (IMAP and SMTP)",
    fields=(
        Field(
            "address",
            "Address",
            "text",
            "of a mailbox that only the agent uses",
            shape=shapes.email_address,
            variable="EMAIL_ADDRESS",
        ),
        Field("password", "Password", "secret", "an app password where the server has them", variable="EMAIL_PASSWORD"),
        Field("imap_host", "IMAP server", "text", "by its name", shape=shapes.server, variable="EMAIL_IMAP_HOST"),
        Field(
            "imap_port",
            "IMAP port",
            "integer",
            "with TLS from the start; 993",
            required=False,
            between=(1, 65535),
            variable="EMAIL_IMAP_PORT",
        ),
        Field("smtp_host", "SMTP server", "text", "by its name", shape=shapes.server, variable="EMAIL_SMTP_HOST"),
        Field(
            "smtp_port",
            "SMTP port",
            "integer",
            "with STARTTLS; 587",
            required=False,
            between=(1, 65535),
            variable="EMAIL_SMTP_PORT",
        ),
        Field(
            "poll_interval",
            "Interval",
            "integer",
            "seconds between two looks; 15",
            required=False,
            variable="EMAIL_POLL_INTERVAL",
        ),
        access.allowed_users("EMAIL", shapes.email_user, "addresses"),
        access.allow_all_users("EMAIL"),
        *access.home("EMAIL", shapes.email_address, "an address", variable="EMAIL_HOME_ADDRESS", thread=False),
    ),
    credential_url="https://support.google.com/accounts/answer/185833",
    admits=("allowed_users",),
    exclusive=("address",),
)
