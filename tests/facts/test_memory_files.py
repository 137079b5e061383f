"""
What the host tells of an agent's memory files: traps that are told of, and lines that an agent made up.

L_1 to L_11 in names: the bugs of the predecessor's memory commands, one test for each.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.facts import script
from pyinfra_hermes.facts.memory_files import Memories, Unreadable, parse
from pyinfra_hermes.facts.script import ACCOUNT_COMMENT

SCRIPT = script.memory_home() + Path(script.__file__).with_name("memories.py.txt").read_text()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


def told(home: Path) -> Memories:
    """What is told of this home, which is no installed agent's: so nothing of limits and judgements."""
    done = subprocess.run([sys.executable, "-I", "-c", SCRIPT, str(home)], capture_output=True, text=True, check=True)
    return parse(["account ours", "unit active", f"own {done.stdout.strip()}", "end"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".hermes/memories").mkdir(parents=True)
    return tmp_path


def test_files_are_told_with_their_content_and_what_lies_beside(home: Path) -> None:
    memories = home / ".hermes/memories"
    (memories / "MEMORY.md").write_text("bees\n§\nwasps")
    (memories / "MEMORY.md.bak.1746619200").write_text("old")
    (memories / "MEMORY.md.lock").touch()
    (home / ".hermes/SOUL.md").write_text("")
    found = told(home)
    memory, user, soul = (found.files[name] for name in ("MEMORY.md", "USER.md", "SOUL.md"))
    assert (memory.kind, memory.text, len(memory.entries)) == ("file", "bees\n§\nwasps", 2)
    assert [(each.name, each.size) for each in memory.beside] == [
        ("MEMORY.md.bak.1746619200", 3),
        ("MEMORY.md.lock", 0),
    ]
    assert (user.kind, user.there, user.usable, user.sha256) == ("absent", False, True, None)
    assert (soul.text, soul.there, soul.usable) == ("", True, True)
    assert found.runs


@pytest.mark.parametrize("trap", ["link", "pipe", "directory", "big", "bytes"])
def test_L_6_a_trap_is_told_of_and_costs_nothing(home: Path, trap: str) -> None:
    file = home / ".hermes/memories/USER.md"
    if trap == "link":
        file.symlink_to("/etc/passwd")
    elif trap == "pipe":
        os.mkfifo(file)
    elif trap == "directory":
        file.mkdir()
    elif trap == "big":
        with file.open("wb") as handle:
            handle.truncate(1 << 30)
    else:
        file.write_bytes(b"bees \xff\xfe")
    found = told(home).files["USER.md"]
    assert found.text is None
    assert (found.kind, found.usable) == ("file" if trap in ("big", "bytes") else trap, trap == "bytes")
    if trap == "link":
        assert found.detail == "/etc/passwd"
    if trap == "bytes":
        assert found.content == b"bees \xff\xfe"


def test_a_folder_that_is_a_link_is_not_gone_into(home: Path, tmp_path: Path) -> None:
    (home / ".hermes/memories").rmdir()
    (home / ".hermes/memories").symlink_to("/etc")
    found = told(home).files
    assert found["USER.md"].kind == "trouble"
    assert "memories is a link, not a folder" in found["USER.md"].detail
    assert found["SOUL.md"].kind == "absent"


def test_a_link_in_place_of_config_yaml_is_not_read(home: Path) -> None:
    (home / "elsewhere").write_text("memory: {memory_char_limit: 1}\n")
    (home / ".hermes/config.yaml").symlink_to(home / "elsewhere")
    assert told(home).limits == {}


def test_who_is_not_ours_is_told_and_nothing_else() -> None:
    assert parse(["account none", "end"]) == Memories("none")
    assert parse(["account foreign", "own {}", "end"]) == Memories("foreign")
    with pytest.raises(Unreadable, match="cut off"):
        parse(["account ours", "unit active"])


@pytest.mark.parametrize("content", ["!", "YQ", 7, ["x"], {"a": 1}])
def test_content_that_is_no_content_is_refused(content: Any) -> None:
    row = {"kind": "file", "content": content}
    report = {"files": {"USER.md": row}, "limits": {}, "off": [], "hides": False}
    with pytest.raises(Unreadable):
        parse(["account ours", f"own {json.dumps(report)}", "end"])


@given(JSON, st.sampled_from(["files", "limits", "off", "kind", "content", "beside", "objections", "entries", "size"]))
def test_whatever_an_agent_makes_up_is_taken_or_refused_and_nothing_else(value: Any, where: str) -> None:
    row: dict[str, Any] = {"kind": "file", "content": base64.b64encode(b"x").decode()}
    report: dict[str, Any] = {"files": {"USER.md": row}, "limits": {}, "off": [], "hides": False}
    (report if where in report else row)[where] = value
    for line in (json.dumps(report), json.dumps(value), str(value)):
        with contextlib.suppress(Unreadable):
            assert isinstance(parse(["account ours", f"own {line}", "end"]), Memories)


def test_the_account_is_looked_at_before_anything_of_it() -> None:
    whole = script.memories_of("nobody-of-ours")
    assert ACCOUNT_COMMENT in whole
    done = subprocess.run(["sh", "-s"], input=whole, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["account none", ""] or done.stdout == "account none\n"
