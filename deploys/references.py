"""Where a secret is, instead of the secret: what inventories and ``secrets.json`` may hold. Resolved at each use."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from .model.redaction import redact
from .model.secret import Secret

#: Each kind of reference with what follows it.
KINDS: Mapping[str, str] = {
    "file:": "PATH",
    "env:": "VARIABLE",
    "cmd:": "COMMAND",
    "op://": "VAULT/ITEM/FIELD",
    "sops:": "FILE#KEY.PATH",
}

#: What a tool may take; one that asks a person takes longer, and cannot ask here.
_SECONDS = 15.0
_LONGEST_COMPLAINT = 200
#: A line longer than this that ends in the middle of a sentence goes on in the next one.
_WRAPPED = 40


class UnresolvedSecret(ValueError):
    """A reference that leads to no secret; the text says where it points and the command that mends it."""


class ToolFailed(Exception):
    """A tool that printed no secret; the text names it, how it ended and the last line of what it said."""


def resolve(references: Mapping[str, str]) -> dict[str, Secret]:
    """
    Turn ``{"NAME": "file:PATH"}`` and the like into secrets; :data:`KINDS` has the kinds.

    A file must be ours alone: readable by others it is refused. A command is run as a list of words, without a
    shell; ``op://`` is read with ``op``, ``sops:`` with ``sops``. One newline at the end is not part of a secret.
    """
    return {name: resolve_one(name, reference) for name, reference in references.items()}


def resolve_one(name: str, reference: str) -> Secret:
    """Return the secret that a reference leads to; ``name`` is for the message. Raises :class:`UnresolvedSecret`."""
    try:
        kind, where = _parsed(reference)
        if kind == "file:":
            return _from_file(name, Path(where).expanduser())
        if kind == "env:":
            return _from_environment(where)
        return said_by(_command(kind, where))
    except (_NoReference, ToolFailed) as error:
        raise UnresolvedSecret(f"{name}: {error}") from None


def check(reference: str) -> str:
    """Return a reference that is well-formed, wherever it leads. Raises ``ValueError``, which does not repeat it."""
    kind, where = _parsed(reference)
    if kind not in ("file:", "env:"):
        _command(kind, where)
    return reference


def shown(reference: str) -> str:
    """Return a reference for a person to read: of a command only its name, the rest of it could be secret."""
    kind, where = _parsed(reference)
    return f"cmd:{shlex.split(where)[0]} ..." if kind == "cmd:" and len(shlex.split(where)) > 1 else reference


def said_by(argv: Sequence[str], seconds: float = _SECONDS) -> Secret:
    """Run a tool and return what it prints, less one newline at the end. Raises :class:`ToolFailed`."""
    import signal
    import subprocess
    from contextlib import suppress

    tool = Path(argv[0]).name
    try:
        # A group of its own: whatever the tool started ends with it.
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )
    except FileNotFoundError:
        raise ToolFailed(f"{tool} is not installed: it is not on PATH") from None
    except OSError as error:
        raise ToolFailed(f"{tool} cannot be run: {error.strerror}") from None
    try:
        output, complaint = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ToolFailed(
            f"{tool} gave no answer in {seconds:g} s; it was ended (it cannot ask anything here)"
        ) from None
    finally:
        if process.returncode is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        value = Secret(output.decode().removesuffix("\n"))
    except UnicodeDecodeError:
        raise ToolFailed(f"{tool} printed what is not text") from None
    if process.returncode:
        value.reveal()  # the redactor is to know it, should the tool have complained about it
        raise ToolFailed(f"{tool} {_ended(process.returncode)}{_last_line(complaint)}")
    if not value:
        raise ToolFailed(f"{tool} printed nothing{_last_line(complaint)}")
    return value


class _NoReference(ValueError):
    pass


def _parsed(reference: str) -> tuple[str, str]:
    if isinstance(reference, str):
        for kind in KINDS:
            if reference.startswith(kind) and reference != kind and reference.isprintable():
                return kind, reference.removeprefix(kind)
    kinds = ", ".join(f"{kind}{what}" for kind, what in KINDS.items())
    raise _NoReference(f"give a reference ({kinds}), not the secret itself")


def _command(kind: str, where: str) -> list[str]:
    if kind == "op://":
        if len([part for part in where.split("/") if part]) < 3:
            raise _NoReference("a reference to 1Password is op://VAULT/ITEM/FIELD")
        return ["op", "read", "--no-newline", f"op://{where}"]
    if kind == "sops:":
        file, _, path = where.partition("#")
        parts = path.split(".")
        if not file or not all(parts):
            raise _NoReference("a reference to a sops file is sops:FILE#KEY.PATH")
        if "[" in path:
            raise _NoReference("a reference to a sops file names no key with [ in it: sops has no way to")
        # sops takes what is between the quotes as it is: it knows no escapes.
        extract = "".join(f"[{part}]" if part.isdecimal() else f'["{part}"]' for part in parts)
        return ["sops", "-d", "--extract", extract, str(Path(file).expanduser().absolute())]
    try:
        words = shlex.split(where)
    except ValueError:
        words = []
    if not words or not words[0]:
        raise _NoReference("the command of a cmd: reference does not parse: check its quotes")
    return words


def _from_environment(variable: str) -> Secret:
    value = os.environ.get(variable)
    if not value:
        raise _NoReference(f"the environment variable {variable} is not set")
    return Secret(value)


def _ended(status: int) -> str:
    return f"ended with exit status {status}" if status > 0 else f"was ended by signal {-status}"


def _last_line(complaint: bytes) -> str:
    lines = [line for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return ""
    first = len(lines) - 1
    # sops, for one, wraps what it says: "... to be successful," / "but none were."
    while first and len(lines[first - 1]) > _WRAPPED and lines[first - 1].rstrip()[-1] not in ".:!":
        first -= 1
    said = " ".join(redact("\n".join(lines[first:])).split())
    said = "".join(char for char in said if char.isprintable())
    return f": {said[:_LONGEST_COMPLAINT]}"


def _from_file(name: str, path: Path) -> Secret:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = (
            f"umask 077; openssl rand -hex 32 >{path}" if name == "HERMES_API_SERVER_KEY" else f"umask 077; cat >{path}"
        )
        raise UnresolvedSecret(f"{name}: {path} does not exist. Make it with: {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnresolvedSecret(f"{name}: {path} cannot be read: {type(error).__name__}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnresolvedSecret(f"{name}: {path} can be read by others. Mend it with: chmod 600 {path}")
    value = text.removesuffix("\n")
    if not value:
        raise UnresolvedSecret(f"{name}: {path} is empty")
    return Secret(value)
