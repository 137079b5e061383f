"""The files that are an agent's memory: their entries, and how many characters Hermes takes of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .declaration import InvalidSetting, Json, KeyPath

#: What Hermes joins entries with, and splits them at (tools/memory_tool.py, ENTRY_DELIMITER, 0.13 to 0.19).
SEPARATOR = "\n§\n"

_ALONE = re.compile(r"^[^\S\n]*§[^\S\n]*$", re.MULTILINE)


class InvalidMemory(InvalidSetting):
    """A name that is none of a memory file, or a text that cannot be one."""


class TooLong(InvalidMemory):
    """A text of more characters than its file may hold."""


@dataclass(frozen=True)
class MemoryFile:
    """
    One file of an agent's memory.

    + name: ``MEMORY.md``, ``USER.md`` or ``SOUL.md``
    + title: what is in it
    + limit: characters (code points) that it may hold when nothing else is set
    + setting: path in config.yaml that sets another limit; None where Hermes has none
    + has_entries: whether Hermes reads it as a list of entries
    """

    name: str
    title: str
    limit: int
    setting: KeyPath | None
    has_entries: bool

    def limit_by(self, config: Mapping[str, Json]) -> int:
        """Return the limit by what a user added to config.yaml, by path as typed (``memory.memory_char_limit``)."""
        value = config.get(".".join(self.setting)) if self.setting else None
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else self.limit

    def entries(self, text: str) -> tuple[str, ...]:
        """Return the entries as Hermes reads them: without space around them, none twice, none empty."""
        plain = _plain_lines(text)
        if not self.has_entries:
            return tuple(filter(None, [plain.strip()]))
        return tuple(dict.fromkeys(filter(None, (part.strip() for part in plain.split(SEPARATOR)))))

    def characters(self, text: str) -> int:
        """Return how many characters Hermes counts: those of the entries, joined."""
        return len(SEPARATOR.join(self.entries(text)))

    def stored(self, text: str) -> str:
        """
        Return a text as it is put on a host.

        A list is written as Hermes writes it. From 0.15 on it takes another spelling of the same entries for damage: it
        makes a copy (``.bak``) and refuses to change the file from then on. A line of § with space around it is taken
        for one without.
        """
        plain = _plain_lines(text)
        if self.has_entries:
            parts = (part.strip() for part in _ALONE.split(plain))
            return SEPARATOR.join(dict.fromkeys(filter(None, parts)))
        return plain if not plain or plain.endswith("\n") else f"{plain}\n"

    def check(self, text: str, limit: int) -> str:
        """Return a text as it is put on a host. Raises :class:`InvalidMemory`, and :class:`TooLong` over the limit."""
        if "\0" in text:
            raise InvalidMemory(f"{self.name}: the text holds a NUL character")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidMemory(f"{self.name}: the text is not Unicode") from None
        stored = self.stored(text)
        if (count := self.characters(stored)) > limit:
            raise TooLong(f"hermes memory file '{self.name}' exceeds character limit ({count} > {limit} chars)")
        return stored

    def check_entry(self, text: str) -> str:
        """Return one entry as Hermes keeps it. Raises :class:`InvalidMemory` when it is none, or several."""
        if not self.has_entries:
            raise InvalidMemory(f"{self.name} is one text and has no entries")
        found = self.entries(self.stored(text))
        if len(found) != 1:
            what = "is empty" if not found else f"is {len(found)} entries: a line of it is § alone"
            raise InvalidMemory(f"{self.name}: the text {what}")
        return found[0]


_FILES = (
    MemoryFile("MEMORY.md", "what the agent noted", 2200, ("memory", "memory_char_limit"), True),
    MemoryFile("USER.md", "what it knows of its user", 1375, ("memory", "user_char_limit"), True),
    # Hermes has no limit of 3000: it cuts at 20000 and more (agent/prompt_builder.py). This is what fits its purpose.
    MemoryFile("SOUL.md", "who it is", 3000, None, False),
)

#: Every memory file, by name.
FILES: Mapping[str, MemoryFile] = {file.name: file for file in _FILES}


def memory_file(name: str) -> MemoryFile:
    """Return a memory file by its name. Raises :class:`InvalidMemory`."""
    if name not in FILES:
        raise InvalidMemory(f"hermes memory accepts only MEMORY.md and USER.md, and SOUL.md beside them; not {name!r}")
    return FILES[name]


def decoded(file: MemoryFile, content: bytes) -> str:
    """Return what a user gave as text. Raises :class:`InvalidMemory` when it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidMemory(f"{file.name}: the text is not UTF-8, from byte {error.start + 1} on") from None


def difference(file: MemoryFile, before: str, after: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the entries that are gone and those that are new between two texts."""
    old, new = file.entries(before), file.entries(after)
    return tuple(each for each in old if each not in new), tuple(each for each in new if each not in old)


def _plain_lines(text: str) -> str:
    # Python's text mode, which Hermes reads with, makes these one character.
    return text.replace("\r\n", "\n").replace("\r", "\n")
