"""
A key in the keyring of the user's system, through the ``keyring`` library; only when the user asked for it.

The library is optional, and finds what the system has: a Secret Service (GNOME, KeePassXC), KWallet, the Keychain of
macOS. Nothing takes its place where it finds none, and a weaker kind that it would make do with, such as a plain file,
is refused unless the user chose it in the library's own settings.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.deploys.model.secret import Secret

from .encryption import KEY_SIZE, KeySource
from .errors import KeyUnavailable, StateWriteFailed

#: What our keys are found under in the keyring.
SERVICE = "pyinfra-hermes"

INSTALL = "pip install 'pyinfra-hermes[keyring]'"

#: From here on the library recommends a kind of keyring.
_RECOMMENDED = 1


def make_key() -> KeySource:
    """
    Put a new key of random bytes into the keyring; return where it is.

    It was read back before this returns. Raises :class:`KeyUnavailable` where there is no keyring, and
    :class:`StateWriteFailed` for one that refuses, or forgets.
    """
    keyring = _library()
    kind = _kind(keyring)
    entry = f"secrets.json-{os.urandom(4).hex()}"
    value = Secret(base64.b64encode(os.urandom(KEY_SIZE)).decode())
    with _speaking(StateWriteFailed, f"The system keyring ({kind}) did not take the key"):
        keyring.set_password(SERVICE, entry, value.reveal())
        kept = keyring.get_password(SERVICE, entry)
    if kept is None or Secret(kept) != value:
        raise StateWriteFailed(
            f"The system keyring ({kind}) did not give back the key that was put into it", _OTHERWISE
        )
    return KeySource(kind="keyring", service=SERVICE, entry=entry)


def read_key(source: KeySource) -> bytes:
    """Read a key. Raises :class:`KeyUnavailable`."""
    assert source.service is not None and source.entry is not None
    keyring = _library()
    kind = _kind(keyring)
    with _speaking(KeyUnavailable, f"The system keyring ({kind}) does not answer"):
        value = keyring.get_password(source.service, source.entry)
    if value is None:
        raise KeyUnavailable(
            f"The system keyring ({kind}) has no {source.entry} of {source.service}",
            f"Open the keyring that has it, or bring a copy of the key: {_COPY}",
        )
    secret = Secret(value)
    try:
        key = base64.b64decode(secret.reveal(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise KeyUnavailable(
            f"What the system keyring ({kind}) has under {source.entry} of {source.service} is not a key: it should "
            f"hold {KEY_SIZE} bytes in base64",
            f"Bring a copy of the key: {_COPY}",
        )
    return key


_COPY = "CLM_KEY_FILE=FILE"
_OTHERWISE = "Keep the key elsewhere: --key-file PATH --generate"


def _library() -> Any:
    try:
        import keyring
    except ImportError:
        raise KeyUnavailable(
            "The library for the system keyring is not installed", f"{INSTALL}, with the pip that installed clm"
        ) from None
    return keyring


def _kind(keyring: Any) -> str:
    """Name the keyring that will be used. Raises :class:`KeyUnavailable` when there is none that may be."""
    with _speaking(KeyUnavailable, "The system keyring cannot be used"):
        backend = keyring.get_keyring()
        several = getattr(backend, "backends", None)
        first = next(iter(several), backend) if several is not None else backend
        is_chosen = keyring.core.load_env() is not None or keyring.core.load_config() is not None
        priority, kind, home = first.priority, str(first.name), type(first).__module__
    # Those two are the library's way to say that there is none.
    if home in ("keyring.backends.fail", "keyring.backends.null"):
        raise KeyUnavailable(
            "There is no system keyring here: no service of this session answers",
            "Run clm in a session that has one (with GNOME: gnome-keyring), and see that the library is complete: "
            f"{INSTALL}. Or, with a copy of the key: {_COPY}",
        )
    if priority < _RECOMMENDED and not is_chosen:
        raise KeyUnavailable(
            f"The only keyring that is found here, {kind}, is not one that its library recommends",
            f"Run clm in a session that has a system keyring, or choose this one: "
            f"PYTHON_KEYRING_BACKEND={home}.{type(first).__qualname__}",
        )
    return kind


@contextmanager
def _speaking(error: Callable[[str], Exception], what: str) -> Iterator[None]:
    """Say in our words what a keyring has to say: it may raise anything."""
    try:
        yield
    except Exception as caught:
        said = redact(" ".join(str(caught).split()))[:200]
        name = type(caught).__name__
        failure = error(f"{what}: {name}{f' ({said})' if said else ''}")
    else:
        return
    raise failure from None
