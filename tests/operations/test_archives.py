"""The scripts that run in an agent's home, run here: what they take, what they put back, and killed at every step."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.deploys.model.archive import rules
from pyinfra_hermes.operations.archives import Unwanted, _take_all
from pyinfra_hermes.operations.streaming import CutOff, Inflated

ROOM = Path(__file__).parents[2] / "operations"
#: Ends the script like SIGKILL in place of the step of this number that changes a name or removes something.
_KILLED = """
import os, shutil
_left = [{steps}]
def _counted(function):
    def step(*args, **kwargs):
        if _left[0] == 0:
            os._exit(137)
        _left[0] -= 1
        return function(*args, **kwargs)
    return step
for _name in ("rename", "mkdir", "unlink", "rmdir"):
    setattr(os, _name, _counted(getattr(os, _name)))
"""


def script(name: str, request: Mapping[str, Any], stdin: bytes = b"", steps: int | None = None) -> Any:
    """Run a script as the host would; ``steps``: it is killed after so many."""
    text = (ROOM / "home.py.txt").read_text() + (ROOM / name).read_text()
    if steps is not None:
        text = _KILLED.format(steps=steps) + text
    argv = [sys.executable, "-I", "-c", text, json.dumps({"rules": rules(), **request})]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=60)


def exported(home: Path, secrets: bool = False) -> tuple[dict[str, tuple[dict[str, Any], bytes]], list[Any]]:
    """Everything that a home is said to hold, and what was left."""
    done = script("export.py.txt", {"home": str(home), "secrets": secrets})
    assert (done.returncode, done.stderr) == (0, b"")
    data = zlib.decompress(done.stdout)
    found = {}
    while True:
        line, _, data = data.partition(b"\n")
        row = json.loads(line)
        if "end" in row:
            assert data == b""
            return found, row["end"]
        found[row["path"]] = (row, data[: row["size"]])
        data = data[row["size"] :]


def stream(files: Mapping[str, bytes | None], **changed: Any) -> bytes:
    """What the script that restores reads; None is a folder."""
    parts = []
    for path, content in files.items():
        row = {"path": path, "kind": "directory" if content is None else "file", "mode": 0o600, "modified": 1}
        body = content or b""
        row |= {"size": len(body), "sha256": None if content is None else hashlib.sha256(body).hexdigest()}
        parts += [json.dumps(row | changed).encode(), b"\n", body]
    return zlib.compress(b"".join([*parts, b'{"end": []}\n']))


def database(path: Path, text: str) -> bytes:
    """A state.db with a row, and what is in its file."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(
        f"CREATE TABLE schema_version(version); INSERT INTO schema_version VALUES (11);"
        f"CREATE TABLE messages(content); INSERT INTO messages VALUES ('{text}');"
    )
    connection.close()
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that was used."""
    home = tmp_path / "maurice" / ".hermes"
    for folder in ("memories", "sessions", "logs", "cache", "platforms/whatsapp", "platforms/pairing", "skills/a/venv"):
        (home / folder).mkdir(parents=True)
    for name in (".env", "auth.json", "SOUL.md", "memories/MEMORY.md", "memories/MEMORY.md.lock", "logs/agent.log",
                 "gateway.pid", "platforms/whatsapp/creds.json", "skills/a/SKILL.md", "skills/a/venv/big"):  # fmt: skip
        (home / name).write_text(f"before: {name}")
    (home / "code").mkdir()
    (home / "code/hermes_state.py").write_text("SCHEMA_VERSION = 11\n")
    database(home / "state.db", "before")
    return home


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def put(home: Path, content: bytes, steps: int | None = None, schema: int | None = 11, size: int = 1000) -> Any:
    """Restore."""
    return script("restore.py.txt", {"home": str(home), "do": "put", "schema": schema, "size": size}, content, steps)


def settle(home: Path, do: str, steps: int | None = None) -> Any:
    """End a restore."""
    return script("restore.py.txt", {"home": str(home), "do": do}, steps=steps)


# What is taken


def test_what_is_the_agents_own_is_taken_and_nothing_else(home: Path) -> None:
    found, left = exported(home)
    assert {path for path, (row, _) in found.items() if row["kind"] == "file"} == {
        "SOUL.md", "memories/MEMORY.md", "skills/a/SKILL.md", "state.db",
    }  # fmt: skip
    assert found["SOUL.md"][1] == b"before: SOUL.md"
    assert left == []
    secrets, _ = exported(home, secrets=True)
    assert set(secrets) - set(found) == {
        ".env", "auth.json", "platforms/pairing", "platforms/whatsapp", "platforms/whatsapp/creds.json",
    }  # fmt: skip


def test_links_devices_and_odd_names_are_left_and_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    (home / "memories/USER.md").symlink_to(tmp_path / "secret")
    (home / "skills/elsewhere").symlink_to(tmp_path)
    (home / "state2.db").symlink_to(home / "state.db")
    os.mkfifo(home / "sessions/fifo.json")
    (home / "memories" / "two\nlines").write_text("x")
    (home / "memories" / os.fsdecode(b"\xff")).write_text("x")
    found, left = exported(home)
    assert b"of somebody else" not in b"".join(content for _, content in found.values())
    assert sorted(path for path, _ in left) == [
        "memories/?", "memories/USER.md", "memories/two?lines", "sessions/fifo.json", "skills/elsewhere", "state2.db",
    ]  # fmt: skip


def test_a_home_that_is_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "maurice" / "link"
    link.symlink_to(home)
    done = script("export.py.txt", {"home": str(link), "secrets": False})
    assert done.returncode == 1
    assert put(link, stream({"SOUL.md": b"x"})).returncode == 1


def test_a_database_in_use_is_copied_as_a_whole_with_its_log(home: Path) -> None:
    writer = sqlite3.connect(home / "state.db", isolation_level=None)
    writer.execute("INSERT INTO messages VALUES ('in the log')")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO messages VALUES ('not committed')")
    assert (home / "state.db-wal").exists()
    found, _ = exported(home)
    assert not {"state.db-wal", "state.db-shm"} & set(found)
    copy = home.parent / "copy.db"
    copy.write_bytes(found["state.db"][1])
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT content FROM messages").fetchall() == [("before",), ("in the log",)]
    connection.close()
    writer.close()
    assert [path.name for path in home.parent.iterdir() if "snapshot" in path.name] == []


def test_a_home_that_is_too_large_is_refused_with_the_limit(home: Path) -> None:
    with (home / "skills/big").open("wb") as file:
        file.truncate(2 << 20)
    small = {**rules(), "most_bytes": 1 << 20}
    done = script("export.py.txt", {"home": str(home), "secrets": False, "rules": small})
    assert done.returncode == 1
    assert b"holds more than 0 GiB; the last file was skills/big" in done.stderr


# What is put back


def after(tmp_path: Path) -> dict[str, bytes | None]:
    """A backup of another state."""
    (tmp_path / "after.db").unlink(missing_ok=True)
    return {
        "SOUL.md": b"after",
        ".env": b"API_SERVER_KEY=of-the-backup",
        "memories": None,
        "memories/USER.md": b"after",
        "platforms": None,
        "platforms/new": b"after",
        "state.db": database(tmp_path / "after.db", "after"),
    }


def test_a_backup_takes_the_place_of_what_was_there_and_only_of_that(home: Path, tmp_path: Path) -> None:
    before, files = tree(home), after(tmp_path)
    assert put(home, stream(files)).stderr == b""
    now = tree(home)
    kept = {path for path in before if path.split("/")[0] in (".env", "auth.json", "code", "logs", "cache")}
    kept |= {"gateway.pid", "platforms/whatsapp/creds.json"}
    assert {path: now.pop(path) for path in kept} == {path: before[path] for path in kept}
    assert now == {path: content for path, content in files.items() if content is not None and path != ".env"}
    [aside] = home.parent.glob(".hermes.before-*")
    assert tree(aside)["memories/MEMORY.md"] == b"before: memories/MEMORY.md"
    assert settle(home, "keep").stdout.decode() == str(aside)
    assert sorted(path.name for path in home.parent.iterdir()) == [".hermes", aside.name]


def test_undone_all_is_as_it_was(home: Path, tmp_path: Path) -> None:
    before = tree(home)
    put(home, stream(after(tmp_path)))
    # A daemon ran on it for a while.
    connection = sqlite3.connect(home / "state.db", isolation_level=None)
    connection.execute("INSERT INTO messages VALUES ('meanwhile')")
    os.link(home / "state.db-wal", home.parent / "wal")
    connection.close()
    (home.parent / "wal").rename(home / "state.db-wal")
    assert settle(home, "undo").stderr == b""
    assert tree(home) == before
    assert [path.name for path in home.parent.iterdir()] == [".hermes"]


def test_killed_at_any_step_nothing_is_lost_and_the_next_run_goes_on(home: Path, tmp_path: Path) -> None:
    before, files = tree(home), after(tmp_path)
    steps = 0
    while (done := put(home, stream(files), steps)).returncode == 137:
        # The next one brings back what was there, or completes what it began: here it is undone as a whole.
        settled = settle(home, "undo")
        assert (settled.returncode, settled.stderr) == (0, b""), steps
        assert tree(home) == before, steps
        if steps % 7 == 0:
            # And another restore comes to the same end as one that was never killed.
            assert put(home, stream(files)).returncode == 0, steps
            assert settle(home, "undo").returncode == 0
            assert tree(home) == before, steps
        steps += 1
    assert (done.returncode, done.stderr) == (0, b"")
    assert steps > 15

    done_at_once = tmp_path / "done"
    shutil.copytree(home.parent, done_at_once)
    undoing = 0
    while (done := settle(home, "undo", undoing)).returncode == 137:
        assert settle(home, "undo").returncode == 0
        assert tree(home) == before, undoing
        shutil.rmtree(home.parent)
        shutil.copytree(done_at_once, home.parent)
        undoing += 1
    assert tree(home) == before
    assert undoing > 10


def test_what_a_daemon_made_of_a_restore_that_was_killed_is_not_taken_away(home: Path, tmp_path: Path) -> None:
    put(home, stream(after(tmp_path)))
    later = (home.parent / ".hermes.restore").stat().st_mtime + 5
    os.utime(home / "gateway.pid", (later, later))
    (home / "memories/NEW.md").write_text("said since")
    assert put(home, stream(after(tmp_path))).returncode == 0
    kept = [tree(aside) for aside in home.parent.glob(".hermes.before-*")]
    assert any(files.get("memories/NEW.md") == b"said since" for files in kept)
    assert any(files.get("memories/MEMORY.md") == b"before: memories/MEMORY.md" for files in kept)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"path": "../outside"}, b"leads elsewhere"),
        ({"path": "/etc/cron.d/x"}, b"leads elsewhere"),
        ({"path": "memories/../../x"}, b"leads elsewhere"),
        ({"sha256": "0" * 64}, b"arrived otherwise"),
        ({"size": 999}, b"did not arrive whole"),
    ],
)
def test_what_is_not_as_it_was_sent_changes_nothing(home: Path, changed: dict[str, Any], why: bytes) -> None:
    before = tree(home.parent)
    done = put(home, stream({"SOUL.md": b"after"}, **changed))
    assert done.returncode == 1
    assert why in done.stderr
    assert tree(home.parent) == before


def test_a_stream_that_ends_early_a_newer_schema_and_no_room_change_nothing(home: Path, tmp_path: Path) -> None:
    before, content = tree(home.parent), stream(after(tmp_path))
    assert b"did not arrive whole" in put(home, content[: len(content) // 2]).stderr
    assert b"schema of state.db is newer: the archive has 22, and the release here reads up to 11" in (
        put(home, content, schema=22).stderr
    )
    assert b"there is no room" in put(home, content, size=1 << 60).stderr
    damaged = (home / "state.db").read_bytes()[:4096] + b"\0" * 4096
    assert b"state.db is damaged" in put(home, stream({"state.db": damaged})).stderr
    assert tree(home.parent) == before


def test_a_home_with_a_database_open_is_left_alone(home: Path, tmp_path: Path) -> None:
    before = tree(home)
    with (home / "state.db").open("rb"):
        done = put(home, stream(after(tmp_path)))
    assert b"have its databases open" in done.stderr
    assert tree(home) == before


def test_an_inflated_stream_is_read_by_lines_and_sizes_and_never_past_its_end() -> None:
    source = Inflated(io.BytesIO(zlib.compress(b"first\n12345rest")))
    assert source.line(100) == b"first"
    assert b"".join(source.pieces(5)) == b"12345"
    with pytest.raises(CutOff):
        source.line(100)
    with pytest.raises(CutOff):
        Inflated(io.BytesIO(zlib.compress(b"x" * 5000))).line(100)
    with pytest.raises(CutOff):
        Inflated(io.BytesIO(b"no zlib at all")).line(100)


@pytest.mark.parametrize(
    "line",
    [b'{"end": 5}', b'{"end": [["a"]]}', b'{"end": [1]}', b"[" * 100_000, b"[]", b'{"path": "a"}', b"{"],
    ids=lambda line: line[:16].decode(),
)
def test_a_host_that_tells_nonsense_ends_a_backup_with_a_reason(line: bytes) -> None:
    def never(*args: Any) -> None:
        pytest.fail("nothing was to be taken")

    with pytest.raises(Unwanted, match="the host tells"):
        _take_all(Inflated(io.BytesIO(zlib.compress(line + b"\n"))), never, never)
