"""Operations say what they are about to do, item by item: to who listens, else to the log while pyinfra prepares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from pyinfra import logger
from pyinfra.context import ctx_host, ctx_state
from typing_extensions import override

#: What happens to an item. ``refuse``: the operation will fail, ``item`` says why.
Action = Literal["add", "change", "remove", "do", "refuse"]

_SIGNS: dict[Action, str] = {"add": "+", "change": "~", "remove": "-", "do": "!", "refuse": "x"}


@dataclass(frozen=True)
class Change:
    """One thing that an operation is about to do. It never holds a secret."""

    action: Action
    #: What it is done to: a file by its path, an account, a service.
    subject: str
    #: The part of the subject: a leaf, a variable, or words.
    item: str = ""
    #: The item's value after the change; None when it is secret, or has none.
    new: str | None = None
    #: Whether the value may not be shown, before or after.
    secret: bool = False
    #: The leaf's path, where the item is one.
    path: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        text = f"{_SIGNS[self.action]} {self.subject}{': ' if self.item else ''}{self.item}"
        if self.secret:
            return f"{text} (value hidden)"
        return text if self.new is None else f"{text} = {self.new}"


_listeners: WeakKeyDictionary[Any, list[Change]] = WeakKeyDictionary()
#: What was announced on a host while operations ran, and is in no receipt yet.
_done: WeakKeyDictionary[Any, list[Change]] = WeakKeyDictionary()


@contextmanager
def listening(host: Any) -> Iterator[list[Change]]:
    """Collect what operations on a host announce while the block runs."""
    changes = _listeners[host] = []
    try:
        yield changes
    finally:
        del _listeners[host]


def announce(*changes: Change) -> None:
    """
    Say what is about to be done; goes before the first command of an operation.

    While pyinfra prepares, ``--dry`` included, each is a line of its log.
    """
    if not ctx_host.isset():
        return
    host = ctx_host.get()
    if getattr(ctx_state.get(), "is_executing", False):
        _done.setdefault(host, []).extend(changes)
    if host in _listeners:
        _listeners[host].extend(changes)
    elif not getattr(ctx_state.get(), "is_executing", False):
        for change in changes:
            logger.info(f"{host.print_prefix}{change}")


def told(*, peek: bool = False) -> list[Change]:
    """Return what operations announced on the current host, in this run and since this was asked last."""
    host = ctx_host.get()
    return list(_done.get(host, ())) if peek else _done.pop(host, [])
