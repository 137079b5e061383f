"""
Earlier versions of the state files: ``generations/<file>.~<number>~``, 0700, the highest number is the
newest.

A file of an older schema is kept once more when the first change writes it in the present one, as
``<file>.~schema-<version>~``: that copy does not go with later changes.

The number before a new version is one above the highest, so neither a clock nor a crash while renaming many
files can mix up their order. An earlier version is the very file that was replaced, with its time of writing.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress

from .directory import OpenDirectory
from .errors import StateReadFailed

FOLDER = "generations"

#: How file systems without hard links say so; a copy does as well there.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

#: How many earlier versions of each file are kept.
KEPT = 3


def numbers(folder: OpenDirectory, name: str) -> list[int]:
    """Return the numbers of a file's earlier versions, newest first."""
    pattern = re.compile(re.escape(name) + r"\.~([1-9][0-9]{0,17})~")
    found = (pattern.fullmatch(entry) for entry in folder.names())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def file_name(name: str, number: int) -> str:
    """Name an earlier version."""
    return f"{name}.~{number}~"


def schema_name(name: str, version: int) -> str:
    """Name the copy of a file as it was before it was written in another schema."""
    return f"{name}.~schema-{version}~"


def schemas(folder: OpenDirectory, name: str) -> list[int]:
    """Return the older schemas in which a file is kept, the latest first."""
    pattern = re.compile(re.escape(name) + r"\.~schema-([1-9][0-9]{0,8})~")
    found = (pattern.fullmatch(entry) for entry in folder.names())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def keep_schema(directory: OpenDirectory, name: str, version: int) -> None:
    """Keep the present version of a file, which has an older schema, for as long as nobody removes it."""
    target = schema_name(name, version)
    with directory.created_folder(FOLDER) as folder:
        # It is an earlier version by now, whatever becomes of an older copy of that schema.
        folder.unlink(target)
        _link(directory, name, folder, target)
        folder.sync()


def keep(directory: OpenDirectory, name: str) -> None:
    """Keep the present version of a file, which is about to be replaced. Raises ``OSError``."""
    present = directory.status(name)
    if present is None:
        return
    with directory.created_folder(FOLDER) as folder:
        newest = next(iter(numbers(folder, name)), 0)
        kept = folder.status(file_name(name, newest)) if newest else None
        if kept is not None and os.path.samestat(kept, present):
            return  # a writer before us was stopped after this step
        _link(directory, name, folder, file_name(name, newest + 1))
        folder.sync()


def prune(directory: OpenDirectory, name: str) -> None:
    """Remove the versions that are too many; what cannot be removed now is removed another time."""
    # The change is made by now: nothing here may make it look as if it were not.
    with suppress(OSError, StateReadFailed), directory.folder(FOLDER) as folder:
        if folder is not None:
            for number in numbers(folder, name)[KEPT:]:
                folder.unlink(file_name(name, number))


def _link(directory: OpenDirectory, name: str, folder: OpenDirectory, target: str) -> None:
    try:
        os.link(name, target, src_dir_fd=directory.descriptor, dst_dir_fd=folder.descriptor, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        content = directory.read(name)
        if content is not None:
            folder.write_new(target, content)
