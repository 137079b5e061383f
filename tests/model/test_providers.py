"""What a provider asks for, and what it puts into ``.env`` and ``config.yaml``."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import providers
from pyinfra_hermes.deploys.model.adapters import ADAPTERS, Adapter
from pyinfra_hermes.deploys.model.declaration import InvalidSetting
from pyinfra_hermes.deploys.model.probing import Moment
from pyinfra_hermes.deploys.model.providers import InvalidProvider
from pyinfra_hermes.deploys.model.providers.custom import openai_base_url
from pyinfra_hermes.deploys.model.secret import Secret

OPTIONS = {"url": "http://10.0.0.1:11434", "model": "llama3"}
ADAPTER = ADAPTERS["0.13"]
#: The parts of a service account's key that count; nothing can be signed with this one.
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "lab-project",
        "private_key": "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        "client_email": "agent@lab-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
)
Plain = dict[str, str | int]
REGION: Plain = {"region": "eu-central-1", "model": "amazon.nova-pro-v1:0"}
SAMPLES: list[tuple[str, Plain, dict[str, str]]] = [
    ("openrouter", {"model": "a/b"}, {"api_key": "sk-or-1"}),
    ("anthropic", {"model": "claude-sonnet-4-6"}, {"api_key": "sk-ant-1"}),
    ("anthropic", {"model": "claude-sonnet-4-6", "url": "https://gateway.example"}, {"api_key": "sk-1"}),
    ("openai", {"model": "gpt-5.2"}, {"api_key": "sk-1"}),
    ("ollama", {**OPTIONS, "context_length": 64000}, {}),
    ("custom", {**OPTIONS, "context_length": 64000}, {"api_key": "hunter2"}),
    ("bedrock", REGION, {"access_key_id": "AKIALABLABLABLAB", "secret_access_key": "hunter2"}),
    (
        "bedrock",
        {**REGION, "model": "us.anthropic.claude-sonnet-4-6"},
        {"access_key_id": "ASIALABLABLABLAB", "secret_access_key": "hunter2", "session_token": "hunter3"},
    ),
    ("bedrock", REGION, {"bearer_token": "hunter2"}),
    ("gemini", {"model": "gemini-3-pro-preview"}, {"api_key": "AIzaLab"}),
    ("vertex", {"model": "google/gemini-3-pro-preview", "project_id": "lab-project"}, {"service_account": ACCOUNT}),
    ("zai", {"model": "glm-5"}, {"api_key": "hunter2"}),
    ("zai", {"model": "glm-5", "url": "https://open.bigmodel.cn/api/paas/v4"}, {"api_key": "hunter2"}),
    ("azure", {"model": "d", "url": "https://r.openai.azure.com"}, {"api_key": "hunter2"}),
    ("azure", {"model": "d", "url": "https://r.services.ai.azure.com/anthropic"}, {"api_key": "hunter2"}),
    (
        "azure",
        {"model": "d", "url": "https://r.openai.azure.com", "api_mode": "codex_responses"},
        {"api_key": "hunter2"},
    ),
]


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


@pytest.mark.parametrize("name", ["ollama", "custom"])
def test_without_a_key_there_is_a_placeholder_and_nothing_in_env(name: str) -> None:
    # 0.13 sends any key that lies around to a custom URL that has none of its own.
    rendered = providers.provider_type(name).render(OPTIONS, {}, ADAPTER)
    assert rendered.env == {"HERMES_INFERENCE_PROVIDER": "custom"}
    assert rendered.config == {
        ("model", "provider"): "custom",
        ("model", "base_url"): "http://10.0.0.1:11434/v1",
        ("model", "default"): "llama3",
        ("model", "api_key"): "no-key-required",
    }


@pytest.mark.parametrize("name", ["ollama", "custom"])
def test_a_key_lies_in_env_and_config_only_names_it(name: str) -> None:
    kind = providers.provider_type(name)
    rendered = kind.render({**OPTIONS, "context_length": 131072}, {"api_key": Secret("sk-1")}, ADAPTER)
    assert rendered.env == {"HERMES_INFERENCE_PROVIDER": "custom", "CUSTOM_API_KEY": Secret("sk-1")}
    assert rendered.config["model", "api_key"] == "${CUSTOM_API_KEY}"
    assert rendered.config["model", "context_length"] == 131072
    assert "sk-1" not in repr(rendered)


def test_an_empty_key_is_no_key() -> None:
    rendered = providers.provider_type("custom").render(OPTIONS, {"api_key": Secret("")}, ADAPTER)
    assert "CUSTOM_API_KEY" not in rendered.env
    assert rendered.config["model", "api_key"] == "no-key-required"


@pytest.mark.parametrize("case", SAMPLES)
@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=lambda adapter: adapter.name)
def test_what_every_provider_renders(case: tuple[str, Plain, dict[str, str]], adapter: Adapter) -> None:
    name, given, secrets = case
    kind = providers.provider_type(name)
    if kind.feature is not None and not adapter.has(kind.feature):
        return
    options = kind.options(given)
    kind.check_complete(options, secrets)
    rendered = kind.render(options, {key: Secret(value) for key, value in secrets.items()}, adapter)
    # 0.13 believes .env, 0.19 config.yaml.
    assert rendered.env["HERMES_INFERENCE_PROVIDER"] == rendered.config["model", "provider"]
    assert rendered.config["model", "default"] == given["model"]
    # What is not declared would never be removed when the provider changes.
    assert set(rendered.config) <= set(kind.leaves) <= set(providers.LEAVES)
    # Every key reaches the daemon, and none of them by config.yaml.
    carried = [*rendered.env.values(), *(file.content for file in rendered.files.values())]
    assert {Secret(value) for value in secrets.values()} <= {each for each in carried if isinstance(each, Secret)}
    assert not any(value in str(rendered.config) + repr(rendered) for value in secrets.values())


@pytest.mark.parametrize("case", SAMPLES)
def test_a_probe_says_nothing_secret_but_in_headers(case: tuple[str, Plain, dict[str, str]]) -> None:
    name, given, secrets = case
    kind = providers.provider_type(name)
    options, known = kind.options(given), {key: Secret(value) for key, value in secrets.items()}
    at = Moment(1_795_381_200, "20261122T210000Z")
    for ask in (kind.probe.ask, kind.probe.models):
        for request in () if ask is None else ask(options, known, at):
            shown = f"{request.url} {request.body} {request!r}"
            assert not any(value in shown for value in secrets.values())
            assert request.url.startswith("http")
    sent = [
        value for request in kind.probe.ask(options, known, at) for value in (request.body, *request.headers.values())
    ]
    assert any(isinstance(value, Secret) for value in sent) == bool(secrets)


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        (
            "openai",
            "api_key",
            "sk-ant-api03-hunter2",
            "this is a key of Anthropic, not of OpenAI: it begins with sk-ant-",
        ),
        ("anthropic", "api_key", "sk-or-v1-hunter2", "this is a key of OpenRouter"),
        ("openrouter", "api_key", "sk-or-v1 hunter2", "contains a space, a line end or a control character"),
        ("gemini", "api_key", "  ", "is empty"),
        ("bedrock", "access_key_id", "hunter2", "is no access key id"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_and_not_repeated(name: str, field: str, value: str, message: str) -> None:
    [found] = [f for f in providers.provider_type(name).secrets if f.name == field]
    with pytest.raises(InvalidSetting, match=message) as caught:
        found.check_secret(Secret(value))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hunter2", "is not JSON"),
        ("[]", "is not the key of a service account"),
        ('{"type": "authorized_user", "refresh_token": "hunter2"}', "is not the key of a service account"),
        ('{"type": "service_account", "private_key": "hunter2"}', "lacks project_id, client_email, token_uri"),
        (ACCOUNT.replace("BEGIN PRIVATE", "BEGIN"), "has a private_key that is not PEM"),
        (ACCOUNT.replace("https://oauth2", "http://oauth2"), "has a token_uri that is not https"),
    ],
)
def test_the_key_of_a_service_account_is_checked(text: str, message: str) -> None:
    [field] = providers.provider_type("vertex").secrets
    with pytest.raises(InvalidSetting, match=message) as caught:
        field.check_secret(Secret(text))
    assert "hunter2" not in str(caught.value)
    assert json.loads(field.check_secret(Secret(ACCOUNT.replace(", ", ",\n"))).reveal()) == json.loads(ACCOUNT)


def test_space_around_a_key_is_dropped() -> None:
    assert providers.provider_type("openai").secrets[0].check_secret(Secret(" sk-1\n")) == Secret("sk-1")


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ((), "lacks its credentials"),
        (("access_key_id",), "lacks its credentials"),
        (("bearer_token", "access_key_id"), "not both"),
        (("bearer_token", "session_token"), "not both"),
        (("session_token", "access_key_id"), "a session token belongs to"),
    ],
)
def test_the_credentials_of_bedrock_go_together(secrets: tuple[str, ...], message: str) -> None:
    kind = providers.provider_type("bedrock")
    with pytest.raises(InvalidSetting, match=message):
        kind.check_complete({"region": "eu-central-1", "model": "m"}, secrets)


@pytest.mark.parametrize("region", ["eu", "eu-central", "EU-central-1", "eu-central-1\n", "eu-central-1/x", ""])
def test_a_region_is_checked(region: str) -> None:
    with pytest.raises(InvalidSetting, match=r"Region: .* is not a region of AWS"):
        providers.provider_type("bedrock").options({"region": region, "model": "m"})


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1"),
        ("https://r.services.ai.azure.com/anthropic", "https://r.services.ai.azure.com/anthropic"),
        ("https://gateway.example", "https://gateway.example"),
    ],
)
def test_a_resource_of_azure_is_completed(url: str, base: str) -> None:
    assert providers.provider_type("azure").options({"url": url, "model": "m"})["url"] == base


def test_options_are_checked_and_normalised() -> None:
    kind = providers.provider_type("ollama")
    assert kind.options({"url": "http://h/", "model": "m", "context_length": "65536"}) == {
        "url": "http://h",
        "model": "m",
        "context_length": 65536,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Provider type ollama needs API URL (url)"),
        ({"url": "http://h"}, "Provider type ollama needs Model (model)"),
        (
            {**OPTIONS, "region": "x"},
            "Provider type ollama has no field 'region'; it has: url, model, context_length",
        ),
        ({**OPTIONS, "context_length": "many"}, "Context length: 'many' is not a whole number of at least 64000"),
        ({**OPTIONS, "context_length": -1}, "Context length: -1 is not a whole number of at least 64000"),
        ({**OPTIONS, "api_key": "hunter2"}, "API key is a secret and does not belong among the settings"),
        (
            {**OPTIONS, "url": "http://u:hunter2@h"},
            "API URL: URL must not contain a user name or password; give the key as a secret instead",
        ),
    ],
)
def test_a_refusal_names_the_field(options: dict[str, str | int], message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        providers.provider_type("ollama").options(options)
    assert str(caught.value) == message


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidProvider, match=r"Invalid provider type 'vllm'. Valid types: openrouter, anthropic"):
        providers.provider_type("vllm")


@pytest.mark.parametrize("name", providers.CATALOGUE)
def test_a_declaration_is_complete(name: str) -> None:
    kind = providers.CATALOGUE[name]
    assert kind.name == name
    assert kind.credential_url.startswith("https://")
    assert all(field.label and field.help for field in kind.fields)
    assert name in {case[0] for case in SAMPLES}
    assert "model" in [field.name for field in kind.fields]
