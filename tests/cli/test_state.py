"""`clm state`, `clm integration` and `clm provider remove` at a prompt and in a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state.known_hosts import HostKey, KnownHosts
from pyinfra_hermes.cli.state.records import STAGES, Agent, Host, Integration, Provider, StageResult
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clawrium"


@pytest.fixture
def state(path: Path) -> State:
    """Two agents with a provider and an integration that both use; everything is in order."""
    state = State.open(path)
    with state.transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        tx.providers["cloud"] = Provider(name="cloud", type="ollama", options={"url": "http://x", "model": "m"})
        tx.integrations["jira"] = Integration(name="jira", type="atlassian", options={"url": "https://a.example"})
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sentinel-provider"))
        tx.secrets.set("integration:jira", "TOKEN", Secret("sentinel-integration"))
        for number, name in enumerate(("maurice", "edith")):
            tx.hosts["wolf-i"].agents[name] = Agent(
                name=name,
                release="v2026.5.7",
                port=8642 + number,
                provider="cloud",
                model="other",
                integrations=("first", "jira"),
                status="installed",
                onboarding={stage: StageResult(status="done") for stage in STAGES},
            )
            tx.secrets.set(f"wolf-i:hermes:{name}", "HERMES_API_SERVER_KEY", Secret("ab" * 32))
        tx.integrations["first"] = Integration(name="first", type="mcp")
    with state.transaction() as tx:
        tx.hosts["wolf-i"].tags = ("a",)
    KnownHosts(state.directory).add("192.0.2.7", 22, [HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519" + b"k")])
    return state


@pytest.fixture
def clm(path: Path) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "pyinfra_hermes.cli", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "XDG_CONFIG_HOME": str(path.parent)},
            timeout=240,
        )
        assert "sentinel" not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    return run


def test_check_of_nothing_and_of_what_is_in_order(clm: Run, path: Path) -> None:
    nothing = clm("state", "check")
    assert nothing.returncode == 0
    assert "nothing is on record yet" in nothing.stdout
    assert not path.exists()


def test_check_exits_with_0_when_clean(state: State, clm: Run) -> None:
    result = clm("state", "check")
    assert (result.returncode, "Nothing to mend." in result.stdout) == (0, True), result.stdout
    data = json.loads(clm("state", "check", "-o", "json").stdout)
    assert (data["clean"], data["problems"], data["notes"]) == (True, [], [])
    assert data["files"]["hosts.json"] == {
        "state": "whole",
        "holds": "1 host, 2 agents",
        "generations": [1],
        "whole_generations": [1],
    }


def test_check_tells_what_hosts_need(state: State, clm: Run, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o644)
    key.chmod(0o644)
    with state.transaction() as tx:
        tx.hosts["wolf-i"].identity_file = str(key)
        tx.hosts["new"] = Host(name="new", address="192.0.2.8", user="root", identity_file="/nowhere/key")
    result = clm("state", "check", "-o", "json")
    assert result.returncode == 1
    problems = [(p["where"], p["what"], p["remedy"]) for p in json.loads(result.stdout)["problems"]]
    assert problems == [
        (
            "host wolf-i",
            f"its key {key} is open to other users (mode 0644), and ssh refuses such a key",
            f"chmod 600 {key}",
        ),
        ("host new", "its key /nowhere/key is not there", "clm host edit new --identity-file FILE"),
        (
            "host new",
            "no key of 192.0.2.8 port 22 is trusted, so no command can connect to it",
            "clm host trust new",
        ),
    ]


def test_a_damaged_file_from_the_error_to_its_repair(state: State, clm: Run, path: Path) -> None:
    path.joinpath("hosts.json").write_text("{")
    refused = clm("ps")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].strip() == "clm state restore hosts.json"
    checked = clm("state", "check")
    assert checked.returncode == 1
    assert "hosts.json         DAMAGED; earlier versions: 1" in checked.stdout
    unasked = clm("state", "restore", "hosts.json")
    assert unasked.returncode == 2
    assert "Give it with --yes" in unasked.stderr
    assert path.joinpath("hosts.json").read_text() == "{"
    restored = clm("state", "restore", "hosts.json", "--yes")
    assert restored.returncode == 0
    assert "hosts.json restored from 1, of 2" in restored.stdout
    [aside] = path.glob("hosts.json.damaged-*")
    assert f"rm {aside}" in restored.stdout
    assert clm("state", "check").returncode == 0


def test_a_restore_that_would_break_references_is_refused(state: State, clm: Run, path: Path) -> None:
    with state.transaction() as tx:
        tx.providers["new"] = Provider(name="new", type="ollama")
        tx.agent("edith").agent.provider = "new"
    path.joinpath("providers.json").write_text("{")
    refused = clm("state", "restore", "--yes")
    assert refused.returncode == 3
    assert "- hosts.json: agent wolf-i:hermes:edith uses provider new, which is not on record" in refused.stderr
    assert "clm state restore providers.json --generation 1 --force" in refused.stderr
    assert path.joinpath("providers.json").read_text() == "{"
    assert clm("state", "restore", "providers.json", "-g", "1", "--force", "-y").returncode == 0
    assert list(state.read().providers) == ["cloud"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 0, "is whole; there is nothing to restore"),
        (["hosts"], 0, "clm state restore hosts.json --generation N"),
        (["known_hosts"], 2, "is no state file"),
        (["hosts", "-g", "9"], 2, "There is no earlier version 9 of"),
        (["-g", "1"], 2, "Say which: clm state restore hosts.json --generation 1"),
        (["hosts", "-g", "0"], 2, "0 is not in the range"),
    ],
)
def test_restore_with_nothing_damaged(
    state: State, clm: Run, path: Path, arguments: list[str], code: int, says: str
) -> None:
    before = path.joinpath("hosts.json").read_bytes()
    result = clm("state", "restore", *arguments, "--yes")
    assert (result.returncode, says in result.stdout + result.stderr) == (code, True), result.stdout + result.stderr
    assert path.joinpath("hosts.json").read_bytes() == before


def test_a_file_of_a_later_version_is_not_taken_for_damaged(state: State, clm: Run, path: Path) -> None:
    path.joinpath("hosts.json").write_text('{"schema_version": 9}')
    result = clm("state", "restore", "--yes")
    assert result.returncode == 3
    assert "pip install --upgrade pyinfra-hermes" in result.stderr
    assert clm("state", "restore", "hosts", "--generation", "1", "--yes").returncode == 0


def test_restore_without_a_directory(clm: Run) -> None:
    result = clm("state", "restore")
    assert result.returncode == 2
    assert "nothing to restore" in result.stderr


def test_integrations_are_listed_and_shown_without_secrets(state: State, clm: Run) -> None:
    listed = json.loads(clm("integration", "list", "-o", "json").stdout)
    assert [(row["name"], row["secrets"]) for row in listed] == [("jira", ["TOKEN"]), ("first", [])]
    assert listed[0]["used_by"] == ["wolf-i:hermes:maurice", "wolf-i:hermes:edith"]
    assert "TOKEN" in clm("integration", "list").stdout
    shown = clm("integration", "show", "jira")
    assert "https://a.example" in shown.stdout
    unknown = clm("integration", "show", "jirra")
    assert (unknown.returncode, "did you mean jira?" in unknown.stderr) == (2, True)


def test_an_integration_in_use_is_removed_by_force_only(state: State, clm: Run, path: Path) -> None:
    before = {name: path.joinpath(name).read_bytes() for name in ("hosts.json", "integrations.json", "secrets.json")}
    for arguments, code, says in (
        ((), 3, "Integration 'jira' is used by wolf-i:hermes:maurice, wolf-i:hermes:edith"),
        (("--force",), 2, "Give it with --yes"),
    ):
        result = clm("integration", "remove", "jira", *arguments)
        assert (result.returncode, says in result.stderr) == (code, True), result.stderr
        assert {name: path.joinpath(name).read_bytes() for name in before} == before
    done = clm("integration", "remove", "jira", "--force", "--yes")
    assert done.returncode == 0
    assert "Detached from: wolf-i:hermes:maurice, wolf-i:hermes:edith" in done.stdout
    snapshot = state.read()
    assert list(snapshot.integrations) == ["first"]
    assert [instance.agent.integrations for instance in snapshot.instances()] == [("first",)] * 2
    assert not snapshot.secrets.names("integration:jira")
    assert clm("integration", "remove", "jira").returncode == 2
    assert clm("state", "check").returncode == 0


def test_a_provider_in_use_is_removed_by_force_only(state: State, clm: Run) -> None:
    refused = clm("provider", "remove", "cloud")
    assert (refused.returncode, "is used by wolf-i:hermes:maurice" in refused.stderr) == (3, True)
    assert clm("provider", "remove", "cloud", "--force").returncode == 2
    done = clm("provider", "remove", "cloud", "--force", "--yes")
    assert done.returncode == 0
    assert "- wolf-i:hermes:maurice: onboarding is at providers" in done.stdout
    assert "clm agent configure wolf-i/edith --provider OTHER" in done.stdout
    snapshot = state.read()
    assert dict(snapshot.providers) == {}
    assert not snapshot.secrets.names("provider:cloud")
    for _, agent in snapshot.instances():
        assert (agent.provider, agent.model, agent.onboarding_state) == (None, None, "providers")
        assert "validate" not in agent.onboarding
    started = clm("agent", "start", "maurice")
    assert (started.returncode, "onboarding incomplete (state=providers)" in started.stderr) == (3, True)


@pytest.mark.parametrize("kind", ["provider", "integration"])
def test_what_is_left_of_one_that_is_gone_is_removed_by_force(state: State, clm: Run, kind: str) -> None:
    name = "cloud" if kind == "provider" else "jira"
    with state.transaction() as tx:
        (tx.providers if kind == "provider" else tx.integrations).pop(name)
    assert clm("state", "check").returncode == 1
    assert clm(kind, "remove", name).returncode == 2
    assert clm(kind, "remove", name, "--force", "--yes").returncode == 0
    assert clm("state", "check").returncode == 0
    assert clm(kind, "remove", name, "--force", "--yes").returncode == 2


def test_one_that_nobody_uses_goes_without_a_question(state: State, clm: Run) -> None:
    with state.transaction() as tx:
        for _, agent in tx.instances():
            agent.provider, agent.integrations = None, ()
    for kind, name in (("provider", "cloud"), ("integration", "jira")):
        assert clm(kind, "remove", name).returncode == 0
    assert [scope for scope in state.read().secrets.scopes if not scope.startswith("wolf-i:")] == []
