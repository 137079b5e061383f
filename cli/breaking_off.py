"""Ctrl-C at a question, also in the moment before its answer is waited for."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: What breaks a wait off and means nothing else: a process that does not listen to it is not touched by it.
_NUDGE = signal.SIGURG
_SECONDS = 0.05


@contextmanager
def breaks_off() -> Iterator[None]:
    """
    Have Ctrl-C break off the reading of an answer at once.

    Python notes a signal, and acts on it between two steps of the program or when the system call that it waits in is
    broken off. Between the last step and that call it does neither: the signal is acted on with the next key, and
    Ctrl-C seems to do nothing. Here a thread is woken by each signal and breaks the call off until the block has been
    left.
    """
    main = threading.get_ident()
    # gevent's threads do not run while one reads a key: there it is as without this.
    if main != threading.main_thread().ident or "gevent.monkey" in sys.modules:
        yield
        return
    ours, python = socket.socketpair()
    python.setblocking(False)
    left = threading.Event()

    def nudge() -> None:
        with ours:
            if signal.SIGINT in _signals(ours):
                while not left.wait(_SECONDS):
                    signal.pthread_kill(main, _NUDGE)

    before = signal.signal(_NUDGE, lambda number, frame: None)
    woken = signal.set_wakeup_fd(python.fileno(), warn_on_full_buffer=False)
    try:
        threading.Thread(target=nudge, daemon=True).start()
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(woken)
        python.close()
        signal.signal(_NUDGE, before)


def _signals(receiver: socket.socket) -> Iterator[int]:
    """Give the signals as they come, until the other end is closed."""
    while got := receiver.recv(1):
        yield got[0]
