"""One throwaway host: a container with a real systemd and a real sshd, which can be broken on purpose."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tests.lab.access import Access, Connections
from tests.lab.cgroup import ControlGroup
from tests.lab.disk import Disk
from tests.lab.network import set_link
from tests.lab.run import Run, forget_container

# Runs the container, and starts it anew when the host reboots itself: systemd-nspawn then exits with 133.
# SIGTERM is passed on and makes it shut down in order.
_SUPERVISE = """
trap 'kill -TERM "$container"' TERM
link=$1
shift
while true; do
    "$@" &
    container=$!
    while kill -0 "$container" 2>/dev/null; do
        wait "$container"
        code=$?
    done
    [ "$code" = 133 ] || exit "$code"
    ip link delete "$link" 2>/dev/null
done
"""

# A disk that is as full as asked: what is there is copied to a small one in memory, mounted over it.
_FILL = """
set -eu
size=$(( $(du -skx "$1" | cut -f1) * 2 + $2 + 65536 ))
mkdir -p /run/lab-full
mount -t tmpfs -o "size=${size}k" tmpfs /run/lab-full
chmod --reference="$1" /run/lab-full
chown --reference="$1" /run/lab-full
cp -a "$1/." /run/lab-full/
used=$(df -k --output=used /run/lab-full | tail -n 1)
mount -o "remount,size=$(( used + $2 ))k" /run/lab-full
mount --bind /run/lab-full "$1"
umount /run/lab-full
rmdir /run/lab-full
"""


class BootFailed(Exception):
    """A host did not come up; the message ends with the last lines of its console."""


class CommandFailed(subprocess.CalledProcessError):
    """A command on a host failed; says what it printed."""

    @override
    def __str__(self) -> str:
        return f"{super().__str__()}\nstdout: {self.stdout}\nstderr: {self.stderr}"


@dataclass(frozen=True)
class Seat:
    """What makes a host this one and no other: its number in the run, and so its name and address."""

    run: Run
    number: int

    @property
    def name(self) -> str:
        """Unique on this machine, also while two runs go on; short, as an interface is named after it."""
        return f"host{self.number}-{self.run.id}"

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return self.run.bridge.host_address(self.number)


class Machine:
    """A host of the lab. `Lab.boot` makes it; `root`, `admin` (sudo) and `nosudo` may log in with its key."""

    port = 22

    def __init__(self, seat: Seat, access: Access, lower: str) -> None:
        """Prepare nothing yet: `create` makes the disk, `start` boots it."""
        self.number = seat.number
        self.name = seat.name
        self.address = seat.address
        self.key = access.key
        self.known_hosts = access.known_hosts
        self.ssh_config = access.ssh_config
        self.directory = seat.run.machines / seat.name
        self.root = self.directory / "root"
        self.console = self.directory / "console.log"
        self._bridge = seat.run.bridge
        self._disk = Disk(self.root, seat.run.disks / seat.name, lower)
        self._group = ControlGroup(f"{seat.run.id}/{seat.name}")
        self._connections = Connections(access, seat.name, self.directory, ControlGroup(f"{seat.run.id}/ssh"))
        self._container: subprocess.Popen[bytes] | None = None

    @override
    def __repr__(self) -> str:
        return f"<Machine {self.name} {self.address}>"

    def create(self, authorized_key: str) -> str:
        """Make the disk; returns the public key that the host will show."""
        self._disk.create()
        self._disk.authorize(authorized_key)
        return self._disk.identify(self.name, self.address, self._bridge.network.prefixlen)

    def start(self, seconds: float = 60) -> None:
        """Boot, or boot again with the same disk; returns when systemd has finished and sshd answers."""
        if self.running:
            return
        self._forget()
        self._group.create()
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        deadline = time.monotonic() + seconds
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, self.console.open("ab") as console:
            listener.bind(str(ready))
            self._container = subprocess.Popen(
                self._group.enter(self._command()), stdin=subprocess.DEVNULL, stdout=console,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), "NOTIFY_SOCKET": str(ready)},
            )  # fmt: skip
            self._await_systemd(listener, deadline)
        self._await_sshd(deadline)

    @property
    def running(self) -> bool:
        """Whether the host has any process."""
        return bool(self._group.pids())

    def stop(self, seconds: float = 120) -> None:
        """Shut down in order, as `poweroff` does."""
        self.resume()
        self._connections.close()
        if self._container is not None and self._container.poll() is None:
            self._container.terminate()
            try:
                self._container.wait(seconds)
            except subprocess.TimeoutExpired:
                raise BootFailed(f"{self.name} did not shut down in time\n{self._tail()}") from None
        self._forget()

    def kill(self) -> None:
        """Power cut: every process dies at once. What was written stays, flushed or not."""
        self._connections.close()
        if not self._group.kill():
            raise BootFailed(f"{self.name}: processes survive SIGKILL: {self._group.pids()}")
        self._forget()

    def remove(self) -> None:
        """Power cut, and the disk is gone, too."""
        self.kill()
        self._disk.remove()
        self._group.remove()
        shutil.rmtree(self.directory)

    def collect(self) -> None:
        """Let the kernel drop the ended container process, which is a child of this one."""
        if self._container is not None:
            self._container.wait()
            self._container = None

    def ssh(
        self,
        *command: str,
        user: str = "root",
        input: str | None = None,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there: one string is a script for the login shell, several are taken word by word.

        The connection is kept open and used again, so the user stays logged in; `disconnect` ends that.
        """
        script = command[0] if len(command) == 1 else shlex.join(command)
        argv = self._connections.command(user, script, timeout)
        # Without input of its own, the command must not read what is meant for the caller.
        done = subprocess.run(argv, text=True, capture_output=True, timeout=timeout, check=False, input=input or "")
        if check and done.returncode != 0:
            raise CommandFailed(done.returncode, f"{user}@{self.name}: {script}", done.stdout, done.stderr)
        return done

    def disconnect(self) -> None:
        """Close the connections that `ssh` keeps open."""
        self._connections.close()

    def testinfra_host(self, user: str = "root") -> Any:
        """This host for pytest-testinfra's assertions."""
        import testinfra  # type: ignore[import-untyped,unused-ignore]

        return testinfra.get_host(f"ssh://{user}@{self.name}", ssh_config=str(self.ssh_config))

    def hide(self, *paths: str) -> list[str]:
        """Remove files or directories from the disk, running or not; `*` works. Returns what is gone."""
        return self._disk.hide(paths)

    def fill(self, path: str, keep_free_kib: int) -> None:
        """Make the disk under `path` full but for so much, until `unfill` or the next boot."""
        self.ssh("sh", "-c", _FILL, "sh", path, str(keep_free_kib))

    def unfill(self, path: str) -> None:
        """Give the disk under `path` back; what was written to it meanwhile is lost."""
        self.ssh("umount", "--lazy", path)

    def pause(self) -> None:
        """Stop every process in its tracks: the host still accepts connections, and never says a word."""
        self._group.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the processes go on."""
        self._group.send(signal.SIGCONT)

    def unplug(self) -> None:
        """Pull the network cable: packets to the host vanish."""
        set_link(f"vb-{self.name}", up=False)

    def plug(self) -> None:
        """Put the network cable back."""
        set_link(f"vb-{self.name}", up=True)

    def _command(self) -> list[str]:
        link = f"vb-{self.name}"
        return [
            "/bin/sh", "-c", _SUPERVISE, "sh", link,
            "systemd-nspawn", "--quiet", f"--machine={self.name}", f"--directory={self.root}", "--boot",
            "--register=no", "--keep-unit", f"--network-bridge={self._bridge.name}", "--console=read-only",
            "--notify-ready=yes", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        ]  # fmt: skip

    def _await_systemd(self, listener: socket.socket, deadline: float) -> None:
        # systemd reports when nothing is left to start: then `is-system-running` says running or degraded.
        listener.settimeout(0.2)
        while True:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in listener.recv(4096).split(b"\n"):
                    return
            if self._container is None or self._container.poll() is not None:
                raise BootFailed(f"{self.name}: the container ended while booting\n{self._tail()}")
            if time.monotonic() > deadline:
                raise BootFailed(f"{self.name}: systemd did not finish booting in time\n{self._tail()}")

    def _await_sshd(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.address, self.port), timeout=0.5) as connection,
            ):
                if connection.recv(8).startswith(b"SSH-2.0"):
                    return
            time.sleep(0.02)
        raise BootFailed(f"{self.name}: no sshd at {self.address}:{self.port} in time\n{self._tail()}")

    def _tail(self) -> str:
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\r", "", text).splitlines()
        return "\n".join([line for line in lines if line.strip()][-20:])

    def _forget(self) -> None:
        self.collect()
        forget_container(self.name, self.root)
