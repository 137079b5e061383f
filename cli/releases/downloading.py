"""``clm release download``: a wheelhouse for machines without a way out."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.tools import CATALOGUE
from pyinfra_hermes.deploys.wheelhouse import Locked, Wheelhouse, parts
from pyinfra_hermes.operations.wheels import NoWheels

from ..exits import Exit
from ..problems import Problem
from ..progress import Progress


def download(name: str, folder: Path, python: str, arch: str, tools: Sequence[str]) -> int:
    """Put what a release and tools need into a folder, and return how many files that are. Raises :class:`Problem`."""
    if not re.fullmatch(r"3\.\d{1,2}", python):
        raise Problem(f"{python!r} is no Python version like 3.11", None, Exit.USAGE)
    for tool in tools:
        if tool not in CATALOGUE:
            raise Problem(f"There is no tool {tool!r}; there are: {', '.join(CATALOGUE)}", None, Exit.USAGE)
    wanted: list[Locked] = [manifest().release(name), *(CATALOGUE[tool] for tool in tools)]
    names: set[str] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Progress.shown("downloading") as progress:
            for each in wanted:
                progress.step(each.tag, f"wheels for Python {python} on {arch}", None)
                good = frozenset().union(*(part.digests for part in parts(each, python, arch)))
                names.update(_unpacked(Wheelhouse().archive(each, python, arch), folder, good))
    except NoWheels as error:
        raise Problem(str(error)[:1].upper() + str(error)[1:], "See docs/releases.md on mirrors") from None
    except OSError as error:
        raise Problem(f"{folder}: {error.strerror or error}") from None
    return len(names)


def _unpacked(archive: Path, folder: Path, good: frozenset[str]) -> Iterator[str]:
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if "/" not in member.name else None
            data = file.read() if file else b""
            if hashlib.sha256(data).hexdigest() not in good:
                raise Problem(
                    f"{archive} holds {member.name!r}, which is not what is pinned", f"Remove it: rm {archive}"
                )
            (folder / member.name).write_bytes(data)
            yield member.name
