"""What an agent's memory files hold, as frozen values; reading what the script printed is a function of text."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .script import END

#: The most bytes of one file that are read. Hermes itself loads whatever is there.
MOST_BYTES = 1 << 20
_MOST_BESIDE = 100


class Unreadable(ValueError):
    """What the host told cannot be believed, or is cut off."""


@dataclass(frozen=True)
class Beside:
    """A file beside a memory file: its lock, or a copy that Hermes made (``MEMORY.md.bak.1746619200``)."""

    name: str
    size: int
    #: Seconds since the epoch.
    modified: int


@dataclass(frozen=True)
class MemoryFile:
    """One memory file as it is. The agent could make up all of this; what it says is checked for its shape only."""

    #: ``file``, ``absent``, ``link``, ``directory``, ``pipe``, ``socket``, ``device``, or ``trouble``.
    kind: str
    size: int = 0
    mode: str | None = None
    #: Seconds since the epoch.
    modified: int = 0
    #: None where there is no content to speak of, or more than :data:`MOST_BYTES`.
    content: bytes | None = None
    #: Where a link leads, or what the trouble is.
    detail: str = ""
    beside: tuple[Beside, ...] = ()
    #: SHA256 of each entry.
    entries: tuple[str, ...] = ()
    #: What the release's own scanner objects to, by the entry's number; None where it could not be asked.
    objections: Mapping[int, tuple[str, ...]] | None = None

    @property
    def there(self) -> bool:
        return self.kind != "absent"

    @property
    def usable(self) -> bool:
        """Whether it can be read and replaced: it is a file of bearable size, or is not there."""
        return self.kind == "absent" or (self.kind == "file" and self.content is not None)

    @property
    def sha256(self) -> str | None:
        """Digest of its content; None when it is not there, or not usable."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def text(self) -> str | None:
        """Its content as text; None when there is none, or it is not UTF-8."""
        try:
            return None if self.content is None else self.content.decode()
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True)
class Memories:
    """The memory files of one agent."""

    #: ``ours``, ``foreign`` or ``none``.
    account: str
    #: State of the agent's unit as systemd has it: ``active``, ``inactive``, ``failed``.
    unit: str = ""
    #: By name: ``MEMORY.md``, ``USER.md``, ``SOUL.md``.
    files: Mapping[str, MemoryFile] = field(default_factory=dict)
    #: Characters that a file may hold by the agent's config.yaml, where that says so.
    limits: Mapping[str, int] = field(default_factory=dict)
    #: Files that config.yaml turns off: Hermes does not read them.
    off: tuple[str, ...] = ()
    #: Whether the release keeps entries that its scanner objects to from its model (0.15 and later).
    hides: bool = False

    @property
    def runs(self) -> bool:
        return self.unit in ("active", "activating", "reloading")


def parse(lines: Iterable[str]) -> Memories:
    """Read what the script printed. Raises :class:`Unreadable`."""
    found: dict[str, str] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        found[word] = rest
    if END not in found:
        raise Unreadable("the host's answer was cut off")
    account = found.get("account", "")
    if account != "ours":
        return Memories(account or "none")
    try:
        report = json.loads(found.get("own", ""))
        files = {str(name): _file(row) for name, row in report["files"].items()}
        limits = {str(name): value for name, value in report["limits"].items() if type(value) is int}
        off = tuple(str(name) for name in report["off"])
        hides = report["hides"] is True
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Unreadable(
            "what the agent's home holds cannot be read: it was cut off, or is not what it should be"
        ) from None
    return Memories("ours", found.get("unit", "").strip(), files, limits, off, hides)


def _file(row: Mapping[str, Any]) -> MemoryFile:
    content = row.get("content")
    beside = tuple(
        Beside(str(each["name"]), int(each["size"]), int(each["modified"]))
        for each in row.get("beside", [])[:_MOST_BESIDE]
    )
    objections = row.get("objections")
    return MemoryFile(
        kind=str(row["kind"]),
        size=int(row.get("size", 0)),
        mode=str(row["mode"]) if "mode" in row else None,
        modified=int(row.get("modified", 0)),
        content=None if content is None else base64.b64decode(content, validate=True)[: MOST_BYTES + 1],
        detail=str(row.get("target") or row.get("why") or "")[:500],
        beside=beside,
        entries=tuple(str(each) for each in row.get("entries", [])),
        objections=None
        if objections is None
        else {int(n): tuple(str(name) for name in names) for n, names in objections},
    )
