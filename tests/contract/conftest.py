"""The real Hermes of each listed release, in a virtual environment that is built once and kept by the lock's digest."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.deploys.model.releases import Release, manifest
from pyinfra_hermes.deploys.wheelhouse import NoWheels, Wheelhouse

_PYTHON = "3.11"
_SCRIPTS = Path(__file__).parent / "scripts"


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed")
    return found


def _folder() -> Path:
    """Where environments are kept: beside the wheels that the product, and so the lab, fetched."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyinfra-hermes" / "contract"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(release: Release, folder: Path, target: Path) -> None:
    # Offline and from hashes, as operations/release.sh does it on a host. Every release's wheels go through one folder,
    # and what two releases have in common lies on the disk once: uv links it into each environment.
    wheels = folder / "wheels"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as work:
        with tarfile.open(Wheelhouse().archive(release, _PYTHON, os.uname().machine)) as tar:
            tar.extractall(Path(work, "wheels"), filter="data")
        wheels.mkdir(exist_ok=True)
        for wheel in Path(work, "wheels").iterdir():
            if not (wheels / wheel.name).exists():
                wheel.rename(wheels / wheel.name)
        lock, venv = Path(work, "lock"), Path(work, "venv")
        lock.write_text(release.requirements(), encoding="utf-8")
        uv = _uv()
        environment = os.environ | {
            "UV_NO_CONFIG": "1",
            "UV_OFFLINE": "1",
            "UV_LINK_MODE": "hardlink",
            "UV_CACHE_DIR": str(folder / "uv"),
        }
        python = str(Path(sys.executable).resolve()) if sys.version_info[:2] == (3, 11) else _PYTHON
        for command in (
            [uv, "venv", "--quiet", "--relocatable", "--python", python, str(venv)],
            [
                uv, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), "--no-index",
                "--find-links", str(wheels), "--require-hashes", "--requirement", str(lock),
            ],
        ):  # fmt: skip
            subprocess.run(command, check=True, env=environment)
        venv.rename(target)


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest) -> Release:
    """
    The release that ``hermes_python`` and ``in_hermes`` run: the default one, or what the test's mark says.

    .. code:: python

        from .releases import on_every_release, on_releases_with

        @on_every_release()
        def test_a_provider_arrives(gateway, release): ...

        @on_releases_with("vertex")
        def test_vertex_arrives(in_hermes): ...
    """
    wanted: Release = getattr(request, "param", None) or manifest().release()
    return wanted


@pytest.fixture(scope="session")
def hermes_python(release: Release) -> Path:
    """
    The interpreter of an environment that holds exactly the locked wheels of ``release``.

    Built by the first test that wants it and kept in ``$XDG_CACHE_HOME/pyinfra-hermes/contract``, by the lock's
    digest; two runs at a time wait for each other. Cold, on two cores: 7 s of fetching and below 2 s of building for
    each release; nothing when it is there. Without its wheels the test is skipped.
    """
    folder = _folder()
    target = folder / f"{release.tag}-{release.lock_sha256[:16]}"
    if not target.exists():
        with _alone(folder):
            if not target.exists():
                try:
                    _build(release, folder, target)
                except NoWheels as error:
                    pytest.skip(f"the release's wheels are not to be had: {error}")
    return target / "bin" / "python"


@pytest.fixture
def hermes_home(tmp_path: Path) -> Iterator[Path]:
    """An empty HERMES_HOME."""
    home = tmp_path / ".hermes"
    home.mkdir(mode=0o700)
    yield home


@pytest.fixture
def in_hermes(hermes_python: Path, hermes_home: Path) -> Callable[..., Any]:
    """Run ``scripts/NAME.py`` with the real Hermes, give it JSON on stdin and return the JSON that it prints last."""

    def run(name: str, given: object) -> Any:
        result = subprocess.run(
            [str(hermes_python), "-I", str(_SCRIPTS / f"{name}.py")],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            env={
                "HOME": str(hermes_home.parent),
                "HERMES_HOME": str(hermes_home),
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C.UTF-8",
            },
            timeout=120,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return json.loads(result.stdout.splitlines()[-1])

    return run
