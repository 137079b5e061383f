"""Tunnels as a person has them: a terminal each, where they are entered, and curl at the other end."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.lab.clm import Terminal


def ssh_of(terminal: Terminal) -> int:
    """The ssh that a command at a terminal has started."""
    (found,) = all_ssh_of(terminal)
    return found


def all_ssh_of(terminal: Terminal) -> list[int]:
    """The same of a command that has several."""
    found = subprocess.run(["pgrep", "-P", str(terminal.pid), "-x", "ssh"], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split()]


def entrance(tunnel: Terminal) -> tuple[int, Path]:
    """Where a tunnel says that it is entered, once it is up."""
    said = tunnel.expect("  up")
    return int(re.findall(r"http://127.0.0.1:(\d+)/v1\n", said)[0]), Path(re.findall(r"socket  (\S+)", said)[0])


def asking(*arguments: str, port: int = 80) -> list[str]:
    """The curl that asks for the models, with the header from its standard input as the tunnel suggests."""
    return ["curl", "-sS", "-H", "@-", *arguments, f"http://127.0.0.1:{port}/v1/models"]


def models(key: str, *arguments: str, port: int = 80) -> str:
    """What it gets."""
    header = f"Authorization: Bearer {key}"
    command = asking(*arguments, port=port)
    return subprocess.run(command, input=header, capture_output=True, text=True, timeout=90, check=True).stdout
