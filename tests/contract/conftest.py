"""The real Hermes of the pinned release, in a virtual environment that is built once and kept by the lock's digest."""

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


def _build(release: Release, target: Path) -> None:
    # Offline and from hashes, as operations/release.sh does it on a host.
    try:
        archive = Wheelhouse().archive(release, _PYTHON, os.uname().machine)
    except NoWheels as error:
        pytest.skip(f"the release's wheels are not to be had: {error}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".contract-") as work:
        wheels, lock, venv = Path(work, "wheels"), Path(work, "lock"), Path(work, "venv")
        with tarfile.open(archive) as tar:
            tar.extractall(wheels, filter="data")
        lock.write_text(release.requirements(), encoding="utf-8")
        uv = _uv()
        environment = {**os.environ, "UV_NO_CONFIG": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1", "UV_LINK_MODE": "copy"}
        python = str(Path(sys.executable).resolve()) if sys.version_info[:2] == (3, 11) else _PYTHON
        for command in (
            [uv, "venv", "--quiet", "--relocatable", "--python", python, str(venv)],
            [
                uv, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), "--no-index",
                "--find-links", str(wheels), "--require-hashes", "--compile-bytecode", "--requirement", str(lock),
            ],
        ):  # fmt: skip
            subprocess.run(command, check=True, env=environment)
        venv.rename(target)


@pytest.fixture(scope="session")
def hermes_python() -> Path:
    """The interpreter of an environment that holds exactly the locked wheels of the default release."""
    release = manifest().release()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyinfra-hermes"
    base.mkdir(parents=True, exist_ok=True)
    target = base / f"contract-{release.lock_sha256[:16]}"
    with (base / ".contract.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not target.exists():
            _build(release, target)
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
