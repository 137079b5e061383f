"""OpenRouter: many providers' models behind one key."""

from __future__ import annotations

from collections.abc import Mapping

from ..adapters import Adapter
from ..declaration import Field, Rendered, Value
from ..probing import Moment, Options, Probe, Request, Secrets, ids_of_data
from ..secret import Secret
from .credentials import api_key
from .provider import ProviderType, model_leaves

#: Root of the API.
URL = "https://openrouter.ai/api/v1"


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    # Hermes takes no other URL for this provider: model.base_url is passed over on every release.
    return Rendered(
        env={"HERMES_INFERENCE_PROVIDER": "openrouter", **OPENROUTER.variables(options, secrets)},
        config=model_leaves("openrouter", options),
    )


def _models(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    return (Request(f"{URL}/models", lists=ids_of_data, seconds=20),)


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    # The list of models is there for everybody, so it says nothing about a key.
    key = Secret(f"Bearer {secrets['api_key'].reveal()}")
    return (Request(f"{URL}/key", {"Authorization": key}), *_models(options, secrets, at))


OPENROUTER = ProviderType(
    name="openrouter",
    title="OpenRouter",
    fields=(
        Field("model", "Model", "model", "id as https://openrouter.ai/models has it, like anthropic/claude-sonnet-4.6"),
        api_key("OpenRouter", "OPENROUTER_API_KEY"),
    ),
    credential_url="https://openrouter.ai/settings/keys",
    render=_render,
    probe=Probe("OpenRouter", "the key is valid and {model} is among its models", _ask, _models),
    leaves=(("model", "provider"), ("model", "default")),
)
