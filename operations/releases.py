"""Manage installed releases of Hermes: side by side, owned by root, never changed once complete."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.script import PENDING, RELEASES

from .announcing import Change, announce
from .commands import refuse, unobserved
from .observing import forget, observe, observe_agent
from .wheels import build


class Sources(Protocol):
    """Sources of a release, one archive among its wheels, for the folders that the wheels lack."""

    @property
    def file(self) -> str:
        """Name of the archive, which is that of its one folder and ``.tar.gz``."""

    @property
    def sha256(self) -> str:
        """Its digest."""

    @property
    def folders(self) -> Sequence[str]:
        """Folders of it that are laid beside the environment."""


@operation()
def wheel(
    release: str,
    calver: str,
    lock: str,
    archive: Callable[[str, str], Path],
    sources: Sources | None = None,
) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """
    Install a release from hash-locked wheels, shared and read-only for all agents of the host.

    + release: id of the release, the name of its folder
    + calver: version that ``hermes --version`` must print in parentheses
    + lock: requirements with hashes; nothing that does not match is installed or run
    + archive: called with the host's Python version and architecture, returns a local tar file of the wheels, or
      raises :class:`.wheels.NoWheels`
    + sources: what is taken from the release's sources, which are in the same tar file

    A release counts as installed only once its last step is done. One that is not complete is built anew; two
    runs at once wait for each other.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import releases

        releases.wheel(
            name="Install Hermes v2026.5.7",
            release="v2026.5.7-wheel-481e9e99",
            calver="2026.5.7",
            lock=Path("v2026.5.7.lock").read_text(),
            archive=lambda python, arch: Path(f"wheels-{python}-{arch}.tar"),
            _sudo=True,
        )
    """
    observed = observe()
    if observed is None:
        yield unobserved()
        return
    if release in observed.releases:
        ctx_host.get().noop(f"release {release} is installed")
        return
    taken = (sources.file, sources.sha256, *sources.folders) if sources else ()
    yield from build(observed.host, RELEASES, release, "RELEASE", lock, archive, "release.sh", calver, *taken)


@operation()
def verified(
    agent: str, release: str, directory: str, calver: str, account: str | None = None
) -> Generator[StringCommand, None, None]:
    """
    Run a release once before an agent gets it: it says its version, and what the gateway needs can be imported.

    + agent: name of the agent
    + release: id of the release
    + directory: where it lies
    + calver: version that ``hermes --version`` must print in parentheses
    + account: account that runs it; nobody's when not given

    An agent that runs this release already needs no verifying.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import releases

        releases.verified(
            name="Verify the release",
            agent="maurice",
            release="v2026.7.20-wheel-0a1b2c3d",
            directory="/opt/pyinfra-hermes/releases/v2026.7.20-wheel-0a1b2c3d",
            calver="2026.7.20",
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if state.runs == release:
        ctx_host.get().noop(f"agent {agent} runs release {release}")
        return
    script = resources.files("pyinfra_hermes.operations").joinpath("verify.sh").read_text(encoding="utf-8")
    words = [QuoteString(word) for word in (directory, calver, account or "nobody")]
    yield StringCommand("sh -s --", *words, _stdin=script)


@operation()
def pruned(shared: Sequence[str], own: Mapping[str, Sequence[str]]) -> Generator[StringCommand, None, None]:
    """
    Remove releases that nobody needs. One that an agent runs or may go back to stays, and the host fails then.

    + shared: ids of those that all agents of the host share
    + own: ids of those that upstream's installer made, by agent

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import releases

        releases.pruned(name="Prune", shared=["v2026.5.7-wheel-481e9e99"], own={}, _sudo=True)
    """
    observed = observe(*own)
    if observed is None:
        yield unobserved()
        return
    there = [id for id in shared if id in observed.releases]
    there += [f"{agent}/{id}" for agent, ids in own.items() for id in ids if id in observed.agent(agent).releases]
    if not there:
        ctx_host.get().noop("the releases are gone")
        return
    needed = observed.needed_releases
    if stay := [each for each in there if each.rpartition("/")[2] in needed]:
        yield refuse(f"{', '.join(stay)}: needed by an agent, and kept; nothing was removed")
        return
    announce(*(Change("remove", f"release {each}") for each in there))
    script = resources.files("pyinfra_hermes.operations").joinpath("prune.sh").read_text(encoding="utf-8")
    yield StringCommand("sh -s --", RELEASES, PENDING, *(QuoteString(each) for each in there), _stdin=script)
    forget()
