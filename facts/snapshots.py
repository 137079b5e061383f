"""What a host keeps of an agent that worked: files for root only, by which a change that fails is taken back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Snapshot:
    """What was kept before a change."""

    id: str
    #: RFC 3339 in UTC.
    at: str
    #: What was going to be done: ``configure``, ``upgrade`` or ``rollback``.
    what: str
    #: Ids of the release that worked and of the one that was to follow.
    release: str
    to: str
    #: Schema of the ``state.db`` that was kept; None when there was none.
    schema: int | None = None
    #: Whether ``state.db`` was kept, too.
    database: bool = False

    @classmethod
    def parse(cls, line: str) -> Snapshot | None:
        """Read a snapshot's record; None when it is none of ours: a file may be damaged."""
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            return None
        names = ("id", "at", "what", "release", "to")
        if not isinstance(plain, dict) or not all(isinstance(plain.get(name), str) for name in names):
            return None
        fields: dict[str, Any] = {name: plain[name] for name in names}
        schema = plain.get("schema")
        known = schema if isinstance(schema, int) and not isinstance(schema, bool) else None
        return cls(**fields, schema=known, database=plain.get("database") is True)
