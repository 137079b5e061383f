"""Backups as files: what was put in comes out, and no byte of one can change unnoticed, plain or sealed."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import json
import os
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.backup.archive_file import Archive, Corrupt, Draft, clear_parts, schema_of
from pyinfra_hermes.cli.backup.archive_keys import Given, in_memory
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.state.encryption import Header, Key, KeySource, derive
from pyinfra_hermes.deploys.model.archive import FORMAT, MOST_BYTES, BadManifest, Entry, Manifest, NewerFormat, is_safe
from pyinfra_hermes.operations.archives import Found, Unwanted

BASE = Manifest("maurice", "wolf-i", "v2026.5.7", "0.13.0", None, "2026-05-07T12:00:00Z", "me@here", False, False, {})
KEY = derive(b"k" * 32, KeySource(kind="key-file", path="/of/mine"))


def no_key(header: Header) -> Key:
    raise AssertionError("it is not sealed")


def made(folder: Path, files: dict[str, bytes | None], key: Key | None = None, secrets: bytes | None = None) -> Path:
    """An archive with some files; None is a folder."""
    target = folder / "archive"
    with Draft(folder, key, in_memory() if key else None) as draft:
        for path, content in files.items():
            kind = "directory" if content is None else "file"
            draft.take(Found(path, kind, 0o600, len(content or b""), 7), pieces(content or b""))
        draft.skip("a/link\n", "a link")
        if secrets is not None:
            draft.add_secrets(secrets)
        draft.finish(replace(BASE, schema=draft.schema), target)
    return target


def pieces(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), 1000):
        yield content[at : at + 1000]


@cache
def a_database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript("CREATE TABLE schema_version(version); INSERT INTO schema_version VALUES (11);")
    connection.executescript("CREATE TABLE t(x); CREATE INDEX i ON t(x);")
    connection.executemany("INSERT INTO t VALUES (?)", [(str(n) * 50,) for n in range(200)])
    octets = bytearray(connection.serialize())
    octets[18:20] = b"\x02\x02"
    return bytes(octets)


FILES = {
    "SOUL.md": b"I am.",
    "memories": None,
    "memories/MEMORY.md": "Größe".encode(),
    "skills": None,
    "skills/" + "long" * 40: os.urandom(150_000),
    "state.db": a_database(),
}


def contents(path: Path, key_of: Callable[[Header], Key] = no_key) -> dict[str, bytes | None]:
    with Archive(path, key_of) as archive:
        archive.verify()
        return {
            str(row["path"]): b"".join(content) if row["kind"] == "file" else None
            for row, content in archive.contents()
        }


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_what_was_put_in_comes_out(tmp_path: Path, key: Key | None) -> None:
    path = made(tmp_path, FILES, key, b'{"A": 1}' if key else None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]
    with Archive(path, lambda header: KEY) as archive:
        archive.verify()
        assert (archive.manifest.schema, archive.is_sealed) == (11, key is not None)
        assert archive.secrets() == (b'{"A": 1}' if key else None)
        assert [(left.path, left.why) for left in archive.manifest.skipped] == [("a/link?", "a link")]
    assert contents(path, lambda header: KEY) == FILES
    if key:
        assert b"I am." not in path.read_bytes() and b"MEMORY.md" not in path.read_bytes()


def test_tar_reads_a_plain_one(tmp_path: Path) -> None:
    with tarfile.open(made(tmp_path, FILES)) as tar:
        assert tar.getnames() == ["manifest.json", *(f"hermes/{path}" for path in FILES)]


@cache
def _content(kind: str, folder: str) -> bytes:
    return made(
        Path(folder), {"SOUL.md": b"I am." * 20, "state.db": a_database()}, KEY if kind == "sealed" else None
    ).read_bytes()


@pytest.fixture(scope="module", params=["plain", "sealed"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _content(request.param, str(tmp_path_factory.mktemp(request.param)))


def refused(content: bytes, folder: Path) -> None:
    path = folder / "damaged"
    path.write_bytes(content)
    given_ = Given(key_file="/nowhere/else")

    def key_of(header: Header) -> Key:
        key = derive(b"k" * 32, header.key_source, header) if header.key_source.is_random else given_.new()
        if not key.fits(header):
            raise Corrupt("not the key")
        return key

    with pytest.raises((Corrupt, BadManifest)), Archive(path, key_of) as archive:
        archive.verify()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bit_can_flip(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    # The places where a format keeps what it does not look at are near the ends.
    near = st.integers(0, 600) | st.integers(len(whole) - 40, len(whole) - 1)
    at = data.draw(near | st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(whole)
    changed[at] ^= 1 << bit
    # The first lines of a sealed one may say that it wants another kind of key then.
    with suppress(Problem):
        refused(bytes(changed), tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_can_be_cut_off_or_added(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    refused(whole[: data.draw(st.integers(0, len(whole) - 1))], tmp_path)
    refused(whole + data.draw(st.binary(min_size=1, max_size=100)), tmp_path)


def test_pieces_of_a_sealed_one_cannot_be_left_out_or_exchanged(tmp_path: Path) -> None:
    content = made(tmp_path, {"big": os.urandom(400_000)}, KEY).read_bytes()
    start, size = content.index(b"\n", 40) + 1, (1 << 16) + 16
    first, second = content[start : start + size], content[start + size : start + 2 * size]
    rest = content[start + 2 * size :]
    for changed in (first + rest, second + first + rest, first + first + second + rest, first + second):
        refused(content[:start] + changed, tmp_path)


def test_a_state_db_that_is_damaged_is_found_though_every_digest_fits(tmp_path: Path) -> None:
    octets = bytearray(a_database())
    octets[5 * 4096 : 6 * 4096] = b"\x0d" + b"\xff" * 4095
    path = made(tmp_path, {"state.db": bytes(octets)})
    with pytest.raises(Corrupt, match=r"state\.db is damaged"), Archive(path, no_key) as archive:
        archive.verify()


def crafted(folder: Path, info: tarfile.TarInfo, content: bytes, manifest: Manifest) -> Path:
    """An archive whose digests all fit, made by somebody who means harm."""
    import hashlib

    from pyinfra_hermes.cli.backup.archive_file import _first_member, _stored

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(info, io.BytesIO(content))
    payload = gzip.compress(out.getvalue(), mtime=0)
    manifest = replace(manifest, payload_size=len(payload), payload_sha256=hashlib.sha256(payload).hexdigest())
    path = folder / "crafted"
    path.write_bytes(_stored(_first_member(manifest)) + payload)
    return path


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_is_never_given_out(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("hermes/SOUL.md")
    info.type, info.linkname, info.mode = kind, "/etc/shadow", 0o600
    entry = Entry("SOUL.md", "file", 0o600, 0, "0" * 64)
    path = crafted(tmp_path, info, b"", replace(BASE, entries=(entry,)))
    with pytest.raises(Corrupt, match="something else than its manifest says"), Archive(path, no_key) as archive:
        archive.verify()


@pytest.mark.parametrize("name", ["hermes/../x", "/etc/x", "hermes/a", "x", "hermes//SOUL.md"])
def test_a_name_that_is_not_in_the_manifest_is_never_given_out(tmp_path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    entry = Entry("SOUL.md", "file", 0o600, 0, "0" * 64)
    path = crafted(tmp_path, info, b"", replace(BASE, entries=(entry,)))
    with pytest.raises(Corrupt), Archive(path, no_key) as archive:
        archive.verify()


@given(path=st.lists(st.sampled_from(["..", ".", "", "a", "/", "\n", "b", "\ud800"]), max_size=6).map("/".join))
def test_a_safe_path_stays_below(path: str) -> None:
    if is_safe(path):
        assert os.path.normpath(f"/home/x/{path}") == f"/home/x/{path}"
        assert path.isprintable()


def test_a_manifest_of_a_later_version_and_one_that_lies_are_refused() -> None:
    plain = json.loads(BASE.encode())
    with pytest.raises(NewerFormat, match=f"its format is {FORMAT + 1}"):
        Manifest.parse(json.dumps(plain | {"format": FORMAT + 1, "more": 1}).encode())
    file = {"path": "a/b", "kind": "file", "mode": 384, "size": 1, "sha256": "0" * 64, "modified": 0}
    folder = {"path": "a", "kind": "directory", "mode": 448, "size": 0, "sha256": None, "modified": 0}
    assert Manifest.parse(json.dumps(plain | {"entries": [folder, file]}).encode()).size == 1
    for entries in (
        [file],
        [folder, file, file],
        [folder | {"path": "../a"}],
        [folder | {"kind": "link"}],
        [folder, file | {"mode": 0o4755}],
        [folder, file | {"size": 1 << 60}],
        [folder, file | {"sha256": None}],
        [[]],
    ):
        with pytest.raises(BadManifest):
            Manifest.parse(json.dumps(plain | {"entries": entries}).encode())


@given(text=st.text() | st.binary().map(repr))
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(BadManifest):
        Manifest.parse(text.encode(errors="replace"))


def test_a_file_that_is_there_is_not_replaced_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").write_text("mine")
    with pytest.raises(FileExistsError):
        made(tmp_path, FILES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]
    assert (tmp_path / "archive").read_text() == "mine"
    (tmp_path / "archive").unlink()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        made(tmp_path, FILES, KEY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_one_that_there_is_no_room_for_ends_without_a_word(tmp_path: Path) -> None:
    """What tarfile had not written yet it wrote when it was collected, into a closed file."""

    class Full(OSError):
        pass

    def content() -> Iterator[bytes]:
        yield b"x"
        raise Full

    with pytest.raises(Full), Draft(tmp_path, None, None) as draft:
        draft.take(Found("a", "file", 0o600, 2, 7), content())
    del draft
    gc.collect()


def test_what_a_host_tells_is_not_believed(tmp_path: Path) -> None:
    with Draft(tmp_path, None, None) as draft:
        for found in (Found("../x", "file", 0, 0, 0), Found("x", "link", 0, 0, 0), Found("a/\n", "file", 0, 0, 0)):
            with pytest.raises(Unwanted):
                draft.take(found, iter(()))
    assert schema_of(b"SQLite format 3\0 and no more") is None


@pytest.mark.parametrize(
    "found",
    [
        Found("huge", "file", 0o600, MOST_BYTES, 7),
        Found("late", "file", 0o600, 0, 1 << 41),
        Found("a", "file", 0o600, 0, 7),
        Found("a/below", "file", 0o600, 0, 7),
        Found("nowhere/below", "file", 0o600, 0, 7),
    ],
    ids=lambda found: found.path,
)
def test_what_cannot_be_in_a_backup_is_refused_before_any_of_it_is_read(tmp_path: Path, found: Found) -> None:
    with Draft(tmp_path, None, None) as draft:
        draft.take(Found("a", "file", 0o600, 1, 7), iter((b"x",)))
        with pytest.raises(Unwanted):
            draft.take(found, (pytest.fail("it was read") for _ in range(1)))
        draft.finish(BASE, tmp_path / "archive")
    assert contents(tmp_path / "archive") == {"a": b"x"}


@pytest.mark.parametrize(
    "made_by",
    [
        "CREATE TABLE schema_version(version); INSERT INTO schema_version VALUES ('eleven')",
        "CREATE TABLE schema_version(version); INSERT INTO schema_version VALUES (9e999)",
        "CREATE TABLE schema_version(version); INSERT INTO schema_version VALUES (-1)",
        "CREATE VIEW schema_version AS WITH RECURSIVE c(version) AS (SELECT 1 UNION ALL SELECT version + 1 FROM c)"
        " SELECT max(version) AS version FROM c",
    ],
    ids=["text", "infinite", "negative", "never-ending"],
)
def test_a_state_db_that_an_agent_made_up_says_no_schema(made_by: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(made_by)
    assert schema_of(connection.serialize()) is None


def test_secrets_in_an_archive_that_is_not_sealed_are_nobodys(tmp_path: Path) -> None:
    planted = b'{"API_KEY": {"reference": "file:~/.ssh/id_ed25519"}}'
    info = tarfile.TarInfo("secrets.json")
    info.size, info.mode = len(planted), 0o600
    with Archive(crafted(tmp_path, info, planted, BASE), no_key) as archive:
        with pytest.raises(Corrupt, match="something else than its manifest says"):
            archive.verify()
        with pytest.raises(Corrupt):
            archive.secrets()


def test_a_fifo_in_a_folder_of_everybodys_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".of-somebody.clm-part")
    reading = threading.Thread(target=clear_parts, args=(tmp_path,), daemon=True)
    reading.start()
    reading.join(10)
    assert not reading.is_alive()


def test_parts_of_runs_that_were_killed_go_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".abc.clm-part").write_text("half")
    made(tmp_path, FILES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]
