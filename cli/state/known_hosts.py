"""Host keys that were trusted: our own list in OpenSSH's format, and the user's, which is read only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Literal, Self

from typing_extensions import override

from pyinfra_hermes.deploys.model import names

from .directory import OpenDirectory, StateDirectory, home, reason
from .errors import HostKeyConflict, StateCorrupt, StateReadFailed
from .locking import DEFAULT_WAIT
from .writing import commit, writer

FILENAME = "known_hosts"

Marker = Literal["", "@cert-authority", "@revoked"]
Verdict = Literal["known", "unknown", "other-type", "changed", "revoked"]

_SSH_PORT = 22
# OpenSSH knows one end of a line; str.splitlines knows eleven.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_TYPE = re.compile(r"[a-z0-9][a-z0-9@.-]{0,127}")


@dataclass(frozen=True)
class HostKey:
    """A public key of a host."""

    #: As OpenSSH names it: ``ssh-ed25519``.
    type: str
    #: The key in SSH's wire format.
    blob: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<type> <base64> [comment]``. Raises ``ValueError`` when that is no key."""
        fields = text.split()
        if len(fields) < 2 or not _TYPE.fullmatch(fields[0]):
            raise ValueError("should be a key: its type and its base64")
        try:
            blob = base64.b64decode(fields[1], validate=True)
        except binascii.Error:
            raise ValueError("the key is not base64") from None
        name = fields[0].encode()
        if not blob.startswith(len(name).to_bytes(4, "big") + name):
            raise ValueError("the key is not of the type that it says")
        return cls(fields[0], blob)

    @property
    def fingerprint(self) -> str:
        """The fingerprint as OpenSSH shows it."""
        return fingerprint(self.blob)

    @override
    def __str__(self) -> str:
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a key in wire format: ``SHA256:`` and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def entry_name(address: str, port: int = _SSH_PORT) -> str:
    """
    Name a server as known_hosts does: the address, or ``[address]:port`` when the port is not 22.

    Raises :class:`names.InvalidName` for what is no address, which may hold a comma, a space or a pattern.
    """
    name = names.address(address).lower()
    return name if port == _SSH_PORT else f"[{name}]:{port}"


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file."""

    marker: Marker
    patterns: tuple[str, ...]
    key: HostKey

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Read a line; None for a comment, an empty line, and what OpenSSH would pass over as well."""
        marker, rest = _split_marker(line.strip())
        servers, _, key = rest.partition(" ")
        if marker is None or servers.startswith("#"):
            return None
        try:
            return cls(marker, tuple(servers.split(",")), HostKey.parse(key))
        except ValueError:
            return None

    def matches(self, name: str) -> bool:
        """Tell whether the line speaks of a server with this :func:`entry_name`; ``!pattern`` excludes."""
        wanted = [pattern for pattern in self.patterns if not pattern.startswith("!")]
        excluded = [pattern[1:] for pattern in self.patterns if pattern.startswith("!")]
        return any(_matches(pattern, name) for pattern in wanted) and not any(
            _matches(pattern, name) for pattern in excluded
        )


@dataclass(frozen=True)
class KnownKeys:
    """What a list of host keys knows of one server."""

    #: The keys the server may have, revoked ones left out.
    keys: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()

    def verdict(self, key: HostKey) -> Verdict:
        """
        Judge the key that a server shows.

        ``changed``: another key of this type is known. ``other-type``: only keys of other types are known,
        which a server that got a new kind of key has, and an impostor as well.
        """
        if key in self.revoked:
            return "revoked"
        if key in self.keys:
            return "known"
        if any(known.type == key.type for known in self.keys):
            return "changed"
        return "other-type" if self.keys else "unknown"


def look_up(text: str, address: str, port: int = _SSH_PORT) -> KnownKeys:
    """Find a server in the text of a known_hosts file; lines that are not understood are passed over."""
    name = entry_name(address, port)
    found: dict[Marker, list[HostKey]] = {"": [], "@cert-authority": [], "@revoked": []}
    for entry in filter(None, map(Entry.parse, text.split("\n"))):
        if entry.matches(name):
            found[entry.marker].append(entry.key)
    revoked = tuple(dict.fromkeys(found["@revoked"]))
    return KnownKeys(
        keys=tuple(key for key in dict.fromkeys(found[""]) if key not in revoked),
        revoked=revoked,
    )


def with_key(text: str, address: str, port: int, key: HostKey) -> str:
    """Return the text of a known_hosts file with a line for a server's key at its end."""
    separator = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{separator}{entry_name(address, port)} {key}\n"


def without(text: str, address: str, port: int = _SSH_PORT) -> str:
    """
    Return the text of a known_hosts file without a server.

    A line that names other servers too keeps those. Patterns, markers, comments and lines that we do not
    understand stay as they are.
    """
    lines = (_line_without(line, entry_name(address, port)) for line in _LINE.findall(text))
    return "".join(line for line in lines if line is not None)


def users_known_hosts(environment: Mapping[str, str] = environ) -> tuple[Path, ...]:
    """Name the user's own lists as OpenSSH has them by default, for :func:`look_up_in`."""
    folder = home(environment) / ".ssh"
    return folder / "known_hosts", folder / "known_hosts2"


def look_up_in(paths: Iterable[Path], address: str, port: int = _SSH_PORT) -> KnownKeys:
    """Find a server in files that are not ours, which are only read; one that is not there is empty."""
    return look_up("\n".join(map(_read_foreign, paths)), address, port)


class KnownHosts:
    """Our own list: ``known_hosts`` in the state directory, 0600, names in the open."""

    def __init__(self, directory: StateDirectory, *, lock_wait: float = DEFAULT_WAIT) -> None:
        self.directory = directory
        self.path = directory.known_hosts
        self._wait = lock_wait

    def look_up(self, address: str, port: int = _SSH_PORT) -> KnownKeys:
        """Find a server."""
        with self.directory.opened() as directory:
            return look_up("" if directory is None else _read_ours(directory), address, port)

    def add(self, address: str, port: int, keys: Iterable[HostKey]) -> bool:
        """
        Trust keys of a server; tell whether one was new.

        Raises :class:`HostKeyConflict` when another key of a type is trusted already, or a key is revoked; see
        :meth:`replace`.
        """
        with writer(self.directory, self._wait) as directory:
            before = text = _read_ours(directory)
            for key in keys:
                known = look_up(text, address, port)
                _refuse_conflict(entry_name(address, port), known, key)
                if key not in known.keys:
                    text = with_key(text, address, port, key)
            return _write(directory, before, text)

    def replace(self, address: str, port: int, key: HostKey) -> bool:
        """
        Trust one key of a server, in the place of all that were trusted, in one write; tell whether that is new.

        Raises :class:`HostKeyConflict` when the key is revoked.
        """
        with writer(self.directory, self._wait) as directory:
            before = _read_ours(directory)
            text = without(before, address, port)
            known = look_up(text, address, port)
            # What is left speaks of the server by a pattern or a marker, which is not ours to change.
            _refuse_conflict(entry_name(address, port), known, key)
            return _write(directory, before, text if key in known.keys else with_key(text, address, port, key))

    def remove(self, address: str, port: int = _SSH_PORT) -> bool:
        """Forget a server; tell whether it was there."""
        with writer(self.directory, self._wait) as directory:
            before = _read_ours(directory)
            return _write(directory, before, without(before, address, port))


def _split_marker(line: str) -> tuple[Marker | None, str]:
    if not line.startswith("@"):
        return "", " ".join(line.split())
    marker, *rest = line.split()
    if marker == "@revoked":
        return "@revoked", " ".join(rest)
    return ("@cert-authority" if marker == "@cert-authority" else None), " ".join(rest)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|"):
        return _matches_hash(pattern, name)
    # Only * and ? are special: brackets stand for themselves around an address with a port.
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern.lower())
    return re.fullmatch("".join(parts), name) is not None


def _matches_hash(pattern: str, name: str) -> bool:
    try:
        _, magic, salt, hashed = pattern.split("|")
        if magic != "1":
            return False
        digest = hmac.digest(base64.b64decode(salt, validate=True), name.encode(), "sha1")
        return hmac.compare_digest(digest, base64.b64decode(hashed, validate=True))
    except ValueError:
        return False


def _line_without(line: str, name: str) -> str | None:
    entry = Entry.parse(line)
    if entry is None or entry.marker:
        return line
    left = [pattern for pattern in entry.patterns if not _is_name(pattern, name)]
    if len(left) == len(entry.patterns):
        return line
    if all(pattern.startswith("!") for pattern in left):
        return None
    return line.replace(",".join(entry.patterns), ",".join(left), 1)


def _is_name(pattern: str, name: str) -> bool:
    return _matches_hash(pattern, name) if pattern.startswith("|") else pattern.lower() == name


def _refuse_conflict(name: str, known: KnownKeys, key: HostKey) -> None:
    verdict = known.verdict(key)
    if verdict == "revoked":
        raise HostKeyConflict(f"The {key.type} key {key.fingerprint} of {name} is marked as revoked")
    if verdict == "changed":
        trusted = " and ".join(old.fingerprint for old in known.keys if old.type == key.type)
        raise HostKeyConflict(
            f"The {key.type} key of {name} has changed: trusted is {trusted}, and the server shows {key.fingerprint}"
        )


def _read_ours(directory: OpenDirectory) -> str:
    content = directory.read(FILENAME) or b""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise StateCorrupt(f"{directory.path / FILENAME}: line {line} is not UTF-8. Nothing was overwritten")


def _read_foreign(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StateReadFailed(f"Cannot read {path}: {reason(error)}") from None


def _write(directory: OpenDirectory, before: str, text: str) -> bool:
    if text != before:
        commit(directory, {FILENAME: text.encode()})
    return text != before
