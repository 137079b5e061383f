"""From a damaged file back to an earlier version: what is offered, what is refused, and what is kept."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state import conversion
from pyinfra_hermes.cli.state.errors import NotFound, StateError, StateLocked, StateRefused
from pyinfra_hermes.cli.state.records import KINDS, Agent, Provider
from pyinfra_hermes.cli.state.restoring import Earlier, Offers, offers, restore
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

from .conftest import API_KEY
from .encrypting import forget, with_key_file
from .test_interruption import CALLS, at_call, change, fresh, hidden, seen, stopped_at
from .test_interruption import tmp_path as tmp_path  # in memory: these tests sync thousands of times
from .test_locking import held

NAMES = [kind.FILENAME for kind in KINDS]


def newest(offered: Offers, *files: str) -> dict[str, Earlier]:
    return {name: offered.files[name].get(None) for name in files}


def differences(offered: Offers, name: str) -> list[tuple[int, str, str]]:
    return [(each.version.number, each.holds, each.differs) for each in offered.files[name].earlier]


@pytest.fixture
def history(filled: State) -> State:
    """A state with two earlier versions of each file."""
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].agents["maurice"] = Agent(name="maurice", release="v1", port=8643, status="installing")
        tx.providers["local"] = Provider(name="local", type="ollama")
        tx.integrations.pop("jira")
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-second"))
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].port = 2222
        tx.providers["local"].options["model"] = "m"
        tx.secrets.set("integration:x", "TOKEN", Secret("t"))
    return filled


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff", b"[1]", b'{"schema_version": 1, "x": 1}', b'{"schema_version": 7}']
)
def test_a_damaged_file_is_restored_and_kept_aside(history: State, path: Path, name: str, damage: bytes) -> None:
    path.joinpath(name).write_bytes(damage)
    offered = offers(history.directory)
    assert [offer.path.name for offer in offered.damaged] == [name]
    chosen = newest(offered, name)
    wanted = path.joinpath("generations", f"{name}.~{chosen[name].version.number}~").read_bytes()
    earlier = sorted(path.joinpath("generations").iterdir())
    [aside] = restore(offered, chosen).values()
    assert path.joinpath(name).read_bytes() == wanted
    assert aside.read_bytes() == damage
    assert aside.name.startswith(f"{name}.damaged-2")
    for file in (aside, path / name):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # The damaged file did not become an earlier version, and pushed none out.
    assert sorted(path.joinpath("generations").iterdir()) == earlier
    history.read()


def test_what_is_offered_is_told_by_counts_and_names(history: State, path: Path) -> None:
    path.joinpath("hosts.json").write_text("{")
    path.joinpath("generations", "hosts.json.~3~").chmod(0o600)
    offered = offers(history.directory)
    assert differences(offered, "hosts.json") == [
        (3, "1 host, 2 agents", "what differs cannot be told"),
        (2, "1 host, 1 agent", "compared with 3: without agent wolf-i/maurice"),
        (1, "1 host, 0 agents", "compared with 2: without agent wolf-i/hermes-test"),
    ]
    assert differences(offered, "providers.json") == [
        (2, "2 providers", "compared with now: another provider local"),
        (1, "1 provider", "compared with now: without provider local"),
    ]
    assert differences(offered, "secrets.json")[:2] == [
        (3, "2 secrets", "compared with now: without TOKEN of integration:x"),
        (2, "2 secrets", "compared with now: without TOKEN of integration:x; another API_KEY of provider:cloud"),
    ]
    assert "sk-" not in repr(offered) and API_KEY not in repr(offered)


def test_names_are_taken_from_a_damaged_file_that_parses(history: State, path: Path) -> None:
    hosts = path / "hosts.json"
    hosts.write_text(hosts.read_text().replace('"port": 2222', '"port": "2222"'))
    secrets = path / "secrets.json"
    secrets.write_text(secrets.read_text().replace('"TOKEN"', '"sk-misplaced"'))
    offered = offers(history.directory)
    assert differences(offered, "hosts.json")[0] == (3, "1 host, 2 agents", "holds the same as now")
    assert differences(offered, "hosts.json")[1][2] == "compared with 3: without agent wolf-i/maurice"
    assert "sk-misplaced" not in repr(offered)


def test_a_version_that_is_not_whole_is_not_offered(history: State, path: Path) -> None:
    path.joinpath("hosts.json").write_text("{")
    path.joinpath("generations", "hosts.json.~3~").write_text("{")
    offer = offers(history.directory).files["hosts.json"]
    assert [each.version.number for each in offer.earlier] == [2, 1]
    with pytest.raises(NotFound, match=r"no earlier version 3 of .*hosts.json that is whole; there is 2, 1"):
        offer.get(3)
    for number in (1, 2):
        path.joinpath("generations", f"hosts.json.~{number}~").unlink()
    with pytest.raises(NotFound, match="There is no earlier version of"):
        offers(history.directory).files["hosts.json"].get(None)


def test_a_lost_file_comes_back(history: State, path: Path) -> None:
    path.joinpath("secrets.json").unlink()
    offered = offers(history.directory)
    assert restore(offered, newest(offered, "secrets.json")) == {}
    assert history.read().secrets.of("provider:cloud") == {"API_KEY": Secret("sk-second")}


def test_several_damaged_files_come_back_together(history: State, path: Path) -> None:
    for name in ("hosts.json", "secrets.json"):
        path.joinpath(name).write_text("{")
    offered = offers(history.directory)
    aside = restore(offered, newest(offered, "hosts.json", "secrets.json"))
    assert set(aside) == {"hosts.json", "secrets.json"}
    assert set(history.read().hosts["wolf-i"].agents) == {"hermes-test", "maurice"}


def test_a_whole_file_goes_back_and_becomes_an_earlier_version(history: State, path: Path) -> None:
    before = path.joinpath("providers.json").read_bytes()
    offered = offers(history.directory)
    assert offered.damaged == []
    assert restore(offered, {"providers.json": offered.files["providers.json"].get(1)}) == {}
    assert list(history.read().providers) == ["cloud"]
    assert path.joinpath("generations", "providers.json.~3~").read_bytes() == before


def test_references_that_a_restore_would_break_are_named(history: State, path: Path) -> None:
    with history.transaction() as tx:
        tx.agent("maurice").agent.provider = "local"
        tx.agent("maurice").agent.integrations = ("gone",)  # broken before: not this restore's doing
    path.joinpath("providers.json").write_text("{")
    offered = offers(history.directory)
    first = {"providers.json": offered.files["providers.json"].get(1)}
    [left] = offered.dangling(first)
    assert left.what == "agent wolf-i:hermes:maurice uses provider local, which is not on record"
    assert offered.dangling(newest(offered, "providers.json")) == []
    path.joinpath("secrets.json").write_text("{")
    offered = offers(history.directory)
    both = {"secrets.json": offered.files["secrets.json"].get(1), **newest(offered, "providers.json")}
    assert [each.what for each in offered.dangling(both)] == [
        "agent wolf-i:hermes:hermes-test has no HERMES_API_SERVER_KEY"
    ]


def test_nothing_is_restored_over_a_change_that_came_in_between(history: State, path: Path) -> None:
    path.joinpath("hosts.json").write_text("{")
    offered = offers(history.directory)
    path.joinpath("hosts.json").write_text("{ ")
    with pytest.raises(StateRefused, match="changed in the meantime"):
        restore(offered, newest(offered, "hosts.json"))
    assert path.joinpath("hosts.json").read_text() == "{ "


def test_it_waits_for_the_lock(history: State, path: Path) -> None:
    offered = offers(history.directory)
    with held(path), pytest.raises(StateLocked):
        restore(offered, newest(offered, "hosts.json"), lock_wait=0)


def test_a_file_that_cannot_be_trusted_is_not_touched(history: State, path: Path) -> None:
    path.joinpath("hosts.json").chmod(0o644)
    with pytest.raises(StateRefused, match="open to other users"):
        offers(history.directory)


def test_two_repairs_in_one_second_keep_two_files(history: State, path: Path) -> None:
    for _ in range(3):
        path.joinpath("hosts.json").write_text("{")
        offered = offers(history.directory)
        restore(offered, newest(offered, "hosts.json"))
    assert len(list(path.glob("hosts.json.damaged-*"))) == 3


def test_a_change_that_was_stopped_is_finished_first(tmp_path: Path) -> None:
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), 2)
        stopped_at(wanted, lambda state=state: change(state, 50))
        if path.joinpath(".journal").exists():
            break
    offers(state.directory)
    assert hidden(path) == {".lock"}
    assert seen(state) == 50


def damaged(tmp_path: Path, label: str) -> tuple[State, Path]:
    state, path = fresh(tmp_path, label, 3)
    for name in ("hosts.json", "providers.json", "integrations.json"):
        path.joinpath(name).write_text("{")
    return state, path


def repair(state: State) -> None:
    offered = offers(state.directory)
    chosen = {name: offered.files[name].get(2) for name in NAMES}
    restore(offered, chosen)


def assert_all_or_nothing(state: State, path: Path) -> bool:
    """Tell whether the repair was made: in all files or in none."""
    offered = offers(state.directory)
    if offered.damaged:
        assert [offer.path.read_text() for offer in offered.damaged] == ["{"] * 3
        repair(state)
    assert seen(state) == 1
    for name in ("hosts.json", "providers.json", "integrations.json"):
        assert {file.read_text() for file in path.glob(f"{name}.damaged-*")} == {"{"}
    assert hidden(path) == {".lock"}
    return not offered.damaged


def test_a_repair_that_is_stopped_at_any_call(tmp_path: Path) -> None:
    outcomes = []
    for wanted in range(1, 1000):
        state, path = damaged(tmp_path, str(wanted))
        if not stopped_at(wanted, lambda state=state: repair(state)):
            break
        outcomes.append(assert_all_or_nothing(state, path))
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {True, False}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_system_that_refuses_any_call_of_a_repair(tmp_path: Path, number: int) -> None:
    def refuse(name: str) -> None:
        raise OSError(number, os.strerror(number))

    messages = []
    for wanted in range(1, 1000):
        state, path = damaged(tmp_path, str(wanted))
        error = None
        with at_call(wanted, before=refuse, calls=CALLS) as made:
            try:
                repair(state)
            except StateError as caught:
                error = caught
        if len(made) < wanted:
            break
        if error is not None:
            messages.append(error.message)
            if "Nothing was changed" in error.message:
                assert not list(path.glob("*.damaged-*"))
        assert_all_or_nothing(state, path)
    assert any("Nothing was changed" in message for message in messages)
    assert any("next command completes it" in message for message in messages)


def test_encryption_is_neither_lost_nor_brought_back_in_silence(history: State, path: Path, tmp_path: Path) -> None:
    name = "secrets.json"
    plain = path.joinpath("generations", f"{name}.~1~").read_bytes()
    conversion.encrypt(history, with_key_file(tmp_path / "key"))
    with history.transaction() as tx:
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-third"))
    forget()
    offered = offers(history.directory)
    assert all(each.is_encrypted for each in offered.files[name].earlier)
    assert differences(offered, name)[0][1:] == ("3 secrets", "compared with now: another API_KEY of provider:cloud")
    assert offered.change_of_encryption(newest(offered, name)) is None
    number = offered.files[name].earlier[-1].version.number
    path.joinpath("generations", f"{name}.~{number}~").write_bytes(plain)
    present = path.joinpath(name).read_bytes()
    for content in (present, present[:-10]):
        path.joinpath(name).write_bytes(content)
        offered = offers(history.directory)
        said = offered.change_of_encryption({name: offered.files[name].get(number)})
        assert said == f"{name}: it was encrypted since, and this version holds every secret in the open"
    path.joinpath(name).write_bytes(plain)
    offered = offers(history.directory)
    assert (
        offered.change_of_encryption(newest(offered, name)) == f"{name}: it is not encrypted now, and this version is"
    )
    tmp_path.joinpath("key").unlink()
    forget()
    assert differences(offers(history.directory), name)[0][1:] == ("", "what differs cannot be told")
