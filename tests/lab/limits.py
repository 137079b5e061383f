"""Limits of the kernel that all hosts share, and that many of them on one machine run into."""

import sys
from pathlib import Path

# Each systemd watches files: about seven instances per host and three per logged-in user. Past the limit the
# boot hangs without a word; the usual 128 are used up by the fourteenth host.
_INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 8192


def make_room() -> None:
    """Raise the limits that are too low for a lab. They stay raised: nothing else on the machine minds."""
    before = int(_INOTIFY_INSTANCES.read_text())
    if before < _ENOUGH:
        _INOTIFY_INSTANCES.write_text(f"{_ENOUGH}\n")
        print(f"lab: raised fs.inotify.max_user_instances from {before} to {_ENOUGH}", file=sys.stderr)
