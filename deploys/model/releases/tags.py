"""How releases are called: upstream's tags, with and without the ``v``, and words for two of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

#: Words that stand for the newest listed release.
NEWEST = ("latest", "newest")
#: Word that stands for the release that no tag means.
DEFAULT = "default"

_TAG = re.compile(r"[vV]?(\d{1,9}(?:\.\d{1,9}){2,3})")


def tag_of(text: str) -> str | None:
    """Return the tag that text means, ``v2026.5.7`` for ``2026.5.7`` as well; None when it has not the shape of one."""
    found = _TAG.fullmatch(text)
    return None if found is None else f"v{found.group(1)}"


def order(tag: str) -> tuple[int, ...]:
    """Return what tags are sorted by: three numbers or four, by their value."""
    return tuple(int(part) for part in tag.removeprefix("v").split("."))


def close_to(text: str, tags: Sequence[str]) -> list[str]:
    """Return the tags that somebody may have meant, the closest first."""
    bare = text.strip().lower().removeprefix("v")
    return [f"v{close}" for close in difflib.get_close_matches(bare, [tag.removeprefix("v") for tag in tags], n=2)]
