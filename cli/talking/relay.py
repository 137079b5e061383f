"""Passes connections on: what comes in here goes to a socket that may come and go."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

#: Bytes that are passed on at once.
_PIECE = 1 << 18
#: Seconds that a connection waits for a way that is down; its program then sees it closed.
_PATIENCE = 30.0


class Relay:
    """
    Accepts for as long as the ``with`` block lasts, also while there is nowhere to pass connections on to: so nobody
    else can take the port meanwhile, and be sent the key.
    """

    def __init__(self, listening: Sequence[socket.socket]) -> None:
        self._listening = listening
        self._loop = asyncio.new_event_loop()
        self._target: Path | None = None
        self._up = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def lead_to(self, target: Path | None) -> None:
        """Pass connections on to a Unix socket from now on; with None they wait."""
        self._loop.call_soon_threadsafe(self._set, target)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _set(self, target: Path | None) -> None:
        self._target = target
        if target is None:
            self._up.clear()
        else:
            self._up.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for listening in self._listening:
            if listening.family == socket.AF_UNIX:
                serving = asyncio.start_unix_server(self._pass, sock=listening, limit=_PIECE)
            else:
                serving = asyncio.start_server(self._pass, sock=listening, limit=_PIECE)
            self._loop.run_until_complete(serving)
        self._loop.run_forever()
        # What is under way ends with the tunnel.
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(self._up.wait(), _PATIENCE)
            there, back = await asyncio.open_unix_connection(str(self._target), limit=_PIECE)
        except (TimeoutError, OSError):
            writer.close()
            return
        outward = asyncio.ensure_future(_pump(reader, back))
        try:
            # The answer decides when a connection is over: who asks may have closed their side long before.
            await _pump(there, writer)
        finally:
            outward.cancel()
            for one in (writer, back):
                with suppress(OSError):
                    one.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.CancelledError):
        while piece := await source.read(_PIECE):
            sink.write(piece)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
