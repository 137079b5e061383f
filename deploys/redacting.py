"""
Stands between this process and whoever reads what it writes: no revealed secret comes through.

Imports nothing of weight: ``clm`` installs it before anything else.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from threading import RLock
from types import ModuleType
from typing import Any, BinaryIO, TextIO, cast

from typing_extensions import Buffer, override

from .model.redaction import REDACTOR, REVEALED, redact


def install() -> None:
    """
    Put the redactor in front of standard output, standard error, tracebacks, logging and pyinfra's debug file.

    Safe to repeat, and to be repeated after something replaced ``sys.stdout``. What a process started by this
    one writes, or C code, or ``os.write``, goes to the file descriptor itself and cannot be seen here.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not _guarded(stream):
            setattr(sys, name, _Text.over(stream))
    import threading

    _guard_hook(sys, "excepthook")
    _guard_hook(sys, "unraisablehook")
    _guard_hook(threading, "excepthook")
    # Nothing needs guarding before there is a secret; then logging costs nothing that matters.
    REVEALED.at_first(_guard_what_is_loaded)


def write_secret(value: str, end: str = "\n") -> None:
    """Write a secret to standard output, on purpose: the one way past the redactor."""
    stream = sys.stdout
    guard = getattr(stream, "buffer", None)
    if not isinstance(guard, _Guard):
        stream.write(value + end)
        stream.flush()
        return
    stream.flush()
    guard.write_unredacted((value + end).encode(stream.encoding, stream.errors or "strict"))


class _Guard(io.BufferedIOBase):
    """The binary stream before the real one. All that is written passes here, text and bytes alike."""

    def __init__(self, origin: TextIO) -> None:
        # The origin is kept: it would close the file descriptor when nobody else holds it.
        self._origin = origin
        self._sink = cast(BinaryIO, getattr(origin, "buffer", None) or _IntoText(origin))
        self._lock = RLock()
        self.encoded_as(origin.encoding or "utf-8", origin.errors or "strict")

    def encoded_as(self, encoding: str, errors: str) -> None:
        self._stream = REDACTOR.stream(encoding, errors)

    @property
    def name(self) -> Any:
        return getattr(self._sink, "name", "<guarded>")

    @property
    def mode(self) -> str:
        return str(getattr(self._sink, "mode", "wb"))

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._sink.fileno()

    @override
    def isatty(self) -> bool:
        return self._sink.isatty()

    @override
    def write(self, data: Buffer, /) -> int:
        octets = bytes(data)
        with self._lock:
            self._put(self._stream.feed(octets))
        return len(octets)

    def write_unredacted(self, data: bytes) -> None:
        with self._lock:
            self.flush()
            self._put(data)
            self._sink.flush()

    @override
    def flush(self) -> None:
        with self._lock:
            self._put(self._stream.release())
            self._sink.flush()

    @override
    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                self._sink.close()

    @override
    def __del__(self) -> None:
        # Going away is not closing: the real stream belongs to others as well.
        pass

    def _put(self, data: bytes) -> None:
        # Unbuffered (python -u) the sink is the file itself, which may take a part.
        rest = memoryview(data)
        while rest:
            rest = rest[self._sink.write(rest) or 0 :]


class _IntoText(io.RawIOBase):
    """A binary stream into a text stream that has none below, such as ``io.StringIO``."""

    def __init__(self, text: TextIO) -> None:
        import codecs

        self._text = text
        self._decoder = codecs.getincrementaldecoder(text.encoding or "utf-8")("replace")

    @override
    def writable(self) -> bool:
        return True

    @override
    def isatty(self) -> bool:
        return self._text.isatty()

    @override
    def write(self, data: Buffer, /) -> int:
        octets = bytes(data)
        self._text.write(self._decoder.decode(octets))
        return len(octets)

    @override
    def flush(self) -> None:
        self._text.flush()

    @override
    def __del__(self) -> None:
        pass


class _Text(io.TextIOWrapper):
    """What ``sys.stdout`` and ``sys.stderr`` are: a text stream like the one before, over a :class:`_Guard`."""

    mode = "w"

    @classmethod
    def over(cls, stream: TextIO) -> _Text:
        stream.flush()
        return cls(
            cast(BinaryIO, _Guard(stream)),
            encoding=stream.encoding or "utf-8",
            errors=stream.errors or "strict",
            newline="\n",
            line_buffering=getattr(stream, "line_buffering", False),
            write_through=getattr(stream, "write_through", True),
        )

    @override
    def reconfigure(self, **changes: Any) -> None:
        super().reconfigure(**changes)
        cast(_Guard, self.buffer).encoded_as(self.encoding, self.errors or "strict")

    @override
    def __del__(self) -> None:
        with suppress(ValueError, OSError):
            self.detach()


def _guarded(stream: object) -> bool:
    return isinstance(getattr(stream, "buffer", None), _Guard)


def _guard_hook(owner: ModuleType, name: str) -> None:
    """Let a hook that reports an exception write what it has to say through the redactor, in one piece."""
    previous: Callable[..., object] = getattr(owner, name)
    if getattr(previous, "guards", False):
        return

    def hook(*arguments: Any) -> None:
        stream = sys.stderr
        if stream is None or not REVEALED:
            previous(*arguments)
            return
        with redirect_stderr(_Report(stream)) as report:
            previous(*arguments)
        stream.write(redact(report.getvalue()))
        stream.flush()

    hook.guards = True  # type: ignore[attr-defined]
    setattr(owner, name, hook)


class _Report(io.StringIO):
    """Text for a stream, collected; coloured when the stream is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @override
    def isatty(self) -> bool:
        return self._stream.isatty()


def _guard_what_is_loaded() -> None:
    _guard_logging()
    _guard_pyinfra_debug_log()


def _guard_logging() -> None:
    """
    Redact every log record at its birth: its message as rendered, and its traceback.

    A filter on a logger would not see the records of the loggers below it, one on a handler not the handlers
    that come later.
    """
    import logging

    make = logging.getLogRecordFactory()
    if getattr(make, "guards", False):
        return
    formatter = logging.Formatter()

    def record(*arguments: Any, **keywords: Any) -> logging.LogRecord:
        made: logging.LogRecord = make(*arguments, **keywords)
        try:
            message = made.getMessage()
            traceback = formatter.formatException(made.exc_info) if made.exc_info and made.exc_info[0] else ""
        except Exception:
            # Wrong arguments for the format, for one: the handler reports it, to standard error.
            return made
        if (shown := redact(message)) != message:
            made.msg, made.args = shown, ()
        if (shown := redact(traceback)) != traceback:
            made.exc_info, made.exc_text = None, shown
        return made

    record.guards = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)


def _guard_pyinfra_debug_log() -> None:
    """
    Redact what the command ``pyinfra`` writes to ``pyinfra-debug.log`` (3.10, ``pyinfra_cli/exceptions.py``).

    It opens that file itself, but takes the text from two methods.
    """
    module = sys.modules.get("pyinfra_cli.exceptions")
    mixin: Any = getattr(module, "UnexpectedMixin", None)
    if mixin is None or getattr(mixin.get_exception, "guards", False):
        return
    lines, exception = mixin.get_traceback_lines, mixin.get_exception

    def get_traceback_lines(self: Any) -> list[str]:
        return [redact(line) for line in lines(self)]

    def get_exception(self: Any) -> str:
        return redact(exception(self))

    get_exception.guards = True  # type: ignore[attr-defined]
    mixin.get_traceback_lines, mixin.get_exception = get_traceback_lines, get_exception
