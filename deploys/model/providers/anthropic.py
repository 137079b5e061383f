"""Anthropic: Claude by its own API."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from ..adapters import Adapter
from ..declaration import Field, Rendered, Value
from ..probing import Moment, Options, Probe, Request, Secrets, ids_of_data
from ..secret import Secret
from .credentials import api_key
from .provider import ProviderType, model_leaves

#: Root of the API.
URL = "https://api.anthropic.com"


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    config = model_leaves("anthropic", options)
    if "url" in options:
        config["model", "base_url"] = str(options["url"])
    return Rendered(
        env={"HERMES_INFERENCE_PROVIDER": "anthropic", **ANTHROPIC.variables(options, secrets)}, config=config
    )


def _headers(secrets: Secrets) -> dict[str, Secret | str]:
    return {"x-api-key": secrets["api_key"], "anthropic-version": "2023-06-01"}


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    if "url" in options:
        # A gateway lists models under names of its own, if at all.
        return (Request(f"{options['url']}/v1/models", _headers(secrets)),)
    # The list has no aliases; asked for one by its alias, the API knows it.
    url = f"{URL}/v1/models/{quote(str(options['model']), safe='')}"
    return (Request(url, _headers(secrets), names_model=True),)


def _models(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    return (Request(f"{options.get('url', URL)}/v1/models?limit=1000", _headers(secrets), lists=ids_of_data),)


ANTHROPIC = ProviderType(
    name="anthropic",
    title="Anthropic",
    fields=(
        Field("model", "Model", "model", "id of a Claude model, like claude-sonnet-4-6"),
        api_key("Anthropic", "ANTHROPIC_API_KEY"),
        Field("url", "API URL", "url", "only for a gateway that speaks Anthropic's API; without /v1", required=False),
    ),
    credential_url="https://console.anthropic.com/settings/keys",
    render=_render,
    probe=Probe("Anthropic", "the key is valid for {model}", _ask, _models),
    leaves=(("model", "provider"), ("model", "default"), ("model", "base_url")),
)
