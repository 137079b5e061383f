"""One observation per host and run, shared by all operations: pyinfra itself asks again for every fact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter
from pyinfra import logger
from pyinfra.api.operation import OperationMeta
from pyinfra.context import ctx_host, ctx_state

from pyinfra_hermes.facts.agents import HermesAgents
from pyinfra_hermes.facts.observation import AgentState, Observation

from . import locking

_ADAPTER: TypeAdapter[Observation] = TypeAdapter(Observation)


@dataclass
class _Seen:
    names: set[str] = field(default_factory=set)
    #: Whether the observation was made while operations ran, or before, to find out what they would do.
    executing: bool = False
    observation: Observation | None = None
    #: The last one, whatever was changed since.
    last: Observation | None = None
    #: Why the agents cannot be held, when they cannot; and whether it was said that nothing is held on such a host.
    refusal: Exception | None = None
    said: bool = False


_seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()


def expect(*names: str) -> None:
    """Say which agents this run is about, so that the first observation covers all of them."""
    entry = _seen.setdefault(ctx_host.get(), _Seen())
    entry.names.update(names)


def observe(*names: str) -> Observation | None:
    """
    Return what is true on the current host, asked at most once before and once while operations run.

    While operations run its agents are held first, so that what is seen is not changed by another run before it is
    acted on. None when the host could not be observed: pyinfra has then marked it as failed and said why; or when an
    agent is held by another run, see :func:`refusal`.
    """
    host = ctx_host.get()
    executing = bool(getattr(ctx_state.get(), "is_executing", False))
    entry = _seen.setdefault(host, _Seen())
    if entry.observation is None or entry.executing != executing or not entry.names.issuperset(names):
        entry.names.update(names)
        if executing and not _hold(host, entry):
            return None
        value = host.get_fact(HermesAgents, names=tuple(sorted(entry.names)))
        entry.observation = None if value is None else _ADAPTER.validate_python(value)
        entry.executing = executing
        entry.last = entry.observation
    return entry.observation


def refusal(host: Any) -> Exception | None:
    """Return why the agents of this run cannot be held on a host; None when nothing speaks against it."""
    entry = _seen.get(host)
    return None if entry is None else entry.refusal


def _hold(host: Any, entry: _Seen) -> bool:
    try:
        if not locking.hold(host, entry.names) and not entry.said:
            logger.info(f"    [{host.name}] no lock against other runs: only hosts reached over SSH have one")
            entry.said = True
    except (locking.Locked, locking.Unavailable) as error:
        entry.refusal = error
        return False
    return True


def known(host: Any) -> Observation | None:
    """Return what a host was last seen to be in this run, without asking it; None after something was changed since."""
    entry = _seen.get(host)
    return None if entry is None else entry.observation


def last(host: Any) -> Observation | None:
    """Return what a host was last seen to be in this run, without asking it, whatever was changed since."""
    entry = _seen.get(host)
    return None if entry is None else entry.last


def observe_agent(name: str) -> AgentState | None:
    """Return what is true of one agent, see :func:`observe`."""
    observation = observe(name)
    return None if observation is None else observation.agent(name)


def remembered(name: str) -> AgentState | None:
    """Return what was true of one agent when the host was asked last, without asking it again."""
    observation = last(ctx_host.get())
    return None if observation is None else observation.agent(name)


def forget() -> None:
    """Drop the current host's observation after an operation changed what a later one looks at."""
    entry = _seen.get(ctx_host.get())
    if entry is not None:
        entry.observation = None


def changed(meta: OperationMeta) -> bool:
    """Tell whether an earlier operation changed something, or will."""
    return meta.did_change() if meta.is_complete() else meta.will_change
