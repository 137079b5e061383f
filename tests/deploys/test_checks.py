"""What the checks hold an agent against: files that say it, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.deploys.checks.wanted import InvalidWanted, Wanted, on_host, read, tag_of
from pyinfra_hermes.deploys.model.releases import manifest

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(["name", "host", "port", "release", "method", "hardening", "running", "provider", "secrets"])


def wanted(folder: Path, text: str) -> tuple[Wanted, ...]:
    file = folder / "wanted.yaml"
    file.write_text(text, encoding="utf-8")
    return read(file)


def test_an_agent_a_list_and_the_data_of_an_inventory_are_understood(tmp_path: Path) -> None:
    row = {"name": "maurice", "port": 9000, "release": manifest().release().calver, "provider": {"type": "openai"}}
    expected = (Wanted("maurice", port=9000, release=manifest().default),)
    for data in (row, [row], {"hermes_agents": [row]}):
        assert wanted(tmp_path, yaml.safe_dump(data)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected an agent"),
        ("- {name: Root}", "Root"),
        ("- {port: 1}", "agent 1"),
        ("- {name: m, prot: 1}", "there is no prot"),
        ("- {name: m, port: '1'}", "port cannot be '1'"),
        ("- {name: m, port: true}", "port cannot be True"),
        ("- {name: m, hardening: maximal}", "hardening cannot be 'maximal'"),
        ("- {name: m, release: v1999.1.1}", "v1999.1.1"),
        ("- {name: m}\n- {name: n, running: 1}", "agent 2: running cannot be 1"),
        ("{{", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InvalidWanted) as raised:
        wanted(tmp_path, text)
    assert why in str(raised.value)
    assert str(tmp_path / "wanted.yaml") in str(raised.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(_VALUES | st.lists(st.dictionaries(_KEYS, _VALUES | st.just("maurice"), max_size=5), max_size=3))
def test_nothing_else_comes_of_any_file(tmp_path: Path, data: object) -> None:
    try:
        found = wanted(tmp_path, yaml.safe_dump(data))
    except InvalidWanted:
        return
    assert found and all(isinstance(each, Wanted) for each in found)


def test_a_row_is_for_its_host_or_for_all() -> None:
    rows = (Wanted("a"), Wanted("b", host="wolf-i"), Wanted("c", host="ssh://wolf-ii"))
    assert [row.name for row in on_host(rows, "wolf-i", "ssh://wolf-i")] == ["a", "b"]
    assert [row.name for row in on_host(rows, "wolf-ii", "ssh://wolf-ii")] == ["a", "c"]


def test_the_tag_of_a_release_is_in_the_name_of_its_folder() -> None:
    for release in manifest().releases:
        for method in release.methods:
            assert tag_of(release.id_of(method)) == release.tag
