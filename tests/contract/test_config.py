"""The script that sets leaves of ``config.yaml``, and the one that reports them, with the release's own libraries."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import dotenv
from pyinfra_hermes.facts.leaves import KeyPath, flat, leaf_digest, leaf_key
from pyinfra_hermes.facts.observation import variable_digest
from pyinfra_hermes.operations.files import config_request

WRITE = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text()
REPORT = resources.files("pyinfra_hermes.facts").joinpath("contents.py.txt").read_text()

Writer = Callable[..., "subprocess.CompletedProcess[str]"]
Reporter = Callable[..., "list[str]"]


def _path(leaf: str | KeyPath) -> KeyPath:
    """Most paths here are without dots in their keys, and read better with dots between them."""
    return tuple(leaf.split(".")) if isinstance(leaf, str) else leaf


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def write(hermes_python: Path, config: Path) -> Writer:
    def run(
        leaves: dict[Any, Any], absent: tuple[Any, ...] = (), most: str = "unlimited"
    ) -> subprocess.CompletedProcess[str]:
        wanted = config_request(
            str(config), {_path(leaf): v for leaf, v in leaves.items()}, [_path(leaf) for leaf in absent]
        )
        limited = ["sh", "-c", f'ulimit -f {most}; exec "$@"', "sh"]
        command = [*limited, str(hermes_python), "-I", "-c", WRITE]
        return subprocess.run(
            command, input=wanted, capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"}
        )

    return run


@pytest.fixture
def report(hermes_python: Path, tmp_path: Path) -> Reporter:
    def run(text: str, name: str = "config.yaml") -> list[str]:
        home = Path(tempfile.mkdtemp(dir=tmp_path))
        (home / name).write_text(text, encoding="utf-8", newline="")
        command = [str(hermes_python), "-I", "-c", REPORT, str(home)]
        *lines, last = subprocess.run(
            command, capture_output=True, check=True, env={"LC_ALL": "C"}, encoding="ascii"
        ).stdout.splitlines()
        digest = hashlib.sha256(text.encode()).hexdigest()
        digests = (digest if file == name else "-" for file in ("config.yaml", ".env", "auth.json"))
        assert last == f"contents {' '.join(digests)}"
        return lines

    return run


def test_a_file_that_there_is_no_room_for_stays_as_it_is(write: Writer, config: Path) -> None:
    config.write_text("model: {provider: theirs}\n")
    result = write({"model.provider": "custom"}, most="0")
    said = f"{config}: it cannot be written: File too large; nothing was written\n"
    assert (result.returncode, result.stderr) == (1, said)
    assert config.read_text() == "model: {provider: theirs}\n"
    assert [path.name for path in config.parent.iterdir()] == [config.name]


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
        # Whole blocks, and what stands below them.
        (
            "m:\n  x:\n    c: d  # beside\n    # inside\n    e: [f,\n      g]\n# below\n  y: 2\n# end\n",
            "m:\n# below\n  y: 2\n# end\n",
        ),
        ("m:\n  x:\n  - a\n  - b: c\n    d: {e: f}\n  # about y\n  y: 2\n", "m:\n  # about y\n  y: 2\n"),
        ("m:\n  x:\n    c: &c {d: 1}\n  y: *c\n", "m:\n  y: {d: 1}\n"),
        ("m:\n  x:\n    c: |\n      text\n    d: 1\n# end\ny: 2\n", "# end\ny: 2\n"),
        ("m:\n  ? x\n  : 1\n  y: 2\n", "m:\n  y: 2\n"),
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


BLOCK = {
    "command": "/usr/bin/npx",
    "args": ["-y", "on", "12:30", 1, "1_000", None, [], {}],
    "env": {"A.B": "${A_B}", "on": "yes", "null": "~", "1": "0o7", "": ""},
    "timeout": 1.5,
}


def test_a_block_is_set_and_replaced_as_a_whole(write: Writer, config: Path) -> None:
    config.write_text(FOREIGN)
    path = ("mcp_servers", "jira.example")
    before = yaml.safe_load(FOREIGN)
    for block in (BLOCK, {"url": "https://mcp.example/sse"}, {}, ["a"], "text", BLOCK):
        assert write({path: block}).stderr == ""
        before["mcp_servers"]["jira.example"] = block
        assert yaml.safe_load(config.read_text()) == before
    once = config.read_bytes()
    write({path: BLOCK})
    assert config.read_bytes() == once
    assert write({}, (path,)).stderr == ""
    del before["mcp_servers"]["jira.example"]
    assert yaml.safe_load(config.read_text()) == before
    assert all(f"{line}\n" in config.read_text() for line in FOREIGN.splitlines() if line.startswith("#"))


def test_a_comment_below_a_block_outlives_its_change(write: Writer, config: Path) -> None:
    config.write_text("mcp_servers:\n  jira:\n    command: old\n    args: [a]\n\n# About tools.\ntools: [x]\n")
    write({("mcp_servers", "jira"): {"command": "new"}})
    assert yaml.safe_load(config.read_text()) == {"mcp_servers": {"jira": {"command": "new"}}, "tools": ["x"]}
    assert "# About tools.\ntools: [x]\n" in config.read_text()


def test_what_was_a_leaf_may_become_a_mapping_and_back(write: Writer, config: Path) -> None:
    config.write_text("a:\n  b: 1\nc: 2\n")
    write({("a", "b", "d.e"): "f"}, (("a", "b"),))
    assert yaml.safe_load(config.read_text()) == {"a": {"b": {"d.e": "f"}}, "c": 2}
    write({("a", "b"): 1}, (("a", "b", "d.e"),))
    assert yaml.safe_load(config.read_text()) == {"a": {"b": 1}, "c": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mcp_servers:\n- a\n", "mcp_servers is a list, and mcp_servers.jira cannot be set in it"),
        ("mcp_servers: &m {a: 1}\nother: *m\n", "mcp_servers.jira"),
        ("base: &m {jira: 1}\nmcp_servers:\n  <<: *m\n  a: 1\n", ""),
        ("mcp_servers:\n  on: 1\n", ""),
    ],
)
def test_what_cannot_be_set_alone_is_refused_or_set_alone(write: Writer, config: Path, text: str, reason: str) -> None:
    config.write_text(text)
    name = "on" if "on:" in text else "jira"
    result = write({("mcp_servers", name): {"command": "x"}})
    before = yaml.safe_load(text)
    if result.returncode:
        assert result.stderr.startswith(f"{config}: ")
        assert reason in result.stderr
        assert result.stderr.endswith("\n")
        assert config.read_text() == text
    else:
        assert reason == ""
        before["mcp_servers"] = {**before["mcp_servers"], name: {"command": "x"}}
        assert yaml.safe_load(config.read_text()) == before


@pytest.mark.parametrize("text", ["base: &m {x: 1}\nm:\n  <<: *m\n  y: 1\n"])
def test_a_leaf_that_is_merged_in_from_elsewhere_is_not_taken_away(write: Writer, config: Path, text: str) -> None:
    config.write_text(text)
    result = write({}, ("m.x",))
    assert "m.x cannot be removed without changing something else" in result.stderr
    assert config.read_text() == text


def test_any_value_arrives_in_the_reader_that_hermes_uses(write: Writer, config: Path, report: Reporter) -> None:
    # Written by ruamel.yaml, which knows YAML 1.2; read by PyYAML, which knows 1.1: there "on" is true.
    leaves: dict[str, Any] = {
        f"v.k{number}": value
        for number, value in enumerate([*AMBIGUOUS, 0, 7, -1, True, False, 1e-05, 1e20, -2.5, 0.0])
    }
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


_TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["${A}", "$A", "a #b", "'", '"', "\\", "a\nb", "é", " x ", "${HERMES_NIL:-x}", "A=b"]
)


def encodable(text: str) -> bool:
    """Tell whether a value can be carried to Hermes at all; the others are refused before anything is written."""
    try:
        dotenv.check("A", text)
    except dotenv.CannotEncode:
        return False
    return True


_VALUES = st.recursive(
    _SCALARS
    | st.floats(allow_nan=False)
    | st.sampled_from(AMBIGUOUS)
    | st.text(alphabet=st.characters(codec="utf-8"), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(AMBIGUOUS[:-1]) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
_PATHS = st.lists(_KEYS | st.sampled_from(AMBIGUOUS[:-1]) | st.text(max_size=5), min_size=1, max_size=3).map(tuple)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(path=_PATHS, value=_VALUES, foreign=_DOCUMENTS)
def test_any_value_at_any_path_comes_back_exactly_and_goes_again_without_a_trace(
    write: Writer, report: Reporter, config: Path, path: KeyPath, value: Any, foreign: dict[str, Any]
) -> None:
    foreign.pop(path[0], None)
    text = yaml.safe_dump(foreign, allow_unicode=True)
    config.write_text(text, encoding="utf-8", newline="")
    result = write({path: value})
    assert (result.returncode, result.stderr) == (0, "")
    written = config.read_text(encoding="utf-8")
    inner = expected = {**yaml.safe_load(text)}
    for key in path[:-1]:
        inner[key] = inner = {}
    inner[path[-1]] = value
    assert repr(yaml.safe_load(written)) == repr(expected) or yaml.safe_load(written) == expected
    lines = {line.split(" ", 2)[2]: line.split(" ")[1] for line in report(written)}
    assert {leaf_key(leaf): leaf_digest(v) for leaf, v in flat(path, value)}.items() <= lines.items()
    result = write({}, (path,))
    assert (result.returncode, result.stderr) == (0, "")
    assert (yaml.safe_load(config.read_text(encoding="utf-8")) or {}) == yaml.safe_load(text)


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
    assert "hunter2" not in "".join(report("A_KEY=hunter2\nB=hunter2 hunter2\n", ".env"))
    store = {"version": 1, "credential_pool": {"openrouter": [{"source": "env:X", "access_token": "hunter2"}]}}
    assert report(json.dumps(store), "auth.json") == ['credential ["openrouter", "env:X"]']


def test_variables_are_told_by_digests_that_only_the_api_key_can_repeat(report: Reporter) -> None:
    text = 'A=1\nAPI_SERVER_KEY=k\nexport B="x ${HERMES_NIL:-$}{A}"  # c\nC=\nNOTHING\n'
    values = {"A": "1", "API_SERVER_KEY": "k", "B": "x ${A}", "C": ""}
    assert report(text, ".env") == [f"variable {variable_digest('k', n, v)} {n}" for n, v in values.items()]
    assert report("A=1\n", ".env") == ["variable - A"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["A", "B_X", "C", "D"]), _TEXTS.filter(encodable), max_size=4))
def test_a_variable_that_we_wrote_has_the_digest_that_we_expect(report: Reporter, values: dict[str, str]) -> None:
    text = dotenv.document({"API_SERVER_KEY": "0f" * 32, **values}, "A header.")
    lines = {line.split(" ", 2)[2]: line.split(" ")[1] for line in report(text, ".env")}
    assert lines == {n: variable_digest("0f" * 32, n, v) for n, v in {"API_SERVER_KEY": "0f" * 32, **values}.items()}


def test_only_credentials_with_a_value_are_told(report: Reporter) -> None:
    pools = {
        "openrouter": [{"source": "env:X", "secret_fingerprint": "sha256:1"}],
        "nous": [{"source": "device_code", "refresh_token": "t"}, {"source": "manual", "access_token": "t"}],
        "empty": [],
    }
    assert report(json.dumps({"credential_pool": pools}), "auth.json") == [
        'credential ["nous", "device_code"]',
        'credential ["nous", "manual"]',
    ]
    assert report("{", "auth.json") == []


def test_a_date_is_not_the_text_that_it_was_written_as(report: Reporter) -> None:
    assert report("a: 2026-11-22\n") != report("a: '2026-11-22'\n")
    assert report("on: 1\n") == [f"leaf {leaf_digest(1)} [true]"]


@pytest.mark.parametrize(
    ("text", "lines"), [("", []), ("# only\n", []), ("{}", []), ("[1]", ["config_error is not a mapping"])]
)
def test_documents_without_leaves(report: Reporter, text: str, lines: list[str]) -> None:
    assert report(text) == lines
