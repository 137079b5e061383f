"""Reading and changing the state as a whole, and the questions that commands ask it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state import generations
from pyinfra_hermes.cli.state.errors import Ambiguous, ApiKeyInvalid, NoFreePort, NotFound, StateInvalid
from pyinfra_hermes.cli.state.records import Agent, Host, Provider, agent_scope, provider_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

from .conftest import API_KEY


def files(path: Path) -> dict[str, tuple[int, bytes]]:
    return {str(f.relative_to(path)): (f.stat().st_ino, f.read_bytes()) for f in path.rglob("*") if f.is_file()}


def test_a_directory_that_is_not_there_is_empty_and_stays_away(state: State, path: Path) -> None:
    snapshot = state.read()
    assert (dict(snapshot.hosts), dict(snapshot.providers), dict(snapshot.integrations)) == ({}, {}, {})
    assert snapshot.secrets.scopes == {}
    assert not path.parent.exists()


def test_what_was_committed_is_read(filled: State) -> None:
    snapshot = filled.read()
    assert snapshot.agent("hermes-test").agent.provider == "cloud"
    assert snapshot.provider("cloud").options == {"model": "a/b"}
    assert snapshot.integration("jira").options == {"url": "https://a.example", "user": "me"}
    assert snapshot.secret("provider:cloud", "API_KEY") == Secret("sk-first")


def test_every_file_and_folder_is_for_its_owner_only(filled: State, path: Path) -> None:
    with filled.directory.created() as directory, directory.created_folder("keys"):
        pass
    for entry in (path, *path.rglob("*")):
        wanted = 0o700 if entry.is_dir() else 0o600
        assert stat.S_IMODE(entry.stat().st_mode) == wanted, entry
    assert path.joinpath("keys").is_dir()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(state: State, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for kind in ("a", "b"):
            with state.transaction() as tx:
                tx.providers["p"] = Provider(name="p", type=kind)
    finally:
        os.umask(before)
    for entry in (path, *path.rglob("*")):
        assert stat.S_IMODE(entry.stat().st_mode) == (0o700 if entry.is_dir() else 0o600), entry


def test_the_line_that_users_have_in_their_scripts(filled: State, path: Path) -> None:
    program = '.["wolf-i:hermes:hermes-test"].HERMES_API_SERVER_KEY.value'
    if shutil.which("jq"):
        printed = subprocess.run(
            ["jq", "-r", program, path / "secrets.json"], capture_output=True, text=True, check=True
        )
        assert printed.stdout == f"{API_KEY}\n"
    secrets = json.loads(path.joinpath("secrets.json").read_text())
    assert secrets["wolf-i:hermes:hermes-test"]["HERMES_API_SERVER_KEY"]["value"] == API_KEY


def test_no_secret_is_in_another_file(filled: State, path: Path) -> None:
    for name, (_, content) in files(path).items():
        if "secrets.json" not in name:
            assert API_KEY.encode() not in content and b"sk-first" not in content, name


def test_nothing_is_written_when_nothing_changed(filled: State, path: Path) -> None:
    before = files(path)
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].port = 22
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-first"))
    assert files(path) == before


def test_only_the_file_that_changed_is_written(filled: State, path: Path) -> None:
    before = files(path)
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].port = 2222
    after = files(path)
    assert {name for name in after if after[name] != before.get(name)} == {
        "hosts.json",
        "generations/hosts.json.~2~",
    }


def test_formatting_by_hand_is_no_change(filled: State, path: Path) -> None:
    hosts = path / "hosts.json"
    hosts.write_text(json.dumps(json.loads(hosts.read_text())))
    before = files(path)
    with filled.transaction():
        pass
    assert files(path) == before


def test_an_exception_undoes_everything(filled: State, path: Path) -> None:
    before = files(path)
    with pytest.raises(KeyError, match="mine"), filled.transaction() as tx:
        tx.hosts.clear()
        tx.secrets.set("provider:cloud", "API_KEY", Secret("other"))
        raise KeyError("mine")
    assert files(path) == before


def test_a_dict_may_be_replaced_as_a_whole(filled: State) -> None:
    with filled.transaction() as tx:
        tx.providers = {"new": Provider(name="new", type="ollama")}
    assert list(filled.read().providers) == ["new"]


def test_what_is_not_valid_is_not_written(filled: State, path: Path) -> None:
    before = files(path)
    said = r"hosts.json: hosts: the entry 'other' says that its name is 'wolf-i'"
    with pytest.raises(StateInvalid, match=said), filled.transaction() as tx:
        tx.hosts["other"] = tx.hosts.pop("wolf-i")
    assert files(path) == before


def test_a_secret_put_into_options_is_refused(filled: State, path: Path) -> None:
    before = files(path)
    with (
        pytest.raises(StateInvalid, match=r"providers\.cloud\.options\.key") as caught,
        filled.transaction() as tx,
    ):
        tx.providers["cloud"].options["key"] = Secret("hunter2")  # type: ignore[assignment]
    assert "hunter2" not in str(caught.value)
    assert files(path) == before


def test_a_snapshot_cannot_be_changed(filled: State) -> None:
    snapshot = filled.read()
    with pytest.raises(TypeError, match="transaction"):
        snapshot.agent("hermes-test").agent.port = 1
    with pytest.raises(TypeError, match="transaction"):
        snapshot.secrets.set("provider:cloud", "API_KEY", Secret("other"))
    with pytest.raises(TypeError, match="transaction"):
        snapshot.hosts.clear()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        snapshot.hosts = {}  # type: ignore[misc]


def test_a_transaction_inside_a_transaction_is_refused_at_once(state: State) -> None:
    with state.transaction(), pytest.raises(RuntimeError, match="wait for itself"), state.transaction():
        pass
    with state.transaction():
        pass


def test_reading_inside_a_transaction_gives_what_was_before(filled: State) -> None:
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].port = 2222
        assert filled.read().hosts["wolf-i"].port == 22


def test_the_newest_earlier_versions_are_kept(state: State, path: Path) -> None:
    for number in range(8):
        with state.transaction() as tx:
            tx.providers["p"] = Provider(name="p", type="t", options={"n": number})
    kept = sorted(path.joinpath("generations").iterdir())
    assert [file.name for file in kept] == [f"providers.json.~{n}~" for n in (5, 6, 7)]
    assert [json.loads(file.read_text())["providers"]["p"]["options"]["n"] for file in kept] == [4, 5, 6]
    assert generations.KEPT == 3


def test_earlier_versions_on_a_file_system_without_hard_links(
    state: State, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for kind in ("a", "b"):
        with state.transaction() as tx:
            tx.providers["p"] = Provider(name="p", type=kind)
    assert '"type": "a"' in path.joinpath("generations", "providers.json.~1~").read_text()


@pytest.fixture
def two_hosts(filled: State) -> State:
    with filled.transaction() as tx:
        tx.hosts["wolf-ii"] = Host(name="wolf-ii", address="::1", user="root")
        for name, port in (("hermes-test", 8642), ("maurice", 8643)):
            tx.hosts["wolf-ii"].agents[name] = Agent(name=name, release="v1", port=port, status="installed")
    return filled


@pytest.mark.parametrize("reference", ["maurice", "wolf-ii/maurice", "wolf-ii:hermes:maurice"])
def test_an_agent_is_found(two_hosts: State, reference: str) -> None:
    assert two_hosts.read().agent(reference).key == "wolf-ii:hermes:maurice"


def test_an_ambiguous_name_lists_who_could_be_meant(two_hosts: State) -> None:
    with pytest.raises(Ambiguous) as caught:
        two_hosts.read().agent("hermes-test")
    assert "wolf-i:hermes:hermes-test, wolf-ii:hermes:hermes-test" in caught.value.message
    assert caught.value.remedy == "Say which one: wolf-i/hermes-test or wolf-ii/hermes-test"
    assert two_hosts.read().agent("wolf-i/hermes-test").host.name == "wolf-i"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("maurise", "There is no agent 'maurise'; did you mean maurice?"),
        ("wolf/maurice", "There is no host 'wolf'; did you mean wolf-i or wolf-ii?"),
        ("wolf-i/maurice", "There is no agent 'maurice' on host wolf-i; there is hermes-test"),
        ("a:b:c", "There is no agent 'a:b:c'; there is hermes-test, maurice"),
        ("", "There is no agent ''; there is hermes-test, maurice"),
        ("/", "There is no host ''; there is wolf-i, wolf-ii"),
    ],
)
def test_what_is_not_found_is_said_with_what_is_close(two_hosts: State, reference: str, message: str) -> None:
    with pytest.raises(NotFound) as caught:
        two_hosts.read().agent(reference)
    assert caught.value.message == message


def test_nothing_is_there_yet(state: State) -> None:
    snapshot = state.read()
    for ask, what in (
        (snapshot.agent, "agent"),
        (snapshot.host, "host"),
        (snapshot.provider, "provider"),
        (snapshot.integration, "integration"),
    ):
        with pytest.raises(NotFound, match=f"There is no {what} 'x'; there are none yet"):
            ask("x")


def test_the_next_free_port(two_hosts: State) -> None:
    snapshot = two_hosts.read()
    assert snapshot.next_free_port("wolf-i") == 8643
    assert snapshot.next_free_port("wolf-ii") == 8644
    assert snapshot.next_free_port("wolf-ii", also_taken={8644, 8646}) == 8645
    assert snapshot.next_free_port("wolf-ii", start=9000) == 9000
    with pytest.raises(NotFound):
        snapshot.next_free_port("wolf-iii")
    with pytest.raises(NoFreePort):
        snapshot.next_free_port("wolf-i", start=65535, also_taken={65535})


def test_who_uses_a_provider(two_hosts: State) -> None:
    snapshot = two_hosts.read()
    assert [instance.key for instance in snapshot.agents_using_provider("cloud")] == ["wolf-i:hermes:hermes-test"]
    assert snapshot.agents_using_provider("other") == ()


def test_who_uses_an_integration(two_hosts: State) -> None:
    with two_hosts.transaction() as tx:
        tx.agent("maurice").agent.integrations = ("jira",)
    snapshot = two_hosts.read()
    assert [instance.key for instance in snapshot.agents_using_integration("jira")] == ["wolf-ii:hermes:maurice"]
    assert snapshot.agents_using_integration("other") == ()


def test_an_api_key_is_checked_when_it_is_read(two_hosts: State, path: Path) -> None:
    snapshot = two_hosts.read()
    assert snapshot.api_key(snapshot.agent("wolf-i/hermes-test")) == Secret(API_KEY)
    with pytest.raises(ApiKeyInvalid) as caught:
        snapshot.api_key(snapshot.agent("maurice"))
    assert caught.value.remedy == "clm agent install --type hermes --host wolf-ii --name maurice"
    assert str(path / "secrets.json") in caught.value.message


@pytest.mark.parametrize("wrong", [API_KEY.upper(), API_KEY[:-1], API_KEY + "\n", "", "hunter2"])
def test_an_api_key_of_another_shape_is_an_error_that_does_not_show_it(two_hosts: State, wrong: str) -> None:
    with two_hosts.transaction() as tx:
        tx.secrets.set(agent_scope("wolf-ii", "maurice"), "HERMES_API_SERVER_KEY", Secret(wrong))
        with pytest.raises(ApiKeyInvalid, match="64 lowercase") as caught:
            tx.api_key(tx.agent("maurice"))
    assert not wrong or wrong not in str(caught.value)


def test_a_secret_that_is_not_there(filled: State) -> None:
    with pytest.raises(NotFound, match=r"There is no API_KEY under 'provider:x'"):
        filled.read().secret(provider_scope("x"), "API_KEY")


def test_the_state_is_cheap_to_import() -> None:
    program = (
        "import sys, pyinfra_hermes.cli.state.store, pyinfra_hermes.cli.state.known_hosts;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "pydantic" in loaded
    assert not {
        "pyinfra",
        "gevent",
        "paramiko",
        "rich",
        "click",
        "httpx",
        "yaml",
        "jinja2",
        "cryptography",
    } & set(loaded)
