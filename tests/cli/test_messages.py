"""Bad input is answered before any connection: what is wrong, where, and the command that mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


class Clm:
    """Runs `clm` with a state directory of its own and no terminal."""

    def __init__(self, home: Path) -> None:
        self.state = home / "clawrium"
        # A connection would go through ssh: with none on PATH it could not happen unnoticed.
        tools = home / "bin"
        tools.mkdir()
        (tools / "ssh").write_text("#!/bin/sh\necho connected >>" + str(home / "connections") + "\nexit 255\n")
        (tools / "ssh").chmod(0o755)
        self.connections = home / "connections"
        self._environment = {**os.environ, "XDG_CONFIG_HOME": str(home), "PATH": f"{tools}:{os.environ['PATH']}"}

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pyinfra_hermes.cli", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=self._environment, timeout=240)

    def write(self, name: str, document: object) -> None:
        self.state.mkdir(mode=0o700, exist_ok=True)
        path = self.state / name
        path.write_text(json.dumps(document))
        path.chmod(0o600)


@pytest.fixture
def clm(tmp_path: Path) -> Clm:
    made = Clm(tmp_path)
    moment = "2026-05-07T12:00:00Z"
    host = {"name": "wolf-i", "address": "192.0.2.10", "user": "root", "added_at": moment}
    agent = {"name": "maurice", "release": "v2026.5.7", "port": 8642, "status": "installed"}
    made.write("hosts.json", {"schema_version": 1, "hosts": {"wolf-i": {**host, "agents": {"maurice": agent}}}})
    secret = {"value": "ab" * 32, "created_at": moment, "updated_at": moment, "description": ""}
    made.write("secrets.json", {"schema_version": 1, "wolf-i:hermes:maurice": {"HERMES_API_SERVER_KEY": secret}})
    return made


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["agent", "install", "--host", "wolf-i", "--name", "root"], 2, "reserved Unix account"),
        (["agent", "install", "--host", "wolf-i", "--name", "Abc"], 2, "must start with a lowercase letter"),
        (["agent", "install", "--host", "wolf-i", "--name", "a\n"], 2, "must start with a lowercase letter"),
        (["agent", "install", "--host", "wolf-i", "--name", "-x"], 2, "must start with a lowercase letter"),
        (["agent", "install", "--host", "wolf-i", "--name", "a" * 33], 2, "32 characters or less (got 33)"),
        (["agent", "install", "--host", "wolf-i", "--name", "../x"], 2, "must start with a lowercase letter"),
        (["agent", "install", "--host", "wolf-ii", "--name", "x"], 2, "did you mean wolf-i?"),
        (["agent", "install", "--host", "wolf-i", "--name", "x", "--release", "v1.2.3"], 2, "not in the manifest"),
        (["agent", "install", "--host", "wolf-i", "--name", "x", "--port", "80"], 2, "not between 1024 and 65535"),
        (["agent", "install", "--type", "openclaw", "--host", "wolf-i", "--name", "x"], 2, "'openclaw' is not"),
        (["agent", "configure", "maurcie"], 2, "did you mean maurice?"),
        (["agent", "configure", "maurice"], 3, "clm provider add"),
        (["agent", "configure", "maurice", "--provider", "nope"], 2, "There is no provider 'nope'"),
        (["agent", "remove", "maurice"], 2, "Give it with --yes"),
        (["host", "remove", "wolf-i"], 3, "has agents on record: maurice"),
        (["host", "add", "bad name", "--address", "192.0.2.11"], 2, "must start with a letter or digit"),
        (["host", "add", "x", "--address", "300.1.1.1"], 2, "not a valid IPv4 address"),
        (["host", "add", "x", "--address", "192.0.2.11", "--port", "0"], 2, "not between 1 and 65535"),
        (["host", "add", "x", "--address", "192.0.2.11", "--user", "-oProxyCommand=id"], 2, "not a login name"),
        (["provider", "add", "p", "--type", "ollama", "--url", "ftp://x", "--model", "m"], 2, "must start with http"),
        (["provider", "add", "p", "--type", "ollama", "--url", "http://u:pw@x", "--model", "m"], 2, "as a secret"),
        (["provider", "add", "p", "--type", "ollama", "--model", "m"], 2, "Give it with --url"),
        (["provider", "add", "p", "--type", "ollama", "--url", "http://x", "--model", "a b"], 2, "Model 'a b'"),
        (["provider", "remove", "p"], 2, "There is no provider 'p'"),
        (["chat", "maurice"], 2, "--once TEXT"),
        (["chat", "maurice", "--once", " "], 2, "The question is empty"),
    ],
)
def test_bad_input_ends_before_a_connection(clm: Clm, arguments: list[str], code: int, says: str) -> None:
    before = {path: path.read_bytes() for path in clm.state.glob("*.json")}
    result = clm(*arguments)
    assert (result.returncode, says in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr
    assert not clm.connections.exists()
    assert {path: path.read_bytes() for path in clm.state.glob("*.json")} == before


def test_start_is_refused_until_onboarding_is_ready(clm: Clm) -> None:
    result = clm("agent", "start", "maurice")
    assert result.returncode == 3
    assert (
        "Cannot start wolf-i:hermes:maurice: onboarding incomplete (state=pending). "
        "Run 'clm agent configure maurice' first." in result.stderr
    )
    assert not clm.connections.exists()


@pytest.mark.parametrize("command", ["start", "restart"])
def test_an_api_key_edited_by_hand_is_an_error_that_does_not_show_it(clm: Clm, command: str) -> None:
    moment = "2026-05-07T12:00:00Z"
    secret = {"value": "sentinel-edited", "created_at": moment, "updated_at": moment, "description": ""}
    clm.write("secrets.json", {"schema_version": 1, "wolf-i:hermes:maurice": {"HERMES_API_SERVER_KEY": secret}})
    result = clm("agent", command, "maurice")
    assert result.returncode == 3
    assert "is not 64 lowercase hexadecimal digits" in result.stderr
    assert "sentinel" not in result.stderr + result.stdout


def test_a_provider_key_comes_from_standard_input_and_is_never_shown(clm: Clm) -> None:
    arguments = ["provider", "add", "p", "--type", "custom", "--url", "http://192.0.2.20", "--model", "m"]
    result = clm(*arguments, "--api-key-stdin", stdin="sentinel-key\n")
    assert result.returncode == 0
    listed = clm("provider", "list", "-o", "json")
    assert "sentinel" not in result.stdout + result.stderr + listed.stdout + listed.stderr
    assert json.loads(listed.stdout)[0]["secrets"] == ["API_KEY"]
    secrets = json.loads((clm.state / "secrets.json").read_text())
    assert secrets["provider:p"]["API_KEY"]["value"] == "sentinel-key"
    assert "sentinel" not in (clm.state / "providers.json").read_text()


def test_a_key_that_the_daemon_would_read_differently_is_refused(clm: Clm) -> None:
    arguments = ["provider", "add", "p", "--type", "custom", "--url", "http://192.0.2.20", "--model", "m"]
    result = clm(*arguments, "--api-key-stdin", stdin="sentinel\N{GREEK SMALL LETTER ALPHA}")
    assert result.returncode == 2
    assert "U+03B1" in result.stderr
    assert "sentinel" not in result.stderr
    assert not (clm.state / "providers.json").exists()


def test_the_key_is_where_users_scripts_look_for_it(clm: Clm) -> None:
    secrets = json.loads((clm.state / "secrets.json").read_text())
    assert secrets["wolf-i:hermes:maurice"]["HERMES_API_SERVER_KEY"]["value"] == "ab" * 32


def test_one_error_names_what_is_wrong_with_the_state_and_nothing_is_overwritten(clm: Clm) -> None:
    path = clm.state / "hosts.json"
    path.write_text("{")
    result = clm("ps")
    assert result.returncode == 1
    assert str(path) in result.stderr
    assert path.read_text() == "{"


def test_a_state_directory_open_to_others_is_refused_with_the_chmod(clm: Clm) -> None:
    clm.state.chmod(0o755)
    result = clm("ps")
    assert result.returncode == 1
    assert f"chmod 700 {clm.state}" in result.stderr
