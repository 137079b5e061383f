"""Upstream's installers, fetched to this machine to be looked at: nothing of them is run here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urljoin, urlsplit

import httpx

from pyinfra_hermes.deploys import caching
from pyinfra_hermes.deploys.upstream import InvalidSource, Upstream

from ..exits import Exit
from ..problems import Problem

#: Bytes that an installer may have; those known have 60 to 135 thousand.
LARGEST = 2_000_000
_REDIRECTS = 5
_CONNECT_SECONDS, _READ_SECONDS, _SECONDS = 10, 15, 60


class CannotFetch(Exception):
    """An installer could not be had; the text says from where, and why not."""


@dataclass(frozen=True)
class Installer:
    """
    An installer as it was fetched.

    + content: its bytes
    + origin: where they came from
    """

    content: bytes
    origin: str

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def text(self) -> str:
        """Its text, to be looked at."""
        return self.content.decode(errors="replace")


def upstream(base: str | None) -> Upstream:
    """Return where installers come from. Raises :class:`Problem`."""
    try:
        return Upstream.of(base)
    except InvalidSource as error:
        raise Problem(f"{error}", "Give another one with --base", Exit.USAGE) from None


def fetch(source: Upstream, tag: str) -> Installer:
    """Fetch the installer of a tag, and keep it by its digest for later comparisons. Raises :class:`CannotFetch`."""
    place = source.at(tag)
    found = _read(place) if isinstance(place, Path) else _downloaded(place)
    if not found.content.startswith(b"#!"):
        raise CannotFetch(f"{found.origin} is no script: it does not begin with #!")
    _keep(found)
    return found


def kept(sha256: str) -> Installer | None:
    """Return an installer with a digest that was fetched on this machine before, or None."""
    file = _cache() / sha256
    try:
        found = Installer(file.read_bytes(), str(file))
    except OSError:
        return None
    return found if found.sha256 == sha256 else None


def _read(file: Path) -> Installer:
    try:
        if file.stat().st_size > LARGEST:
            raise CannotFetch(f"{file} is larger than {LARGEST} bytes")
        return Installer(file.read_bytes(), str(file))
    except OSError as error:
        raise CannotFetch(f"{file}: {error.strerror}") from None


def _downloaded(url: str) -> Installer:
    limits = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    began, at = monotonic(), url
    try:
        with httpx.Client(timeout=limits, follow_redirects=False, headers={"Accept-Encoding": "identity"}) as client:
            for _ in range(_REDIRECTS + 1):
                with client.stream("GET", at) as response:
                    if response.is_redirect:
                        at = _onward(at, response.headers.get("location", ""))
                        continue
                    if response.status_code != 200:
                        raise CannotFetch(f"{at} answered {response.status_code}{_of(response.status_code)}")
                    return Installer(_body(response, at, began), at)
    except httpx.TimeoutException:
        raise CannotFetch(f"{at}: no answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotFetch(f"{at}: {error or type(error).__name__}") from None
    raise CannotFetch(f"{url} leads from one address to the next, more than {_REDIRECTS} times")


def _onward(at: str, location: str) -> str:
    there = urljoin(at, location)
    secure = urlsplit(at).scheme == "https"
    if urlsplit(there).scheme not in (("https",) if secure else ("https", "http")):
        raise CannotFetch(f"{at} leads to {there}, which is not https; it was not followed")
    return there


def _body(response: httpx.Response, at: str, began: float) -> bytes:
    found = b""
    for piece in response.iter_raw():
        found += piece
        if len(found) > LARGEST:
            raise CannotFetch(f"{at} sends more than {LARGEST} bytes")
        if monotonic() - began > _SECONDS:
            raise CannotFetch(f"{at}: not there after {_SECONDS} s")
    return found


def _of(status: int) -> str:
    return ": upstream has no such tag, or the tag no installer" if status == 404 else ""


def _keep(found: Installer) -> None:
    # It only helps to show what changed later on; nothing depends on it.
    caching.keep(_cache() / found.sha256, found.content)


def _cache() -> Path:
    return caching.folder("installers")
