"""What the lab needs of this machine, and how to say that it is not there."""

import os
import platform
import shutil
from pathlib import Path

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_CAPABILITIES = 1 << 12 | 1 << 21  # CAP_NET_ADMIN and CAP_SYS_ADMIN


class LabUnavailable(Exception):
    """The lab cannot run on this machine; the message says what to do about it."""


def required_tools() -> dict[str, str]:
    """Every program the lab calls, and the Debian package it comes in."""
    return {
        "systemd-nspawn": "systemd-container",
        "debootstrap": "debootstrap",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
        "ip": "iproute2",
        "mount": "mount",
        "unshare": "util-linux",
        "setpriv": "util-linux",
        "apt-get": "apt",
        "dpkg": "dpkg",
        str(DEBIAN_KEYRING): "debian-archive-keyring",
    }


def missing_tools() -> dict[str, str]:
    """Those of `required_tools` that this machine does not have."""

    def present(tool: str) -> bool:
        return Path(tool).exists() if tool.startswith("/") else shutil.which(tool) is not None

    return {tool: package for tool, package in required_tools().items() if not present(tool)}


def why_unavailable() -> str | None:
    """Why the lab cannot run here and what would help, in one line; None when it can run."""
    if platform.system() != "Linux":
        return "the lab needs Linux: it boots systemd hosts with systemd-nspawn"
    reasons = []
    missing = missing_tools()
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        reasons.append(f"missing: {', '.join(sorted(missing))}; install with: apt-get install {packages}")
    if os.geteuid() != 0:
        reasons.append("not root: mounting and booting hosts needs it, run this as root (sudo)")
    elif not _may_mount():
        reasons.append("this root may not mount or set up networks: a container needs to be a privileged one")
    return f"the lab cannot run here ({'; '.join(reasons)})" if reasons else None


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text()
    held = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    return held & _CAPABILITIES == _CAPABILITIES


def require() -> None:
    """Raise `LabUnavailable` unless the lab can run here."""
    reason = why_unavailable()
    if reason:
        raise LabUnavailable(reason)
