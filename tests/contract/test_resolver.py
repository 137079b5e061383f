"""What we render, read by the real gateway: it arrives at our provider, URL, key and model, and at no other key."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.deploys.model.releases import Release
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.operations.files import config_request

from .releases import on_every_release

WRITE = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text()
KEY = "0f" * 32


@pytest.fixture
def gateway(
    in_hermes: Callable[..., Any], hermes_python: Path, hermes_home: Path, release: Release
) -> Callable[..., Any]:
    """Put what we render for a provider where the gateway looks, in the way it comes there, and ask the gateway."""

    def ask(secrets: dict[str, str] | None = None, port: int = 8642, **provider: Any) -> Any:
        spec = AgentSpec.parse({"name": "maurice", "port": port, "provider": provider, "release": release.tag})
        files = render(
            spec, {"HERMES_API_SERVER_KEY": Secret(KEY)} | {k: Secret(v) for k, v in (secrets or {}).items()}
        )
        (hermes_home / ".env").write_text(files.env.reveal(), encoding="utf-8")
        wanted = config_request(str(hermes_home / "config.yaml"), files.leaves, files.absent_leaves)
        subprocess.run([str(hermes_python), "-I", "-c", WRITE], input=wanted, text=True, check=True)
        found = in_hermes("resolve", ["CUSTOM_API_KEY", "OPENAI_API_KEY"])
        assert (hermes_home / ".env").read_text(encoding="utf-8") == files.env.reveal()
        return found

    return ask


@on_every_release()
def test_a_keyless_server_gets_a_placeholder(gateway: Callable[..., Any]) -> None:
    found = gateway(type="ollama", url="http://10.0.0.1:11434/", model="llama3.1:8b")
    assert (found["provider"], found["base_url"]) == ("custom", "http://10.0.0.1:11434/v1")
    assert (found["model"], found["api_key"]) == ("llama3.1:8b", "no-key-required")
    assert found["environment"] == {"CUSTOM_API_KEY": None, "OPENAI_API_KEY": None}


@on_every_release()
def test_a_key_of_odd_characters_arrives_at_every_release(gateway: Callable[..., Any]) -> None:
    key = """ q"u'o\\te #1 $HOME${HOME}== """.strip()
    assert gateway({"api_key": key}, type="custom", url="https://h/api", model="on")["api_key"] == key


@pytest.mark.parametrize(
    "key", ["sk-1", "sk-proj_A.b/c+d==", "with space #1", "q\"u'o\\te", "$HOME${HOME}", "x" * 4000]
)
def test_a_key_arrives_unchanged(gateway: Callable[..., Any], key: str) -> None:
    found = gateway({"api_key": key}, type="custom", url="https://h/api/v1", model="org/model@1")
    assert (found["provider"], found["base_url"]) == ("custom", "https://h/api/v1")
    assert (found["model"], found["api_key"]) == ("org/model@1", key)


@on_every_release()
def test_the_api_server_has_our_port_and_key(gateway: Callable[..., Any]) -> None:
    found = gateway(port=9001, type="ollama", url="http://h", model="m")
    assert found["api_enabled"] is True
    assert found["api"] == {"host": "127.0.0.1", "port": 9001, "key": KEY}


@pytest.mark.parametrize("model", ["on", "no", "1e3", "0x10", "12:30", "1_000", "2026-11-22", "3.10"])
def test_a_models_id_stays_text(gateway: Callable[..., Any], model: str) -> None:
    assert gateway(type="ollama", url="http://h", model=model)["model"] == model


@pytest.mark.parametrize("url", ["http://[::1]:8000", "http://h/a%20b", "http://h/~a/(b);c=d,e", "http://h:80/$HOME"])
def test_a_url_arrives_unchanged(gateway: Callable[..., Any], url: str) -> None:
    assert gateway(type="custom", url=url, model="m")["base_url"] == f"{url}/v1"


@on_every_release()
def test_a_provider_that_changes_leaves_nothing_of_the_last_one(gateway: Callable[..., Any]) -> None:
    gateway({"api_key": "sk-old"}, type="custom", url="http://old", model="old", context_length=65536)
    found = gateway(type="ollama", url="http://new", model="new")
    assert (found["base_url"], found["model"], found["api_key"]) == ("http://new/v1", "new", "no-key-required")
