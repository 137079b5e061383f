"""Google Chat, through a Pub/Sub subscription, which needs no address that Google can reach."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..declaration import Field, Value
from . import access, shapes
from .channel import Channel, InvalidChannel

_PREFIX = "GOOGLE_CHAT"


def _rule(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    project = str(options["subscription_name"]).split("/")[1]
    if options["project_id"] != project:
        raise InvalidChannel(f"Channel google_chat: the subscription is of project {project}, project_id says another")


GOOGLE_CHAT = Channel(
    name="google_chat",
    title="Google Chat",
    fields=(
        Field(
            "project_id",
            "Project",
            "text",
            "id of the Google Cloud project",
            shape=shapes.google_project,
            variable=f"{_PREFIX}_PROJECT_ID",
        ),
        Field(
            "subscription_name",
            "Subscription",
            "text",
            "projects/PROJECT/subscriptions/NAME",
            shape=shapes.google_subscription,
            variable=f"{_PREFIX}_SUBSCRIPTION_NAME",
        ),
        Field(
            "service_account_json",
            "Service account",
            "secret",
            "the JSON file of its key",
            shape=shapes.service_account,
            variable=f"{_PREFIX}_SERVICE_ACCOUNT_JSON",
        ),
        access.allowed_users(_PREFIX, shapes.email_user, "addresses"),
        access.allow_all_users(_PREFIX),
        *access.home(_PREFIX, shapes.google_space, "spaces/ID", thread=False),
    ),
    credential_url="https://console.cloud.google.com/iam-admin/serviceaccounts",
    feature="plugin-platforms",
    rule=_rule,
    admits=("allowed_users",),
    # Two that read one subscription get half of the messages each.
    exclusive=("subscription_name",),
)
