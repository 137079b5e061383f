"""Everything that is wrong with the state directory, told at once; nothing is changed and no secret is shown."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.state import conversion, dangling
from pyinfra_hermes.cli.state.inspection import Inspection, inspect
from pyinfra_hermes.cli.state.mounts import network_mount
from pyinfra_hermes.cli.state.records import KINDS, Agent, Host, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.providers import CATALOGUE
from pyinfra_hermes.deploys.model.secret import Secret

from .conftest import API_KEY
from .encrypting import forget, with_key_file
from .test_interruption import change, fresh, stopped_at
from .test_interruption import tmp_path as tmp_path  # in memory: these tests sync thousands of times
from .test_locking import held

SENTINEL = "sk-Sentinel-7f3a"


def told(found: Inspection) -> list[tuple[str, str, str | None]]:
    return [(Path(f.where).name, f.what, f.remedy) for f in found.problems]


def said(found: Inspection) -> str:
    return "\n".join(f"{f.where}: {f.what}\n{f.remedy}" for f in found.findings)


def everything(path: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(f): (f.lstat().st_ino, f.lstat().st_mode, f.read_bytes() if f.is_file() else b"") for f in path.rglob("*")
    }


def test_what_is_in_order_is_clean(filled: State, path: Path) -> None:
    before = everything(path)
    found = inspect(filled.directory)
    assert found.findings == []
    assert [(f.name, f.state, f.holds, f.whole) for f in found.files] == [
        ("hosts.json", "whole", "1 host, 1 agent", (1,)),
        ("providers.json", "whole", "1 provider", ()),
        ("integrations.json", "whole", "1 integration", (1,)),
        ("secrets.json", "whole", "2 secrets", (1,)),
    ]
    assert everything(path) == before


def test_a_directory_that_is_not_there_is_no_problem(state: State, path: Path) -> None:
    found = inspect(state.directory)
    assert not found.problems
    assert "nothing is on record yet" in found.notes[-1].what
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("make", "what"),
    [(lambda path: path.touch(), "is not a directory"), (lambda path: path.symlink_to("nowhere"), "not there")],
)
def test_something_else_in_the_place_of_the_directory(state: State, path: Path, make: object, what: str) -> None:
    path.parent.mkdir()
    make(path)  # type: ignore[operator]
    assert what in inspect(state.directory).problems[0].what


def test_everything_is_told_at_once_and_the_remedies_mend_it(filled: State, path: Path) -> None:
    with filled.transaction() as tx:
        tx.hosts["wolf-i"].tags = ("a",)
    path.joinpath("hosts.json").write_text('{\n  "schema_version": 1,\n  "hosts": {\n')
    path.joinpath("hosts.json").chmod(0o640)
    path.joinpath("providers.json").chmod(0o604)
    path.joinpath("integrations.json").unlink()
    path.joinpath("secrets.json").rename(path.parent / "elsewhere")
    path.joinpath("secrets.json").symlink_to(path.parent / "elsewhere")
    path.joinpath("generations", "hosts.json.~2~").write_text("[")
    path.joinpath("generations").chmod(0o750)
    path.joinpath("secrets.json.bak").write_text(SENTINEL)
    path.joinpath("notes.txt").touch()
    path.chmod(0o755)
    found = inspect(filled.directory)
    whole = f"{path}/generations/hosts.json.~1~"
    problems = told(found)
    assert [(where, what.partition(". The last")[0]) for where, what, _ in problems] == [
        ("clawrium", "is open to other users (mode 0755)"),
        ("generations", "is open to other users (mode 0750)"),
        ("hosts.json", "is open to other users (mode 0640)"),
        ("hosts.json", "line 4, column 1: is not JSON (Expecting property name enclosed in double quotes)"),
        ("generations", "earlier version 2 of hosts.json is not whole, and will not be offered"),
        ("providers.json", "is open to other users (mode 0604)"),
        ("integrations.json", "is not there, although earlier versions of it are"),
        (
            "secrets.json",
            f"is a symbolic link to {path.parent}/elsewhere; the state is kept in regular files only",
        ),
        ("secrets.json.bak", "is none of our files, and by its name a copy of secrets.json: it may hold secrets"),
    ]
    assert f"The last good version is {whole}, of 2" in said(found)
    assert [(Path(f.where).name, f.is_problem) for f in found.notes] == [("notes.txt", False)]
    assert all(f.remedy for f in found.findings)
    for _, _, remedy in problems:
        assert remedy is not None
        if not remedy.startswith(("clm ", "Move")):
            subprocess.run(shlex.split(remedy), check=True)
    left = told(inspect(filled.directory))
    assert [remedy for _, _, remedy in left] == [
        "clm state restore hosts.json",
        "clm state restore integrations.json",
        f"Move it elsewhere or remove it: {path}/secrets.json.bak",
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"schema_version": 4}, "A later version of pyinfra-hermes wrote it"),
        (
            {"schema_version": 1, "hosts": {"h": {"name": "h", "address": "::1", "user": "u", "port": "22"}}},
            "hosts.h.port",
        ),
        ({"hosts": {}}, "has no schema_version"),
    ],
)
def test_a_wrong_shape_is_told_with_its_place(filled: State, path: Path, content: object, what: str) -> None:
    path.joinpath("hosts.json").write_text(json.dumps(content))
    [problem] = inspect(filled.directory).problems
    assert what in problem.what
    assert problem.where == str(path / "hosts.json")


def test_what_leads_nowhere_across_the_files(filled: State, monkeypatch: pytest.MonkeyPatch) -> None:
    custom = CATALOGUE["custom"]
    needs_key = replace(custom, fields=tuple(replace(f, required=f.secret) for f in custom.fields))
    monkeypatch.setattr(dangling, "CATALOGUE", {"openrouter": needs_key})
    with filled.transaction() as tx:
        tx.agent("hermes-test").agent.provider = "gone"
        tx.agent("hermes-test").agent.integrations = ("jira", "lost")
        tx.hosts["twin"] = Host(name="twin", address="192.0.2.7", user="root")
        tx.hosts["twin"].agents["keyless"] = Agent(name="keyless", release="v1", port=8642, status="installed")
        tx.hosts["twin"].agents["edited"] = Agent(name="edited", release="v1", port=8643, status="installed")
        tx.secrets.remove_scope("provider:cloud")
        for scope in (
            "provider:old",
            "integration:old",
            "twin:hermes:old",
            "away:hermes:old",
            agent_scope("twin", "edited"),
        ):
            tx.secrets.set(scope, "HERMES_API_SERVER_KEY", Secret(SENTINEL))
    found = inspect(filled.directory)
    assert [(what, remedy) for _, what, remedy in told(found)] == [
        (
            "agent wolf-i:hermes:hermes-test uses provider gone, which is not on record",
            "clm agent configure wolf-i/hermes-test --provider OTHER",
        ),
        (
            "agent wolf-i:hermes:hermes-test uses integration lost, which is not on record",
            "clm integration remove lost --force",
        ),
        (
            "agent twin:hermes:keyless has no HERMES_API_SERVER_KEY",
            "clm agent install --type hermes --host twin --name keyless",
        ),
        (
            "the HERMES_API_SERVER_KEY of agent twin:hermes:edited is not 64 lowercase hexadecimal digits",
            "Put the earlier value back, or remove the entry and make a new key with: "
            "clm agent install --type hermes --host twin --name edited",
        ),
        ("provider cloud has no API_KEY", "clm secret set provider:cloud API_KEY"),
        ("there are secrets under provider:old, and no such provider", "clm provider remove old --force"),
        ("there are secrets under integration:old, and no such integration", "clm integration remove old --force"),
        ("there are secrets under twin:hermes:old, and no such agent", "clm agent remove old --host twin"),
        (
            "there are secrets under away:hermes:old, and no such agent",
            "clm secret remove away:hermes:old HERMES_API_SERVER_KEY",
        ),
        (
            "hosts wolf-i and twin have the same address and port, 192.0.2.7 port 22",
            "clm host edit twin --address ADDRESS",
        ),
    ]
    assert SENTINEL not in said(found)


def test_a_file_that_cannot_be_read_blames_no_other(filled: State, path: Path) -> None:
    path.joinpath("providers.json").write_text("{")
    path.joinpath("hosts.json").write_text("{")
    assert {where for where, _, _ in told(inspect(filled.directory))} == {"providers.json", "hosts.json"}


def test_who_holds_the_lock(filled: State, path: Path) -> None:
    with held(path, "agent", "configure", "maurice") as holder:
        found = inspect(filled.directory)
        assert not found.problems
        [note] = found.notes
        assert f"is held by pid {holder.pid} (clm agent configure maurice) on" in note.what
        assert f"ps -fp {holder.pid}" in (note.remedy or "")
    assert inspect(filled.directory).findings == []


def test_a_change_that_was_stopped_is_judged_as_it_will_be(tmp_path: Path) -> None:
    for wanted in range(1, 1000):
        state, path = fresh(tmp_path, str(wanted), 2)
        with state.transaction() as tx:
            tx.hosts.clear()
        if not stopped_at(wanted, lambda state=state: change(state, 50)):
            break
        before = everything(path)
        found = inspect(state.directory)
        assert everything(path) == before
        by_name = {f.name: f for f in found.files}
        if path.joinpath(".journal").exists():
            assert "a command was stopped in the middle" in said(found)
            assert by_name["hosts.json"].holds == "1 host, 0 agents"
        else:
            assert "a command was stopped in the middle" not in said(found)
    assert wanted > 20


def test_a_journal_that_cannot_be_followed(filled: State, path: Path) -> None:
    path.joinpath(".journal").write_text("{}")
    path.joinpath(".journal").chmod(0o600)
    [problem] = inspect(filled.directory).problems
    assert "cannot be followed: it does not parse" in problem.what
    assert problem.remedy == f"To go on with the files as they are now: rm {path}/.journal"


def test_keys_that_others_can_read(filled: State, path: Path) -> None:
    folder = filled.directory.keys / "wolf-i"
    with filled.directory.created() as directory, directory.created_folder("keys"):
        folder.mkdir(mode=0o700)
    for name, mode in (("id_ed25519", 0o644), ("id_ed25519.pub", 0o644)):
        folder.joinpath(name).touch()
        folder.joinpath(name).chmod(mode)
    assert told(inspect(filled.directory)) == [
        ("id_ed25519", "is open to other users (mode 0644)", f"chmod 600 {folder}/id_ed25519")
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another(filled: State, path: Path) -> None:
    os.chown(path / "secrets.json", 12345, -1)
    found = inspect(filled.directory)
    assert told(found) == [("secrets.json", "belongs to 12345, not to root", f"chown root {path}/secrets.json")]


def test_what_is_no_file_is_not_opened(filled: State, path: Path) -> None:
    path.joinpath("providers.json").unlink()
    os.mkfifo(path / "providers.json", 0o600)
    assert told(inspect(filled.directory)) == [
        ("providers.json", "is not a regular file", f"mv {path}/providers.json {path}/providers.json.old")
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.dictionaries(
        st.sampled_from(
            [*(kind.FILENAME for kind in KINDS), ".journal", "known_hosts", ".lock", "generations/secrets.json.~1~"]
        ),
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    f'{{"schema_version": 1, "provider:p": {{"{SENTINEL}": {{"value": "{SENTINEL}"}}}}}}'.encode(),
                    f'{{"schema_version": 1, "{SENTINEL}": "{SENTINEL}"}}'.encode(),
                    f'{{"schema_version": 1, "encryption": "{SENTINEL}"}}'.encode(),
                    f'"{SENTINEL}'.encode(),
                ]
            ),
        ),
        max_size=4,
    )
)
def test_any_damage_is_told_and_no_secret_is(filled: State, path: Path, damage: dict[str, bytes]) -> None:
    kept = {name: path.joinpath(name).read_bytes() for name in damage if path.joinpath(name).exists()}
    for name, content in damage.items():
        path.joinpath(name).write_bytes(content)
        path.joinpath(name).chmod(0o600)
    try:
        shown = said(inspect(filled.directory))
    finally:
        for name in damage:
            path.joinpath(name).unlink()
        for name, content in kept.items():
            path.joinpath(name).write_bytes(content)
            path.joinpath(name).chmod(0o600)
    assert API_KEY not in shown and "sk-first" not in shown
    # A name of a file's own, like a provider's, is shown; what only secrets.json and journals hold is not.
    if not {"hosts.json", "providers.json", "integrations.json"} & damage.keys():
        assert SENTINEL not in shown


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:45 / /home rw - nfs4 filer:/export/home rw
31 30 0:46 / /home/me/local\\040disk rw - ext4 /dev/sdb rw
32 22 0:47 / /mnt rw - fuse.sshfs me@h:/ rw
33 22 0:48 / /mnt rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/.config", "nfs4 (filer:/export/home)"),
        ("/home/me/local disk/x", None),
        ("/homes", None),
        ("/mnt/x", None),
        ("/", None),
    ],
)
def test_a_network_mount(tmp_path: Path, path: str, expected: str | None) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_mount(Path(path), mounts) == expected
    assert network_mount(Path(path), tmp_path / "none") is None


def test_encrypted_secrets_are_looked_into_only_with_a_key_at_hand(filled: State, path: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    conversion.encrypt(filled, with_key_file(key))
    with filled.transaction() as tx:
        tx.secrets.set("provider:old", "API_KEY", Secret(SENTINEL))
    forget()
    found = inspect(filled.directory)
    assert [f.state for f in found.files] == ["whole", "whole", "whole", "encrypted"]
    assert [what for _, what, _ in told(found)] == ["there are secrets under provider:old, and no such provider"]
    forget()
    key.rename(tmp_path / "away")
    found = inspect(filled.directory)
    assert not found.problems
    [note] = found.notes
    assert f"is encrypted with the key file {key} and was not looked into" in note.what
    forget()
    content = path.joinpath("secrets.json").read_bytes()
    path.joinpath("secrets.json").write_bytes(content.replace(b"A", b"B", 1))
    [problem] = inspect(filled.directory).problems
    assert problem.remedy == "clm state restore secrets.json"
