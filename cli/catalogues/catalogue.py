"""The catalogues for a person to read: what an entry asks for, and since which release there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pyinfra_hermes.deploys.model.declaration import Declaration
from pyinfra_hermes.deploys.model.releases import first_with, manifest

from ..output import emit, table
from .fields import flag_of


def described(entry: Declaration) -> dict[str, Any]:
    """Return an entry of a catalogue as plain data."""
    return {
        "name": entry.name,
        "title": entry.title,
        "since": since(entry),
        "credential_url": entry.credential_url,
        "fields": [
            {
                "name": f.name,
                "label": f.label,
                "option": flag_of(f),
                "kind": f.kind,
                "secret": f.secret,
                "required": f.required,
                "default": f.default,
                "choices": list(f.choices),
                "help": f.help,
            }
            for f in entry.fields
        ],
    }


def since(entry: Declaration) -> str:
    """Name the earliest release of the manifest that has an entry."""
    if entry.feature is None:
        return min(manifest().releases, key=lambda r: [int(part) for part in r.calver.split(".")]).tag
    first = first_with(entry.feature)
    return first.tag if first else "none"


def print_types(catalogue: Mapping[str, Declaration], chosen: str | None, format_: str) -> None:
    """Show the entries of a catalogue, or what one of them asks for."""
    rows = [described(entry) for entry in catalogue.values() if chosen in (None, entry.name)]
    if emit(rows if chosen is None else rows[0], format_):
        return
    if chosen is None:
        table(
            ("TYPE", "TITLE", "SINCE", "CREDENTIAL"),
            [(r["name"], r["title"], r["since"], r["credential_url"]) for r in rows],
            "There are none.",
        )
        return
    click.echo(f"{rows[0]['title']}; since Hermes {rows[0]['since']}; credential: {rows[0]['credential_url']}")
    table(
        ("FIELD", "OPTION", "NEEDED", "DEFAULT", "WHAT IT IS"),
        [
            (f["label"], f["option"], "yes" if f["required"] else "no", str(f["default"] or "-"), _about(f))
            for f in rows[0]["fields"]
        ],
        "It has no fields.",
    )


def _about(field: Mapping[str, Any]) -> str:
    choices = f" ({', '.join(field['choices'])})" if field["choices"] else ""
    return f"{field['help']}{choices}"
