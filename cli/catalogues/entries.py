"""What commands print of entries on record: providers and integrations alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pyinfra_hermes.deploys.model.declaration import Declaration

from ..output import pairs
from . import fields

if TYPE_CHECKING:
    from .recorded import Edited


def secret_names(names: Sequence[str] | None) -> str:
    """Return the cell of a table that says which secrets there are."""
    return "encrypted" if names is None else ", ".join(names) or "none"


def print_entry(row: dict[str, Any], declaration: Declaration) -> None:
    """Print one entry on record, a fact a line."""
    options = row["options"]
    pairs(
        [
            ("name", row["name"]),
            ("type", row["type"]),
            *((f.name, fields.shown(f, options[f.name])) for f in declaration.fields if f.name in options),
            ("secrets", secret_names(row["secrets"])),
            ("used by", ", ".join(row["used_by"]) or "-"),
            ("created", row["created_at"]),
            ("changed", row["updated_at"]),
        ]
    )


def print_edited(what: str, edited: Edited) -> None:
    """Print what came of an edit; ``what`` names the entry, as a sentence begins."""
    if not edited.changed:
        click.echo(f"{what} is like that already; nothing was changed.")
        return
    click.echo(f"{what} updated.")
    for instance in edited.users:
        click.echo(
            f"- {instance.key} uses it. To apply: clm agent configure {instance.host.name}/{instance.agent.name}"
        )
