"""
The directory of clawrium, the predecessor: found, read once, never changed.

Its files are lists without a version (``hosts.json``, ``providers.json``, ``integrations.json``, since 26.6
``channels.json``) and one object (``secrets.json``). Nothing that is said here about a file holds its content.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..exits import Exit
from ..problems import Problem
from ..state.directory import StateDirectory, read_all, reason

#: Their files, with the JSON type that each holds.
FILES: Mapping[str, type] = {
    "hosts.json": list,
    "providers.json": list,
    "integrations.json": list,
    "channels.json": list,
    "secrets.json": dict,
}

#: Folders in our state directory with what an import kept; see :func:`cli.importing.carry_out`.
KEPT = "imported-from-clawrium-"

#: What one of their files may hold; theirs are kilobytes.
LARGEST = 16 << 20

_LOCKS = (".hosts.lock", ".secrets.lock", ".providers.lock", ".integrations.lock", ".channels.lock")
_PRIVATE_KEY, _PUBLIC_KEY = "xclm_ed25519", "xclm_ed25519.pub"
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, repr=False)
class Source:
    """The predecessor's files as they were when they were read."""

    path: Path
    #: The bytes of each file that is there.
    contents: Mapping[str, bytes]
    hosts: list[dict[str, Any]] = field(default_factory=list)
    providers: list[dict[str, Any]] = field(default_factory=list)
    integrations: list[dict[str, Any]] = field(default_factory=list)
    channels: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, Any] = field(default_factory=dict)
    #: What the user should know about the files, although they were read.
    warnings: tuple[str, ...] = ()

    def key_of(self, key_id: object, folders: tuple[Path, ...]) -> Key | None:
        """Return the key pair that ``key_id`` names, from the first folder that has it; None when there is none."""
        if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id) or set(key_id) == {"."}:
            return None
        for folder in folders:
            key = Key(key_id, folder / key_id / _PRIVATE_KEY)
            if os.path.lexists(key.path):
                return key
        return None


@dataclass(frozen=True)
class Key:
    """A private key of theirs, ``keys/<key_id>/xclm_ed25519``; the public one is beside it."""

    key_id: str
    path: Path

    def problem(self) -> str | None:
        """Say why the key cannot be used; None when it can."""
        try:
            for path in (self.path.parent.parent, self.path.parent):
                if not stat.S_ISDIR(path.lstat().st_mode):
                    return "its key is behind a symbolic link"
            if not stat.S_ISREG(self.path.lstat().st_mode):
                return "its key is not a regular file"
        except OSError as error:
            return f"its key cannot be looked at: {reason(error)}"
        return None

    def is_same_as(self, path: Path) -> bool:
        """Tell whether another file holds the same key."""
        try:
            return self.path.read_bytes() == path.read_bytes()
        except OSError:
            return False

    def is_open_to_others(self) -> bool:
        """Tell whether others may read it; OpenSSH refuses such a key."""
        return bool(self.path.lstat().st_mode & 0o077)

    def files(self) -> dict[str, bytes]:
        """Return the pair by file name. Raises :class:`Problem`."""
        pair = {_PRIVATE_KEY: self.path, _PUBLIC_KEY: self.path.with_name(_PUBLIC_KEY)}
        contents: dict[str, bytes] = {}
        for name, path in pair.items():
            content, _ = _read(path)
            if content is not None:
                contents[name] = content
        return contents


def find(given: Path | None, ours: StateDirectory) -> Source:
    """
    Read the predecessor's files from where they are.

    Without ``given`` that is the place that both programs use; once it is ours, the folder in which the last
    import kept theirs. Raises :class:`Problem`.
    """
    path = given or ours.path
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib's raises where we may not look
        raise Problem(
            f"There is no directory {path}", "Say where clawrium's files are: clm import clawrium DIR", Exit.USAGE
        )
    source = read(path)
    if source is not None:
        return source
    kept = _newest_kept(path) if is_same(path, ours.path) else None
    source = read(kept) if kept is not None else None
    if source is None:
        raise Problem(
            f"{path} is a directory of pyinfra-hermes, and holds nothing of clawrium's",
            "Say where clawrium's files are: clm import clawrium DIR",
            Exit.USAGE,
        )
    return source


def is_theirs(path: Path) -> bool:
    """Tell whether a directory has the predecessor's ``hosts.json``: a list, where ours is an object."""
    try:
        content, _ = _read(path / "hosts.json")
    except Problem:
        return False
    return content is not None and content.lstrip()[:1] == b"["


def is_same(one: Path, other: Path) -> bool:
    """Tell whether two paths mean one directory."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def read(path: Path) -> Source | None:
    """Read a directory; None when it is ours. Raises :class:`Problem` when a file is not as it should be."""
    contents: dict[str, bytes] = {}
    warnings: list[str] = []
    for name in FILES:
        content, warning = _read(path / name)
        if content is not None:
            contents[name] = content
        if warning is not None:
            warnings.append(warning)
    parsed = {name: _parsed(path / name, content) for name, content in contents.items()}
    ours = [name for name, plain in parsed.items() if isinstance(plain, dict) and "schema_version" in plain]
    if "hosts.json" in ours or (ours and "hosts.json" not in parsed):
        return None
    if not parsed:
        if _newest_kept(path) is not None:
            return None
        raise Problem(
            f"{path} holds none of clawrium's files ({', '.join(FILES)})",
            "Say where they are: clm import clawrium DIR",
            Exit.USAGE,
        )
    if ours:
        raise Problem(
            f"{path} holds files of clawrium and of pyinfra-hermes ({', '.join(ours)}); nothing was changed",
            "Put the files of one of them into a directory of their own",
            Exit.REFUSED,
        )
    for name, plain in parsed.items():
        _check_shape(path / name, plain, FILES[name])
    documents = {name.removesuffix(".json"): plain for name, plain in parsed.items()}
    return Source(path, contents, warnings=tuple(warnings), **documents)


@contextmanager
def held_still(source: Source) -> Iterator[None]:
    """
    Keep the predecessor's commands from writing, and make sure that its files are still as they were read.

    Raises :class:`Problem`.
    """
    with ExitStack() as held:
        for name in _LOCKS:
            try:
                descriptor = os.open(source.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise Problem(
                        f"A command of clawrium is writing in {source.path}; nothing was imported",
                        "Run the command again when that one has ended",
                        Exit.LOCKED,
                    ) from None
        for name in FILES:
            if _read(source.path / name)[0] != source.contents.get(name):
                raise Problem(
                    f"{source.path / name} was changed in the meantime; nothing was imported",
                    "Look at it again: clm import clawrium",
                )
        yield


def _newest_kept(path: Path) -> Path | None:
    try:
        names = sorted((entry.name for entry in path.iterdir() if entry.name.startswith(KEPT)), reverse=True)
    except OSError as error:
        raise Problem(f"Cannot list {path}: {reason(error)}") from None
    return next((path / name for name in names if any(_is_file(path / name / file) for file in FILES)), None)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - as above


def _read(path: Path) -> tuple[bytes | None, str | None]:
    """Return a file's bytes and a warning; no bytes when there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114 - as above
            target, here = shlex.quote(os.path.realpath(path)), shlex.quote(str(path))
            raise Problem(
                f"{path} is a symbolic link; only regular files are imported",
                f"cp --remove-destination -p {target} {here}",
            ) from None
        raise Problem(f"Cannot open {path}: {reason(error)}; nothing was imported") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Problem(f"{path} is not a regular file; nothing was imported")
        if status.st_size > LARGEST:
            raise Problem(f"{path} is larger than {LARGEST >> 20} MiB, so clawrium did not write it")
        content = read_all(descriptor, path)
    finally:
        os.close(descriptor)
    return content, _warning(path, status)


def _warning(path: Path, status: os.stat_result) -> str | None:
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another account (uid {status.st_uid})"
    if status.st_mode & 0o077:
        return f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600"
    return None


def _parsed(path: Path, content: bytes) -> Any:
    # The problem is raised outside of the `except`: its context would hold the whole file.
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError as error:
        what = f"line {content[: error.start].count(10) + 1}: is not UTF-8"
    except json.JSONDecodeError as error:
        what = f"line {error.lineno}, column {error.colno}: is not JSON ({error.msg.partition(':')[0]})"
    except ValueError:
        what = "holds a number that is too long"
    except RecursionError:
        what = "is nested too deeply"
    raise Problem(f"{path}: {what}. Nothing was imported", "Mend the file, or take it from a backup")


def _check_shape(path: Path, plain: Any, wanted: type) -> None:
    shape = "an array" if wanted is list else "an object"
    if not isinstance(plain, wanted):
        raise Problem(f"{path}: should hold {shape}, and does not. Nothing was imported")
    if isinstance(plain, list):
        for number, entry in enumerate(plain, 1):
            if not isinstance(entry, dict):
                raise Problem(f"{path}: entry {number} should be an object. Nothing was imported")
