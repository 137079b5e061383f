"""The releases of Hermes that may be installed: a validated manifest and one hash lock per release."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import override

from ..adapters import ADAPTERS, Adapter, Feature

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^v\d+(\.\d+){2,3}$")]


def _adapter(name: object) -> object:
    if isinstance(name, str) and name not in ADAPTERS:
        raise ValueError(f"there is no adapter {name!r}; there are: {', '.join(ADAPTERS)}")
    return ADAPTERS[name] if isinstance(name, str) else name


class UnknownRelease(ValueError):
    """A release that the manifest does not list."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Platform(_Row):
    """A kind of host that a release is known for."""

    os: str
    os_version: str
    arch: Literal["x86_64", "aarch64"]
    status: Literal["tested", "untested"]

    @override
    def __str__(self) -> str:
        return f"{self.os} {self.os_version} {self.arch}"


class Release(_Row):
    """One pinned release: an upstream tag, the package that carries it, and what proves that it is the one meant."""

    tag: Tag
    version: str = Field(description="version of hermes-agent on the Python package index")
    extras: tuple[str, ...] = Field(description="extras of hermes-agent that the lock holds")
    also: tuple[str, ...] = Field((), description="requirements beside them, for what upstream has no extra")
    installer_sha256: Sha256 = Field(description="digest of upstream's scripts/install.sh at the tag")
    lock: str = Field(description="hash-locked requirements of the wheel method, a file beside the manifest")
    lock_sha256: Sha256
    adapter: Annotated[Adapter, BeforeValidator(_adapter)] = Field(description="how this range of releases is treated")
    python: tuple[str, str] = Field(description="lowest Python, and the first one that is too new")
    platforms: tuple[Platform, ...]

    @property
    def calver(self) -> str:
        """The tag as ``hermes --version`` prints it: without the ``v``."""
        return self.tag.removeprefix("v")

    @property
    def id(self) -> str:
        """Name of the release's folder on a host. Another lock is another release, so it has another folder."""
        return f"{self.tag}-wheel-{self.lock_sha256[:8]}"

    @property
    def wanted(self) -> tuple[str, ...]:
        """What the lock is resolved from: Hermes with its extras, and uv, which installs it on the host."""
        return (f"hermes-agent[{','.join(self.extras)}]=={self.version}", *self.also, "uv==0.13.9")

    def has(self, feature: Feature) -> bool:
        """Tell whether this release has ``feature``."""
        return self.adapter.has(feature)

    def requirements(self) -> str:
        """Return the lock's text, checked against the manifest's digest."""
        text = _text(self.lock)
        actual = hashlib.sha256(text.encode()).hexdigest()
        if actual != self.lock_sha256:
            raise ValueError(f"{self.lock}: sha256 is {actual}, the manifest says {self.lock_sha256}")
        return text

    def platform(self, os: str, os_version: str, arch: str) -> Platform | None:
        """Return the row that fits a host, or None."""
        for row in self.platforms:
            if (row.os, row.os_version, row.arch) == (os, os_version, arch):
                return row
        return None


class Manifest(_Row):
    """All releases that may be installed."""

    default: Tag
    releases: tuple[Release, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        tags = [release.tag for release in self.releases]
        if len(set(tags)) != len(tags):
            raise ValueError("a tag is listed twice")
        if self.default not in tags:
            raise ValueError(f"the default {self.default} is not listed")
        return self

    def release(self, tag: str | None = None) -> Release:
        """Return the release with this tag, or the default one."""
        wanted = self.default if tag is None else tag
        for release in self.releases:
            if release.tag == wanted:
                return release
        listed = ", ".join(release.tag for release in self.releases)
        raise UnknownRelease(f"Release {wanted!r} is not in the manifest; listed: {listed}")


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


@cache
def manifest() -> Manifest:
    """Load and validate the manifest that ships with the package."""
    return Manifest.model_validate(yaml.safe_load(_text("manifest.yaml")), strict=False)


def first_with(feature: Feature) -> Release | None:
    """Return the earliest listed release that has ``feature``, or None."""
    having = (release for release in manifest().releases if release.has(feature))
    return min(having, key=lambda release: [int(part) for part in release.calver.split(".")], default=None)
