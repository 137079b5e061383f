"""Google Cloud's Vertex AI, with the key of a service account."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from .. import names
from ..adapters import Adapter
from ..declaration import Field, Rendered, SecretFile, Value
from ..probing import Moment, Options, Outcome, Probe, Request, Response, Secrets
from ..secret import Secret
from .provider import ProviderType, model_leaves

_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_LOCATION = re.compile(r"global|[a-z]+(-[a-z]+)+[0-9]{1,2}")
_NEEDED = ("project_id", "private_key", "client_email", "token_uri")


def service_account(value: str) -> str:
    """Check the key of a service account, the JSON that Google hands out, and return it in one line."""
    try:
        found = json.loads(value)
    except ValueError:
        raise ValueError("is not JSON; give the file that Google made for the service account's key") from None
    if not isinstance(found, dict) or found.get("type") != "service_account":
        raise ValueError('is not the key of a service account: its JSON has "type": "service_account"')
    lacking = [name for name in _NEEDED if not isinstance(found.get(name), str) or not found[name]]
    if lacking:
        raise ValueError(f"lacks {', '.join(lacking)}")
    if "BEGIN PRIVATE KEY" not in found["private_key"]:
        raise ValueError("has a private_key that is not PEM")
    if not names.http_url(found["token_uri"]).startswith("https://"):
        raise ValueError("has a token_uri that is not https")
    return json.dumps(found)


def _project(value: str) -> str:
    if not _PROJECT.fullmatch(value):
        raise ValueError(f"{value!r} is not the id of a project")
    return value


def _location(value: str) -> str:
    if not _LOCATION.fullmatch(value):
        raise ValueError(f"{value!r} is not a location like global or europe-west1")
    return value


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    config = model_leaves("vertex", options)
    config["vertex", "region"] = str(options["region"])
    if "project_id" in options:
        config["vertex", "project_id"] = str(options["project_id"])
    # Not GOOGLE_APPLICATION_CREDENTIALS: other programs, and Hermes' Google Chat, read that one, too.
    return Rendered(
        env={"HERMES_INFERENCE_PROVIDER": "vertex"},
        config=config,
        files={"vertex.json": SecretFile(secrets["service_account"], "VERTEX_CREDENTIALS_PATH")},
    )


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    # The key is never sent: Google gives a token of an hour to who can sign with it.
    account = json.loads(secrets["service_account"].reveal())
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": _assertion(account, at)}
    headers: dict[str, Secret | str] = {"Content-Type": "application/x-www-form-urlencoded"}
    return (Request(account["token_uri"], headers, Secret(urlencode(form))),)


def _assertion(account: Mapping[str, Any], at: Moment) -> str:
    """Sign a claim as RFC 7523 and Google's server-to-server flow have it."""
    from cryptography.exceptions import UnsupportedAlgorithm  # late: no other provider needs it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    moment = at.seconds
    claim = {
        "iss": account["client_email"],
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": account["token_uri"],
        "iat": moment,
        "exp": moment + 600,
    }
    text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claim))
    try:
        key = serialization.load_pem_private_key(account["private_key"].encode(), password=None)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        # Google says so in its own words then.
        return f"{text}."
    return f"{text}.{_encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _meaning(response: Response) -> Outcome | None:
    found = response.json
    error = found.get("error") if isinstance(found, dict) else None
    return "unauthorized" if error in ("invalid_grant", "invalid_client", "unauthorized_client") else None


VERTEX = ProviderType(
    name="vertex",
    title="Google Vertex AI",
    fields=(
        Field("model", "Model", "model", "id with its publisher, like google/gemini-3-pro-preview"),
        Field(
            "service_account",
            "Service account key",
            "secret",
            "the JSON file that Google made for the key",
            shape=service_account,
        ),
        Field("region", "Location", "text", "global, or a region like europe-west1", default="global", shape=_location),
        Field(
            "project_id", "Project", "text", "when it is not the service account's own", required=False, shape=_project
        ),
    ),
    credential_url="https://console.cloud.google.com/iam-admin/serviceaccounts",
    feature="vertex",
    render=_render,
    probe=Probe("Google Cloud", "it takes the service account's key; the model was not asked", _ask, meaning=_meaning),
    leaves=(("model", "provider"), ("model", "default"), ("vertex", "region"), ("vertex", "project_id")),
)
