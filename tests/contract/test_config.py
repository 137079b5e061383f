"""The script that sets leaves of ``config.yaml``, and the one that reports them, with the release's own libraries."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.facts.observation import leaf_digest

WRITE = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text()
REPORT = resources.files("pyinfra_hermes.facts").joinpath("leaves.py.txt").read_text()

Writer = Callable[..., "subprocess.CompletedProcess[str]"]
Reporter = Callable[[str], "list[str]"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def write(hermes_python: Path, config: Path) -> Writer:
    def run(leaves: dict[str, Any], absent: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        wanted = json.dumps({"path": str(config), "set": leaves, "absent": list(absent)})
        command = [str(hermes_python), "-I", "-c", WRITE]
        return subprocess.run(
            command, input=wanted, capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"}
        )

    return run


@pytest.fixture
def report(hermes_python: Path) -> Reporter:
    def run(text: str) -> list[str]:
        command = [str(hermes_python), "-I", "-c", REPORT]
        return subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, env={"LC_ALL": "C"}, encoding="utf-8"
        ).stdout.splitlines()

    return run


def test_a_file_is_made_private_with_our_leaves_only(write: Writer, config: Path) -> None:
    result = write({"model.provider": "custom", "model.context_length": 8192, "deep.er.est": True})
    assert (result.returncode, result.stderr) == (0, "")
    assert yaml.safe_load(config.read_text()) == {
        "model": {"provider": "custom", "context_length": 8192},
        "deep": {"er": {"est": True}},
    }
    assert config.stat().st_mode & 0o7777 == 0o600
    assert [path.name for path in config.parent.iterdir()] == [config.name]


FOREIGN = """\
# A comment of the owner.
model:
  default: "old"   # beside
  temperature: 0.50
  api_key: '${OLD}'

# About tools.
mcp_servers:
  files: {command: npx, args: [-y, 'a b', "c\\td"]}   # flow
  when: on
  octal: 010
  text: |
    several
      lines
  folded: >-
    one
    line
anchors:
  one: &one {a: 1}
  two: *one
empty:
date: 2026-11-22
# The end.
"""


def test_what_is_not_ours_survives_to_the_letter(write: Writer, config: Path) -> None:
    config.write_text(FOREIGN)
    result = write({"model.default": "new", "model.provider": "custom"}, ("model.context_length", "nothing.of.this"))
    assert (result.returncode, result.stderr) == (0, "")
    after = config.read_text().splitlines()
    # The owner's quotes stay around a value that changes; ruamel.yaml puts a new leaf below the comment that follows.
    assert '  default: "new"   # beside' in after
    after[after.index('  default: "new"   # beside')] = '  default: "old"   # beside'
    after.remove("  provider: custom")
    assert after == FOREIGN.splitlines()


def test_the_same_twice_changes_nothing(write: Writer, config: Path) -> None:
    config.write_text(FOREIGN)
    leaves = {"model.default": "a/b:c", "model.provider": "custom"}
    write(leaves)
    once = config.read_bytes()
    write(leaves)
    assert config.read_bytes() == once


def test_a_comment_about_what_follows_outlives_a_removed_leaf(write: Writer, config: Path) -> None:
    config.write_text("a: 1\nmodel:\n  default: x\n  context_length: 5\n\n# About tools.\ntools: [x]\n")
    write({}, ("model.context_length",))
    assert yaml.safe_load(config.read_text()) == {"a": 1, "model": {"default": "x"}, "tools": ["x"]}
    assert "# About tools.\ntools:" in config.read_text()


def test_a_comment_outlives_a_parent_that_becomes_empty(write: Writer, config: Path) -> None:
    config.write_text("a: 1\nmodel:\n  only:\n    context_length: 5\n# About tools.\ntools: [x]\n")
    write({}, ("model.only.context_length",))
    assert yaml.safe_load(config.read_text()) == {"a": 1, "tools": ["x"]}
    assert "# About tools.\ntools:" in config.read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# top\nm:\n  # about x\n  x: 1  # beside\n  # about y\n  y: 2\n# end\n",
            "# top\nm:\n  # about x\n  # about y\n  y: 2\n# end\n",
        ),
        ("m:\n  x: 'a\n\n    b'\n  y: 2\n", "m:\n  y: 2\n"),
        ("m:\n  x:\n    1\n  y: 2\n", "m:\n  y: 2\n"),
        ("m: {x: 1, y: 2}\n", "m: {y: 2}\n"),
        ("m: {x: 1}\nn: 1\n", "n: 1\n"),
        ("m:\n  x: |\n    a\n    b\n  y: 2\n", "m:\n  y: 2\n"),
        ("m:\n  x:\n    z: 1\n  y: 2\n", "m:\n  y: 2\n"),
        ("m:\n  x:\n  y: 2\n", "m:\n  y: 2\n"),
        ("a: &a 5\nm:\n  x: *a\n  y: 2\n", "a: &a 5\nm:\n  y: 2\n"),
        ("m:\n  y: 2\n", "m:\n  y: 2\n"),
    ],
)
def test_a_leaf_goes_in_whatever_style_it_is(write: Writer, config: Path, before: str, after: str) -> None:
    config.write_text(before)
    assert write({}, ("m.x",)).stderr == ""
    assert config.read_text() == after


def test_a_file_of_comments_keeps_them(write: Writer, config: Path) -> None:
    config.write_text("# mine\n# too\n")
    write({"a": 1})
    assert config.read_text() == "# mine\n# too\na: 1\n"


def test_parents_that_become_empty_go_and_others_stay(write: Writer, config: Path) -> None:
    config.write_text("a:\n  b:\n    c: 1\n    d: 2\n  e: {f: 1}\n")
    write({}, ("a.b.c",))
    assert yaml.safe_load(config.read_text()) == {"a": {"b": {"d": 2}, "e": {"f": 1}}}
    write({}, ("a.b.d", "a.e.f"))
    assert not yaml.safe_load(config.read_text())


def test_a_parent_that_is_no_mapping_is_replaced_when_a_leaf_is_set_and_left_when_one_is_removed(
    write: Writer, config: Path
) -> None:
    config.write_text("model: gpt\nlist: [1]\nnothing:\n")
    write({}, ("model.context_length", "list.0", "nothing.x"))
    assert yaml.safe_load(config.read_text()) == {"model": "gpt", "list": [1], "nothing": None}
    write({"model.default": "m", "nothing.x": 1})
    assert yaml.safe_load(config.read_text()) == {"model": {"default": "m"}, "list": [1], "nothing": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1\nb: 2\n", "line 2: "),
        ("a: 1\n\tb: 2\n", "line 2: "),
        ("a: 1\na: 2\n", "line 2: "),
        ("a: *none\n", "line 1: "),
        ("a: 1\n---\nb: 2\n", "line 2: "),
        ("a: 1\nb: \x07\n", ""),
        ("[1, 2]\n", "is not a mapping"),
        ("hello\n", "is not a mapping"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line_and_not_touched(
    write: Writer, config: Path, text: str, reason: str
) -> None:
    config.write_text(text)
    result = write({"model.default": "m"})
    assert result.returncode == 1
    assert result.stderr.startswith(f"{config}: {reason}")
    assert result.stderr.endswith("; nothing was written\n")
    assert len(result.stderr.splitlines()) == 1
    assert config.read_text() == text
    assert [path.name for path in config.parent.iterdir()] == [config.name]


def test_what_is_no_utf8_is_told_and_not_touched(write: Writer, config: Path) -> None:
    config.write_bytes(b"a: \xff\n")
    result = write({"model.default": "m"})
    assert result.stderr == f"{config}: is not UTF-8; nothing was written\n"
    assert config.read_bytes() == b"a: \xff\n"


AMBIGUOUS = [
    "on",
    "No",
    "y",
    "null",
    "~",
    "1.5",
    "1e3",
    "0x1F",
    "010",
    "0o17",
    "1_000",
    "12:30:45",
    "2026-11-22",
    "",
    " a ",
    "a: b",
    "a #b",
    "- x",
    "{a}",
    "[a]",
    "&a",
    "*a",
    "!a",
    "%a",
    "@a",
    "`a",
    "'a'",
    '"a"',
    "a\nb",
    "\ta",
    "é",
    "🦊",
    "${X}",
    "=",
    "<<",
    "x" * 5000,
]


def test_any_value_arrives_in_the_reader_that_hermes_uses(write: Writer, config: Path, report: Reporter) -> None:
    # Written by ruamel.yaml, which knows YAML 1.2; read by PyYAML, which knows 1.1: there "on" is true.
    leaves: dict[str, Any] = {f"v.k{number}": value for number, value in enumerate([*AMBIGUOUS, 0, 7, -1, True, False])}
    assert write(leaves).returncode == 0
    read = yaml.safe_load(config.read_text())["v"]
    for path, value in leaves.items():
        found = read[path.removeprefix("v.")]
        assert (found, type(found)) == (value, type(value))
    lines = {json.loads(line.split(" ", 2)[2])[1]: line.split(" ")[1] for line in report(config.read_text())}
    assert lines == {path.removeprefix("v."): leaf_digest(value) for path, value in leaves.items()}


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.integers(-999, 999).map(lambda n: n / 100)
)
_KEYS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=8)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
).filter(lambda value: isinstance(value, dict))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(foreign=st.dictionaries(_KEYS, _DOCUMENTS | _SCALARS, max_size=4), flow=st.sampled_from([None, True, False]))
def test_foreign_leaves_of_any_document_survive(
    write: Writer, config: Path, foreign: dict[str, Any], flow: bool | None
) -> None:
    text = yaml.safe_dump(foreign, default_flow_style=flow, allow_unicode=True)
    config.write_text(text, encoding="utf-8", newline="")
    result = write({"model.default": "m"}, ("model.context_length",))
    assert (result.returncode, result.stderr) == (0, "")
    expected = yaml.safe_load(text)
    model = expected.get("model")
    expected["model"] = {**model, "default": "m"} if isinstance(model, dict) else {"default": "m"}
    expected["model"].pop("context_length", None)
    assert yaml.safe_load(config.read_text(encoding="utf-8")) == expected


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(st.dictionaries(_KEYS, _DOCUMENTS | _SCALARS, max_size=4))
def test_digests_are_those_that_the_control_machine_computes(report: Reporter, document: dict[str, Any]) -> None:
    def leaves(node: object, path: list[str]) -> dict[str, str]:
        if isinstance(node, dict) and node:
            return {k: v for key, value in node.items() for k, v in leaves(value, [*path, str(key)]).items()}
        return {json.dumps(path): leaf_digest(node)}

    text = yaml.safe_dump(document, allow_unicode=False)
    expected = leaves(document, []) if document else {}
    assert {line.split(" ", 2)[2]: line.split(" ")[1] for line in report(text)} == expected


def test_no_value_is_in_the_report(report: Reporter) -> None:
    text = "model: {api_key: hunter2}\nlist: [hunter2]\n"
    assert "hunter2" not in "".join(report(text))
    [line] = report("a: [hunter2\nb: hunter2: x")
    assert line.startswith("config_error line 2: ")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("text", "lines"), [("", []), ("# only\n", []), ("{}", []), ("[1]", ["config_error is not a mapping"])]
)
def test_documents_without_leaves(report: Reporter, text: str, lines: list[str]) -> None:
    assert report(text) == lines
