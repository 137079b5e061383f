"""Our own SSH keys, ``keys/<host>/id_ed25519``, and the login on a host that they open."""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pyinfra_hermes.facts.script import ACCOUNT_COMMENT

from ..exits import Exit
from ..problems import Problem
from ..state.directory import OpenDirectory, StateDirectory, reason
from ..state.errors import StateCorrupt, StateWriteFailed
from ..state.records import Host
from ..state.store import State
from ..state.writing import writer

FOLDER = "keys"
PRIVATE = "id_ed25519"
PUBLIC = "id_ed25519.pub"

#: GECOS field of the accounts that we made for ourselves.
COMMENT = "Management login (pyinfra-hermes)"
#: First line of the sudo rules that are ours.
HEADER = "# Managed by pyinfra-hermes: clm host init"

# sudo passes over a file whose name has a dot, and useradd of some systems refuses more than this.
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_STAGED = ".new"


@dataclass(frozen=True)
class KeyPair:
    """A key of ours that lies on this machine."""

    #: The private key.
    path: Path
    #: The line for authorized_keys: type, key, and whose it is.
    line: str
    #: It was made a moment ago, so no host can know it yet.
    is_new: bool

    @property
    def key(self) -> str:
        """The public key without its comment."""
        return " ".join(self.line.split()[:2])


def ensure(state: State, host: str) -> KeyPair:
    """Return the key pair for a host, made if there is none: 0600 in a folder 0700, whole or not there."""
    with writer(state.directory, state.lock_wait) as directory, _folder(directory, host) as folder:
        for name in folder.names():
            if name.endswith(_STAGED):
                folder.unlink(name)  # of a command that was stopped; we hold the lock
        private = folder.read(PRIVATE)
        if private is None:
            private, public = _generate(f"clm-{host}@{socket.gethostname()}")
            _write(folder, {PRIVATE: private, PUBLIC: public})
            return KeyPair(folder.path / PRIVATE, public.decode().strip(), is_new=True)
        public = _public_of(private, folder.path / PRIVATE)
        kept = folder.read(PUBLIC)
        if kept is None or kept.split()[:2] != public.split()[:2]:
            _write(folder, {PUBLIC: public})
            kept = public
        return KeyPair(folder.path / PRIVATE, kept.decode().strip(), is_new=False)


def copy(state: State, old: str, new: str) -> bool:
    """
    Copy a host's keys to another name; only inside a transaction, whose lock this needs. False when there are none.

    Raises :class:`Problem` when the other name has keys of its own.
    """
    with state.directory.created() as directory:
        contents = _contents(directory, old)
        if PRIVATE not in contents:
            return False
        with _folder(directory, new) as folder:
            present = folder.read(PRIVATE)
            if present is not None and present != contents[PRIVATE]:
                raise Problem(
                    f"{folder.path} holds another key already",
                    f"mv {shlex.quote(str(folder.path))} {shlex.quote(str(folder.path))}.old",
                    Exit.REFUSED,
                )
            _write(folder, {name: content for name, content in contents.items() if folder.read(name) != content})
    return True


def tidy(state: State) -> None:
    """
    Finish what a stopped rename left: a second copy of a host's keys, under a name that no host has.

    Keys under such a name that no host uses are of an ``init`` that waits for a person, and stay.
    """
    keys = state.directory.keys
    if not keys.is_dir() or not {path.name for path in keys.iterdir()} - set(state.read().hosts):
        return
    with state.transaction() as tx, state.directory.created() as directory:
        used = [_contents(directory, name).get(PRIVATE) for name in tx.hosts]
        for name in _names(directory):
            key = _contents(directory, name).get(PRIVATE)
            if name not in tx.hosts and key is not None and key in used and not users(state.directory, name, tx.hosts):
                _remove(directory, name)


def remove(state: State, host: str) -> bool:
    """Forget a host's keys, unless another host on record uses them; tell whether they are gone."""
    with state.transaction() as tx, state.directory.created() as directory:
        if users(state.directory, host, tx.hosts) or host not in _names(directory):
            return False
        _remove(directory, host)
        return True


def users(directory: StateDirectory, host: str, hosts: Mapping[str, Host]) -> list[str]:
    """Name the hosts on record whose private key is in the folder of ``host``."""
    return [h.name for h in hosts.values() if h.identity_file and moved(directory, h.identity_file, host, host)]


def moved(directory: StateDirectory, identity_file: str, old: str, new: str) -> str | None:
    """Return where a private key is after its folder got another name; None when it is not in that folder."""
    path = Path(identity_file)
    folder = directory.keys / old
    return str(directory.keys / new / path.relative_to(folder)) if path.is_relative_to(folder) else None


def management_user(value: str) -> str:
    """Check the name of the account that ``init`` makes."""
    if value == "root":
        raise Problem(
            "root needs no account of its own", "clm host add takes a host that is reached as root", Exit.USAGE
        )
    if not _USER.fullmatch(value):
        raise Problem(
            f"Management user {value!r} must start with a lowercase letter or underscore and contain only lowercase "
            "letters, digits, hyphens and underscores, 32 characters at most",
            None,
            Exit.USAGE,
        )
    return value


def script(user: str, pair: KeyPair, *, adopt: bool) -> str:
    """Return the script that makes the management login, for root; :func:`outcome` reads what it prints."""
    variables = {
        "name": user, "comment": COMMENT, "agent_comment": ACCOUNT_COMMENT, "adopt": "1" if adopt else "0",
        "key": pair.key, "line": pair.line, "header": HEADER,
    }  # fmt: skip
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    text = resources.files("pyinfra_hermes.cli.ssh").joinpath("management.sh").read_text(encoding="utf-8")
    return assignments + text


def outcome(host: str, user: str, printed: str) -> list[str]:
    """Return what the script changed: ``account``, ``key``, ``sudo``. Raises :class:`Problem` when it refused."""
    lines = printed.splitlines()
    if not lines or lines[-1] != "end":
        raise Problem(f"{host}: the answer of the host was cut off", "Run the command again; it carries on")
    changed = []
    for line in lines[:-1]:
        word, _, rest = line.partition(" ")
        if word == "refused":
            raise _refusal(host, user, rest)
        if word == "changed":
            changed.append(rest)
    return changed


def by_hand(user: str, pair: KeyPair, *, adopt: bool) -> str:
    """Return the lines that a person pastes on the host, as root, to have what the script makes."""
    rule = f"/etc/sudoers.d/pyinfra-hermes-{user}"
    draft = f"/etc/sudoers.d/.pyinfra-hermes-{user}"
    known = f"id {user}" if adopt else f"getent passwd {user} | grep -qF ':{COMMENT}:'"
    add = (
        'umask 077; cd "$1" && mkdir -p .ssh && { grep -qsF "$2" .ssh/authorized_keys || '
        'printf "\\n%s\\n" "$2" >> .ssh/authorized_keys; }'
    )
    return "\n".join(
        [
            f"{{ {known} || useradd --system --user-group --create-home --home-dir /home/{user} \\",
            f"    --key HOME_MODE=0700 --shell /bin/sh --password '*' --comment '{COMMENT}' {user}; }} &&",
            f"runuser -u {user} -- sh -c '{add}' \\",
            f"    sh ~{user} {shlex.quote(pair.line)} &&",
            f"printf '%s\\n' '{HEADER}' '{user} ALL=(root) NOPASSWD: ALL' > {draft} &&",
            f"chmod 0440 {draft} && visudo -cf {draft} && mv {draft} {rule}",
        ]
    )


def _refusal(host: str, user: str, why: str) -> Problem:
    word, _, rest = why.partition(" ")
    other = "Choose another name with --management-user"
    match word:
        case "tools":
            packages = "apt-get install sudo passwd util-linux"
            return Problem(f"{host}: {rest} is missing there", f"On the host, as root: {packages}", Exit.PREFLIGHT)
        case "foreign":
            called = f" (it is called {rest!r})" if rest else ""
            return Problem(
                f"{host}: there is an account {user} that clm did not make{called}. Nothing was changed on the host",
                "To give it our key and passwordless sudo all the same, add --adopt; or choose another name with "
                "--management-user",
                Exit.REFUSED,
            )
        case "agent":
            return Problem(f"{host}: {user} is the account of an agent. It stays what it is", other, Exit.REFUSED)
        case "root":
            return Problem(f"{host}: {user} is another name of root there", other, Exit.REFUSED)
        case "shell":
            return Problem(f"{host}: {user} cannot log in there: its shell is {rest}", other, Exit.REFUSED)
        case "home":
            return Problem(f"{host}: {rest} is there, and no account {user}", other, Exit.REFUSED)
        case "nohome":
            return Problem(f"{host}: the home of {user}, {rest}, is not there", other, Exit.REFUSED)
        case "key":
            return Problem(f"{host}: our key cannot be added for {user}: {rest}", None, Exit.PREFLIGHT)
        case "rule":
            return Problem(
                f"{host}: {rest} is there, and clm did not write it", f"Look at it: sudo cat {rest}", Exit.REFUSED
            )
        case "rules":
            return Problem(f"{host}: there is no {rest}, which sudo would read our rule from", None, Exit.PREFLIGHT)
        case "visudo":
            return Problem(
                f"{host}: visudo there does not take our rule: {rest}. It was not installed", None, Exit.PREFLIGHT
            )
        case _:
            return Problem(f"{host}: another clm is making a login there; run the command again", None, Exit.FAILED)


@contextmanager
def _folder(directory: OpenDirectory, host: str) -> Iterator[OpenDirectory]:
    with directory.created_folder(FOLDER) as keys, keys.created_folder(host) as folder:
        yield folder


def _names(directory: OpenDirectory) -> list[str]:
    with directory.folder(FOLDER) as keys:
        return [] if keys is None else sorted(keys.names())


def _contents(directory: OpenDirectory, host: str) -> dict[str, bytes]:
    with directory.folder(FOLDER) as keys:
        if keys is None:
            return {}
        with keys.folder(host) as folder:
            contents = {} if folder is None else {name: folder.read(name) for name in (PRIVATE, PUBLIC)}
            return {name: content for name, content in contents.items() if content is not None}


def _write(folder: OpenDirectory, contents: Mapping[str, bytes]) -> None:
    try:
        for name, content in contents.items():
            folder.unlink(name + _STAGED)
            folder.write_new(name + _STAGED, content)
            folder.replace(name + _STAGED, name)
        folder.sync()
    except OSError as error:
        raise StateWriteFailed(f"Cannot write {folder.path}: {reason(error)}") from None


def _remove(directory: OpenDirectory, host: str) -> None:
    try:
        with directory.folder(FOLDER) as keys:
            if keys is None:
                return
            with keys.folder(host) as folder:
                if folder is None:
                    return
                for name in folder.names():
                    folder.unlink(name)
            os.rmdir(host, dir_fd=keys.descriptor)
            keys.sync()
    except OSError as error:
        raise StateWriteFailed(f"Cannot remove {directory.path / FOLDER / host}: {reason(error)}") from None


def _generate(comment: str) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, _line(key.public_key(), comment)


def _public_of(private: bytes, path: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        return _line(load_ssh_private_key(private, None).public_key(), f"clm@{socket.gethostname()}")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass  # its text may hold a part of the key
    raise StateCorrupt(
        f"{path} is not a private key that can be used without a passphrase. Nothing was overwritten",
        f"To have a new one made: mv {shlex.quote(str(path))} {shlex.quote(str(path))}.bad",
    )


def _line(public: object, comment: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    text: bytes = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
    return text + b" " + re.sub(r"[^A-Za-z0-9@._-]", "-", comment).encode() + b"\n"
