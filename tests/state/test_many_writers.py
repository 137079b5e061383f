"""Many writers at once, and writers that are killed at any moment while others read."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyinfra_hermes.cli.state.documents import Defect, decode
from pyinfra_hermes.cli.state.records import KINDS, Host, Integration, Provider
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

from .test_interruption import at_call
from .test_interruption import tmp_path as tmp_path  # in memory: these tests sync thousands of times

PROCESSES, UPDATES = 50, 100

#: Which moments are hit; a failure is looked for again with the same number.
SEED = 20260507

KILLS = 150

#: What a writer says last when it goes between its decision and its end.
UNFINISHED = b"unfinished\n"


def child(work: Callable[[], object]) -> int:
    """Do work in a child; gives its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_of_fifty_processes_with_a_hundred_updates_each_none_is_lost(path: Path) -> None:
    def count(number: int) -> None:
        state = State.open(path, lock_wait=300)
        for _ in range(UPDATES):
            with state.transaction() as tx:
                provider = tx.providers.setdefault("p", Provider(name="p", type="t"))
                integration = tx.integrations.setdefault("i", Integration(name="i", type="t"))
                for options in (provider.options, integration.options):
                    for name in ("total", f"by_{number}"):
                        before = options.get(name, 0)
                        assert isinstance(before, int)
                        options[name] = before + 1

    children = [child(lambda number=number: count(number)) for number in range(PROCESSES)]
    assert [exit_code(pid) for pid in children] == [0] * PROCESSES
    snapshot = State.open(path).read()
    expected = {"total": PROCESSES * UPDATES} | {f"by_{number}": UPDATES for number in range(PROCESSES)}
    assert snapshot.providers["p"].options == expected
    assert snapshot.integrations["i"].options == expected
    assert {file.name for file in path.glob(".*")} == {".lock"}


def change(state: State, number: int) -> None:
    """Change all files; one in three changes needs no journal."""
    with state.transaction() as tx:
        tx.secrets.set("provider:p", "SINGLE", Secret(str(number)))
        if number % 3:
            tx.hosts["h"] = Host(name="h", address="::1", user="root", port=1 + number)
            tx.providers["p"] = Provider(name="p", type="t", options={"n": number})
            tx.integrations["i"] = Integration(name="i", type="t", options={"n": number})
            tx.secrets.set("provider:p", "TOGETHER", Secret(str(number)))


def seen(state: State) -> tuple[int, int]:
    """The number of the last change of secrets alone, and of the last of all files, which must agree."""
    snapshot = state.read()
    together = {
        snapshot.hosts["h"].port - 1,
        snapshot.providers["p"].options["n"],
        snapshot.integrations["i"].options["n"],
        int(snapshot.secret("provider:p", "TOGETHER").reveal()),
    }
    assert len(together) == 1, f"a change is half there: {together}"
    number = together.pop()
    assert isinstance(number, int)
    return int(snapshot.secret("provider:p", "SINGLE").reveal()), number


def test_killed_at_any_moment_while_others_read(path: Path) -> None:
    state = State.open(path, lock_wait=30)
    change(state, 1)

    def write(first: int, report: int, last_call: int) -> None:
        def die(_: str) -> None:
            if path.joinpath(".journal").exists():
                os.write(report, UNFINISHED)
            os.kill(os.getpid(), signal.SIGKILL)

        with at_call(last_call, before=die):
            for number in range(first, 60_000):
                change(state, number)
                os.write(report, b"%d\n" % number)

    def read_until_told() -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        last = (0, 0)
        while True:
            time.sleep(0.001)
            now = seen(State.open(path, lock_wait=30))
            assert now >= last, f"a change that was seen is gone: {last} became {now}"
            last = now
            # What is written is never half there either, whatever the readers of a whole state make of it.
            for kind in KINDS:
                assert not isinstance(decode(kind, path.joinpath(kind.FILENAME).read_bytes()), Defect)

    schedule = random.Random(SEED)
    readers = [child(read_until_told) for _ in range(2)]
    found_unfinished = 0
    try:
        for round_ in range(KILLS):
            before, _together = seen(state)
            ours, report = os.pipe()
            # Half of them at a moment by the clock, half at a call of the system by its number: a writer that waits
            # for the disk is hit by the one, and one between two renames by the other.
            last_call = schedule.randint(1, 150) if round_ % 2 else 0
            writer = child(lambda first=before + 1, report=report, last=last_call: write(first, report, last))
            os.close(report)
            if not last_call:
                time.sleep(schedule.uniform(0.0, 0.03))
                os.kill(writer, signal.SIGKILL)
            assert exit_code(writer) == -signal.SIGKILL
            with os.fdopen(ours, "rb") as told:
                lines = told.readlines()
            found_unfinished += UNFINISHED in lines
            done = max((int(line) for line in lines if line != UNFINISHED), default=before)
            single, together = seen(state)
            # What the writer was told to be done is there, and at most the change after it.
            assert single in (done, done + 1)
            assert together == (single if single % 3 else single - 1)
            for earlier in path.glob("generations/*~"):
                with suppress(FileNotFoundError):  # a reader that finishes a change may take it away
                    assert isinstance(json.loads(earlier.read_bytes()), dict)
    finally:
        for reader in readers:
            os.kill(reader, signal.SIGTERM)
    assert [exit_code(reader) for reader in readers] == [0, 0]
    # It would prove nothing if no writer had been caught between its decision and its end.
    assert found_unfinished
    change(state, 59_999)
    assert {file.name for file in path.glob(".*")} == {".lock"}
    assert not list(path.glob("*.new"))
