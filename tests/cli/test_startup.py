"""What `clm` imports before it is asked to do anything: a second is long at a prompt."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"pyinfra", "pyinfra_cli", "gevent", "paramiko"}
_PROBE = """
import json, sys
from pyinfra_hermes.cli.main import run
code = run(sys.argv[1:])
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": int(code), "modules": modules}), file=sys.stderr)
"""


def _imported(*arguments: str, **environment: str) -> tuple[int, set[str]]:
    result = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=240,
    )
    found = json.loads(result.stderr.splitlines()[-1])
    return found["code"], set(found["modules"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["agent", "--help"], 0),
        (["agent", "install", "--help"], 0),
        (["host", "add", "--help"], 0),
        (["provider", "add", "--help"], 0),
        (["integration", "list", "--help"], 0),
        (["state", "restore", "--help"], 0),
        (["chat", "--help"], 0),
        (["agent", "tunnel", "--help"], 0),
        (["agent", "exec", "--help"], 0),
        (["ps", "--help"], 0),
        (["secret", "--help"], 0),
        (["secret", "encrypt", "--help"], 0),
        (["agnet"], 2),
        (["agent", "install", "--nonsense"], 2),
        (["agent", "install"], 2),
        (["ps", "-o", "xml"], 2),
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str], code: int) -> None:
    found, modules = _imported(*arguments)
    assert found == code
    assert not modules & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["agnet"]])
def test_the_top_level_does_not_even_import_rich_or_pydantic(arguments: list[str]) -> None:
    _, modules = _imported(*arguments)
    assert not modules & {"rich", "pydantic", "yaml", "httpx", "jinja2", "cryptography"}


def test_completion_imports_nothing_heavy() -> None:
    program = (
        f"{_PROBE.split('code = run')[0]}\ntry:\n    run([])\n"
        "finally:\n    print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "_CLM_COMPLETE": "bash_complete", "COMP_WORDS": "clm agent inst", "COMP_CWORD": "2"},
        timeout=240,
    )
    assert result.stdout.split() == ["plain,install"]
    modules = {name.partition(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "arguments", [["host", "list"], ["provider", "list"], ["integration", "list"], ["state", "check"], ["ps"]]
)
def test_listings_of_an_empty_state_import_nothing_heavy(arguments: list[str], tmp_path: object) -> None:
    code, modules = _imported(*arguments, XDG_CONFIG_HOME=str(tmp_path))
    assert code == 0
    assert not modules & HEAVY
