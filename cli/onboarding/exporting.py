"""``clm agent export``: an agent on record as one file that ``clm agent configure --from`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from pyinfra_hermes.deploys.model import channels, memory, providers
from pyinfra_hermes.deploys.model.declaration import Declaration, Value

from ..state.lookup import Lookup
from ..state.records import Instance, provider_scope
from ..state.store import State
from .agentfile import KEPT


def export(reference: str, *, inline: bool = False) -> str:
    """
    Return the file of an agent; secrets are references, or the word that they are kept here.

    + inline: write the provider out, instead of its name
    """
    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    document = _Document(snapshot, instance)
    # What is on record is sealed, and of types that YAML does not know.
    data = json.loads(json.dumps(document.data(inline)))
    return f"{document.head()}{yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)}"


class _Document:
    def __init__(self, snapshot: Lookup, instance: Instance) -> None:
        self._snapshot = snapshot
        self._instance = instance
        #: Commands that keep the secrets which the file cannot hold.
        self._kept: list[str] = []

    def head(self) -> str:
        host, agent = self._instance
        lines = [
            f"Agent {self._instance.key} as it is on record.",
            f"Bring it back: clm agent configure {host.name}/{agent.name} --from FILE",
        ]
        if self._kept:
            lines.append(f"`{KEPT}` stands for a secret in the secrets.json of the machine that wrote this. Elsewhere,")
            lines.append("put a reference in its place (env:NAME, file:PATH, op://...), or keep it there first:")
            lines += [f"  {command}" for command in self._kept]
        return "".join(f"# {line}\n" for line in lines)

    def data(self, inline: bool) -> dict[str, Any]:
        host, agent = self._instance
        data: dict[str, Any] = {
            "name": agent.name,
            "host": host.name,
            "release": agent.release,
            "method": agent.method,
            "port": agent.port,
            "hardening": agent.hardening,
        }
        if agent.provider is not None:
            data["provider"] = self._provider(agent.provider) if inline else agent.provider
        if agent.model is not None:
            data["model"] = agent.model
        data["channels"] = {
            name: self._block(channels.channel(name), options, self._instance.key, f"{host.name}/{agent.name}")
            for name, options in agent.channels.items()
            if not channels.channel(name).always_on
        }
        data["integrations"] = list(agent.integrations)
        data["memory"] = self._memory()
        data["environment"] = self._environment()
        data["config"] = dict(agent.config)
        return data

    def _provider(self, name: str) -> dict[str, Any]:
        record = self._snapshot.provider(name)
        declaration = providers.provider_type(record.type)
        block = self._block(declaration, record.options, provider_scope(name), f"provider:{name}")
        return {"name": name, "type": record.type, **block}

    def _memory(self) -> dict[str, Any] | None:
        host, agent = self._instance
        if agent.memory is None:
            return None
        declaration = memory.memory_backend(agent.memory.type)
        block = self._block(declaration, agent.memory.options, self._instance.key, f"{host.name}/{agent.name}")
        return {"type": agent.memory.type, **block}

    def _environment(self) -> dict[str, Any]:
        host, agent = self._instance
        secret = {
            name: {"secret": self._secret(self._instance.key, name, f"{host.name}/{agent.name}")}
            for name in agent.secret_environment
        }
        return {**agent.environment, **secret}

    def _block(self, declaration: Declaration, options: Mapping[str, Value], scope: str, whose: str) -> dict[str, Any]:
        there = self._snapshot.secrets.scopes.get(scope, {})
        block: dict[str, Any] = {}
        for f in declaration.fields:
            if f.secret and f.key in there:
                block[f.name] = self._secret(scope, f.key, whose)
            elif not f.secret and f.name in options:
                block[f.name] = options[f.name]
        return block

    def _secret(self, scope: str, key: str, whose: str) -> str:
        entry = self._snapshot.secrets.scopes.get(scope, {}).get(key)
        if entry is not None and entry.reference is not None:
            return entry.reference
        provider = scope.startswith("provider:")
        self._kept.append(f"clm provider add {scope[9:]}" if provider else f"clm secret set {whose} {key}")
        return KEPT
