"""The unit of an agent, per hardening profile."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.deploys.model import unit
from pyinfra_hermes.deploys.model.layout import UNIT_HEADER
from pyinfra_hermes.deploys.model.spec import AgentSpec

RELEASE = "v2026.5.7-wheel-481e9e99"
PROFILES = ("off", "standard", "strict")


def text(**fields: Any) -> str:
    return unit.service(AgentSpec.parse({"name": "maurice", **fields}), RELEASE)


def directives(service: str) -> list[str]:
    return [line for line in service.splitlines() if "=" in line and not line.startswith("#")]


@pytest.mark.parametrize("hardening", PROFILES)
def test_what_every_profile_has(hardening: str) -> None:
    service = text(hardening=hardening)
    assert service.splitlines()[:2] == [UNIT_HEADER, f"# release {RELEASE}, hardening {hardening}"]
    found = directives(service)
    for line in (
        "Type=exec",
        "User=maurice",
        "Group=maurice",
        "Slice=hermes.slice",
        "WorkingDirectory=/home/maurice/.hermes",
        "Environment=HERMES_HOME=/home/maurice/.hermes",
        "SyslogIdentifier=hermes",
        "Restart=on-failure",
        "RestartForceExitStatus=75",
        "RestartPreventExitStatus=78",
        "KillSignal=SIGINT",
        "TimeoutStopSec=210",
        "UMask=0077",
        "MemoryHigh=1536M",
        "MemoryMax=2G",
        "TasksMax=1024",
        "StartLimitBurst=10",
        "WantedBy=multi-user.target",
    ):
        assert found.count(line) == 1, line
    [started] = [line for line in found if line.startswith("Exec")]
    assert started.startswith("ExecStart=/bin/sh -c ")
    assert started.endswith(f'" hermes /opt/pyinfra-hermes/releases/{RELEASE}/venv/bin/hermes gateway run')
    lacking = f"/opt/pyinfra-hermes/releases/{RELEASE}/skills"
    assert found.count(f"Environment=HERMES_BUNDLED_SKILLS={lacking}") == 1
    # Hermes reads .env itself; systemd would read it with another grammar.
    assert "EnvironmentFile" not in service
    assert service.endswith("\n")


def test_off_restricts_nothing() -> None:
    assert unit.PROFILES["off"] == ()
    for word in ("Protect", "Private", "Restrict", "NoNewPrivileges", "SystemCall"):
        assert not any(line.startswith(word) and "Exit" not in line for line in directives(text(hardening="off")))


def test_each_profile_holds_the_one_before() -> None:
    off, standard, strict = (set(directives(text(hardening=name))) for name in PROFILES)
    assert off < standard < strict


def test_standard_hides_other_homes_but_not_its_own() -> None:
    found = directives(text(hardening="standard"))
    for line in ("ProtectHome=tmpfs", "BindPaths=/home/maurice", "ProtectSystem=strict", "NoNewPrivileges=yes"):
        assert line in found
    assert "InaccessiblePaths=-/run/dbus" in found
    assert "{home}" not in text(hardening="strict")


def test_strict_filters_system_calls() -> None:
    found = directives(text(hardening="strict"))
    assert any(line.startswith("SystemCallFilter=@system-service chroot seccomp ") for line in found)
    assert "SystemCallFilter=~@resources" in found
    assert "PrivateUsers=yes" in found


def test_limits_are_those_of_the_specification() -> None:
    found = directives(text(limits={"memory_high": "100M", "memory_max": "200M", "tasks_max": 64}))
    assert {"MemoryHigh=100M", "MemoryMax=200M", "TasksMax=64"} <= set(found)


def test_the_slice_leaves_room_for_the_host() -> None:
    found = unit.shared_slice()
    assert found.startswith(UNIT_HEADER + "\n")
    assert {"MemoryHigh=80%", "MemoryMax=90%", "TasksMax=50%"} <= set(directives(found))


def guarded(env: Path) -> list[str]:
    """The command of ExecStart, for another file and program, with systemd's quoting and ``$$`` taken away."""
    [line] = [line for line in directives(text()) if line.startswith("ExecStart=")]
    command = line.removeprefix("ExecStart=").replace("/home/maurice/.hermes/.env", str(env))
    prefix, rest = command.split('"', 1)
    script, arguments = rest.rsplit('" ', 1)
    name, daemon, *words = arguments.split()
    assert daemon.endswith("/hermes") and words == ["gateway", "run"]
    return [*prefix.split(), script.replace('\\"', '"').replace("$$", "$"), name, "/bin/echo", *words]


KEY_LINE = f"API_SERVER_KEY={'0f' * 32}\n"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (KEY_LINE, 0),
        ("# a comment\nA=b\n" + KEY_LINE + "C=d\n", 0),
        ("", 78),
        ("# " + KEY_LINE, 78),
        (KEY_LINE + KEY_LINE, 78),
        (KEY_LINE + "API_SERVER_KEY=\n", 78),
        (KEY_LINE + "  export API_SERVER_KEY=x\n", 78),
        (KEY_LINE + "API_SERVER_KEY =x\n", 78),
        (KEY_LINE.upper(), 78),
        (KEY_LINE.replace("\n", "0\n"), 78),
        ("API_SERVER_KEY=\n", 78),
        (None, 78),
    ],
)
def test_the_daemon_does_not_start_without_exactly_one_good_key(
    tmp_path: Path, content: str | None, status: int
) -> None:
    env = tmp_path / ".env"
    if content is not None:
        env.write_text(content)
    result = subprocess.run(guarded(env), capture_output=True, text=True, check=False)
    assert result.returncode == status
    assert result.stdout == ("gateway run\n" if status == 0 else "")
    assert ("clm agent configure maurice" in result.stderr) is (status != 0)
