"""Imports run one way: cli, then deploys, then operations, then facts; and the model is pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "pyinfra_hermes"
#: What each room may import of ours, the deepest room that fits a module first.
ALLOWED = {
    "facts": ("facts",),
    "operations": ("facts", "operations"),
    "deploys/model": ("deploys.model",),
    "deploys": ("facts", "operations", "deploys"),
    "cli": ("facts", "operations", "deploys", "cli"),
}
MODULES = sorted(path for room in ("facts", "operations", "deploys", "cli") for path in (ROOT / room).rglob("*.py"))
MODEL = [path for path in MODULES if path.is_relative_to(ROOT / "deploys" / "model")]
#: Modules whose purpose is the world outside.
IO = {
    "asyncio",
    "fcntl",
    "ftplib",
    "getpass",
    "gevent",
    "glob",
    "http",
    "httpx",
    "multiprocessing",
    "os",
    "paramiko",
    "pathlib",
    "pyinfra",
    "requests",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "random",
    "secrets",
    "datetime",
}
IO_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *(part for part in parts if part != "__init__")))


def imported(path: Path) -> Iterator[str]:
    """Full names of everything that a module imports, in functions and for type checkers too."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms(path: Path) -> tuple[str, ...]:
    relative = path.relative_to(ROOT).as_posix()
    return next(allowed for room, allowed in ALLOWED.items() if relative.startswith(f"{room}/"))


def within(name: str, room: str) -> bool:
    return name == f"{PACKAGE}.{room}" or name.startswith(f"{PACKAGE}.{room}.")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_room_and_those_below(path: Path) -> None:
    ours = {name for name in imported(path) if name.split(".")[0] == PACKAGE}
    assert {name for name in ours if not any(within(name, room) for room in rooms(path))} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_a_room_as_a_top_level_name(path: Path) -> None:
    # It would work in this tree and in no installation, and be a second copy of the module.
    assert {name for name in imported(path) if name.split(".")[0] in ("facts", "operations", "deploys", "cli")} == set()


@pytest.mark.parametrize("path", MODEL, ids=name_of)
def test_the_model_touches_nothing_outside(path: Path) -> None:
    # It reads its own manifest and locks, which are part of it, through importlib.resources.
    assert {name for name in imported(path) if name.split(".")[0] in IO} == set()
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & IO_CALLS == set()


def test_only_the_fleet_imports_the_terminal() -> None:
    importing = {
        path.name for path in (ROOT / "inventories").glob("*.py") if any(within(name, "cli") for name in imported(path))
    }
    assert importing <= {"fleet.py"}


def test_a_relative_import_is_understood() -> None:
    found = set(imported(ROOT / "deploys" / "model" / "spec.py"))
    assert {f"{PACKAGE}.deploys.model.channels", f"{PACKAGE}.deploys.model.releases"} <= found
    assert f"{PACKAGE}.facts.observation.Observation" in set(imported(ROOT / "facts" / "agents.py"))
    assert not any(within(f"{PACKAGE}.climate", room) for room in rooms(ROOT / "cli" / "x.py"))


def test_names_that_say_nothing_are_not_used() -> None:
    assert {path.stem for path in MODULES} & {"utils", "util", "helpers", "helper", "common", "misc"} == set()
