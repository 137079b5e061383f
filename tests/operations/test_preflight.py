"""What is missing on a host is told at once, with one remedy, and nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyinfra_hermes.deploys.install import requirements
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.facts.observation import AgentState, Listener
from pyinfra_hermes.operations import preflight
from pyinfra_hermes.operations.preflight import TOOLS, Requirements, host_problems

from .harness import BARE, RUNNING, file, with_agent, yielded

NEEDS = Requirements(platforms=(("debian", "12", "x86_64"), ("debian", "13", "x86_64")), python=("3.11", "3.14"))
RELEASE = "v2026.5.7-wheel-481e9e99"
READY = replace(BARE, host=replace(BARE.host, tools={tool: f"/usr/bin/{tool}" for tool in TOOLS}))


def check(observed: Any, port: int = 8642) -> Any:
    return yielded(preflight.preflight, observed, agent="maurice", release=RELEASE, port=port, requirements=NEEDS)


def problems(observed: Any, port: int = 8642) -> list[str]:
    return preflight.problems(observed, "maurice", RELEASE, port, NEEDS)


def on_host(**changes: Any) -> Any:
    return replace(READY, host=replace(READY.host, **changes))


def test_a_host_with_everything_is_left_alone() -> None:
    found = check(READY)
    assert (found.commands, found.noop) == ([], "the host has what agent maurice needs")


def test_an_unobserved_host_is_not_passed() -> None:
    assert check(None).raw == ["echo 'the host could not be observed, see above; nothing was changed' >&2; exit 1"]


def test_a_refusal_is_one_failing_command_that_only_speaks() -> None:
    found = check(on_host(tools={}))
    [command] = found.raw
    assert command.startswith("echo '")
    assert command.endswith("' >&2; exit 1")
    assert found.noop is None


def test_everything_that_is_missing_is_told_at_once_with_one_remedy() -> None:
    tools = {tool: "/x" for tool in TOOLS if tool not in ("rg", "ffmpeg", "curl", "useradd", "userdel")}
    assert problems(on_host(tools=tools)) == [
        "ripgrep (binary `rg`) is required by hermes but was not found on this host.",
        "ffmpeg is required by hermes but was not found on this host.",
        "curl (Debian package curl) was not found on this host.",
        "useradd (Debian package passwd) was not found on this host.",
        "userdel (Debian package passwd) was not found on this host.",
        "Install it with: sudo apt-get update && sudo apt-get install -y ripgrep ffmpeg curl passwd",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"uid": 1000}, "root is needed: log in as root, or as a user with passwordless sudo."),
        ({"systemd": None}, "systemd does not run this host."),
        (
            {"os_version": "11"},
            "debian 11 x86_64 is not a platform of this release; it has: debian 12 x86_64, debian 13 x86_64.",
        ),
        (
            {"arch": "aarch64"},
            "debian 12 aarch64 is not a platform of this release; it has: debian 12 x86_64, debian 13 x86_64.",
        ),
        ({"memory_mib": 899}, "900 MiB of memory are needed, the host has 899."),
        ({"python": "3.10"}, "Python 3.11 or newer, but older than 3.14, is needed; the host has 3.10."),
        ({"python": "3.14"}, "Python 3.11 or newer, but older than 3.14, is needed; the host has 3.14."),
        (
            {"free_mib": {"/opt": 899, "/home": 9999, "/etc": 9, "/var": 99, "/tmp": 999}},
            "/opt has 899 MiB free, 900 are needed.",
        ),
        (
            {"free_mib": {"/opt": 9999, "/home": 9999, "/etc": 9, "/tmp": 999}},
            "/var has 0 MiB free, 20 are needed.",
        ),
        # The wheels are uploaded there.
        (
            {"free_mib": {"/opt": 9999, "/home": 9999, "/etc": 9, "/var": 99, "/tmp": 149}},
            "/tmp has 149 MiB free, 150 are needed.",
        ),
        *(
            (
                {name: "unknown"},
                f"it cannot be told what the host is ({name} unknown): its /etc/os-release must have ID and "
                "VERSION_ID, and uname -m must answer. See what is found with: clm host check HOST",
            )
            for name in ("os", "os_version", "arch")
        ),
    ],
)
def test_one_thing_that_is_missing_is_one_sentence(changes: dict[str, Any], line: str) -> None:
    assert problems(on_host(**changes)) == [line]


@pytest.mark.parametrize("python", ["3.11", "3.13", "3.13.9"])
def test_pythons_that_fit(python: str) -> None:
    assert problems(on_host(python=python)) == []


def test_disk_counts_only_while_something_is_made() -> None:
    full = {"/opt": 0, "/home": 0, "/etc": 0, "/var": 0, "/tmp": 0}
    there = replace(with_agent(RUNNING), host=replace(on_host().host, free_mib=full))
    assert problems(there) == []
    assert len(problems(replace(there, releases={}))) == 5
    assert len(problems(with_agent(there, account=None, paths={}))) == 5


def test_an_account_of_somebody_else_is_not_adopted() -> None:
    account = RUNNING.agent("maurice").account
    assert account is not None
    foreign = replace(READY, agents={"maurice": AgentState("maurice", account=replace(account, comment="Maurice,,,"))})
    assert problems(foreign) == [
        "the account maurice (uid 997) exists and was not made by pyinfra-hermes; it is neither adopted nor changed. "
        "Choose another name."
    ]


def test_a_home_without_an_account_is_not_adopted() -> None:
    left = replace(
        READY, agents={"maurice": AgentState("maurice", paths={"home": file(None, "700", kind="directory")})}
    )
    assert problems(left) == ["/home/maurice exists without an account; move it away or choose another name."]


def test_a_port_is_free_or_its_own() -> None:
    taken = replace(READY, listeners=(Listener("0.0.0.0", 8642, 77),))
    assert problems(taken) == ["port 8642 is taken by another process (pid 77). Choose another port."]
    assert problems(taken, port=8643) == []
    own = replace(RUNNING, host=READY.host)
    assert problems(own) == []
    another = replace(own, listeners=(Listener("127.0.0.1", 8642, 4712),))
    assert problems(another) == ["port 8642 is taken by another process (pid 4712). Choose another port."]


def test_a_platform_of_another_method_is_named() -> None:
    ubuntu = on_host(os="ubuntu", os_version="22.04", python="3.10")
    wanted = requirements(manifest().release(), "wheel")
    assert host_problems(ubuntu.host, wanted, installing=True)[0].endswith(
        "debian 12 aarch64, debian 13 aarch64, ubuntu 24.04 aarch64. It can be installed here with: --method installer"
    )
    assert not any(
        "platform" in line
        for line in host_problems(ubuntu.host, requirements(manifest().release(), "installer"), installing=True)
    )
