"""
Where additions to the shipped manifest of releases come from: registered here before anybody asks for a release.

Imports nothing of weight: ``clm`` registers its source before anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """
    An overlay as it was read.

    + content: YAML
    + path: full path of the file it is from; lock files are named relative to its folder
    + read: gives the text of such a file by its full path; raises ``OSError``
    """

    content: str
    path: str
    read: Callable[[str], str]


#: Gives the overlay, or None when there is none; asked once, at the first need.
Source = Callable[[], Text | None]


class _Register:
    """One source for the process; ``version`` changes when what it gives may have."""

    def __init__(self) -> None:
        self.source: Source | None = None
        self.version = 0


REGISTER = _Register()


def overlay_from(source: Source | None) -> None:
    """Lay what ``source`` gives over the shipped manifest from now on; None: nothing."""
    REGISTER.source = source
    REGISTER.version += 1
