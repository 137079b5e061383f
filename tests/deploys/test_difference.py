"""What a configure would change: told by the deploys that are not run, completed by what is on the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.context import ctx_host

from pyinfra_hermes.deploys import difference
from pyinfra_hermes.deploys.difference import Difference, differences
from pyinfra_hermes.deploys.model.render import Files, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.facts.leaves import leaf_key
from pyinfra_hermes.facts.script import values_of
from pyinfra_hermes.facts.values import HermesValues, Values, read
from pyinfra_hermes.operations.announcing import Change

SPEC = AgentSpec.parse(
    {"name": "maurice", "method": "wheel", "provider": {"type": "custom", "url": "http://h:8000", "model": "m"}}
)
FILES: Files = render(SPEC, {"HERMES_API_SERVER_KEY": Secret("0f" * 32)})
ENV, CONFIG, UNIT = FILES.paths.env, FILES.paths.config, FILES.paths.unit


@dataclass
class Host:
    """A host that answers one fact, and keeps what it was asked."""

    values: Values
    asked: dict[str, Any] | None = None

    def get_fact(self, fact: type, **asked: Any) -> Values:
        assert fact is HermesValues
        self.asked = asked
        return self.values


def compared(*changes: Change, **found: Any) -> tuple[list[Difference], Host]:
    host = Host(Values(**found))
    with ctx_host.use(host):  # type: ignore[arg-type]
        return differences(changes, FILES, sudo=True), host


def test_where_nothing_differs_nothing_is_asked() -> None:
    assert compared() == ([], Host(Values()))


def test_old_values_are_asked_for_only_where_the_new_one_is_no_secret() -> None:
    changes = (
        Change("add", ENV, "SECRET_TOKEN", secret=True),
        Change("change", ENV, "API_SERVER_KEY", secret=True),
        Change("change", ENV, "API_SERVER_PORT", "8643"),
        Change("remove", ENV, "FOREIGN"),
        Change("change", CONFIG, "model.default", '"m"', path=("model", "default")),
        Change("remove", CONFIG, "model.x", path=("model", "x")),
        Change("do", "hermes-maurice.service", "restart"),
    )
    found, host = compared(
        *changes,
        leaves={leaf_key(["model", "default"]): '"old"', leaf_key(["model", "x"]): None},
        variables={"API_SERVER_PORT": '"8642"'},
    )
    assert host.asked is not None
    assert host.asked["leaves"] == (("model", "default"), ("model", "x"))
    assert host.asked["variables"] == ("API_SERVER_PORT",)
    assert [(each.item, each.old, each.new, each.secret) for each in found] == [
        ("SECRET_TOKEN", None, None, True),
        ("API_SERVER_KEY", None, None, True),
        ("API_SERVER_PORT", "8642", "8643", False),
        ("FOREIGN", None, None, False),
        ("model.default", '"old"', '"m"', False),
        ("model.x", "(hidden: it looks like a secret)", None, False),
        ("restart", None, None, False),
    ]
    assert json.dumps([each.data() for each in found])


def test_a_unit_is_compared_line_by_line() -> None:
    old = FILES.service.replace("MemoryMax=2G", "MemoryMax=1G").rstrip("\n")
    found, _ = compared(Change("change", UNIT), units={UNIT: old})
    assert [(each.action, each.old, each.new) for each in found] == [
        ("remove", "MemoryMax=1G", None),
        ("add", None, "MemoryMax=2G"),
    ]
    [same], _ = compared(Change("change", UNIT), units={UNIT: FILES.service.rstrip("\n")})
    assert same.item == "mode or owner"
    [new], _ = compared(Change("add", UNIT))
    assert (new.action, new.old) == ("add", None)


def test_what_looks_like_a_credential_is_not_shown() -> None:
    key = "sk-proj-" + "Ab1" * 12
    [found], _ = compared(
        Change("change", CONFIG, "a.b", "1", path=("a", "b")), leaves={leaf_key(["a", "b"]): json.dumps(key)}
    )
    assert key not in str(found)


def values(tmp_path: Path, leaves: list[list[str]], variables: list[str]) -> Values:
    source = Path(difference.__file__).parents[1] / "facts/values.py.txt"
    done = subprocess.run(
        [sys.executable, "-I", str(source), str(tmp_path), json.dumps({"leaves": leaves, "variables": variables})],
        capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert "hunter2" not in done.stdout
    return read(f"own {line}" for line in done.stdout.splitlines())


def test_what_looks_like_a_secret_does_not_leave_the_host(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model: {default: é, api_key: hunter2, token: '${X}', max_tokens: 5}\n"
        "block: {env: {A_KEY: hunter2}}\nlist: [{secret: hunter2}]\nhunter2: hunter2\n"
    )
    (tmp_path / ".env").write_text('PLAIN="a b"\nB_PASSWORD=hunter2\nC=hunter2\n')
    paths = [["model", "default"], ["model", "api_key"], ["model", "token"], ["model", "max_tokens"], ["block"],
             ["list"], ["absent", "x"]]  # fmt: skip
    found = values(tmp_path, paths, ["PLAIN", "B_PASSWORD", "ABSENT"])
    assert found.leaves == {
        leaf_key(["model", "default"]): '"é"',
        leaf_key(["model", "api_key"]): None,
        leaf_key(["model", "token"]): '"${X}"',
        leaf_key(["model", "max_tokens"]): "5",
        leaf_key(["block"]): None,
        leaf_key(["list"]): None,
    }
    assert found.variables == {"PLAIN": '"a b"', "B_PASSWORD": None}


def test_an_agent_without_files_has_no_values(tmp_path: Path) -> None:
    assert values(tmp_path, [["a"]], ["B"]) == Values()


@pytest.mark.parametrize(
    "line",
    ["", "leaf", "leaf x", "leaf [1]", "leaf [[], 3]", "variable {}", "line x", "what 1", f"leaf {'[' * 100_000}"],
    ids=lambda line: line[:16],
)
def test_what_an_agent_makes_up_is_no_value(line: str) -> None:
    assert read([f"own {line}"]) == Values()


def test_what_is_printed_with_an_agents_rights_says_nothing_of_a_unit(tmp_path: Path) -> None:
    unit, python = tmp_path / "unit", tmp_path / "python"
    unit.write_text("ExecStart=ours\n")
    # The agent can write into the standard output of a process of its own: this stands for that.
    python.write_text(f'#!/bin/sh\nprintf \'unit {unit}\\nline ExecStart=planted\\n\\377\\nleaf [["a"], "1"]\\n\'\n')
    python.chmod(0o755)
    setpriv = tmp_path / "setpriv"
    setpriv.write_text('#!/bin/sh\nwhile [ "$1" != env ]; do shift; done\nexec "$@"\n')
    setpriv.chmod(0o755)
    text = values_of("maurice", str(tmp_path), str(python), "{}", [str(unit)]).replace("PATH=", f"PATH={tmp_path}:", 1)
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=True)
    found = read(done.stdout.decode().splitlines())
    assert found == Values(leaves={leaf_key(["a"]): "1"}, units={str(unit): "ExecStart=ours"})


def test_an_action_has_a_name_for_programs() -> None:
    plain = Difference("refuse", "x", "", None, None)
    assert (plain.data()["action"], replace(plain, action="do").data()["action"]) == ("refused", "act")
