"""
Memory operations: what they yield, and the script that they run, run here: traps, races, killed at every step.

L_1 to L_11 in names: the bugs of the predecessor's memory commands, one test for each.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyinfra.api import StringCommand
from pyinfra.api.util import get_kwargs_str
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from pyinfra_hermes.deploys.model.memories import FILES, SEPARATOR
from pyinfra_hermes.facts.memory_files import Memories, MemoryFile
from pyinfra_hermes.facts.script import memory_home
from pyinfra_hermes.operations import memories
from pyinfra_hermes.operations.announcing import listening

from .harness import stdin

ROOM = Path(__file__).parents[2] / "operations"
#: Ends the script like SIGKILL in place of the step of this number.
_KILLED = """
import os
_left = [{steps}]
def _counted(function):
    def step(*args, **kwargs):
        if _left[0] == 0:
            os._exit(137)
        _left[0] -= 1
        return function(*args, **kwargs)
    return step
for _name in ("open", "rename", "mkdir", "unlink", "fsync", "fchmod"):
    setattr(os, _name, _counted(getattr(os, _name)))
"""
_FULL = """
import os
def _full(*args):
    raise OSError(28, "No space left on device")
os.fsync = _full
"""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def change(
    home: Path, do: str, text: str | None, file: str = "MEMORY.md", before: str = "", **request: Any
) -> subprocess.CompletedProcess[str]:
    """Run the script as a host would."""
    asked = {"home": str(home), "file": file, "do": do, "text": text, "expected": None, "limit": 2200, "wait": 20}
    return subprocess.run(
        [sys.executable, "-I", "-c", before + memory_home() + (ROOM / "memory.py.txt").read_text()],
        input=json.dumps(asked | request),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / ".hermes"
    (path / "memories").mkdir(parents=True)
    return path


def leftovers(home: Path) -> set[str]:
    names = {path.name for folder in (home, home / "memories") for path in folder.iterdir()}
    return names - {"memories", "MEMORY.md", "MEMORY.md.lock", "SOUL.md"}


def test_L_1_a_file_that_is_not_there_is_made_and_so_is_its_folder(home: Path) -> None:
    (home / "memories").rmdir()
    assert change(home, "put", "bees", expected="absent").returncode == 0
    file = home / "memories/MEMORY.md"
    assert file.read_text() == "bees"
    assert [oct(path.stat().st_mode & 0o777) for path in (file, file.parent)] == ["0o600", "0o700"]
    assert leftovers(home) == set()


def test_L_2_an_empty_file_is_one_like_any_other(home: Path) -> None:
    (home / "memories/MEMORY.md").write_text("")
    assert change(home, "put", "bees", expected=sha("")).returncode == 0
    assert (home / "memories/MEMORY.md").read_text() == "bees"


def test_L_4_SOUL_md_can_be_removed(home: Path) -> None:
    (home / "SOUL.md").write_text("a soul")
    assert change(home, "put", None, "SOUL.md", expected=sha("a soul")).returncode == 0
    assert not (home / "SOUL.md").exists()
    assert change(home, "put", None, "SOUL.md").returncode == 0


@pytest.mark.parametrize("expected", ["absent", sha("before")])
def test_L_5_what_was_changed_meanwhile_is_left_alone(home: Path, expected: str) -> None:
    file = home / "memories/MEMORY.md"
    file.write_text("of the agent")
    done = change(home, "put", "mine", expected=expected)
    assert (done.returncode, file.read_text()) == (1, "of the agent")
    assert "was changed meanwhile" in done.stderr
    assert change(home, "put", None, expected=expected).returncode == 1
    assert file.read_text() == "of the agent"


def test_L_6_a_file_that_is_not_text_can_be_replaced_and_not_added_to(home: Path) -> None:
    file = home / "memories/MEMORY.md"
    file.write_bytes(b"\xff\xfe")
    done = change(home, "add", "bees")
    assert (done.returncode, file.read_bytes()) == (1, b"\xff\xfe")
    assert "not UTF-8" in done.stderr
    assert change(home, "put", "bees", expected=hashlib.sha256(b"\xff\xfe").hexdigest()).returncode == 0
    assert file.read_text() == "bees"


@pytest.mark.parametrize("text", ["{a: b}", "null", "日\u202e", "%s", "'\"\\", "-n", "$(id)"])
def test_L_7_a_text_arrives_as_it_is(home: Path, text: str) -> None:
    assert change(home, "put", text).returncode == 0
    assert (home / "memories/MEMORY.md").read_text() == text


@pytest.mark.parametrize("trap", ["link", "dangling link", "pipe", "directory", "socket"])
def test_nothing_that_the_agent_planted_is_followed_or_waited_for(home: Path, tmp_path: Path, trap: str) -> None:
    file, other = home / "memories/MEMORY.md", tmp_path / "other"
    other.write_text("of somebody else")
    if trap == "link":
        file.symlink_to(other)
    elif trap == "dangling link":
        file.symlink_to(tmp_path / "nowhere")
    elif trap == "pipe":
        os.mkfifo(file)
    elif trap == "directory":
        file.mkdir()
    else:
        os.mknod(file, 0o140600)
    for do in ("put", "add", "remove"):
        done = change(home, do, "bees")
        assert done.returncode == 1
        assert f"is a {trap.split()[-1]}, not a file" in done.stderr
    assert other.read_text() == "of somebody else"
    assert not (tmp_path / "nowhere").exists()
    # What is no folder can be removed, and then there is room for a file.
    assert change(home, "put", None).returncode == (1 if trap == "directory" else 0)
    assert file.is_dir() == (trap == "directory")


def test_a_planted_lock_is_refused(home: Path, tmp_path: Path) -> None:
    lock = home / "memories/MEMORY.md.lock"
    lock.symlink_to(tmp_path / "made")
    assert "cannot be opened" in change(home, "put", "bees").stderr
    lock.unlink()
    os.mkfifo(lock)
    assert "is no file" in change(home, "put", "bees").stderr
    assert not (tmp_path / "made").exists()


def test_a_home_or_folder_that_is_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (home / "memories").rmdir()
    (home / "memories").symlink_to(tmp_path / "elsewhere")
    assert "memories is a link, not a folder" in change(home, "put", "bees").stderr
    (tmp_path / "linked").symlink_to(home)
    assert change(tmp_path / "linked", "put", "bees").returncode == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_who_holds_the_lock_for_ever_is_told_of(home: Path) -> None:
    with (home / "memories/MEMORY.md.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = change(home, "put", "bees", wait=0.2)
    assert done.returncode == 1
    assert "locked by another process" in done.stderr
    assert not (home / "memories/MEMORY.md").exists()


def test_a_full_disk_loses_nothing_and_leaves_nothing(home: Path) -> None:
    file = home / "memories/MEMORY.md"
    file.write_text("before")
    done = change(home, "put", "after", before=_FULL)
    assert (done.returncode, file.read_text(), leftovers(home)) == (1, "before", set())
    assert "there is no room" in done.stderr


@pytest.mark.parametrize("do", ["put", "add", "remove"])
def test_killed_at_any_step_it_is_the_old_or_the_new(home: Path, do: str) -> None:
    file = home / "memories/MEMORY.md"
    text = {"put": "new", "add": "new", "remove": "old"}[do]
    new = {"put": "new", "add": f"old{SEPARATOR}other{SEPARATOR}new", "remove": "other"}[do]
    for steps in range(40):
        file.write_text(f"old{SEPARATOR}other")
        done = change(home, do, text, before=_KILLED.format(steps=steps))
        assert file.read_text() in (f"old{SEPARATOR}other", new)
        if done.returncode == 0:
            break
        assert done.returncode == 137
    else:
        raise AssertionError("it never came to its end")
    assert steps > 6
    assert leftovers(home) == set(), "and the next one clears what the killed ones left"


def test_entries_that_many_add_at_once_are_all_there(home: Path) -> None:
    names = [f"entry {number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda name: change(home, "add", name), names))
    assert [each.returncode for each in done] == [0] * len(names)
    assert sorted(FILES["MEMORY.md"].entries((home / "memories/MEMORY.md").read_text())) == sorted(names)


def test_an_entry_is_there_once_and_goes_by_its_text(home: Path) -> None:
    file = home / "memories/MEMORY.md"
    for text in ("a", "b", "a"):
        assert change(home, "add", text).returncode == 0
    assert file.read_text() == f"a{SEPARATOR}b"
    for _ in range(2):
        assert change(home, "remove", "a").returncode == 0
        assert file.read_text() == "b"


def test_an_entry_too_many_is_refused_with_the_numbers(home: Path) -> None:
    file = home / "memories/MEMORY.md"
    file.write_text("x" * 2190)
    assert change(home, "add", "y" * 7).returncode == 0
    assert len(file.read_text()) == 2200
    done = change(home, "add", "z")
    assert done.stderr == "hermes memory file 'MEMORY.md' exceeds character limit (2204 > 2200 chars)\n"


_ENTRIES = """
import json, sys
exec(sys.argv[1])
print(json.dumps([entries(text) for text in json.load(sys.stdin)]))
"""


@settings(max_examples=5, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["§", "\n", "\r", " ", "a", "日", "\x85"])).map("".join), max_size=60))
def test_the_script_reads_entries_as_the_model_does(texts: list[str]) -> None:
    argv = [sys.executable, "-I", "-c", _ENTRIES, memory_home()]
    done = subprocess.run(argv, input=json.dumps(texts), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [list(FILES["MEMORY.md"].entries(text)) for text in texts]


def ours(**files: MemoryFile) -> Memories:
    given = {name.replace("_", "."): file for name, file in files.items()}
    return Memories("ours", "active", {name: given.get(name, MemoryFile("absent")) for name in FILES})


def yielded(operation: Any, found: Memories | None, **arguments: Any) -> tuple[list[StringCommand], str | None]:
    state = FakeState()
    facts = {"memories.HermesMemories": {get_kwargs_str({"agent": "maurice"}): found}}
    host = create_host(state, facts=facts)
    with ctx_state.use(state), ctx_host.use(host), listening(host):
        return list(operation._inner(agent="maurice", **arguments)), host.noop_description


THERE = MemoryFile("file", 4, "600", content=b"bees", entries=(sha("bees"),))


def test_a_text_travels_on_standard_input_only() -> None:
    [command], _ = yielded(memories.memory, ours(), file="USER.md", text="a private text", expected="absent")
    assert "a private text" not in command.get_raw_value()
    asked = json.loads(stdin(command) or "")
    assert (asked["do"], asked["file"], asked["text"], asked["expected"]) == (
        "put", "USER.md", "a private text", "absent",
    )  # fmt: skip
    assert "setpriv --reuid=maurice" in command.get_raw_value()


def test_what_is_as_it_should_be_is_left_alone() -> None:
    assert yielded(memories.memory, ours(USER_md=THERE), file="USER.md", text="bees") == (
        [],
        "USER.md of maurice holds this",
    )
    assert yielded(memories.memory, ours(), file="USER.md", text=None) == ([], "there is no USER.md of maurice")
    assert (
        yielded(memories.entry, ours(USER_md=THERE), file="USER.md", text="bees")[1]
        == "USER.md of maurice has this entry"
    )
    commands, why = yielded(memories.entry, ours(), file="USER.md", text="bees", present=False)
    assert (commands, why) == ([], "USER.md of maurice does not have this entry")


@pytest.mark.parametrize(
    ("found", "file", "expected", "why"),
    [
        (None, "USER.md", None, "could not be observed"),
        (Memories("none"), "USER.md", None, "no account maurice"),
        (Memories("foreign"), "USER.md", None, "no account maurice"),
        (ours(USER_md=THERE), "USER.md", sha("else"), "changed meanwhile"),
        (ours(USER_md=THERE), "USER.md", "absent", "changed meanwhile"),
        (ours(), "notes.md", None, "is no memory file"),
        (ours(USER_md=MemoryFile("trouble", detail="memories is a link")), "USER.md", None, "memories is a link"),
    ],
)
def test_what_cannot_be_done_fails_on_its_host(
    found: Memories | None, file: str, expected: str | None, why: str
) -> None:
    [command], _ = yielded(memories.memory, found, file=file, text="x", expected=expected)
    assert why in command.get_raw_value()
    assert command.get_raw_value().endswith("exit 1")


def test_two_may_be_the_first_to_write(tmp_path: Path) -> None:
    (tmp_path / ".hermes").mkdir()
    # Another one makes the folder after it was looked for.
    meanwhile = "import os\nmkdir = os.mkdir\nos.mkdir = lambda *a, **b: (mkdir(*a, **b), mkdir(*a, **b))\n"
    done = change(tmp_path / ".hermes", "add", "bees", before=meanwhile)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / ".hermes" / "memories" / "MEMORY.md").read_text() == "bees"
