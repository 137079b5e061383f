"""Shows the entries of a catalogue at the terminal, or what one of them asks for."""

from __future__ import annotations

from collections.abc import Mapping

import click

from pyinfra_hermes.deploys.model.declaration import Declaration

from ..output import emit, table
from .catalogue import described


def show(catalogue: Mapping[str, Declaration], chosen: str | None, format_: str) -> None:
    """Show all entries of a catalogue, or with ``chosen`` the fields of one, in the format that was asked for."""
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
    click.echo(f"{rows[0]['title']}: since Hermes {rows[0]['since']}; credential: {rows[0]['credential_url']}")
    table(
        ("FIELD", "OPTION", "NEEDED", "DEFAULT", "WHAT IT IS"),
        [
            (f["label"], f["option"], "yes" if f["required"] else "no", str(f["default"] or "-"), f["help"])
            for f in rows[0]["fields"]
        ],
        "It has no fields.",
    )
