"""``clm release list`` and ``show``: what may be installed, where it was tried, and who runs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra_hermes.deploys.model.releases import Release, manifest, shipped, tags
from pyinfra_hermes.deploys.model.releases.overlay import Row

from ..state.store import State
from . import overlay_file


@dataclass(frozen=True)
class Listed:
    """
    A release with what is known of it here.

    + agents: agents on record that run it, as ``host/agent``, each with its method
    + overlay: what ``releases.yaml`` says of it, or None
    + added: whether it stands there alone
    """

    release: Release
    is_default: bool
    agents: Mapping[str, str]
    overlay: Row | None
    added: bool

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        release = self.release
        return {
            "tag": release.tag,
            "version": release.version,
            "default": self.is_default,
            "adapter": release.adapter.name,
            "adapter_chosen": self.added and (self.overlay is None or self.overlay.adapter is None),
            "features": sorted(release.adapter.features),
            "methods": list(release.methods),
            "python": list(release.python),
            "installer_sha256": release.installer_sha256,
            "lock": release.lock,
            "lock_sha256": release.lock_sha256,
            "source": None if release.source is None else release.source.model_dump(mode="json"),
            "ids": {method: release.id_of(method) for method in release.methods},
            "platforms": [
                {
                    "os": row.os, "os_version": row.os_version, "arch": row.arch, "installer": row.installer,
                    "wheel": row.wheel,
                }
                for row in release.platforms
            ],
            "agents": dict(self.agents),
            "overlay": None if self.overlay is None else sorted(set(self.overlay.given) - {"tag"}),
            "added": self.added,
        }  # fmt: skip

    @property
    def tested(self) -> str:
        """Where it was tested, in a few words: by method, on x86_64 where nothing else is said."""
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.release.platforms:
            for method in self.release.methods:
                if row.status(method) == "tested":
                    found[method].append(str(row).removesuffix(" x86_64"))
        return "; ".join(f"{method}: {', '.join(platforms)}" for method, platforms in found.items()) or "nowhere"


def listed() -> list[Listed]:
    """Return every release that may be installed, the oldest first."""
    known, ours, over = manifest(), {release.tag for release in shipped().releases}, overlay_file.overlay()
    users: dict[str, dict[str, str]] = defaultdict(dict)
    for host in State.open().read().hosts.values():
        for agent in host.agents.values():
            users[tags.tag_of(agent.release) or agent.release][f"{host.name}/{agent.name}"] = agent.method
    return [
        Listed(
            release,
            release.tag == known.default,
            users[release.tag],
            over.row(release.tag) if over else None,
            release.tag not in ours,
        )
        for release in sorted(known.releases, key=lambda release: tags.order(release.tag))
    ]


def unlisted() -> list[str]:
    """Return the agents on record whose releases are not listed any more, as ``host/agent (tag)``."""
    known = {release.tag for release in manifest().releases}
    return [
        f"{host.name}/{agent.name} ({agent.release})"
        for host in State.open().read().hosts.values()
        for agent in host.agents.values()
        if tags.tag_of(agent.release) not in known
    ]


def one(name: str) -> Listed:
    """Return one release. Raises :class:`.releases.UnknownRelease`."""
    release = manifest().release(name)
    return next(each for each in listed() if each.release.tag == release.tag)
