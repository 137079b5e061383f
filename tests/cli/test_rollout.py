"""`clm agent upgrade`, `rollback`, `history` and `clm upgrade`: what is decided before any host is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.rollout import rolling, single
from pyinfra_hermes.cli.rollout.fleet import batches
from pyinfra_hermes.cli.rollout.rolling import Options, follow_back
from pyinfra_hermes.cli.state import receipts
from pyinfra_hermes.cli.state.records import Agent, Applied, Host, Provider, StageResult, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.install import requirements
from pyinfra_hermes.deploys.model.releases import Method, manifest
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.facts.receipts import Receipt
from tests.lab.person import Person

OLD, NEW = manifest().release(), manifest().newest
DONE = dict.fromkeys(("providers", "identity", "channels", "validate"), StageResult(status="done"))


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with two hosts that nobody answers at, agents on both, and one that is not onboarded."""
    person = Person(tmp_path / "person")
    with State.open(person.state).transaction() as tx:
        options: dict[str, Any] = {"url": "http://192.0.2.1/v1", "model": "m"}
        tx.providers["local"] = Provider(name="local", type="custom", options=options)
        for number, host in enumerate(("wolf-i", "wolf-ii"), 1):
            tx.hosts[host] = Host(name=host, address=f"127.0.0.{number}", port=1, user="root")
        for host, name, port, release, stages in (
            ("wolf-i", "maurice", 8642, OLD, DONE),
            ("wolf-i", "agnes", 8643, OLD, {}),
            ("wolf-ii", "zoe", 8642, NEW, DONE),
        ):
            tx.hosts[host].agents[name] = Agent(
                name=name, release=release.tag, port=port, status="installed", provider="local", onboarding=stages,
                applied=Applied(digest="0", release=release.tag) if stages else None,
            )  # fmt: skip
            tx.secrets.set(agent_scope(host, name), "HERMES_API_SERVER_KEY", Secret("0123456789abcdef" * 4))
    return person


def test_what_cannot_be_is_refused_before_a_host_is_asked(person: Person) -> None:
    upgrade = ("agent", "upgrade")
    person.clm(*upgrade, "maurice", "--to", "v2026.7.21", code=2).has("Did you mean")
    person.clm(*upgrade, "agnes", "--yes", code=3).has("onboarding incomplete", "clm agent configure agnes")
    person.clm(*upgrade, "zoe", "--to", OLD.tag, code=3).has("is earlier", f"clm agent rollback zoe --to {OLD.tag}")
    # At no terminal nobody is asked; the plan alone needs no host.
    person.clm(*upgrade, "maurice", code=2).has("--yes")
    person.clm(*upgrade, "maurice", "--plan").has(OLD.tag, NEW.tag, "Google Vertex can be the provider")
    plan = person.json(*upgrade, "maurice", "--plan")
    assert (plan["from"]["release"], plan["to"]["release"]) == (OLD.tag, NEW.tag)
    person.clm(*upgrade, "maurice", "--yes", code=4)


def test_the_history_of_a_host_that_does_not_answer_is_that_of_this_machine(person: Person) -> None:
    made = Receipt(
        "1", "2026-11-22T23:50:10.002Z", "ada@desk", "maurice", "upgrade", "a", "b", (), "reverted", "why", "1"
    )
    receipts.add(State.open(person.state), "wolf-i", [made])
    person.clm("agent", "history", "maurice").has("only what this machine keeps", "ada@desk", "reverted: why")
    [row] = person.json("agent", "history", "maurice")
    assert (row["id"], row["result"]) == ("1", "reverted")


def test_only_an_earlier_release_is_one_to_go_back_to(person: Person) -> None:
    """After an upgrade and a rollback, a second rollback wanted to go to the later release."""
    state = State.open(person.state)
    maurice = state.read().agent("maurice")

    def took(id: str, before: str, after: str) -> None:
        row = Receipt(id, f"2026-11-22T0{id}", "ada@desk", "maurice", "x", before, after, (), "applied", "", "1")
        receipts.add(state, "wolf-i", [row])

    took("1", OLD.id, NEW.id)
    assert single._previous(state, maurice, [], NEW.tag) == OLD.tag
    took("2", NEW.id, OLD.id)
    with pytest.raises(Problem, match="No earlier release"):
        single._previous(state, maurice, [], OLD.tag)


def test_going_back_from_what_was_on_record_already_is_put_on_record(person: Person) -> None:
    """Cut off between the record here and the note on the host, the agent went back, and had another on record."""
    state = State.open(person.state)
    zoe = state.read().agent("zoe")
    follow_back(state, zoe, NEW.id, Options())
    assert state.read().agent("zoe").agent == zoe.agent
    follow_back(state, zoe, OLD.id_of("wheel"), Options())
    agent = state.read().agent("zoe").agent
    assert (agent.release, agent.method, agent.onboarding_state) == (OLD.tag, "wheel", "ready")
    assert agent.applied is not None and agent.applied.release == OLD.tag


@pytest.mark.parametrize("method", ["wheel", "installer"])
def test_a_plan_asks_for_the_room_that_a_host_is_asked_for(method: Method) -> None:
    asked = dict(requirements(NEW, method).disk_mib)
    assert {folder: asked[folder] for folder in rolling._ROOM[method]} == rolling._ROOM[method]


def test_a_rollout_says_who_gets_what_and_who_does_not(person: Person) -> None:
    person.clm("upgrade", code=2).has("Say which agents")
    person.clm("upgrade", "--all", "maurice", code=2)
    person.clm("upgrade", "maurice", "--canary", "zoe", "--plan", code=2).has("is none of those chosen")
    said = person.clm("upgrade", "--all", "--plan")
    said.has("1 (canary)", "maurice", "Not agnes: ", "wolf-ii/zoe has", "already")
    # The host is not reached: nobody was upgraded, and one was not begun.
    person.clm("upgrade", "--all", "--yes", code=10).has("maurice", "failed", "agnes", "not touched")


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12), st.integers(1, 4))
def test_batches_begin_with_one_and_have_a_host_once(hosts: list[str], size: int) -> None:
    jobs: Any = [SimpleNamespace(host=host, number=number) for number, host in enumerate(hosts)]
    found = batches(jobs, size)
    assert sorted(job.number for batch in found for job in batch) == list(range(len(jobs)))
    assert all(len({job.host for job in batch}) == len(batch) <= size for batch in found)
    assert [job.number for job in found[0]] == [0] if jobs else found == []


def test_only_files_of_ours_are_named_as_put_aside(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = "state.db.of-\x1b]0;owned\x07-99991231T235959Z"
    older, newer = "state.db.of-v2026.7.20-20261122T101500Z", "state.db.of-unknown-20261123T101500Z"
    monkeypatch.setattr(single, "run_script", lambda *_, **__: f"{newer}\n{planted}\nstate.db\n{older}\n")
    state = State.open(person.state)
    instance = state.read().agent("maurice")
    home = "/home/maurice/.hermes"
    assert single._kept_aside(state, instance) == f"{home}/{newer}"
    assert single._kept_aside(state, instance, "2026-11-22T10:00:00Z") == f"{home}/{older} and {home}/{newer}"
