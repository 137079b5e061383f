"""
An integration of the predecessor's as one of ours.

Theirs has no settings: its URL, its user and its filters lie among its secrets. Here they are options, so nothing
secret may come through: what has another shape than such a setting stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pyinfra_hermes.deploys.model.declaration import Field, InvalidSetting
from pyinfra_hermes.deploys.model.integrations import CATALOGUE, IntegrationType, InvalidIntegration, check_name
from pyinfra_hermes.deploys.model.integrations.atlassian import is_cloud
from pyinfra_hermes.deploys.model.integrations.texts import is_credential
from pyinfra_hermes.deploys.model.names import InvalidName

from ..state.records import Integration, Plain
from .translation import value_of

#: Our options, by the names of their secrets.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "atlassian": {
        "ATLASSIAN_URL": "url",
        "ATLASSIAN_EMAIL": "username",
        "JIRA_PROJECTS_FILTER": "projects",
        "CONFLUENCE_SPACES_FILTER": "spaces",
    }
}
#: What theirs could not do without.
_NEEDED: Mapping[str, Collection[str]] = {"atlassian": ("url", "username", "api_token")}
#: What a value, or an item of a list, looks like when it is one.
_SHAPES = {
    "url": re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,260}(/[A-Za-z0-9._~-]{1,32}){0,4}/{0,4}"),
    "username": re.compile(r"[A-Za-z0-9._%+'-]{1,64}@([A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{1,24}"),
    "projects": re.compile(r"[A-Z][A-Z0-9_]{1,31}"),
    "spaces": re.compile(r"[A-Za-z0-9]{1,32}|~[A-Za-z0-9]{1,64}"),
}
_METAVARS = {"url": "URL", "confluence_url": "URL", "username": "E-MAIL", "projects": "KEY,...", "spaces": "KEY,..."}


@dataclass(frozen=True)
class Translated:
    """What becomes of an integration's entries in their secrets.json."""

    options: dict[str, Plain]
    #: Their entries that are secrets here, too, by our keys.
    secrets: dict[str, Any]
    #: Names of entries that mean nothing here.
    unplaced: tuple[str, ...]
    #: Fields whose values cannot be taken over.
    unusable: tuple[Field, ...]


def translated(declaration: IntegrationType, entries: Mapping[str, Any]) -> Translated:
    """Sort the entries of an integration into options and secrets."""
    names, fields = _OPTIONS.get(declaration.name, {}), {f.name: f for f in declaration.fields}
    keys = {f.key for f in declaration.secrets}
    secrets = {key: entry for key, entry in entries.items() if key in keys}
    hidden = [text for entry in secrets.values() if (text := value_of(entry))]
    options: dict[str, Plain] = {}
    unusable: list[Field] = []
    for key, name in names.items():
        text = value_of(entries[key]) if key in entries else ""
        if text is not None and not text.strip():
            continue
        try:
            options[name] = _option(fields[name], text, hidden)
        except ValueError:
            unusable.append(fields[name])
    if not unusable:
        with suppress(InvalidSetting):  # something is missing: then there are no defaults, either
            options = declaration.options(options)
    unplaced = tuple(key for key in entries if key not in keys and key not in names)
    return Translated(options, secrets, unplaced, tuple(unusable))


def _option(f: Field, given: str | None, hidden: Collection[str]) -> Plain:
    if given is None:
        raise ValueError("is no text")
    text = given.strip()
    items = [item.strip() for item in text.split(",") if item.strip()] if f.kind == "list" else [text]
    if text in hidden or is_credential(text) or any(len(secret) > 5 and secret in text for secret in hidden):
        raise ValueError("is a secret")
    if not all(_SHAPES[f.name].fullmatch(item) for item in items):
        raise ValueError("has another shape")
    return f.check(items if f.kind == "list" else text)


def unnamable(name: str) -> str | None:
    """Say why an integration cannot have a name; None when it can."""
    try:
        check_name(name)
    except (InvalidIntegration, InvalidName):
        return "its name is one of Hermes' own tools"
    return None


def incomplete(record: Integration, keys: Collection[str], unusable: Collection[Field] = ()) -> tuple[str, str] | None:
    """
    Say why an agent cannot work with an integration, and the command that mends it; None when one can.

    + keys: names of its secrets that there are
    + unusable: fields that it had and that could not be taken over; without a filter it would see more than it did
    """
    declaration = CATALOGUE[record.type]
    if not unusable and _is_complete(declaration, record, keys):
        return None
    wanted = list(dict.fromkeys([*unusable, *_missing(declaration, record, keys)]))
    flags = [_flag(f) for f in wanted] or ["--help"]
    why = [f"its {f.label} cannot be taken over" for f in unusable]
    why += [f"it has no {f.label}" for f in wanted if f not in unusable]
    return "; ".join(why) or "its settings do not go together", f"clm integration edit {record.name} {' '.join(flags)}"


def _is_complete(declaration: IntegrationType, record: Integration, keys: Collection[str]) -> bool:
    try:
        options = declaration.options(record.options)
        full = declaration.of(options)
        full.check_complete(options, [f.name for f in full.secrets if f.key in keys])
    except (InvalidSetting, InvalidName):
        return False
    return True


def _missing(declaration: IntegrationType, record: Integration, keys: Collection[str]) -> Iterator[Field]:
    needed = set(_NEEDED.get(declaration.name, ())) | {f.name for f in declaration.fields if f.required}
    url = record.options.get("url")
    if declaration.name == "atlassian" and isinstance(url, str) and not is_cloud(url):
        needed.add("confluence_url")
    for f in declaration.fields:
        there = f.key in keys if f.secret else f.name in record.options or f.default is not None
        if f.name in needed and not there:
            yield f


def _flag(f: Field) -> str:
    flag = f"--{f.name.replace('_', '-')}"
    return f"{flag}-file PATH" if f.secret else f"{flag} {_METAVARS.get(f.name, 'VALUE')}"
