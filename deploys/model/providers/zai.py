"""Z.AI: GLM models."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..adapters import Adapter
from ..declaration import Field, Rendered, Value
from ..probing import Moment, Options, Outcome, Probe, Request, Response, Secrets, ids_of_data
from ..secret import Secret
from .credentials import api_key
from .provider import ProviderType, model_leaves

#: Root of the API that is paid by use.
URL = "https://api.z.ai/api/paas/v4"


def _render(options: Mapping[str, Value], secrets: Mapping[str, Secret], adapter: Adapter) -> Rendered:
    # Without a URL in the environment Hermes tries its key at four servers, two of them in China, and keeps in
    # auth.json which one took it.
    config = model_leaves("zai", options)
    config["model", "base_url"] = str(options["url"])
    return Rendered(env={"HERMES_INFERENCE_PROVIDER": "zai", **ZAI.variables(options, secrets)}, config=config)


def _headers(secrets: Secrets) -> dict[str, Secret | str]:
    return {"Authorization": Secret(f"Bearer {secrets['api_key'].reveal()}")}


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    # A chat of one token: Z.AI's documentation knows no other request, and Hermes itself tries keys in this way.
    chat = {"model": options["model"], "max_tokens": 1, "messages": [{"role": "user", "content": "ping"}]}
    url = f"{options['url']}/chat/completions"
    return (Request(url, _headers(secrets), json.dumps(chat), seconds=30, names_model=True),)


def _models(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    return (Request(f"{options['url']}/models", _headers(secrets), lists=ids_of_data),)


def _meaning(response: Response) -> Outcome | None:
    # https://docs.z.ai/api-reference/api-code
    error = response.json.get("error") if isinstance(response.json, dict) else None
    code = str(error.get("code")) if isinstance(error, dict) else ""
    meanings: dict[str, Outcome] = {
        "1000": "unauthorized", "1001": "unauthorized", "1002": "unauthorized", "1003": "unauthorized",
        "1113": "no-credit", "1211": "no-model", "1220": "forbidden",
    }  # fmt: skip
    return meanings.get(code)


ZAI = ProviderType(
    name="zai",
    title="Z.AI (GLM)",
    fields=(
        Field("model", "Model", "model", "id of a model, like glm-5"),
        api_key("Z.AI", "GLM_API_KEY"),
        Field(
            "url",
            "API URL",
            "url",
            "https://api.z.ai/api/coding/paas/v4 for a coding plan, https://open.bigmodel.cn/api/paas/v4 in China",
            default=URL,
            variable="GLM_BASE_URL",
        ),
    ),
    credential_url="https://z.ai/manage-apikey/apikey-list",
    render=_render,
    probe=Probe("Z.AI", "{model} answered a chat of one token", _ask, _models, meaning=_meaning),
    leaves=(("model", "provider"), ("model", "default"), ("model", "base_url")),
)
