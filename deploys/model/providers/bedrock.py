"""Amazon Bedrock, with an access key or a bearer token."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ..adapters import Adapter
from ..declaration import Field, InvalidSetting, KeyPath, Rendered, Value
from ..probing import Moment, Options, Outcome, Probe, Request, Response, Secrets
from ..secret import Secret
from ..sigv4 import Credentials, signed
from .credentials import access_key_id, one_word
from .provider import ProviderType, model_leaves

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
# What Hermes takes for Claude, and sends to Anthropic's own API in Bedrock.
_CLAUDE = re.compile(r"((us|global|eu|apac|ap|au|jp|ca|sa|me|af)\.)?anthropic\.claude")


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise ValueError(f"{value!r} is not a region of AWS like us-east-1")
    return value


def _complete(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    pair = {"access_key_id", "secret_access_key"}
    if "bearer_token" in secrets:
        if {*pair, "session_token"} & set(secrets):
            raise InvalidSetting("Provider type bedrock takes an access key or a bearer token, not both")
        return
    if "session_token" in secrets and not pair <= set(secrets):
        raise InvalidSetting("Provider type bedrock: a session token belongs to an access key id and secret access key")
    if not pair <= set(secrets):
        raise InvalidSetting(
            "Provider type bedrock lacks its credentials: an access key id and its secret access key, or a bearer token"
        )


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    claude = _CLAUDE.match(str(options["model"]).lower())
    if secrets.get("bearer_token") and claude and not adapter.has("bedrock-bearer-claude"):
        raise InvalidSetting(
            "Provider type bedrock: this release of Hermes cannot use Claude with a bearer token; give an access key, "
            "or name the model by its ARN"
        )
    region = str(options["region"])
    config = model_leaves("bedrock", options)
    config["bedrock", "region"] = region
    return Rendered(
        env={
            "HERMES_INFERENCE_PROVIDER": "bedrock",
            # boto3 reads the one, Anthropic's library the other.
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            **BEDROCK.variables(options, secrets),
        },
        config=config,
    )


def _request(url: str, options: Options, secrets: Secrets, at: Moment, body: str | None = None, **more: Any) -> Request:
    headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {})}
    if "bearer_token" in secrets:
        bearer = Secret(f"Bearer {secrets['bearer_token'].reveal()}")
        return Request(url, {**headers, "Authorization": bearer}, body, **more)
    keys = Credentials(secrets["access_key_id"], secrets["secret_access_key"], secrets.get("session_token"))
    method, region = ("POST" if body else "GET"), str(options["region"])
    sent = signed(method, url, headers, (body or "").encode(), keys, region, "bedrock", at.stamp)
    return Request(url, sent, body, **more)


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    # Listing models needs another permission than using one; a reply of one token proves what the agent needs.
    host = f"https://bedrock-runtime.{options['region']}.{_domain(options)}"
    url = f"{host}/model/{quote(str(options['model']), safe='')}/converse"
    chat = {
        "messages": [{"role": "user", "content": [{"text": "ping"}]}],
        "inferenceConfig": {"maxTokens": 1},
    }
    return (_request(url, options, secrets, at, json.dumps(chat), seconds=30, names_model=True),)


def _models(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    host = f"https://bedrock.{options['region']}.{_domain(options)}"
    return (
        _request(f"{host}/foundation-models?byOutputModality=TEXT", options, secrets, at, lists=_ids),
        _request(f"{host}/inference-profiles?maxResults=1000", options, secrets, at, lists=_profiles),
    )


def _domain(options: Options) -> str:
    return "amazonaws.com.cn" if str(options["region"]).startswith("cn-") else "amazonaws.com"


def _ids(body: Any) -> Iterable[str]:
    return [
        str(row["modelId"])
        for row in body["modelSummaries"]
        if "ON_DEMAND" in row.get("inferenceTypesSupported", ["ON_DEMAND"])
    ]


def _profiles(body: Any) -> Iterable[str]:
    return [str(row["inferenceProfileId"]) for row in body["inferenceProfileSummaries"]]


def _meaning(response: Response) -> Outcome | None:
    # https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
    complaint = response.complaint
    if response.status == 403 and re.search("security token|signature|API Key is not valid|expired", complaint, re.I):
        return "unauthorized"
    if response.status == 400 and re.search("model identifier|on-demand throughput|inference profile", complaint, re.I):
        return "no-model"
    return None


def _credential(name: str, label: str, help: str, variable: str) -> Field:
    shape = access_key_id if name == "access_key_id" else one_word
    return Field(name, label, "secret", help, required=False, variable=variable, shape=shape)


_LEAVES: tuple[KeyPath, ...] = (("model", "provider"), ("model", "default"), ("bedrock", "region"))

BEDROCK = ProviderType(
    name="bedrock",
    title="Amazon Bedrock",
    fields=(
        Field("region", "Region", "text", "region of AWS where the model is, like us-east-1", shape=_region),
        Field(
            "model",
            "Model",
            "model",
            "id of a model or inference profile, like us.anthropic.claude-sonnet-4-6, or its ARN",
        ),
        _credential("access_key_id", "Access key id", "of a user who may invoke the model", "AWS_ACCESS_KEY_ID"),
        _credential("secret_access_key", "Secret access key", "of that access key", "AWS_SECRET_ACCESS_KEY"),
        _credential("session_token", "Session token", "of temporary credentials", "AWS_SESSION_TOKEN"),
        _credential(
            "bearer_token", "Bearer token", "an API key of Bedrock, instead of the above", "AWS_BEARER_TOKEN_BEDROCK"
        ),
    ),
    credential_url="https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html",
    rule=_complete,
    render=_render,
    probe=Probe("Bedrock", "{model} may be invoked, it answered with one token", _ask, _models, meaning=_meaning),
    leaves=_LEAVES,
)
