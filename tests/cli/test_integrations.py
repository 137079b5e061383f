"""`clm integration` and what attaches them, and memory backends: what goes on record, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Agent, Host, StageResult, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.person import Person


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with an agent that was proven."""
    person = Person(tmp_path)
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        tx.hosts["wolf-i"].agents["maurice"] = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed")
        tx.secrets.set(agent_scope("wolf-i", "maurice"), "HERMES_API_SERVER_KEY", Secret("0f" * 32))
    prove(person)
    return person


def prove(person: Person) -> None:
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"].agents["maurice"].onboarding["validate"] = StageResult(status="done")


def agent(person: Person) -> Any:
    return json.loads(person.state.joinpath("hosts.json").read_text())["hosts"]["wolf-i"]["agents"]["maurice"]


def integrations(person: Person) -> Any:
    return json.loads(person.state.joinpath("integrations.json").read_text())["integrations"]


def secrets(person: Person, scope: str) -> dict[str, str]:
    held = json.loads(person.state.joinpath("secrets.json").read_text()).get(scope, {})
    return {name: entry.get("value", entry.get("reference")) for name, entry in held.items()}


def add_jira(person: Person, name: str = "jira") -> None:
    person.clm(
        "integration", "add", name, "-t", "atlassian", "--url", "https://wolf.atlassian.net/wiki", "--username",
        "a@b.c", "--projects", "A,B", "--api-token-stdin", stdin="sentinel-1\n",
    ).has("added", f"clm agent integration add AGENT {name}").lacks("sentinel")  # fmt: skip


def test_an_integration_is_added_listed_shown_and_removed(person: Person) -> None:
    add_jira(person)
    assert integrations(person)["jira"]["options"] == {
        "url": "https://wolf.atlassian.net", "products": "both", "username": "a@b.c", "projects": ["A", "B"],
    }  # fmt: skip
    assert secrets(person, "integration:jira") == {"ATLASSIAN_API_TOKEN": "sentinel-1"}
    person.clm("integration", "list").has("jira", "atlassian", "ATLASSIAN_API_TOKEN").lacks("sentinel")
    person.clm("integration", "show", "jira").has("https://wolf.atlassian.net", "a@b.c").lacks("sentinel")
    person.clm("integration", "add", "jira", "-t", "mcp-http", code=Exit.REFUSED).has("already exists")
    person.clm("integration", "remove", "jira")
    assert secrets(person, "integration:jira") == {}


def test_types_are_shown_with_their_options(person: Person) -> None:
    person.clm("integration", "types").has("atlassian", "mcp-stdio", "mcp-http")
    person.clm("integration", "types", "mcp-stdio").has("--command", "--secret-env")
    assert "holographic" in [row["name"] for row in person.json("agent", "memory-backend", "types")]


def test_secrets_that_the_user_named_come_in_every_way(person: Person, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sentinel-2\n")
    add = (
        "integration",
        "add",
        "x",
        "-t",
        "mcp-stdio",
        "--command",
        "npx",
        "--args",
        "-y 'a, b'",
        "--secret-env",
        "A,B,C",
    )
    person.clm(*add, code=Exit.USAGE).has("--secret-stdin A", "--secret-file A=PATH")
    person.clm(
        *add, "--secret-stdin", "A", "--secret-file", f"B={tmp_path / 'token'}", "--secret-reference", "C=env:C_TOKEN",
        stdin="sentinel-1",
    ).lacks("sentinel")  # fmt: skip
    assert integrations(person)["x"]["options"]["args"] == ["-y", "a, b"]
    assert secrets(person, "integration:x") == {"A": "sentinel-1", "B": "sentinel-2", "C": "env:C_TOKEN"}
    person.clm("integration", "edit", "x", "--secret-stdin", "D", stdin="s", code=Exit.USAGE).has("no secret named D")
    person.clm("integration", "edit", "x", "--secret-env", "A,D", "--secret-stdin", "D", stdin="sentinel-3")
    assert secrets(person, "integration:x") == {"A": "sentinel-1", "D": "sentinel-3"}, "what is no longer named is gone"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("web", ["--command", "npx"], "my-web"),
        ("x y", ["--command", "npx"], "must start with a letter"),
        ("x", ["--command", "npx", "--args", "--token sentinel"], "--secret-env NAME"),
        ("x", ["--command", "npx", "--env", "GITHUB_TOKEN=sentinel"], "--secret-env GITHUB_TOKEN"),
        ("x", ["--command", "./npx"], "depends on a folder"),
        ("x", ["--url", "https://h"], "has no field 'url'"),
        ("x", [], "--command"),
    ],
)
def test_what_cannot_be_is_refused_and_not_recorded(person: Person, name: str, options: list[str], said: str) -> None:
    done = person.clm("integration", "add", name, "-t", "mcp-stdio", *options, code=None)
    done.has(said).lacks("sentinel")
    assert not person.state.joinpath("integrations.json").exists() or integrations(person) == {}


def test_attaching_and_detaching_voids_the_proof_and_says_how_to_apply(person: Person) -> None:
    add_jira(person)
    person.clm("agent", "integration", "add", "maurice", "jira").has("clm agent configure maurice")
    assert (agent(person)["integrations"], "validate" in agent(person)["onboarding"]) == (["jira"], False)
    prove(person)
    person.clm("agent", "integration", "add", "maurice", "jira").has("already")
    assert "validate" in agent(person)["onboarding"]
    person.clm("agent", "integration", "list", "maurice").has("jira", "atlassian")
    person.clm("integration", "edit", "jira", "--read-only").has("clm agent configure wolf-i/maurice")
    assert "validate" not in agent(person)["onboarding"]
    refused = person.clm("integration", "remove", "jira", code=Exit.REFUSED)
    refused.has("wolf-i:hermes:maurice", "clm agent integration remove maurice jira")
    prove(person)
    person.clm("agent", "integration", "remove", "maurice", "jira").has("clm agent configure maurice")
    assert (agent(person)["integrations"], "validate" in agent(person)["onboarding"]) == ([], False)
    person.clm("agent", "integration", "add", "maurice", "nothing", code=None).has("nothing")


def test_two_integrations_that_become_one_name_are_not_attached_together(person: Person) -> None:
    add_jira(person, "a-b")
    add_jira(person, "a_b")
    person.clm("agent", "integration", "add", "maurice", "a-b", "a_b", code=None).has("become one name")
    assert agent(person)["integrations"] == []


def test_an_edit_of_nothing_and_a_wrong_edit_change_nothing(person: Person) -> None:
    add_jira(person)
    before = integrations(person)
    person.clm("integration", "edit", "jira", code=Exit.USAGE).has("No changes specified")
    person.clm("integration", "edit", "jira", "--projects", "A,B").has("like that already")
    person.clm("integration", "edit", "jira", "--unset", "username", code=None).has("needs its user")
    person.clm("integration", "edit", "jira", "--confluence-url", "https://h", code=None).has(
        "leave confluence_url out"
    )
    assert integrations(person) == before


def test_a_memory_backend_is_set_changed_and_cleared_with_its_key(person: Person) -> None:
    scope = "wolf-i:hermes:maurice"
    person.clm(
        "agent", "memory-backend", "set", "maurice", "retaindb", "--project", "p", "--api-key-stdin", stdin="sentinel"
    ).has("clm agent configure maurice").lacks("sentinel")
    assert agent(person)["memory"] == {"type": "retaindb", "options": {"project": "p"}}
    assert secrets(person, scope)["RETAINDB_API_KEY"] == "sentinel"
    assert "validate" not in agent(person)["onboarding"]
    person.clm("agent", "memory-backend", "set", "maurice", "supermemory", "--api-key-stdin", stdin="k", code=None).has(
        "v2026.7.1"
    )
    assert agent(person)["memory"]["type"] == "retaindb", "the release lacks its package"
    person.clm("agent", "memory-backend", "set", "maurice", "holographic", "--auto-extract")
    assert agent(person)["memory"] == {"type": "holographic", "options": {"auto_extract": True}}
    assert "RETAINDB_API_KEY" not in secrets(person, scope)
    person.clm("agent", "memory-backend", "show", "maurice").has("holographic")
    person.clm("agent", "memory-backend", "clear", "maurice").has("holographic", "clm agent configure maurice")
    person.clm("agent", "memory-backend", "clear", "maurice").has("nothing was changed")
