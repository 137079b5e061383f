"""
A file that is encrypted piece by piece, so that it is written and read as a stream.

A line that says what it is, a line of JSON with :class:`.state.encryption.Header`, then pieces of 64 KiB, each under
AES-256-GCM with its number and whether it is the last in its nonce (STREAM; Hoang, Reyhanitabar, Rogaway, Vizar 2015).
Both lines are the associated data of every piece: no byte of the file can change, no piece be left out, moved or added.
"""

from __future__ import annotations

import base64
import io
import json
from typing import BinaryIO

from typing_extensions import override

from ..state.encryption import Header, Key, gcm_decrypt, gcm_encrypt

FIRST_LINE = b"pyinfra-hermes sealed archive 1\n"
PIECE = 1 << 16
_TAG = 16
_LONGEST_HEADER = 8192
_PURPOSE = b"pyinfra-hermes sealed archive"


class Damaged(Exception):
    """It is not as it was written; the text says how that shows."""


class Sealer(io.RawIOBase):
    """Encrypts what is written to it. Closed, it has written the last piece; the file below stays open."""

    def __init__(self, file: BinaryIO, key: Key) -> None:
        super().__init__()
        self._file = file
        header = key.header()
        lines = _lines(header)
        self._pieces = _Pieces(key, header, lines)
        self._held = bytearray()
        file.write(lines)

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: object) -> int:
        octets = bytes(data)  # type: ignore[call-overload]
        self._held += octets
        # A full piece is held back until more comes: it may be the last.
        while len(self._held) > PIECE:
            self._file.write(self._pieces.sealed(bytes(self._held[:PIECE]), last=False))
            del self._held[:PIECE]
        return len(octets)

    @override
    def close(self) -> None:
        try:
            if not self.closed:
                self._file.write(self._pieces.sealed(bytes(self._held), last=True))
        finally:
            super().close()


class Unsealer(io.RawIOBase):
    """Reads what was sealed. Nothing of a piece comes out before the piece is known to be as it was written."""

    def __init__(self, file: BinaryIO, header: Header, key: Key) -> None:
        """Take a file of which :func:`read_header` has read the header."""
        super().__init__()
        self._file = file
        self._pieces = _Pieces(key, header, _lines(header))
        self._held = b""
        self._next = file.read(PIECE + _TAG)
        self._ended = False

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._held and not self._ended:
            piece, self._next = self._next, self._file.read(PIECE + _TAG)
            self._ended = not self._next
            content = self._pieces.opened(piece, last=self._ended)
            if content is None:
                raise Damaged("it was changed, or its end is missing")
            self._held = content
        count = min(len(view), len(self._held))
        view[:count] = self._held[:count]
        self._held = self._held[count:]
        return count


def read_header(file: BinaryIO) -> Header | None:
    """Read up to the first piece; None, with nothing read, when this is no sealed file. Raises :class:`Damaged`."""
    start = file.tell()
    if file.read(len(FIRST_LINE)) != FIRST_LINE:
        file.seek(start)
        return None
    line = file.readline(_LONGEST_HEADER)
    try:
        header = Header.model_validate(json.loads(line))
    except ValueError:
        raise Damaged("its first lines were changed") from None
    if FIRST_LINE + line != _lines(header):
        raise Damaged("its first lines were changed")
    return header


def _lines(header: Header) -> bytes:
    plain = json.dumps(header.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return FIRST_LINE + plain.encode() + b"\n"


class _Pieces:
    def __init__(self, key: Key, header: Header, associated: bytes) -> None:
        self._key = key.for_purpose(_PURPOSE)
        self._prefix = base64.b64decode(header.nonce)[:7]
        self._associated = associated
        self._number = 0

    def sealed(self, content: bytes, *, last: bool) -> bytes:
        return gcm_encrypt(self._key, self._nonce(last), content, self._associated)

    def opened(self, piece: bytes, *, last: bool) -> bytes | None:
        if len(piece) < _TAG:
            return None
        return gcm_decrypt(self._key, self._nonce(last), piece, self._associated)

    def _nonce(self, last: bool) -> bytes:
        number, self._number = self._number, self._number + 1
        return self._prefix + number.to_bytes(4, "big") + bytes([last])
