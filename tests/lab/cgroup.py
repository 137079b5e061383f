"""A control group per host: systemd in it needs one to itself, and it lists every process of the host.

Without it all containers started from here would share one group, and each systemd would find processes of
the others among its own services.
"""

import contextlib
import os
import signal
from pathlib import Path

from tests.lab.process import wait_until

_PARENT = "pyinfra-hermes-lab"
# Moves itself into the groups named first, up to "--", and becomes the command that follows.
_ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'


class ControlGroup:
    """One group, by the same path in each hierarchy that systemd uses (old, new or both)."""

    def __init__(self, path: str) -> None:
        """Name the group; `create` makes it."""
        self._directories = [hierarchy / _PARENT / path for hierarchy in _hierarchies()]

    def create(self) -> None:
        """Make the group."""
        for directory in self._directories:
            directory.mkdir(parents=True, exist_ok=True)

    def enter(self, command: list[str]) -> list[str]:
        """The command that runs `command` inside the group."""
        return ["/bin/sh", "-c", _ENTER, "sh", *map(str, self._directories), "--", *command]

    def pids(self) -> list[int]:
        """Every process in the group, and in the groups inside it."""
        found: set[int] = set()
        for directory in self._directories:
            # Groups come and go meanwhile: walk() passes over those that are gone, so must the reading.
            for path, _, _ in os.walk(directory):
                with contextlib.suppress(OSError):
                    found.update(map(int, Path(path, "cgroup.procs").read_text().split()))
        # A process that this one cannot name shows up as 0, and 0 would mean this one.
        return sorted(found - {0})

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process, again until no new one has appeared meanwhile."""
        reached: set[int] = set()
        while new := set(self.pids()) - reached:
            for pid in sorted(new):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= new

    def kill(self, seconds: float = 10) -> bool:
        """Kill every process and wait until they are gone."""

        def emptied() -> bool:
            self.send(signal.SIGKILL)
            return not self.pids()

        return wait_until(emptied, seconds)

    def remove(self) -> None:
        """Remove the group with all the groups inside it, once no process is left in them."""
        for directory in self._directories:
            for path, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()


def _hierarchies() -> list[Path]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_point, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(mount_point))
    return found
