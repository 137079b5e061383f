"""What a host must have before anything is made on it, all of it reported at once."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from pyinfra.api import StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.observation import AgentState, HostState, Observation

from .commands import refuse, unobserved
from .observing import observe

#: Programs that an agent and our own operations need, with the Debian package that brings each.
TOOLS = {
    "rg": "ripgrep",
    "ffmpeg": "ffmpeg",
    "python3": "python3",
    "curl": "curl",
    "ss": "iproute2",
    "setpriv": "util-linux",
    "flock": "util-linux",
    "useradd": "passwd",
    "userdel": "passwd",
    "sha256sum": "coreutils",
    "base64": "coreutils",
    "getent": "libc-bin",
}
#: What Hermes itself says it needs; their absence has a sentence that users know.
_HERMES_TOOLS = {"rg": "ripgrep (binary `rg`)", "ffmpeg": "ffmpeg"}


@dataclass(frozen=True)
class Requirements:
    """What a release asks of a host. Memory and disk in MiB."""

    #: ``(os, version, architecture)`` as /etc/os-release and uname(1) name them.
    platforms: tuple[tuple[str, str, str], ...]
    #: Lowest Python, and the first that is too new.
    python: tuple[str, str]
    memory_mib: int = 900
    #: Folder and what must be free there while a release or an agent is being made.
    disk_mib: tuple[tuple[str, int], ...] = (("/opt", 900), ("/home", 200), ("/etc", 1), ("/var", 20))


def missing_tools(host: HostState) -> list[str]:
    """Return one sentence per missing program."""
    return [
        f"{_HERMES_TOOLS[tool]} is required by hermes but was not found on this host."
        if tool in _HERMES_TOOLS
        else f"{tool} (Debian package {package}) was not found on this host."
        for tool, package in TOOLS.items()
        if tool not in host.tools
    ]


def remedy(host: HostState) -> str | None:
    """Return the one command that brings every missing program."""
    packages = dict.fromkeys(package for tool, package in TOOLS.items() if tool not in host.tools)
    if not packages:
        return None
    return f"Install it with: sudo apt-get update && sudo apt-get install -y {' '.join(packages)}"


def host_problems(host: HostState, requirements: Requirements, installing: bool) -> list[str]:
    """Return everything about a host that stands in the way, a sentence each; disk counts only while installing."""
    problems: list[str] = []
    if host.uid != 0:
        problems.append("root is needed: log in as root, or as a user with passwordless sudo.")
    if host.systemd is None:
        problems.append("systemd does not run this host.")
    if (host.os, host.os_version, host.arch) not in requirements.platforms:
        listed = ", ".join(" ".join(row) for row in requirements.platforms)
        problems.append(f"{host.os} {host.os_version} {host.arch} is not a platform of this release; it has: {listed}.")
    if host.memory_mib < requirements.memory_mib:
        problems.append(f"{requirements.memory_mib} MiB of memory are needed, the host has {host.memory_mib}.")
    problems += missing_tools(host)
    if host.python is not None and not _version(requirements.python[0]) <= _version(host.python) < _version(
        requirements.python[1]
    ):
        low, high = requirements.python
        problems.append(f"Python {low} or newer, but older than {high}, is needed; the host has {host.python}.")
    if installing:
        for folder, needed in requirements.disk_mib:
            free = host.free_mib.get(folder, 0)
            if free < needed:
                problems.append(f"{folder} has {free} MiB free, {needed} are needed.")
    return problems


def agent_problems(observed: Observation, agent: AgentState, port: int) -> list[str]:
    """Return what on the host stands in the way of this agent: a name or a port that is somebody else's."""
    problems = []
    if agent.account is not None and not agent.account.ours:
        problems.append(
            f"the account {agent.name} (uid {agent.account.uid}) exists and was not made by pyinfra-hermes; "
            "it is neither adopted nor changed. Choose another name."
        )
    if agent.account is None and "home" in agent.paths:
        problems.append(f"/home/{agent.name} exists without an account; move it away or choose another name.")
    holder = observed.listener(port)
    if holder is not None and (agent.unit is None or holder.pid != agent.unit.main_pid):
        problems.append(f"port {port} is taken by another process (pid {holder.pid}). Choose another port.")
    return problems


def problems(observed: Observation, name: str, release: str, port: int, requirements: Requirements) -> list[str]:
    """Return every reason why the agent cannot be installed on the host, and as the last line one remedy."""
    agent = observed.agent(name)
    installing = agent.account is None or release not in observed.releases
    found = host_problems(observed.host, requirements, installing) + agent_problems(observed, agent, port)
    command = remedy(observed.host)
    return [*found, command] if command else found


@operation()
def preflight(agent: str, release: str, port: int, requirements: Requirements) -> Generator[StringCommand, None, None]:
    """
    Check that an agent can live on a host; change nothing.

    + agent: name of the agent
    + release: id of the release that it is to run
    + port: port that its API is to listen on
    + requirements: what the release asks of a host

    Everything that is missing is reported at once, with one command that brings the missing programs. The
    host fails when something is missing.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import preflight

        preflight.preflight(
            name="Check the host",
            agent="maurice",
            release="v2026.5.7-wheel-481e9e99",
            port=8642,
            requirements=preflight.Requirements(
                platforms=(("debian", "12", "x86_64"),),
                python=("3.11", "3.14"),
            ),
            _sudo=True,
        )
    """
    observed = observe(agent)
    if observed is None:
        yield unobserved()
        return
    found = problems(observed, agent, release, port, requirements)
    if found:
        yield refuse("\n".join(found))
    else:
        ctx_host.get().noop(f"the host has what agent {agent} needs")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
