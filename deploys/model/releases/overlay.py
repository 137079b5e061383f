"""The user's own additions to the shipped manifest: other pins, further releases, another default."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError, model_validator

from ..adapters import ADAPTERS, Adapter
from ..manifests import Text
from . import Manifest, Platform, Release, Sha256, Source, Tag, UnknownRelease, tags

#: Bytes of an overlay that are read.
LARGEST = 1_000_000
_TOLD = 5

Place = tuple[str | int, ...]


class InvalidOverlay(ValueError):
    """An overlay that cannot be used; the text names its file and line."""


def _adapter(name: object) -> object:
    if name not in ADAPTERS:
        raise ValueError(f"there is no adapter {name!r}; there are: {', '.join(ADAPTERS)}")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Row(_Part):
    """What an overlay says of a release; of one that ships, what it does not say stays."""

    tag: Tag
    version: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+){1,3}$")] | None = None
    state_schema: int | None = None
    extras: tuple[str, ...] | None = None
    also: tuple[str, ...] | None = None
    installer_sha256: Sha256 | None = None
    lock: str | None = None
    lock_sha256: Sha256 | None = None
    source: Source | None = None
    adapter: Annotated[str, BeforeValidator(_adapter)] | None = None
    python: tuple[str, str] | None = None
    platforms: tuple[Platform, ...] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Row:
        if (self.lock is None) != (self.lock_sha256 is None):
            raise ValueError("lock and lock_sha256 go together")
        return self

    @property
    def given(self) -> dict[str, Any]:
        """What it says."""
        return {name: value for name, value in self if value is not None}


class _Document(_Part):
    default: Tag | None = None
    releases: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Overlay:
    """An overlay that was read; ``lines`` say where in its file each thing is."""

    text: Text
    default: str | None = None
    releases: tuple[Row, ...] = ()
    lines: dict[Place, int] = field(default_factory=dict)

    @classmethod
    def read(cls, text: Text) -> Overlay:
        """Read an overlay. Raises :class:`InvalidOverlay` with the line of each thing that is wrong."""
        if len(text.content) > LARGEST:
            raise InvalidOverlay(f"{text.path}: it is larger than {LARGEST} bytes")
        try:
            root = yaml.compose(text.content, Loader=yaml.SafeLoader)
            plain = yaml.safe_load(text.content)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else "?"
            raise InvalidOverlay(f"{text.path} line {line}: it is no YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InvalidOverlay(f"{text.path}: it is no YAML: {error}") from None
        lines = dict(_places(root, text))
        if plain is None:
            return cls(text)
        try:
            document = _Document.model_validate(plain, strict=False)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            told = [
                f"{_where(text, lines, each['loc'])}: {'.'.join(map(str, each['loc'])) or 'the document'}: "
                f"{each['msg'].removeprefix('Value error, ')}"
                for each in problems[:_TOLD]
            ]
            raise InvalidOverlay("\n".join(told)) from None
        seen: set[str] = set()
        for number, row in enumerate(document.releases):
            if row.tag in seen:
                raise InvalidOverlay(f"{_where(text, lines, ('releases', number))}: {row.tag} is listed twice")
            seen.add(row.tag)
        return cls(text, document.default, document.releases, lines)

    def row(self, tag: str) -> Row | None:
        """Return what it says of a release, or None."""
        return next((row for row in self.releases if row.tag == tag), None)

    def over(self, shipped: Manifest) -> Manifest:
        """Lay it over the shipped manifest. Raises :class:`InvalidOverlay`."""
        releases = {release.tag: release for release in shipped.releases}
        for number, row in enumerate(self.releases):
            base = releases.get(row.tag)
            try:
                releases[row.tag] = self._added(shipped, row) if base is None else self._changed(base, row)
            except (ValidationError, UnknownRelease) as error:
                what = (
                    "; ".join(
                        f"{'.'.join(map(str, each['loc'])) or row.tag}: {each['msg'].removeprefix('Value error, ')}"
                        for each in error.errors(include_url=False, include_input=False, include_context=False)
                    )
                    if isinstance(error, ValidationError)
                    else str(error)
                )
                raise InvalidOverlay(f"{_where(self.text, self.lines, ('releases', number))}: {what}") from None
        default = self.default or shipped.default
        if default not in releases:
            listed = ", ".join(sorted(releases, key=tags.order))
            raise InvalidOverlay(
                f"{_where(self.text, self.lines, ('default',))}: the default {default} is not listed; listed: {listed}"
            )
        ordered = sorted(releases.values(), key=lambda release: tags.order(release.tag))
        return Manifest(default=default, releases=tuple(ordered))

    def _changed(self, base: Release, row: Row) -> Release:
        return self._made(row, dict(base))

    def _added(self, shipped: Manifest, row: Row) -> Release:
        if row.installer_sha256 is None:
            raise UnknownRelease(f"{row.tag} is not a release that ships, so its installer_sha256 must be here")
        near = nearest(shipped, row.tag)
        has_lock = row.lock is not None
        untested = tuple(
            Platform(
                os=each.os,
                os_version=each.os_version,
                arch=each.arch,
                installer="untested" if each.installer else None,
                wheel="untested" if each.wheel and has_lock else None,
            )
            for each in near.platforms
        )
        defaults = {
            "adapter": adapter_for(row.version) if row.version else near.adapter,
            "python": near.python,
            "platforms": tuple(each for each in untested if each.installer or each.wheel),
        }
        return self._made(row, defaults)

    def _resolved(self, row: Row) -> dict[str, Any]:
        given = row.given
        if row.lock is not None:
            given["lock"] = posixpath.normpath(posixpath.join(posixpath.dirname(self.text.path), row.lock))
        return given

    def _made(self, row: Row, values: dict[str, Any]) -> Release:
        release = Release.model_validate({**values, **self._resolved(row)}, strict=False)
        return release if row.lock is None else release.reading_with(self.text.read)


def nearest(manifest: Manifest, tag: str) -> Release:
    """Return the listed release that is treated most like one with this tag: the last one before it, or the first."""
    ordered = sorted(manifest.releases, key=lambda release: tags.order(release.tag))
    return next((each for each in reversed(ordered) if tags.order(each.tag) <= tags.order(tag)), ordered[0])


def adapter_for(version: str) -> Adapter:
    """Return the adapter of the range that a version of hermes-agent is in, or the first one for an older version."""
    ordered = sorted(ADAPTERS.values(), key=lambda adapter: tags.order(adapter.name))
    within = (adapter for adapter in reversed(ordered) if tags.order(adapter.name) <= tags.order(version))
    return next(within, ordered[0])


def _where(text: Text, lines: dict[Place, int], place: Place) -> str:
    line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)
    return f"{text.path} line {line}"


def _places(node: yaml.Node | None, text: Text, place: Place = ()) -> Iterator[tuple[Place, int]]:
    if node is None or len(place) > 8:
        return
    if place:
        yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise InvalidOverlay(f"{text.path} line {key.start_mark.line + 1}: {name} is there twice")
            seen.add(name)
            yield (*place, name), key.start_mark.line + 1
            yield from ((at, line) for at, line in _places(value, text, (*place, name)) if len(at) > len(place) + 1)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _places(value, text, (*place, number))
