"""Jira and Confluence, in the cloud or on servers of one's own, through mcp-atlassian."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from .. import names
from ..declaration import Field, Value
from ..probing import Moment, Options, Probe, Request, Secrets
from ..secret import Secret
from ..tools import MCP_ATLASSIAN, Tool
from . import texts
from .integration import COMMON, Held, IntegrationType, InvalidIntegration, Server, check_common, common

_CLOUD = (".atlassian.net", ".jira.com", ".jira-dev.com", ".atlassian-us-gov-mod.net", ".atlassian-us-gov.net")


def is_cloud(url: str) -> bool:
    """Tell whether a site is Atlassian's own cloud, as mcp-atlassian 0.23.1 does: by its host's name."""
    return f".{urlsplit(url).hostname or ''}".endswith(_CLOUD)


def site(url: str) -> str:
    """
    Return the root of a site: without a trailing slash and, in the cloud, without a path.

    What people copy from the address bar (``.../wiki/spaces/X``, ``.../jira/projects``) means the same site.
    """
    root = names.http_url(url)
    parts = urlsplit(root)
    if is_cloud(root):
        if parts.scheme != "https":
            raise ValueError("a site in Atlassian's cloud is reached by https:// only")
        return f"https://{parts.netloc}"
    return root


def _check(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    check_common(options)
    cloud, products = is_cloud(str(options["url"])), options["products"]
    if "api_token" in secrets and "personal_token" in secrets:
        raise InvalidIntegration("Give the API token or the personal access token, not both")
    if cloud:
        if "personal_token" in secrets or "confluence_personal_token" in secrets:
            raise InvalidIntegration("Atlassian's cloud takes an API token with its e-mail address, no personal token")
        if "api_token" not in secrets:
            raise InvalidIntegration("Integration type atlassian lacks its API token")
        if "confluence_url" in options:
            raise InvalidIntegration("In the cloud Confluence is below the site's own URL; leave confluence_url out")
    elif "api_token" not in secrets and "personal_token" not in secrets:
        raise InvalidIntegration("Integration type atlassian lacks its personal access token (or user and API token)")
    elif products != "jira" and "confluence_url" not in options:
        raise InvalidIntegration("Confluence on a server of its own needs confluence_url, or choose products jira")
    if "confluence_personal_token" in secrets and "personal_token" not in secrets:
        raise InvalidIntegration("A personal token of Confluence's own goes with one of Jira's")
    if "api_token" in secrets and "username" not in options:
        raise InvalidIntegration("An API token needs its user (username): in the cloud the e-mail address")


def _server(options: Mapping[str, Value], secrets: Collection[str]) -> Server:
    url, products = str(options["url"]), options["products"]
    confluence = f"{url}/wiki" if is_cloud(url) else str(options.get("confluence_url", url))
    env: dict[str, str | Held] = {}
    for product, root, chosen, own in (
        ("JIRA", url, products != "confluence", "personal_token"),
        ("CONFLUENCE", confluence, products != "jira", "confluence_personal_token"),
    ):
        if not chosen:
            continue
        env[f"{product}_URL"] = root
        if "api_token" in secrets:
            env[f"{product}_USERNAME"] = str(options["username"])
            env[f"{product}_API_TOKEN"] = Held("api_token")
        else:
            env[f"{product}_PERSONAL_TOKEN"] = Held(own if own in secrets else "personal_token")
        if options.get("ssl_verify") is False:
            env[f"{product}_SSL_VERIFY"] = "false"
    for field, variable in _FILTERS.items():
        value = options.get(field)
        if isinstance(value, list) and value:
            env[variable] = ",".join(value)
    if options.get("read_only"):
        env["READ_ONLY_MODE"] = "true"
    return Server(command=MCP_ATLASSIAN.program("mcp-atlassian"), env=env, settings=common(options))


def _ask(options: Options, secrets: Secrets, at: Moment) -> tuple[Request, ...]:
    server = _server(options, frozenset(secrets)).env
    found = []
    for product, path in (("JIRA", "/rest/api/2/myself"), ("CONFLUENCE", "/rest/api/user/current")):
        if f"{product}_URL" not in server:
            continue
        held = server.get(f"{product}_API_TOKEN", server.get(f"{product}_PERSONAL_TOKEN"))
        assert isinstance(held, Held)
        token = secrets[held.field].reveal()
        if f"{product}_USERNAME" in server:
            pair = f"{server[f'{product}_USERNAME']}:{token}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            authorization = f"Bearer {token}"
        found.append(
            Request(
                f"{server[f'{product}_URL']}{path}",
                {"Authorization": Secret(authorization), "Accept": "application/json"},
            )
        )
    return tuple(found)


def _tools(options: Mapping[str, Value]) -> tuple[Tool, ...]:
    return (MCP_ATLASSIAN,)


_FILTERS = {
    "projects": "JIRA_PROJECTS_FILTER",
    "spaces": "CONFLUENCE_SPACES_FILTER",
    "enabled_tools": "ENABLED_TOOLS",
}

ATLASSIAN = IntegrationType(
    name="atlassian",
    title="Atlassian: Jira and Confluence",
    fields=(
        Field("url", "Site", "url", "root of the site (https://YOU.atlassian.net), or of Jira's server", shape=site),
        Field(
            "products",
            "Products",
            "choice",
            "what to use",
            required=False,
            default="both",
            choices=("both", "jira", "confluence"),
        ),
        Field("confluence_url", "Confluence", "url", "root of Confluence, on a server of its own", required=False),
        Field(
            "username",
            "User",
            "text",
            "e-mail address in the cloud, login elsewhere; goes with an API token",
            required=False,
            shape=texts.plain,
        ),
        Field(
            "api_token",
            "API token",
            "secret",
            "of the account; with the user",
            required=False,
            stored_as="ATLASSIAN_API_TOKEN",
        ),
        Field(
            "personal_token",
            "Personal access token",
            "secret",
            "for a server or data center, in place of user and token",
            required=False,
            stored_as="ATLASSIAN_PERSONAL_TOKEN",
        ),
        Field(
            "confluence_personal_token",
            "Personal access token of Confluence",
            "secret",
            "where it has one of its own",
            required=False,
            stored_as="CONFLUENCE_PERSONAL_TOKEN",
        ),
        Field(
            "projects", "Projects", "list", "keys of Jira's projects, and no others", required=False, shape=texts.plain
        ),
        Field(
            "spaces", "Spaces", "list", "keys of Confluence's spaces, and no others", required=False, shape=texts.plain
        ),
        Field("read_only", "Read only", "flag", "whether nothing may be written; no when not given", required=False),
        Field(
            "enabled_tools",
            "Tools of the server",
            "list",
            "names (jira_search), and no others; all when not given",
            required=False,
            shape=texts.plain,
        ),
        Field("ssl_verify", "Check certificates", "flag", "yes when not given", required=False),
        *COMMON,
    ),
    credential_url="https://id.atlassian.com/manage-profile/security/api-tokens",
    rule=_check,
    server=_server,
    tools=_tools,
    # Jira's version 2, which clouds and servers have alike.
    probe=Probe(service="Atlassian", proves="it takes the token", ask=_ask),
)
