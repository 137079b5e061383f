"""What another release means for an agent, and which releases can go."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.pruning import superfluous
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.upgrading import Plan, database_for, is_older

OLD, NEW = manifest().release(), manifest().newest


def plan(before: object = OLD, after: object = NEW) -> Plan:
    return Plan("maurice", "wolf-i", "upgrade", before, "wheel", after, "wheel", (), {"/opt": 600})  # type: ignore[arg-type]


def test_a_plan_says_what_is_gained_and_lost_and_what_becomes_of_the_database() -> None:
    assert "Google Vertex can be the provider" in plan().gained
    assert plan().lost == ()
    assert plan(NEW, OLD).lost == plan().gained
    assert plan().schema.startswith(f"schema {OLD.state_schema} becomes {NEW.state_schema}")
    assert "the one of before is put back" in plan(NEW, OLD).schema
    assert dict(plan().rows())["room"].startswith("600 MiB in /opt")


def test_releases_are_compared_by_number() -> None:
    ordered = sorted(manifest().releases, key=lambda release: [int(part) for part in release.calver.split(".")])
    for earlier, later in pairwise(ordered):
        assert is_older(earlier, later) and not is_older(later, earlier)
        assert earlier.state_schema is not None and later.state_schema is not None
        assert earlier.state_schema <= later.state_schema


def test_an_earlier_release_gets_the_latest_database_that_it_can_read() -> None:
    kept = {
        "1": (OLD.id, True, OLD.state_schema),
        "2": (OLD.id, True, OLD.state_schema),
        "3": (NEW.id, True, NEW.state_schema),
    }
    assert database_for(OLD, NEW, kept) == "2"
    assert database_for(NEW, OLD, kept) is None
    with pytest.raises(LookupError):
        database_for(OLD, NEW, {"3": kept["3"]})


IDS = [f"v2026.{month}.{day}-wheel-0000000{day}" for month in (5, 7) for day in (1, 2, 10)]


def test_the_oldest_that_nobody_needs_go() -> None:
    assert superfluous(IDS, {IDS[0]}, 3) == [IDS[1], IDS[2]]
    assert superfluous(["lost+found", ".lock", "v1-x"], (), 0) == []


@given(st.lists(st.sampled_from(IDS), unique=True), st.sets(st.sampled_from(IDS)), st.integers(0, 8))
def test_what_is_needed_stays(there: list[str], needed: set[str], keep: int) -> None:
    going = superfluous(there, needed, keep)
    assert not needed & set(going)
    assert len(there) - len(going) >= min(keep, len(there))
