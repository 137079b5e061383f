"""What the user's own ssh configuration says of hosts."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..problems import Problem


@dataclass(frozen=True)
class Defaults:
    """What the user's own ssh configuration says of a name."""

    address: str
    port: int
    user: str
    #: Jump hosts, the first one first.
    jumps: tuple[str, ...]
    host_key_alias: str | None
    #: The lists of host keys that the user's own ssh reads for it.
    known_hosts: tuple[Path, ...]
    #: Everything else, which tells whether another name means the same way to a host.
    rest: Mapping[str, Sequence[str]]


@cache
def configured(name: str) -> Defaults:
    """Ask the user's ssh configuration about a host, without connecting."""
    result = subprocess.run(["ssh", "-G", "--", name], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Problem(f"ssh -G {name} failed: {result.stderr.strip()}", "apt-get install openssh-client")
    values: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        option, space, value = line.partition(" ")
        if space:
            values.setdefault(option, []).append(value)
    jump = values.get("proxyjump", ["none"])[0]
    lists = " ".join(values.get("userknownhostsfile", []) + values.get("globalknownhostsfile", [])).split()
    return Defaults(
        address=values["hostname"][0],
        port=int(values["port"][0]),
        user=values["user"][0],
        jumps=() if jump == "none" else tuple(jump.split(",")),
        host_key_alias=values.get("hostkeyalias", [None])[0],
        known_hosts=tuple(Path(path).expanduser() for path in lists if "%" not in path and path != "none"),
        rest={option: value for option, value in values.items() if option not in _SAID_OTHERWISE},
    )


_SAID_OTHERWISE = frozenset(["host", "originalhost", "hostname", "port", "user"])


def users_file() -> Path:
    """Return where ssh(1) has this user's configuration: it does not go by $HOME. Raises KeyError for no such user."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir, ".ssh", "config")


#: Where OpenSSH is as Linux distributions build it, and what it reads there.
_PROGRAM = Path("/usr/bin/ssh")
_SYSTEM = Path("/etc/ssh")


@cache
def plain_everywhere() -> bool:
    """
    Tell whether no file of ssh's configuration has a word of jump hosts or aliases: then no host needs to be asked for.

    False as well where that cannot be told by a glance at the files.
    """
    if (found := shutil.which("ssh")) is None or Path(found).resolve() != _PROGRAM:
        return False
    try:
        if not (_SYSTEM / "ssh_config").exists():
            # It may have what comes with it elsewhere, below /usr for one.
            return False
        for file in (users_file(), _SYSTEM / "ssh_config", *_SYSTEM.glob("ssh_config.d/*.conf")):
            if not file.exists():
                continue
            text = file.read_text(encoding="utf-8", errors="replace").lower()
            text = re.sub(rf"^include {_SYSTEM}/ssh_config\.d/\*\.conf$", "", text, flags=re.MULTILINE)
            if re.search("include|proxyjump|hostkeyalias", text):
                return False
    except (OSError, KeyError):
        return False
    return True
