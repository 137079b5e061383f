"""What a user may add to an agent: nothing that is ours, opens the agent, or is a secret in the open."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import channels, extras, memory, providers
from pyinfra_hermes.deploys.model.extras import InvalidExtra
from pyinfra_hermes.deploys.model.secret import Secret


@pytest.mark.parametrize(
    "name",
    [
        "TZ", "LANG", "LC_ALL", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
        "HERMES_AGENT_TIMEOUT", "HERMES_TIMEZONE", "HERMES_STREAM_RETRIES", "HERMES_MAX_ITERATIONS",
        "HERMES_DISCORD_TEXT_BATCH_DELAY_SECONDS", "DISCORD_HISTORY_LIMIT", "TAVILY_API_KEY", "GITHUB_TOKEN",
        "DEEPSEEK_API_KEY", "SEARXNG_URL", "MY_OWN_TOKEN",
    ],
)  # fmt: skip
def test_what_an_agent_and_its_tools_read_may_be_set(name: str) -> None:
    assert extras.check_variable(name) == name


@pytest.mark.parametrize(
    "name",
    [
        # Ours.
        "API_SERVER_KEY", "API_SERVER_HOST", "API_SERVER_CORS_ORIGINS", "HERMES_API_SERVER_KEY", "HERMES_HOME",
        "HERMES_MANAGED", "HERMES_MANAGED_DIR", "HERMES_INFERENCE_PROVIDER", "HERMES_INFERENCE_MODEL",
        "HERMES_GATEWAY_PLATFORM_CONNECT_TIMEOUT", "HERMES_NIL", "AWS_REGION", "MCP_JIRA__TOKEN", "CUSTOM_API_KEY",
        # What code it runs, and whether it asks.
        "PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHON_X", "SUDO_PASSWORD", "NODE_OPTIONS",
        "HERMES_YOLO_MODE", "HERMES_BUNDLED_PLUGINS", "HERMES_ENABLE_PROJECT_PLUGINS", "HERMES_LAZY_INSTALL_TARGET",
        # Where it listens and who may talk to it.
        "TELEGRAM_WEBHOOK_URL", "IRC_PORT", "SIGNAL_HOST", "MATRIX_ALLOWED_THINGS", "IRC_ALLOW_ALL_USERS",
        "GATEWAY_ALLOW_ALL_USERS", "GATEWAY_PROXY_URL", "WHATSAPP_DM_POLICY", "HERMES_ALLOW_PRIVATE_URLS",
        # Neither.
        "FOO", "OPENAI_BASE_URL", "", "tz", "A-B", "1A", "A\n", "É_API_KEY",
    ],
)  # fmt: skip
def test_what_is_ours_or_opens_the_agent_may_not_be_set(name: str) -> None:
    with pytest.raises(InvalidExtra) as caught:
        extras.check_variable(name)
    assert name.strip() in str(caught.value) or repr(name) in str(caught.value)


def test_no_variable_that_an_entry_sets_may_be_set_beside_it() -> None:
    for catalogue in (providers.CATALOGUE, channels.CATALOGUE, memory.CATALOGUE):
        for entry in catalogue.values():
            for field in entry.fields:
                for name in (field.variable, field.key if field.secret and field.variable else None):
                    if name:
                        with pytest.raises(InvalidExtra):
                            extras.check_variable(name)


@pytest.mark.parametrize(
    ("name", "secret"),
    [("TAVILY_API_KEY", True), ("FAL_KEY", True), ("MY_OWN_TOKEN", True), ("X_PASSWORD", True), ("X_SECRET", True),
     ("TZ", False), ("HTTPS_PROXY", False), ("HERMES_AGENT_TIMEOUT", False), ("SEARXNG_URL", False)],
)  # fmt: skip
def test_a_name_tells_whether_its_value_is_secret(name: str, secret: bool) -> None:
    assert extras.is_credential(name) is secret


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("agent.max_turns", ("agent", "max_turns")),
        ('["custom", "a.b"]', ("custom", "a.b")),
        ("display.é x", ("display", "é x")),
    ],
)
def test_a_path_is_read_and_written_the_same(text: str, path: tuple[str, ...]) -> None:
    assert extras.check_path(text) == path
    assert extras.path_text(path) == text
    assert extras.check_path(extras.path_text(path)) == path


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=4).map(tuple))
def test_any_path_that_is_taken_comes_back(path: tuple[str, ...]) -> None:
    try:
        checked = extras.check_path(extras.path_text(path))
    except InvalidExtra:
        return
    assert checked == path


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", "a..b", "[]", "[1]", "[", '{"a": 1}x\n', "model", "model.default", "mcp_servers.jira",
     "mcp_servers", "platforms.api_server.extra.host", "gateway", "gateway.platforms.x",
     "memory", "memory.provider",
     "bedrock.region", '["model", "x"]'],
)  # fmt: skip
def test_a_path_that_is_ours_or_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidExtra):
        extras.check_path(text)


def test_no_leaf_that_a_provider_sets_may_be_set_nor_what_holds_it() -> None:
    for leaf in providers.LEAVES:
        for path in (leaf, leaf[:1], (*leaf, "below")):
            with pytest.raises(InvalidExtra):
                extras.check_path(extras.path_text(path))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("display", "x", "turns single values at the top"),
        ("gateway.host", "0.0.0.0", "where the daemon listens"),
        ("gateway.api_server", {"port": 1}, "where the daemon listens"),
        ("discord", {"allowed_users": ["*"]}, "who may do what"),
        ("slack.dm_policy", "open", "who may do what"),
        ("custom_providers", [{"name": "x", "api_key": "sk-hunter2"}], "looks like a secret"),
        ("web.token", "hunter2", "looks like a secret"),
        ("web.token", "hunter2 ${X}", "looks like a secret"),
        ("custom.list", ["--x=sk-hunter2hunter2"], "looks like a secret"),
        ("web.headers", {"Authorization": "Basic hunter2"}, "looks like a secret"),
        ("web.headers", {"X-Api-Key": "hunter2"}, "looks like a secret"),
        ("web.proxy", "http://me:hunter2@proxy:3128", "looks like a secret"),
        ("agent.x", float("inf"), "not a finite number"),
    ],
)
def test_a_leaf_that_opens_the_agent_or_is_a_secret_is_refused(path: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidExtra, match=reason) as caught:
        extras.check_leaf(extras.check_path(path), value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("agent.max_turns", 50),
        ("web.token", "${TAVILY_API_KEY}"),
        ("web.headers", {"Authorization": "Bearer ${X_TOKEN}", "secret": "Bearer ${X_TOKEN}"}),
        ("gateway.api_server.max_concurrent_runs", 0),
        ("memory.memory_char_limit", 3000),
        ("display", {}),
    ],
)
def test_other_leaves_are_taken(path: str, value: Any) -> None:
    assert extras.check_leaf(extras.check_path(path), value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("50", 50), ("1.5", 1.5), ("true", True), ("off", False), ('"off"', "off"), ("'off'", "off"), ("null", None),
     ("text with words", "text with words"), ('{"a": [1, null]}', {"a": [1, None]}), ("[]", []), ("~", None)],
)  # fmt: skip
def test_a_value_is_json_or_a_single_value_of_yaml(text: str, value: Any) -> None:
    found = extras.parse_value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["2026-11-22", "a: b", "- a", "'", "*a", "!!python/name:os.system", "{a: 1}"])
def test_a_value_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InvalidExtra):
        extras.parse_value(text)


@given(st.text())
def test_any_text_is_a_plain_value_or_refused(text: str) -> None:
    try:
        value = extras.parse_value(text)
    except InvalidExtra:
        return
    assert yaml.safe_dump(value)


def test_what_is_added_is_rendered_and_checked_as_a_whole() -> None:
    rendered = extras.render(
        {"TZ": "Europe/Berlin"}, ("TAVILY_API_KEY",), {"agent.max_turns": 5}, {"TAVILY_API_KEY": Secret("s")}
    )
    assert rendered.env == {"TZ": "Europe/Berlin", "TAVILY_API_KEY": Secret("s")}
    assert rendered.config == {("agent", "max_turns"): 5}


@pytest.mark.parametrize(
    ("environment", "secret", "config"),
    [
        ({"API_SERVER_HOST": "0.0.0.0"}, (), {}),
        ({"TZ": "a\0b"}, (), {}),
        ({"HTTPS_PROXY": "http://me:hunter2@proxy:3128"}, (), {}),
        ({"HERMES_AGENT_X": "sk-hunter2hunter2"}, (), {}),
        ({"X_TOKEN": "a"}, ("X_TOKEN",), {}),
        ({}, ("MISSING_TOKEN",), {}),
        ({}, (), {"a.b": 1, '["a", "b"]': 2}),
        ({}, (), {"a.b": {}, "a.b.c": 2}),
        ({}, (), {"model.default": "x"}),
    ],
)
def test_what_cannot_be_added_is_refused(environment: Any, secret: Any, config: Any) -> None:
    with pytest.raises(InvalidExtra, match=r"^(?!.*hunter2)"):
        extras.render(environment, secret, config, {"X_TOKEN": Secret("hunter2")})
