"""Write a ``.env`` that python-dotenv, inside Hermes, reads back to exactly the values given."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@,+-]+")
# hermes_cli/env_loader.py (0.13): values of these are stripped of everything that is not ASCII when loaded.
_CREDENTIAL_SUFFIXES = ("_API_KEY", "_TOKEN", "_SECRET", "_KEY")
# Hermes splits a line that holds two "KNOWN_NAME=" (hermes_cli/config.py, _sanitize_env_lines) before dotenv sees it.
_ASSIGNMENT = re.compile(r"(?<=[A-Z0-9_])=")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


class CannotEncode(ValueError):
    """A value that the daemon would read back differently; the text never contains the value."""


def check(name: str, value: str) -> None:
    """Raise :class:`CannotEncode` when ``value`` cannot reach the daemon unchanged under ``name``."""
    if not _NAME.fullmatch(name) or name == "HERMES_NIL":
        raise CannotEncode(f"{name!r} is not the name of an environment variable")
    for char in value:
        if (ord(char) < 32 and char not in "\n\t") or ord(char) == 127:
            raise CannotEncode(f"{name} contains the control character U+{ord(char):04X}")
        if char in "\x85\u2028\u2029":
            raise CannotEncode(f"{name} contains the line separator U+{ord(char):04X}")
        if 0xD800 <= ord(char) <= 0xDFFF:
            raise CannotEncode(f"{name} contains the unpaired surrogate U+{ord(char):04X}")
        if ord(char) > 127 and name.endswith(_CREDENTIAL_SUFFIXES):
            raise CannotEncode(
                f"{name} contains the character U+{ord(char):04X}; credentials are ASCII "
                "(was it copied from a web page or a PDF?)"
            )


def assignment(name: str, value: str) -> str:
    """
    Return one line ``NAME=value`` without its line end.

    Plain values stay unquoted, so that every reader agrees. Others are double-quoted; ``${`` would be expanded
    even there, and ``NAME=`` inside a value would split the line, so both are spelled as an expansion with a
    default (``${HERMES_NIL:-$}{``) that python-dotenv turns back.
    """
    check(name, value)
    if not value or _PLAIN.fullmatch(value):
        return f"{name}={value}"
    quoted = "".join(_ESCAPES.get(char, char) for char in value)
    quoted = quoted.replace("${", "${HERMES_NIL:-$}{")
    quoted = _ASSIGNMENT.sub("${HERMES_NIL:-=}", quoted)
    if value.endswith("\\"):
        # python-dotenv 1.2.1, the one in the lock, takes `\\"` for an escaped quote and reads on into the next lines.
        quoted += "${HERMES_NIL:-}"
    return f'{name}="{quoted}"'


def document(variables: Mapping[str, str], header: str) -> str:
    """Return a whole file: ``header`` as comment lines, then one assignment a line, in the order given."""
    lines = [f"# {line}" for line in header.splitlines()]
    lines += [assignment(name, value) for name, value in variables.items()]
    return "\n".join(lines) + "\n"
