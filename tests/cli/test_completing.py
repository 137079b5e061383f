"""What a shell offers after Tab, and what `clm` alone says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pyinfra_hermes.cli.completing import source_of
from pyinfra_hermes.cli.main import cli, run
from pyinfra_hermes.cli.state.records import STAGES, Agent, Host, Provider, StageResult
from pyinfra_hermes.cli.state.store import State

HOSTS = {
    "schema_version": 2,
    "hosts": {
        "wolf-i": {"agents": {"maurice": {}, "luna": {}}},
        "wolf-ii": {"agents": {"luna": {}}},
        "$(touch /tmp/never)": {"agents": {"; reboot": {}}},
    },
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "clawrium"
    folder.mkdir(mode=0o700)
    (folder / "hosts.json").write_text(json.dumps(HOSTS))
    (folder / "providers.json").write_text(json.dumps({"providers": {"local": {}, "work": {}}}))
    return folder


def offered(line: str, shell: str = "bash") -> list[str]:
    words = line.split(" ")
    result = subprocess.run(
        [sys.executable, "-m", "pyinfra_hermes.cli"],
        env={
            **os.environ,
            "_CLM_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words[-1] if shell == "fish" else line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not result.stderr
    return [row.partition(",")[2] for row in result.stdout.splitlines() if row]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("clm agent start ma", ["maurice"]),
        ("clm agent start lu", []),
        ("clm agent start wolf-i/", ["wolf-i/luna"]),
        ("clm host show wolf", ["wolf-i", "wolf-ii"]),
        ("clm host add wolf", []),
        ("clm agent configure maurice --provider w", ["work"]),
        ("clm agent move maurice --to wolf-ii", ["wolf-ii"]),
        ("clm agent install --release v2026.7.2", ["v2026.7.20"]),
        ("clm secret get wolf-i:hermes:m", ["wolf-i:hermes:maurice"]),
        ("clm provider show l", ["local"]),
        ("clm prov", ["provider"]),
    ],
)
def test_names_on_record_are_offered(kept: Path, line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_a_name_that_was_put_into_the_file_by_hand_is_not(kept: Path) -> None:
    assert offered("clm host show ") == ["wolf-i", "wolf-ii"]
    assert offered("clm agent start ") == ["maurice", "wolf-i/luna", "wolf-ii/luna"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"hosts": 7}', b"\xff", b"[" * 100000])
def test_a_damaged_file_offers_nothing_and_says_nothing(kept: Path, content: bytes) -> None:
    (kept / "hosts.json").write_bytes(content)
    assert offered("clm host show ") == []


def test_every_name_that_a_command_takes_has_a_source() -> None:
    """A new command under `clm agent` completes agents without being told; this notices when one does not."""
    without = set()

    def visit(command: click.Command, path: list[str]) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                visit(found, [*path, name])
            return
        first = next((p for p in command.params if isinstance(p, click.Argument)), None)
        if first is not None and path[0] == "agent" and source_of(path, first.name or "") is None:
            without.add((" ".join(path), first.name))

    visit(cli, [])
    assert without == {("agent channel types", "channel_"), ("agent memory-backend types", "type_")}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_shells_own(shell: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["completion", shell]) == 0
    script = capfd.readouterr().out
    assert "_CLM_COMPLETE" in script
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(script)
        assert subprocess.run([shell, "-n", str(file)], timeout=60).returncode == 0


def test_bash_completes_for_real(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "clm").write_text(f'#!/bin/sh\nexec {sys.executable} -m pyinfra_hermes.cli "$@"\n')
    (tmp_path / "clm").chmod(0o755)
    script = (
        f"PATH={tmp_path}:$PATH; source <(clm completion bash); COMP_WORDS=(clm provider show lo); COMP_CWORD=3; "
        '_clm_completion clm; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["local"]


def test_clm_alone_says_what_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run([]) == 0
    said = capsys.readouterr().out
    assert "no hosts, no agents, no providers" in said
    assert "clm host add" in said
    # Looking makes nothing.
    assert not list(tmp_path.iterdir())


def test_clm_alone_names_the_command_that_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    state = State.open()

    def said() -> str:
        assert run([]) == 0
        return capsys.readouterr().out

    with state.transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.1", user="root")
    assert "clm provider add" in said()
    with state.transaction() as tx:
        tx.providers["local"] = Provider(
            name="local", type="ollama", options={"url": "http://192.0.2.2:1", "model": "m"}
        )
    assert "clm agent install --type hermes --host wolf-i" in said()
    agent = Agent(name="maurice", release="v2026.5.7", port=8642, status="installing")
    with state.transaction() as tx:
        tx.hosts["wolf-i"].agents["maurice"] = agent
    assert "maurice is not installed: clm agent install --type hermes --host wolf-i --name maurice" in said()
    with state.transaction() as tx:
        tx.hosts["wolf-i"].agents["maurice"].status = "installed"
    assert "maurice is not ready: clm agent configure wolf-i/maurice" in said()
    with state.transaction() as tx:
        for stage in STAGES:
            tx.hosts["wolf-i"].agents["maurice"].onboarding[stage] = StageResult(status="done")
    assert "clm chat wolf-i/maurice" in said()
    assert "1 host, 1 agent, 1 provider, no integrations" in said()
