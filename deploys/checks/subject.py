"""An agent on a host that pytest-testinfra reaches: what the checks ask of it, and how they say what is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NoReturn

import pytest
from typing_extensions import override

from pyinfra_hermes.deploys.model.layout import ACCOUNT_COMMENT, SYSTEMD, UNIT_HEADER, Layout, release_directory

from .wanted import Wanted, tag_of

Key = Literal["none", "wrong", "own"]

# Names of the agents that are on a host: those of our accounts, and those of our units.
_DISCOVER = f"""
{{
    getent passwd | awk -F: -v c='{ACCOUNT_COMMENT}' '$5 == c || index($5, c ",") == 1 {{print $1}}'
    for unit in {SYSTEMD}/hermes-*.service; do
        [ -f "$unit" ] && [ "$(head -n 1 "$unit")" = '{UNIT_HEADER}' ] || continue
        unit=${{unit##*/hermes-}}
        printf '%s\\n' "${{unit%.service}}"
    done
}} | sort -u
"""


class NoAnswer(Exception):
    """A host could not be asked; the text says why."""


def discovered(host: Any) -> list[str]:
    """Return the names of all agents of ours on a host. Raises :class:`NoAnswer`."""
    return str(_asked(host, "sh -c %s", f"[ $(id -u) = 0 ] || exit 77\n{_DISCOVER}").stdout).split()


def _asked(host: Any, command: str, *arguments: str) -> Any:
    name = host.backend.get_pytest_id()
    try:
        result = host.run(command, *arguments)
    except RuntimeError as error:
        # The ssh backend raises its result, which holds the whole command.
        said = getattr(error.args[0], "stderr", None) if error.args else None
        raise NoAnswer(f"{name}: {(said or str(error)).strip().splitlines()[-1]}") from None
    if result.rc == 77:
        raise NoAnswer(f"{name}: the checks need root: log in as root, or give --sudo")
    if result.rc != 0 and not result.stdout:
        raise NoAnswer(f"{name}: {(result.stderr.strip().splitlines() or ['it did not say why'])[-1]}")
    return result


class Subject:
    """One agent on its host, under test."""

    def __init__(self, host: Any, wanted: Wanted) -> None:
        """Take a host of testinfra, and what is wanted of the agent there."""
        self.host = host
        self.wanted = wanted
        self.name = wanted.name
        self.paths = Layout(wanted.name)

    @property
    def id(self) -> str:
        """How pytest names it."""
        return f"{self.name}@{self.host.backend.get_hostname()}"

    @override
    def __repr__(self) -> str:
        return f"<agent {self.id}>"

    def sh(self, script: str, *arguments: str) -> list[str]:
        """Run a shell script as root on the host and return the lines that it printed."""
        result = self.host.run("sh -c %s sh" + " %s" * len(arguments), script, *arguments)
        # An agent has a hand in some of it: it may be no UTF-8, and lines may end where only Python ends them.
        text = result.stdout_bytes.decode(errors="replace").removesuffix("\n")
        return str(text).split("\n") if text else []

    def wrong(self, what: str, remedy: str) -> NoReturn:
        """Fail the check, with what is wrong and what mends it."""
        pytest.fail(f"{self.name}: {what}\n  {remedy}", pytrace=False)

    def applies(self, running: bool, why: str) -> None:
        """Leave a check out for an agent that is installed only."""
        if running and not self.wanted.running:
            pytest.skip(why)

    @property
    def configure(self) -> str:
        """What puts nearly everything right."""
        return f"Bring it back: clm agent configure {self.name}, or your own deploy"

    def unit(self) -> Mapping[str, str]:
        """What systemd says of the unit now."""
        lines = self.sh(
            'systemctl show "$1" -p ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus,MainPID '
            "-p InvocationID,NeedDaemonReload,FragmentPath,DropInPaths,LoadState",
            self.paths.service,
        )
        return dict(line.split("=", 1) for line in lines if "=" in line)

    @cached_property
    def first_look(self) -> tuple[float, Mapping[str, str]]:
        """The unit as the checks saw it first, and when that was."""
        return time.monotonic(), self.unit()

    @cached_property
    def marks(self) -> Mapping[str, str]:
        """What we wrote into the unit's head: ``release`` and ``hardening``."""
        [*line] = self.sh('sed -n 2p "$1"', self.paths.unit)
        words = line[0].removeprefix("# ").split(", ") if line else []
        return dict(word.split(" ", 1) for word in words if " " in word)

    @property
    def release_id(self) -> str:
        """Name of the release's folder; empty when the unit does not say."""
        return self.marks.get("release", "")

    @property
    def release_directory(self) -> str:
        """Where the release lies."""
        return release_directory(self.name, self.release_id)

    @property
    def release_tag(self) -> str:
        """Upstream's tag of the release that is wanted."""
        return self.wanted.release or tag_of(self.release_id)

    @cached_property
    def port(self) -> int:
        """The port that its API is to listen on; 0 when nothing says so."""
        if self.wanted.port is not None:
            return self.wanted.port
        lines = self.sh(r"""sed -n 's/^API_SERVER_PORT=\([0-9]\{1,5\}\)$/\1/p' "$1" | tail -n 1""", self.paths.env)
        return int(lines[0]) if lines else 0

    @cached_property
    def listeners(self) -> tuple[tuple[str, int, bool], ...]:
        """Where processes of its account, or of its unit, listen: address, port, and whether the unit's own do."""
        script = """
            uid=$(id -u "$1") || exit 0
            # Processes choose their names, which stand there, too: behind the last one is none of it.
            ss -Hltnp | sed -n 's/^LISTEN *[0-9]* *[0-9]* *\\([^ "]*\\) .*,pid=\\([0-9]*\\),fd=[0-9]*)) *$/\\1 \\2/p' |
            while read -r at pid; do
                own=no
                grep -qs "/$2\\(/\\|$\\)" "/proc/$pid/cgroup" && own=yes
                [ "$own" = yes ] || [ "$(stat -c %u "/proc/$pid" 2>/dev/null)" = "$uid" ] || continue
                printf '%s %s\\n' "$at" "$own"
            done | sort -u
        """
        found = []
        for line in self.sh(script, self.name, self.paths.service):
            at, own = line.rsplit(" ", 1)
            address, port = at.rsplit(":", 1)
            found.append((address.strip("[]").partition("%")[0], int(port), own == "yes"))
        return tuple(found)

    def http(self, path: str, key: Key) -> int:
        """Return the status that its API answers with, 0 for none. The key does not leave the host."""
        script = r"""
            port=$1 path=$2 key=
            case $3 in
                own) key=$(sed -n 's/^API_SERVER_KEY=\([0-9a-f]\{64\}\)$/\1/p' "$4" | tail -n 1) ;;
                wrong) key=$(printf %064d 0) ;;
            esac
            {
                printf 'silent\nmax-time = 5\nnoproxy = "*"\noutput = "/dev/null"\nwrite-out = "%%{http_code}\\n"\n'
                printf 'url = "http://127.0.0.1:%s%s"\n' "$port" "$path"
                [ -z "$key" ] || printf 'header = "Authorization: Bearer %s"\n' "$key"
            } | curl -q -K -
        """
        lines = self.sh(script, str(self.port), path, key, self.paths.env)
        return int(lines[0]) if lines and lines[0].isdigit() else 0
