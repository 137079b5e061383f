"""Reading an observation: a function of text that answers or raises, whatever a host prints."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from pyinfra_hermes.facts.agents import HermesAgents
from pyinfra_hermes.facts.contents import Contents
from pyinfra_hermes.facts.host import HermesHost
from pyinfra_hermes.facts.leaves import Difference, difference, flat, leaf_digest, leaf_key, shown
from pyinfra_hermes.facts.observation import (
    Account,
    AgentState,
    CopiedCredential,
    CutOff,
    Listener,
    Observation,
    PathState,
    Release,
    parse,
    variable_digest,
)
from pyinfra_hermes.facts.starting import HermesStart, Start

from .captured import AGENT, DIGEST, HOST, TRACE, WHOLE


def with_line(old: str, new: str | None) -> Observation:
    lines = [line for line in WHOLE if not line.startswith(old)]
    assert len(lines) < len(WHOLE)
    if new is not None:
        lines.insert(next(i for i, line in enumerate(WHOLE) if line.startswith(old)), new)
    return parse(lines)


def test_the_host() -> None:
    host = parse(WHOLE).host
    assert (host.uid, host.os, host.os_version, host.arch, host.systemd) == (0, "debian", "12", "x86_64", 252)
    assert host.free_mib["/opt"] == 70000
    assert host.tools == {"rg": "/usr/bin/rg", "python3": "/usr/bin/python3"}
    assert (host.memory_mib, host.python, host.uptime_seconds) == (24105, "3.11", 5000)


def test_listeners_releases_and_the_slice() -> None:
    observed = parse(WHOLE)
    assert observed.listener(8642) == Listener("127.0.0.1", 8642, 4711)
    assert observed.listener(22) == Listener("[::]", 22, 100)
    assert observed.listener(80) is None
    assert observed.releases == {
        "v2026.5.7-wheel-481e9e99": Release("v2026.5.7-wheel-481e9e99", "0.13.0", "2026.5.7", "3.11")
    }
    assert observed.slice == PathState("regular file", "644", "root", "root", 80, DIGEST)


def test_an_agent_that_runs() -> None:
    agent = parse(WHOLE).agent("maurice")
    assert agent.account == Account(997, 996, "/home/maurice", "/usr/sbin/nologin", "Hermes agent (pyinfra-hermes)")
    assert agent.ours
    assert agent.healthy
    assert agent.linger
    assert (agent.processes, agent.stray_processes) == (3, 1)
    assert (agent.env_port, agent.env_key_valid) == (8642, True)
    assert agent.leaves == {leaf_key(["model", "provider"]): DIGEST, leaf_key(["mcp", "a|b c"]): DIGEST}
    assert agent.set_leaves == (("model", "provider"), ("mcp_servers", "jira.example"))
    assert agent.variables == {"API_SERVER_KEY": DIGEST}
    assert agent.credentials == (CopiedCredential("openrouter", "env:OPENROUTER_API_KEY"),)
    assert agent.listening == Listener("127.0.0.1", 8642, 4711)
    assert agent.unit is not None
    assert (agent.unit.running, agent.unit.enabled, agent.unit.memory_bytes) == (True, True, 104857600)
    assert agent.unit.age_seconds == 1000
    assert agent.paths["home"].detail is None
    assert agent.paths["code"].detail == "/opt/pyinfra-hermes/releases/v2026.5.7-wheel-481e9e99"
    assert agent.channels == {"api_server": "connected", "irc": "unknown"}


def test_lines_belong_to_the_agent_above_them() -> None:
    observed = parse(WHOLE)
    assert list(observed.agents) == ["maurice", "old", "nobody-here"]
    old = observed.agent("old")
    assert (old.account, old.ours, old.healthy, list(old.paths)) == (None, False, False, ["unit"])
    assert observed.agent("nobody-here") == AgentState("nobody-here")
    assert observed.agent("never-asked") == AgentState("never-asked")
    assert "slice" not in observed.agent("maurice").paths


def test_traces_tell_what_is_left() -> None:
    observed = parse(WHOLE)
    assert observed.agent("maurice").traces == (
        "account maurice",
        "home",
        "unit",
        "record of leaves",
        "linger",
        "3 processes",
    )
    assert observed.agent("old").traces == ("unit",)
    assert observed.agent("nobody-here").traces == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("unit SubState", "unit SubState=auto-restart"),
        ("unit MainPID", "unit MainPID=4712"),
        ("unit MainPID", "unit MainPID=0"),
        ("listener 127", None),
        ("listener 127", "listener 127.0.0.1 8642 0"),
        ("own answer health", "own answer health 000 "),
        ("own answer health", None),
        ("own answer models", "own answer models 401 {}"),
    ],
)
def test_an_agent_is_healthy_only_when_everything_is(old: str, new: str | None) -> None:
    assert not with_line(old, new).agent("maurice").healthy


@pytest.mark.parametrize(
    ("comment", "ours"),
    [
        ("Hermes agent (pyinfra-hermes)", True),
        ("Hermes agent (pyinfra-hermes),,,", True),
        ("Hermes agent (pyinfra-hermes) ", False),
        ("x,Hermes agent (pyinfra-hermes)", False),
        ("", False),
    ],
)
def test_an_account_is_ours_by_its_comment(comment: str, ours: bool) -> None:
    observed = with_line("account ", f"account maurice:x:997:996:{comment}:/home/maurice:/bin/sh")
    assert observed.agent("maurice").ours is ours


def test_a_body_that_is_not_json_is_none_and_an_agent_without_answer_has_status_zero() -> None:
    assert (
        with_line("own answer models", "own answer models 502 <html>").agent("maurice").answers["models"].body is None
    )
    assert with_line("own answer models", "own answer models  ").agent("maurice").answers["models"].status == 0
    assert with_line("own answer detailed", "own answer detailed 200 [1]").agent("maurice").channels == {}


def test_channels_of_an_earlier_start_are_not_told_and_complaints_are() -> None:
    def platform(updated: str) -> dict[str, str]:
        return {"state": "retrying", "error_message": "no answer", "updated_at": updated}

    # The unit became active at 17:00:00; the daemon keeps what it knew before that.
    told = {
        "discord": platform("2026-11-22T16:59:59.999999+00:00"),
        "slack": platform("2026-11-22T18:00:00.000001+01:00"),
        "irc": platform("yesterday"),
        "email": platform("2026-11-22T16:00:00"),
    }
    found = with_line("own answer detailed", f"own answer detailed 200 {json.dumps({'platforms': told})}")
    agent = found.agent("maurice")
    assert agent.channels == dict.fromkeys(("slack", "irc", "email"), "retrying")
    assert agent.channel_complaints == dict.fromkeys(("slack", "irc", "email"), "no answer")


def test_memory_without_accounting_is_none() -> None:
    for text in ("[not set]", "18446744073709551615", ""):
        unit = with_line("unit MemoryCurrent", f"unit MemoryCurrent={text}").agent("maurice").unit
        assert unit is not None
        assert unit.memory_bytes is None


def test_a_file_is_the_same_only_with_content_mode_and_owner() -> None:
    found = PathState("regular empty file", "600", "maurice", "maurice", 0, DIGEST)
    assert found.is_file(b"", "600", "maurice")
    assert not found.is_file(b"x", "600", "maurice")
    assert not found.is_file(b"", "644", "maurice")
    assert not found.is_file(b"", "600", "root")
    assert not PathState("symbolic link", "600", "maurice", "maurice", 0, DIGEST).is_file(b"", "600", "maurice")
    assert not PathState("regular file", "600", "maurice", "maurice", 0, None).is_file(b"", "600", "maurice")


def test_a_config_fits_when_our_leaves_are_there_and_private() -> None:
    leaf = {("a", "b"): 1}
    digests = {leaf_key(["a", "b"]): leaf_digest(1), leaf_key(["x", "y"]): DIGEST}
    file = PathState("regular file", "600", "m", "m", 1, DIGEST)
    state = AgentState("m", paths={"config": file}, leaves=digests)
    assert state.config_has(leaf, [("a", "c"), ("x", "yy"), ("x.y",)])
    assert not state.config_has({("a", "b"): True}, [])
    assert not state.config_has({("a", "b"): "1"}, [])
    assert not state.config_has({("a", "c"): 1}, [])
    assert not state.config_has(leaf, [("x",)])
    assert not state.config_has(leaf, [("x", "y")])
    assert not AgentState("m", leaves=digests).config_has(leaf, [])
    assert not AgentState("m", paths={"config": file}, leaves=digests, set_leaves=(("a", "b"), ("x", "y"))).config_has(
        leaf, []
    )
    open_to_all = PathState("regular file", "644", "m", "m", 1, DIGEST)
    assert not AgentState("m", paths={"config": open_to_all}, leaves=digests).config_has(leaf, [])


_OBSERVED = {
    leaf_key(path): leaf_digest(value)
    for block in (
        (("model", "default"), "m"),
        (("mcp_servers", "jira"), {"command": "x", "args": ["a"], "env": {"A.B": "1"}}),
        (("mcp_servers", "theirs"), {"command": "y"}),
        (("empty",), {}),
    )
    for path, value in flat(*block)
}


@pytest.mark.parametrize(
    ("wanted", "ours", "changed", "removed"),
    [
        ({}, (), (), ()),
        ({("model", "default"): "m"}, (("model", "default"),), (), ()),
        ({("model", "default"): "n"}, (), (("model", "default"),), ()),
        ({}, (("model", "default"), ("model", "base_url")), (), (("model", "default"),)),
        # A block is ours as a whole.
        ({("mcp_servers", "jira"): {"command": "x", "args": ["a"], "env": {"A.B": "1"}}}, (), (), ()),
        (
            {("mcp_servers", "jira"): {"command": "x", "args": ["a"]}},
            (),
            (),
            (("mcp_servers", "jira", "env", "A.B"),),
        ),
        ({("mcp_servers", "jira"): {}}, (), (("mcp_servers", "jira"),), ...),
        ({}, (("mcp_servers", "jira"),), (), (("mcp_servers", "jira"),)),
        # What is wanted below or above what was once set.
        ({("mcp_servers", "jira", "command"): "x"}, (("mcp_servers", "jira"),), (), (("mcp_servers", "jira"),)),
        (
            {("mcp_servers", "theirs"): {"command": "y"}},
            (("mcp_servers", "theirs", "command"),),
            (),
            (),
        ),
        ({("empty",): {}}, (), (), ()),
        ({("empty", "x"): 1}, (), (("empty", "x"),), ()),
        ({("model",): {"default": "m"}}, (("model", "default"),), (), ()),
    ],
)
def test_what_differs_is_what_is_ours(wanted: Any, ours: Any, changed: Any, removed: Any) -> None:
    found = difference(_OBSERVED, wanted, ours)
    assert found.changed == changed
    if removed is not ...:
        assert found == Difference(changed, removed)
    assert bool(found) is bool(changed or found.removed)


@pytest.mark.parametrize(
    ("path", "text"),
    [(("a", "b"), "a.b"), (("a.b", "c d", ""), '"a.b"."c d".""'), (("é", '"'), 'é."\\""')],
)
def test_a_path_is_shown_so_that_its_keys_can_be_told_apart(path: tuple[str, ...], text: str) -> None:
    assert shown(path) == text


def test_a_spoilt_record_is_no_record() -> None:
    for text in ("", "x", "3", "[3]", '{"a": 1}'):
        assert with_line("set_leaves", f"set_leaves {text}").agent("maurice").set_leaves is None
    assert with_line("set_leaves", None).agent("maurice").set_leaves is None


def test_a_variable_has_a_digest_that_nobody_repeats_without_the_key() -> None:
    digest = variable_digest("k", "A", "hunter2")
    assert digest != variable_digest("l", "A", "hunter2")
    assert digest != variable_digest("k", "B", "hunter2")
    assert digest == variable_digest("k", "A", "hunter2")


@pytest.mark.parametrize("length", [*range(0, len(WHOLE) - 1, 7), len(WHOLE) - 1])
def test_an_observation_without_its_last_line_is_cut_off(length: int) -> None:
    with pytest.raises(CutOff):
        parse(WHOLE[:length])


def test_half_a_line_is_none_whatever_stood_before_it() -> None:
    agent = parse([*HOST, *AGENT[: AGENT.index("own env_port 8642")], "", "own env_port 86", "agent x", "end"])
    assert (agent.agent("maurice").env_port, agent.agent("maurice").cut) == (None, True)


def test_line_ends_of_another_transport_do_no_harm() -> None:
    assert parse(f"{line}\r\n" for line in WHOLE) == parse(WHOLE)


@pytest.mark.parametrize("fact", [HermesAgents, HermesHost])
@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["end"],
        WHOLE[:-1],
        *(
            [*HOST, *AGENT, bad, "end"]
            for bad in (
                "processes many",
                "processes 1",
                "path x",
                "path a|b|c|d|e|f|g",
                "leaf x",
                "leaf x 3",
                "account x",
                "account a:b:c:d:e:f:g",
                "unit NRestarts=x",
                "unit MainPID=[not set]",
                "answer",
                "release {}",
                "release []",
                'release {"id": 1}',
                "listener x",
                "listener a b c",
                "host uid x",
                "host memory_mib",
            )
        ),
    ],
)
def test_what_cannot_be_read_fails_one_host_and_not_the_run(fact: type, lines: list[str]) -> None:
    with pytest.raises(FactProcessError):
        fact().process(lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["end"],
        *(
            [*HOST, *AGENT, bad, "end"]
            for bad in (
                "release null",
                "release {}",
                'release {"\\u001b[2J": 1}',
                'release {"id": [], "version": "1", "calver": "1", "python": "3"}',
                f"release {'[' * 60000}",
                "installed []",
                f"installed {'[' * 60000}",
                f"unit NRestarts={'9' * 5000}",
            )
        ),
    ],
)
def test_what_cannot_be_read_is_one_kind_of_error(lines: list[str]) -> None:
    # Whoever asks many hosts goes by it: one that lies must not end what is said of the others.
    with pytest.raises(ValueError, match=r"\A[ -~]{1,200}\Z"):
        parse(lines)


def _edited() -> st.SearchStrategy[list[str]]:
    line = st.text(max_size=30) | st.sampled_from(WHOLE).flatmap(
        lambda found: st.integers(0, len(found)).map(lambda cut: found[:cut])
    )
    words = st.sampled_from(
        [
            "own",
            "host",
            "listener",
            "release",
            "agent",
            "path",
            "unit",
            "leaf",
            "answer",
            "account",
            "processes",
            "linger",
            "end",
        ]
    )
    crafted = st.tuples(words, st.text(alphabet='| :=-.0123456789abc[]{}",', max_size=20)).map(" ".join)
    edit = st.tuples(st.integers(0, len(WHOLE)), line | crafted)

    def apply(edits: list[tuple[int, str]]) -> list[str]:
        lines = list(WHOLE)
        for position, text in edits:
            lines.insert(position, text)
        return lines

    return st.lists(edit, min_size=1, max_size=4).map(apply)


@given(_edited())
def test_garbage_between_the_lines_never_ends_the_run(lines: list[str]) -> None:
    with suppress(FactProcessError):
        assert isinstance(HermesAgents().process(lines), Observation)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_output_is_a_start_or_fails_one_host(lines: list[str]) -> None:
    with suppress(FactProcessError):
        assert isinstance(HermesStart().process(lines), Start)


@pytest.mark.parametrize(
    "line",
    [
        "own agent other",
        "own account maurice:x:0:0:root:/root:/bin/sh",
        "own host uid 5",
        "own end",
        "own linger yes",
        'own installed {"id": "r", "version": "1", "calver": "1", "python": "3.11"}',
        "own tree r",
        "own installer active r",
        'own release {"id": "r", "version": "1", "calver": "1", "python": "3.11"}',
        "own listener 127.0.0.1 80 4711",
        "own unit MainPID=1",
        "own processes 0 0",
        "own own env_key valid",
        "own path unit|regular file|644|root|root|1|-",
        "own path home|directory|777|root|root|1|-",
        "own path slice|regular file|644|root|root|1|-",
        "own path env|x",
        "own leaf x 3",
        "own leaf x y",
        "own set_leaves [[]]",
        "own credential x",
        "own credential [1]",
        "own variable",
        "own answer",
        "own",
        "own ",
        f"own answer x 200 {'[' * 60000}",
        f"own leaf x {'[' * 60000}",
        f"own credential {'[' * 60000}",
    ],
)
def test_an_agent_cannot_speak_of_others_nor_silence_its_host(line: str) -> None:
    # The target of a link of its own may hold a line end; and its processes may trace ours.
    spoilt = parse([*HOST, *AGENT, line, *TRACE, "end"])
    honest = parse([*HOST, *AGENT, *TRACE, "end"])
    ours, theirs = spoilt.agent("maurice"), honest.agent("maurice")
    assert (spoilt.host, spoilt.listeners, spoilt.releases, spoilt.slice) == (
        honest.host,
        honest.listeners,
        honest.releases,
        honest.slice,
    )
    assert spoilt.agent("old") == honest.agent("old")
    assert ours.set_leaves == theirs.set_leaves
    assert (ours.account, ours.unit, ours.paths, ours.linger, ours.processes) == (
        theirs.account,
        theirs.unit,
        theirs.paths,
        theirs.linger,
        theirs.processes,
    )


@pytest.mark.parametrize("text", ["", "x", "-1", "²", "9" * 5000])
def test_a_port_that_is_none_is_none(text: str) -> None:
    assert with_line("own env_port", f"own env_port {text}").agent("maurice").env_port is None


def test_without_an_answer_there_is_no_fact() -> None:
    for fact in (HermesAgents, HermesHost, HermesStart):
        assert fact.default() is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES, _VALUES)
def test_digests_differ_when_values_do(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (leaf_digest(one) == leaf_digest(other)) is same


def test_the_samples_hold_every_kind_of_line() -> None:
    words = {line.removeprefix("own ").split()[0] for line in [*HOST, *AGENT, *TRACE] if line}
    kinds = "host listener path release agent linger unit account processes leaf set_leaves variable credential"
    kinds += " contents env_port env_key answer whole"
    assert words == set(kinds.split())


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("credentials", True),
        ("credentials/vertex.json", True),
        ("credentials/", False),
        ("credentials/a/b", False),
        ("credentials/A B", False),
        ("mcp-tokens/Sign_In.client.json", True),
        ("mcp-tokens", False),
        ("mcp-tokens/a/b", False),
        (f"credentials/{'x' * 65}", False),
    ],
)
def test_files_of_credentials_are_known_by_their_names(key: str, taken: bool) -> None:
    line = f"own path {key}|regular file|600|maurice|maurice|1|-"
    assert (key in with_line("own path code", line).agent("maurice").paths) is taken


def test_what_is_known_need_not_be_told_again() -> None:
    first = parse(WHOLE).agent("maurice")
    assert first.contents is not None
    files = ("own leaf", "own variable", "own credential", "own config_error")
    told = [line for line in WHOLE if not line.startswith(files)]
    same = ["own same" if line.startswith("own contents") else line for line in told]
    assert parse(same, {"maurice": first.contents}).agent("maurice") == first
    # One that claims it although nothing is known has said nothing; nor does it get what is known of another.
    for known in ({}, {"old": first.contents}):
        silent = parse(same, known).agent("maurice")
        assert (silent.contents, silent.leaves, silent.variables) == (None, {}, {})


@pytest.mark.parametrize("digests", ["", "x", "- -", f"{'a' * 64} - - -", f"unknown - {'a' * 64}", f"{'A' * 64} - -"])
def test_what_was_not_read_as_it_is_told_is_not_remembered(digests: str) -> None:
    agent = with_line("own contents", f"own contents {digests}").agent("maurice")
    assert agent.contents is None
    assert agent.leaves


def test_what_was_known_can_say_no_more_than_an_agent_can() -> None:
    known = Contents("- - -", ("account root:x:0:0::/:/bin/sh", "path unit|directory|7|a|b|1|-", "leaf 0 []", "same"))
    lines = ["own same" if line.startswith("own contents") else line for line in WHOLE]
    agent = parse(lines, {"maurice": known}).agent("maurice")
    assert agent.account == parse(WHOLE).agent("maurice").account
    assert agent.paths["unit"].kind == "regular file"
    assert "[]" in agent.leaves


def test_an_agent_whose_files_were_not_read_to_their_end_is_told_of_as_far_as_they_were() -> None:
    assert not parse(WHOLE).agent("maurice").cut
    at = WHOLE.index("own whole")
    # Ended in the middle of a line, and between two.
    halved = parse([*WHOLE[: at - 1], "own answer models 200 {", *WHOLE[at + 2 :]]).agent("maurice")
    assert (halved.cut, "models" in halved.answers, "detailed" in halved.answers) == (True, False, True)
    ended = parse([*WHOLE[:at], "", *WHOLE[at + 2 :]]).agent("maurice")
    assert (ended.cut, "models" in ended.answers) == (True, True)
    # Nothing of it was to be read.
    assert not parse(WHOLE).agent("old").cut
    assert not with_line("account ", "account maurice:x:1:1:somebody:/home/maurice:/bin/sh").agent("maurice").cut


def test_paths_of_several_agents_may_be_told_before_any_of_them() -> None:
    lines = [*HOST, f"path maurice/unit|regular file|644|root|root|2345|{DIGEST}", "agent maurice", "agent b", "end"]
    observed = parse(lines)
    assert observed.agent("maurice").paths["unit"].size == 2345
    assert (observed.agent("b").paths, observed.slice and observed.slice.size) == ({}, 80)
