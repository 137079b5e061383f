"""OpenAI by its own API."""

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
URL = "https://api.openai.com/v1"


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    # `openai` is no provider of any release, and `openai-api` only of later ones. Either way Hermes speaks the
    # Responses API to this URL.
    if adapter.has("openai-api"):
        provider, config = "openai-api", model_leaves("openai-api", options)
    else:
        provider, config = "custom", model_leaves("custom", options)
        config["model", "base_url"] = URL
        config["model", "api_key"] = "${OPENAI_API_KEY}"
    return Rendered(env={"HERMES_INFERENCE_PROVIDER": provider, **OPENAI.variables(options, secrets)}, config=config)


def _headers(secrets: Secrets) -> dict[str, Secret | str]:
    return {"Authorization": Secret(f"Bearer {secrets['api_key'].reveal()}")}


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    url = f"{URL}/models/{quote(str(options['model']), safe='')}"
    return (Request(url, _headers(secrets), names_model=True),)


def _models(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    return (Request(f"{URL}/models", _headers(secrets), lists=ids_of_data),)


OPENAI = ProviderType(
    name="openai",
    title="OpenAI",
    fields=(
        Field("model", "Model", "model", "id of a model, like gpt-5.2"),
        api_key("OpenAI", "OPENAI_API_KEY"),
    ),
    credential_url="https://platform.openai.com/api-keys",
    render=_render,
    probe=Probe("OpenAI", "the key is valid for {model}", _ask, _models),
    leaves=(("model", "provider"), ("model", "default"), ("model", "base_url"), ("model", "api_key")),
)
