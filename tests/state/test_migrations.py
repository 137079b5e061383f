"""Files of an older schema: read as they are, written anew by their first change, and kept as they were."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.state import conversion
from pyinfra_hermes.cli.state.documents import Defect, decode
from pyinfra_hermes.cli.state.inspection import inspect
from pyinfra_hermes.cli.state.migrations import MIGRATIONS, migrated, oldest, outdated, versions
from pyinfra_hermes.cli.state.records import KINDS, Document, Host, HostsFile, IntegrationsFile, ProvidersFile
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

from .encrypting import with_key_file
from .test_interruption import CALLS, stopped_at, tmp_path  # noqa: F401 - a fixture
from .test_records import hosts_files, integrations_files, providers_files

#: What version 2 added to an agent.
ADDED: dict[str, Any] = {"memory": None, "environment": {}, "secret_environment": (), "config": {}}

#: As pyinfra-hermes wrote it before there was a version 2.
FIRST = {
    "hosts.json": {
        "schema_version": 1,
        "hosts": {
            "wolf-i": {
                "name": "wolf-i", "address": "192.0.2.7", "port": 22, "user": "xclm", "identity_file": None, "tags": [],
                "added_at": "2026-05-07T12:00:00Z",
                "agents": {
                    "hermes-test": {
                        "name": "hermes-test", "type": "hermes", "release": "v2026.5.7", "method": "wheel",
                        "port": 8642, "provider": "cloud", "model": None, "channels": {"api": {}},
                        "integrations": [], "hardening": "standard", "status": "installed", "error": None,
                        "installed_at": None, "applied": None, "onboarding": {},
                    }
                },
            }
        },
    },
    "providers.json": {
        "schema_version": 1,
        "providers": {
            "cloud": {
                "name": "cloud", "type": "openrouter", "options": {"model": "a/b"},
                "created_at": "2026-05-07T12:00:00Z", "updated_at": "2026-05-07T12:00:00Z",
            }
        },
    },
    "secrets.json": {
        "schema_version": 1,
        "wolf-i:hermes:hermes-test": {
            "HERMES_API_SERVER_KEY": {
                "value": "0123456789abcdef" * 4, "created_at": "2026-05-07T12:00:00Z",
                "updated_at": "2026-05-07T12:00:00Z", "description": "",
            }
        },
        "provider:cloud": {
            "API_KEY": {
                "value": "sk-first", "created_at": "2026-05-07T12:00:00Z", "updated_at": "2026-05-07T12:00:00Z",
                "description": "",
            }
        },
    },
}  # fmt: skip


@pytest.fixture
def first(state: State, path: Path) -> State:
    """A state directory of the first schema."""
    write(path)
    return state


def write(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    for name, content in FIRST.items():
        path.joinpath(name).touch(mode=0o600)
        path.joinpath(name).write_text(json.dumps(content, indent=2))


def bytes_of(name: str) -> bytes:
    return json.dumps(FIRST[name], indent=2).encode()


def version_of(path: Path, name: str) -> Any:
    return json.loads(path.joinpath(name).read_bytes())["schema_version"]


def rename_it(state: State) -> None:
    with state.transaction() as tx:
        tx.hosts["wolf-i"].tags = ("changed",)


# The steps


def as_first(document: Document) -> dict[str, Any]:
    """Spell a document as the first schema did, which had nothing of what came later."""
    plain: dict[str, Any] = json.loads(json.dumps(document.to_plain()))
    for host in plain.get("hosts", {}).values():
        for agent in host["agents"].values():
            for name in ADDED:
                del agent[name]
    return {**plain, "schema_version": 1}


def with_defaults(document: Document) -> dict[str, Any]:
    plain = document.to_plain()
    for host in plain.get("hosts", {}).values():
        for agent in host["agents"].values():
            agent.update(copy.deepcopy(ADDED))
    return plain


@given(hosts_files() | providers_files() | integrations_files())
def test_a_document_of_version_1_is_what_it_was_with_defaults(document: Document) -> None:
    older = as_first(document)
    before = copy.deepcopy(older)
    read = decode(type(document), json.dumps(older).encode())
    assert not isinstance(read, Defect)
    assert read.to_plain() == with_defaults(document)
    migrated(type(document), older)
    assert older == before, "a step changed what it was given"


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), lambda s: st.lists(s)), max_size=4)
)
def test_a_step_is_not_upset_by_what_it_does_not_understand(kind: type[Document], plain: dict[str, Any]) -> None:
    for hosts in (plain, {"h": plain}, {"h": {"agents": plain}}, {"h": {"agents": {"a": plain}}}):
        decode(kind, json.dumps({"schema_version": 1, "hosts": hosts}).encode())


@pytest.mark.parametrize("kind", KINDS)
def test_every_version_leads_to_the_present_one(kind: type[Document]) -> None:
    steps = MIGRATIONS.get(kind, ())
    assert [step.name for step in steps] == [f"{n}→{n + 1}" for n in range(oldest(kind), versions(kind)[0])]
    assert all(step.what for step in steps)


@pytest.mark.parametrize("kind", [HostsFile, ProvidersFile, IntegrationsFile])
@pytest.mark.parametrize("beyond", [None, 1, 97])
def test_a_version_that_is_not_known_is_named(kind: type[Document], beyond: int | None) -> None:
    newest = versions(kind)[0]
    version = 0 if beyond is None else newest + beyond
    defect = decode(kind, json.dumps({"schema_version": version}).encode())
    assert isinstance(defect, Defect)
    assert defect.what == f"has schema_version {version}, and this program knows 1 to {newest}"
    assert defect.is_newer == (version > newest)


def test_an_agent_of_a_time_without_a_choice_came_as_wheels() -> None:
    plain = copy.deepcopy(FIRST["hosts.json"])
    del plain["hosts"]["wolf-i"]["agents"]["hermes-test"]["method"]  # type: ignore[index]
    read = decode(HostsFile, json.dumps(plain).encode())
    assert isinstance(read, HostsFile)
    assert read.hosts["wolf-i"].agents["hermes-test"].method == "wheel"


def test_what_is_no_file_of_ours_is_not_outdated() -> None:
    for content in (None, b"", b"{", b"[1]", b'{"schema_version": true}', b'{"schema_version": 1, "encryption": 1}'):
        assert outdated(HostsFile, content) is None
    assert outdated(HostsFile, b'{"schema_version": 1}') == 1
    assert outdated(HostsFile, b'{"schema_version": 2}') == 2
    assert outdated(HostsFile, b'{"schema_version": 3}') is None


# On the disk


def test_reading_changes_nothing(first: State, path: Path) -> None:
    assert first.read().agent("hermes-test").agent.config == {}
    with first.transaction():
        pass
    assert {file.name for file in path.iterdir()} == {*FIRST, ".lock"}
    assert all(path.joinpath(name).read_bytes() == bytes_of(name) for name in FIRST)


def test_the_first_change_of_a_file_writes_it_anew_and_keeps_it_as_it_was(first: State, path: Path) -> None:
    rename_it(first)
    assert (version_of(path, "hosts.json"), version_of(path, "providers.json")) == (3, 1)
    kept = path / "generations/hosts.json.~schema-1~"
    assert kept.read_bytes() == bytes_of("hosts.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    for number in range(6):
        with first.transaction() as tx:
            tx.hosts["wolf-i"].port = 22 + number
    assert kept.read_bytes() == bytes_of("hosts.json"), "it went with later changes"
    assert first.read().agent("hermes-test").agent.name == "hermes-test"


def test_the_check_says_what_is_read_otherwise_and_what_was_kept(first: State, path: Path) -> None:
    found = inspect(first.directory)
    assert not found.problems
    said = {finding.where: finding for finding in found.notes}
    assert "has schema_version 1, and is read as 3" in said[f"{path}/hosts.json"].what
    assert f"{path}/secrets.json" not in said
    rename_it(first)
    found = inspect(first.directory)
    assert not found.problems
    [note] = [finding for finding in found.notes if "schema-1" in finding.where]
    assert note.remedy and note.remedy.endswith(f"rm '{path}/generations/hosts.json.~schema-1~'")


def test_an_older_clm_goes_on_with_what_was_kept(first: State, path: Path) -> None:
    rename_it(first)
    path.joinpath("hosts.json").write_bytes(path.joinpath("generations/hosts.json.~schema-1~").read_bytes())
    assert first.read().hosts["wolf-i"].tags == ()
    rename_it(first)  # and back again
    assert version_of(path, "hosts.json") == 3
    assert path.joinpath("generations/hosts.json.~schema-1~").read_bytes() == bytes_of("hosts.json")


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_change_that_is_stopped_at_any_call(tmp_path: Path, is_encrypted: bool) -> None:  # noqa: F811
    outcomes = []

    def change(state: State) -> None:
        with state.transaction() as tx:
            tx.hosts["wolf-i"].tags = ("changed",)
            tx.providers["cloud"].options["model"] = "c"
            tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-new"))

    for wanted in range(1, 1000):
        path = tmp_path / str(wanted) / "clawrium"
        write(path)
        state = State.open(path, lock_wait=2)
        if is_encrypted:
            conversion.encrypt(state, with_key_file(tmp_path / "key"))
        if not stopped_at(wanted, lambda state=state: change(state), CALLS):
            break
        seen = state.read()
        changed = seen.hosts["wolf-i"].tags == ("changed",)
        assert (seen.providers["cloud"].options["model"] == "c") == changed
        assert (seen.secret("provider:cloud", "API_KEY") == Secret("sk-new")) == changed
        assert (version_of(path, "hosts.json"), version_of(path, "providers.json")) == ((3, 2) if changed else (1, 1))
        outcomes.append(changed)
        change(state)
        assert path.joinpath("generations/hosts.json.~schema-1~").read_bytes() == bytes_of("hosts.json")
        with state.transaction() as tx:
            tx.hosts["x"] = Host(name="x", address="192.0.2.9", user="root")
        assert not inspect(state.directory).problems
        assert {file.name for file in path.glob(".*")} == {".lock"}
    assert outcomes == sorted(outcomes)
    assert outcomes.count(True) > 4 and outcomes.count(False) > 10


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_secrets_have_a_version_of_their_own(first: State, path: Path, tmp_path: Path, is_encrypted: bool) -> None:  # noqa: F811
    if is_encrypted:
        conversion.encrypt(first, with_key_file(tmp_path / "key"))
    with first.transaction() as tx:
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-new"))
    assert (version_of(path, "hosts.json"), version_of(path, "secrets.json")) == (1, 2 if is_encrypted else 1)
    assert not list(path.glob("generations/*schema*"))


def test_the_copy_is_whole_where_there_are_no_hard_links(
    first: State, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    change: Callable[[State], None] = rename_it
    change(first)
    assert path.joinpath("generations/hosts.json.~schema-1~").read_bytes() == bytes_of("hosts.json")
