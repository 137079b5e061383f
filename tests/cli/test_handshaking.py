"""What a host says of an MCP server: with the agent's rights, so it may say anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.cli.catalogues.handshaking import read
from pyinfra_hermes.cli.ssh import openssh

TOLD = {"server": "files", "version": "1", "tools": [{"name": "read", "description": "reads"}]}


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        (json.dumps(TOLD), TOLD),
        (f"something before\n{json.dumps(TOLD)}\n", TOLD),
        ("null", None),
        ('{"error": "it ended"}', {"error": "it ended"}),
        ("", {"error": "the host said nothing"}),
    ],
)
def test_what_was_said_is_read(printed: str, found: Any) -> None:
    assert read(printed) == found


@pytest.mark.parametrize("printed", ["no JSON", "5", "true", "[]", "{}", '"error"', '{"tools": 5}', "[" * 100_000,
                                     '{"server": 1, "version": 2, "tools": [{}]}'],
                         ids=lambda printed: printed[:20])  # fmt: skip
def test_what_an_agent_makes_up_is_an_error(printed: str) -> None:
    assert set(read(printed) or {}) == {"error"}


def test_what_is_no_utf_8_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\n[ \"$1\" != -G ] || exec printf 'hostname h\\nport 22\\nuser u\\n'\nprintf '\\377'\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    login = openssh.Login("wolf-i", "not-utf-8.invalid", 22, "u", None, tmp_path / "known_hosts")
    assert openssh.run_script(login, "") == "\ufffd"
