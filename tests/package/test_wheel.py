"""The wheel holds everything of the package's folders, and nothing else."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("facts", "operations", "deploys", "cli")
SUFFIXES = (".py", ".sh", ".txt", ".yaml", ".lock", ".j2")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build needs of the tree, elsewhere: a build in place leaves build/, whose old files come back."""
    target = tmp_path_factory.mktemp("tree")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def _isolation() -> list[str]:
    if importlib.util.find_spec("setuptools") and int(version("setuptools").split(".")[0]) >= 77:
        return ["--no-isolation"]
    return ["--installer", "uv"] if importlib.util.find_spec("uv") else []


@pytest.fixture(scope="session")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", *_isolation(), "--outdir", str(target), str(tree)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    [built] = target.glob("*.whl")
    return built


def of_the_tree() -> set[str]:
    found = {
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {
        f"pyinfra_hermes/{path.relative_to(ROOT)}"
        for path in found
        if path.suffix in SUFFIXES or path.name == "py.typed"
    }


def of_the_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_every_file_of_the_folders_is_in_the_wheel(wheel: Path) -> None:
    assert of_the_tree() - of_the_wheel(wheel) == set()


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    assert of_the_wheel(wheel) - of_the_tree() == set()


def test_the_folders_hold_nothing_that_no_rule_packages() -> None:
    strays = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if path.suffix not in SUFFIXES and path.name != "py.typed"
    }
    assert strays == set()


def test_every_room_is_typed() -> None:
    assert {folder for folder in FOLDERS if (ROOT / folder / "py.typed").is_file()} == set(FOLDERS)


def test_an_installed_wheel_is_the_package(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*command, str(wheel)], check=True)
    # Without site-packages' editable finder in front, and from elsewhere; the dependencies come from this environment.
    code = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
        f"sys.path.insert(0, {str(tmp_path)!r}); "
        "import pyinfra_hermes.facts.script as script, pyinfra_hermes.deploys.model.releases as releases; "
        "from pyinfra_hermes.deploys.model.render import render; "
        "releases.manifest().release().requirements(); script.observe_agents(); "
        "print(script.__file__, releases.__file__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        f"{tmp_path}/pyinfra_hermes/facts/script.py",
        f"{tmp_path}/pyinfra_hermes/deploys/model/releases/__init__.py",
    ]


def test_pytest_finds_the_checks_of_an_installed_wheel_and_their_options(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*command, str(wheel)], check=True)
    arguments = ["--pyargs", "pyinfra_hermes.deploys.checks", "--hosts=local://", "--hermes-spec=/nonexistent"]
    code = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
        f"sys.path.insert(0, {str(tmp_path)!r}); import pytest; sys.exit(pytest.main({arguments!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    said = result.stdout + result.stderr
    assert "/nonexistent cannot be read" in said, said
    assert "unrecognized arguments" not in said


def test_clm_is_an_entry_point(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [entry] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        text = archive.read(entry).decode()
    assert "clm = pyinfra_hermes.cli.main:main" in text
    assert "pyinfra_hermes/cli/main.py" in of_the_wheel(wheel)
