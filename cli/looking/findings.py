"""What a check found: how bad it is, what it is, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Level = Literal["ok", "note", "warn", "fail"]
#: The levels, the best first.
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    level: Level
    #: What it is about: ``clm``, ``host wolf-i``, ``agent wolf-i/maurice``.
    subject: str
    #: Name of the check, for programs: it stays the same.
    check: str
    text: str
    remedy: str | None = None
    #: A line that shows it, as the host has it; it may quote anything.
    evidence: str | None = None

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        return {
            "level": self.level,
            "subject": self.subject,
            "check": self.check,
            "text": self.text,
            "remedy": self.remedy,
            "evidence": self.evidence,
        }


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level among findings; ``ok`` when there are none."""
    return max((each.level for each in findings), key=LEVELS.index, default="ok")


class Findings:
    """Findings about one subject, in the order of the checks."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.found: list[Finding] = []

    def say(self, level: Level, check: str, text: str, remedy: str | None = None, evidence: str | None = None) -> None:
        """Take note of what a check found."""
        self.found.append(Finding(level, self.subject, check, text, remedy, evidence))

    def expect(self, fine: bool, check: str, good: str, level: Level, bad: str, remedy: str | None = None) -> None:
        """Take note of a check that is fine, or of what is wrong."""
        if fine:
            self.say("ok", check, good)
        else:
            self.say(level, check, bad, remedy)
