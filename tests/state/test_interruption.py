"""A command that is stopped, or refused by the system, at any step: a change is seen whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pyinfra_hermes.cli.state.errors import StateCorrupt, StateError, StateWriteFailed
from pyinfra_hermes.cli.state.known_hosts import HostKey, KnownHosts
from pyinfra_hermes.cli.state.records import KINDS, Host, Integration, Provider
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

#: What a change does to the disk, one call each.
CALLS = (
    "open",
    "write",
    "fsync",
    "link",
    "replace",
    "unlink",
    "mkdir",
    "ftruncate",
    "pwrite",
    "listdir",
)

#: Those of them that change it.
CHANGING = ("write", "fsync", "link", "replace", "unlink", "mkdir", "ftruncate", "pwrite")

#: What reading does, so that something can happen in between.
READING = ("open", "read", "stat", "fstat", "close")

STOPPED = 77

Act = Callable[[str], None]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: these tests sync thousands of times, and pull no plug."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@contextmanager
def at_call(
    wanted: int, before: Act | None = None, after: Act | None = None, calls: tuple[str, ...] = CALLS
) -> Iterator[list[str]]:
    """Do something at the wanted call of the system, counted from 1; gives the names of the calls so far."""
    made: list[str] = []
    originals = {name: getattr(os, name) for name in calls}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            here = len(made) == wanted
            if here and before:
                before(name)
            try:
                return originals[name](*args, **kwargs)
            finally:
                if here and after:
                    after(name)

        return call

    for name in calls:
        setattr(os, name, wrapped(name))
    try:
        yield made
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def stop(_: str) -> None:
    os._exit(STOPPED)


def stopped_at(wanted: int, work: Callable[[], object], calls: tuple[str, ...] = CALLS) -> bool:
    """Do the work in a child that ends at once before its wanted call; tell whether it got that far."""
    child = os.fork()
    if child == 0:
        try:
            with at_call(wanted, before=stop, calls=calls):
                work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, STOPPED)
    return code == STOPPED


def change(state: State, number: int) -> None:
    """Change all four files at once."""
    with state.transaction() as tx:
        tx.hosts["h"] = Host(name="h", address="::1", user="root", port=1 + number)
        tx.providers["p"] = Provider(name="p", type="t", options={"n": number})
        tx.integrations["i"] = Integration(name="i", type="t", options={"n": number})
        tx.secrets.set("provider:p", "API_KEY", Secret(str(number)))


def seen(state: State) -> int | None:
    """The number of the change that the state shows in all four files, None before the first."""
    snapshot = state.read()
    if not (snapshot.hosts or snapshot.providers or snapshot.integrations or snapshot.secrets.scopes):
        return None
    numbers = {
        snapshot.hosts["h"].port - 1,
        snapshot.providers["p"].options["n"],
        snapshot.integrations["i"].options["n"],
        int(snapshot.secrets.of("provider:p")["API_KEY"].reveal()),
    }
    assert len(numbers) == 1, f"a change is half there: {numbers}"
    number = numbers.pop()
    assert isinstance(number, int)
    return number


def hidden(path: Path) -> set[str]:
    return {file.name for file in path.glob(".*")}


def assert_in_order(state: State, path: Path) -> None:
    """The next command works as if nothing had happened, and nothing is left over."""
    change(state, 99)
    assert seen(state) == 99
    assert hidden(path) == {".lock"}
    change(state, 98)
    for name in (kind.FILENAME for kind in KINDS):
        kept = [file.read_bytes() for file in path.joinpath("generations").glob(f"{name}.*")]
        assert len(set(kept)) == len(kept), "a version is kept twice"
        assert all(content.endswith(b"}\n") for content in kept)


def fresh(tmp_path: Path, label: str, earlier: int) -> tuple[State, Path]:
    path = tmp_path / label / "clawrium"
    state = State.open(path, lock_wait=2)
    for number in range(earlier):
        change(state, number)
    return state, path


@pytest.mark.parametrize("earlier", [0, 5])
def test_a_writer_that_is_stopped_at_any_call(tmp_path: Path, earlier: int) -> None:
    outcomes = []
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), earlier)
        if not stopped_at(wanted, lambda state=state: change(state, 50)):
            break
        decided = path.joinpath(".journal").exists()
        outcome = seen(state)
        assert outcome in (earlier - 1 if earlier else None, 50)
        if decided:
            assert outcome == 50
            assert not path.joinpath(".journal").exists()
        outcomes.append((outcome, decided))
        assert_in_order(state, path)
    # The test would prove nothing if the writer had never been caught before, after and in the middle.
    assert outcomes == sorted(outcomes, key=lambda pair: pair[0] == 50)
    assert {decided for outcome, decided in outcomes if outcome == 50} == {True, False}
    assert sum(decided for _, decided in outcomes) >= 4


def test_a_reader_that_is_stopped_while_it_finishes_a_change(tmp_path: Path) -> None:
    caught = 0
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, f"count-{wanted}", 2)
        if not stopped_at(wanted, lambda state=state: change(state, 50)):
            break
        if not path.joinpath(".journal").exists():
            continue
        for again in range(1, 1000):
            state, path = fresh(tmp_path, f"{wanted}-{again}", 2)
            assert stopped_at(wanted, lambda state=state: change(state, 50))
            if not stopped_at(again, lambda state=state: state.read(), CHANGING):
                break
            caught += 1
            assert seen(state) == 50
            assert hidden(path) == {".lock"}
    assert caught > 50


def stopped_after_its_first_rename(state: State, path: Path) -> None:
    """Leave a change behind of which one file has its new content and three have not."""
    replace = os.replace

    def replace_or_stop(*args: Any, **kwargs: Any) -> None:
        if path.joinpath(".journal").exists() and len(list(path.glob(".*.new"))) == 3:
            os._exit(STOPPED)
        replace(*args, **kwargs)

    child = os.fork()
    if child == 0:
        try:
            os.replace = replace_or_stop  # type: ignore[assignment]
            change(state, 50)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == STOPPED
    assert path.joinpath(".journal").exists()


@pytest.mark.parametrize("whole", [True, False])
def test_a_change_in_the_middle_of_reading(tmp_path: Path, whole: bool) -> None:
    outcomes = []
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), 2)

        def meanwhile(_: str, state: State = state, path: Path = path) -> None:
            other = State.open(path)
            if whole:
                change(other, 50)
            else:
                stopped_after_its_first_rename(other, path)

        with at_call(wanted, before=meanwhile, calls=READING) as made:
            outcomes.append(seen(state))
            if len(made) < wanted:
                break
        assert seen(state) == 50
    assert set(outcomes) == {1, 50}


def test_a_writer_that_is_stopped_with_one_file_needs_no_journal(tmp_path: Path) -> None:
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), 2)

        def one(state: State = state) -> None:
            with state.transaction() as tx:
                tx.providers["q"] = Provider(name="q", type="t")

        if not stopped_at(wanted, one):
            break
        assert not path.joinpath(".journal").exists()
        assert seen(state) == 1
        assert_in_order(state, path)
    assert wanted > 10


@pytest.mark.parametrize(("earlier", "number"), [(0, errno.ENOSPC), (2, errno.EIO)])
def test_a_system_that_refuses_any_call(tmp_path: Path, earlier: int, number: int) -> None:
    def refuse(name: str) -> None:
        raise OSError(number, os.strerror(number))

    messages = []
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), earlier)
        before = earlier - 1 if earlier else None
        error = None
        with at_call(wanted, before=refuse) as made:
            try:
                change(state, 50)
            except StateError as caught:
                error = caught
        if len(made) < wanted:
            break
        if error is None:
            assert seen(state) == 50  # not needed: the holder's record, or an old version to remove
        else:
            assert str(path.parent.parent) in error.message
            assert os.strerror(number) in error.message
            messages.append(error.message)
            if "next command completes it" in error.message or "The change was made" in error.message:
                assert seen(state) == 50
            else:
                assert seen(state) == before
                assert hidden(path) <= {".lock"}
        assert_in_order(state, path)
    assert any("Nothing was changed" in message for message in messages)
    assert any("next command completes it" in message for message in messages)


def test_an_interrupt_at_any_call(tmp_path: Path) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    for moment in ("before", "after"):
        for wanted in range(1, 1000):
            state, path = fresh(tmp_path, f"{moment}{wanted}", 2)
            with at_call(wanted, **{moment: interrupt}) as made, suppress(KeyboardInterrupt):
                change(state, 50)
            if len(made) < wanted:
                break
            assert seen(state) in (1, 50)
            assert_in_order(state, path)


def test_a_real_limit_of_the_system(tmp_path: Path) -> None:
    state, path = fresh(tmp_path, "limit", 2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
            with state.transaction() as tx:
                tx.secrets.set("provider:p", "LONG", Secret("x" * 1000))
        except StateWriteFailed as error:
            wanted = f"Cannot write {path / 'secrets.json'}: File too large. Nothing was changed"
            code = 0 if error.message == wanted else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert seen(state) == 1
    assert hidden(path) == {".lock"}


def test_what_is_promised_is_on_disk_first(tmp_path: Path) -> None:
    state, _ = fresh(tmp_path, "order", 2)
    with at_call(0) as made:
        change(state, 50)
    order = " ".join(name for name in made if name in ("write", "fsync", "link", "replace", "unlink"))
    new_contents, earlier_versions = " ".join(["write fsync"] * 4), " ".join(["link fsync"] * 4)
    journal, renames = "write fsync replace fsync", " ".join(["replace"] * 4)
    assert order.startswith(f"{new_contents} {earlier_versions} {journal} {renames} fsync unlink fsync")
    with at_call(0) as made, state.transaction() as tx:
        tx.providers.clear()
    order = " ".join(name for name in made if name in ("write", "fsync", "link", "replace", "unlink"))
    assert order.startswith("write fsync link fsync replace fsync")


@pytest.fixture
def unfinished(tmp_path: Path) -> tuple[State, Path]:
    """A change that was decided, of which no file was renamed yet."""
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), 2)
        stopped_at(wanted, lambda state=state: change(state, 50))
        if path.joinpath(".journal").exists():
            return state, path
    raise AssertionError("no journal was ever written")


def test_a_journal_that_cannot_be_followed_changes_nothing(unfinished: tuple[State, Path]) -> None:
    state, path = unfinished
    next(path.glob(".secrets.json.*.new")).write_text("{}")
    before = {name: path.joinpath(name).read_bytes() for name in ("hosts.json", "secrets.json")}
    for use in (state.read, lambda: change(state, 60)):
        with pytest.raises(StateCorrupt, match=r"cannot be followed: the new content of secrets") as caught:
            use()
    assert {name: path.joinpath(name).read_bytes() for name in before} == before
    assert caught.value.remedy == f"To go on with the files as they are now: rm {path}/.journal"
    path.joinpath(".journal").unlink()
    assert seen(state) == 1
    assert_in_order(state, path)


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema_version": 2, "steps": []}',
        b'{"schema_version": 1, "steps": [{"target": "hosts.json"}]}',
        b'{"schema_version": 1, "steps": [{"target": "../x", "staged": ".x.0123456789abcdef.new", "sha256": ""}]}',
        b'{"schema_version": 1, "steps": [{"target": "hosts.json", "staged": "/etc/passwd", "sha256": ""}]}',
    ],
)
def test_a_journal_that_is_none(unfinished: tuple[State, Path], journal: bytes) -> None:
    state, path = unfinished
    path.joinpath(".journal").write_bytes(journal)
    with pytest.raises(StateCorrupt, match="cannot be followed: it does not parse"):
        state.read()
    assert len(list(path.glob(".*.new"))) == 4


def test_another_file_of_ours_waits_for_the_change_to_be_finished(unfinished: tuple[State, Path]) -> None:
    state, path = unfinished
    key = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519" + b"k")
    assert KnownHosts(state.directory).add("h.example", 22, [key])
    assert hidden(path) == {".lock"}
    assert seen(state) == 50
