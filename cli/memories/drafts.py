"""Texts on their way to an agent: in files of one's own, which stay until the agent has them."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..exits import Exit
from ..problems import Problem
from ..state.directory import home
from ..state.timestamps import now


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where texts are kept, made for its owner alone: ``$XDG_STATE_HOME/clawrium/memory``."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    state = base if base.is_absolute() else home(environ) / ".local/state"
    path = state / "clawrium" / "memory"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise Problem(f"{path} cannot be made: {error.strerror}", "Name another place with XDG_STATE_HOME") from None
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise Problem(
            f"{path} is not yours alone, and a text of yours would be put there", f"chmod 700 {shlex.quote(str(path))}"
        )
    return path


@dataclass(frozen=True)
class Draft:
    """A text in a file that only its owner can read."""

    path: Path

    @classmethod
    def of(cls, agent: str, file: str, content: bytes) -> Draft:
        """Keep a text. Raises :class:`Problem` when it cannot be written."""
        stem, _, ending = file.rpartition(".")
        whose = re.sub(r"[^A-Za-z0-9_-]", "-", agent)[:64]
        name = f"{whose}-{stem}-{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.{ending}"
        path = folder() / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise Problem(f"{path} cannot be written: {error.strerror}") from None
        return cls(path)

    def read(self) -> bytes | None:
        """Return what is in the file now; None when it is gone."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Problem(f"{self.path} cannot be read: {error.strerror}") from None

    def drop(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def edit(self, editor: str | None) -> None:
        """Let a person edit the file. Raises :class:`Problem` when the editor is not there, or fails."""
        command = editor or os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if not command:
            if not (sys.stdin.isatty() and sys.stdout.isatty()):
                # vi would wait for keys that nobody can type, and paint on what is read by a program.
                raise Problem(
                    "There is no terminal to edit at",
                    "Put a text there: clm agent memory write NAME FILE --file TEXT; or name a program with --editor",
                    Exit.USAGE,
                )
            command = "vi"
        try:
            words = shlex.split(command)
            status = subprocess.run([*words, str(self.path)], check=False).returncode
        except ValueError:
            raise Problem(
                f"The editor's command cannot be read: {command}", "Name one with --editor", Exit.USAGE
            ) from None
        except OSError as error:
            raise Problem(
                f"The editor {command} cannot be started: {error.strerror}",
                "Name one with --editor, or EDITOR",
                Exit.USAGE,
            ) from None
        if status != 0:
            raise Problem(f"The editor {words[0]} ended with exit status {status}; nothing was changed")
