"""Manage releases that upstream's own installer makes: fetched, verified, and run as the agent in a unit of its own."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.installing import Course, read
from pyinfra_hermes.facts.observation import Release
from pyinfra_hermes.facts.script import PENDING, await_installation

from . import locking
from .announcing import Change, announce
from .commands import refuse, unobserved
from .observing import forget, observe

#: Seconds that one poll stays on the host; between two of them a lost connection is noticed and progress is told.
_SLICE = 5
#: Seconds for which a host that was lost is tried again.
_PATIENCE = 180


class NoInstaller(RuntimeError):
    """The installer could not be had on the control machine; the text says where it was looked for, and why not."""


@dataclass(frozen=True)
class Bounds:
    """What an installation may take: time in seconds, memory as systemd takes it, processes and threads."""

    seconds: int = 45 * 60
    memory: str = "3G"
    tasks: int = 2048


@operation()
def script(
    agent: str,
    release: str,
    sha256: str,
    url: str | None = None,
    content: Callable[[], bytes] | None = None,
    remedy: str = "",
) -> Generator[StringCommand, None, None]:
    """
    Fetch upstream's installer on the host and verify it. Nothing of it is executed.

    + agent: name of the agent that it is for; its account need not exist
    + release: id of the release
    + sha256: digest that it must have
    + url: where it comes from, ``https://`` or ``http://``
    + content: gives its bytes instead, from the control machine; raises :class:`NoInstaller`
    + remedy: what to do when it is another, for the message

    One with another digest is thrown away before it is run, and the host fails; so do it before anything else.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import installer

        installer.script(
            name="Fetch the installer",
            agent="maurice",
            release="v2026.5.7-installer-b34368cb",
            sha256="b34368cb0628d5acbdc48fe6f4160fb6f51bb33377e8f5a7415fd790a57456e5",
            url="https://raw.githubusercontent.com/NousResearch/hermes-agent/v2026.5.7/scripts/install.sh",
            _sudo=True,
        )
    """
    observed = observe(agent)
    if observed is None:
        yield unobserved()
        return
    under_way = observed.agent(agent).installation
    if observed.has_release(agent, release):
        ctx_host.get().noop(f"release {release} is installed")
        return
    if under_way is not None and under_way.active:
        ctx_host.get().noop(f"release {under_way.release} is being installed")
        return
    announce(Change("do", f"installer of {release}", "fetch and verify"))
    text = ""
    if content is not None:
        try:
            text = base64.encodebytes(content()).decode("ascii").rstrip("\n")
        except NoInstaller as error:
            yield refuse(f"{error}\n{remedy}")
            return
    yield StringCommand(
        "sh -s --",
        *(QuoteString(word) for word in (agent, release, PENDING, sha256, url or "-", remedy)),
        _stdin=_packaged("installer_fetch.sh").replace("@FILE@", text),
    )


@operation()
def release(
    agent: str,
    release: str,
    calver: str,
    directory: str,
    hermes_home: str,
    sha256: str,
    repository: str,
    uv: str,
    arguments: Sequence[str],
    bounds: Bounds = Bounds(),
    progress: Callable[[str], None] | None = None,
) -> Generator[StringCommand, None, None]:
    """
    Install a release for one agent with the installer that :func:`script` brought.

    + agent: name of the agent
    + release: id of the release
    + calver: version that ``hermes --version`` must print in parentheses
    + directory: folder of the release; it is made anew
    + hermes_home: the agent's ``~/.hermes``, with a ``.env``
    + sha256: digest of the installer
    + repository: URL from which it clones
    + uv: path of the uv that it uses
    + arguments: the installer's arguments
    + bounds: what it may take of the host
    + progress: called with a sentence for each of its steps; the log gets them otherwise

    It runs as the agent, without a terminal and without a way to more rights, in ``hermes-install-<agent>.service``:
    nobody has to wait for it. A lost connection is made anew; a run that finds the installation under way waits for
    that one. The release counts as installed when its own version is right and root has it on record. One that
    failed is removed, with its log kept, and what the agent had before is as it was.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import installer

        home = "/home/maurice/.hermes"
        installer.release(
            name="Install Hermes v2026.5.7",
            agent="maurice",
            release="v2026.5.7-installer-b34368cb",
            calver="2026.5.7",
            directory=f"{home}/releases/v2026.5.7-installer-b34368cb",
            hermes_home=home,
            sha256="b34368cb0628d5acbdc48fe6f4160fb6f51bb33377e8f5a7415fd790a57456e5",
            repository="https://github.com/NousResearch/hermes-agent.git",
            uv="/usr/local/bin/uv",
            arguments=["--skip-setup", "--branch", "v2026.5.7", "--hermes-home", home, "--dir", "..."],
            _sudo=True,
        )
    """
    observed = observe(agent)
    if observed is None:
        yield unobserved()
        return
    if observed.has_release(agent, release):
        ctx_host.get().noop(f"release {release} is installed")
        return
    tell = progress or _log
    under_way = observed.agent(agent).installation
    attached = under_way is not None and under_way.active
    if under_way is not None and attached and under_way.release != release:
        yield refuse(
            f"agent {agent} gets {under_way.release} at this moment. Wait until that is done, or end it on the host: "
            f"systemctl stop hermes-install-{agent}.service"
        )
        return
    announce(Change("do", directory, "wait for the installation under way") if attached else Change("add", directory))
    script = _packaged("installer_start.sh")
    for mark, name in (
        ("@RUN@", "installer_run.sh"),
        ("@END@", "installer_end.sh"),
        ("@ENTER@", "installer_enter.py.txt"),
    ):
        script = script.replace(mark, _packaged(name).rstrip("\n"))
    words = [agent, release, calver, directory, hermes_home, PENDING, sha256, repository]
    words += [str(bounds.seconds), bounds.memory, str(bounds.tasks), uv, *arguments]
    yield StringCommand("sh -s --", *(QuoteString(word) for word in words), _stdin=script)
    forget()
    if attached:
        tell(f"the installation of {release} is under way already; waiting for it")
    course = _followed(agent, tell, attached)
    if course is not None and not _held_again(time.monotonic() + 2 * locking.SILENCE):
        yield refuse("another run has taken the agent while the connection was lost; the same command carries on")
    elif course is None:
        yield refuse(
            f"{ctx_host.get().name} cannot be reached any more; the installation goes on there. "
            "The same command waits for it again"
        )
    elif course.word == "gone":
        yield refuse(
            f"the installation of {release} was cut off: the host went down, or the agent was removed. "
            "The same command begins anew"
        )
    elif course.word == "failed":
        yield refuse(_failure(agent, release, course))
    elif (now := observe(agent)) is not None and (made := now.agent(agent).releases.get(release)) and made.fallback:
        tell(f"Warning: {fallback_of(made)}")


def fallback_of(release: Release) -> str:
    """Say what it means that upstream's installer took a fallback tier."""
    lacks = "" if release.fallback == "all" else ", and some of its features are missing"
    return (
        f"upstream's installer of {release.id} could not install what its lock pins, and took its fallback tier "
        f"({release.fallback}): nobody checked those packages against hashes{lacks}"
    )


def _followed(agent: str, tell: Callable[[str], None], attached: bool) -> Course | None:
    """Wait until an installation has ended; None when the host cannot be reached any more."""
    offset, lost = 0, None
    while True:
        course = _asked(await_installation(agent, offset, _SLICE))
        if course is None:
            now = time.monotonic()
            lost = now if lost is None else lost
            if now - lost > _PATIENCE:
                return None
            tell("the connection was lost; the installation goes on, and the host is tried again")
            time.sleep(2)
            _reconnect()
            continue
        _held_again(0)
        # Of what was said before anybody listened, the last step says how far it is.
        for line in course.steps[-1:] if attached and not offset else course.steps:
            tell(f"{_elapsed(course.elapsed)}  {line}")
        lost, offset = None, course.size
        if course.word != "running":
            return course


def _held_again(deadline: float) -> bool:
    """Hold the agent again that a lost connection let go, trying until a moment; tell whether it is held."""
    while True:
        try:
            locking.hold_again(ctx_host.get())
            return True
        except (locking.Locked, locking.Unavailable, SSHException, OSError, EOFError):
            if time.monotonic() >= deadline:
                return False
            time.sleep(1)


def _asked(script: str) -> Course | None:
    host = ctx_host.get()
    if not host.connected:
        # It was tried anew, and did not answer: what there is of a connection cannot be asked any more.
        return None
    given = host.current_op_global_arguments or {}
    privileges: dict[str, Any] = {
        name: value for name in ("_sudo", "_sudo_user", "_doas", "_su_user") if (value := given.get(name))
    }
    try:
        _, output = host.run_shell_command(
            StringCommand("sh -s"), print_output=False, print_input=False, _stdin=script, _timeout=60, **privileges
        )
    except (SSHException, OSError, EOFError):
        return None
    return read(output.stdout_lines)


def _reconnect() -> None:
    host = ctx_host.get()
    try:
        host.disconnect()
        host.connect(show_errors=False)
    except (SSHException, OSError, EOFError):
        pass


def _failure(agent: str, release: str, course: Course) -> str:
    at = f" at the step {course.at!r}" if course.at else ""
    return "\n".join(
        [
            f"the installer of {release} failed{at}: {course.reason}, after {_elapsed(course.elapsed)}. "
            "What it had made was removed; what the agent had before is as it was. Its last lines:",
            *(f"  {line}" for line in course.log),
            f"The whole log is on the host, for root: {PENDING}/{agent}.installer/log",
        ]
    )


def _elapsed(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


def _log(text: str) -> None:
    logger.info(f"{ctx_host.get().print_prefix}{text}")


def _packaged(name: str) -> str:
    return resources.files("pyinfra_hermes.operations").joinpath(name).read_text(encoding="utf-8")
