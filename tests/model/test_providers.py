"""What a provider asks for, and what it puts into ``.env`` and ``config.yaml``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import providers
from pyinfra_hermes.deploys.model.providers import InvalidProvider, openai_base_url
from pyinfra_hermes.deploys.model.secret import Secret

OPTIONS = {"url": "http://10.0.0.1:11434", "model": "llama3"}
TYPES = sorted(providers.CATALOGUE)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h", "http://h/v1"),
        ("http://h/", "http://h/v1"),
        ("http://h/v1", "http://h/v1"),
        ("http://h/v1/", "http://h/v1"),
        ("http://h/v1//", "http://h/v1"),
        ("http://h/api/v1", "http://h/api/v1"),
        ("http://h/v1beta", "http://h/v1beta/v1"),
        ("http://h/xv1", "http://h/xv1/v1"),
        ("http://v1", "http://v1/v1"),
    ],
)
def test_the_base_url_ends_with_v1_once(url: str, base: str) -> None:
    assert openai_base_url(url) == base


@given(st.lists(st.sampled_from(["v1", "api", "", "v1x"]), max_size=4))
def test_a_base_url_stays_itself(parts: list[str]) -> None:
    base = openai_base_url("/".join(["http://h", *parts]))
    assert openai_base_url(base) == base
    assert base.endswith("/v1")


@pytest.mark.parametrize("name", TYPES)
def test_without_a_key_there_is_a_placeholder_and_nothing_in_env(name: str) -> None:
    # 0.13 sends any key that lies around to a custom URL that has none of its own.
    rendered = providers.provider_type(name).render(OPTIONS, {})
    assert rendered.env == {"HERMES_INFERENCE_PROVIDER": "custom"}
    assert rendered.config == {
        "model.provider": "custom",
        "model.base_url": "http://10.0.0.1:11434/v1",
        "model.default": "llama3",
        "model.api_key": "no-key-required",
    }


@pytest.mark.parametrize("name", TYPES)
def test_a_key_lies_in_env_and_config_only_names_it(name: str) -> None:
    rendered = providers.provider_type(name).render({**OPTIONS, "context_length": 8192}, {"api_key": Secret("sk-1")})
    assert rendered.env == {"HERMES_INFERENCE_PROVIDER": "custom", "CUSTOM_API_KEY": Secret("sk-1")}
    assert rendered.config["model.api_key"] == "${CUSTOM_API_KEY}"
    assert rendered.config["model.context_length"] == 8192
    assert "sk-1" not in repr(rendered)


def test_an_empty_key_is_no_key() -> None:
    rendered = providers.provider_type("custom").render(OPTIONS, {"api_key": Secret("")})
    assert "CUSTOM_API_KEY" not in rendered.env
    assert rendered.config["model.api_key"] == "no-key-required"


@pytest.mark.parametrize("name", TYPES)
def test_a_provider_sets_only_leaves_that_it_declares(name: str) -> None:
    # What is not declared would never be removed when the provider changes.
    kind = providers.provider_type(name)
    rendered = kind.render({**OPTIONS, "context_length": 1}, {"api_key": Secret("k")})
    assert set(rendered.config) <= set(kind.leaves) <= set(providers.LEAVES)


@pytest.mark.parametrize("name", TYPES)
def test_the_two_values_that_decide_the_provider_are_equal(name: str) -> None:
    # 0.13 believes .env, 0.19 config.yaml.
    rendered = providers.provider_type(name).render(OPTIONS, {})
    assert rendered.env["HERMES_INFERENCE_PROVIDER"] == rendered.config["model.provider"]


def test_options_are_checked_and_normalised() -> None:
    kind = providers.provider_type("ollama")
    assert kind.options({"url": "http://h/", "model": "m", "context_length": "4096"}) == {
        "url": "http://h",
        "model": "m",
        "context_length": 4096,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Provider type ollama needs API URL (url)"),
        ({"url": "http://h"}, "Provider type ollama needs Model (model)"),
        (
            {**OPTIONS, "region": "x"},
            "Provider type ollama has no field 'region'; it has: url, model, api_key, context_length",
        ),
        ({**OPTIONS, "context_length": "many"}, "Context length: 'many' is not a whole number above 0"),
        ({**OPTIONS, "context_length": -1}, "Context length: -1 is not a whole number above 0"),
        ({**OPTIONS, "api_key": "hunter2"}, "API key is a secret and does not belong among a provider's options"),
        (
            {**OPTIONS, "url": "http://u:hunter2@h"},
            "API URL: URL must not contain a user name or password; give the key as a secret instead",
        ),
    ],
)
def test_a_refusal_names_the_field(options: dict[str, str | int], message: str) -> None:
    with pytest.raises(InvalidProvider) as caught:
        providers.provider_type("ollama").options(options)
    assert str(caught.value) == message


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidProvider, match=r"Invalid provider type 'openai'. Valid types: ollama, custom"):
        providers.provider_type("openai")


@pytest.mark.parametrize("name", TYPES)
def test_a_declaration_is_complete(name: str) -> None:
    kind = providers.CATALOGUE[name]
    assert kind.type == name
    assert kind.credential_url.startswith("https://")
    assert all(field.label and field.help for field in kind.fields)
    assert [field.name for field in kind.secrets] == ["api_key"]
