"""The lab: any number of throwaway hosts on a network of their own, gone when it closes, whatever happens."""

import atexit
import contextlib
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType

from tests.lab import tools as machine_tools
from tests.lab.access import Access, HostKey
from tests.lab.image import image
from tests.lab.limits import make_room
from tests.lab.machine import Machine, Seat
from tests.lab.model import StandInModel
from tests.lab.run import Run

_BOOTING_AT_ONCE = 16


class Terminated(KeyboardInterrupt):
    """Somebody ended this process politely; the lab is torn down on the way out, as after Ctrl-C."""


class Lab:
    """A run of the lab. Use it with `with`; it also closes when the process ends, or is told to end."""

    def __init__(self, by_hand: bool = False) -> None:
        """Take away what dead runs left, build the image if need be, make the network and the keys."""
        machine_tools.require()
        make_room()
        self._image = image()
        self._lock = threading.RLock()
        self._hosts: dict[int, tuple[Machine, HostKey]] = {}
        self._models: list[StandInModel] = []
        self._closed = False
        self._handlers = _end_on_signals()
        self.run = Run.begin(by_hand)
        atexit.register(self.close)
        try:
            self.access = Access(self.run.directory)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Lab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def id(self) -> str:
        """The short name of this run."""
        return self.run.id

    @property
    def machines(self) -> list[Machine]:
        """The hosts there are, in the order of their numbers."""
        with self._lock:
            return [self._hosts[number][0] for number in sorted(self._hosts)]

    def boot(self, n: int = 1, tools: bool = True, layer: Path | None = None) -> list[Machine]:
        """Boot `n` hosts side by side and wait until all of them answer; `tools` are ripgrep and ffmpeg.

        `layer` is a directory whose content their disks have from the start.
        """
        with self._lock:
            numbers = self._free_numbers(n)
            lower = self._image.lower(tools) if layer is None else f"{layer}:{self._image.lower(tools)}"
            added = [Machine(Seat(self.run, number), self.access, lower) for number in numbers]
            for machine in added:
                public_key = machine.create(self.access.authorized_key)
                self._hosts[machine.number] = machine, HostKey(machine.name, machine.address, public_key)
            self._publish()
        with ThreadPoolExecutor(_BOOTING_AT_ONCE) as pool:
            for future in [pool.submit(machine.start) for machine in added]:
                future.result()
        return added

    def remove(self, machine: Machine) -> None:
        """Take one host away before the lab closes."""
        machine.remove()
        with self._lock:
            del self._hosts[machine.number]
            self._publish()

    def model(self, log: Path | None = None) -> StandInModel:
        """A stand-in model server that the hosts of this lab can reach; it may keep a log of its requests."""
        model = StandInModel(self.run.bridge.address, log=log.open("a") if log else None)
        with self._lock:
            self._models.append(model)
            self._publish()
        return model

    def close(self) -> None:
        """Take everything away. A second call does nothing, nor does one in a forked child."""
        if self._closed or self.run.owner.pid != os.getpid():
            return
        self._closed = True
        atexit.unregister(self.close)
        for machine in self.machines:
            machine.disconnect()
        for model in self._models:
            model.close()
        self.run.end()
        for machine in self.machines:
            machine.collect()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _free_numbers(self, n: int) -> list[int]:
        candidates = (number for number in range(1, 10_000) if number not in self._hosts)
        return [next(candidates) for _ in range(n)]

    def _publish(self) -> None:
        self.access.list_hosts([key for _, key in self._hosts.values()])
        description = {
            "hosts": [{"name": machine.name, "address": machine.address} for machine in self.machines],
            "models": [model.url for model in self._models],
        }
        draft = self.run.directory / "hosts.new"
        draft.write_text(json.dumps(description, indent=2) + "\n")
        draft.rename(self.run.directory / "hosts.json")


def _end_on_signals() -> dict[signal.Signals, signal.Handlers]:
    """Make SIGTERM and SIGHUP end this process like Ctrl-C, where nobody has decided otherwise."""
    changed: dict[signal.Signals, signal.Handlers] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Only the main thread may do this; elsewhere the owner of the main thread has to.
        with contextlib.suppress(ValueError):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _terminate)
                changed[number] = signal.SIG_DFL
    return changed


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(f"ended by {signal.Signals(number).name}")
