"""What we render for integrations and memory backends, read by the real gateway of each release."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys.model.integrations import TOOLSETS, texts
from pyinfra_hermes.deploys.model.memory import CATALOGUE, InvalidMemory
from pyinfra_hermes.deploys.model.releases import Release
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.operations.files import config_request

from . import values
from .releases import on_every_release

WRITE = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text()
KEY = "0f" * 32


TOKENS = '{"access_token": "at-4711", "token_type": "bearer", "refresh_token": "rt-0815", "expires_at": 9e9}'
CLIENT = '{"client_id": "c", "redirect_uris": ["http://127.0.0.1:1/callback"]}'


def carried(value: str) -> bool:
    """Tell whether a value is one that clm takes for an argument, and python-dotenv can carry."""
    return bool(value) and value.isprintable() and "\ufeff" not in value


NASTY = [
    *("$x", "${", "}", "${HOME}", "${HOME", "$${HOME}", "${${HOME}}", "${env:HOME}", "${UNDEFINED_X}", "$(id)", "`id`"),
    *(
        "${HOME}${HOME}",
        "${MCP_ODD___DOLLAR}",
        "${MCP_ODD___DOLLAR_DOLLAR}{HOME}",
        "- x",
        "yes",
        "1e3",
        "a: b",
        "'\"\\",
    ),
    *filter(carried, values.draw(4711, 150, values.UNICODE)),
]
OPEN = [value for value in NASTY if not texts.is_credential(value)]
ASCII = [value for value in NASTY if value.isascii() and value == value.strip()]

#: Credentials and settings with which a backend can be used.
BACKENDS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "holographic": ({}, {}),
    "honcho": ({}, {"api_key": "k"}),
    "openviking": ({"url": "http://10.0.0.1:1933"}, {}),
    "hindsight": ({}, {"api_key": "k"}),
    "retaindb": ({}, {"api_key": "k"}),
    "byterover": ({}, {"api_key": "k"}),
    "supermemory": ({}, {"api_key": "k"}),
}


def usable(release: Release) -> dict[str, dict[str, str]]:
    """The backends of a release with the variables that we render for them."""
    found = {}
    for name, (options, secrets) in BACKENDS.items():
        backend = CATALOGUE[name]
        try:
            backend.check_release(release)
        except InvalidMemory:
            continue
        checked, known = backend.options(options), {k: Secret(v) for k, v in secrets.items()}
        backend.check_complete(checked, known)
        env = backend.render(checked, known).env
        found[name] = {k: v.reveal() if isinstance(v, Secret) else v for k, v in env.items()}
    return found


@on_every_release()
def test_servers_arrive_as_they_were_given(
    release: Release, in_hermes: Callable[..., Any], hermes_python: Path, hermes_home: Path
) -> None:
    assert set(BACKENDS) == set(CATALOGUE)
    names = [f"S{n}" for n in range(len(NASTY))]
    headers = [f"X-H{n}" for n in range(len(ASCII))]
    spec = AgentSpec.parse(
        {
            "name": "maurice",
            "release": release.tag,
            "provider": {"type": "ollama", "url": "http://h", "model": "m"},
            "memory": {"type": "holographic", "temporal_decay_half_life": 30},
            "integrations": [
                {
                    "name": "odd", "type": "mcp-stdio", "command": "/opt/a b/${HOME}/run", "args": OPEN,
                    "env": {f"P{n}": value for n, value in enumerate(OPEN)}, "secret_env": names, "timeout": 7,
                    "exclude": ["x"], "sampling": False,
                },
                {
                    "name": "Web-1", "type": "mcp-http", "url": "https://h/mcp/?a=b", "secret_headers": headers,
                    "transport": "sse", "ssl_verify": False, "resources": False,
                },
                {
                    "name": "wolf", "type": "atlassian", "url": "https://wolf.atlassian.net/wiki/", "username": "a@b.c",
                    "projects": ["A", "B"], "spaces": ["S"], "read_only": True, "enabled_tools": ["jira_search"],
                },
                {"name": "Sign_In-", "type": "mcp-http", "url": "https://h/mcp"},
                {"name": "a_", "type": "mcp-http", "url": "https://h/mcp"},
                {"name": "fox", "type": "atlassian", "url": "https://jira.fox/x/", "confluence_url": "https://wiki.fox"},
            ],
        }
    )  # fmt: skip
    secrets = {
        "HERMES_API_SERVER_KEY": Secret(KEY),
        **{f"odd.{name}": Secret(value) for name, value in zip(names, NASTY, strict=True)},
        **{f"Web-1.{name}": Secret(value) for name, value in zip(headers, ASCII, strict=True)},
        **{f"{name}.oauth_tokens": Secret(TOKENS) for name in ("Sign_In-", "a_")},
        **{f"{name}.oauth_client": Secret(CLIENT) for name in ("Sign_In-", "a_")},
        "Web-1.bearer_token": Secret("t${HOME}k"),
        "wolf.api_token": Secret("wolfs"),
        "fox.personal_token": Secret("foxes"),
    }
    files = render(spec, secrets)
    (hermes_home / ".env").write_text(files.env.reveal(), encoding="utf-8")
    wanted = config_request(str(hermes_home / "config.yaml"), files.leaves, files.absent_leaves)
    subprocess.run([str(hermes_python), "-I", "-c", WRITE], input=wanted, text=True, check=True)

    (hermes_home / "mcp-tokens").mkdir()
    for name, seed in files.seeds.items():
        (hermes_home / "mcp-tokens" / name).write_text(seed.content.reveal(), encoding="utf-8")

    memory = usable(release)
    found = in_hermes("integrations", {"memory": memory})

    assert set(found["oauth"]) == {"Sign_In-", "a_"}
    for signed_in in found["oauth"].values():
        assert signed_in == {"tokens": ["at-4711", "Bearer", "rt-0815"], "client": "c", "renewable": True}

    odd = found["servers"]["odd"]
    assert odd["command"] == "/opt/a b/${HOME}/run"
    assert odd["args"] == OPEN
    plain = {f"P{n}": value for n, value in enumerate(OPEN)}
    assert odd["env"] == plain | dict(zip(names, NASTY, strict=True))
    assert (odd["timeout"], odd["tools"], odd["sampling"]) == (7, {"exclude": ["x"]}, {"enabled": False})

    web = found["servers"]["Web-1"]
    assert web.pop("headers") == dict(zip(headers, ASCII, strict=True)) | {"Authorization": "Bearer t${HOME}k"}
    assert web == {
        "url": "https://h/mcp/?a=b", "transport": "sse", "ssl_verify": False, "tools": {"resources": False},
    }  # fmt: skip

    assert found["servers"]["wolf"]["env"] == {
        "JIRA_URL": "https://wolf.atlassian.net", "JIRA_USERNAME": "a@b.c", "JIRA_API_TOKEN": "wolfs",
        "CONFLUENCE_URL": "https://wolf.atlassian.net/wiki", "CONFLUENCE_USERNAME": "a@b.c",
        "CONFLUENCE_API_TOKEN": "wolfs", "JIRA_PROJECTS_FILTER": "A,B", "CONFLUENCE_SPACES_FILTER": "S",
        "ENABLED_TOOLS": "jira_search", "READ_ONLY_MODE": "true",
    }  # fmt: skip
    assert found["servers"]["fox"]["env"] == {
        "JIRA_URL": "https://jira.fox/x", "JIRA_PERSONAL_TOKEN": "foxes",
        "CONFLUENCE_URL": "https://wiki.fox", "CONFLUENCE_PERSONAL_TOKEN": "foxes",
    }  # fmt: skip
    assert found["prefixes"] == {name: texts.slug(name) for name in found["servers"]}

    assert [name for name in found["toolsets"] if name not in TOOLSETS and not name.startswith("hermes-")] == []

    assert found["memory_provider"] == "holographic"
    # ByteRover wants its program, which this machine lacks: it must only be asked for.
    assert found["memory"] == {name: name != "byterover" for name in memory}
