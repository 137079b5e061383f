"""Moments as people write them, before a host is asked about them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_UNITS = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_SPAN = re.compile(r"([0-9]+)\s*([a-z]+)")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
#: What a message suggests.
EXAMPLES = "'10 min ago', '2h', 'today', 'yesterday', '14:30', '2026-05-07 12:00' or '2026-05-07T12:00:00+02:00'"
_LONGEST = 200 * 365 * 86400


def since(text: str, now: datetime) -> str:
    """
    Return a moment for ``journalctl --since``.

    A span is counted back from the host's clock; a date without a zone is one of the zone of ``now``, so of whoever
    asks. Raises ``ValueError`` for what is no moment, and for one that is still to come.
    """
    words = " ".join(text.lower().split())
    if words == "now":
        return "-0s"
    if (seconds := _span(words)) is not None:
        return f"-{seconds}s"
    moment = _moment(words, text.strip(), now)
    if moment is None:
        raise ValueError(f"{text!r} is no moment; write it like {EXAMPLES}")
    if moment > now:
        raise ValueError(f"{text!r} is still to come")
    return f"@{moment.timestamp():.0f}"


def _span(words: str) -> int | None:
    bare = words.removesuffix(" ago").removeprefix("-").strip()
    if not bare or _SPAN.sub("", bare).strip(" ,"):
        return None
    parts = _SPAN.findall(bare)
    if any(unit not in _UNITS for _, unit in parts):
        return None
    return min(sum(int(count) * _UNITS[unit] for count, unit in parts), _LONGEST)


def _moment(words: str, text: str, now: datetime) -> datetime | None:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if words == "today":
        return midnight
    if words == "yesterday":
        return midnight - timedelta(days=1)
    try:
        if clock := _CLOCK.fullmatch(words):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            return midnight.replace(hour=hour, minute=minute, second=second)
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        return None
