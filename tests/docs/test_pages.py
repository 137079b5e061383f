"""Links lead somewhere, every page is in the index, what is to be typed is taken, and every exit code is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pyinfra_hermes.cli.exits import Exit
from tests.calls import of_clm, parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name}: {target}"
        assert not anchor or anchor in _anchors(found), f"{name}: {target}"


def test_every_page_is_in_the_index_once() -> None:
    listed = _LINK.findall((ROOT / "docs/index.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in PAGES[1:] if page.name != "index.md")


def test_the_table_of_exit_codes_is_the_enumeration() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")
    rows = [(int(code), name) for code, name in re.findall(r"^\| (\d+) \| ([a-z ]+) \|", text, re.M)]
    names = {Exit.NOT_APPLIED: "not applied"}
    assert rows == [(int(code), names.get(code, code.name.lower())) for code in Exit]


def _typed(text: str) -> Iterator[str]:
    """The lines of a page's blocks that are to be typed."""
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if kind == "console":
                if line.startswith(("$ ", "# ")):
                    yield line[2:]
            elif line.startswith("$ "):
                yield line[2:]
            elif kind in ("", "sh") and re.match(r"\s*clm |.*\| clm ", line):
                yield line.strip()


@pytest.mark.parametrize(
    ("name", "line"),
    [(name, line) for name, page in zip(NAMES, PAGES, strict=True) for line in _typed(page.read_text())],
)
def test_what_is_to_be_typed_is_taken(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in of_clm(line):
        try:
            parse(call, monkeypatch)
        except click.UsageError as error:
            pytest.fail(f"{name}: {line}: {error.format_message()}")
        except click.exceptions.Exit:
            # --help and --version print and end.
            pass
