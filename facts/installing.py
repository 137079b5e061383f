"""How far an installation by upstream's installer is, as the waiting script tells it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .script import END

# What programs print of credentials: under a name that says so, in a header, in a URL, or in the shapes of well-known
# services. What the agent itself holds, the host has blacked out already.
_CREDENTIALS = (
    re.compile(
        r"(?i)([\w-]*(?:key|token|secret|passwo?r?d|credentials?)[\w-]*[\"']?\s*[=:]\s*[\"']?)[^\s\"'*][^\s\"']*"
    ),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[^\s*]\S{5,}"),
    re.compile(r"(://)[^/\s@*]+(?=@)"),
    re.compile(r"()\b(?:sk-|xox[a-z]-|xapp-|gh[a-z]_|github_pat_|glpat-|hf_|AKIA|AIza|eyJ)[A-Za-z0-9_.-]{12,}"),
)

Word = Literal["running", "done", "failed", "gone"]


@dataclass(frozen=True)
class Course:
    """
    The state of an installation.

    ``gone``: it neither runs nor did it end: the host went down in the middle of it.
    """

    word: Word
    #: Seconds since it began.
    elapsed: int
    #: How long its log is, which is where the next look begins.
    size: int
    #: Why it failed.
    reason: str
    #: What the installer said of its steps since the last look.
    steps: tuple[str, ...]
    #: The step that was the last, and the last lines of the log, when it failed.
    at: str
    log: tuple[str, ...]


def read(lines: Iterable[str]) -> Course | None:
    """Read what the script of :func:`.script.await_installation` printed; None when it was cut off."""
    first, *rest = [line.rstrip("\r\n") for line in lines] or [""]
    word, _, numbers = first.partition(" ")
    elapsed, size, reason = (*numbers.split(" ", 2), "", "")[:3]
    if word not in get_args(Word) or not rest or rest[-1] != END or not (elapsed.isdecimal() and size.isdecimal()):
        return None
    told = [line.partition(" ") for line in rest[:-1]]
    return Course(
        word=word,  # type: ignore[arg-type]
        elapsed=int(elapsed),
        size=int(size),
        reason=reason,
        steps=tuple(_shown(text) for kind, _, text in told if kind == "step"),
        at="".join(_shown(text) for kind, _, text in told if kind == "at").lstrip("→ "),
        log=tuple(_shown(text) for kind, _, text in told if kind == "log"),
    )


def _shown(text: str) -> str:
    """Return a line of a log as it may be shown: nothing in it steers a terminal, or looks like a credential."""
    line = "".join(character if character.isprintable() else "?" for character in text)
    for pattern in _CREDENTIALS:
        line = pattern.sub(r"\g<1>********", line)
    return line
