"""A tool is built like a release, once; the commands that an agent is to start are looked for as that agent."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api import StringCommand

from pyinfra_hermes.facts.leaves import leaf_digest, leaf_key
from pyinfra_hermes.operations import toolchain
from pyinfra_hermes.operations.wheels import NoWheels

from .harness import BARE, RUNNING, packaged, stdin, with_agent, yielded

TOOL = "mcp-atlassian-0.23.1-11617e46"
LOCK = "uv==1 \\\n    --hash=sha256:00\n"
LEAVES = {("mcp_servers", "x"): {"command": "run", "args": ["-v"]}}


def archive(python: str, arch: str) -> Path:
    return Path(f"/cache/{python}-{arch}.tar")


def test_a_tool_is_staged_uploaded_and_built() -> None:
    found = yielded(toolchain.tool, BARE, names=(), id=TOOL, programs=["a", "b"], lock=LOCK, archive=archive)
    build = found.commands[2]
    assert isinstance(build, StringCommand)
    shape = rf"sh -s -- /opt/pyinfra-hermes/tools {TOOL} TOOL /tmp/pyinfra-hermes-[0-9a-f]{{32}} a b"
    assert re.fullmatch(shape, build.get_raw_value())
    assert stdin(build) == (packaged("wheels.sh") + packaged("tool.sh")).replace("@LOCK@", LOCK.rstrip("\n"))
    assert [str(change) for change in found.changes] == [f"+ /opt/pyinfra-hermes/tools/{TOOL}"]


def test_an_installed_tool_is_never_touched_nor_its_wheels_fetched() -> None:
    def never(python: str, arch: str) -> Path:
        raise NoWheels("fetched")

    there = replace(BARE, tools=(TOOL,))
    found = yielded(toolchain.tool, there, names=(), id=TOOL, programs=["a"], lock=LOCK, archive=never)
    assert (found.commands, found.noop) == ([], f"tool {TOOL} is installed")


def check(wanted: dict[str, str], leaves: dict[str, str] | None = None) -> StringCommand | None:
    observed = with_agent(RUNNING, leaves=leaves or {})
    found = yielded(toolchain.commands, observed, agent="maurice", wanted=wanted, path="/usr/bin:/bin", leaves=LEAVES)
    return found.only if found.commands else None


def test_nothing_is_asked_where_nothing_is_new() -> None:
    there = {
        leaf_key(("mcp_servers", "x", "command")): leaf_digest("run"),
        leaf_key(("mcp_servers", "x", "args")): leaf_digest(["-v"]),
        leaf_key(("model", "default")): leaf_digest("m"),
    }
    assert check({}) is None
    assert check({"run": "integration x"}, there) is None
    assert (
        check({"run": "integration x"}, {**there, leaf_key(("mcp_servers", "x", "command")): leaf_digest("old")})
        is not None
    )


@pytest.mark.parametrize(
    ("command", "there"),
    [("sh", True), ("/bin/sh", True), ("~/mine", True), ("nothing-of-that-name", False), ("/etc/passwd", False),
     ("/usr/bin", False), ("~/other", False), ("$(touch x)", False), ("a'b", False)],
)  # fmt: skip
def test_commands_are_found_as_the_daemon_finds_them(tmp_path: Path, command: str, there: bool) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    asked = check({command: "integration x"})
    assert asked is not None
    assert asked.get_raw_value().startswith("setpriv --reuid=maurice --regid=maurice ")
    # The script is the same for any shell and account: here it runs as this user.
    arguments = ["/usr/bin:/bin", "maurice", command, "integration x"]
    result = subprocess.run(
        ["sh", "-c", toolchain.FIND, "sh", *arguments],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (result.returncode == 0) is there, result.stderr
    assert (f"{command} was not found on this host, or agent maurice may not run it" in result.stderr) is not there
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
