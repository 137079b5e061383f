"""The page of the catalogues says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from pyinfra_hermes.cli.catalogues.page import page
from pyinfra_hermes.deploys.model import channels, integrations, memory, providers

PAGE = Path(__file__).parents[2] / "docs/catalogue.md"


def test_the_page_is_current() -> None:
    command = ".venv/bin/python -m pyinfra_hermes.cli.catalogues.page >docs/catalogue.md"
    assert PAGE.read_text(encoding="utf-8") == page(), f"write it anew: {command}"


def test_every_field_of_every_entry_is_on_it() -> None:
    text = page()
    entries = [e for each in (providers, channels, integrations, memory) for e in each.CATALOGUE.values()]
    assert entries
    for entry in entries:
        part = text.split(f"\n### {entry.name}\n")[1].split("\n### ")[0]
        assert all(f"| `{f.name}` |" in part for f in entry.fields), entry.name
