"""
``secrets.json`` as ciphertext: what its file holds then, and the way there and back. Opt-in.

AES-256-GCM under a key that is derived from a passphrase (scrypt) or from random bytes (HKDF), which are in a key
file or in the system's keyring. The file is JSON::

    {"schema_version": 2, "encryption": {"cipher", "kdf", "parameters", "salt", ...}, "ciphertext", "sha256"}

The version is that of this envelope; what is inside has its own. Version 1 knew no keyring, and is read as it is.

Three questions are kept apart, so that each has its own answer:

- *Is the file as it was written?* It must be, byte for byte, what this program writes for its fields, and
  ``sha256`` is over all of them. This needs no key.
- *Is this the key?* ``key_check`` is derived beside the key and tells.
- *Was the content changed on purpose*, with a new ``sha256``? The header is the associated data of the cipher.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import shlex
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from typing_extensions import override

from pyinfra_hermes.deploys.model.secret import Secret

from .documents import Defect, decode, encode
from .records import Document, SecretsFile
from .sealing import Record

Kind = Literal["passphrase", "command", "key-file", "keyring"]

#: How large a random key is, in bytes.
KEY_SIZE = 32

_NONCE_SIZE = 12
_SALT_SIZE = 16
_CHECK_SIZE = 32
_TAG_SIZE = 16
#: What a file may ask of this machine before anything of it is known to be ours.
_MOST_MEMORY = 256 << 20

_BEGINNING = re.compile(rb'\{\s*("schema_version":\s*[0-9]+,\s*)?"encryption"')

_KEY_INFO = b"pyinfra-hermes secrets.json"
_CHECK_TEXT = b"pyinfra-hermes key check"


def _base64_of(least: int, most: int) -> AfterValidator:
    def check(value: str) -> str:
        try:
            size = len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise ValueError("should be base64") from None
        if not least <= size <= most:
            raise ValueError(f"should hold {least} bytes" if least == most else "should hold another number of bytes")
        return value

    return AfterValidator(check)


class ScryptParameters(Record):
    """What one guess at the passphrase costs (RFC 7914): ``128 * n * r`` bytes of memory, ``n * r * p`` of work."""

    n: Annotated[int, Field(ge=2**14, le=2**20)]
    r: Annotated[int, Field(ge=1, le=32)]
    p: Annotated[int, Field(ge=1, le=8)]

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        if self.n & (self.n - 1):
            raise ValueError("n should be a power of two")
        if 128 * self.n * self.r > _MOST_MEMORY or self.n * self.r * self.p > 2**23:
            raise ValueError("ask for more memory or time than this program gives")
        return self


#: The present parameters: 128 MiB and about 0.3 s, as OWASP has it. ``clm secret rekey`` brings an older file to them.
PARAMETERS = ScryptParameters(n=2**17, r=8, p=1)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class KeySource(Record):
    """Where the key comes from: a passphrase, a command that prints one, a key file, or the system's keyring."""

    kind: Kind
    #: The key file, absolute.
    path: str | None = None
    #: The command, as a list of words; no shell is involved.
    argv: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_tuple)] = ()
    #: What the keyring has the key under: the program's name there, and the name of this key.
    service: Annotated[str, Field(min_length=1)] | None = None
    entry: Annotated[str, Field(min_length=1)] | None = None

    @property
    def is_random(self) -> bool:
        """Whether random bytes are kept there, which need no stretching; else it is a passphrase."""
        return self.kind in ("key-file", "keyring")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = (self.path is not None, bool(self.argv), self.service is not None, self.entry is not None)
        in_keyring = self.kind == "keyring"
        if given != (self.kind == "key-file", self.kind == "command", in_keyring, in_keyring):
            raise ValueError(
                "should have a path for a key file, an argv for a command, a service and an entry for a keyring, and "
                "none of them for a passphrase"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_version_1_had_not(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = write(self)
        return {name: value for name, value in plain.items() if name not in ("service", "entry") or value is not None}

    @override
    def __str__(self) -> str:
        if self.kind == "key-file":
            return f"the key file {self.path}"
        if self.kind == "keyring":
            return f"the key {self.entry} of {self.service} in the system keyring"
        return f"the command `{shlex.join(self.argv)}`" if self.argv else "a passphrase"


class Header(Record):
    """How the content is encrypted; none of it is secret."""

    cipher: Literal["AES-256-GCM"] = "AES-256-GCM"
    kdf: Literal["scrypt", "hkdf-sha256"]
    parameters: ScryptParameters | None
    salt: Annotated[str, _base64_of(_SALT_SIZE, 64)]
    nonce: Annotated[str, _base64_of(_NONCE_SIZE, _NONCE_SIZE)]
    key_check: Annotated[str, _base64_of(_CHECK_SIZE, _CHECK_SIZE)]
    key_source: KeySource

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stretched = not self.key_source.is_random
        if (self.kdf == "scrypt") != stretched or (self.parameters is not None) != stretched:
            raise ValueError("should be scrypt with parameters for a passphrase, hkdf-sha256 without for a random key")
        return self


class EncryptedFile(Document):
    """``secrets.json`` when it is encrypted."""

    FILENAME: ClassVar[str] = SecretsFile.FILENAME

    schema_version: Literal[1, 2] = 2
    encryption: Header
    ciphertext: Annotated[str, _base64_of(_TAG_SIZE, 1 << 30)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _known_then(self) -> Self:
        if self.schema_version == 1 and self.encryption.key_source.kind == "keyring":
            raise ValueError("version 1 knows no keyring")
        return self

    @property
    def header(self) -> bytes:
        """The canonical bytes of everything but the content: the cipher's associated data."""
        plain = {"schema_version": self.schema_version, "encryption": self.encryption.model_dump(mode="json")}
        return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> str:
        """Return what ``sha256`` is when nothing was changed since it was written."""
        return hashlib.sha256(self.header + b"\0" + self.ciphertext.encode()).hexdigest()


class NotTheKey(Exception):
    """The file is as it was written, and this is not its key."""


class Altered(Exception):
    """The key is right, the content was changed on purpose: by accident ``sha256`` would not fit."""


@dataclass(frozen=True)
class Key:
    """A derived key, with what it was derived by. It does for every file of the same salt."""

    source: KeySource
    parameters: ScryptParameters | None
    salt: str
    _bytes: bytes = field(repr=False)

    def fits(self, header: Header) -> bool:
        """Tell whether a file was encrypted with this key, as far as can be told without trying."""
        return (self.salt, self.parameters) == (header.salt, header.parameters) and hmac.compare_digest(
            base64.b64decode(header.key_check), self.check
        )

    @property
    def check(self) -> bytes:
        """A value that tells this key from others and nothing else about it."""
        return hmac.digest(self._bytes[KEY_SIZE:], _CHECK_TEXT, "sha256")

    def header(self) -> Header:
        """Return the header of something to be encrypted, with a nonce that was never used before."""
        return Header(
            kdf="scrypt" if self.parameters else "hkdf-sha256",
            parameters=self.parameters,
            salt=self.salt,
            nonce=_text(os.urandom(_NONCE_SIZE)),
            key_check=_text(self.check),
            key_source=self.source,
        )

    def for_purpose(self, purpose: bytes) -> bytes:
        """Return a key for something else than the content of ``secrets.json``, which tells nothing about that one."""
        return hmac.digest(self._bytes[:KEY_SIZE], purpose, "sha256")

    def encrypt(self, content: bytes) -> EncryptedFile:
        """Encrypt the content of a file, under a nonce that was never used before."""
        header = self.header()
        nonce = base64.b64decode(header.nonce)
        file = EncryptedFile.model_construct(encryption=header, ciphertext="", sha256="")
        file.ciphertext = _text(gcm_encrypt(self._bytes[:KEY_SIZE], nonce, content, file.header))
        file.sha256 = file.digest()
        return file

    def decrypt(self, file: EncryptedFile) -> bytes:
        """Return the content. Raises :class:`NotTheKey` and :class:`Altered`."""
        if not self.fits(file.encryption):
            raise NotTheKey
        nonce, sealed = (base64.b64decode(text) for text in (file.encryption.nonce, file.ciphertext))
        content = gcm_decrypt(self._bytes[:KEY_SIZE], nonce, sealed, file.header)
        if content is None:
            raise Altered
        return content


def derive(material: Secret | bytes, source: KeySource, header: Header | None = None) -> Key:
    """
    Derive a key from a passphrase, or from random bytes.

    With a header it is the key of that file, should the material be right; without, a new one: fresh salt,
    present parameters.
    """
    salt = header.salt if header else _text(os.urandom(_SALT_SIZE))
    octets = base64.b64decode(salt)
    if isinstance(material, bytes):
        return Key(source, None, salt, hkdf(material, octets, _KEY_INFO, 2 * KEY_SIZE))
    parameters = (header.parameters if header else None) or PARAMETERS
    derived = scrypt(_passphrase_bytes(material), octets, parameters.n, parameters.r, parameters.p, 2 * KEY_SIZE)
    return Key(source, parameters, salt, derived)


def encrypted(content: bytes) -> EncryptedFile | Defect | None:
    """Read an encrypted ``secrets.json`` without its key; None when this is not one. A defect is any damage."""
    if not _is_encrypted(content):
        return None
    file = decode(EncryptedFile, content)
    if isinstance(file, Defect):
        return file
    # Only one spelling of a file is accepted, so that no byte of it can change unnoticed.
    if file.sha256 != file.digest() or encode(file) != content:
        return Defect("is encrypted, and is not as it was written: it is damaged, or was edited")
    return file


def begins_encrypted(content: bytes) -> bool:
    """Tell whether a file, damaged or cut off as it may be, was an encrypted one: only those begin with this word."""
    return bool(_BEGINNING.match(content))


def defect_of(kind: type[Document], content: bytes) -> Defect | None:
    """Say what is wrong with a state file, be it plain or encrypted; None when it is whole."""
    if kind is SecretsFile and (file := encrypted(content)) is not None:
        return file if isinstance(file, Defect) else None
    document = decode(kind, content)
    return document if isinstance(document, Defect) else None


def scrypt(passphrase: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    """RFC 7914."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=length, n=n, r=r, p=p).derive(passphrase)


def hkdf(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(material)


def gcm_encrypt(key: bytes, nonce: bytes, content: bytes, associated: bytes) -> bytes:
    """AES-GCM (NIST SP 800-38D); the tag is at the end."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(nonce, content, associated)


def gcm_decrypt(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    """Return the content; None when it, the nonce or the associated data is not what was encrypted."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except InvalidTag:
        return None


def _passphrase_bytes(passphrase: Secret) -> bytes:
    import unicodedata

    # What one keyboard sends composed and another decomposed is the same passphrase.
    return unicodedata.normalize("NFC", passphrase.reveal()).encode()


def _is_encrypted(content: bytes) -> bool:
    try:
        plain: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(plain, dict) and "encryption" in plain


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
