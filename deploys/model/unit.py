"""The systemd unit of an agent, and the slice that all agents of a host share."""

from __future__ import annotations

from .layout import SLICE, UNIT_HEADER, Layout, is_shared, release_directory
from .releases import manifest
from .spec import AgentSpec, Hardening, Limits

Directive = tuple[str, str]

# Hermes drains for up to 180 s and says itself that systemd must wait 210 s (gateway log, 0.13).
_STOP_TIMEOUT = 210

# Without the first group the agent's own tools work as on a bare account; the comments name what would break.
_STANDARD: tuple[Directive, ...] = (
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "tmpfs"),
    ("BindPaths", "{home}"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectProc", "invisible"),
    ("LockPersonality", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RemoveIPC", "yes"),
    ("KeyringMode", "private"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("SystemCallArchitectures", "native"),
    # A browser's own sandbox needs these namespaces; `yes` would break it.
    ("RestrictNamespaces", "user pid net mnt ipc uts"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    # Closes the way out of this sandbox: over the system bus an account may enable linger for itself, and its
    # user manager would start programs of its choice outside. The folder, not the socket in it: that one is made
    # anew when dbus.socket restarts, and the new one would be in reach.
    ("InaccessiblePaths", "-/run/dbus"),
)
_STRICT: tuple[Directive, ...] = (
    ("PrivateUsers", "yes"),
    ("DevicePolicy", "closed"),
    # `chroot`, seccomp and landlock are what Chromium's zygote needs; @privileged taken away would break it. The
    # group @sandbox holds the last two, but systemd 252 does not know it.
    (
        "SystemCallFilter",
        "@system-service chroot seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
    ("SystemCallFilter", "~@resources"),
    ("SystemCallErrorNumber", "EPERM"),
)

#: Directives per profile. ``off`` has none: the agent can do what any account on the host can.
PROFILES: dict[Hardening, tuple[Directive, ...]] = {
    "off": (),
    "standard": _STANDARD,
    "strict": _STANDARD + _STRICT,
}

#: What ``systemd-analyze security`` says at most of a unit of each profile, out of 10; measured with systemd 252: 9.2,
#: 3.5 and 2.0.
EXPOSURE: dict[Hardening, float] = {"off": 9.3, "standard": 3.6, "strict": 2.1}


def service(spec: AgentSpec, release_id: str) -> str:
    """
    Return the text of ``hermes-<agent>.service``.

    ``hermes gateway run`` in the foreground (``gateway start`` would want a user manager), stopped with SIGINT
    (SIGTERM leaves the unit failed), restarted on failure within a start limit, with Hermes' own exit codes:
    75 asks for a restart, 78 says that the configuration is wrong and a restart is useless. No
    ``EnvironmentFile=``: Hermes reads ``.env`` itself, with another grammar, and wins.
    """
    paths = Layout(spec.name)
    bin_ = f"{release_directory(spec.name, release_id)}/venv/bin"
    # A shared release is read-only for the agent: an install at run time could only fail, late. One of its own lacks
    # what upstream leaves to the first use: of Discord, of Anthropic.
    lazy = [("Environment", "HERMES_DISABLE_LAZY_INSTALLS=1")] if is_shared(release_id) else []
    directory = release_directory(spec.name, release_id)
    # Its wheel lacks them; they lie beside it, and Hermes copies what is new of them to the agent when it starts.
    lacking = manifest().release(spec.release).environment(directory) if is_shared(release_id) else {}
    sections: list[tuple[str, list[Directive]]] = [
        (
            "Unit",
            [
                ("Description", f"Hermes agent {spec.name}"),
                ("Documentation", "https://github.com/NousResearch/hermes-agent"),
                ("Wants", "network-online.target"),
                ("After", "network-online.target"),
                ("StartLimitIntervalSec", "300"),
                ("StartLimitBurst", "10"),
            ],
        ),
        (
            "Service",
            [
                ("Type", "exec"),
                ("User", spec.name),
                ("Group", spec.name),
                ("Slice", SLICE),
                ("WorkingDirectory", paths.hermes_home),
                ("Environment", f"HOME={paths.home}"),
                ("Environment", f"HERMES_HOME={paths.hermes_home}"),
                ("Environment", f"PATH={search_path(spec.name, release_id)}"),
                ("Environment", "PYTHONUNBUFFERED=1"),
                # Without it the first chat after Discord could not be reached is an HTTP 500, on Python 3.11: the
                # garbage collector has a traceback logged in the middle of an ast.parse(), and its carets take another.
                ("Environment", "PYTHONNODEBUGRANGES=1"),
                *lazy,
                *(("Environment", f"{name}={value}") for name, value in lacking.items()),
                # 0.19 sleeps before its sixth start in two minutes, whoever asked for it: the limit above is ours.
                ("Environment", "HERMES_GATEWAY_MAX_STARTS=0"),
                ("ExecStart", _guarded(paths, f"{bin_}/hermes gateway run")),
                ("SyslogIdentifier", "hermes"),
                ("Restart", "on-failure"),
                ("RestartSec", "5"),
                ("SuccessExitStatus", "75"),
                ("RestartForceExitStatus", "75"),
                ("RestartPreventExitStatus", "78"),
                ("KillMode", "mixed"),
                ("KillSignal", "SIGINT"),
                ("TimeoutStopSec", str(_STOP_TIMEOUT)),
                ("UMask", "0077"),
                *_limits(spec.limits),
                *((name, value.format(home=paths.home)) for name, value in PROFILES[spec.hardening]),
            ],
        ),
        ("Install", [("WantedBy", "multi-user.target")]),
    ]
    header = [UNIT_HEADER, f"# release {release_id}, hardening {spec.hardening}"]
    return _text(header, sections)


def search_path(agent: str, release_id: str) -> str:
    """Return where an agent's daemon looks for programs."""
    return (
        f"{release_directory(agent, release_id)}/venv/bin:{Layout(agent).home}/.local/bin:/usr/local/bin:/usr/bin:/bin"
    )


def shared_slice() -> str:
    """Return the text of the slice that bounds all agents of a host together."""
    return _text(
        [UNIT_HEADER],
        [
            ("Unit", [("Description", "All Hermes agents")]),
            ("Slice", [("MemoryHigh", "80%"), ("MemoryMax", "90%"), ("TasksMax", "50%")]),
        ],
    )


def _guarded(paths: Layout, command: str) -> str:
    # 0.13 serves its API without authentication when the key line is missing, and the last line of several wins.
    # The guard is part of the main process: systemd heeds RestartPreventExitStatus= for no other. As ExecStartPre=
    # it was restarted until the start limit, as ExecCondition= the unit would only be skipped, and nobody would see.
    count = r"grep -cE \"^[[:space:]]*(export[[:space:]]+)?API_SERVER_KEY\""
    shape = r"grep -qxE \"API_SERVER_KEY=[0-9a-f]{64}\""
    env = paths.env
    reason = f"{env} must have exactly one valid API_SERVER_KEY line; run: clm agent configure {paths.agent}"
    script = (
        f'[ \\"$$({count} {env})\\" = 1 ] && {shape} {env} || {{ echo \\"{reason}\\" >&2; exit 78; }}; exec \\"$$@\\"'
    )
    return f'/bin/sh -c "{script}" hermes {command}'


def _limits(limits: Limits) -> list[Directive]:
    return [
        ("MemoryHigh", limits.memory_high),
        ("MemoryMax", limits.memory_max),
        ("TasksMax", str(limits.tasks_max)),
        ("OOMPolicy", "continue"),
    ]


def _text(header: list[str], sections: list[tuple[str, list[Directive]]]) -> str:
    lines = list(header)
    for name, directives in sections:
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in directives)]
    return "\n".join(lines) + "\n"
