"""How one gets into the hosts of a run: one key, a list of the hosts' own keys, and an OpenSSH config."""

import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cgroup import ControlGroup
from tests.lab.process import wait_until

_COMMON = """\
Host *
    User root
    IdentityFile {key}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 10
    ServerAliveInterval 15
    LogLevel ERROR
"""


@dataclass(frozen=True)
class HostKey:
    """What a host will prove itself with."""

    name: str
    address: str
    public_key: str


class Access:
    """The files in a run's directory that OpenSSH, paramiko and pyinfra need, and nothing from elsewhere."""

    def __init__(self, directory: Path) -> None:
        """Make the key pair."""
        self.key = directory / "id_ed25519"
        self.known_hosts = directory / "known_hosts"
        self.ssh_config = directory / "ssh_config"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", self.key], check=True)
        self.authorized_key = self.key.with_suffix(".pub").read_text().strip()
        self.list_hosts([])

    def list_hosts(self, hosts: list[HostKey]) -> None:
        """Write down the hosts that there are now."""
        _replace(self.known_hosts, "".join(f"{at.address},{at.name} {_bare(at.public_key)}\n" for at in hosts))
        entries = "".join(f"Host {at.name}\n    HostName {at.address}\n" for at in hosts)
        _replace(self.ssh_config, entries + _COMMON.format(key=self.key, known_hosts=self.known_hosts))


class Connections:
    """OpenSSH connections to one host, one per user, kept open and shared by the commands that follow."""

    def __init__(self, access: Access, host: str, directory: Path, group: ControlGroup) -> None:
        """Connect nothing yet."""
        self._base = ["ssh", "-F", str(access.ssh_config)]
        self._host = host
        self._directory = directory
        self._group = group
        self._masters: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def command(self, user: str, script: str, seconds: float) -> list[str]:
        """The local command that runs `script` over there, through the kept connection when there is one.

        Waits so long at most for that connection.
        """
        socket = self._directory / f"ssh-{user}"
        with self._lock:
            master = self._masters.get(user)
            if master is None or master.poll() is not None:
                self._connect(user, socket, seconds)
        return [*self._base, "-S", str(socket), "-l", user, self._host, "--", script]

    def close(self) -> None:
        """End the kept connections."""
        with self._lock:
            for user, master in self._masters.items():
                master.kill()
                master.wait()
                (self._directory / f"ssh-{user}").unlink(missing_ok=True)
            self._masters.clear()

    def _connect(self, user: str, socket: Path, seconds: float) -> None:
        # When this fails, the command itself fails the same way, and says why.
        socket.unlink(missing_ok=True)
        self._group.create()
        argv = [*self._base, "-N", "-M", "-S", str(socket), "-l", user, self._host]
        master = subprocess.Popen(
            self._group.enter(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._masters[user] = master
        wait_until(lambda: socket.exists() or master.poll() is not None, seconds, pause=0.005)


def _bare(public_key: str) -> str:
    return " ".join(public_key.split()[:2])


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text)
    draft.rename(path)
