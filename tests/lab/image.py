"""The disk that every lab host starts from: a small Debian, and a layer over it with ripgrep and ffmpeg."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import cache_directory, digest, made_once
from tests.lab.tools import DEBIAN_KEYRING, LabUnavailable

# polkitd, as Ubuntu's servers have it: with it every account may enable linger for itself.
PACKAGES = (
    "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,openssh-server,sudo,python3,python3-venv,"
    "iproute2,curl,ca-certificates,procps,adduser,polkitd"
)
TOOLS = ("ripgrep", "ffmpeg")

# Runs in the fresh image. No keys and no identity stay in it: each host gets its own. The timers and the
# consoles only cost time at boot.
_PREPARE = """
set -eu
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/bootstrap.log /etc/ssh/ssh_host_*_key* /etc/resolv.conf
: > /etc/machine-id
: > /etc/resolv.conf
rm -f /etc/hostname
printf 'HostKey /etc/ssh/ssh_host_ed25519_key\\n' > /etc/ssh/sshd_config.d/lab.conf
for user in admin nosudo; do
    useradd --create-home --shell /bin/bash --password '*' "$user"
done
printf 'admin ALL=(ALL:ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin
systemctl enable --quiet systemd-networkd.service
systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-pstore.service console-getty.service getty@tty1.service \
    dev-hugepages.mount
"""

# A build has mounts and process numbers of its own and dies with this process: whatever stops it, no mount is
# left behind and nobody goes on writing to a directory that the next try has taken over.
_ALONE = (
    "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip

_DEBOOTSTRAP = """
set -eu
debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$DIRECTORY" "$MIRROR"
chroot "$DIRECTORY" /bin/sh -c "$PREPARE"
"""

# The machine's own apt fetches (its proxy and certificates apply), the image's dpkg unpacks.
_INSTALL_TOOLS = """
set -eu
cd "$DIRECTORY"
mkdir -p upper work merged apt/state/lists/partial apt/cache/archives/partial
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$PWD/upper,workdir=$PWD/work" merged
printf 'deb [signed-by=%s] %s %s main\\n' "$KEYRING" "$MIRROR" "$SUITE" > apt/sources.list
fetch() {
    apt-get -qq -o Dir::Etc::sourcelist="$PWD/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::State="$PWD/apt/state" \
        -o Dir::Cache="$PWD/apt/cache" -o Dir::State::status="$PWD/merged/var/lib/dpkg/status" \
        -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
fetch update
fetch --yes --no-install-recommends --download-only install $TOOLS
mkdir merged/packages
mount --bind apt/cache/archives merged/packages
chroot merged /bin/sh -c 'export DEBIAN_FRONTEND=noninteractive LC_ALL=C
    dpkg --unpack /packages/*.deb && dpkg --configure --pending'
umount merged/packages
rmdir merged/packages
rm -f merged/var/log/dpkg.log merged/var/log/alternatives.log
umount merged
rm -rf apt work merged
"""


class ImageNotBuilt(Exception):
    """Building the disk image failed; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Image:
    """A finished image: the bare system, and what the tools add to it."""

    base: Path
    tools: Path

    def lower(self, tools: bool) -> str:
        """The read-only layers of a host, as overlayfs wants them named: topmost first."""
        return f"{self.tools}/upper:{self.base}" if tools else str(self.base)


def image() -> Image:
    """The image, built first when the cache is cold (about two minutes and 0.8 GB)."""
    # What names the entries is what decides their content; another mirror serves the same packages.
    suite = os.environ.get("HERMES_LAB_SUITE") or "bookworm"
    base_name = digest(suite, PACKAGES, _PREPARE, _DEBOOTSTRAP)
    tools_name = digest(base_name, *TOOLS, _INSTALL_TOOLS)
    images = cache_directory() / "images"
    base = made_once(images / f"{suite}-{base_name}", lambda directory: _build_base(directory, suite))
    tools = made_once(images / f"{suite}-tools-{tools_name}", lambda at: _build_tools(at, suite, str(base), TOOLS))
    return Image(base, tools)


def packages(*names: str) -> Path:
    """A layer with more of Debian's packages, for the disk of a host that has the tools."""
    suite = os.environ.get("HERMES_LAB_SUITE") or "bookworm"
    lower = image().lower(tools=True)
    name = digest(lower, *names, _INSTALL_TOOLS)
    return (
        made_once(
            cache_directory() / "images" / f"{suite}-{names[0]}-{name}",
            lambda at: _build_tools(at, suite, lower, names),
        )
        / "upper"
    )


def mirror() -> str:
    """The Debian mirror that this machine itself installs from, as its apt sources name it."""
    named = os.environ.get("HERMES_LAB_MIRROR")
    if named:
        return named
    wanted = ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listing = subprocess.run(["apt-get", "indextargets", *wanted], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        uri, release, component = line.split(" ", 2)
        if component == "main" and _serves_debian(release):
            return uri
    # On Ubuntu the sources name no Debian mirror; debootstrap itself knows one.
    for script in (Path("/usr/share/debootstrap/scripts/sid"), Path("/usr/sbin/debootstrap")):
        text = script.read_text(errors="replace") if script.exists() else ""
        if found := re.search(r"(?:default_mirror |DEF_MIRROR=)\"?(https?://\S+/debian)\b", text):
            return found.group(1)
    raise LabUnavailable(
        "this machine's apt sources name no Debian mirror to build lab hosts from; set HERMES_LAB_MIRROR"
    )


def _serves_debian(release: str) -> bool:
    return bool(re.fullmatch(r"bullseye|bookworm|trixie|forky|sid|(old)*stable|testing|unstable", release))


def _build_base(directory: Path, suite: str) -> None:
    _say(f"building the base image of the lab hosts ({suite}), once: about a minute")
    _run(_DEBOOTSTRAP, directory, suite, PACKAGES=PACKAGES, PREPARE=_PREPARE)


def _build_tools(directory: Path, suite: str, lower: str, tools: Sequence[str]) -> None:
    _say(f"installing {' and '.join(tools)} over the base image, once: about a minute")
    _run(_INSTALL_TOOLS, directory, suite, BASE=lower, TOOLS=" ".join(tools), KEYRING=str(DEBIAN_KEYRING))


def _run(script: str, directory: Path, suite: str, **values: str) -> None:
    environment = {
        **os.environ, **values, "DIRECTORY": str(directory), "SUITE": suite, "MIRROR": mirror(),
        "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C",
    }  # fmt: skip
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
    log = directory.with_name(f"{directory.name}.log")
    with log.open("w") as output:
        code = subprocess.run(
            [*_ALONE, "/bin/sh", "-c", script],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ImageNotBuilt(f"building the lab image failed (exit {code}); log: {log}\n{tail}")
    log.unlink()


def _say(message: str) -> None:
    print(f"lab: {message}", file=sys.stderr, flush=True)
