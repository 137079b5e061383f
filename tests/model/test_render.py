"""From a specification and its secrets to the files of an agent."""

from __future__ import annotations

from typing import Any

import pytest

from pyinfra_hermes.deploys.model import channels, providers
from pyinfra_hermes.deploys.model.channels import InvalidChannel
from pyinfra_hermes.deploys.model.declaration import Target
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.render import CannotRender, Files, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec

KEY = "0f" * 32
TARGET = Target(adapter=manifest().release().adapter, port=8642)
PROVIDER = {"type": "custom", "url": "http://h:8000", "model": "m"}


def rendered(secrets: dict[str, Secret] | None = None, **fields: Any) -> Files:
    spec = AgentSpec.parse({"name": "maurice", "provider": PROVIDER, **fields})
    return render(spec, {"HERMES_API_SERVER_KEY": Secret(KEY), **(secrets or {})})


def assignments(files: Files) -> list[str]:
    return [line for line in files.env.reveal().splitlines() if not line.startswith("#")]


def test_env_of_a_keyless_provider() -> None:
    assert assignments(rendered(port=9000)) == [
        "HERMES_INFERENCE_PROVIDER=custom",
        "API_SERVER_ENABLED=1",
        "API_SERVER_HOST=127.0.0.1",
        "API_SERVER_PORT=9000",
        f"API_SERVER_KEY={KEY}",
    ]


def test_only_the_active_providers_key_is_rendered() -> None:
    files = rendered({"api_key": Secret("sk-1"), "OPENAI_API_KEY": Secret("sk-2"), "other": Secret("sk-3")})
    assert "CUSTOM_API_KEY=sk-1" in assignments(files)
    assert "sk-2" not in files.env.reveal()
    assert "sk-3" not in files.env.reveal()


def test_no_secret_is_outside_env() -> None:
    files = rendered({"api_key": Secret("sk-1")})
    elsewhere = repr(files) + str(files.leaves) + files.service + files.slice
    assert "sk-1" not in elsewhere
    assert KEY not in elsewhere


def test_a_file_of_credentials_is_told_where_it_lies() -> None:
    provider = {"type": "vertex", "model": "google/gemini-3-pro-preview"}
    files = rendered({"service_account": Secret("{}")}, provider=provider, release="v2026.7.20")
    assert files.credentials == {"vertex.json": Secret("{}")}
    assert "VERTEX_CREDENTIALS_PATH=/home/maurice/.hermes/credentials/vertex.json" in assignments(files)
    assert rendered().credentials == {}


def test_leaves_that_are_not_set_are_removed() -> None:
    files = rendered()
    assert set(files.absent_leaves) == set(providers.LEAVES) - set(files.leaves)
    assert ("model", "context_length") in files.absent_leaves
    assert not set(files.leaves) & set(files.absent_leaves)
    with_length = rendered(provider={**PROVIDER, "context_length": 64000})
    assert ("model", "context_length") not in with_length.absent_leaves


def test_every_file_is_that_of_the_agent() -> None:
    files = rendered()
    assert files.paths.env == "/home/maurice/.hermes/.env"
    assert f"/home/maurice/.hermes/releases/{files.release_id}/venv/bin/hermes" in files.service
    assert f"/opt/pyinfra-hermes/releases/{files.release.id}/" in rendered(method="wheel").service
    assert "User=maurice" in files.service
    assert files.env.reveal().startswith("# Managed by pyinfra-hermes: ")


def test_the_same_input_renders_the_same_bytes() -> None:
    assert rendered() == rendered()


def test_an_agent_without_a_provider_cannot_be_rendered() -> None:
    with pytest.raises(CannotRender, match=r"Agent maurice has no provider. Run 'clm agent configure maurice' first."):
        rendered(provider=None)


@pytest.mark.parametrize("key", ["", "0F" * 32, "0f" * 31, "0f" * 32 + "\n", "hunter2"])
def test_a_key_of_the_wrong_shape_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(CannotRender) as caught:
        rendered({"HERMES_API_SERVER_KEY": Secret(key)})
    assert str(caught.value) == (
        "Agent maurice: HERMES_API_SERVER_KEY is missing or is not 64 lowercase hexadecimal digits"
    )


def test_a_missing_key_is_refused() -> None:
    spec = AgentSpec.parse({"name": "maurice", "provider": PROVIDER})
    with pytest.raises(CannotRender, match="HERMES_API_SERVER_KEY is missing"):
        render(spec, {})


@pytest.mark.parametrize("key", ["sk-\u200bhunter2", "sk-hunter2\r", "sk-hunter2\0", "\x1bhunter2"])
def test_a_provider_key_that_would_not_arrive_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(CannotRender, match="CUSTOM_API_KEY contains") as caught:
        rendered({"api_key": Secret(key)})
    assert "hunter2" not in str(caught.value)


def test_the_api_channel_listens_on_loopback_only() -> None:
    api = channels.CATALOGUE["api"].render({}, {"key": Secret(KEY)}, TARGET)
    assert api.env["API_SERVER_HOST"] == "127.0.0.1"
    assert api.env["API_SERVER_KEY"] == Secret(KEY)
    with pytest.raises(InvalidChannel):
        channels.CATALOGUE["api"].render({}, {}, TARGET)


def test_every_channel_is_declared_under_its_name_with_the_secrets_that_it_reads() -> None:
    for name, channel in channels.CATALOGUE.items():
        assert channel.name == name
        assert channel.title
        channel.render({}, {field.name: Secret(KEY) for field in channel.secrets}, TARGET)
