"""Encrypting, decrypting and changing the key, stopped or refused at any step: no secret is lost and none is left."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state import conversion, encryption, unlocking
from pyinfra_hermes.cli.state.conversion import NewKey
from pyinfra_hermes.cli.state.documents import decode
from pyinfra_hermes.cli.state.encryption import EncryptedFile, KeySource, ScryptParameters, encrypted
from pyinfra_hermes.cli.state.errors import StateError, StateRefused, StateWriteFailed, WrongKey
from pyinfra_hermes.cli.state.inspection import inspect
from pyinfra_hermes.cli.state.records import SecretsFile
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

from .encrypting import PASSPHRASE, forget, holding, private, with_key_file, with_passphrase
from .test_interruption import CALLS, at_call, hidden, stopped_at
from .test_interruption import tmp_path as tmp_path  # in memory: these tests sync thousands of times

SENTINEL = "sk-Sentinel-51f0"
#: What a conversion does to the disk, one call each.
STEPS = (*CALLS, "utime")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(encryption, "PARAMETERS", ScryptParameters(n=2**14, r=8, p=1))
    for name in (unlocking.PASSPHRASE_FILE, unlocking.KEY_FILE):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()


def fresh(folder: Path, key: NewKey | None = None, versions: int = 3) -> tuple[State, Path]:
    """Secrets that were changed a few times, all versions holding a sentinel; encrypted when there is a key."""
    path = folder / "clawrium"
    state = State.open(path, lock_wait=2)
    for number in range(versions):
        with state.transaction() as tx:
            tx.secrets.set("provider:p", "API_KEY", Secret(f"{SENTINEL}-{number}"))
    if key is not None:
        conversion.encrypt(state, key)
    return state, path


def value(state: State) -> str | None:
    found = state.read().secrets.get("provider:p", "API_KEY")
    return None if found is None else found.reveal()


def is_encrypted(path: Path) -> bool:
    return isinstance(encrypted(path.joinpath("secrets.json").read_bytes()), EncryptedFile)


def earlier(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(path.joinpath("generations").glob("secrets.json.*"))]


def test_nothing_is_left_in_the_open(tmp_path: Path) -> None:
    state, path = fresh(tmp_path)
    # What commands leave behind that were stopped while they wrote.
    private(path / ".secrets.json.0123456789abcdef.new", SENTINEL)
    private(path / "generations" / "secrets.json.~7~", f'{{"damaged": "{SENTINEL}"')
    assert len(list(holding(path, SENTINEL))) == 5
    outcome = conversion.encrypt(state, with_passphrase())
    assert (outcome.converted, outcome.left) == (3, 0)
    assert list(holding(path, SENTINEL)) == []
    assert value(state) == f"{SENTINEL}-2"
    assert hidden(path) == {".lock"}
    conversion.decrypt(state)
    assert list(holding(path, SENTINEL)) == ["secrets.json"]
    assert value(state) == f"{SENTINEL}-2"


def test_earlier_versions_stay_what_they_were_with_their_time(tmp_path: Path) -> None:
    state, path = fresh(tmp_path)
    before = [decode(SecretsFile, content) for content in (*earlier(path), path.joinpath("secrets.json").read_bytes())]
    times = [file.stat().st_mtime_ns for file in sorted(path.joinpath("generations").iterdir())]
    key = with_key_file(tmp_path / "key")
    conversion.encrypt(state, key)
    kept = [encrypted(content) for content in earlier(path)]
    assert all(isinstance(file, EncryptedFile) for file in kept)
    derived = encryption.derive(key.material(), key.source, kept[0].encryption)  # type: ignore[union-attr]
    after = [decode(SecretsFile, derived.decrypt(file)) for file in kept if isinstance(file, EncryptedFile)]
    # The one that was there last is kept as well: encrypted, an earlier version never is the only copy of anything.
    assert after == before[-3:]
    assert [file.stat().st_mtime_ns for file in sorted(path.joinpath("generations").iterdir())][:2] == times


def test_the_first_secrets_of_all_are_encrypted_when_that_was_asked_for(tmp_path: Path) -> None:
    state, path = fresh(tmp_path, versions=0)
    conversion.encrypt(state, with_key_file(tmp_path / "key"))
    with state.transaction() as tx:
        tx.secrets.set("provider:p", "API_KEY", Secret(SENTINEL))
    assert list(holding(path, SENTINEL)) == []
    assert value(state) == SENTINEL


def test_what_is_so_already_is_refused(tmp_path: Path) -> None:
    key = with_key_file(tmp_path / "key")
    state, path = fresh(tmp_path)
    for use in (lambda: conversion.decrypt(state), lambda: conversion.rekey(state, key)):
        with pytest.raises(StateRefused, match="is not encrypted"):
            use()
    conversion.encrypt(state, key)
    before = path.joinpath("secrets.json").read_bytes()
    with pytest.raises(StateRefused, match="is encrypted already"):
        conversion.encrypt(state, key)
    assert path.joinpath("secrets.json").read_bytes() == before


def test_another_passphrase_locks_out_the_first_one_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, path = fresh(tmp_path, with_passphrase())
    new = Secret("another passphrase")
    outcome = conversion.rekey(state, with_passphrase(new))
    assert outcome.left == 0
    for content in (*earlier(path), path.joinpath("secrets.json").read_bytes()):
        file = encrypted(content)
        assert isinstance(file, EncryptedFile)
        assert encryption.derive(new, file.encryption.key_source, file.encryption).fits(file.encryption)
        assert not encryption.derive(PASSPHRASE, file.encryption.key_source, file.encryption).fits(file.encryption)
    forget()
    monkeypatch.setenv(unlocking.PASSPHRASE_FILE, str(private(tmp_path / "p", PASSPHRASE.reveal())))
    with pytest.raises(WrongKey):
        value(state)
    private(tmp_path / "p", new.reveal())
    assert value(state) == f"{SENTINEL}-2"


def test_parameters_are_brought_to_the_present_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, path = fresh(tmp_path, with_passphrase())
    stronger = ScryptParameters(n=2**15, r=8, p=1)
    monkeypatch.setattr(encryption, "PARAMETERS", stronger)
    monkeypatch.setenv(unlocking.PASSPHRASE_FILE, str(private(tmp_path / "p", PASSPHRASE.reveal())))
    before = encrypted(path.joinpath("secrets.json").read_bytes())
    forget()
    # The old parameters go on working, for reading and for writing.
    with state.transaction() as tx:
        tx.secrets.set("provider:p", "OTHER", Secret("x"))
    conversion.rekey(state, None)
    after = encrypted(path.joinpath("secrets.json").read_bytes())
    assert isinstance(before, EncryptedFile) and isinstance(after, EncryptedFile)
    assert after.encryption.parameters == stronger != before.encryption.parameters
    assert after.encryption.salt != before.encryption.salt
    forget()
    assert value(state) == f"{SENTINEL}-2"


def test_from_a_passphrase_to_a_key_file_and_to_a_command(tmp_path: Path) -> None:
    state, _ = fresh(tmp_path, with_passphrase())
    conversion.rekey(state, with_key_file(tmp_path / "key"))
    forget()
    assert value(state) == f"{SENTINEL}-2"
    argv = ("/bin/echo", "a passphrase")
    conversion.rekey(state, NewKey(KeySource(kind="command", argv=argv), lambda: unlocking.passphrase_of(argv)))
    forget()
    assert value(state) == f"{SENTINEL}-2"


def test_a_source_that_does_not_give_the_same_twice_changes_nothing(tmp_path: Path) -> None:
    state, path = fresh(tmp_path)
    before = {file: file.read_bytes() for file in path.rglob("*.json*")}
    answers = iter([Secret("first answer"), Secret("second answer")])
    unsteady = NewKey(KeySource(kind="passphrase"), lambda: next(answers))
    with pytest.raises(StateWriteFailed, match="does not read back as it was written"):
        conversion.encrypt(state, unsteady)
    assert {file: file.read_bytes() for file in path.rglob("*.json*")} == before
    assert hidden(path) == {".lock"}


def test_an_earlier_version_with_a_lost_key_is_left_and_counted(tmp_path: Path) -> None:
    forgotten = with_passphrase(Secret("given once, and forgotten"))
    foreign: list[bytes] = []
    for wanted in range(1, 100):
        state, path = fresh(tmp_path / str(wanted))
        assert stopped_at(wanted, lambda state=state: conversion.encrypt(state, forgotten), STEPS)
        foreign = [content for content in earlier(path) if encrypted(content) is not None]
        if foreign:
            break
    outcome = conversion.encrypt(state, with_key_file(tmp_path / "key"))
    assert outcome.left == len(foreign) > 0
    assert value(state) == f"{SENTINEL}-2"
    assert list(holding(path, SENTINEL)) == []


# Stopped at every call of the system.


def test_encrypting_that_is_stopped_at_any_call(tmp_path: Path) -> None:
    key = with_key_file(tmp_path / "key")
    outcomes = []
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path / str(wanted))
        if not stopped_at(wanted, lambda state=state: conversion.encrypt(state, key), STEPS):
            break
        outcomes.append(is_encrypted(path))
        forget()
        assert value(state) == f"{SENTINEL}-2"
        if is_encrypted(path):
            assert list(holding(path, SENTINEL)) == []
        else:
            outcome = conversion.encrypt(state, key)
            assert outcome.left == 0, "what was encrypted by the command that was stopped is not lost"
        with state.transaction() as tx:
            tx.secrets.set("provider:p", "OTHER", Secret("x"))
        assert list(holding(path, SENTINEL)) == []
        assert hidden(path) == {".lock"}
        assert value(state) == f"{SENTINEL}-2"
    assert outcomes == sorted(outcomes) and set(outcomes) == {False, True} and len(outcomes) > 30


def test_decrypting_that_is_stopped_at_any_call(tmp_path: Path) -> None:
    left_behind = 0
    key = with_key_file(tmp_path / "key")
    outcomes = []
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path / str(wanted), key)
        if not stopped_at(wanted, lambda state=state: conversion.decrypt(state), STEPS):
            break
        outcomes.append(not is_encrypted(path))
        forget()
        in_the_open = set(holding(path, SENTINEL)) - {"secrets.json"}
        left_behind += bool(in_the_open)
        problems = [problem for problem in inspect(state.directory).problems if problem.where.endswith(".new")]
        found = {problem.where: problem.what for problem in problems}
        assert found.keys() == {str(path / name) for name in in_the_open}
        assert all("holds secrets in the open" in what for what in found.values())
        assert set(holding(path, SENTINEL)) - {"secrets.json"} == in_the_open, "looking changed something"
        assert value(state) == f"{SENTINEL}-2"  # the next command, though it only reads, clears what was left
        assert set(holding(path, SENTINEL)) == (set() if is_encrypted(path) else {"secrets.json"})
        if is_encrypted(path):
            conversion.decrypt(state)
        assert list(holding(path, SENTINEL)) == ["secrets.json"]
        assert hidden(path) == {".lock"}
    assert outcomes == sorted(outcomes) and set(outcomes) == {False, True} and len(outcomes) > 8
    assert left_behind > 2, "it was never stopped with plain text left behind"


def test_what_is_left_stays_for_the_writer_who_is_at_work(tmp_path: Path) -> None:
    state, path = fresh(tmp_path)
    staged = path / f".secrets.json.{'0' * 16}.new"
    with state.transaction():
        staged.touch(mode=0o600)
        assert value(State.open(path)) == f"{SENTINEL}-2"
        assert staged.exists()
    assert value(state) == f"{SENTINEL}-2"
    assert not staged.exists()


def test_what_is_left_keeps_nobody_from_reading_who_may_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, path = fresh(tmp_path)
    path.joinpath(f".secrets.json.{'0' * 16}.new").touch(mode=0o600)

    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as disk:
        disk.setattr(os, "unlink", refuse)
        assert value(state) == f"{SENTINEL}-2"


def test_changing_the_key_that_is_stopped_at_any_call(tmp_path: Path) -> None:
    old, new = with_key_file(tmp_path / "old"), with_key_file(tmp_path / "new")
    outcomes = []
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path / str(wanted), old)
        if not stopped_at(wanted, lambda state=state: conversion.rekey(state, new), STEPS):
            break
        file = encrypted(path.joinpath("secrets.json").read_bytes())
        assert isinstance(file, EncryptedFile)
        outcomes.append(file.encryption.key_source == new.source)
        forget()
        assert value(state) == f"{SENTINEL}-2"
        assert conversion.rekey(state, new).left == 0
        assert list(holding(path, SENTINEL)) == []
        assert value(state) == f"{SENTINEL}-2"
    assert outcomes == sorted(outcomes) and set(outcomes) == {False, True} and len(outcomes) > 30


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("what", ["encrypt", "decrypt", "rekey"])
def test_a_system_that_refuses_any_call(tmp_path: Path, number: int, what: str) -> None:
    def refuse(name: str) -> None:
        raise OSError(number, os.strerror(number))

    old, new = with_key_file(tmp_path / "old"), with_key_file(tmp_path / "new")
    work: dict[str, Callable[[State], object]] = {
        "encrypt": lambda state: conversion.encrypt(state, new),
        "decrypt": conversion.decrypt,
        "rekey": lambda state: conversion.rekey(state, new),
    }
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path / str(wanted), None if what == "encrypt" else old)
        before = path.joinpath("secrets.json").read_bytes()
        with at_call(wanted, before=refuse, calls=STEPS) as made:
            try:
                work[what](state)
                error = None
            except StateError as caught:
                error = caught
        if len(made) < wanted:
            break
        forget()
        assert value(state) == f"{SENTINEL}-2"
        if error is not None:
            assert SENTINEL not in str(error)
            if "does not read back" in error.message:
                assert what == "decrypt"  # the encrypted one is kept as the last of the earlier versions
                continue
            assert os.strerror(number) in error.message
            if "power failure" not in error.message:
                assert path.joinpath("secrets.json").read_bytes() == before
                assert hidden(path) <= {".lock"}
    assert wanted > 8


def test_an_interrupt_leaves_nothing_staged(tmp_path: Path) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    key = with_key_file(tmp_path / "key")
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path / str(wanted))
        with at_call(wanted, before=interrupt, calls=STEPS) as made:
            try:
                conversion.encrypt(state, key)
            except KeyboardInterrupt:
                assert hidden(path) <= {".lock"}
        if len(made) < wanted:
            break
        forget()
        assert value(state) == f"{SENTINEL}-2"


# Many at once.

WRITER = """
import sys
from pathlib import Path
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
state = State.open(Path(sys.argv[1]), lock_wait=120)
for number in range(int(sys.argv[3])):
    with state.transaction() as tx:
        tx.secrets.set("provider:p", f"KEY_{sys.argv[2]}_{number}", Secret(f"sk-Sentinel-{number}"))
    assert state.read().secrets.get("provider:p", f"KEY_{sys.argv[2]}_{number}")
"""


def test_many_writers_of_an_encrypted_file_while_its_key_changes(tmp_path: Path) -> None:
    state, path = fresh(tmp_path, with_key_file(tmp_path / "key"))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(one), "20"], stderr=subprocess.PIPE)
        for one in range(6)
    ]
    keys = [with_key_file(tmp_path / f"key-{number}") for number in range(8)]
    for key in keys:
        conversion.rekey(state, key)
    for writer in writers:
        _, said = writer.communicate(timeout=240)
        assert writer.returncode == 0, said.decode()
    assert len(state.read().secrets.names("provider:p")) == 1 + 6 * 20
    assert is_encrypted(path)
    assert list(holding(path, "sk-Sentinel")) == []


def test_the_file_is_json_that_says_what_it_is(tmp_path: Path) -> None:
    _, path = fresh(tmp_path, with_passphrase())
    plain = json.loads(path.joinpath("secrets.json").read_text())
    assert list(plain) == ["schema_version", "encryption", "ciphertext", "sha256"]
    assert plain["encryption"]["parameters"] == {"n": 2**14, "r": 8, "p": 1}
