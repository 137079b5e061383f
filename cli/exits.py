"""Exit codes of ``clm``: what a script can rely on."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Why ``clm`` ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    #: A gate refused: not onboarded, in use, would lose data.
    REFUSED = 3
    #: A host is unreachable or not trusted.
    UNREACHABLE = 4
    PREFLIGHT = 5
    #: Applying failed and the agent serves on what it had.
    NOT_APPLIED = 6
    UNHEALTHY = 7
    DIFFERENT = 8
    #: Another process holds the lock.
    LOCKED = 9
    #: Some hosts failed, others did not.
    PARTLY = 10
    INTERRUPTED = 130
