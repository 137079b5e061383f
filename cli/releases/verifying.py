"""``clm release verify``: every pin against what it is of, hashed anew."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyinfra_hermes.deploys.model.releases import Release, manifest
from pyinfra_hermes.deploys.model.tools import CATALOGUE, Tool
from pyinfra_hermes.deploys.upstream import Upstream
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse, missing, parts

from ..exits import Exit
from ..output import visible
from ..problems import Problem
from .fetching import CannotFetch, fetch, upstream

#: ``differs``: not what is pinned. ``lacks``: something of it is not there. ``unknown``: it could not be had, so nobody
#: knows. ``absent``: nothing is there to be checked, which is no fault. ``unasked``: it was not to be asked for.
Outcome = Literal["ok", "differs", "lacks", "unknown", "absent", "unasked"]

_PLATFORM = re.compile(r"-py(\d+\.\d+)-(x86_64|aarch64)\.tar$")
_TOLD = 3


@dataclass(frozen=True)
class Finding:
    """One pin and what came of it."""

    subject: str
    what: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Asked:
    """
    What is to be verified.

    + names: releases; all, and all tools, when there are none
    + base: where installers come from
    + offline: ask nobody
    + wheelhouse: a folder of wheels that must be complete, for a Python and an architecture
    """

    names: Sequence[str] = ()
    base: str | None = None
    offline: bool = False
    wheelhouse: Path | None = None
    python: str = "3.11"
    arch: str = "x86_64"


def verify(asked: Asked, tell: Callable[[str, str], None]) -> list[Finding]:
    """Verify pins; ``tell`` is called with a subject and what of it is looked at."""
    releases = [manifest().release(name) for name in asked.names] or list(manifest().releases)
    tools = () if asked.names else tuple(CATALOGUE.values())
    if asked.wheelhouse is not None and not asked.wheelhouse.is_dir():
        raise Problem(f"The wheelhouse {asked.wheelhouse} is not a folder", None, Exit.USAGE)
    source = upstream(asked.base)
    found: list[Finding] = []
    for release in releases:
        tell(release.tag, "installer")
        found.append(_installer(release, source, asked.offline))
        if release.lock is None:
            found.append(Finding(release.tag, "lock", "absent", "none: by installer only"))
    everything: tuple[Release | Tool, ...] = (*releases, *tools)
    for wanted in everything:
        if isinstance(wanted, Release) and wanted.lock is None:
            continue
        tell(wanted.tag, "lock and wheels")
        found.extend(_wheels(wanted, asked))
    order = {each.tag: number for number, each in enumerate(everything)}
    return sorted(found, key=lambda finding: order[finding.subject])


def exit_code(found: Sequence[Finding]) -> Exit:
    """Return how the command ends: something differs or lacks, something could not be had, or all is well."""
    outcomes = {finding.outcome for finding in found}
    if outcomes & {"differs", "lacks"}:
        return Exit.DIFFERENT
    return Exit.FAILED if "unknown" in outcomes else Exit.DONE


def _installer(release: Release, source: Upstream, offline: bool) -> Finding:
    if offline:
        return Finding(release.tag, "installer", "unasked", "--offline")
    try:
        found = fetch(source, release.tag)
    except CannotFetch as error:
        return Finding(release.tag, "installer", "unknown", visible(str(error)))
    if found.sha256 != release.installer_sha256:
        detail = f"pinned {release.installer_sha256}, served {found.sha256}"
        return Finding(release.tag, "installer", "differs", detail)
    return Finding(release.tag, "installer", "ok", visible(found.origin))


def _wheels(wanted: Release | Tool, asked: Asked) -> Iterator[Finding]:
    try:
        wanted.requirements()
    except ValueError as error:
        yield Finding(wanted.tag, "lock", "differs", str(error))
        return
    yield Finding(wanted.tag, "lock", "ok", f"sha256 {str(wanted.lock_sha256)[:16]}...")
    house = Wheelhouse()
    # Its name is all but the Python and the architecture.
    pattern = _PLATFORM.sub("", house.place(wanted, "3.11", "x86_64").name)
    kept = sorted(house.place(wanted, "3.11", "x86_64").parent.glob(f"{pattern}-py*.tar"))
    for archive in kept:
        yield _cached(wanted, archive)
    if not kept:
        yield Finding(wanted.tag, "cache", "absent", "nothing was fetched yet")
    if asked.wheelhouse is not None:
        lacking = missing(wanted, asked.python, asked.arch, asked.wheelhouse)
        what = f"wheelhouse, {asked.python} {asked.arch}"
        if lacking:
            yield Finding(wanted.tag, what, "lacks", _several(lacking))
        else:
            yield Finding(wanted.tag, what, "ok", f"{len(parts(wanted, asked.python, asked.arch))} files")


def _cached(wanted: Release | Tool, archive: Path) -> Finding:
    match = _PLATFORM.search(archive.name)
    assert match is not None
    python, arch = match.groups()
    what = f"cache, {python} {arch}"
    try:
        digests = dict(_digests(archive))
    except (OSError, tarfile.TarError) as error:
        return Finding(wanted.tag, what, "differs", f"{archive} cannot be read: {error}; remove it")
    needed = parts(wanted, python, arch)
    good = frozenset().union(*(part.digests for part in needed))
    wrong = [visible(name) for name, digest in digests.items() if digest not in good]
    lacking = [part.name for part in needed if not part.digests & set(digests.values())]
    if wrong or lacking:
        return Finding(wanted.tag, what, "differs", f"{_several([*wrong, *lacking])}; remove {archive}")
    return Finding(wanted.tag, what, "ok", f"{len(digests)} files")


def _digests(archive: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                yield member.name, "no file"
            else:
                yield member.name, hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
