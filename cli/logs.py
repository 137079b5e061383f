"""An agent's journal, read over OpenSSH."""

from __future__ import annotations

import shlex
import subprocess
import sys

from pyinfra_hermes.facts.script import journal_functions

from .hosts import login_of
from .output import plain
from .ssh.openssh import explain
from .state.store import State


def show(reference: str, *, lines: int, follow: bool, since: str | None) -> int:
    """Print an agent's journal and return the exit code. Raises ``Problem`` when the host cannot be asked."""
    state = State.open()
    instance = state.read().agent(reference)
    login = login_of(state, instance.host)
    options = [
        "--output=short-iso",
        *(["--follow"] if follow else []),
        *(["--since", since] if since else []),
    ]
    script = f"{journal_functions()}journal {shlex.join([instance.agent.name, str(lines), *options])}\n"
    process = subprocess.Popen(
        login.command(login.as_root()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        process.stdin.write(script)
        process.stdin.close()
        for line in process.stdout:
            sys.stdout.write(plain(line))
            if follow:
                sys.stdout.flush()
        status = process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        process.kill()
    if status != 0:
        raise explain(login, status, process.stderr.read())
    return 0
