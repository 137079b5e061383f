"""What a release is made of, fetched once on the control machine, checked against its pins, and packed for hosts."""

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

from . import caching

# pip takes every tag by itself. glibc 2.34 is older than what any listed platform has.
_GLIBC = range(5, 35)


# pip asks a package's sources for their metadata by running their build. This stands in the build's place: nothing of
# the sources is run, nor anything that they name, and pip does all the rest, its checks of digests included.
_NO_BUILD = """\
import email
import pathlib


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    about = pathlib.Path("PKG-INFO").read_bytes()
    found = email.message_from_bytes(about)
    # pip before 23.1 takes the package's name from the folder's.
    folder = pathlib.Path(directory) / f"{found['Name'].replace('-', '_')}-{found['Version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_bytes(about)
    return folder.name
"""
#: How many of the things that a folder lacks are named at once.
_TOLD = 20


class Sources(Protocol):
    """Sources on the package index, one archive."""

    @property
    def file(self) -> str:
        """Name of the archive."""

    @property
    def sha256(self) -> str:
        """Its digest."""


class Locked(Protocol):
    """What is installed from a lock: a release of Hermes, or a tool."""

    @property
    def tag(self) -> str:
        """What it is called."""

    @property
    def source(self) -> Sources | None:
        """Sources that are brought along with the wheels."""

    def requirements(self) -> str:
        """Return the lock's text, checked against its digest."""


@dataclass(frozen=True)
class Part:
    """One file that is to be had: by its package and version, with the digests that it may have."""

    name: str
    digests: frozenset[str]


def parts(wanted: Locked, python: str, arch: str) -> list[Part]:
    """Return everything that ``wanted`` needs on a host with this Python and architecture."""
    found = []
    for block in re.split(r"^(?=\S)", applicable(wanted.requirements(), python, arch), flags=re.M):
        if block:
            digests = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
            found.append(Part(re.sub(r"\[.*?\]", "", block.split(" ", 1)[0]), digests))
    if wanted.source is not None:
        found.append(Part(wanted.source.file, frozenset([wanted.source.sha256])))
    return found


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
        target = self.place(wanted, python, arch)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                self._build(wanted, python, arch, target)
        return target

    def place(self, wanted: Locked, python: str, arch: str) -> Path:
        """Return where the archive of :meth:`archive` is kept, whether it is there or not."""
        name = hashlib.sha256(wanted.requirements().encode()).hexdigest()[:8]
        if wanted.source is not None:
            name += f"-{wanted.source.sha256[:8]}"
        return (self.cache or caching.folder("wheels")) / f"{wanted.tag}-{name}-py{python}-{arch}.tar"

    def _build(self, wanted: Locked, python: str, arch: str, target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheels-") as work:
            wheels = Path(work) / "wheels"
            self._fetch(wanted, python, arch, Path(work), wheels)
            packed = Path(work) / "wheels.tar"
            with tarfile.open(packed, "w") as tar:
                for wheel in sorted(wheels.iterdir()):
                    tar.add(wheel, arcname=wheel.name)
            with packed.open("rb") as done:
                os.fsync(done.fileno())
            packed.replace(target)

    def _fetch(self, wanted: Locked, python: str, arch: str, work: Path, wheels: Path) -> None:
        if self.source is not None and not self.source.is_dir():
            raise NoWheels(f"the wheelhouse {self.source} is not a folder")
        requirements = work / "lock.txt"
        requirements.write_text(applicable(wanted.requirements(), python, arch), encoding="utf-8")
        said = self._pip(
            "--only-binary=:all:", "--implementation=cp", f"--python-version={python}",
            f"--dest={wheels}", f"--requirement={requirements}",
            *(f"--platform=manylinux_2_{minor}_{arch}" for minor in reversed(_GLIBC)),
            f"--platform=manylinux2014_{arch}",
        )  # fmt: skip
        if not said and wanted.source is not None:
            said = self._pip_source(wanted.source, work, wheels)
        if said:
            raise NoWheels(self._complaint(wanted, python, arch, said))

    def _pip_source(self, source: Sources, work: Path, wheels: Path) -> list[str]:
        name, _, version = source.file.removesuffix(".tar.gz").rpartition("-")
        requirements = work / "source.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
        backend = work / "no_build" / "setuptools"
        backend.mkdir(parents=True)
        (backend / "__init__.py").touch()
        (backend / "build_meta.py").write_text(_NO_BUILD, encoding="utf-8")
        return self._pip(
            "--no-binary=:all:", "--no-build-isolation", "--ignore-requires-python",
            f"--dest={wheels}", f"--requirement={requirements}",
            PYTHONPATH=str(backend.parent),
        )  # fmt: skip

    def _pip(self, *arguments: str, **environment: str) -> list[str]:
        """Have pip fetch something; return what it said when it could not, nothing when it could."""
        command = [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet",
            "--no-deps", "--require-hashes", *arguments,
        ]  # fmt: skip
        if self.source is not None:
            command += ["--no-index", f"--find-links={self.source}"]
        result = subprocess.run(
            command,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        if result.returncode == 0:
            return []
        # Which package it is about stands below the line that says ERROR.
        said = result.stderr.splitlines()
        first = next((n for n, line in enumerate(said) if line.startswith("ERROR")), len(said))
        return said[first:] or ["pip failed"]

    def _complaint(self, wanted: Locked, python: str, arch: str, said: list[str]) -> str:
        if self.source is None:
            return f"the wheels of {wanted.tag} could not be had from the package index:\n" + "\n".join(said)
        lacking = missing(wanted, python, arch, self.source)
        if not lacking:
            return f"the wheels of {wanted.tag} could not be had in {self.source}:\n" + "\n".join(said)
        more = [f"and {len(lacking) - _TOLD} more"] if len(lacking) > _TOLD else []
        # What pip says of a version that it cannot find is in the list; of another digest it says which.
        other = said if "DO NOT MATCH THE HASHES" in said[0] else []
        return "\n".join(
            [
                f"the wheels of {wanted.tag} could not be had in {self.source}. "
                f"For Python {python} on {arch} it lacks, or has with another digest:",
                *(f"  {line}" for line in [*lacking[:_TOLD], *more]),
                *other,
            ]
        )


def missing(wanted: Locked, python: str, arch: str, folder: Path) -> list[str]:
    """Return what ``wanted`` needs on a host with this Python and architecture and a folder does not have, by name."""
    found = {sha256_of(file) for file in folder.iterdir() if file.is_file() and file.suffix in (".whl", ".gz")}
    return [part.name for part in parts(wanted, python, arch) if not part.digests & found]


def sha256_of(file: Path) -> str:
    """Return the digest of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
