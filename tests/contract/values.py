"""Values that break careless writers of ``.env`` and ``config.yaml``."""

from __future__ import annotations

import random
from collections.abc import Sequence

FRAGMENTS = (
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "#",
    " #",
    " # comment",
    "'",
    '"',
    "''",
    '""',
    "'''",
    "\\",
    "\\\\",
    "\\n",
    "\\t",
    '\\"',
    "\\u0041",
    "\\x41",
    "$",
    "$$",
    "${",
    "}",
    "${}",
    "${HOME}",
    "${PATH:-x}",
    "${HERMES_NIL:-$}",
    "${HERMES_NIL:-=}",
    "$(id)",
    "`id`",
    "=",
    "==",
    "A=",
    "A=b",
    "export ",
    "export A=b",
    ":",
    ";",
    "&",
    "|",
    "!",
    "%",
    "*",
    "?",
    "~",
    "(",
    ")",
    "<",
    ">",
    "[x]",
    "{x}",
    ",",
    "@",
    "-",
    "a",
    "word",
    "0",
    "sk-ant-api03-",
    "https://h/v1?a=b&c=d#e",
    "\ufeff",
    "%20",
    "\\\\\\",
)
UNICODE = ("é", "ß", "\u00a0", "\u200b", "日本", "🦊", "\u0301", "\u2003", "ʋ", "\ufeff", "\ufffd")


def draw(seed: int, count: int, extra: Sequence[str] = ()) -> list[str]:
    """Return ``count`` values put together at random, the same for the same seed."""
    choose = random.Random(seed)
    fragments = (*FRAGMENTS, *extra)
    return ["".join(choose.choices(fragments, k=choose.randint(0, 6))) for _ in range(count)]
