"""One writer at a time, and readers that do not wait for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state.errors import StateLocked
from pyinfra_hermes.cli.state.locking import command_words
from pyinfra_hermes.cli.state.records import Host, Provider
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

HOLDER = """
import pathlib, sys, time
from pyinfra_hermes.cli.state.store import State
directory = pathlib.Path(sys.argv.pop(1))
sys.argv[0] = "/usr/local/bin/clm"
with State.open(directory).transaction():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """Another command that is in the middle of a change."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        assert holder.stdin is not None
        holder.stdin.close()


def test_the_message_names_who_holds_the_lock(filled: State, path: Path) -> None:
    impatient = State.open(path, lock_wait=0.3)
    with held(path, "agent", "configure", "maurice", "--note", "sk-oops") as holder:
        began = time.monotonic()
        with pytest.raises(StateLocked) as caught, impatient.transaction():
            pass
        assert 0.3 <= time.monotonic() - began < 2
        assert "wolf-i" in impatient.read().hosts
        record = path.joinpath(".lock").read_text()
    who = f"pid {holder.pid} (clm agent configure maurice) on {socket.gethostname()} since 2"
    assert f"The state in {path} is locked by {who}" in caught.value.message
    assert "waited 0.3 s" in caught.value.message
    assert f"ps -fp {holder.pid}" in (caught.value.remedy or "")
    assert "sk-oops" not in record + str(caught.value)
    with impatient.transaction() as tx:
        tx.hosts["wolf-i"].port = 2222
    assert path.joinpath(".lock").read_text() == ""


def test_a_lock_goes_with_its_holder(filled: State, path: Path) -> None:
    with held(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert json.loads(path.joinpath(".lock").read_text())["pid"] == holder.pid
        with filled.transaction() as tx:
            tx.hosts["wolf-i"].port = 2222
    assert filled.read().hosts["wolf-i"].port == 2222


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": "x"}', "\xff" * 9000])
def test_a_record_that_says_nothing(filled: State, path: Path, record: str) -> None:
    with held(path):
        path.joinpath(".lock").write_text(record)
        with (
            pytest.raises(StateLocked, match="is locked by another process"),
            State.open(path, lock_wait=0).transaction(),
        ):
            pass


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/usr/bin/clm", "agent", "configure", "maurice"], "clm agent configure maurice"),
        (["clm", "secret", "set", "maurice", "sk-oops"], "clm secret set maurice"),
        (["clm", "--token=sk-oops", "agent"], "clm"),
        (["clm", "a\nb"], "clm"),
        (["clm", "x" * 65], "clm"),
        ([""], "python"),
        ([], "python"),
    ],
)
def test_what_is_shown_of_a_command(argv: list[str], words: str) -> None:
    assert command_words(argv) == words


def in_children(count: int, work: Callable[[int], None]) -> list[int]:
    """Do work in forked children at the same time; gives their exit codes."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_no_update_is_lost(path: Path) -> None:
    def count(number: int) -> None:
        state = State.open(path, lock_wait=30)
        for _ in range(25):
            with state.transaction() as tx:
                total = tx.providers.get("total") or Provider(name="total", type="t", options={"n": 0})
                mine = tx.providers.get(f"p{number}") or Provider(name=f"p{number}", type="t", options={"n": 0})
                for provider in (total, mine):
                    provider.options["n"] += 1  # type: ignore[operator]
                    tx.providers[provider.name] = provider

    assert in_children(20, count) == [0] * 20
    options = {name: provider.options["n"] for name, provider in State.open(path).read().providers.items()}
    assert options == {"total": 500} | {f"p{number}": 25 for number in range(20)}


def test_readers_never_see_half_a_change(path: Path) -> None:
    state = State.open(path, lock_wait=30)

    def change(number: int) -> None:
        with state.transaction() as tx:
            tx.hosts["h"] = Host(name="h", address="::1", user="root", port=number)
            tx.secrets.set("provider:p", "API_KEY", Secret(str(number)))

    def work(number: int) -> None:
        if number < 2:
            for round_ in range(60):
                change(1 + number + 2 * round_)
            return
        seen = set()
        while len(seen) < 20:
            snapshot = state.read()
            port, secret = snapshot.hosts["h"].port, snapshot.secrets.get("provider:p", "API_KEY")
            assert secret == Secret(str(port))
            seen.add(port)
            if port >= 119:
                break

    change(1000 - 880)
    change(1)
    assert in_children(5, work) == [0] * 5
