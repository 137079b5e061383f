"""The state directory: where it is, and what must hold before a byte in it is believed."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .. import begun
from .errors import StateReadFailed, StateRefused, StateWriteFailed

_NAME = "clawrium"


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """
    Say where the state directory is: ``$XDG_CONFIG_HOME/clawrium`` or ``~/.config/clawrium``.

    The variable counts only when it is absolute, as the XDG base directory specification says. The home is
    the account's own when ``HOME`` is not absolute. Raises :class:`StateReadFailed` when there is none.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / _NAME
    return home(environ) / ".config" / _NAME


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's home directory."""
    path = Path(environ.get("HOME", ""))
    if path.is_absolute():
        return path
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        raise StateReadFailed("This account has no home directory", "Set HOME or XDG_CONFIG_HOME") from None


def reason(error: OSError) -> str:
    """Return what the operating system said, without the path that is named elsewhere."""
    return error.strerror or type(error).__name__


def way_out_of(error: OSError, path: Path) -> str | None:
    """Name the command that shows what is in the way of writing, where it is the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"Make room, then run the command again: df -h {_quoted(path)}"
    if error.errno == errno.EROFS:
        return f"See how the disk is mounted: findmnt -T {_quoted(path)}"
    return None


@dataclass(frozen=True)
class FileIdentity:
    """What tells one version of a file from another, as long as the one compared with is held open."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Take the identity out of a ``stat`` result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class OpenDirectory:
    """
    A directory that was checked and is held open.

    Names are resolved against the open descriptor, so that what was checked is what is used even when the
    path changes its meaning in between.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int | None:
        """
        Open a file of ours; None when there is none.

        Raises :class:`StateRefused` when it is a symbolic link, not a regular file, not ours or open to
        others.
        """
        path = self.path / name
        try:
            # O_NONBLOCK: a FIFO in the place of a file must not hang the command.
            descriptor = os.open(
                name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=self.descriptor
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            self._refuse_what_is_no_file(name)
            kind = StateReadFailed if flags & os.O_ACCMODE == os.O_RDONLY else StateWriteFailed
            raise kind(f"Cannot open {path}: {reason(error)}", way_out_of(error, self.path)) from None
        try:
            _check_file(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str) -> bytes | None:
        """Return the content of a file of ours; None when there is none."""
        descriptor = self.open_file(name)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return read_all(file.fileno(), self.path / name)

    def status(self, name: str) -> os.stat_result | None:
        """Return the ``lstat`` of a name; None when there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateReadFailed(f"Cannot look at {self.path / name}: {reason(error)}") from None

    def names(self) -> list[str]:
        """List the directory."""
        try:
            return os.listdir(self.descriptor)  # noqa: PTH208 - of a descriptor
        except OSError as error:
            raise StateReadFailed(f"Cannot list {self.path}: {reason(error)}") from None

    def unlink(self, name: str) -> None:
        """Remove a file if it is there. Raises ``OSError``."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def write_new(self, name: str, content: bytes) -> None:
        """
        Write a file that must not be there yet, durably, 0600 from its first moment.

        Raises ``OSError``, and leaves nothing of the file behind then.
        """
        begun.something()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self.descriptor)
        try:
            try:
                written = 0
                while written < len(content):
                    written += os.write(descriptor, content[written:])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            with suppress(OSError):
                self.unlink(name)
            raise

    def replace(self, name: str, target: str) -> None:
        """Give a file another name, in the place of the file that has it. Raises ``OSError``."""
        begun.something()
        os.replace(name, target, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make names durable that were added, replaced or removed. Raises ``OSError``."""
        os.fsync(self.descriptor)

    @contextmanager
    def folder(self, name: str) -> Iterator[OpenDirectory | None]:
        """Open a folder inside, which must be 0700 too; None when it is not there."""
        descriptor = self._open_folder(name)
        if descriptor is None:
            yield None
            return
        try:
            _check_directory(self.path / name, os.fstat(descriptor))
            yield OpenDirectory(self.path / name, descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def created_folder(self, name: str) -> Iterator[OpenDirectory]:
        """Open a folder inside that is created when it is not there."""
        _make(self.path / name)
        with self.folder(name) as folder:
            if folder is None:
                raise StateWriteFailed(f"{self.path / name} went away while it was used")
            yield folder

    def _open_folder(self, name: str) -> int | None:
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(name, flags, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._refuse_what_is_no_folder(name)
            raise StateReadFailed(f"Cannot open {self.path / name}: {reason(error)}") from None

    def _refuse_what_is_no_file(self, name: str) -> None:
        path, status = self.path / name, self.status(name)
        if status is not None:
            _check_file(path, status)

    def _refuse_what_is_no_folder(self, name: str) -> None:
        path, status = self.path / name, self.status(name)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise _no_folder(path)


@dataclass(frozen=True)
class StateDirectory:
    """The directory that holds the state; creating the object touches nothing."""

    path: Path

    @classmethod
    def default(cls) -> Self:
        """The directory of the user who runs this."""
        return cls(default_path())

    @property
    def keys(self) -> Path:
        """Where our own SSH keys are."""
        return self.path / "keys"

    @property
    def known_hosts(self) -> Path:
        """Our own list of host keys."""
        return self.path / "known_hosts"

    @contextmanager
    def opened(self) -> Iterator[OpenDirectory | None]:
        """
        Open the directory; None when it is not there.

        Raises :class:`StateRefused` when it is not ours or open to others. The path itself may be a symbolic
        link, for people who keep their configuration elsewhere; what it points at is checked.
        """
        descriptor = self._open()
        if descriptor is None:
            yield None
            return
        try:
            _check_directory(self.path, os.fstat(descriptor))
            yield OpenDirectory(self.path, descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def created(self) -> Iterator[OpenDirectory]:
        """Open the directory, which is created 0700 when it is not there, with the parents it needs."""
        for parent in reversed((self.path, *self.path.parents)):
            if not os.path.lexists(parent):
                _make(parent)
        with self.opened() as directory:
            if directory is None:
                raise StateRefused(f"{self.path} is a symbolic link to a directory that is not there")
            yield directory

    def _open(self) -> int | None:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise _no_folder(self.path) from None
        except OSError as error:
            raise StateReadFailed(f"Cannot open {self.path}: {reason(error)}") from None


def read_all(descriptor: int, path: Path) -> bytes:
    """Read an open file to its end."""
    pieces = []
    try:
        while piece := os.read(descriptor, 1 << 20):
            pieces.append(piece)
    except OSError as error:
        raise StateReadFailed(f"Cannot read {path}: {reason(error)}") from None
    return b"".join(pieces)


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except FileExistsError:
        return
    except OSError as error:
        raise StateWriteFailed(f"Cannot create {path}: {reason(error)}", way_out_of(error, path.parent)) from None


def folder_faults(path: Path, status: os.stat_result) -> Iterator[StateRefused]:
    """Say why a folder cannot be trusted, everything at once; nothing when it can."""
    if not stat.S_ISDIR(status.st_mode):
        yield _no_folder(path)
        return
    yield from _owner_faults(path, status)
    yield from _mode_faults(path, status, "700")


def file_faults(path: Path, status: os.stat_result) -> Iterator[StateRefused]:
    """Say why a file cannot be trusted, everything at once; nothing when it can."""
    if stat.S_ISLNK(status.st_mode):
        yield _is_link(path)
    elif not stat.S_ISREG(status.st_mode):
        yield StateRefused(f"{path} is not a regular file", f"mv {_quoted(path)} {_quoted(path)}.old")
    else:
        yield from _owner_faults(path, status)
        yield from _mode_faults(path, status, "600")


def _check_directory(path: Path, status: os.stat_result) -> None:
    for fault in folder_faults(path, status):
        raise fault


def _check_file(path: Path, status: os.stat_result) -> None:
    for fault in file_faults(path, status):
        raise fault


def _owner_faults(path: Path, status: os.stat_result) -> Iterator[StateRefused]:
    mine = os.geteuid()
    if status.st_uid == mine:
        return
    if mine != 0:
        remedy = f"sudo chown -R {_account(mine)} {_quoted(path)}"
    elif path.parent.stat().st_uid == mine and not stat.S_ISDIR(status.st_mode):
        remedy = f"chown {_account(mine)} {_quoted(path)}"
    else:
        remedy = f"Run the command as {_account(status.st_uid)}, without sudo"
    yield StateRefused(f"{path} belongs to {_account(status.st_uid)}, not to {_account(mine)}", remedy)


def _mode_faults(path: Path, status: os.stat_result, wanted: str) -> Iterator[StateRefused]:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        yield StateRefused(f"{path} is open to other users (mode {mode:04o})", f"chmod {wanted} {_quoted(path)}")


def _no_folder(path: Path) -> StateRefused:
    return StateRefused(f"{path} is not a directory", f"mv {_quoted(path)} {_quoted(path)}.old")


def _is_link(path: Path) -> StateRefused:
    target = os.path.realpath(path)
    return StateRefused(
        f"{path} is a symbolic link to {target}; the state is kept in regular files only",
        f"cp --remove-destination -p {shlex.quote(target)} {_quoted(path)}",
    )


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
