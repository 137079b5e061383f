"""Bytes to and from a command on a host, as they come: nothing of them is kept here or there on the way."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pyinfra.api import StringCommand
from pyinfra.connectors.util import make_unix_command_for_host
from pyinfra.context import ctx_host, ctx_state

#: Bytes that are asked for, or sent, at once.
PIECE = 1 << 16
_MOST_COMPLAINT = 4000
_MOST_PRINTED = 1 << 16


class Interrupted(Exception):
    """The command did not do what it was to do; the text is what it said of it."""


def is_possible() -> bool:
    """Tell whether the current host is reached in a way that carries streams: over SSH."""
    client: Any = getattr(ctx_host.get().connector, "client", None)
    return hasattr(client, "exec_command")


def begin(command: StringCommand, **arguments: Any) -> tuple[Any, Any, Any]:
    """
    Start a command on the current host and return its standard input, output and error, as paramiko has them.

    It has the rights of the current operation, and those that pyinfra's global arguments give it here.
    """
    host = ctx_host.get()
    for name in ("_sudo", "_sudo_user", "_doas", "_su_user"):
        if value := (host.current_op_global_arguments or {}).get(name):
            arguments.setdefault(name, value)
    actual = make_unix_command_for_host(ctx_state.get(), host, command, **arguments).get_raw_value()
    client: Any = host.connector.client
    stdin, stdout, stderr = client.exec_command(actual)
    return stdin, stdout, stderr


def run(
    command: StringCommand,
    feed: Iterator[bytes] | None = None,
    read: Callable[[Inflated], None] | None = None,
) -> bytes:
    """
    Run a command on the current host with the rights of the current operation, and return what it printed.

    ``feed`` is compressed and given to its standard input, ``read`` gets its standard output instead, which must
    be compressed then.
    Raises :class:`Interrupted` when it fails; what ``feed`` and ``read`` raise ends the command, and comes through.
    """
    stdin, stdout, stderr = begin(command)
    printed, whole = b"", True
    try:
        unread = _feed(stdin, feed) if feed is not None else None
        stdin.channel.shutdown_write()
        if unread is None and read is not None:
            source = Inflated(stdout)
            try:
                read(source)
            except CutOff:
                whole = False  # why may be in what it said
        else:
            printed = bytes(stdout.read(_MOST_PRINTED))
        said = stderr.read(_MOST_COMPLAINT).decode(errors="replace").strip()
        status = stdout.channel.recv_exit_status()
    finally:
        stdout.channel.close()
    if status != 0 or unread is not None or not whole:
        raise Interrupted(said or "what the host sent ended in the middle")
    return printed


class CutOff(Exception):
    """A stream ended before it was complete."""


class Inflated:
    """A compressed stream, read as what it is of."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inflate = zlib.decompressobj()
        self._held = b""

    def line(self, most: int) -> bytes:
        """Return the next line without its end, of ``most`` bytes at most. Raises :class:`CutOff`."""
        while b"\n" not in self._held:
            if len(self._held) > most:
                raise CutOff
            self._held += self._more()
        line, _, self._held = self._held.partition(b"\n")
        return line

    def pieces(self, size: int) -> Iterator[bytes]:
        """Give the next ``size`` bytes. Raises :class:`CutOff`."""
        while size:
            if not self._held:
                self._held = self._more()
            piece, self._held = self._held[:size], self._held[size:]
            size -= len(piece)
            yield piece

    def _more(self) -> bytes:
        try:
            while True:
                waiting = self._inflate.unconsumed_tail or self._source.read(PIECE)
                if not waiting:
                    raise CutOff
                # What little bytes can become is bounded: nobody fills our memory.
                piece = self._inflate.decompress(waiting, PIECE * 16)
                if piece:
                    return piece
        except zlib.error:
            raise CutOff from None


def _feed(stdin: Any, feed: Iterator[bytes]) -> bool | None:
    """Give it all to a command; True when the command would not take it, None otherwise."""
    deflate = zlib.compressobj(1)
    for piece in feed:
        data = deflate.compress(piece)
        if data and not _sent(stdin, data):
            return True
    return None if _sent(stdin, deflate.flush()) else True


def _sent(stdin: Any, data: bytes) -> bool:
    try:
        stdin.channel.sendall(data)
    except OSError:
        return False
    return True
