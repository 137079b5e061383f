"""``clm state check``: the state directory, and what it needs outside of itself to reach its hosts."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys.model.releases import shipped
from pyinfra_hermes.deploys.model.releases.overlay import InvalidOverlay

from .releases import overlay_file
from .ssh.openssh import login_of
from .state.errors import StateError
from .state.inspection import Finding, Inspection, inspect
from .state.known_hosts import look_up
from .state.records import Host
from .state.store import State


def check() -> Inspection:
    """Look at everything that is kept on this machine. No host is asked anything."""
    state = State.open()
    found = inspect(state.directory)
    for host in found.hosts:
        found.findings.extend(_of_identity(host))
        found.findings.extend(_of_trust(state, host, found.known_hosts))
    found.findings.extend(_of_releases())
    return found


def data(found: Inspection) -> dict[str, Any]:
    """Return what was found as plain data, for programs."""
    return {
        "directory": str(found.path),
        "clean": not found.problems,
        "problems": [finding.data() for finding in found.problems],
        "notes": [finding.data() for finding in found.notes],
        "files": {report.name: report.data() for report in found.files},
    }


def _of_releases() -> Iterator[Finding]:
    try:
        found = overlay_file.overlay()
        if found is not None:
            found.over(shipped())
    except (InvalidOverlay, StateError) as error:
        yield Finding(overlay_file.FILENAME, str(error), "See docs/releases.md")


def _of_identity(host: Host) -> Iterator[Finding]:
    if host.identity_file is None:
        return
    path = Path(os.path.expanduser(host.identity_file))  # noqa: PTH111 - an unknown user is no error here
    where = f"host {host.name}"
    try:
        status = path.stat()
    except OSError as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        yield Finding(where, f"its key {path} {why}", f"clm host edit {host.name} --identity-file FILE")
        return
    if not stat.S_ISREG(status.st_mode):
        yield Finding(where, f"its key {path} is not a file", f"clm host edit {host.name} --identity-file FILE")
    elif status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        yield Finding(
            where,
            f"its key {path} is open to other users (mode {mode:04o}), and ssh refuses such a key",
            f"chmod 600 {shlex.quote(str(path))}",
        )


def _of_trust(state: State, host: Host, known: str | None) -> Iterator[Finding]:
    if known is None or look_up(known, host.address, host.port).keys:
        return
    # Only now, because it starts a process: the list may have the host under where the ssh configuration leads.
    address, port = login_of(state, host).server
    if not look_up(known, address, port).keys:
        yield Finding(
            f"host {host.name}",
            f"no key of {address} port {port} is trusted, so no command can connect to it",
            f"clm host trust {host.name}",
        )
