"""What a user adds to an agent beyond the catalogues: variables and leaves of config.yaml that are not ours."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import yaml

from . import channels, dotenv, memory, providers
from .declaration import Declaration, InvalidSetting, Json, KeyPath, Rendered
from .integrations.texts import is_credential as is_credential_text
from .secret import Secret

#: Variables that may be set. What Hermes takes as its own behaviour, what its tools need, and the host's surroundings.
_ALLOWED = re.compile(
    r"""
      TZ | LANG | LANGUAGE | LC_[A-Z]+
    | (?:HTTPS?|ALL|NO|FTP)_PROXY | SSL_CERT_(?:FILE|DIR) | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | NODE_EXTRA_CA_CERTS
    | HERMES_(?:AGENT|API_TIMEOUT|API_CALL|AUTO_CONTINUE|BACKGROUND|CHECKPOINT|CODEX_TTFB|CONCURRENT|CRON|EPHEMERAL
        |FILTER|GATEWAY_BUSY|HUMAN_DELAY|LANGFUSE|LANGUAGE|LOCAL_STT_LANGUAGE|MAX|OPENROUTER_CACHE|RESTART_DRAIN
        |STREAM|TIMEZONE|TOOL_PROGRESS|TURN|VERIFY|VISION|VOICE|CA_BUNDLE
        |DISCORD|FEISHU|MATRIX|SIMPLEX|TELEGRAM|WECOM)(?:_[A-Z0-9_]+)?
    | (?:DISCORD|SLACK|TELEGRAM|SIGNAL|EMAIL|MATRIX|MATTERMOST|TEAMS|GOOGLE_CHAT|WHATSAPP|IRC|LINE|FEISHU|WECOM
        |DINGTALK|QQ|QQBOT|BLUEBUBBLES|TWILIO|SMS|HASS)_[A-Z0-9_]+
    | (?:EXA|PARALLEL|FIRECRAWL|TAVILY|SEARXNG|BRAVE_SEARCH|BROWSERBASE|BROWSER|BROWSER_USE|AGENT_BROWSER|CAMOFOX|FAL
        |KREA|TINKER|WANDB|VOICE_TOOLS|ELEVENLABS|MISTRAL|GROQ|DEEPGRAM|GITHUB|GH|NOTION|LINEAR|AIRTABLE|TENOR|STT
        |TTS)_[A-Z0-9_]+
    | [A-Z0-9_]+_(?:API_KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD)
    """,
    re.VERBOSE,
)
#: Parts of names that decide where the daemon listens, who may talk to it, or what code it runs; and ours.
_DENIED: tuple[tuple[str, str], ...] = (
    (r"API_SERVER_.*|HERMES_API_(?:KEY|SERVER.*)", "decides how the agent's API is served"),
    (r"HERMES_(?:HOME|MANAGED|INFERENCE|PROFILE|NIL|YOLO|GATEWAY_PLATFORM).*", "is what the agent stands on"),
    (r"(?:LD|PYTHON).*|(?:SUDO|PATH|HOME|USER|SHELL|NODE_OPTIONS|XDG)(?:_.*)?", "decides what code the agent runs"),
    (r"(?:MCP|AWS|CUSTOM)_.*", "is what integrations and providers set"),
    (r".*_(?:PORT|HOST|BIND|LISTEN|LISTEN_.*|WEBHOOK_.*|PUBLIC_URL)", "decides where the daemon listens"),
    (r".*_ALLOW(?:ED)?(?:_.*)?|GATEWAY_.*|.*_(?:DM|GROUP)_POLICY", "decides who may talk to the agent"),
)
#: Keys in config.yaml that do the same, wherever they are.
_ACCESS = re.compile(r"allow.*|.*_allow(ed)?_.*|(dm|group)_policy|pairing|approvals|host|port|bind|listen.*")
_SECRET = re.compile(r".*(api[_-]?key|token|secret|password|credential|authorization)s?", re.IGNORECASE)
#: A URL with a password in it, or with a token in its place.
_PASSWORD_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+@")
_REFERENCE = re.compile(r"(?:[A-Za-z]+ )?\$\{[A-Z][A-Z0-9_]*\}")
_KEY = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


class InvalidExtra(InvalidSetting):
    """A variable or a leaf that a user may not set, or whose value cannot be carried; it never holds the value."""


def check_variable(name: str) -> str:
    """
    Return the name of a variable that a user may set.

    Raises :class:`InvalidExtra` with the reason: it is ours, it would open the agent, or it is none that Hermes or
    its tools are known to read.
    """
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise InvalidExtra(f"{name!r} should be capital letters, digits and underscores, with a letter first")
    if owner := _owners().get(name):
        raise InvalidExtra(f"{name} is what {owner} sets, which has an option for it")
    for pattern, reason in _DENIED:
        if re.fullmatch(pattern, name):
            raise InvalidExtra(f"{name} {reason}, and cannot be set")
    if not _ALLOWED.fullmatch(name):
        raise InvalidExtra(
            f"{name} is none of the variables that may be set: those of Hermes' own behaviour (HERMES_AGENT_TIMEOUT), "
            "of a channel (DISCORD_...), of its tools (TAVILY_...), credentials (..._API_KEY, ..._TOKEN, ..._SECRET, "
            "..._PASSWORD), proxies, certificates and the time zone"
        )
    return name


def is_credential(name: str) -> bool:
    """Tell whether a variable's name says that its value is secret."""
    return _SECRET.fullmatch(name.rpartition("_")[2]) is not None or name.endswith(("_KEY", "_API_KEY"))


def check_value(name: str, value: str) -> str:
    """Return the value of a variable; raises :class:`InvalidExtra` when the daemon would read another."""
    try:
        dotenv.check(name, value)
    except dotenv.CannotEncode as error:
        raise InvalidExtra(str(error)) from None
    return value


def check_plain(name: str, value: str) -> str:
    """Return the value of a variable that is kept in the open; :class:`InvalidExtra` when it looks like a secret."""
    if _is_credential_text(value):
        raise InvalidExtra(
            f"{name} holds what looks like a password or a key, and would be kept in the open: "
            "clm agent variable set AGENT NAME --secret"
        )
    return check_value(name, value)


def check_path(text: str) -> KeyPath:
    """
    Return the path that a user typed: keys with dots between, or a JSON list where a key holds dots itself.

    Raises :class:`InvalidExtra` when it cannot be read, or is ours.
    """
    path = _parsed(text)
    for key in path:
        if not _KEY.fullmatch(key):
            raise InvalidExtra(f"{text}: a key is empty, too long or holds control characters")
    _check_ours(path)
    return path


def path_text(path: KeyPath) -> str:
    """Return a path as it is kept and shown: with dots, as a JSON list only where keys hold dots themselves."""
    simple = all("." not in key for key in path) and not path[0].startswith("[")
    return ".".join(path) if simple else json.dumps(list(path), ensure_ascii=False)


def check_leaf(path: KeyPath, value: Json) -> Json:
    """
    Return the value of a leaf that a user may set.

    Raises :class:`InvalidExtra` when something in it is ours, opens the agent, or is a secret, which belongs into a
    variable.
    """
    if len(path) == 1 and not isinstance(value, dict | list):
        # gateway/run.py, 0.13: each that has no variable of this name becomes one.
        raise InvalidExtra(f"{path[0]}: Hermes turns single values at the top of config.yaml into variables; "
                           "use clm agent variable set")  # fmt: skip
    for leaf, inner in _walk(path, value):
        _check_ours(leaf)
        shown = path_text(leaf)
        if any(_ACCESS.fullmatch(key) for key in leaf):
            raise InvalidExtra(f"{shown} decides where the daemon listens or who may do what, and cannot be set")
        if isinstance(inner, str) and _looks_secret(leaf, inner):
            raise InvalidExtra(
                f"{shown} looks like a secret, which config.yaml does not hold: keep it with "
                "clm agent variable set AGENT NAME --secret, and write ${NAME} here"
            )
        if isinstance(inner, float) and not math.isfinite(inner):
            raise InvalidExtra(f"{shown} is not a finite number")
    return value


def parse_value(text: str) -> Json:
    """Read a value as a user types it: JSON, or a single value as YAML has it. Raises :class:`InvalidExtra`."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            raise InvalidExtra("the value is neither JSON nor a single value of YAML; put text into quotes") from None
        if isinstance(value, dict | list):
            raise InvalidExtra("the value is a block, which is given as JSON: {...} or [...]") from None
    if not _plain(value):
        raise InvalidExtra(f"the value would be a {type(value).__name__}; put text into quotes")
    return value  # type: ignore[no-any-return]


def check_apart(paths: Iterable[KeyPath]) -> None:
    """Check that no path lies in another: one of the two would be set twice. Raises :class:`InvalidExtra`."""
    ordered = sorted(paths)
    for before, after in pairwise(ordered):
        if after[: len(before)] == before:
            raise InvalidExtra(f"{path_text(after)} lies in {path_text(before)}, which is set as a whole")


def check(environment: Mapping[str, str], secret_environment: Collection[str], config: Mapping[str, Json]) -> None:
    """Check everything about what a user added that can be known without the secrets; raises :class:`InvalidExtra`."""
    for name, value in environment.items():
        check_plain(check_variable(name), value)
    for name in secret_environment:
        if check_variable(name) in environment:
            raise InvalidExtra(f"{name} is set both as a secret and in the open")
    leaves: dict[KeyPath, Json] = {}
    for text, leaf in config.items():
        path = check_path(text)
        if path in leaves:
            raise InvalidExtra(f"{path_text(path)} is set twice")
        leaves[path] = check_leaf(path, leaf)
    check_apart(leaves)


def render(
    environment: Mapping[str, str],
    secret_environment: Collection[str],
    config: Mapping[str, Json],
    secrets: Mapping[str, Secret],
) -> Rendered:
    """
    Return what a user added to an agent; ``config`` is by path as typed, ``secrets`` by the variables' names.

    Raises :class:`InvalidExtra` for what may not be set, or for a secret variable without a value.
    """
    check(environment, secret_environment, config)
    variables: dict[str, Secret | str] = dict(environment)
    for name in secret_environment:
        if not secrets.get(name):
            raise InvalidExtra(f"{name} has no value: clm agent variable set AGENT {name} --secret")
        check_value(name, secrets[name].reveal())
        variables[name] = secrets[name]
    return Rendered(env=variables, config={check_path(text): value for text, value in config.items()})


def _is_credential_text(value: str) -> bool:
    return is_credential_text(value) or _PASSWORD_IN_URL.search(value) is not None


def _looks_secret(leaf: KeyPath, value: str) -> bool:
    named = any(_SECRET.fullmatch(key) for key in leaf)
    return _is_credential_text(value) or (named and bool(value) and not _REFERENCE.fullmatch(value))


def _parsed(text: str) -> KeyPath:
    if not text.startswith("["):
        return tuple(text.split("."))
    try:
        keys = json.loads(text)
    except ValueError:
        keys = None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise InvalidExtra(f'{text}: a path is keys with dots between, or a JSON list: ["mcp_servers", "a.b"]')
    return tuple(keys)


def _check_ours(path: KeyPath) -> None:
    top = path[0]
    if top in ("model", "bedrock", "vertex"):
        raise InvalidExtra(f"{top} is what the provider sets: clm agent configure --model, or clm provider edit")
    if top == "mcp_servers":
        raise InvalidExtra(
            "mcp_servers is what integrations set: clm integration add NAME --type mcp-stdio or mcp-http, and attach it"
        )
    # Hermes takes both for one, from 0.18 on.
    if top == "platforms" or path[:2] == ("gateway", "platforms"):
        raise InvalidExtra(f"{path_text(path)} is what channels set: clm agent configure")
    if path in (("gateway",), ("memory",)) or path[:2] == ("memory", "provider"):
        raise InvalidExtra(f"{path_text(path)} holds what is ours; name a leaf of it that is not")
    for leaf in providers.LEAVES:
        if path[: len(leaf)] == leaf or leaf[: len(path)] == path:
            raise InvalidExtra(f"{path_text(path)} is what a provider sets: clm provider edit")


@cache
def _owners() -> dict[str, str]:
    """Return every variable and every name in secrets.json that an entry of a catalogue may set."""
    catalogues: tuple[Mapping[str, Declaration], ...] = (providers.CATALOGUE, channels.CATALOGUE, memory.CATALOGUE)
    entries = [entry for catalogue in catalogues for entry in catalogue.values()]
    found: dict[str, str] = {}
    for entry in entries:
        for f in entry.fields:
            for name in (f.variable, f.key if f.secret else None):
                if name:
                    found.setdefault(name, entry.title)
    return found


def _walk(path: KeyPath, value: Json) -> Iterator[tuple[KeyPath, Json]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _walk((*path, key), inner)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _walk(path, inner)
    else:
        yield path, value


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_plain, value.values()))
    return value is None or isinstance(value, str | int | float | bool)
