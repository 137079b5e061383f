"""Manage installed releases of Hermes: side by side, owned by root, never changed once complete."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

from pyinfra.api import FileUploadCommand, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.script import RELEASES

from .commands import unobserved
from .observing import observe
from .wheels import build


@operation()
def wheel(
    release: str,
    calver: str,
    lock: str,
    archive: Callable[[str, str], Path],
) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """
    Install a release from hash-locked wheels, shared and read-only for all agents of the host.

    + release: id of the release, the name of its folder
    + calver: version that ``hermes --version`` must print in parentheses
    + lock: requirements with hashes; nothing that does not match is installed or run
    + archive: called with the host's Python version and architecture, returns a local tar file of the wheels, or
      raises :class:`.wheels.NoWheels`

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
    yield from build(observed.host, RELEASES, release, "RELEASE", lock, archive, "release.sh", calver)
