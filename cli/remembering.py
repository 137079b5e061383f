"""
What hosts told of their agents' files, remembered from one look to the next.

A file whose digest is still the same need not be read again on its host, which is most of what asking costs there.
Only names and digests are kept, as the hosts told them. Each agent is believed about itself alone: what it says of a
file is not taken for what another one has. And it is believed for a day: one that lied of a file, and was made to stop,
must not be taken at its word for as long as the file stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from pyinfra_hermes.deploys import caching
from pyinfra_hermes.facts.contents import Contents
from pyinfra_hermes.facts.observation import Observation
from pyinfra_hermes.facts.script import contents_version

from .state.records import Host
from .state.store import State

#: Bytes that are remembered of one host; what is longer is asked for anew each time.
_MOST = 4 * 1024 * 1024
#: Seconds after which everything of a host is asked for anew, and believed anew.
_BELIEVED = 86400
#: Days after which what did not change is forgotten: the host may have gone long ago.
_DAYS = 60


class Remembered:
    """What is remembered of a host."""

    def __init__(self, state: State, host: Host) -> None:
        which = json.dumps([str(state.directory.path), host.name, host.address, host.port])
        self._file = caching.folder("contents") / f"{hashlib.sha256(which.encode()).hexdigest()[:32]}.json"

    @cached_property
    def contents(self) -> Mapping[str, Contents]:
        """What the files of its agents held, by the agents' names; nothing when it cannot be read."""
        try:
            found = json.loads(_own(self._file))
            if found["version"] != contents_version():
                return {}
            return {
                str(name): Contents(str(each["digests"]), tuple(map(str, each["lines"])))
                for name, each in found["agents"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def keep(self, observed: Observation) -> None:
        """Remember what was told just now."""
        told = {name: each.contents for name, each in observed.agents.items() if each.contents is not None}
        if told == self.contents:
            return
        agents = {name: {"digests": each.digests, "lines": each.lines} for name, each in told.items()}
        text = json.dumps({"version": contents_version(), "agents": agents})
        if len(text) <= _MOST:
            caching.keep(self._file, text.encode())
        caching.forget(self._file.parent, _DAYS)


def _own(file: Path) -> str:
    with file.open(encoding="utf-8") as handle:
        if not 0 <= time.time() - os.fstat(handle.fileno()).st_mtime < _BELIEVED:
            raise ValueError("too old")
        return handle.read(_MOST)
