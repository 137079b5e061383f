"""Manage installed releases of Hermes: side by side, owned by root, never changed once complete."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from importlib import resources
from pathlib import Path

from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.script import RELEASES

from .commands import refuse, unobserved
from .observing import forget, observe


class NoWheels(RuntimeError):
    """The wheels of a release could not be had; the text says where they were looked for, and why not."""


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
      raises :class:`NoWheels`

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
    # A name nobody can guess, made by the login itself with mode 0700: nothing can be planted in it.
    staging = f"/tmp/pyinfra-hermes-{secrets.token_hex(16)}"  # noqa: S108
    yield StringCommand("mkdir -m 700 --", staging, _sudo=False)
    try:
        wheels = archive(observed.host.python or "", observed.host.arch)
    except NoWheels as error:
        yield StringCommand("rmdir --", staging, _sudo=False)
        yield refuse(str(error))
        return
    yield FileUploadCommand(str(wheels), f"{staging}/wheels.tar", _sudo=False)
    script = resources.files("pyinfra_hermes.operations").joinpath("release.sh").read_text(encoding="utf-8")
    yield StringCommand(
        "sh -s --",
        QuoteString(RELEASES),
        QuoteString(release),
        QuoteString(calver),
        staging,
        # The script reads itself from standard input; the lock follows it as a here-document.
        _stdin=script.replace("@LOCK@", lock.rstrip("\n")),
    )
    forget()
