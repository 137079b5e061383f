"""On what kind of file system a directory is: over a network, locks and modes are somebody else's promise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    (
        "9p", "afs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
        "fuse.sshfs", "gfs2", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs",
    )
)  # fmt: skip
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_mount(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Name the file system that a path is on, as ``nfs4 (server:/home)``, when it is a network's; None else."""
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    real = os.path.realpath(path)
    longest, kind, source = "", "", ""
    for point, its_kind, its_source in _mounts(text):
        # Of several in one place the last hides the others.
        if _is_in(real, point) and len(point) >= len(longest):
            longest, kind, source = point, its_kind, its_source
    return f"{kind} ({source})" if kind in _NETWORK else None


def _mounts(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if separator and len(left) > 4 and len(right) > 1:
            yield _unescaped(left[4]), right[0], _unescaped(right[1])


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _is_in(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(f"{point}/")
