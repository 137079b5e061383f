"""What is expensive to make is made once and kept: one directory, one lock per entry."""

import contextlib
import fcntl
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path


def cache_directory() -> Path:
    """Where finished images, wheels and the disks of running hosts lie (`HERMES_LAB_CACHE` moves it)."""
    path = Path(os.environ.get("HERMES_LAB_CACHE") or "/var/cache/pyinfra-hermes-lab").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts: str | bytes) -> str:
    """A short name for exactly this recipe on this kind of machine."""
    summary = sha256(platform.machine().encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        summary.update(len(data).to_bytes(8, "big") + data)
    return summary.hexdigest()[:16]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel lets go of it when this process dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def made_once(target: Path, make: Callable[[Path], None], resumable: bool = False) -> Path:
    """Return `target`, made by `make` when it is not there yet.

    `make` works in a directory beside it that takes the final name only when `make` has returned, so a
    half-made entry is never used. A second process that wants the same entry waits. What an earlier, failed
    try left behind is thrown away, or handed to `make` again when it is `resumable`.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f"{target.name}.lock")):
        if target.exists():
            return target
        partial = target.with_name(f"{target.name}.partial")
        if not resumable and partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(exist_ok=True)
        make(partial)
        partial.rename(target)
    return target
