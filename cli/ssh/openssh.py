"""The user's OpenSSH: their configuration, agent and jump hosts, with our own list of host keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..exits import Exit
from ..problems import Problem
from ..state.known_hosts import Entry, HostKey, entry_name, look_up_in
from ..state.records import Host
from ..state.store import State
from . import bounded, configuration, keeping

_CONNECT_SECONDS = 10
#: Characters of an answer that may tell why there is none.
_LONGEST_REASON = 300
#: A connection that was left open and fails sooner was broken before; later, the host was waited for in vain.
_SECONDS_OF_A_BROKEN_ONE = 2
#: What ssh(1) says when what leads to the host ended; when that was quick, it may say nothing at all.
_WAY_ENDED = re.compile(r"UNKNOWN port 65535|kex_exchange_identification|\A\s*\Z")
#: What a script may print, in bytes: the largest answer is the list of models of a large provider, in base64.
_MOST = 16 * 1024 * 1024

#: Whatever the user's configuration says: no file of theirs is written, our list alone decides whom we trust, and no
#: connection of theirs is used, which may have been trusted for other reasons; those that we keep are our own.
_OURS = (
    "-o", "UpdateHostKeys=no", "-o", "VerifyHostKeyDNS=no", "-o", "IgnoreUnknown=KnownHostsCommand",
    "-o", "KnownHostsCommand=none", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "RemoteCommand=none",
)  # fmt: skip
#: How a jump host is reached: it must be in the user's own list, which is not written there either.
_JUMP = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no", "-o", "ControlPath=none")


class LoginRefused(Problem):
    """The host was reached and is the right one; it does not let us in."""


class NoRoot(Problem):
    """The login works and may not become root."""


class NotTrusted(Problem):
    """The host shows a key that we do not trust it with."""


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

    @property
    def server(self) -> tuple[str, int]:
        """The name and port that a list of host keys has it under: where the user's ssh configuration leads."""
        try:
            return configuration.configured(self.address).address, self.port
        except Problem:
            return self.address, self.port

    @property
    def where(self) -> str:
        """The login for a message."""
        return f"{self.user}@{self.address} port {self.port}"

    def command(self, *remote: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command line that runs ``remote`` there. Never asks anything; a secret has no place in it."""
        identity = ["-o", "IdentitiesOnly=yes", "-i", self.identity_file] if self.identity_file else []
        # The first value of an option wins: what the caller brings stands before ours.
        return [
            "ssh", "-T", *options, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
            "-o", f"UserKnownHostsFile={_quoted(self.known_hosts)}", "-o", "GlobalKnownHostsFile=/dev/null",
            "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-o", "ServerAliveInterval=15", "-o", "LogLevel=ERROR",
            *_OURS, *_way(self), *identity, "-p", str(self.port), "-l", self.user, "--", self.address, *remote,
        ]  # fmt: skip

    def as_root(self, script: str = "sh -s") -> str:
        """Return a remote command that runs as root; what it must not show comes on its standard input."""
        return f"sudo -n {script}" if self.needs_sudo else script


def login_of(state: State, host: Host) -> Login:
    """Return how a host on record is reached."""
    return Login.of(host, state.directory.known_hosts)


def run_script(
    login: Login,
    script: str,
    *,
    root: bool = True,
    seconds: float = 30,
    connect_seconds: int = _CONNECT_SECONDS,
    options: tuple[str, ...] = (),
    keep: bool = False,
) -> str:
    """
    Run a shell script on a host and return what it printed.

    + keep: leave the connection open for a while, and use one that was left open, see :mod:`.keeping`. The script may
      run twice: only for one that changes nothing.

    Raises :class:`Problem` with exit 4 when the host is unreachable, not trusted, or lets us not in, 5 when the
    login may not become root, 1 when the script fails.
    """
    remote = login.as_root() if root else "sh -s"
    own = (*options, "-o", f"ConnectTimeout={connect_seconds}")
    kept = keeping.kept(login) if keep else None
    was_open, began = kept.is_open() if kept else False, time.monotonic()
    result = _run(login, remote, script, seconds, (*kept.options, *own) if kept and was_open is not None else own)
    if kept and was_open is False and result.returncode == 255 and _WAY_ENDED.search(result.stderr):
        # One that is to stay open hides what a jump host, or whatever else leads there, has to say.
        result = _run(login, remote, script, seconds, own)
    reason, passed_over = keeping.said_besides(result.stderr)
    # Where ssh passed over what is kept and went its own way, it says how that ended. Where it could keep none, there
    # is one without; and what was open need not lead anywhere any more: the host may have been started anew.
    if result.returncode == 255 and (was_open or passed_over) and not (passed_over and reason):
        if not passed_over and time.monotonic() - began > _SECONDS_OF_A_BROKEN_ONE:
            raise Problem(
                f"{login.name}: it does not answer any more", f"clm host check {login.name}", Exit.UNREACHABLE
            )
        result = _run(login, remote, script, seconds, own)
        reason = result.stderr
    if result.returncode == 0:
        return result.stdout
    # A login shell that lets nobody in says so as if it were an answer, and nothing else.
    said = result.stdout if len(result.stdout) <= _LONGEST_REASON else ""
    raise explain(login, result.returncode, reason if reason.strip() else said)


def _run(login: Login, remote: str, script: str, seconds: float, options: tuple[str, ...]) -> bounded.Ended:
    try:
        return bounded.run(login.command(remote, options=options), script, seconds=seconds, most=_MOST)
    except subprocess.TimeoutExpired:
        raise Problem(
            f"{login.name}: no answer within {seconds:.0f} seconds", f"clm host check {login.name}", Exit.UNREACHABLE
        ) from None
    except bounded.TooMuch:
        raise Problem(f"{login.name}: it answers with more than {_MOST // 2**20} MiB; the rest was not read") from None


def explain(login: Login, status: int, stderr: str) -> Problem:
    """Say in a sentence why a command over SSH failed."""
    last = _last_line(stderr)
    if status == 255:
        return connection_problem(login.name, login.where, stderr, login)
    if "sudo:" in stderr and "not found" in last:
        return NoRoot(
            f"{login.name}: {login.user} is not root, and sudo is not installed there",
            "On the host, as root: apt-get install sudo",
            Exit.PREFLIGHT,
        )
    if "sudo:" in stderr:
        # sudo passes over files whose names have a dot.
        file = login.user.replace(".", "_")
        return NoRoot(
            f"{login.name}: {login.user} may not become root without a password ({last})",
            f"On the host, as root: echo '{login.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{file}",
            Exit.PREFLIGHT,
        )
    return Problem(f"{login.name}: {last}")


def connection_problem(name: str, where: str, text: str, login: Login | None = None) -> Problem:
    """
    Turn what ssh or paramiko said of a failed connection into a problem.

    With ``login``, a key that has changed is named with the one that is trusted; the host may be asked for it.
    """
    last = _last_line(text)
    if "REVOKED HOST KEY" in text:
        return NotTrusted(
            f"{name}: the host key of {where} is marked as revoked. Nothing was sent.", None, Exit.UNREACHABLE
        )
    if login is not None and (jump := _distrusted_jump(text, login)):
        return NotTrusted(
            f"{name}: the jump host {jump} on the way to {where} is not in your own known_hosts, or with another key",
            "Connect to the jump host once by hand, with ssh: clm reads that list and does not write it",
            Exit.UNREACHABLE,
        )
    if "HOST IDENTIFICATION HAS CHANGED" in text or "does not match" in text or "Host key for" in text:
        return NotTrusted(
            f"{name}: the host key of {where} has changed since it was trusted"
            f"{_both_fingerprints(text, login)}. Either the host was made anew, or somebody is in between. "
            "Nothing was sent.",
            f"If you know why: clm host trust {name}",
            Exit.UNREACHABLE,
        )
    if "Host key verification failed" in text or "No host key for" in text or "not found in known_hosts" in text:
        return NotTrusted(
            f"{name}: the host key of {where} is not trusted yet", f"clm host trust {name}", Exit.UNREACHABLE
        )
    if "Permission denied" in text or "Authentication" in text or "No authentication methods" in text:
        return LoginRefused(
            f"{name}: {where} does not let us in: {last}",
            f"Check user and key: clm host show {name}",
            Exit.UNREACHABLE,
        )
    return Problem(f"{name}: cannot connect to {where}: {last}", f"clm host check {name}", Exit.UNREACHABLE)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["no reason given"]
    # Through a jump host the last line says that the way has ended, and the first one why.
    return lines[0] if "UNKNOWN port 65535" in lines[-1] else lines[-1]


def _distrusted_jump(text: str, login: Login) -> str | None:
    """Return the jump host whose key ssh or paramiko did not take; None when it is the host itself, or neither."""
    named = re.search(r"(?:No \S+ host key is known for|No host key for|Host key for) (\S+)", text)
    if named is None or named[1].lower() in (login.server[0], entry_name(*login.server)):
        return None
    return named[1]


def _both_fingerprints(text: str, login: Login | None) -> str:
    # OpenSSH says what it was shown and in which line it found something else; paramiko says neither.
    shown = re.search(r"key sent by the remote host is\s+(SHA256:[A-Za-z0-9+/]+)", text)
    offered = shown[1] if shown else None
    trusted = [line.fingerprint for line in _offending(text)]
    if login is not None and not trusted:
        trusted = [key.fingerprint for key in look_up_in([login.known_hosts], *login.server).keys]
    if login is not None and offered is None:
        try:
            offered = offered_key(login).fingerprint
        except (Problem, ValueError):
            offered = None
    parts = [f"trusted is {' or '.join(trusted)}"] if trusted else []
    parts += [f"it shows {offered}"] if offered else []
    return f" ({', '.join(parts)})" if parts else ""


def _offending(text: str) -> list[HostKey]:
    found = []
    for path, number in re.findall(r"^Offending \S+ key in (.+):([0-9]+)\r?$", text, re.MULTILINE):
        try:
            line = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")[int(number) - 1]
        except (OSError, IndexError):
            continue
        entry = Entry.parse(line)
        found += [entry.key] if entry else []
    return found


def _way(login: Login) -> list[str]:
    """Return the options for what the user's configuration would otherwise do its own way."""
    if configuration.plain_everywhere():
        return []
    try:
        entry = configuration.configured(login.address)
    except Problem:
        return []
    options = []
    if entry.jumps:
        options += ["-o", f"ProxyCommand={_jump_command(entry.jumps)}"]
    if entry.host_key_alias:
        options += ["-o", f"HostKeyAlias={entry_name(*login.server)}"]
    return options


def _jump_command(jumps: Sequence[str]) -> str:
    # As ProxyJump does, which would leave the user's own configuration free to write to their known_hosts.
    *earlier, last = jumps
    through = ["-o", f"ProxyCommand={_jump_command(earlier)}"] if earlier else []
    command = ["ssh", *_JUMP, *through, "-W", "[HOST]:PORT", "--", last if "://" in last else f"ssh://{last}"]
    return shlex.join(command).replace("%", "%%").replace("'[HOST]:PORT'", "'[%h]:%p'")


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
        command = probe.command("true", options=options)
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=_CONNECT_SECONDS * 2, check=False)
        except subprocess.TimeoutExpired:
            raise connection_problem(login.name, f"{login.address} port {login.port}", "timed out") from None
        text = seen.read_text(encoding="utf-8") if seen.exists() else ""
    for line in text.splitlines():
        match = re.match(r"\S+ (.*)", line)
        if match:
            return HostKey.parse(match.group(1))
    raise connection_problem(login.name, f"{login.address} port {login.port}", result.stderr, login)


def _quoted(path: Path) -> str:
    # ssh splits this option at spaces.
    return f'"{path}"'
