"""Keep receipts of what was applied to an agent, on its host, for root only."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata, resources
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host, ctx_state

from pyinfra_hermes.facts.observation import AgentState
from pyinfra_hermes.facts.receipts import Receipt
from pyinfra_hermes.facts.script import PENDING

from .announcing import told
from .observing import remembered
from .operators import operator

_made: WeakKeyDictionary[Any, list[Receipt]] = WeakKeyDictionary()


def receipt(state: AgentState, what: str, release: str | None = None) -> Receipt:
    """
    Make the receipt of what was done to an agent of the current host so far; whoever runs operations may take it.

    ``release``: id of the one that it has now, when that is not what it was seen with.
    """
    changes = told()
    # A unit that this run has made had none before.
    first = any(each.action == "add" and each.subject.endswith(f"/hermes-{state.name}.service") for each in changes)
    before = state.under_way.release if state.under_way is not None else None if first else state.runs
    after = release or state.runs
    lines = [str(change) for change in changes if change.action != "refuse"]
    if before != after and (brought := state.releases.get(after or "")) is not None and brought.fallback:
        tier = f"by its installer's fallback tier ({brought.fallback}), without hashes"
        lines.insert(0, f"! release {brought.id}: {tier}")
    made = Receipt(
        id=secrets.token_hex(6),
        at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        by=operator(),
        agent=state.name,
        what=what,
        before=before,
        after=after,
        changes=tuple(lines),
        result="applied",
        reason="",
        version=_version(),
    )
    if getattr(ctx_state.get(), "is_executing", False):
        _made.setdefault(ctx_host.get(), []).append(made)
    return made


def taken(host: Any) -> list[Receipt]:
    """Return the receipts made on a host since they were taken last; how each ended is not in them."""
    return _made.pop(host, [])


def functions(made: Receipt | None) -> str:
    """Return the shell function that adds a receipt, which needs root; without one it does nothing."""
    text = "" if made is None else made.encode()
    variables = f"RECEIPT={shlex.quote(text)}\nRECEIVE={shlex.quote(_packaged('receive.py.txt'))}\nPENDING={PENDING}\n"
    return variables + _packaged("receipt.sh")


@operation()
def kept(agent: str, what: str, release: str | None = None) -> Generator[StringCommand, None, None]:
    """
    Keep the receipt of what this run did to an agent, when it did something, on its host.

    + agent: name of the agent
    + what: what was done: ``install``, ``stop``
    + release: id of the release that it has now; as before when not given

    A proof keeps its own, see :func:`.services.healthy`.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import receipts

        receipts.kept(name="Keep the receipt", agent="maurice", what="install", _sudo=True)
    """
    if not told(peek=True):
        ctx_host.get().noop(f"nothing was done to agent {agent}")
        return
    state = remembered(agent) or AgentState(agent)
    made = functions(receipt(state, what, release))
    yield StringCommand("sh -s --", QuoteString(agent), _stdin=f'{made}receipt "$1" applied ""\n')


def _version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("pyinfra-hermes")
    return "unknown"


def _packaged(name: str) -> str:
    return resources.files("pyinfra_hermes.operations").joinpath(name).read_text(encoding="utf-8")
