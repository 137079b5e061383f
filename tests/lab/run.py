"""One run of the lab: what it owns on this machine, written down so that anybody can take it away again.

A run has a directory under /run with the id of its owner's process. Teardown goes by that record alone, so it
is the same whether the owner does it or a later run finds that the owner has died.
"""

import contextlib
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import cache_directory, locked
from tests.lab.cgroup import ControlGroup
from tests.lab.network import Bridge, delete_link, free_network, link_exists
from tests.lab.process import Process

RUNS = Path("/run/pyinfra-hermes-lab")
_RECORD = "run.json"
_NSPAWN = Path("/run/systemd/nspawn")
_MEMORY = Path("/dev/shm/pyinfra-hermes-lab")
_PLENTY_KIB = 8 * 2**20


class LeftBehind(Exception):
    """A run could not be taken away completely; the message names what is left. Its record stays, too."""


@dataclass(frozen=True)
class Run:
    """What a run is called and owns."""

    id: str
    owner: Process
    by_hand: bool
    bridge: Bridge
    disks: Path

    @classmethod
    def begin(cls, by_hand: bool = False) -> "Run":
        """Take away the runs of dead owners, then start one that belongs to this process."""
        RUNS.mkdir(mode=0o700, exist_ok=True)
        with locked(RUNS / ".lock"):
            for complaint in _reap()[1]:
                print(f"lab: {complaint}", file=sys.stderr, flush=True)
            taken = {entry.name for entry in RUNS.iterdir()}
            name = next(name for name in iter(lambda: secrets.token_hex(2), "") if name not in taken)
            bridge = Bridge(f"lab-{name}", free_network())
            run = cls(name, Process.current(), by_hand, bridge, _place_for_disks() / name)
            # The record comes first: from here on, a crash leaves nothing that it does not name.
            run._write()
            run.disks.mkdir(parents=True, mode=0o700)
            bridge.create()
        return run

    @property
    def directory(self) -> Path:
        """Keys, sockets, mount points and the record of this run."""
        return RUNS / self.id

    @property
    def machines(self) -> Path:
        """One directory for each of its hosts."""
        return self.directory / "machines"

    @property
    def group(self) -> ControlGroup:
        """The control group around all of its processes."""
        return ControlGroup(self.id)

    def end(self) -> None:
        """Kill its processes, unmount, unplug, remove: everything that is named by this run, nothing else."""
        self.group.kill()
        names = [path.name for path in self.machines.iterdir()] if self.machines.is_dir() else []
        for name in names:
            forget_container(name, self.machines / name / "root")
        unmount_below(self.directory)
        self.bridge.delete()
        self.group.remove()
        left = [f"process {pid}" for pid in self.group.pids()]
        left += [f"mount {path}" for path in mounts_below(self.directory)]
        left += [f"link {name}" for name in (self.bridge.name,) if link_exists(name)]
        if left:
            raise LeftBehind(f"lab {self.id} is not gone completely: {', '.join(left)}")
        shutil.rmtree(self.disks, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.disks.parent.rmdir()
        shutil.rmtree(self.directory)

    def _write(self) -> None:
        draft = RUNS / f".new-{self.id}"
        draft.mkdir(mode=0o700)
        record = {
            "id": self.id, "pid": self.owner.pid, "started": self.owner.started, "by_hand": self.by_hand,
            "bridge": self.bridge.name, "network": str(self.bridge.network), "disks": str(self.disks),
        }  # fmt: skip
        (draft / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
        draft.rename(self.directory)


def runs() -> list[Run]:
    """Every run on this machine, also those whose owner is dead."""
    if not RUNS.is_dir():
        return []
    found = []
    for record in sorted(RUNS.glob(f"[!.]*/{_RECORD}")):
        # It may be taken away between the listing and the reading.
        with contextlib.suppress(FileNotFoundError):
            values = json.loads(record.read_text())
            bridge = Bridge(values["bridge"], ipaddress.IPv4Network(values["network"]))
            owner = Process(values["pid"], values["started"])
            found.append(Run(values["id"], owner, values["by_hand"], bridge, Path(values["disks"])))
    return found


def reap() -> list[str]:
    """Take away every run whose owner is dead, and name them."""
    if not RUNS.is_dir():
        return []
    with locked(RUNS / ".lock"):
        gone, complaints = _reap()
    if complaints:
        raise LeftBehind("; ".join(complaints))
    return gone


def _reap() -> tuple[list[str], list[str]]:
    """The runs that are gone now, and a complaint for each that would not go."""
    gone, complaints = [], []
    for draft in RUNS.glob(".new-*"):
        shutil.rmtree(draft)
    for run in runs():
        if not run.owner.alive:
            try:
                run.end()
                gone.append(run.id)
            except LeftBehind as error:
                complaints.append(str(error))
    # A restart of this machine empties /run, and leaves disks that no record names any more.
    known = {run.id for run in runs()}
    for place in (cache_directory() / "disks", _MEMORY):
        for disk in place.glob("*"):
            if disk.name not in known:
                shutil.rmtree(disk, ignore_errors=True)
    return gone, complaints


def _place_for_disks() -> Path:
    # In memory where there is plenty of it: what hosts write is thrown away, and a disk that is mounted with
    # `discard` takes half a minute to forget a release of Hermes.
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    if int(memory["MemAvailable"].split()[0]) < _PLENTY_KIB or [str(_MEMORY.parent), "tmpfs"] not in mounts:
        return cache_directory() / "disks"
    free = os.statvfs(_MEMORY.parent)
    return _MEMORY if free.f_bavail * free.f_frsize // 1024 >= _PLENTY_KIB else cache_directory() / "disks"


def mounts_below(directory: Path) -> list[Path]:
    """Mount points inside a directory, innermost last."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted(point for point in points if directory in point.parents)


def unmount_below(directory: Path) -> None:
    """Unmount everything inside a directory; what is still in use goes when its last user does."""
    for point in reversed(mounts_below(directory)):
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode != 0:
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def forget_container(name: str, root: Path) -> None:
    """Remove what systemd-nspawn keeps outside the container and only removes after a clean end."""
    delete_link(f"vb-{name}")
    for directory in ("propagate", "unix-export"):
        shutil.rmtree(_NSPAWN / directory / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        status = root.stat()
        (_NSPAWN / "locks" / f"inode-{status.st_dev}:{status.st_ino}").unlink()
