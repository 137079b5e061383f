"""Receipts: what was applied to an agent, when, by whom and with which result; reading one never fails."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

#: ``applied``: proven. ``reverted``: what was there before was put back. ``failed``: neither.
Outcome = Literal["applied", "reverted", "failed"]

#: The most that a receipt tells of one run's changes, and of a text.
MOST_CHANGES = 60
MOST_TEXT = 400


@dataclass(frozen=True)
class Receipt:
    """One run that changed something. It never holds a secret's value."""

    id: str
    #: RFC 3339 in UTC.
    at: str
    #: Who ran it, as ``user@machine``.
    by: str
    agent: str
    #: ``install``, ``configure``, ``upgrade``, ``rollback``, ``restore``, ``start``, ``stop``.
    what: str
    #: Ids of the releases before and after; None where there was none.
    before: str | None
    after: str | None
    changes: tuple[str, ...]
    result: Outcome
    #: Why it failed, or went back.
    reason: str
    #: Version of pyinfra-hermes.
    version: str

    def encode(self) -> str:
        """Return it as one line of ASCII."""
        plain = asdict(self)
        plain["changes"] = [_short(text) for text in self.changes[:MOST_CHANGES]]
        if len(self.changes) > MOST_CHANGES:
            plain["changes"].append(f"and {len(self.changes) - MOST_CHANGES} more")
        plain["reason"] = _short(self.reason)
        return json.dumps(plain, ensure_ascii=True, sort_keys=True)

    @classmethod
    def parse(cls, line: str) -> Receipt | None:
        """Read a line; None when it is none of ours: a file may be damaged."""
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(plain, dict) or plain.get("result") not in get_args(Outcome):
            return None
        texts = [plain.get(name) for name in ("id", "at", "by", "agent", "what", "reason", "version")]
        releases = [plain.get(name) for name in ("before", "after")]
        changes = plain.get("changes")
        if not all(isinstance(text, str) for text in texts) or not isinstance(changes, list):
            return None
        if not all(text is None or isinstance(text, str) for text in releases):
            return None
        if not all(isinstance(change, str) for change in changes):
            return None
        fields: dict[str, Any] = {name: plain.get(name) for name in cls.__dataclass_fields__}
        return cls(**{**fields, "changes": tuple(changes)})


def read(lines: Iterable[str]) -> list[Receipt]:
    """Read receipts, the oldest first; lines that are none are left out."""
    found = (Receipt.parse(line) for line in lines if line.strip())
    return [receipt for receipt in found if receipt is not None]


def merged(*several: Iterable[Receipt]) -> list[Receipt]:
    """Put lists of receipts together, each once, the oldest first."""
    by_id = {receipt.id: receipt for receipts in several for receipt in receipts}
    return sorted(by_id.values(), key=lambda receipt: (receipt.at, receipt.id))


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."
