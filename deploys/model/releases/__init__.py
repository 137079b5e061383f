"""The releases of Hermes that may be installed: a validated manifest and one hash lock per release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator
from typing_extensions import override

from .. import manifests
from ..adapters import ADAPTERS, Adapter, Feature
from . import tags

#: How a release comes to a host: by upstream's ``scripts/install.sh``, or as hash-locked wheels.
Method = Literal["installer", "wheel"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: Whether a release was tried on a kind of host: by our tests, in CI, or never by us.
Status = Literal["tested", "untested"]
#: A folder of the sources that the wheels may lack.
Folder = Literal["skills", "optional-skills"]

#: Where Hermes is told that such a folder lies elsewhere than in its checkout.
_VARIABLES: Mapping[Folder, str] = {"skills": "HERMES_BUNDLED_SKILLS", "optional-skills": "HERMES_OPTIONAL_SKILLS"}


def _tag(text: object) -> object:
    return (tags.tag_of(text) or text) if isinstance(text, str) else text


Tag = Annotated[str, BeforeValidator(_tag), StringConstraints(pattern=r"^v\d+(\.\d+){2,3}$")]


def _adapter(name: object) -> object:
    if isinstance(name, str) and name not in ADAPTERS:
        raise ValueError(f"there is no adapter {name!r}; there are: {', '.join(ADAPTERS)}")
    return ADAPTERS[name] if isinstance(name, str) else name


class UnknownRelease(ValueError):
    """A release that the manifest does not list, or that a method cannot install."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Platform(_Row):
    """A kind of host that a release is known for, and how well by each method; a method that is not said cannot."""

    os: str
    os_version: str
    arch: Literal["x86_64", "aarch64"]
    installer: Status | None = None
    wheel: Status | None = None

    def status(self, method: Method) -> Status | None:
        """Return how well a method is known here; None when it cannot install there."""
        return self.wheel if method == "wheel" else self.installer

    @override
    def __str__(self) -> str:
        return f"{self.os} {self.os_version} {self.arch}"


class Source(_Row):
    """The release's own sources on the package index, for what its wheel lacks and the sources have."""

    file: Annotated[str, StringConstraints(pattern=r"^hermes_agent-[0-9][0-9A-Za-z.]*\.tar\.gz$")]
    sha256: Sha256
    folders: tuple[Folder, ...]


class Release(_Row):
    """One pinned release: an upstream tag, the package that carries it, and what proves that it is the one meant."""

    tag: Tag
    version: str | None = Field(None, description="version of hermes-agent on the Python package index, when known")
    extras: tuple[str, ...] = Field((), description="extras of hermes-agent that the lock holds")
    also: tuple[str, ...] = Field((), description="requirements beside them, for what upstream has no extra")
    installer_sha256: Sha256 = Field(description="digest of upstream's scripts/install.sh at the tag")
    lock: str | None = Field(None, description="hash-locked requirements of the wheel method, a file beside this one")
    lock_sha256: Sha256 | None = None
    source: Source | None = Field(None, description="sources that bring what the wheel lacks; the wheel method's")
    adapter: Annotated[Adapter, BeforeValidator(_adapter)] = Field(description="how this range of releases is treated")
    state_schema: int | None = Field(None, description="schema of state.db that it writes, when known")
    python: tuple[str, str] = Field(description="lowest Python, and the first one that is too new")
    platforms: tuple[Platform, ...]
    #: Reads a lock that does not ship: an overlay's.
    _read: Callable[[str], str] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _whole(self) -> Release:
        if (self.lock is None) != (self.lock_sha256 is None):
            raise ValueError("lock and lock_sha256 go together")
        if self.lock is None and any(row.wheel for row in self.platforms):
            raise ValueError("platforms name the method wheel, and there is no lock")
        return self

    @property
    def methods(self) -> tuple[Method, ...]:
        """The ways in which this release can come to a host."""
        return ("installer",) if self.lock is None else ("installer", "wheel")

    @property
    def calver(self) -> str:
        """The tag as ``hermes --version`` prints it: without the ``v``."""
        return self.tag.removeprefix("v")

    @property
    def id(self) -> str:
        """Name of the folder that the wheel method makes."""
        return self.id_of("wheel")

    def id_of(self, method: Method) -> str:
        """
        Return the name of the release's folder on a host.

        Another lock, other sources or another installer are another release and another folder. Raises
        :class:`UnknownRelease` for a method that this release cannot be installed by.
        """
        digest = self._wheel_sha256 if method == "wheel" else self.installer_sha256
        return f"{self.tag}-{method}-{digest[:8]}"

    @property
    def wanted(self) -> tuple[str, ...]:
        """What the lock is resolved from: Hermes with its extras, and uv, which installs it on the host."""
        return (f"hermes-agent[{','.join(self.extras)}]=={self.version}", *self.also, "uv==0.13.9")

    def has(self, feature: Feature) -> bool:
        """Tell whether this release has ``feature``."""
        return self.adapter.has(feature)

    def requirements(self) -> str:
        """Return the lock's text, checked against the manifest's digest. Raises :class:`UnknownRelease` without one."""
        if self.lock is None:
            raise self._no_lock()
        try:
            text = (self._read or _text)(self.lock)
        except OSError as error:
            raise ValueError(f"the lock of {self.tag}, {self.lock}, cannot be read: {error.strerror}") from None
        actual = hashlib.sha256(text.encode()).hexdigest()
        if actual != self.lock_sha256:
            raise ValueError(f"{self.lock}: sha256 is {actual}, the manifest says {self.lock_sha256}")
        return text

    def reading_with(self, read: Callable[[str], str]) -> Release:
        """Return the same release whose lock, named by its full path, is read with ``read``."""
        release = self.model_copy()
        release._read = read
        return release

    def platform(self, os: str, os_version: str, arch: str) -> Platform | None:
        """Return the row that fits a host, or None."""
        for row in self.platforms:
            if (row.os, row.os_version, row.arch) == (os, os_version, arch):
                return row
        return None

    def environment(self, directory: str) -> dict[str, str]:
        """Return the variables by which Hermes finds in its folder, made by the wheel method, what its wheel lacks."""
        folders = self.source.folders if self.source else ()
        return {_VARIABLES[folder]: f"{directory}/{folder}" for folder in folders}

    @property
    def _wheel_sha256(self) -> str:
        if self.lock_sha256 is None:
            raise self._no_lock()
        if self.source is None:
            return self.lock_sha256
        content = json.dumps([self.lock_sha256, self.source.sha256, *self.source.folders])
        return hashlib.sha256(content.encode()).hexdigest()

    def _no_lock(self) -> UnknownRelease:
        return UnknownRelease(
            f"Release {self.tag} has no lock of wheels, so the method wheel cannot install it; the method installer can"
        )


class Manifest(_Row):
    """All releases that may be installed."""

    default: Tag
    releases: tuple[Release, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        listed = [release.tag for release in self.releases]
        if len(set(listed)) != len(listed):
            raise ValueError("a tag is listed twice")
        if self.default not in listed:
            raise ValueError(f"the default {self.default} is not listed")
        return self

    @property
    def newest(self) -> Release:
        """The listed release with the latest tag."""
        return max(self.releases, key=lambda release: tags.order(release.tag))

    def release(self, name: str | None = None) -> Release:
        """
        Return the release that a name means, or the default one.

        A name is a tag with or without its ``v``, the version on the package index when one listed release alone has
        it, ``latest`` or ``newest`` (of those that are listed), or ``default``. Raises :class:`UnknownRelease`.
        """
        if name is None or name == tags.DEFAULT:
            name = self.default
        elif name in tags.NEWEST:
            return self.newest
        tag = tags.tag_of(name)
        for release in self.releases:
            if tag is not None and release.tag == tag:
                return release
        named = [release for release in self.releases if release.version == name.removeprefix("v")]
        if len(named) == 1:
            return named[0]
        listed = [release.tag for release in self.releases]
        message = f"Release {name!r} is not in the manifest; listed: {', '.join(listed)}"
        if close := tags.close_to(name, listed):
            message += f". Did you mean {' or '.join(close)}?"
        if tag is not None and tags.order(tag)[0] >= 2000:
            message += f"{'' if close else '.'} If upstream has {tag}: clm release pin {tag}"
        raise UnknownRelease(message)


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


@cache
def shipped() -> Manifest:
    """Load and validate the manifest that ships with the package."""
    return Manifest.model_validate(yaml.safe_load(_text("manifest.yaml")), strict=False)


def manifest() -> Manifest:
    """
    Return the manifest in force: the shipped one, with the user's overlay laid over it.

    Raises :class:`.overlay.InvalidOverlay` when that cannot be used; see :mod:`..manifests` for where it comes from.
    """
    return _in_force(manifests.REGISTER.version)


@cache
def _in_force(version: int) -> Manifest:
    text = manifests.REGISTER.source() if manifests.REGISTER.source else None
    if text is None:
        return shipped()
    from .overlay import Overlay  # it needs what is above

    return Overlay.read(text).over(shipped())


def first_with(feature: Feature) -> Release | None:
    """Return the earliest listed release that has ``feature``, or None."""
    having = (release for release in manifest().releases if release.has(feature))
    return min(having, key=lambda release: tags.order(release.tag), default=None)
