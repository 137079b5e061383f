"""The releases of Hermes that may be installed: a validated manifest and one hash lock per release."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import override

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^v\d+(\.\d+){2,3}$")]


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
    installer_sha256: Sha256 = Field(description="digest of upstream's scripts/install.sh at the tag")
    lock: str = Field(description="hash-locked requirements of the wheel method, a file beside the manifest")
    lock_sha256: Sha256
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
