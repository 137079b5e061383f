"""All wheels of a Hermes release, downloaded once: lab hosts have no way out to fetch them."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab.cache import cache_directory, digest, made_once

_TRIES = 3


class NotDownloaded(Exception):
    """The wheels could not be downloaded; what has arrived is kept for the next try."""


def wheelhouse(requirements_lock: Path, python_version: str = "3.11") -> Path:
    """The directory with the wheels that a hash-locked requirements file asks for on this kind of machine."""
    lock = requirements_lock.absolute()
    target = cache_directory() / "wheels" / digest(python_version, lock.read_bytes())
    return made_once(target, lambda directory: _download(lock, python_version, directory), resumable=True)


def _download(lock: Path, python_version: str, directory: Path) -> None:
    # pip decides by the Python it runs under which lines of the lock apply, so it must be the right one.
    python = _python_with_pip(python_version)
    print(f"lab: downloading the wheels of {lock.name}, once", file=sys.stderr, flush=True)
    command = [
        python, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:",
        "--requirement", str(lock), "--dest", str(directory),
    ]  # fmt: skip
    for _ in range(_TRIES):
        # pip keeps what is in the directory and has the right hash, so a further try only fetches the rest.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    tail = "\n".join(done.stderr.splitlines()[-10:])
    raise NotDownloaded(
        f"pip could not download the wheels of {lock} in {_TRIES} tries; "
        f"{len(list(directory.iterdir()))} files have arrived and are kept in {directory}\n{tail}"
    )


def _python_with_pip(version: str) -> str:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [sys.executable] if running == version else []
    candidates += filter(None, [shutil.which(f"python{version}")])
    for python in candidates:
        asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return python
    raise NotDownloaded(f"downloading wheels for Python {version} needs a python{version} that has pip")
