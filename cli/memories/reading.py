"""An agent's memory files as they are on its host, read over OpenSSH in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyinfra_hermes.deploys.model.memories import FILES, MemoryFile
from pyinfra_hermes.facts import memory_files
from pyinfra_hermes.facts.memory_files import Memories, Unreadable, parse
from pyinfra_hermes.facts.script import memories_of

from ..exits import Exit
from ..problems import Problem
from ..ssh.openssh import login_of, run_script
from ..state.records import Instance
from ..state.store import State

_SECONDS = 40


@dataclass(frozen=True)
class Remembered:
    """The memory files of an agent on record."""

    instance: Instance
    memories: Memories

    def file(self, kind: MemoryFile) -> memory_files.MemoryFile:
        """Return one file as it is."""
        return self.memories.files.get(kind.name, memory_files.MemoryFile("absent"))

    def limit(self, kind: MemoryFile) -> int:
        """Return how many characters Hermes takes: by the config.yaml on the host, else by what is on record."""
        return self.memories.limits.get(kind.name) or kind.limit_by(self.instance.agent.config)

    def warnings(self, kind: MemoryFile) -> list[str]:
        """Return what Hermes would do with the file that nobody expects."""
        found, said = self.file(kind), []
        if kind.name in self.memories.off:
            setting = "memory_enabled" if kind.name == "MEMORY.md" else "user_profile_enabled"
            said.append(f"Hermes does not read {kind.name}: its config.yaml has memory.{setting} off")
        if found.text is not None and kind.characters(found.text) > self.limit(kind):
            what = "Hermes loads it all the same, and can add nothing" if kind.has_entries else "keep it short"
            said.append(f"{kind.name} is longer than its {self.limit(kind)} characters: {what}")
        for number, names in sorted((found.objections or {}).items()):
            if names:
                said.append(self._objection(kind, number, names))
        if found.kind == "file" and found.text is None:
            why = "is not UTF-8" if found.content is not None else f"is bigger than {memory_files.MOST_BYTES} bytes"
            said.append(f"{kind.name} {why}: Hermes may not be able to load it")
        return said

    def _objection(self, kind: MemoryFile, number: int, names: Iterable[str]) -> str:
        where = f"entry {number} of {kind.name}" if kind.has_entries else kind.name
        if self.memories.hides or not kind.has_entries:
            what = "Hermes hides it from its model"
        else:
            what = "Hermes would not let the agent itself write it"
        return f"{where} looks like an attack ({', '.join(names)}): {what}"

    def data(self, kind: MemoryFile) -> dict[str, Any]:
        """Return one file as plain data, for programs."""
        found = self.file(kind)
        text = found.text
        return {
            "file": kind.name,
            "kind": found.kind,
            "characters": None if text is None else kind.characters(text),
            "limit": self.limit(kind),
            "bytes": found.size if found.there else None,
            "sha256": found.sha256,
            "modified": moment(found.modified) if found.there else None,
            "mode": found.mode,
            "entries": list(kind.entries(text)) if text is not None and kind.has_entries else None,
            "text": text,
            "warnings": self.warnings(kind),
            "beside": [
                {"name": each.name, "bytes": each.size, "modified": moment(each.modified)} for each in found.beside
            ],
        }


def moment(seconds: int) -> str:
    """Return a time that a host told, as RFC 3339 in UTC."""
    return datetime.fromtimestamp(min(max(seconds, 0), 1 << 36), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def remembered(reference: str) -> Remembered:
    """Ask an agent's host for its memory files. Raises :class:`Problem`."""
    state = State.open()
    instance = state.read().agent(reference)
    script = memories_of(instance.agent.name)
    answer = run_script(login_of(state, instance.host), script, seconds=_SECONDS)
    try:
        return judged(instance, parse(answer.split("\n")))
    except Unreadable as error:
        raise Problem(f"{instance.host.name}: {error}", f"clm agent status {instance.agent.name}") from None


def judged(instance: Instance, found: Memories) -> Remembered:
    """Return what a host told of an agent. Raises :class:`Problem` when the agent is not there."""
    host, agent = instance
    if found.account != "ours":
        why = "is not installed" if found.account == "none" else "is an account that was not made by pyinfra-hermes"
        raise Problem(
            f"Agent {instance.key}: {agent.name} {why} on {host.name}", f"clm agent status {agent.name}", Exit.REFUSED
        )
    return Remembered(instance, found)


def chosen(name: str | None) -> list[MemoryFile]:
    """Return the file of this name, or all. Raises ``InvalidMemory``."""
    from pyinfra_hermes.deploys.model.memories import memory_file

    return list(FILES.values()) if name is None else [memory_file(name)]


def refuse_unusable(seen: Remembered, kind: MemoryFile) -> None:
    """Raise :class:`Problem` for something in the file's place that is no file, or too big to be one of these."""
    found, agent = seen.file(kind), seen.instance.agent.name
    if found.usable:
        return
    if found.kind == "trouble":
        raise Problem(f"{kind.name} of {agent}: {found.detail}", f"clm agent status {agent}", Exit.REFUSED)
    if found.kind == "file":
        what = f"has {found.size} bytes, more than any memory file should"
    else:
        what = f"is a {found.kind}{f' to {found.detail}' if found.detail else ''}, not a file; nothing was followed"
    raise Problem(
        f"{kind.name} of {agent} {what}", f"Remove it: clm agent memory delete {agent} {kind.name}", Exit.REFUSED
    )
