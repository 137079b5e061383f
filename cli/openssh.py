"""The user's OpenSSH: their configuration, agent and jump hosts, with our own list of host keys."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .exits import Exit
from .problems import Problem
from .state.known_hosts import HostKey
from .state.records import Host

_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Login:
    """How a host is reached."""

    name: str
    address: str
    port: int
    user: str
    identity_file: str | None
    known_hosts: Path

    @classmethod
    def of(cls, host: Host, known_hosts: Path) -> Login:
        """Return how a host on record is reached."""
        return cls(host.name, host.address, host.port, host.user, host.identity_file, known_hosts)

    @property
    def needs_sudo(self) -> bool:
        return self.user != "root"

    def command(self, *remote: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command line that runs ``remote`` there. Never asks anything; a secret has no place in it."""
        identity = ["-o", "IdentitiesOnly=yes", "-i", self.identity_file] if self.identity_file else []
        return [
            "ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
            "-o", f"UserKnownHostsFile={_quoted(self.known_hosts)}", "-o", "GlobalKnownHostsFile=/dev/null",
            "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-o", "ServerAliveInterval=15", "-o", "LogLevel=ERROR",
            *identity, *options, "-p", str(self.port), "-l", self.user, "--", self.address, *remote,
        ]  # fmt: skip

    def as_root(self, script: str = "sh -s") -> str:
        """Return a remote command that runs as root; what it must not show comes on its standard input."""
        return f"sudo -n {script}" if self.needs_sudo else script


def run_script(login: Login, script: str, *, root: bool = True, seconds: float = 30) -> str:
    """
    Run a shell script on a host and return what it printed.

    Raises :class:`Problem` with exit 4 when the host is unreachable, not trusted, or lets us not in, 5 when the
    login may not become root, 1 when the script fails.
    """
    remote = login.as_root() if root else "sh -s"
    try:
        result = subprocess.run(
            login.command(remote), input=script, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Problem(f"{login.name}: no answer within {seconds:.0f} seconds", None, Exit.UNREACHABLE) from None
    if result.returncode == 0:
        return result.stdout
    raise explain(login, result.returncode, result.stderr)


def explain(login: Login, status: int, stderr: str) -> Problem:
    """Say in a sentence why a command over SSH failed."""
    where = f"{login.user}@{login.address} port {login.port}"
    last = (stderr.strip().splitlines() or ["no reason given"])[-1]
    if status == 255:
        return connection_problem(login.name, where, stderr)
    if "sudo:" in stderr:
        return Problem(
            f"{login.name}: {login.user} may not become root without a password ({last})",
            f"On the host, as root: echo '{login.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{login.user}",
            Exit.PREFLIGHT,
        )
    return Problem(f"{login.name}: {last}")


def connection_problem(name: str, where: str, text: str) -> Problem:
    """Turn what ssh or paramiko said of a failed connection into a problem."""
    last = (text.strip().splitlines() or ["no reason given"])[-1]
    if "HOST IDENTIFICATION HAS CHANGED" in text or "does not match" in text or "Host key for" in text:
        return Problem(
            f"{name}: the host key of {where} has changed since it was trusted. Either the host was made anew, or "
            "somebody is in between. Nothing was sent.",
            f"If you know why: clm host trust {name}",
            Exit.UNREACHABLE,
        )
    if "Host key verification failed" in text or "No host key for" in text or "not found in known_hosts" in text:
        return Problem(
            f"{name}: the host key of {where} is not trusted yet", f"clm host trust {name}", Exit.UNREACHABLE
        )
    if "Permission denied" in text or "Authentication" in text or "No authentication methods" in text:
        return Problem(
            f"{name}: {where} does not let us in: {last}",
            f"Check user and key: clm host show {name}",
            Exit.UNREACHABLE,
        )
    return Problem(f"{name}: cannot connect to {where}: {last}", f"clm host check {name}", Exit.UNREACHABLE)


@dataclass(frozen=True)
class Defaults:
    """What the user's own ssh configuration says of a name."""

    address: str
    port: int
    user: str


def configured(name: str) -> Defaults:
    """Ask the user's ssh configuration about a host, without connecting."""
    result = subprocess.run(["ssh", "-G", "--", name], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Problem(f"ssh -G {name} failed: {result.stderr.strip()}", "apt-get install openssh-client")
    values = dict(line.split(" ", 1) for line in result.stdout.splitlines() if " " in line)
    return Defaults(values["hostname"], int(values["port"]), values["user"])


def offered_key(login: Login) -> HostKey:
    """
    Return the key that a host shows now. No credential is offered to it.

    Goes the way of a real connection, jump hosts included, which a scan of the port would not.
    """
    with tempfile.TemporaryDirectory(prefix="clm-") as folder:
        seen = Path(folder) / "known_hosts"
        probe = Login(login.name, login.address, login.port, login.user, None, seen)
        options = (
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            "PreferredAuthentications=none",
            "-o",
            "HashKnownHosts=no",
        )
        # The first value of an option wins, so ours stand before those of every other command.
        command = probe.command("true")
        command[1:1] = options
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=_CONNECT_SECONDS * 2, check=False)
        except subprocess.TimeoutExpired:
            raise connection_problem(login.name, f"{login.address} port {login.port}", "timed out") from None
        text = seen.read_text(encoding="utf-8") if seen.exists() else ""
    for line in text.splitlines():
        match = re.match(r"\S+ (.*)", line)
        if match:
            return HostKey.parse(match.group(1))
    raise connection_problem(login.name, f"{login.address} port {login.port}", result.stderr)


def _quoted(path: Path) -> str:
    # ssh splits this option at spaces.
    return f'"{path}"'
