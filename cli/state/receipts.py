"""The receipts that this machine keeps: a line each, the last ones, beside the state and written like it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from pyinfra_hermes.facts.receipts import Receipt

from . import journal
from .directory import reason, way_out_of
from .errors import StateWriteFailed
from .store import State
from .writing import writer

FILENAME = "receipts.jsonl"
#: The most lines that are kept, of all agents.
MOST = 4000


def add(state: State, host: str, receipts: Iterable[Receipt]) -> None:
    """Keep receipts of a host's agents. Raises ``StateError``."""
    lines = [json.dumps({"host": host, "receipt": json.loads(receipt.encode())}) for receipt in receipts]
    if not lines:
        return
    with writer(state.directory, state.lock_wait) as directory:
        before = (directory.read(FILENAME) or b"").decode("ascii", "replace").split("\n")
        content = "\n".join([*filter(None, before), *lines][-MOST:]) + "\n"
        staged = journal.staged_name(FILENAME)
        try:
            directory.write_new(staged, content.encode("ascii", "replace"))
            directory.replace(staged, FILENAME)
            directory.sync()
        except OSError as error:
            path = directory.path / FILENAME
            raise StateWriteFailed(f"Cannot write {path}: {reason(error)}", way_out_of(error, directory.path)) from None


def read(state: State, host: str, agent: str) -> list[Receipt]:
    """Return what is kept of an agent, the oldest first; lines that cannot be read are left out."""
    with state.directory.opened() as directory:
        content = (directory.read(FILENAME) if directory is not None else None) or b""
    found = []
    for line in content.decode("ascii", "replace").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and row.get("host") == host:
            receipt = Receipt.parse(json.dumps(row.get("receipt")))
            if receipt is not None and receipt.agent == agent:
                found.append(receipt)
    return found


def concluded(receipt: Receipt, failure: str | None, *, went_back: bool) -> Receipt:
    """Say in a receipt how its run ended; ``failure`` is why it failed."""
    if failure is None:
        return receipt
    return replace(receipt, result="reverted" if went_back else "failed", reason=failure.partition("\n")[0])
