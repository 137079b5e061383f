"""A host's disk: the shared image below, what the host wrote above, and an identity of its own."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.lab.run import unmount_below

USERS = ("root", "admin", "nosudo")
_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
_NETWORK = """\
[Match]
Name=host0

[Network]
Address={address}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


class Disk:
    """An overlay; `root` is where this machine sees it, whether the host runs or not."""

    def __init__(self, root: Path, storage: Path, lower: str) -> None:
        """Name the places; `create` makes and mounts it."""
        self.root = root
        self._storage = storage
        self._lower = lower

    def create(self) -> None:
        """Mount it over the image."""
        upper, work = self._storage / "upper", self._storage / "work"
        for directory in (self.root, upper, work):
            directory.mkdir(parents=True)
        # Volatile: what the host syncs need not reach the real disk, it is thrown away anyhow.
        options = f"lowerdir={self._lower},upperdir={upper},workdir={work},volatile"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)

    def identify(self, name: str, address: str, prefix: int) -> str:
        """Give the host its name, address and keys; returns the public key that it will show."""
        self._write("etc/hostname", f"{name}\n")
        # Its own name, too: without it sudo waits for a name service that is not there.
        self._write("etc/hosts", f"127.0.0.1\tlocalhost\n{address}\t{name}\n")
        self._write("etc/machine-id", f"{secrets.token_hex(16)}\n")
        self._write("etc/systemd/network/10-lab.network", _NETWORK.format(address=f"{address}/{prefix}"))
        key = self.root / _HOST_KEY
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
        return key.with_name(f"{key.name}.pub").read_text().strip()

    def authorize(self, public_key: str) -> None:
        """Let every user of the image in with this key."""
        for user in USERS:
            uid, gid, home = self._account(user)
            directory = self.root / home / ".ssh"
            directory.mkdir(mode=0o700, exist_ok=True)
            os.chown(directory, uid, gid)
            self._write(f"{home}/.ssh/authorized_keys", f"{public_key}\n", 0o600, uid, gid)

    def hide(self, patterns: tuple[str, ...]) -> list[str]:
        """Remove what the patterns match, and say what that was."""
        hidden = []
        for pattern in patterns:
            for path in sorted(self.root.glob(pattern.lstrip("/"))):
                if not path.parent.resolve().is_relative_to(self.root):
                    raise ValueError(f"{pattern} leads out of the host's disk")
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                hidden.append(f"/{path.relative_to(self.root)}")
        return hidden

    def remove(self) -> None:
        """Unmount it and forget what the host wrote."""
        unmount_below(self.root.parent)
        shutil.rmtree(self._storage)

    def _write(self, path: str, text: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        target = self.root / path
        target.write_text(text)
        target.chmod(mode)
        os.chown(target, uid, gid)

    def _account(self, user: str) -> tuple[int, int, str]:
        lines = (self.root / "etc/passwd").read_text().splitlines()
        fields = next(line.split(":") for line in lines if line.startswith(f"{user}:"))
        return int(fields[2]), int(fields[3]), fields[5].lstrip("/")
