"""Inference providers, one declaration each: fields, what they render, how they are probed, where a key comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from . import names
from .secret import Secret

Value = str | int | bool
#: What a field's text is, and so how it is checked and asked for.
Kind = Literal["url", "model", "integer", "secret"]


class InvalidProvider(ValueError):
    """A provider whose fields do not fit its declaration."""


@dataclass(frozen=True)
class Field:
    """One thing that a provider needs to know."""

    name: str
    label: str
    kind: Kind
    help: str
    required: bool = True
    default: Value | None = None

    @property
    def secret(self) -> bool:
        return self.kind == "secret"

    def check(self, value: Value) -> Value:
        """Return the value in its normal form, or raise :class:`InvalidProvider`."""
        try:
            match self.kind:
                case "url":
                    return names.http_url(str(value))
                case "model":
                    return names.model_id(str(value))
                case "integer":
                    number = int(value)
                    if number < 1 or isinstance(value, bool):
                        raise ValueError
                    return number
                case "secret":
                    raise InvalidProvider(f"{self.label} is a secret and does not belong among a provider's options")
        except InvalidProvider:
            raise
        except names.InvalidName as error:
            raise InvalidProvider(f"{self.label}: {error}") from None
        except ValueError:
            raise InvalidProvider(f"{self.label}: {value!r} is not a whole number above 0") from None


@dataclass(frozen=True)
class Rendered:
    """What a provider contributes: variables for ``.env`` and leaves for ``config.yaml`` (dotted paths)."""

    env: Mapping[str, Secret | str] = field(default_factory=dict)
    config: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class ProviderType:
    """The declaration of one kind of provider."""

    type: str
    title: str
    fields: tuple[Field, ...]
    credential_url: str
    render: Callable[[Mapping[str, Value], Mapping[str, Secret]], Rendered]
    #: Dotted paths in config.yaml that this type may set; those it does not set are removed on a change.
    leaves: tuple[str, ...]

    def options(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """
        Check non-secret values against the declaration and fill in defaults.

        Raises :class:`InvalidProvider` naming the first field that is unknown, missing or wrong.
        """
        known = {f.name: f for f in self.fields}
        for name in values:
            if name not in known:
                raise InvalidProvider(f"Provider type {self.type} has no field {name!r}; it has: {', '.join(known)}")
        result: dict[str, Value] = {}
        for f in self.fields:
            if f.secret:
                if f.name in values:
                    f.check(values[f.name])
                continue
            given = values.get(f.name, f.default)
            if given is None:
                if f.required:
                    raise InvalidProvider(f"Provider type {self.type} needs {f.label} ({f.name})")
                continue
            result[f.name] = f.check(given)
        return result

    @property
    def secrets(self) -> tuple[Field, ...]:
        """The fields that are kept in secrets.json, under their upper-case names."""
        return tuple(f for f in self.fields if f.secret)


def openai_base_url(url: str) -> str:
    """Return the root of an OpenAI-compatible API: Hermes answers 404 to everything without ``/v1``."""
    root = names.http_url(url)
    return root if urlsplit(root).path.endswith("/v1") else f"{root}/v1"


def _render_custom(options: Mapping[str, Value], secrets: Mapping[str, Secret]) -> Rendered:
    # `custom` without base_url goes to openrouter.ai, and 0.13 sends whatever key lies around to a custom URL
    # that has none of its own: so the URL is required and a keyless endpoint gets an explicit placeholder.
    key = secrets.get("api_key")
    env: dict[str, Secret | str] = {"HERMES_INFERENCE_PROVIDER": "custom"}
    config: dict[str, Value] = {
        "model.provider": "custom",
        "model.base_url": openai_base_url(str(options["url"])),
        "model.default": str(options["model"]),
        "model.api_key": "no-key-required",
    }
    if key:
        env["CUSTOM_API_KEY"] = key
        config["model.api_key"] = "${CUSTOM_API_KEY}"
    if "context_length" in options:
        config["model.context_length"] = options["context_length"]
    return Rendered(env=env, config=config)


_CUSTOM_FIELDS = (
    Field("url", "API URL", "url", "root of the OpenAI-compatible API, as the agent's host reaches it"),
    Field("model", "Model", "model", "id of the model, as the server's /v1/models lists it"),
    Field("api_key", "API key", "secret", "only when the server asks for one", required=False),
    Field("context_length", "Context length", "integer", "tokens, when the server does not tell", required=False),
)
_MODEL_LEAVES = ("model.provider", "model.base_url", "model.default", "model.api_key", "model.context_length")

_TYPES = (
    ProviderType(
        type="ollama",
        title="Ollama",
        fields=_CUSTOM_FIELDS,
        credential_url="https://docs.ollama.com/api",
        render=_render_custom,
        leaves=_MODEL_LEAVES,
    ),
    ProviderType(
        type="custom",
        title="Any OpenAI-compatible server (vLLM, llama.cpp, LM Studio, ...)",
        fields=_CUSTOM_FIELDS,
        credential_url="https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html",
        render=_render_custom,
        leaves=_MODEL_LEAVES,
    ),
)

#: Every provider type, by name.
CATALOGUE: Mapping[str, ProviderType] = {entry.type: entry for entry in _TYPES}

#: Every leaf of config.yaml that some provider sets, and so that is ours to remove.
LEAVES: tuple[str, ...] = tuple(dict.fromkeys(leaf for entry in _TYPES for leaf in entry.leaves))


def provider_type(name: str) -> ProviderType:
    """Return the declaration of a type, or raise :class:`InvalidProvider` with the types there are."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise InvalidProvider(f"Invalid provider type {name!r}. Valid types: {', '.join(CATALOGUE)}") from None
