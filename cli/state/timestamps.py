"""Moments in the state files: UTC, RFC 3339 with a Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def now() -> datetime:
    """Return the present moment in UTC, in whole seconds: nobody reads state files for less."""
    return datetime.now(UTC).replace(microsecond=0)


def rfc3339(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC: ``2026-05-07T12:00:00Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rfc3339_of(seconds: float) -> str:
    """Write a moment that the file system gives, to the second."""
    return rfc3339(datetime.fromtimestamp(int(seconds), UTC))


def _utc(value: object) -> object:
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise ValueError("should be a moment like 2026-05-07T12:00:00Z")
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a moment of the calendar") from None
    if not isinstance(value, datetime):
        raise ValueError("should be a moment like 2026-05-07T12:00:00Z")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("has no time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a moment of the calendar in UTC") from None


#: A timezone-aware moment in UTC; text in RFC 3339 is read, and written by every dump.
Timestamp = Annotated[datetime, BeforeValidator(_utc), PlainSerializer(rfc3339, return_type=str)]
