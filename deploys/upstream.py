"""Where upstream's installer and repository come from: its own addresses, a mirror, or a folder here."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pyinfra_hermes.operations.installer import NoInstaller

from .model.releases import Release

INSTALLERS = "https://raw.githubusercontent.com"
REPOSITORY = "https://github.com/NousResearch/hermes-agent.git"
#: Where the installer of a tag lies below a base, as upstream has it.
_PLACE = "NousResearch/hermes-agent/{tag}/scripts/install.sh"

_URL = re.compile(r"[A-Za-z0-9.:/_~%+@\[\]-]+")


class InvalidSource(ValueError):
    """An address that cannot be used; the text says why."""


@dataclass(frozen=True)
class Upstream:
    """
    Two addresses. Raises :class:`InvalidSource` when one cannot be used.

    + installers: base of ``NousResearch/hermes-agent/<tag>/scripts/install.sh``: ``https://``, ``http://``, or a folder
      on the control machine for hosts without a way out
    + repository: what upstream's installer clones: ``https://``, ``http://``, or ``file:///``, a folder on the host
    """

    installers: str = INSTALLERS
    repository: str = REPOSITORY

    def __post_init__(self) -> None:
        if self._folder is None:
            _check(self.installers, "the base of installers", ("https", "http"))
        elif not self._folder.is_dir():
            raise InvalidSource(f"the base of installers, {self.installers}, is neither a URL nor a folder")
        _check(self.repository, "the repository", ("https", "http", "file"))

    @classmethod
    def of(cls, installers: object = None, repository: object = None) -> Upstream:
        """
        Return what host data or options say, else the environment, else upstream's own addresses.

        Its variables are ``HERMES_INSTALLER_BASE`` and ``HERMES_REPOSITORY``.
        """
        given = (
            installers or os.environ.get("HERMES_INSTALLER_BASE") or INSTALLERS,
            repository or os.environ.get("HERMES_REPOSITORY") or REPOSITORY,
        )
        for value in given:
            if not isinstance(value, str):
                raise InvalidSource(f"an address of upstream must be text, not {type(value).__name__}")
        return cls(*map(str, given))

    def at(self, tag: str) -> str | Path:
        """Return where the installer of a tag lies: its address, or its file on the control machine."""
        place, folder = _PLACE.format(tag=tag), self._folder
        return f"{self.installers.rstrip('/')}/{place}" if folder is None else folder / place

    def url(self, release: Release) -> str | None:
        """Return where a host fetches a release's installer; None where it is sent to it."""
        found = self.at(release.tag)
        return found if isinstance(found, str) else None

    def content(self, release: Release) -> Callable[[], bytes] | None:
        """Return what gives a release's installer from the folder; None where the host fetches it."""
        found = self.at(release.tag)
        return None if isinstance(found, str) else lambda: _read(found, release)

    @property
    def _folder(self) -> Path | None:
        text = self.installers
        if text.startswith("file://"):
            return Path(text.removeprefix("file://"))
        return None if "://" in text else Path(text).expanduser()


def _read(path: Path, release: Release) -> bytes:
    try:
        found = path.read_bytes()
    except OSError as error:
        raise NoInstaller(f"the installer of {release.tag} could not be read: {path}: {error.strerror}") from None
    actual = hashlib.sha256(found).hexdigest()
    if actual != release.installer_sha256:
        raise NoInstaller(
            f"the installer of {release.tag} is not the one that is pinned; nothing was executed\n"
            f"  expected sha256 {release.installer_sha256}\n  actual   sha256 {actual}\n  from {path}"
        )
    return found


def _check(url: str, what: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for one that is no number
    except ValueError:
        raise InvalidSource(f"{what}, {url!r}, is not a URL") from None
    if not _URL.fullmatch(url) or parts.scheme not in schemes:
        raise InvalidSource(f"{what}, {url!r}, is not a URL of {', '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.netloc:
        # It would be in arguments and logs on the host.
        raise InvalidSource(f"{what} has a user or password in its URL; they would be seen by others on the host")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
            raise InvalidSource(f"{what}, {url!r}, must be file:/// and the path of a folder on the host")
    elif not parts.hostname:
        raise InvalidSource(f"{what}, {url!r}, names no host")
