"""Build an environment on a host from hash-locked wheels: for releases of Hermes and for tools alike."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from importlib import resources
from pathlib import Path

from pyinfra.api import FileUploadCommand, QuoteString, StringCommand

from pyinfra_hermes.facts.observation import HostState

from .announcing import Change, announce
from .commands import refuse
from .observing import forget


class NoWheels(RuntimeError):
    """Wheels could not be had; the text says where they were looked for, and why not."""


def build(
    host: HostState,
    folder: str,
    id: str,
    record: str,
    lock: str,
    archive: Callable[[str, str], Path],
    finish: str,
    *arguments: str,
) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """
    Yield what brings the wheels to a host and makes an environment of them.

    + host: what is known of the host
    + folder, id: where all of them lie on the host, and the name of this one
    + record: name of the file that is written last, and makes it count
    + lock: requirements with hashes; nothing that does not match is installed or run
    + archive: called with the host's Python version and architecture, returns a local tar file of the wheels, or
      raises :class:`NoWheels`
    + finish, arguments: the script that goes behind wheels.sh, and its arguments
    """
    announce(Change("add", f"{folder}/{id}"))
    # A name nobody can guess, made by the login itself with mode 0700: nothing can be planted in it.
    staging = f"/tmp/pyinfra-hermes-{secrets.token_hex(16)}"  # noqa: S108
    yield StringCommand("mkdir -m 700 --", staging, _sudo=False)
    try:
        wheels = archive(host.python or "", host.arch)
    except NoWheels as error:
        yield StringCommand("rmdir --", staging, _sudo=False)
        yield refuse(str(error))
        return
    yield FileUploadCommand(str(wheels), f"{staging}/wheels.tar", _sudo=False)
    scripts = resources.files("pyinfra_hermes.operations")
    script = "".join(scripts.joinpath(name).read_text(encoding="utf-8") for name in ("wheels.sh", finish))
    yield StringCommand(
        "sh -s --",
        QuoteString(folder),
        QuoteString(id),
        QuoteString(record),
        staging,
        *(QuoteString(argument) for argument in arguments),
        # The script reads itself from standard input; the lock follows it as a here-document.
        _stdin=script.replace("@LOCK@", lock.rstrip("\n")),
    )
    forget()
