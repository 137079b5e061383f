"""``clm release pin``: upstream's installer looked at, and its digest recorded."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import click

from pyinfra_hermes.deploys.model.releases import Release, manifest, tags
from pyinfra_hermes.deploys.model.releases.overlay import nearest
from pyinfra_hermes.deploys.upstream import Upstream

from ..asking import confirm
from ..exits import Exit
from ..output import pairs, say, visible
from ..problems import Problem
from . import overlay_file
from .fetching import CannotFetch, Installer, fetch, kept, upstream

#: Lines of a comparison that are shown.
_SHOWN = 200


@dataclass(frozen=True)
class Pinned:
    """What came of it: the digest, whether it was recorded now, and the file that it stands in."""

    tag: str
    sha256: str
    changed: bool
    path: Path


def pin(name: str, base: str | None, yes: bool, full: bool) -> Pinned:
    """
    Fetch the installer of a tag, show how it differs from the last one pinned, ask, and record its digest.

    Raises :class:`Problem` when it cannot be had, or is not wanted.
    """
    tag = tags.tag_of(name)
    if tag is None:
        raise Problem(f"{name!r} is no tag of upstream's: v2026.5.7, with or without the v", None, Exit.USAGE)
    source, listed = upstream(base), manifest()
    pinned = next((release for release in listed.releases if release.tag == tag), None)
    try:
        found = fetch(source, tag)
    except CannotFetch as error:
        raise Problem(
            f"The installer of {tag} could not be had: {error}. Nothing was changed",
            "Give a mirror, or a folder with NousResearch/hermes-agent/TAG/scripts/install.sh: --base URL-or-FOLDER",
        ) from None
    _show(tag, found, pinned)
    if pinned is not None and pinned.installer_sha256 == found.sha256:
        return Pinned(tag, found.sha256, False, overlay_file.path())
    if found.origin.startswith("http://"):
        say("Whoever is between here and there could have changed it: it came over plain http.", err=True)
    near = pinned or nearest(listed, tag)
    _compare(source, found, tag, near, None if full else _SHOWN)
    if pinned is None:
        say(
            f"{tag} would be treated like {near.tag} (adapter {near.adapter.name}), the nearest one listed, and be "
            "untested everywhere. It has no lock of wheels: only the method installer can install it.",
            err=True,
        )
    if not yes:
        confirm(f"Pin {tag} to {found.sha256}?", "--yes")
    return Pinned(tag, found.sha256, True, overlay_file.pin(tag, found.sha256))


def _show(tag: str, found: Installer, pinned: Release | None) -> None:
    if pinned is None:
        known = "not pinned yet"
    elif pinned.installer_sha256 == found.sha256:
        known = "the same, so there is nothing to do"
    else:
        known = f"ANOTHER ONE: {pinned.installer_sha256}. Upstream moved the tag, or somebody is in between"
    lines = found.content.count(b"\n")
    pairs(
        [
            ("tag", tag),
            ("from", visible(found.origin)),
            ("size", f"{len(found.content)} bytes, {lines} lines"),
            ("sha256", found.sha256),
            ("pinned", known),
        ],
        err=True,
    )


def _compare(source: Upstream, found: Installer, tag: str, near: Release, most: int | None) -> None:
    last = kept(near.installer_sha256)
    if last is None and near.tag != tag:
        try:
            last = fetch(source, near.tag)
        except CannotFetch as error:
            click.echo(f"It could not be compared with the one of {near.tag}: {visible(str(error))}", err=True)
            return
    if last is None:
        click.echo("It could not be compared: this machine does not have the one that was pinned.", err=True)
        return
    if last.sha256 != near.installer_sha256:
        say(
            f"It could not be compared: what is served for {near.tag} is not what is pinned. See: clm release verify",
            err=True,
        )
        return
    before, after = (visible(each.text).splitlines() for each in (last, found))
    lines = list(difflib.unified_diff(before, after, f"install.sh {near.tag}", f"install.sh {tag}", lineterm=""))
    if not lines:
        click.echo(f"It is the one of {near.tag}, byte for byte.", err=True)
        return
    added = sum(line.startswith("+") for line in lines) - 1
    removed = sum(line.startswith("-") for line in lines) - 1
    click.echo(f"\nAgainst the one of {near.tag}: {added} lines added, {removed} removed.", err=True)
    for line in lines[:most]:
        color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        click.echo(click.style(line, fg=color) if color else line, err=True)
    if most is not None and len(lines) > most:
        click.echo(f"... and {len(lines) - most} more lines; to see all of them: --full", err=True)
