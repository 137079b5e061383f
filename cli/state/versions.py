"""The earlier versions of a state file that are whole, and what a damaged one is told to be mended with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import generations
from .directory import OpenDirectory
from .documents import Defect
from .encryption import defect_of
from .records import Document, SecretsFile
from .timestamps import rfc3339_of

#: A file of which there are earlier versions only.
LOST = Defect("is not there, although earlier versions of it are")


@dataclass(frozen=True)
class Version:
    """An earlier version of a state file, which is whole."""

    number: int
    path: Path
    #: When it was written, in RFC 3339.
    written: str
    content: bytes = field(repr=False)


def whole(directory: OpenDirectory, kind: type[Document]) -> Iterator[Version]:
    """Go through the earlier versions that are whole, newest first; each is read when its turn comes."""
    with directory.folder(generations.FOLDER) as folder:
        if folder is None:
            return
        for number in generations.numbers(folder, kind.FILENAME):
            name = generations.file_name(kind.FILENAME, number)
            status, content = folder.status(name), folder.read(name)
            if status is not None and content is not None and defect_of(kind, content) is None:
                yield Version(number, folder.path / name, rfc3339_of(status.st_mtime), content)


def kept(directory: OpenDirectory, kind: type[Document]) -> list[int]:
    """Return the numbers of a file's earlier versions, whole or not."""
    with directory.folder(generations.FOLDER) as folder:
        return [] if folder is None else generations.numbers(folder, kind.FILENAME)


def way_out(directory: OpenDirectory, kind: type[Document], defect: Defect) -> tuple[str, str]:
    """Say what there is in the place of a damaged file, and the command that mends it."""
    if defect.is_newer:
        from importlib.metadata import version

        ours = version("pyinfra-hermes")
        return (
            f"A later version of pyinfra-hermes wrote it, and this is {ours}",
            f"pip install --upgrade 'pyinfra-hermes>{ours}'",
        )
    good = next(whole(directory, kind), None)
    if good is not None:
        return f"The last good version is {good.path}, of {good.written}", f"clm state restore {kind.FILENAME}"
    path = directory.path / kind.FILENAME
    if kind is not SecretsFile and (directory.read(kind.FILENAME) or b"").lstrip()[:1] == b"[":
        return "It is a file of clawrium, the predecessor", "clm import clawrium"
    steps = [f"mv {_quoted(path)} {_quoted(path)}.bad"] if directory.status(kind.FILENAME) is not None else []
    # As long as an earlier version is there, a file that is not is one that was lost.
    folder = directory.path / generations.FOLDER
    steps += [
        f"rm {_quoted(folder / generations.file_name(kind.FILENAME, number))}" for number in kept(directory, kind)
    ]
    return "There is no earlier version that is whole", f"Mend it by hand, or begin without it: {' && '.join(steps)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
