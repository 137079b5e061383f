"""Which agents of the record are meant."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .state.lookup import Lookup
from .state.records import Instance

if TYPE_CHECKING:
    from .fleet import Fleet, Report


@dataclass(frozen=True)
class Choice:
    """Which agents are meant; what is empty chooses all."""

    hosts: Collection[str] = ()
    tags: Collection[str] = ()
    #: Patterns with ``*`` and ``?`` for an agent's name, or for ``HOST/NAME``.
    limits: Collection[str] = ()
    states: Collection[str] = ()

    def instances(self, snapshot: Lookup) -> list[Instance]:
        """Return those on record; their states are not known yet. Raises ``NotFound`` for a host that there is not."""
        chosen = [snapshot.host(name) for name in dict.fromkeys(self.hosts)] or list(snapshot.hosts.values())
        chosen = [host for host in chosen if not self.tags or set(self.tags) & set(host.tags)]
        return [
            each
            for each in (Instance(host, agent) for host in chosen for agent in host.agents.values())
            if self._named(each)
        ]

    def reports(self, fleet: Fleet) -> list[Report]:
        """Return those reports whose state is wanted."""
        return [each for each in fleet.reports if not self.states or each.state in self.states]

    def _named(self, instance: Instance) -> bool:
        names = (instance.agent.name, f"{instance.host.name}/{instance.agent.name}")
        return not self.limits or any(fnmatch.fnmatchcase(name, limit) for limit in self.limits for name in names)
