"""What we render for each provider, read by each release's resolver: where it arrives, with which key and model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typing_extensions import override

from pyinfra_hermes.deploys.model.declaration import Json, KeyPath
from pyinfra_hermes.deploys.model.providers import CATALOGUE
from pyinfra_hermes.deploys.model.releases import Release
from pyinfra_hermes.deploys.model.render import CannotRender, Files, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec

from .releases import on_every_release, on_releases_with

_KEYS = {"access_key_id": "AKIALABLABLABLAB", "secret_access_key": "lab/secret"}
_BEDROCK = "https://bedrock-runtime.eu-central-1.amazonaws.com"
_CHAT, _CLAUDE, _RESPONSES = "chat_completions", "anthropic_messages", "codex_responses"


@dataclass(frozen=True)
class Case:
    """A provider as it is on record, and where the gateway is to arrive."""

    type: str
    model: str
    base_url: str
    api_mode: str
    options: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=lambda: {"api_key": "lab-key"})


CASES = {
    "openrouter": Case("openrouter", "anthropic/claude-sonnet-4.6", "https://openrouter.ai/api/v1", _CHAT),
    "anthropic": Case("anthropic", "claude-sonnet-4-6", "https://api.anthropic.com", _CLAUDE),
    "anthropic by a gateway": Case(
        "anthropic", "claude-sonnet-4-6", "https://gateway.example/anthropic", _CLAUDE,
        {"url": "https://gateway.example/anthropic/"},
    ),
    "openai": Case("openai", "gpt-5.2", "https://api.openai.com/v1", _RESPONSES),
    "ollama": Case("ollama", "llama3.1:8b", "http://10.0.0.1:11434/v1", _CHAT, {"url": "http://10.0.0.1:11434"}, {}),
    "custom": Case("custom", "org/model@1", "https://h/api/v1", _CHAT, {"url": "https://h/api/v1"}),
    "bedrock, Claude": Case(
        "bedrock", "eu.anthropic.claude-sonnet-4-6-v1:0", _BEDROCK, _CLAUDE, {"region": "eu-central-1"}, _KEYS
    ),
    "bedrock, Nova": Case(
        "bedrock", "amazon.nova-pro-v1:0", _BEDROCK, "bedrock_converse", {"region": "eu-central-1"},
        {**_KEYS, "session_token": "lab-session"},
    ),
    "bedrock, a profile by its ARN": Case(
        "bedrock", "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abcdef", _BEDROCK,
        "bedrock_converse", {"region": "eu-central-1"}, _KEYS,
    ),
    "bedrock, bearer": Case(
        "bedrock", "amazon.nova-pro-v1:0", _BEDROCK, "bedrock_converse", {"region": "eu-central-1"},
        {"bearer_token": "ABSKlab"},
    ),
    "gemini": Case("gemini", "gemini-3-pro-preview", "https://generativelanguage.googleapis.com/v1beta", _CHAT),
    "zai": Case("zai", "glm-5", "https://api.z.ai/api/paas/v4", _CHAT),
    "zai, coding plan": Case(
        "zai", "glm-5", "https://api.z.ai/api/coding/paas/v4", _CHAT, {"url": "https://api.z.ai/api/coding/paas/v4"}
    ),
    "azure": Case(
        "azure", "my-gpt-4o", "https://r.openai.azure.com/openai/v1", _CHAT, {"url": "https://r.openai.azure.com/"}
    ),
    "azure, Claude": Case(
        "azure", "claude-sonnet-4-6", "https://r.services.ai.azure.com/anthropic", _CLAUDE,
        {"url": "https://r.services.ai.azure.com/anthropic"},
    ),
    "azure, as chosen": Case(
        "azure", "my-gpt", "https://r.openai.azure.com/openai/v1", _RESPONSES,
        {"url": "https://r.openai.azure.com", "api_mode": _RESPONSES},
    ),
}  # fmt: skip


def _rendered(case: Case, release: Release) -> Files:
    provider = {"type": case.type, "model": case.model, **case.options}
    spec = AgentSpec.parse({"name": "maurice", "provider": provider, "release": release.tag})
    return render(spec, {"HERMES_API_SERVER_KEY": Secret("0f" * 32), **{k: Secret(v) for k, v in case.secrets.items()}})


def files_of(case: Case, release: Release) -> tuple[str, str]:
    """The two files that decide, as we would put them on a host."""
    files = _rendered(case, release)
    return files.env.reveal(), yaml.safe_dump(_nested(files.leaves))


def _nested(leaves: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    path: KeyPath
    value: Json
    for path, value in leaves.items():
        place = result
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return result


@on_every_release()
def test_every_provider_arrives(in_hermes: Callable[..., Any], release: Release) -> None:
    found = in_hermes("providers", {name: files_of(case, release) for name, case in CASES.items()})
    arrived = {name: (row["base_url"].rstrip("/"), row["api_mode"], row["model"]) for name, row in found.items()}
    assert arrived == {name: (case.base_url, case.api_mode, case.model) for name, case in CASES.items()}
    for name, case in CASES.items():
        key = "aws-sdk" if case.type == "bedrock" else case.secrets.get("api_key", "no-key-required")
        assert found[name]["api_key"] == key, name
        assert found[name]["region"] == case.options.get("region")


@on_every_release()
def test_every_type_has_a_case(release: Release) -> None:
    assert {case.type for case in CASES.values()} == {
        entry.name for entry in CATALOGUE.values() if entry.feature is None or release.has(entry.feature)
    } - {"vertex"}


@on_every_release()
def test_claude_with_a_bearer_token_is_refused_where_it_would_fail(
    in_hermes: Callable[..., Any], release: Release
) -> None:
    # Before 0.19 Hermes takes a library for Claude that wants an access key.
    case = Case(
        "bedrock", "eu.anthropic.claude-sonnet-4-6-v1:0", _BEDROCK, "bedrock_converse", {"region": "eu-central-1"},
        {"bearer_token": "ABSKlab"},
    )  # fmt: skip
    if release.has("bedrock-bearer-claude"):
        assert in_hermes("providers", {"case": files_of(case, release)})["case"]["api_mode"] == "bedrock_converse"
    else:
        with pytest.raises(CannotRender, match="cannot use Claude with a bearer token"):
            files_of(case, release)


class _Tokens(BaseHTTPRequestHandler):
    """Gives everybody the same token, as Google's token endpoint does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "lab-token", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def token_uri() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/token"
    server.shutdown()
    server.server_close()


@on_releases_with("vertex")
@pytest.mark.parametrize(
    ("options", "base_url"),
    [
        ({}, "https://aiplatform.googleapis.com/v1beta1/projects/own-project/locations/global/endpoints/openapi"),
        (
            {"region": "europe-west1", "project_id": "other-project"},
            "https://europe-west1-aiplatform.googleapis.com/v1beta1/projects/other-project/locations/europe-west1/"
            "endpoints/openapi",
        ),
    ],
)
def test_vertex_arrives(
    in_hermes: Callable[..., Any],
    hermes_home: Path,
    release: Release,
    token_uri: str,
    options: dict[str, Any],
    base_url: str,
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "project_id": "own-project", "private_key": key.decode(),
               "client_email": "a@own-project.iam.gserviceaccount.com", "token_uri": token_uri}  # fmt: skip
    case = Case(
        "vertex", "google/gemini-3-pro-preview", base_url, _CHAT, options, {"service_account": json.dumps(account)}
    )
    files = _rendered(case, release)
    folder = hermes_home / "credentials"
    folder.mkdir()
    for name, content in files.credentials.items():
        (folder / name).write_text(content.reveal())
    env = files.env.reveal().replace("/home/maurice/.hermes", str(hermes_home))
    [found] = in_hermes("providers", {"vertex": (env, yaml.safe_dump(_nested(files.leaves)))}).values()
    assert (found["base_url"], found["api_key"]) == (base_url, "lab-token")
    assert (found["model"], found["api_mode"]) == (case.model, _CHAT)
