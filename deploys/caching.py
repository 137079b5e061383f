"""What this machine keeps although it could be had again; all of it may be removed at any time."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path


def folder(name: str) -> Path:
    """Return a folder below ``$XDG_CACHE_HOME/pyinfra-hermes`` or ``~/.cache/pyinfra-hermes``, there or not."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        # Nobody's home: there is nothing, and nothing can be kept.
        root = Path(os.devnull)
    return root / "pyinfra-hermes" / name


def keep(file: Path, content: bytes) -> None:
    """Write a file of such a folder, whole or not at all, for this user only. That it fails is no error."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as handle:
                handle.write(content)
            part.replace(file)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def forget(folder: Path, days: int) -> None:
    """Remove the files of such a folder that were not written for so many days. That it fails is no error."""
    with suppress(OSError):
        for file in folder.iterdir():
            if file.stat().st_mtime < time.time() - days * 86400:
                file.unlink(missing_ok=True)
