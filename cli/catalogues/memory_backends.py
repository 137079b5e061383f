"""Memory backends of agents, on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyinfra_hermes.deploys.model.memory import MemoryBackend, memory_backend

from ..onboarding.stages import deciding, kept_secrets
from ..state.records import Memory
from ..state.store import State
from . import fields


def set_backend(reference: str, backend: MemoryBackend, given: Mapping[str, Any]) -> bool:
    """
    Give an agent a memory backend, or change the one that it has; tell whether that changed anything.

    What is missing is asked for. The credentials of another backend that it had are removed.
    """
    state = State.open()
    instance = state.read().agent(reference)
    old = instance.agent.memory
    options = old.options if old is not None and old.type == backend.name else {}
    if backend.secrets:
        state.unlock()
    kept = kept_secrets(state.read(), instance.key, backend) if backend.secrets else frozenset()
    found = fields.answers(backend, given, options=options, secrets=kept)
    with deciding(state, instance) as now:
        agent, secrets = now.agent, now.tx.secrets
        before = agent.memory
        if before is not None and before.type != backend.name:
            now.secrets_changed = _forget(secrets, now.instance.key, before, backend)
        recorded = before.options if before is not None and before.type == backend.name else {}
        there = kept_secrets(now.tx, now.instance.key, backend)
        agent.memory = Memory(type=backend.name, options=fields.check(backend, found, options=recorded, secrets=there))
        now.secrets_changed |= fields.keep_secrets(secrets, now.instance.key, backend, found)
        changed = now.secrets_changed or agent.memory != before
    return changed


def clear_backend(reference: str) -> str | None:
    """Take an agent's memory backend off the record, with its credentials; return which it was."""
    state = State.open()
    state.unlock()
    with deciding(state, state.read().agent(reference)) as now:
        before = now.agent.memory
        if before is not None:
            _forget(now.tx.secrets, now.instance.key, before, None)
        now.agent.memory = None
    return None if before is None else before.type


def shown(reference: str) -> dict[str, Any] | None:
    """Return an agent's memory backend as plain data, None when it has none."""
    memory = State.open().read().agent(reference).agent.memory
    return None if memory is None else {"type": memory.type, "options": dict(memory.options)}


def _forget(secrets: Any, scope: str, memory: Memory, successor: MemoryBackend | None) -> bool:
    staying = {f.key for f in successor.secrets} if successor else set()
    gone = [f.key for f in memory_backend(memory.type).secrets if f.key not in staying]
    removed = [secrets.remove(scope, key) for key in gone]
    return any(removed)
