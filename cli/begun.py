"""Whether the command under way has begun to change anything: what is said when it is stopped depends on it."""

from __future__ import annotations

_begun = False


def nothing() -> None:
    """Take note that a command starts."""
    global _begun
    _begun = False


def something() -> None:
    """Take note that the next step changes the records, or something on a host."""
    global _begun
    _begun = True


def anything() -> bool:
    """Tell whether there has been such a step."""
    return _begun
