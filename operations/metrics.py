"""Have a host write metrics of its agents into a file, every minute, for node_exporter's textfile collector."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from importlib import resources
from typing import Any

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.metrics import HermesMetricsTimer
from pyinfra_hermes.facts.script import UNIT_HEADER

from .announcing import Change, announce
from .commands import refuse, unobserved

#: Where node_exporter looks by its own documentation; Debian's package: ``/var/lib/prometheus/node-exporter``.
DIRECTORY = "/var/lib/node_exporter/textfile_collector"

#: Not named like the units of agents, which are found by their names.
_NAME = "pyinfra-hermes-metrics"
_SCRIPT = "/opt/pyinfra-hermes/metrics.sh"
_SERVICE, _TIMER = f"/etc/systemd/system/{_NAME}.service", f"/etc/systemd/system/{_NAME}.timer"

_SERVICE_TEXT = """\
{header}
[Unit]
Description=Metrics of Hermes agents

[Service]
Type=oneshot
ExecStart={script} {directory}
ReadWritePaths={directory}
TimeoutStartSec=50
UMask=0022
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
# Looks into homes, at sockets of others, and may write where the collector's directory is another account's.
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_SYS_PTRACE
IPAddressDeny=any
IPAddressAllow=localhost
"""
_TIMER_TEXT = """\
{header}
[Unit]
Description=Metrics of Hermes agents, every minute

[Timer]
OnCalendar=minutely
AccuracySec=5s

[Install]
WantedBy=timers.target
"""


def is_directory(text: str) -> bool:
    """Tell whether this can be the collector's directory: an absolute path that systemd and a shell take as it is."""
    return re.fullmatch(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+", text) is not None


@operation()
def metrics_timer(directory: str = DIRECTORY, present: bool = True) -> Generator[StringCommand, None, None]:
    """
    Have the host write ``hermes.prom`` every minute, or stop that and take everything of it away.

    + directory: the collector's directory on the host, which is made when it is not there
    + present: whether the host should

    What is written holds no secret: it says of each agent whether it runs and is healthy, restarts, memory, the size of
    its database, release and hardening. It goes with the last agent of the host.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import metrics

        metrics.metrics_timer(
            name="Write metrics of the agents",
            directory="/var/lib/prometheus/node-exporter",
            _sudo=True,
        )
    """
    if not is_directory(directory):
        yield refuse(f"{directory!r} is not an absolute path of letters, digits and . _ -; nothing was changed")
        return
    wanted = {
        _SCRIPT: resources.files("pyinfra_hermes.operations").joinpath("metrics.sh").read_text(encoding="utf-8"),
        _SERVICE: _SERVICE_TEXT.format(header=UNIT_HEADER, script=_SCRIPT, directory=directory),
        _TIMER: _TIMER_TEXT.format(header=UNIT_HEADER),
    }
    found = ctx_host.get().get_fact(HermesMetricsTimer, files=tuple(wanted))
    if found is None:
        yield unobserved()
        return
    if not present:
        if found.files or found.on:
            announce(*(Change("remove", path) for path in found.files))
            yield StringCommand("sh -c", QuoteString(wanted[_SCRIPT]), _SCRIPT, "--remove")
        else:
            ctx_host.get().noop("no metrics are written")
        return
    wrong = {path: text for path, text in wanted.items() if found.files.get(path) != _digest(text)}
    if not wrong and found.on:
        ctx_host.get().noop(f"metrics are written to {directory}")
        return
    announce(*(Change("change" if path in found.files else "add", path) for path in wrong))
    bits: list[Any] = ["set -e; umask 022; mkdir -p -- /opt/pyinfra-hermes", QuoteString(directory), ";"]
    if _SERVICE in wrong and _SERVICE in found.files:
        # Another directory than before: what was written there would be taken for the present.
        bits += [f"old=$(sed -n s/^ReadWritePaths=//p {_SERVICE});", '[ -z "$old" ] || rm -f -- "$old/hermes.prom";']
    for path, text in wrong.items():
        mode = "755" if path == _SCRIPT else "644"
        bits += ["printf %s", QuoteString(text), ">", f"{path}.part; chmod", mode, f"{path}.part;"]
        bits += [f"mv -fT -- {path}.part {path};"]
    bits += [f"systemctl daemon-reload; systemctl enable --quiet {_NAME}.timer; systemctl restart {_NAME}.timer;"]
    yield StringCommand(*bits, f"systemctl start {_NAME}.service")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
