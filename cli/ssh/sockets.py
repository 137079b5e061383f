"""Where this user's own Unix sockets lie."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ..exits import Exit
from ..problems import Problem


def private_folder() -> Path:
    """
    Return the folder of our sockets, which nobody else can enter: in ``$XDG_RUNTIME_DIR``, or else in ``/tmp``.

    Raises :class:`Problem` when what is there is not ours alone.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base, "clm") if Path(base).is_absolute() else Path(tempfile.gettempdir(), f"clm-{os.getuid()}")
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise Problem(
            f"{folder} cannot be made: {error.strerror}", "Name a socket with --socket, or a --port alone", Exit.REFUSED
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Problem(
            f"{folder} is not a folder of this user alone: a socket in it would be open to others",
            "Name a socket elsewhere with --socket, or a --port alone",
            Exit.REFUSED,
        )
    return folder
