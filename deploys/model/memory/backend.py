"""What every memory backend's declaration holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from ..declaration import Declaration, InvalidSetting, Json, KeyPath, Rendered, Value
from ..releases import Release, manifest
from ..secret import Secret


class InvalidMemory(InvalidSetting):
    """A memory backend that there is not, or that cannot be as it is asked for."""


@dataclass(frozen=True, kw_only=True)
class MemoryBackend(Declaration):
    """
    The declaration of one memory backend: where an agent keeps memories beside its own files.

    Its secrets lie under the agent's own key, by the names that Hermes knows them by: the fields' variables.
    """

    #: The package that Hermes' plugin imports and that only some releases' locks hold; None when it needs none.
    package: str | None = None
    #: Programs that the plugin starts, and that must be on the host.
    commands: tuple[str, ...] = ()
    #: Leaves of config.yaml for fields that name no variable.
    leaves: Mapping[str, KeyPath] = field(default_factory=dict)

    @property
    @override
    def what(self) -> str:
        return f"Memory backend {self.name}"

    def releases(self) -> list[str]:
        """Name the listed releases whose locks hold what the backend needs, the earliest first."""
        return [release.tag for release in manifest().releases if _holds(release, self.package)]

    def check_release(self, release: Release) -> None:
        """Check that a release's lock holds what the backend needs, or raise :class:`InvalidMemory`."""
        if not _holds(release, self.package):
            having = f"it is in: {', '.join(self.releases())}" if self.releases() else "no listed release has it"
            raise InvalidMemory(
                f"{self.what} needs the package {self.package}, which is not in {release.tag}; {having}"
            )

    def render(self, options: Mapping[str, Value], secrets: Mapping[str, Secret]) -> Rendered:
        """Return what the backend puts into an agent's files; ``secrets`` are its own, by their fields' names."""
        config: dict[KeyPath, Json] = {("memory", "provider"): self.name}
        for name, path in self.leaves.items():
            if name in options:
                value = options[name]
                assert isinstance(value, str | int)
                config[path] = value
        return Rendered(env=self.variables(options, secrets), config=config)


def _holds(release: Release, package: str | None) -> bool:
    # One without a lock comes by upstream's installer alone, and Hermes brings such packages at their first use.
    if package is None or release.lock is None:
        return True
    return bool(re.search(rf"^{re.escape(package)}==", release.requirements(), re.M))
