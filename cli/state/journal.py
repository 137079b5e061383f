"""The journal of a change that spans files: once it is on disk the change is decided, and is carried out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .directory import OpenDirectory
from .errors import StateCorrupt

JOURNAL = ".journal"

_TARGET = re.compile(r"[a-z_]+(\.json)?")
_STAGED = re.compile(r"\.[a-z_]+(\.json)?\.[0-9a-f]{16}\.new")


@dataclass(frozen=True)
class Step:
    """One file of a change: its new content is complete under the staged name, and is to be renamed."""

    target: str
    staged: str
    sha256: str


def staged_name(target: str) -> str:
    """Make up a name for the new content of a file; :func:`is_staged` knows it again."""
    return f".{target}.{os.urandom(8).hex()}.new"


def is_staged(name: str) -> bool:
    """Tell whether a file is the new content of another one."""
    return bool(_STAGED.fullmatch(name))


def digest(content: bytes) -> str:
    """Return the SHA-256 of a content, which tells in a journal whether a step is still to be taken."""
    return hashlib.sha256(content).hexdigest()


def publish(directory: OpenDirectory, steps: Sequence[Step]) -> None:
    """Decide a change: from here on it is carried out, by us or by the next command. Raises ``OSError``."""
    content = json.dumps({"schema_version": 1, "steps": [asdict(step) for step in steps]}).encode()
    staged = staged_name("journal")
    directory.write_new(staged, content)
    directory.replace(staged, JOURNAL)
    directory.sync()


def exists(directory: OpenDirectory) -> bool:
    """Tell whether a change is under way, or was when its writer was stopped."""
    return directory.status(JOURNAL) is not None


def close(directory: OpenDirectory) -> None:
    """End a change whose steps were taken, or that is given up before the first one. Raises ``OSError``."""
    directory.sync()
    directory.unlink(JOURNAL)
    directory.sync()


def finish(directory: OpenDirectory) -> None:
    """
    Carry out what a stopped writer decided; only the holder of the lock may. Raises ``OSError``.

    A step was taken when its staged file is gone and the target has the content. Everything is checked before
    the first rename, so that a directory that somebody changed by hand in between is not changed further.
    """
    to_take = pending(directory)
    if to_take is None:
        return
    for step in to_take:
        directory.replace(step.staged, step.target)
    close(directory)


def pending(directory: OpenDirectory) -> list[Step] | None:
    """Return the steps that a stopped writer left; None when there is no journal. Raises :class:`StateCorrupt`."""
    content = directory.read(JOURNAL)
    if content is None:
        return None
    return [step for step in _steps(directory, content) if not _was_taken(directory, step)]


def _was_taken(directory: OpenDirectory, step: Step) -> bool:
    staged = directory.read(step.staged)
    if staged is not None and digest(staged) == step.sha256:
        return False
    present = directory.read(step.target)
    if present is not None and digest(present) == step.sha256:
        return True
    raise _damaged(directory, f"the new content of {step.target} that it announces is not there")


def _steps(directory: OpenDirectory, content: bytes) -> list[Step]:
    try:
        steps = [_step(entry) for entry in _entries(json.loads(content))]
    except (ValueError, TypeError, KeyError, RecursionError):
        steps = None
    if steps is None:
        raise _damaged(directory, "it does not parse")
    return steps


def _entries(plain: Any) -> Any:
    if plain["schema_version"] != 1:
        raise ValueError
    return plain["steps"]


def _step(entry: Any) -> Step:
    step = Step(**entry)
    if not (_TARGET.fullmatch(step.target) and _STAGED.fullmatch(step.staged)):
        raise ValueError
    return step


def _damaged(directory: OpenDirectory, why: str) -> StateCorrupt:
    path = directory.path / JOURNAL
    return StateCorrupt(
        f"A command was stopped while it changed several files, and its journal {path} cannot be followed: "
        f"{why}. Nothing was overwritten; generations/ holds the files as they were",
        f"To go on with the files as they are now: rm {shlex.quote(str(path))}",
    )
