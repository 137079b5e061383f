"""Keep what works of an agent before it is changed, and go back to it."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal
from weakref import WeakKeyDictionary

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host, ctx_state

from pyinfra_hermes.facts.observation import AgentState
from pyinfra_hermes.facts.script import PENDING, start_functions

from . import receipts
from .announcing import Change, announce
from .commands import refuse, unobserved
from .observing import forget, observe_agent

#: What a command says when an agent has what it had, and when it serves on it.
SERVES_AGAIN = "serves on what it had."
IS_AS_IT_WAS = "has what it had, and is stopped as it was."


@dataclass(frozen=True)
class Switch:
    """
    How an agent comes to another release.

    + what: what it is called
    + database: id of the snapshot whose ``state.db`` it gets
    """

    what: Literal["upgrade", "rollback"] = "upgrade"
    database: str | None = None


#: Agents of which a host was told in this run to keep what works.
_kept: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def is_settled(state: AgentState) -> bool:
    """Tell whether what an agent has was proven, and nothing was changed since."""
    return not (state.runs is None or state.restart_pending or state.proof_pending or state.under_way is not None)


def before_change(state: AgentState) -> Iterator[StringCommand]:
    """
    Keep what works, before the first change that a run makes to an agent which runs and was proven.

    An agent that does not has nothing to go back to; one whose last run was cut off has what that one kept.
    """
    running = state.unit is not None and state.unit.running and state.listening is not None
    if not running or not is_settled(state):
        return
    if getattr(ctx_state.get(), "is_executing", False):
        noted = _kept.setdefault(ctx_host.get(), set())
        if state.name in noted:
            return
        noted.add(state.name)
    yield _script('keep "$1" configure "$2"\n', state.name, state.runs or "")


@operation()
def switched(
    agent: str,
    release: str,
    what: Literal["upgrade", "rollback"] = "upgrade",
    database: str | None = None,
) -> Generator[StringCommand, None, None]:
    """
    Stop an agent that is to get another release, and keep what it has, with its ``state.db``, to go back to.

    + agent: name of the agent
    + release: id of the release that follows
    + what: what is under way
    + database: id of the snapshot whose ``state.db`` takes the place of what there is, which is kept beside it under
      another name, ``state.db.of-RELEASE-TIME``

    A newer daemon changes ``state.db`` when it starts, and an older one runs on that without a word. An agent that
    already is on its way to this release is left as it is; one on its way to another goes back first, see
    :func:`settled`.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import snapshots

        snapshots.switched(
            name="Keep what works",
            agent="maurice",
            release="v2026.7.20-wheel-0a1b2c3d",
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if state.runs is None or state.runs == release:
        ctx_host.get().noop(f"agent {agent} is not to get another release")
        return
    if state.under_way is None and not is_settled(state):
        # Changed and never proven: there is nothing that is known to work.
        ctx_host.get().noop(f"agent {agent} has nothing to go back to")
        return
    announce(Change("do", f"agent {agent}", f"{what} from {state.runs} to {release}"))
    script = 'keep "$1" "$2" "$3" || exit 1\n'
    if database is not None:
        announce(Change("change", f"/home/{agent}/.hermes/state.db", "that of before, this one is kept aside"))
        # After a power cut it runs again.
        script += ': >"$PENDING/$1.restart"; systemctl stop "hermes-$1.service"\n'
        script += 'put_database "$1" "$PENDING/$1.snapshots/$4" "$store/$id/replaced" || { go_back "$1"; exit 1; }\n'
    yield _script(script, agent, what, release, database or "")
    if getattr(ctx_state.get(), "is_executing", False):
        _kept.setdefault(ctx_host.get(), set()).add(agent)
    forget()


@operation()
def settled(agent: str, release: str) -> Generator[StringCommand, None, None]:
    """
    Go back from a change of releases that was cut off, unless it led to the release that is wanted.

    + agent: name of the agent
    + release: id of the release that is wanted

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import snapshots

        snapshots.settled(name="End what was cut off", agent="maurice", release="v2026.5.7-wheel-481e9e99", _sudo=True)
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    found = state.under_way
    if found is None or found.what == "configure" or found.to == release:
        ctx_host.get().noop(f"agent {agent} is on its way to no other release")
        return
    announce(Change("do", f"agent {agent}", f"back from an {found.what} to {found.to} that was cut off"))
    yield _going_back(state, f"the {found.what} to {found.to} was cut off")
    forget()


@operation()
def reverted(agent: str, reason: str = "") -> Generator[StringCommand, None, None]:
    """
    Go back to what worked before the change that is under way, and prove it; nothing to do when there is none.

    + agent: name of the agent
    + reason: why, for the receipt

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import snapshots

        snapshots.reverted(name="Go back", agent="maurice", reason="the disk is full", _sudo=True)
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if state.under_way is None:
        ctx_host.get().noop(f"nothing is under way for agent {agent}")
        return
    announce(Change("do", f"agent {agent}", f"back to what it had on {state.under_way.at}"))
    yield _going_back(state, reason)
    forget()


@operation()
def concluded(agent: str) -> Generator[StringCommand, None, None]:
    """
    Take note that the change which is under way is done: there is nothing to go back from any more.

    + agent: name of the agent

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import snapshots

        snapshots.concluded(name="Conclude the upgrade", agent="maurice", _sudo=True)
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
    elif state.under_way is None:
        ctx_host.get().noop(f"nothing is under way for agent {agent}")
    elif state.restart_pending or state.proof_pending:
        yield refuse(f"agent {agent} was not proven; what is under way stays")
    else:
        yield _script('settle "$1"\n', agent)
        forget()


def functions() -> str:
    """Return the shell functions that keep, go back and settle; they need root, and ``prove`` beside them."""
    return f"PENDING={PENDING}\n{_packaged('snapshot.sh')}"


def prover() -> str:
    """Return the shell function that asks an agent whether it serves."""
    return f"PROVE={shlex.quote(_packaged('prove.py.txt'))}\n{_packaged('proof.sh')}"


def _going_back(state: AgentState, reason: str) -> StringCommand:
    made = receipts.functions(receipts.receipt(state, "go back"))
    script = 'if go_back "$1"; then receipt "$1" reverted "$2"; else receipt "$1" failed "$2"; exit 1; fi\n'
    return _script(made + script, state.name, reason)


def _script(what: str, *arguments: str) -> StringCommand:
    script = start_functions() + prover() + functions() + what
    return StringCommand("sh -s --", *(QuoteString(argument) for argument in arguments), _stdin=script)


def _packaged(name: str) -> str:
    return resources.files("pyinfra_hermes.operations").joinpath(name).read_text(encoding="utf-8")
