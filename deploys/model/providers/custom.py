"""Any OpenAI-compatible server by its URL: Ollama, vLLM, llama.cpp, LM Studio and the like."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from .. import names
from ..adapters import Adapter
from ..declaration import Field, Json, KeyPath, Rendered, Value
from ..probing import Moment, Options, Probe, Request, Secrets, ids_of_data
from ..secret import Secret
from .provider import ProviderType


def openai_base_url(url: str) -> str:
    """Return the root of an OpenAI-compatible API: Hermes answers 404 to everything without ``/v1``."""
    root = names.http_url(url)
    return root if urlsplit(root).path.endswith("/v1") else f"{root}/v1"


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    # `custom` without base_url goes to openrouter.ai, and 0.13 sends whatever key lies around to a custom URL
    # that has none of its own: so the URL is required and a keyless endpoint gets an explicit placeholder.
    key = secrets.get("api_key")
    env: dict[str, Secret | str] = {"HERMES_INFERENCE_PROVIDER": "custom"}
    config: dict[KeyPath, Json] = {
        ("model", "provider"): "custom",
        ("model", "base_url"): openai_base_url(str(options["url"])),
        ("model", "default"): str(options["model"]),
        ("model", "api_key"): "no-key-required",
    }
    if key:
        env["CUSTOM_API_KEY"] = key
        config["model", "api_key"] = "${CUSTOM_API_KEY}"
    if "context_length" in options:
        config["model", "context_length"] = int(str(options["context_length"]))
    return Rendered(env=env, config=config)


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    key = secrets.get("api_key")
    headers = {"Authorization": Secret(f"Bearer {key.reveal()}")} if key else {}
    return (Request(f"{openai_base_url(str(options['url']))}/models", headers, lists=ids_of_data),)


_FIELDS = (
    Field("url", "API URL", "url", "root of the OpenAI-compatible API, as the agent's host reaches it"),
    Field("model", "Model", "model", "id of the model, as the server's /v1/models lists it"),
    Field("api_key", "API key", "secret", "only when the server asks for one", required=False),
    Field(
        "context_length",
        "Context length",
        "integer",
        "tokens, when the server does not tell; Hermes wants 64000",
        required=False,
        # Hermes answers every chat with HTTP 500 below its MINIMUM_CONTEXT_LENGTH, the same in all releases.
        between=(64_000, None),
    ),
)
_LEAVES: tuple[KeyPath, ...] = tuple(
    ("model", name) for name in ("provider", "base_url", "default", "api_key", "context_length")
)

OLLAMA = ProviderType(
    name="ollama",
    title="Ollama",
    fields=_FIELDS,
    credential_url="https://docs.ollama.com/api",
    render=_render,
    leaves=_LEAVES,
    probe=Probe("Ollama", "it has {model}", _ask, _ask),
)
CUSTOM = ProviderType(
    name="custom",
    title="Any OpenAI-compatible server (vLLM, llama.cpp, LM Studio, ...)",
    fields=_FIELDS,
    credential_url="https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html",
    render=_render,
    leaves=_LEAVES,
    probe=Probe("the server", "it has {model}", _ask, _ask, lists_all=False),
)
