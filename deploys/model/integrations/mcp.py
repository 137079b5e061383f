"""Any MCP server: a command that the agent starts, or a URL that it connects to."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from .. import names
from ..declaration import Field, Value
from ..tools import UV, Tool
from . import texts
from .integration import COMMON, Held, IntegrationType, InvalidIntegration, Server, check_common, common

_SHELLS = frozenset({"bash", "sh", "zsh", "dash", "fish"})
# Hermes 0.18 and later leave out a server of this shape, with a line in the log only (hermes_cli/mcp_security.py).
_SUSPICIOUS = re.compile(
    r"(?<![\w.-])(?:curl|wget|nc|ncat|socat)(?![\w.-])|/dev/tcp/|authorized_keys|\.ssh/|/etc/ssh\b|/etc/pam\.d\b"
    r"|/etc/sudoers|/etc/cron|crontab\b|/etc/rc\.local|/etc/systemd|\.bashrc\b|\.bash_profile\b|\.profile\b|\.zshrc\b",
    re.I,
)
_HEADERS_OF_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie"})


def command(value: str) -> str:
    """Check a command: a program's name, or a full path."""
    if not value or value != value.strip() or value.startswith("-"):
        raise ValueError(f"{value!r} is no command")
    if "/" in value and not value.startswith(("/", "~/")):
        raise ValueError(f"{value!r} depends on a folder; give a name or a full path")
    return texts.plain(value)


def endpoint(value: str) -> str:
    """Check the URL of a server; unlike an API's base URL it keeps a trailing slash, and may have a query."""
    base, mark, query = value.partition("?")
    names.http_url(base)
    if not re.fullmatch(r"[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*", query):
        raise ValueError("URL contains a character that must be percent-encoded")
    if any(texts.names_secret(pair.partition("=")[0]) or texts.is_credential(pair) for pair in query.split("&")):
        raise ValueError("URL holds a credential; give it as a header: --secret-headers NAME")
    return base + mark + query


def oauth_tokens(value: str) -> str:
    """Check what an OAuth sign-in gave, as Hermes keeps it in ``mcp-tokens/NAME.json``, and return it in one line."""
    found = _object(value, "access_token")
    if not isinstance(found.get("token_type"), str) or found["token_type"].lower() != "bearer":
        raise ValueError('has no "token_type": "Bearer"')
    # Whoever prints a header would have to refuse it, and then it is in a log.
    if not found["access_token"].isascii() or not found["access_token"].isprintable() or " " in found["access_token"]:
        raise ValueError("has an access_token that no header can carry")
    for name, kinds in (("refresh_token", str), ("scope", str), ("expires_in", int), ("expires_at", int | float)):
        if isinstance(found.get(name), bool) or not isinstance(found.get(name), kinds | None):
            raise ValueError(f"has a {name} of another kind")
    return json.dumps(found)


def oauth_client(value: str) -> str:
    """Check the client that a sign-in was made with, as Hermes keeps it in ``mcp-tokens/NAME.client.json``."""
    found = _object(value, "client_id")
    uris = found.get("redirect_uris")
    if not isinstance(uris, list) or not uris or not all(isinstance(uri, str) for uri in uris):
        raise ValueError("lacks redirect_uris, which Hermes needs to read it")
    return json.dumps(found)


def _object(value: str, needed: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON; give the file that Hermes made in its folder mcp-tokens") from None
    if not isinstance(found, dict) or not isinstance(found.get(needed), str) or not found[needed]:
        raise ValueError(f"lacks {needed}; give the file that Hermes made in its folder mcp-tokens")
    return found


def _check_stdio(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    check_common(options)
    args, env = _strings(options.get("args")), _mapping(options.get("env"))
    place = texts.secret_among(args)
    if place is not None:
        raise InvalidIntegration(
            f"Argument {place} looks like a secret, and arguments are seen by every account of the host (ps); "
            "give it as a variable: --secret-env NAME"
        )
    for name, value in env.items():
        texts.environment_variable(name)
        if texts.is_credential(value) or (value and texts.names_secret(name)):
            raise InvalidIntegration(f"{name} looks like a secret; give it as one: --secret-env {name}")
    if both := set(env) & set(_strings(options.get("secret_env"))):
        raise InvalidIntegration(f"{', '.join(sorted(both))} is given as a secret and in the open")
    if str(options["command"]).rpartition("/")[2] in _SHELLS and _SUSPICIOUS.search(" ".join(args)):
        raise InvalidIntegration(
            "Hermes takes a shell that is told to fetch something, or to write to such places, for an intruder and "
            "leaves the server out; put the lines into a script on the host and name that"
        )


def _check_http(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    check_common(options)
    named = _strings(options.get("secret_headers"))
    for name, value in _mapping(options.get("headers")).items():
        texts.header(name)
        if texts.is_credential(value) or (value and (name.lower() in _HEADERS_OF_SECRETS or texts.names_secret(name))):
            raise InvalidIntegration(f"Header {name} looks like a secret; give it as one: --secret-headers {name}")
    everyone = [name.lower() for name in (*_mapping(options.get("headers")), *named)]
    if "oauth_client" in secrets and "oauth_tokens" not in secrets:
        raise InvalidIntegration("An OAuth client is of no use without the tokens: --oauth-tokens-file PATH")
    if "oauth_tokens" in secrets:
        everyone.append("authorization")
    if "bearer_token" in secrets:
        everyone.append("authorization")
    twice = sorted({name for name in everyone if everyone.count(name) > 1})
    if twice:
        raise InvalidIntegration(f"Header {', '.join(twice)} is given twice")
    keys = [texts.variable(name) for name in (*named, "bearer_token", "oauth_tokens", "oauth_client")]
    if len(set(keys)) < len(keys) or not all(re.match("[A-Z]", key) for key in keys):
        raise InvalidIntegration("The names of secret headers must begin with a letter and differ in more than signs")


def _stdio(options: Mapping[str, Value], secrets: Collection[str]) -> Server:
    program = str(options["command"])
    return Server(
        command=UV.program(program) if program in UV.programs else program,
        args=_strings(options.get("args")),
        env={**_mapping(options.get("env")), **{name: Held(name) for name in _strings(options.get("secret_env"))}},
        settings=common(options),
    )


def _http(options: Mapping[str, Value], secrets: Collection[str]) -> Server:
    headers: dict[str, str | Held] = {**_mapping(options.get("headers"))}
    if "bearer_token" in secrets:
        headers["Authorization"] = Held("bearer_token", "Bearer ")
    headers.update({name: Held(name) for name in _strings(options.get("secret_headers"))})
    settings = common(options)
    if options.get("transport") == "sse":
        settings["transport"] = "sse"
    if options.get("ssl_verify") is False:
        settings["ssl_verify"] = False
    files = {".json": "oauth_tokens", ".client.json": "oauth_client"}
    oauth = {end: held for end, held in files.items() if held in secrets}
    return Server(url=str(options["url"]), headers=headers, oauth=oauth, settings=settings)


def _uv(options: Mapping[str, Value]) -> tuple[Tool, ...]:
    return (UV,) if options["command"] in UV.programs else ()


def _strings(value: Value | None) -> list[str]:
    return value if isinstance(value, list) else []


def _mapping(value: Value | None) -> dict[str, str]:
    return value if isinstance(value, dict) else {}


MCP_STDIO = IntegrationType(
    name="mcp-stdio",
    title="Any MCP server that is a command on the agent's host",
    fields=(
        Field("command", "Command", "text", "name or full path; uvx and uv are brought along, pinned", shape=command),
        Field(
            "args",
            "Arguments",
            "arguments",
            "as in a shell: '--port 80 \"two words\"'; never a secret",
            required=False,
            shape=texts.plain,
        ),
        Field(
            "env",
            "Variables",
            "mapping",
            "NAME=VALUE for the server; nothing secret",
            required=False,
            shape=texts.plain,
        ),
        Field(
            "secret_env",
            "Secret variables",
            "list",
            "names of variables whose values are secret",
            required=False,
            shape=texts.secret_variable,
        ),
        *COMMON,
    ),
    credential_url="https://modelcontextprotocol.io/docs/concepts/transports",
    rule=_check_stdio,
    server=_stdio,
    tools=_uv,
    naming="secret_env",
)

MCP_HTTP = IntegrationType(
    name="mcp-http",
    title="Any MCP server by its URL",
    fields=(
        Field("url", "URL", "text", "of the server, as the agent's host reaches it", shape=endpoint),
        Field(
            "transport", "Transport", "choice", "how it talks", required=False, default="http", choices=("http", "sse")
        ),
        Field(
            "bearer_token",
            "Bearer token",
            "secret",
            "sent as Authorization: Bearer TOKEN",
            required=False,
            shape=texts.plain,
        ),
        Field(
            "oauth_tokens",
            "OAuth tokens",
            "secret",
            "the file mcp-tokens/NAME.json that Hermes made at a sign-in elsewhere; the agent renews them itself",
            required=False,
            shape=oauth_tokens,
        ),
        Field(
            "oauth_client",
            "OAuth client",
            "secret",
            "its mcp-tokens/NAME.client.json; without it tokens that expire cannot be renewed",
            required=False,
            shape=oauth_client,
        ),
        Field("headers", "Headers", "mapping", "NAME=VALUE; nothing secret", required=False, shape=texts.plain),
        Field(
            "secret_headers",
            "Secret headers",
            "list",
            "names of headers whose values are secret",
            required=False,
            shape=texts.header,
        ),
        Field("ssl_verify", "Check certificates", "flag", "yes when not given", required=False),
        *COMMON,
    ),
    credential_url="https://modelcontextprotocol.io/docs/concepts/transports",
    rule=_check_http,
    server=_http,
    naming="secret_headers",
)
