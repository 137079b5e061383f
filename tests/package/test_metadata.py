"""pyinfra-metadata.toml names what there is, in pyinfra's own format."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.metadata import parse_plugins

ROOT = Path(__file__).parents[2]
_PRIVATE = {
    "caching",
    "__init__",
    "announcing",
    "commands",
    "difference",
    "examination",
    "installing",
    "leaves",
    "locking",
    "memory_files",
    "observing",
    "observation",
    "operators",
    "overlaying",
    "script",
    "sessions",
    "streaming",
    "redacting",
    "references",
    "transport",
    "upstream",
    "wheelhouse",
    "wheels",
}
#: Values that a fact of another module holds.
_PLAIN = {("facts", "contents"), ("facts", "receipts"), ("facts", "snapshots")}


def test_every_public_module_is_listed_and_exists() -> None:
    plugins = parse_plugins((ROOT / "pyinfra-metadata.toml").read_text(encoding="utf-8"))
    there = {
        f"{room}/{path.name}"
        for room in ("facts", "operations", "deploys")
        for path in (ROOT / room).glob("*.py")
        if path.stem not in _PRIVATE and (room, path.stem) not in _PLAIN
    }
    assert {plugin.path for plugin in plugins} == there
