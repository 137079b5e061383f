"""What a host must have before anything is made on it, all of it reported at once."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.observation import AgentState, HostState, Observation

from .announcing import Change, announce
from .commands import refuse, unobserved
from .observing import forget, observe

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
    #: Lowest Python, and the first that is too new; None where the release brings its own.
    python: tuple[str, str] | None
    #: Programs that it needs beside ours, each with the Debian package that brings it.
    tools: Mapping[str, str] = field(default_factory=dict)
    memory_mib: int = 900
    #: Folder and what must be free there while a release or an agent is being made; wheels are uploaded to /tmp.
    disk_mib: tuple[tuple[str, int], ...] = (("/opt", 900), ("/home", 200), ("/etc", 1), ("/var", 20), ("/tmp", 150))  # noqa: S108
    #: Platforms on which another method alone can install it, and that method.
    others: tuple[tuple[str, str, str], ...] = ()
    other_method: str = ""


def missing_tools(host: HostState, requirements: Requirements) -> list[str]:
    """Return one sentence per missing program."""
    return [
        f"{_HERMES_TOOLS[tool]} is required by hermes but was not found on this host."
        if tool in _HERMES_TOOLS
        else f"{tool} (Debian package {package}) was not found on this host."
        for tool, package in {**TOOLS, **requirements.tools}.items()
        if tool not in host.tools
    ]


def missing_packages(host: HostState, requirements: Requirements) -> tuple[str, ...]:
    """Return the Debian packages that bring every missing program."""
    wanted = {**TOOLS, **requirements.tools}
    return tuple(dict.fromkeys(package for tool, package in wanted.items() if tool not in host.tools))


def remedy(host: HostState, requirements: Requirements) -> str | None:
    """Return the one command that brings every missing program."""
    packages = missing_packages(host, requirements)
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
    unknown = [name for name in ("os", "os_version", "arch") if getattr(host, name) in ("", "unknown")]
    if unknown:
        # Whatever is then taken for granted is wrong for somebody.
        problems.append(
            f"it cannot be told what the host is ({', '.join(unknown)} unknown): its /etc/os-release must have ID and "
            "VERSION_ID, and uname -m must answer. See what is found with: clm host check HOST"
        )
    elif (host.os, host.os_version, host.arch) not in requirements.platforms:
        listed = ", ".join(" ".join(row) for row in requirements.platforms)
        way = ""
        if (host.os, host.os_version, host.arch) in requirements.others:
            way = f" It can be installed here with: --method {requirements.other_method}"
        problems.append(
            f"{host.os} {host.os_version} {host.arch} is not a platform of this release; it has: {listed}.{way}"
        )
    if host.memory_mib < requirements.memory_mib:
        problems.append(f"{requirements.memory_mib} MiB of memory are needed, the host has {host.memory_mib}.")
    problems += missing_tools(host, requirements)
    if requirements.python is not None and host.python is not None:
        low, high = requirements.python
        if not _version(low) <= _version(host.python) < _version(high):
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


def problems(
    observed: Observation, name: str, release: str, port: int, requirements: Requirements, packages: bool = False
) -> list[str]:
    """
    Return every reason why the agent cannot be installed on the host, and as the last line one remedy.

    With ``packages`` what is missing of programs is none: it will be installed, see :func:`packages`.
    """
    if packages:
        there = {**TOOLS, **requirements.tools}
        observed = replace(observed, host=replace(observed.host, tools={**there, **observed.host.tools}))
    agent = observed.agent(name)
    under_way = agent.installation is not None and agent.installation.active
    installing = agent.account is None or not (under_way or observed.has_release(name, release))
    found = host_problems(observed.host, requirements, installing) + agent_problems(observed, agent, port)
    command = remedy(observed.host, requirements)
    return [*found, command] if command else found


@operation()
def packages(agent: str, requirements: Requirements, seconds: int = 600) -> Generator[StringCommand, None, None]:
    """
    Install the Debian packages of every program that a host lacks, with apt; nothing else of it is changed.

    + agent: name of the agent that they are for
    + requirements: what its release asks of a host
    + seconds: how long to wait for another that holds apt's locks; it is never ended

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import preflight

        preflight.packages(
            name="Install what Hermes needs",
            agent="maurice",
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
    wanted = missing_packages(observed.host, requirements)
    if not wanted:
        ctx_host.get().noop("the host has every program that is needed")
        return
    announce(*(Change("add", f"package {package}") for package in wanted))
    script = resources.files("pyinfra_hermes.operations").joinpath("packages.sh").read_text(encoding="utf-8")
    yield StringCommand("sh -s --", str(seconds), *map(QuoteString, wanted), _stdin=script)
    forget()


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
