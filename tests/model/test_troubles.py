"""The catalogue of troubles: each entry with a line as a journal has it, and what a later line takes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.troubles import CATALOGUE, diagnose

HEAD = "2026-11-22T23:29:30+0000 wolf-i hermes[681]: "
SYSTEMD = "2026-11-22T23:29:30+0000 wolf-i systemd[1]: "
_DISCORD = "ERROR gateway.platforms.discord: [Discord] Failed to connect to Discord: "
#: Lines seen on hosts of the lab, or as the wheels' own format strings make them.
LINES = {
    "key-refused": HEAD
    + "ERROR root: Non-retryable client error: Error code: 401 - {'error': {'message': 'Incorrect API key provided'}}",
    "unpaid": HEAD
    + "ERROR root: API call failed after 3 retries. HTTP 402: Insufficient credits | provider=openrouter",
    "forbidden": HEAD + "ERROR root: Non-retryable client error: Error code: 403 - {'error': 'no access to model'}",
    "no-model": HEAD + "ERROR root: Non-retryable client error: Error code: 404 - {'error': \"model 'x' not found\"}",
    "limited": HEAD
    + "ERROR root: API call failed after 3 retries. HTTP 429: Rate limit reached | provider=zai model=glm",
    "upstream-broken": HEAD
    + "ERROR root: API call failed after 3 retries. HTTP 503: overloaded | provider=custom model=m",
    "upstream-unreachable": HEAD
    + "ERROR root: API call failed after 1 retries. Connection error. | provider=custom model=m msgs=2 tokens=~814",
    "model-failed": HEAD
    + "ERROR root: API call failed after 3 retries. Something new. | provider=custom model=m msgs=2",
    "unknown-provider": HEAD
    + "ERROR gateway.run: Unknown provider 'openai'. Check 'hermes model' for available providers",
    "no-provider": HEAD + "RuntimeError: No LLM provider configured. Run `hermes model` to select a provider",
    "ast-recursion": HEAD + "SystemError: AST constructor recursion depth mismatch (before=63, after=60)",
    "guard": HEAD + "/home/m/.hermes/.env must have exactly one valid API_SERVER_KEY line; run: clm agent configure m",
    "api-refuses": HEAD
    + "ERROR gateway: [Api_Server] Refusing to start: API_SERVER_KEY is required for the API server",
    "port-in-use": HEAD
    + "ERROR gateway.platforms.api_server: [Api_Server] Port 8642 already in use. Set a different port",
    "no-aiohttp": HEAD + "WARNING gateway.run: API Server: aiohttp not installed",
    "already-running": HEAD + "❌ Gateway already running (PID 4711).",
    "discord-intents": HEAD
    + _DISCORD
    + "Shard ID None is requesting privileged intents that have not been explicitly enabled in the developer portal.",
    "discord-token": HEAD + _DISCORD + "Improper token has been passed.",
    "slack-token": HEAD + "The server responded with: {'ok': False, 'error': 'invalid_auth'}",
    "slack-app-token": HEAD + "ERROR gateway.platforms.slack: [Slack] SLACK_APP_TOKEN not set",
    "telegram-token": HEAD + "telegram.error.InvalidToken: The token `********` was rejected by the server.",
    "telegram-conflict": HEAD
    + "WARNING gateway: [Telegram] Telegram polling conflict (1/3), will retry in 10s. Error: x",
    "token-in-use": HEAD
    + "ERROR gateway: [Discord] Discord bot token already in use (PID 99). Stop the other gateway first.",
    "channel-failed": HEAD + "WARNING gateway.run: ✗ discord failed to connect",
    "no-adapter": HEAD
    + "ERROR gateway.platforms.discord: [Discord] discord.py not installed. Run: pip install discord.py",
    "mcp-oauth": HEAD + "WARNING tools.mcp_tool: MCP server 'jira' failed initial OAuth authentication, giving up",
    "mcp-failed": HEAD
    + "WARNING tools.mcp_tool: MCP server 'jira' failed initial connection after 3 attempts, giving up",
    "config-broken": HEAD + "Failed to parse /home/m/.hermes/config.yaml: while parsing a flow sequence. Falling back",
    "database-broken": HEAD + "sqlite3.DatabaseError: database disk image is malformed",
    "no-sessions": HEAD + "WARNING gateway.run: SQLite session store not available: unable to open database file",
    "disk-full": HEAD + "OSError: [Errno 28] No space left on device",
    "read-only": HEAD + "OSError: [Errno 30] Read-only file system: '/home/m/.local'",
    "broken-release": HEAD + "ModuleNotFoundError: No module named 'gateway'",
    "no-browser": HEAD
    + "playwright._impl._errors.Error: Executable doesn't exist at /home/m/.cache/ms-playwright/chrome",
    "oom": SYSTEMD + "hermes-m.service: A process of this unit has been killed by the OOM killer.",
    "start-limit": SYSTEMD + "hermes-m.service: Start request repeated too quickly.",
    "sandbox-broken": SYSTEMD + "hermes-m.service: Main process exited, code=exited, status=226/NAMESPACE",
    "no-program": SYSTEMD + "hermes-m.service: Main process exited, code=exited, status=203/EXEC",
    "no-account": SYSTEMD + "hermes-m.service: Main process exited, code=exited, status=217/USER",
    "config-fatal": SYSTEMD + "hermes-m.service: Main process exited, code=exited, status=78/CONFIG",
    "respawn-storm": HEAD
    + "WARNING hermes_cli.gateway: Gateway (re)started 6 times in 120s — backing off 30s to break a respawn storm.",
    "stop-time": HEAD + "WARNING gateway.run: Stale systemd unit detected: hermes-m.service has TimeoutStopSec=90s but",
    "python-died": SYSTEMD + "hermes-m.service: Main process exited, code=dumped, status=11/SEGV",
}
ABOUT = {"HOST": "wolf-i", "PROVIDER": "local"}


def names(*lines: str) -> list[str]:
    return [each.trouble.name for each in diagnose(lines, "wolf-i/m", ABOUT)]


def test_every_entry_has_a_line_and_only_that_entry_knows_it() -> None:
    assert list(LINES) == [trouble.name for trouble in CATALOGUE]
    assert {name: names(line) for name, line in LINES.items()} == {name: [name] for name in LINES}


@pytest.mark.parametrize("name", LINES)
def test_what_is_said_is_filled_in_and_says_what_mends_it(name: str) -> None:
    [found] = diagnose([LINES[name]], "wolf-i/m", ABOUT)
    assert found.line == LINES[name]
    assert found.says and found.remedy
    for text in (found.says, found.remedy):
        assert not re.search(r"\{|\}|\bHOST\b|\bPROVIDER\b", text), text


def test_a_quiet_journal_has_no_trouble() -> None:
    quiet = [
        SYSTEMD + "Started hermes-m.service - Hermes agent m.",
        HEAD + "│  Messaging platforms + cron scheduler                    │",
        HEAD + "WARNING gateway.run: No user allowlists configured. All unauthorized users will be denied.",
        HEAD + "WARNING tools.registry: Could not import tool module tools.x: No module named 'websockets'",
        HEAD + 'INFO aiohttp.access: 127.0.0.1 "GET /health HTTP/1.1" 200 204 "-" "curl/7.88.1"',
        SYSTEMD + "hermes-m.service: Main process exited, code=exited, status=75/TEMPFAIL",
    ]
    assert names(*quiet) == []


def test_what_a_later_line_takes_back_is_over() -> None:
    answered = HEAD + "INFO run_agent: API call #1: model=m provider=custom in=482 out=10 total=492 latency=0.3s"
    assert names(LINES["upstream-unreachable"], LINES["key-refused"], answered) == []
    assert names(answered, LINES["key-refused"]) == ["key-refused"]
    assert names(LINES["disk-full"], answered) == ["disk-full"]
    assert names(LINES["channel-failed"], HEAD + "INFO gateway.run: ✓ slack connected") == ["channel-failed"]
    assert names(HEAD + "ERROR gateway.run: ✗ discord error: discord connect timed out after 10s") == ["channel-failed"]
    assert names(LINES["channel-failed"], HEAD + "INFO gateway.run: ✓ discord connected") == []


def test_the_same_is_told_once_and_counted_and_the_last_stands_last() -> None:
    found = diagnose([LINES["disk-full"], LINES["port-in-use"], LINES["disk-full"]], "m")
    assert [(each.trouble.name, each.times) for each in found] == [("port-in-use", 1), ("disk-full", 2)]
    two = [LINES["mcp-failed"], LINES["mcp-failed"].replace("jira", "wiki")]
    assert [each.says.split()[2] for each in diagnose(two, "m")] == ["jira", "wiki"]


@given(st.lists(st.one_of(st.sampled_from(list(LINES.values())), st.text()), max_size=12))
def test_any_journal_is_read(lines: list[str]) -> None:
    found = diagnose(lines, "m", ABOUT)
    assert sum(each.times for each in found) <= len(lines)
    assert {each.line for each in found} <= set(lines)
