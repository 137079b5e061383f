"""Metrics: what is said of a fleet, and that Prometheus can read it whatever a name or a model is called."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.condition import Condition
from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.fleet import Fleet, Report
from pyinfra_hermes.cli.metrics import Metric, data, exposition, metrics
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.state.records import Agent, Host, Instance, Provider
from pyinfra_hermes.facts.observation import parse
from tests.facts.captured import WHOLE

# The grammar of the text format, version 0.0.4: a sample line in full.
_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? '
    r"(?P<value>-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_ESCAPE = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
PROVIDERS = {"local": Provider(name="local", type="ollama", options={"url": "http://h:1", "model": "llama3.1:8b"})}


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read an exposition as strictly as the format is described."""
    assert text.endswith("\n")
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    typed: list[str] = []
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            kind, name, rest = line[2:].split(" ", 2)
            assert kind in ("HELP", "TYPE")
            if kind == "TYPE":
                assert rest in ("gauge", "counter") and name not in typed
                assert (rest == "counter") == name.endswith("_total")
                typed.append(name)
            continue
        match = _SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match["name"] == typed[-1], "samples stand below their type"
        labels = tuple(
            (name, re.sub(r"\\.", lambda escape: _ESCAPE[escape[0]], value))
            for name, value in _LABEL.findall(match["labels"] or "")
        )
        assert (match["name"], labels) not in found, "no sample is there twice"
        found[match["name"], labels] = float(match["value"])
    return found


def fleet(lines: Sequence[str] = WHOLE, **model: Any) -> Fleet:
    host = Host(name="wolf-i", address="192.0.2.1", port=22, user="root")
    gone = Host(name="wolf-ii", address="192.0.2.2", port=22, user="root")
    agent = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed", **model)
    observed = parse(lines)
    problem = Problem("wolf-ii: cannot connect", None, Exit.UNREACHABLE)
    running = Report(Instance(host, agent), observed.agent("maurice"), Condition("running", "", None))
    dead = Report(Instance(gone, agent), None, Condition("unreachable", "cannot connect", None))
    return Fleet({"wolf-i": observed, "wolf-ii": problem}, (running, dead))


def test_what_was_seen_is_said_and_what_was_not_is_not() -> None:
    found = read(exposition(metrics(fleet(provider="local"), 1.25, PROVIDERS)))
    here, there = (("host", "wolf-i"), ("agent", "maurice")), (("host", "wolf-ii"), ("agent", "maurice"))
    assert found["hermes_scrape_duration_seconds", ()] == 1.25
    assert found["hermes_host_up", here[:1]] == 1
    assert found["hermes_host_up", there[:1]] == 0
    assert found["hermes_agent_up", here] == 1
    assert found["hermes_agent_trouble", here] == 0
    assert found["hermes_agent_memory_bytes", here] == 100 * 2**20
    assert found["hermes_agent_trouble", there] == 1
    assert {name for name, labels in found if labels[:2] == there} == {"hermes_agent_trouble", "hermes_agent_info"}
    [info] = [dict(labels) for name, labels in found if name == "hermes_agent_info" and labels[:2] == here]
    assert (info["release"], info["model"], info["provider"]) == ("v2026.5.7", "llama3.1:8b", "local")


def test_an_agent_that_makes_up_channels_spoils_nothing() -> None:
    names = ['a"}', "a\u0007", "a\u0008", *(f"c{number}" for number in range(1000))]
    platforms = ", ".join(f"{json.dumps(name)}: {{}}" for name in names)
    lines = [line.replace('"irc": {}', platforms) for line in WHOLE]
    found = read(exposition(metrics(fleet(lines), 1, {})))
    assert len([name for name, _ in found if name == "hermes_agent_channel_connected"]) == 32


@given(st.lists(st.tuples(st.text(), st.floats(0, 1e15)), min_size=1, max_size=5, unique_by=lambda pair: pair[0]))
def test_no_value_breaks_the_format(values: list[tuple[str, float]]) -> None:
    samples = tuple(({"number": str(index), "model": text}, value) for index, (text, value) in enumerate(values))
    metric = Metric("hermes_agent_info", "gauge", 'a "help" with \\ and\nlines', samples)
    found = read(exposition([metric]))
    assert len(found) == len(values)
    for (text, value), ((_, labels), number) in zip(values, found.items(), strict=True):
        assert dict(labels)["model"] == "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
        assert number == value
    assert [row["value"] for row in data([metric])] == [value for _, value in values]


def test_the_parser_of_prometheus_itself_reads_it() -> None:
    parser: Any = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    samples = (({"model": 'a "b"\n\\c\\'}, 1e15), ({"model": "ü\u2028"}, 0.25))
    odd = Metric("hermes_odd_total", "counter", "a\\b\nc", samples)
    text = exposition([*metrics(fleet(model="llama3.1:8b"), 0.5, {}), odd])
    families = list(parser.text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    assert {(s.name, tuple(s.labels.items())): s.value for s in samples} == read(text)
