"""The wheels of a release, fetched once on the control machine, checked against its lock, and packed for hosts."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pyinfra_hermes.operations.wheels import NoWheels

# pip takes every tag by itself. glibc 2.34 is older than what any listed platform has.
_GLIBC = range(5, 35)


class Locked(Protocol):
    """What is installed from a lock: a release of Hermes, or a tool."""

    @property
    def tag(self) -> str:
        """What it is called."""

    def requirements(self) -> str:
        """Return the lock's text, checked against its digest."""


def applicable(lock: str, python: str, arch: str) -> str:
    """
    Return the part of a lock that a host with this Python and architecture installs, without markers.

    pip evaluates markers for the interpreter that it runs in, whatever ``--python-version`` says.
    """
    from packaging.requirements import Requirement  # late: no command but an installation needs it

    host = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": arch,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    kept = []
    for block in re.split(r"^(?=\S)", lock, flags=re.M):
        if not block or block.startswith("#"):
            continue
        first, line_end, hashes = block.partition(" \\\n")
        requirement = Requirement(first)
        if requirement.marker is None or requirement.marker.evaluate(host):
            requirement.marker = None
            kept.append(f"{requirement}{line_end}{hashes}")
    return "".join(kept)


@dataclass(frozen=True)
class Wheelhouse:
    """
    Where wheels come from and where they are kept.

    + source: a folder of wheels (a host without a way out, a control machine without one), or None for the package
      index that pip is configured with
    + cache: folder that keeps what was fetched
    """

    source: Path | None = None
    cache: Path | None = None

    def archive(self, wanted: Locked, python: str, arch: str) -> Path:
        """
        Return a tar file with every wheel that ``wanted`` needs on a host with this Python and architecture.

        Fetched once; two callers at a time wait for each other. Raises :class:`NoWheels`.
        """
        lock = wanted.requirements()
        name = f"{wanted.tag}-{hashlib.sha256(lock.encode()).hexdigest()[:8]}-py{python}-{arch}.tar"
        folder = self.cache or _default_cache()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = folder / name
        with _alone(folder / f".{name}.lock"):
            if not target.exists():
                self._build(wanted.tag, lock, python, arch, target)
        return target

    def _build(self, tag: str, lock: str, python: str, arch: str, target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheels-") as work:
            wheels = Path(work) / "wheels"
            requirements = Path(work) / "lock.txt"
            requirements.write_text(applicable(lock, python, arch), encoding="utf-8")
            self._download(tag, requirements, python, arch, wheels)
            packed = Path(work) / "wheels.tar"
            with tarfile.open(packed, "w") as tar:
                for wheel in sorted(wheels.iterdir()):
                    tar.add(wheel, arcname=wheel.name)
            with packed.open("rb") as done:
                os.fsync(done.fileno())
            packed.replace(target)

    def _download(self, tag: str, requirements: Path, python: str, arch: str, wheels: Path) -> None:
        command = [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet",
            "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp",
            f"--python-version={python}", f"--dest={wheels}", f"--requirement={requirements}",
            *(f"--platform=manylinux_2_{minor}_{arch}" for minor in reversed(_GLIBC)),
            f"--platform=manylinux2014_{arch}",
        ]  # fmt: skip
        if self.source is not None:
            if not self.source.is_dir():
                raise NoWheels(f"the wheelhouse {self.source} is not a folder")
            command += ["--no-index", f"--find-links={self.source}"]
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if result.returncode != 0:
            # Which package it is about stands below the line that says ERROR.
            said = result.stderr.splitlines()
            first = next((n for n, line in enumerate(said) if line.startswith("ERROR")), len(said))
            lines = said[first:] or ["pip failed"]
            where = f"in {self.source}" if self.source else "from the package index"
            raise NoWheels(f"the wheels of {tag} could not be had {where}:\n" + "\n".join(lines))


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "pyinfra-hermes" / "wheels"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        # In a deploy several hosts ask at once, each in a greenlet: a blocking flock would block them all.
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _pause()
        yield


def _pause() -> None:
    import time  # looked up late: patched by gevent when a deploy runs

    time.sleep(0.2)
