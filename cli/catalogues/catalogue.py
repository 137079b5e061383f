"""The catalogues for a person to read: what an entry asks for, and since which release there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pyinfra_hermes.deploys.model.declaration import Declaration
from pyinfra_hermes.deploys.model.releases import first_with, manifest

from ..output import emit, folded, table
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
    """Show the entries of a catalogue, or what one of them asks for and where its credentials come from."""
    rows = [described(entry) for entry in catalogue.values() if chosen in (None, entry.name)]
    if emit(rows if chosen is None else rows[0], format_):
        return
    if chosen is None:
        table(
            ("TYPE", "TITLE", "SINCE HERMES"),
            [(r["name"], r["title"], r["since"]) for r in rows],
            "There are none.",
            whole=("TYPE",),
        )
        say_more()
        return
    click.echo(folded(f"{rows[0]['title']}, since Hermes {rows[0]['since']}"))
    click.echo(f"About it and its credentials: {rows[0]['credential_url']}\n")
    table(
        ("OPTION", "NEEDED", "WHAT IT IS"),
        [(f["option"], "yes" if f["required"] else "no", _about(f)) for f in rows[0]["fields"]],
        "It has no fields.",
        whole=("OPTION",),
    )


def say_more() -> None:
    """Say below a list of entries where the rest of one is."""
    command = click.get_current_context().command_path
    click.echo(folded(f"\nWhat one asks for, and where its credentials come from: {command} NAME", "  "))


def _about(field: Mapping[str, Any]) -> str:
    choices = f" ({', '.join(field['choices'])})" if field["choices"] else ""
    default = f"; {field['default']} when not given" if field["default"] else ""
    return f"{field['label']}: {field['help']}{choices}{default}"
