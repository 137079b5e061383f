"""Which of the releases on a host nobody needs any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .releases import tags


def superfluous(there: Iterable[str], needed: Collection[str], keep: int) -> list[str]:
    """
    Return the ids of releases that can go, the oldest first.

    What is needed stays, and so do the latest ones, ``keep`` of them in all. A folder that has not the name of a
    release is none of our business.
    """
    ours = [id for id in there if _tag(id) is not None]
    ordered = sorted(ours, key=lambda id: (tags.order(_tag(id) or "v0.0.0"), id), reverse=True)
    staying = {*(id for id in ordered if id in needed), *ordered[: max(keep, 0)]}
    return [id for id in reversed(ordered) if id not in staying]


def _tag(id: str) -> str | None:
    name, dash, _ = id.partition("-")
    return tags.tag_of(name) if dash else None
