"""What is remembered of an agent's files, as its host told it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contents:
    """
    What an agent's files held when they were read: to be remembered, so that files which are the same since need not be
    read again.
    """

    #: SHA256 of config.yaml, .env and auth.json, ``-`` for one that is not there, with spaces between.
    digests: str
    #: What was told of them, as it was told.
    lines: tuple[str, ...]
