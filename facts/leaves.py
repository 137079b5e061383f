"""Leaves of a config.yaml as an observation tells them: digests by key path."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

#: What a leaf holds; a whole block is one, too.
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
#: Where a leaf is: its keys from the top. Keys may hold dots.
KeyPath: TypeAlias = tuple[str, ...]

_BARE = re.compile(r"[^\s.\"\\]+")


def leaf_key(path: Iterable[object]) -> str:
    """Return a path as the observing script prints it, which is how observed leaves are known."""
    return json.dumps(list(path))


def leaf_digest(value: object) -> str:
    """Return the digest that the observing script computes for a leaf with this value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def shown(path: KeyPath) -> str:
    """Return a path for people: keys with dots between, in quotes where a key holds dots itself."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in path)


def flat(path: KeyPath, value: Json) -> Iterator[tuple[KeyPath, Json]]:
    """Return what a value is made of, as the observing script sees it: mappings are walked, lists are leaves."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from flat((*path, name), inner)
    else:
        yield path, value


def at_or_under(observed: Iterable[str], path: KeyPath) -> list[str]:
    """Return the observed leaves at a path and under it."""
    whole = leaf_key(path)
    return [leaf for leaf in observed if leaf == whole or leaf.startswith(f"{whole[:-1]}, ")]


@dataclass(frozen=True)
class Difference:
    """What is to be done to a configuration: leaves that are missing or other, and paths that are to go."""

    changed: tuple[KeyPath, ...]
    removed: tuple[KeyPath, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def difference(observed: Mapping[str, str], wanted: Mapping[KeyPath, Json], ours: Iterable[KeyPath] = ()) -> Difference:
    """
    Compare observed leaves with wanted ones.

    ``ours`` are paths that were set by us or are always ours: what is there and no longer wanted is to go, everything
    else is nobody's business here. A wanted block is ours as a whole: a leaf in it that it does not have is to go.
    """
    leaves = {leaf: value for path, block in wanted.items() for leaf, value in flat(path, block)}
    keys = {leaf_key(leaf) for leaf in leaves}
    changed = [leaf for leaf, value in leaves.items() if observed.get(leaf_key(leaf)) != leaf_digest(value)]
    inside = {leaf for path in wanted for leaf in at_or_under(observed, path)}
    removed = [tuple(map(str, json.loads(leaf))) for leaf in observed if leaf in inside - keys]
    for path in dict.fromkeys(ours):
        # A leaf where a wanted mapping begins is in the way, and replaced.
        left = [leaf for leaf in at_or_under(observed, path) if leaf not in inside]
        if left and not any(path[: len(other)] == other for other in wanted):
            removed.append(path)
    return Difference(tuple(changed), tuple(dict.fromkeys(removed)))
