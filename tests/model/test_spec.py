"""A specification is read whole, or every problem is named on a line of its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec, check_fleet

OLLAMA = {"type": "ollama", "url": "http://127.0.0.1:11434", "model": "llama3"}


def problems(**fields: Any) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        AgentSpec.parse({"name": "maurice", **fields})
    return str(caught.value).splitlines()


def test_a_name_is_enough() -> None:
    spec = AgentSpec.parse({"name": "maurice"})
    assert (spec.port, spec.method, spec.hardening, spec.provider) == (8642, "installer", "standard", None)
    assert spec.release == "v2026.5.7"
    assert spec.channels == {"api": {}}


def test_a_flat_and_a_nested_provider_are_the_same() -> None:
    flat = AgentSpec.parse({"name": "maurice", "provider": OLLAMA})
    options = {key: value for key, value in OLLAMA.items() if key != "type"}
    assert flat == AgentSpec.parse({"name": "maurice", "provider": {"type": "ollama", "options": options}})


def test_a_specification_survives_its_own_dump() -> None:
    spec = AgentSpec.parse({"name": "maurice", "provider": OLLAMA, "limits": {"tasks_max": 64}})
    assert AgentSpec.parse(spec.model_dump()) == spec


def test_every_problem_has_its_line() -> None:
    assert problems(name="Maurice", port=80, hardening="none", extra=1) == [
        "Maurice: name: Name 'Maurice' must start with a lowercase letter and contain only lowercase letters, digits, "
        "hyphens, and underscores",
        "Maurice: port: Input should be greater than or equal to 1024",
        "Maurice: hardening: Input should be 'off', 'standard' or 'strict'",
        "Maurice: extra: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"release": "v1"},
            "maurice: release: Release 'v1' is not in the manifest; listed: "
            + ", ".join(release.tag for release in manifest().releases),
        ),
        ({"port": "8642"}, "maurice: port: Input should be a valid integer"),
        ({"port": True}, "maurice: port: Input should be a valid integer"),
        ({"method": "git"}, "maurice: method: Input should be 'installer' or 'wheel'"),
        (
            {"channels": {"api": {}, "fax": {}}},
            "maurice: channels: Unknown channel 'fax'; there are: api, discord, slack, telegram, "
            "whatsapp_cloud, signal, email, matrix, mattermost, teams, google_chat, webhook",
        ),
        (
            {"limits": {"memory_max": "2T"}},
            "maurice: limits.memory_max: String should match pattern '^[1-9][0-9]{0,6}[MG]$'",
        ),
        (
            {"limits": {"memory_max": "2G\n"}},
            "maurice: limits.memory_max: String should match pattern '^[1-9][0-9]{0,6}[MG]$'",
        ),
        (
            {"provider": {"type": "x"}},
            "maurice: provider: Invalid provider type 'x'. Valid types: openrouter, anthropic, openai, ollama, custom, "
            "bedrock, gemini, vertex, zai, azure",
        ),
        ({"provider": {**OLLAMA, "url": "http://[::1"}}, "maurice: provider: API URL: URL has no valid host"),
        (
            {"provider": {**OLLAMA, "url": None}},
            "maurice: provider.options.url: should be text, a whole number, true or false, a list of texts, "
            "or names with their texts",
        ),
        ({"provider": {"type": "ollama", "model": "m"}}, "maurice: provider: Provider type ollama needs API URL (url)"),
        (
            {"provider": {**OLLAMA, "context_length": 0}},
            "maurice: provider: Context length: 0 is not a whole number of at least 64000",
        ),
        (
            {"provider": {**OLLAMA, "context_length": True}},
            "maurice: provider: Context length: True is not a whole number of at least 64000",
        ),
    ],
)
def test_one_problem_is_one_line(fields: dict[str, Any], line: str) -> None:
    assert problems(**fields) == [line]


@pytest.mark.parametrize(
    "provider",
    [
        {**OLLAMA, "api_key": "hunter2"},
        {**OLLAMA, "api_key": ["hunter2"]},
        {**OLLAMA, "apikey": "hunter2"},
        {**OLLAMA, "url": "https://u:hunter2@h"},
        {**OLLAMA, "url": "https://h?key=hunter2"},
        {**OLLAMA, "url": ["hunter2"]},
        {"type": "ollama", "options": "hunter2"},
        "hunter2",
        ["hunter2"],
    ],
)
def test_a_secret_among_the_options_is_refused_and_not_repeated(provider: Any) -> None:
    assert "hunter2" not in "\n".join(problems(provider=provider))


def test_a_secret_beside_the_specification_is_refused_and_not_repeated() -> None:
    assert problems(secrets={"api_key": "hunter2"}) == ["maurice: secrets: Extra inputs are not permitted"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3),
    max_leaves=5,
)
_FIELDS = st.sampled_from(["name", "release", "method", "port", "provider", "channels", "hardening", "limits", "x"])


@given(st.dictionaries(_FIELDS | st.text(max_size=8), _JSON, max_size=5))
def test_any_plain_data_is_a_specification_or_a_list_of_printable_lines(data: dict[str, Any]) -> None:
    try:
        AgentSpec.parse(data)
    except InvalidSpec as error:
        lines = str(error).split("\n")
        assert all(line.isprintable() and ": " in line for line in lines)


def fleet(*agents: tuple[str, int]) -> tuple[AgentSpec, ...]:
    return tuple(AgentSpec.parse({"name": name, "port": port}) for name, port in agents)


def test_agents_of_a_host_differ_in_name_and_port() -> None:
    check_fleet({"a": fleet(("x", 8642), ("y", 8643)), "b": fleet(("x", 8642)), "c": ()})


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        ((("x", 8642), ("x", 8643)), "wolf: agents x and x have the same name x"),
        ((("x", 8642), ("y", 8642)), "wolf: agents x and y have the same port 8642"),
    ],
)
def test_a_name_or_port_twice_on_a_host_is_refused(agents: tuple[tuple[str, int], ...], message: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^{message}$"):
        check_fleet({"wolf": fleet(*agents)})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"limits": {"memory_high": "3G", "memory_max": "2G"}}, "memory_high 3G is above memory_max 2G"),
        ({"channels": {"api": {"host": "0.0.0.0"}}}, "Channel api has no field 'host'; it has none"),
        ({"release": ""}, "Release '' is not in the manifest"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidSpec, match=re.escape(says)):
        AgentSpec.parse({"name": "maurice", **fields})
