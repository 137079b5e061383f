"""Gemini by Google's API for developers (AI Studio)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ..adapters import Adapter
from ..declaration import Field, Rendered, Value
from ..probing import Moment, Options, Outcome, Probe, Request, Response, Secrets
from ..secret import Secret
from .credentials import api_key
from .provider import ProviderType, model_leaves

#: Root of the API.
URL = "https://generativelanguage.googleapis.com/v1beta"


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    return Rendered(
        env={"HERMES_INFERENCE_PROVIDER": "gemini", **GEMINI.variables(options, secrets)},
        config=model_leaves("gemini", options),
    )


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    url = f"{URL}/models/{quote(str(options['model']), safe='')}"
    return (Request(url, {"x-goog-api-key": secrets["api_key"]}, names_model=True),)


def _models(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    return (Request(f"{URL}/models?pageSize=1000", {"x-goog-api-key": secrets["api_key"]}, lists=_ids),)


def _ids(body: Any) -> Iterable[str]:
    return [
        str(row["name"]).removeprefix("models/")
        for row in body["models"]
        if "generateContent" in row.get("supportedGenerationMethods", ["generateContent"])
    ]


def _meaning(response: Response) -> Outcome | None:
    # Google answers 400 to a key that is none.
    return "unauthorized" if "API_KEY_INVALID" in response.body else None


GEMINI = ProviderType(
    name="gemini",
    title="Google Gemini (AI Studio)",
    fields=(
        Field("model", "Model", "model", "id of a model, like gemini-3-pro-preview"),
        # Hermes would take GOOGLE_API_KEY as well; other programs read that one, too.
        api_key("Google", "GEMINI_API_KEY"),
    ),
    credential_url="https://aistudio.google.com/apikey",
    render=_render,
    probe=Probe("Google Gemini", "the key is valid for {model}", _ask, _models, meaning=_meaning),
    leaves=(("model", "provider"), ("model", "default")),
)
