"""Watches for secrets in the open while something runs: in arguments, environments and temporary files.

A process of its own, as root on this machine. The processes of lab hosts are processes of this machine, too, so it sees
them as their own root would, and the hosts' files through `/proc/PID/root`. It goes through everything over and over,
and the kernel tells it of every program that is started, so that it looks at those first.
"""

import json
import os
import select
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import override

_LARGEST = 4 << 20

# linux/connector.h and linux/cn_proc.h
_CONNECTOR, _ON_EXEC = 11, 2
_LISTEN = struct.pack("=IHHII", 40, 3, 0, 0, 0) + struct.pack("=IIIIHH", 1, 1, 0, 0, 4, 0) + struct.pack("=I", 1)


@dataclass(frozen=True)
class Hit:
    """A secret where everybody, or at least nobody in need of it, can read it."""

    secret: str
    place: str
    what: str

    @override
    def __str__(self) -> str:
        return f"{self.secret} in {self.place}: {self.what}"


class Watcher:
    """Watches from `with` on until it ends; then `hits` are there, and how much was looked at."""

    def __init__(self, secrets: Mapping[str, str], folders: Sequence[Path], spared: Sequence[str] = ()) -> None:
        """Watch all processes and these folders; what runs in `spared` control groups may know it."""
        self._plan = {"secrets": dict(secrets), "folders": [str(path) for path in folders], "spared": list(spared)}
        self.hits: list[Hit] = []
        self.rounds = self.programs = 0

    def __enter__(self) -> "Watcher":
        # The secrets come on standard input: this watcher must not find itself.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(self._plan) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "watching\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        out, _ = self._process.communicate("\n", timeout=240)
        found = json.loads(out)
        self.hits = [Hit(*hit) for hit in found["hits"]]
        self.rounds, self.programs = found["rounds"], found["programs"]


def _watch(secrets: Mapping[str, str], folders: Sequence[str], spared: Sequence[str]) -> None:
    wanted = [(name, value.encode()) for name, value in secrets.items()]
    hits: dict[tuple[str, str, str], None] = {}
    rounds = programs = 0
    events = _events()
    print("watching", flush=True)

    def look(place: str, content: bytes, what: str) -> None:
        for name, value in wanted:
            if value in content:
                hits.setdefault((name, place, what))

    def look_at_process(pid: str) -> None:
        with suppress(OSError):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
            look("arguments", arguments, _title(arguments))
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if any(value in environment for _, value in wanted):
                group = Path(f"/proc/{pid}/cgroup").read_text()
                if not any(name in group for name in spared):
                    look("environment", environment, _title(arguments))

    while not select.select([sys.stdin], [], [], 0)[0]:
        for pid in _started(events, 0.004):
            programs += 1
            look_at_process(str(pid))
        for entry in os.listdir("/proc"):  # noqa: PTH208 - the quickest
            if entry.isdecimal() and int(entry) != os.getpid():
                look_at_process(entry)
        for folder in folders:
            for path, content in _files(folder):
                look("file", content, path)
        rounds += 1
    print(json.dumps({"hits": list(hits), "rounds": rounds, "programs": programs}))


def _events() -> socket.socket | None:
    # Some kernels have no such thing, and none has it for others than root; going round and round is what is left.
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
        events.bind((0, 1))
        events.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        events.send(_LISTEN)
    except OSError:
        return None
    return events


def _started(events: socket.socket | None, seconds: float) -> Iterator[int]:
    if events is None:
        time.sleep(seconds)
        return
    while select.select([events], [], [], seconds)[0]:
        with suppress(OSError):
            message = events.recv(65536)
            if struct.unpack_from("=I", message, 36)[0] == _ON_EXEC:
                yield struct.unpack_from("=I", message, 52)[0]
        seconds = 0


def _files(folder: str) -> Iterator[tuple[str, bytes]]:
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                # Never a pipe or a device, and never what a link leads to.
                descriptor = os.open(f"{path}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(descriptor, "rb") as file:
                    status = os.fstat(descriptor)
                    if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST:
                        yield f"{path}/{name}", file.read()


def _title(arguments: bytes) -> str:
    return arguments.replace(b"\0", b" ")[:120].decode(errors="replace").strip()


if __name__ == "__main__":
    _watch(**json.loads(sys.stdin.readline()))
