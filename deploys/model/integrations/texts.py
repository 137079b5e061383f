"""Texts on their way to an MCP server: through ``.env`` and ``config.yaml`` unchanged, and secrets told from others."""

from __future__ import annotations

import re

from ..declaration import InvalidSetting
from ..secret import Secret

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110, 5.6.2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,100}")
# How credentials of well-known services begin.
_CREDENTIAL = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:xox[abeprs]-|xapp-|sk-|gh[opsur]_|github_pat_|glpat-|lin_api_|ntn_|hf_|npm_|pypi-|AKIA|ASIA"
    r"|AIza|ATATT|ATCTT|ya29\.|eyJ[A-Za-z0-9_-]{8})[A-Za-z0-9_./+=-]{4}"
)
_SECRET_NAME = re.compile(
    r"(?:^|[^a-z])(?:token|secret|passwo?r?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|credentials?"
    r"|bearer|authorization)$",
    re.I,
)


def slug(name: str) -> str:
    """Return what of an integration's name is left in the names of its tools (``mcp_NAME_tool``)."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def variable(name: str) -> str:
    """Return the name under which a secret that a user named is kept."""
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())


class Writer:
    """Writes texts so that Hermes, which replaces ``${...}`` in them twice, hands them over as they are."""

    def __init__(self, integration: str) -> None:
        self._prefix = f"MCP_{slug(integration).upper()}__"
        #: What ``.env`` must hold for the texts written so far.
        self.variables: dict[str, Secret | str] = {}

    def literal(self, text: str) -> str:
        """Write a text that is not secret."""
        if "${" not in text:
            return text
        # The first time this becomes ${...DOLLAR}, the second time a dollar, before a brace that nobody looks at.
        twice = self._prefix + "_DOLLAR_DOLLAR"
        self.variables[twice] = f"${{{self._dollar()}}}"
        return text.replace("${", f"${{{twice}}}{{")

    def secret(self, key: str, value: Secret) -> str:
        """Put a secret into ``.env`` and write the reference to it."""
        text = value.reveal()
        if not text:
            raise InvalidSetting(f"{key} is empty")
        if "${" in text:
            text = text.replace("${", f"${{{self._dollar()}}}{{")
        name = self._prefix + key
        self.variables[name] = Secret(text)
        return f"${{{name}}}"

    def _dollar(self) -> str:
        name = self._prefix + "_DOLLAR"
        self.variables[name] = "$"
        return name


def plain(text: str) -> str:
    """Check a text for an argument, a variable or a header."""
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("holds a control character")
    return text


def environment_variable(name: str) -> str:
    """Check the name of a variable for a server."""
    if not _VARIABLE.fullmatch(name):
        raise InvalidSetting(f"{name!r} is not the name of an environment variable")
    return name


def secret_variable(name: str) -> str:
    """Check the name of a variable for a server whose value is secret, and so is in secrets.json under that name."""
    if not _SECRET_VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} should be capital letters, digits and underscores, with a letter first")
    return name


def header(name: str) -> str:
    """Check the name of an HTTP header."""
    if not _HEADER.fullmatch(name):
        raise InvalidSetting(f"{name!r} is not the name of an HTTP header")
    return name


def is_credential(text: str) -> bool:
    """Tell whether a text begins, or has a part that begins, as credentials of well-known services do."""
    return bool(_CREDENTIAL.search(text))


def names_secret(name: str) -> bool:
    """Tell whether a name is one that secrets are given: ``--token``, ``GITHUB_TOKEN``, ``X-Api-Key``."""
    return bool(_SECRET_NAME.search(name))


def _query_has_secret(text: str) -> bool:
    pairs = [pair.partition("=") for pair in re.split(r"[?&]", text)[1:]]
    return any(value and names_secret(name) for name, _, value in pairs)


def secret_among(args: list[str]) -> int | None:
    """Return the place of the first argument that looks like a secret, counted from 1; None when none does."""
    for place, arg in enumerate(args, 1):
        name, equals, value = arg.partition("=")
        if is_credential(arg) or (equals and value and names_secret(name)) or _query_has_secret(arg):
            return place
        following = args[place] if place < len(args) else "-"
        if not equals and arg.startswith("-") and names_secret(arg) and not following.startswith("-"):
            return place + 1
    return None
