"""Azure OpenAI and Azure AI Foundry: models that were deployed in a resource of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..adapters import Adapter
from ..declaration import Field, Rendered, Value
from ..probing import Moment, Options, Outcome, Probe, Request, Response, Secrets
from ..secret import Secret
from .credentials import api_key
from .provider import ProviderType, model_leaves

_CLAUDE = "anthropic_messages"


def resource_url(url: str) -> str:
    """Return the root of the OpenAI-compatible API when only the resource is named; other URLs as they are."""
    parts = urlsplit(url)
    return f"{url}/openai/v1" if not parts.path and str(parts.hostname).endswith(".azure.com") else url


def api_mode(options: Mapping[str, Value]) -> str | None:
    """Return which API is spoken: as it was chosen, or as the URL says; None leaves it to Hermes."""
    # By itself Hermes takes the URL of Claude's API for OpenAI's, on every release.
    claude = urlsplit(str(options["url"])).path.endswith("/anthropic")
    return str(options["api_mode"]) if "api_mode" in options else _CLAUDE if claude else None


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    # Hermes' alias `azure` arrives at an empty URL.
    config = model_leaves("azure-foundry", options)
    config["model", "base_url"] = str(options["url"])
    if mode := api_mode(options):
        config["model", "api_mode"] = mode
    return Rendered(
        env={"HERMES_INFERENCE_PROVIDER": "azure-foundry", **AZURE.variables(options, secrets)}, config=config
    )


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    # Only a request to a deployment says whether it is there: the list of models is that of the whole region.
    mode, url, model = api_mode(options), str(options["url"]), options["model"]
    said = [{"role": "user", "content": "ping"}]
    headers: dict[str, Secret | str] = {"api-key": secrets["api_key"]}
    if mode == _CLAUDE:
        chat = {"model": model, "max_tokens": 1, "messages": said}
        headers = {"x-api-key": secrets["api_key"], "anthropic-version": "2023-06-01"}
        path = "/v1/messages"
    elif mode == "codex_responses":
        chat, path = {"model": model, "max_output_tokens": 16, "input": said}, "/responses"
    else:
        chat, path = {"model": model, "max_completion_tokens": 16, "messages": said}, "/chat/completions"
    return (Request(f"{url}{path}", headers, json.dumps(chat), seconds=30, names_model=True),)


def _meaning(response: Response) -> Outcome | None:
    # `Resource not found` is about the URL, `DeploymentNotFound` about the model.
    return "misplaced" if response.status == 404 and "Resource not found" in response.body else None


AZURE = ProviderType(
    name="azure",
    title="Azure OpenAI and AI Foundry",
    fields=(
        Field(
            "url",
            "Endpoint",
            "url",
            "https://RESOURCE.openai.azure.com/openai/v1; for Claude https://RESOURCE.services.ai.azure.com/anthropic",
            shape=resource_url,
        ),
        Field("model", "Deployment", "model", "name under which the model is deployed in the resource"),
        api_key("Azure", "AZURE_FOUNDRY_API_KEY"),
        Field(
            "api_mode",
            "API",
            "choice",
            "which API the deployment speaks, when Hermes should not choose by the model's name",
            required=False,
            choices=("chat_completions", "codex_responses", _CLAUDE),
        ),
    ),
    credential_url="https://portal.azure.com/",
    render=_render,
    probe=Probe("Azure", "the deployment {model} answered a chat of a few tokens", _ask, meaning=_meaning),
    leaves=(("model", "provider"), ("model", "default"), ("model", "base_url"), ("model", "api_mode")),
)
