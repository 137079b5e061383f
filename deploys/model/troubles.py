"""What goes wrong with Hermes, as its journal tells it: one entry a trouble, with what it means and what mends it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["note", "warn", "fail"]


@dataclass(frozen=True)
class Trouble:
    """
    A trouble that a line of the journal shows.

    + says: what it is, for people; ``{1}`` is what the pattern's first group found
    + remedy: what mends it; ``{agent}`` is the agent, ``{1}`` as above; commands start with ``clm``
    """

    name: str
    level: Level
    pattern: str
    says: str
    remedy: str
    #: A line that shows that it is over.
    over: str | None = None


_ANSWERED = r"API call #\d+: "

#: Read from the wheels of the five pinned releases (0.13.0, 0.15.2, 0.18.0, 0.18.2, 0.19.0) and the libraries they pin,
#: or seen on hosts of the lab; a test has a line for each. More special ones stand first.
CATALOGUE: tuple[Trouble, ...] = (
    # The model.
    Trouble(
        "key-refused", "fail",
        r"(?:API call failed|Non-retryable client error).*(?:HTTP|Error code:) (401)\b",
        "its provider refuses the key (HTTP 401)",
        "clm provider test PROVIDER --agent {agent}; give another key: clm provider edit PROVIDER --api-key-stdin",
    ),
    Trouble(
        "unpaid", "fail",
        r"(?:API call failed|Non-retryable client error).*(?:HTTP|Error code:) (402)\b"
        r"|insufficient_quota|billing_not_active",
        "its provider wants to be paid: credit or quota is used up",
        "Top up at the provider, or use another: clm agent configure {agent} --provider NAME",
    ),
    Trouble(
        "forbidden", "fail",
        r"(?:API call failed|Non-retryable client error).*(?:HTTP|Error code:) (403)\b",
        "its provider does not let this key use the model (HTTP 403)",
        "Let the key use the model at the provider, or choose another: clm agent configure {agent} --model MODEL",
    ),
    Trouble(
        "no-model", "fail",
        r"(?:API call failed|Non-retryable client error).*(?:HTTP|Error code:) (404)\b",
        "its provider knows neither the model nor the URL (HTTP 404)",
        "clm provider models PROVIDER; then clm agent configure {agent} --model MODEL",
    ),
    Trouble(
        "limited", "warn",
        r"(?:API call failed|Non-retryable client error).*(?:HTTP|Error code:) (429)\b",
        "its provider limits how much it may ask (HTTP 429)",
        "Wait, raise the limit at the provider, or use another: clm agent configure {agent} --provider NAME",
    ),
    Trouble(
        "upstream-broken", "warn",
        r"(?:API call failed after|Non-retryable client error).*(?:HTTP|Error code:) (5\d\d)\b",
        "its provider failed (HTTP {1})",
        "clm agent configure {agent} --provider NAME, should it last",
    ),
    Trouble(
        "upstream-unreachable", "fail",
        r"API call failed after \d+ retries.*(?:[Cc]onnection error|[Tt]imed out|[Tt]imeout)",
        "its provider cannot be reached from the host",
        "Look whether it runs, and whether the host may reach it: clm provider test PROVIDER --agent {agent}",
    ),
    Trouble(
        "model-failed", "fail", r"API call failed after \d+ retries\W+(.{0,120})",
        "its model did not answer: {1}", "clm provider test PROVIDER --agent {agent}",
    ),
    Trouble(
        "unknown-provider", "fail", r"Unknown provider '([^']{1,64})'",
        "its config.yaml names a provider that this release does not know: {1}", "clm agent configure {agent}",
    ),
    Trouble(
        "no-provider", "fail", r"No (?:LLM|inference) provider configured",
        "its config.yaml names no provider that can be used, or cannot be read", "clm agent configure {agent}",
    ),
    Trouble(
        "ast-recursion", "fail", r"AST constructor recursion depth mismatch",
        "Python 3.11 tripped over a traceback: the next chat fails with HTTP 500",
        "clm agent configure {agent} writes the unit that avoids it; then clm agent restart {agent}",
    ),
    # The API server.
    Trouble(
        "guard", "fail", r"must have exactly one valid API_SERVER_KEY line",
        "its unit refuses to start: .env has not exactly one valid API_SERVER_KEY line", "clm agent configure {agent}",
    ),
    Trouble(
        "api-refuses", "fail", r"Refusing to start: (?:API_SERVER_KEY|binding to)",
        "its API does not start: the key is missing, too short or a placeholder", "clm agent configure {agent}",
    ),
    Trouble(
        "port-in-use", "fail", r"Port (\d{1,5}) already in use",
        "port {1} is held by another process",
        "See who: ss -ltnp 'sport = :{1}' on the host; then clm agent start {agent}",
    ),
    Trouble(
        "no-aiohttp", "fail", r"(?:API Server|\[[Aa]pi_server\]|\[Api Server\]):? aiohttp not installed",
        "its release lacks aiohttp, so nothing listens although the process runs",
        "clm agent install --type hermes --host HOST --name {agent}",
    ),
    Trouble(
        "already-running", "fail", r"Gateway already running \(PID (\d+)\)",
        "another gateway runs on its files (pid {1})",
        "End it on the host: kill {1}; then clm agent start {agent}",
    ),
    # Channels.
    Trouble(
        "discord-intents", "fail",
        r"requesting privileged intents that have not been explicitly enabled|WebSocket closed with 4014",
        "Discord closes the connection (4014): the bot lacks an intent",
        "In Discord's developer portal, Bot: enable Message Content Intent (and Server Members when users are given by "
        "name); then clm agent restart {agent}",
        r"✓ discord connected",
    ),
    Trouble(
        "discord-token", "fail", r"Improper token has been passed|discord\.errors\.LoginFailure",
        "Discord refuses the bot's token", "clm agent channel set {agent} discord --bot-token-file FILE",
        r"✓ discord connected",
    ),
    Trouble(
        "slack-token", "fail",
        r"(?i)slack.*['\"](invalid_auth|not_authed|account_inactive|token_revoked|token_expired)['\"]"
        r"|'error': '(?:invalid_auth|not_authed|account_inactive|token_revoked|token_expired)'",
        "Slack refuses a token of the bot",
        "clm agent channel set {agent} slack --bot-token-file FILE --app-token-file FILE",
        r"✓ slack connected",
    ),
    Trouble(
        "slack-app-token", "fail", r"\[Slack\] SLACK_APP_TOKEN not set",
        "Slack needs its app token (xapp-...) beside the bot's",
        "clm agent channel set {agent} slack --app-token-file FILE",
        r"✓ slack connected",
    ),
    Trouble(
        "telegram-token", "fail",
        r"telegram\.error\.InvalidToken|The token .{0,80}was rejected by the server",
        "Telegram refuses the bot's token", "clm agent channel set {agent} telegram --bot-token-file FILE",
        r"✓ telegram connected",
    ),
    Trouble(
        "telegram-conflict", "fail", r"Telegram polling conflict|terminated by other getUpdates request",
        "another program reads the messages of the same Telegram bot",
        "Give each agent a bot of its own: clm agent channel set {agent} telegram --bot-token-file FILE",
        r"✓ telegram connected",
    ),
    Trouble(
        "token-in-use", "fail", r"already in use(?: \(PID \d+\))?\. Stop the other gateway first",
        "another gateway of the same user has the bot", "clm agent doctor {agent} shows what else runs; stop it",
    ),
    Trouble(
        "channel-failed", "warn", r"✗ ([a-z_]{2,32}) (?:failed to connect|error: )",
        "channel {1} could not connect", "clm agent channel test {agent} {1}", r"✓ {1} connected",
    ),
    Trouble(
        "no-adapter", "fail",
        r"(discord\.py|slack-bolt|python-telegram-bot) not installed",
        "its release lacks {1}", "clm agent install --type hermes --host HOST --name {agent}",
    ),
    # Integrations.
    Trouble(
        "mcp-oauth", "warn", r"MCP server '([^']{1,64})' failed initial OAuth",
        "MCP server {1} wants a login that it does not have", "clm agent integration list {agent}",
    ),
    Trouble(
        "mcp-failed", "warn",
        r"MCP server '([^']{1,64})' (?:failed initial connection|initial connection failed|failed after)",
        "MCP server {1} does not come up: its tools are missing", "clm agent integration list {agent}",
    ),
    # Files.
    Trouble(
        "config-broken", "fail", r"Failed to parse \S*config\.yaml: (.{0,160})",
        "its config.yaml is no YAML, and was ignored: {1}",
        "Mend it by hand on the host, then clm agent configure {agent}",
    ),
    Trouble(
        "database-broken", "fail",
        r"database disk image is malformed|file is not a database|malformed database schema",
        "a database of it is damaged",
        "clm agent backup {agent}, stop it, move ~/.hermes/state.db away or restore an older backup, start it",
    ),
    Trouble(
        "no-sessions", "warn", r"SQLite session store not available: (.{0,120})",
        "it cannot keep its conversations: {1}", "clm agent status {agent} shows disk and sizes",
    ),
    Trouble(
        "disk-full", "fail", r"No space left on device|database or disk is full",
        "the disk is full", "Make room on the host: df -h; then clm agent restart {agent}",
    ),
    Trouble(
        "read-only", "fail", r"Read-only file system: '?([^'\s]{0,120})",
        "it may not write to {1}",
        "When that is outside its home, its profile forbids it: clm agent configure {agent} --hardening standard",
    ),
    Trouble(
        "broken-release", "fail", r"ModuleNotFoundError: No module named '([^']{1,80})'",
        "its release lacks the module {1}", "clm agent install --type hermes --host HOST --name {agent}",
    ),
    Trouble(
        "no-browser", "note", r"Executable doesn't exist at \S*|playwright install",
        "its browser tool has no browser", "Installed with the method installer only; nothing else needs it",
    ),
    # The service.
    Trouble(
        "oom", "fail", r"killed by the OOM killer|Failed with result 'oom-kill'",
        "the kernel ended a process of it: its memory limit, or the host's memory, is used up",
        "clm agent status {agent} shows the limit and what it takes; move it, or give the host more memory",
    ),
    Trouble(
        "start-limit", "fail", r"Start request repeated too quickly",
        "systemd gave up restarting it", "Mend what is named above or below, then clm agent start {agent}",
    ),
    Trouble(
        "sandbox-broken", "fail", r"status=(226/NAMESPACE|228/SECCOMP|218/CAPABILITIES|243/CREDENTIALS)",
        "this host cannot set up its sandbox ({1})", "clm agent configure {agent} --hardening off, or a newer systemd",
    ),
    Trouble(
        "no-program", "fail", r"status=203/EXEC",
        "the program of its unit is not there", "clm agent install --type hermes --host HOST --name {agent}",
    ),
    Trouble(
        "no-account", "fail", r"status=217/USER",
        "its account is not there", "clm agent install --type hermes --host HOST --name {agent}",
    ),
    Trouble(
        "config-fatal", "fail", r"Main process exited, code=exited, status=78",
        "Hermes, or its unit's guard, calls its configuration fatal (exit 78): no restart would help",
        "The lines before it say why; then clm agent configure {agent}",
    ),
    Trouble(
        "respawn-storm", "warn", r"Gateway \(re\)started (\d+) times in .* backing off",
        "it was started {1} times in a short while, and waits before it goes on",
        "Wait, and look for what ends it: clm agent logs {agent} -n 100",
    ),
    Trouble(
        "stop-time", "note", r"Stale systemd unit detected",
        "its unit is older than its release, and may be ended before it has finished", "clm agent configure {agent}",
    ),
    Trouble(
        "python-died", "fail", r"Main process exited, code=dumped, status=(\S+)",
        "its process crashed ({1})", "clm agent logs {agent} -n 100; a re-install replaces its release",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """A trouble that was found in a journal."""

    trouble: Trouble
    #: The last line that showed it.
    line: str
    says: str
    remedy: str
    times: int


def diagnose(lines: Iterable[str], agent: str, about: Mapping[str, str] | None = None) -> list[Diagnosis]:
    """
    Find troubles in the lines of a journal, the oldest first.

    + agent: how the agent is named in commands
    + about: what stands for a word in remedies: ``HOST``, ``PROVIDER``

    What a later line shows to be over is left out, and so are questions to the model before one that was answered.
    """
    found: dict[tuple[str, str], tuple[Trouble, str, str, int]] = {}
    for line in lines:
        if re.search(_ANSWERED, line):
            found = {key: it for key, it in found.items() if key[0] not in OF_THE_MODEL}
        for earlier, (known, _, about_what, _) in list(found.items()):
            if known.over is not None and re.search(known.over.replace("{1}", re.escape(about_what)), line):
                del found[earlier]
        trouble, what = _trouble(line)
        if trouble is not None:
            key = (trouble.name, what if "{1}" in trouble.says else "")
            # The last one stands last.
            times = found.pop(key, (trouble, "", "", 0))[3]
            found[key] = trouble, line, what, times + 1
    return [
        Diagnosis(
            trouble, line, trouble.says.replace("{1}", what), _filled(trouble.remedy, agent, what, about or {}), n
        )
        for trouble, line, what, n in found.values()
    ]


#: Troubles that an answer of the model shows to be over.
OF_THE_MODEL = frozenset(
    {"key-refused", "unpaid", "forbidden", "no-model", "limited", "upstream-broken", "upstream-unreachable"}
    | {"model-failed", "unknown-provider", "no-provider", "ast-recursion"}
)


def _trouble(line: str) -> tuple[Trouble | None, str]:
    for trouble in CATALOGUE:
        match = re.search(trouble.pattern, line)
        if match is not None:
            return trouble, next((group for group in match.groups() if group), "")
    return None, ""


def _filled(remedy: str, agent: str, what: str, about: Mapping[str, str]) -> str:
    text = remedy.replace("{agent}", agent).replace("{1}", what)
    for word, value in about.items():
        text = re.sub(rf"\b{word}\b", value, text)
    return text
