"""From what the state holds to what the deploys take: an agent's specification and its secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pyinfra_hermes.deploys.model import integrations, providers
from pyinfra_hermes.deploys.model.render import Files
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec

from .state.lookup import Lookup
from .state.records import API_SERVER_KEY, Agent, Instance, Integration, Provider, integration_scope, provider_scope


def specification(state: Lookup, instance: Instance) -> AgentSpec:
    """Return the specification of an agent on record. Raises ``InvalidSpec`` and ``NotFound``."""
    agent = instance.agent
    return AgentSpec.parse(
        {
            "name": agent.name,
            "release": agent.release,
            "method": agent.method,
            "port": agent.port,
            "provider": _provider(state.provider(agent.provider), agent) if agent.provider else None,
            "channels": agent.channels,
            "integrations": [_integration(state.integration(name)) for name in agent.integrations],
            "memory": _memory(agent),
            "environment": agent.environment,
            "secret_environment": agent.secret_environment,
            "config": agent.config,
            "hardening": agent.hardening,
        }
    )


def secrets_of(state: Lookup, instance: Instance) -> dict[str, Secret]:
    """
    Return an agent's own secrets by their names, its provider's by their fields' names, an integration's with its own.

    Raises ``ApiKeyInvalid`` when the agent's API key is missing or was edited into another shape.
    """
    found: dict[str, Secret] = {**state.secrets.of(instance.key), API_SERVER_KEY: state.api_key(instance)}
    if instance.agent.provider:
        record = state.provider(instance.agent.provider)
        kept = state.secrets.of(provider_scope(record.name))
        for field in providers.provider_type(record.type).secrets:
            if field.key in kept:
                found[field.name] = kept[field.key]
    for name in instance.agent.integrations:
        for own, value in _integration_secrets(state, state.integration(name)).items():
            found[f"{name}.{own}"] = value
    return found


def digest(files: Files) -> str:
    """Return one digest of everything that a host must have for an agent."""
    credentials = [part for name in sorted(files.credentials) for part in (name, files.credentials[name].reveal())]
    parts = [files.env.reveal(), repr(sorted(files.leaves.items())), files.service, files.slice, *credentials]
    parts += [part for name in sorted(files.seeds) for part in (name, files.seeds[name].content.reveal())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _provider(record: Provider, agent: Agent) -> Mapping[str, object]:
    options = dict(record.options)
    if agent.model is not None:
        options["model"] = agent.model
    return {"type": record.type, "options": options}


def _integration(record: Integration) -> Mapping[str, object]:
    return {"name": record.name, "type": record.type, "options": dict(record.options)}


def _integration_secrets(state: Lookup, record: Integration) -> Mapping[str, Secret]:
    kept = state.secrets.of(integration_scope(record.name))
    kind = integrations.integration_type(record.type)
    return {f.name: kept[f.key] for f in kind.of(kind.options(record.options)).secrets if f.key in kept}


def _memory(agent: Agent) -> Mapping[str, object] | None:
    return None if agent.memory is None else {"type": agent.memory.type, "options": dict(agent.memory.options)}
