"""From what the state holds to what the deploys take: an agent's specification and its secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pyinfra_hermes.deploys.model import providers
from pyinfra_hermes.deploys.model.render import Files
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec

from .state.lookup import Lookup
from .state.records import API_SERVER_KEY, Agent, Instance, Provider, provider_scope


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
            "hardening": agent.hardening,
        }
    )


def secrets_of(state: Lookup, instance: Instance) -> dict[str, Secret]:
    """
    Return an agent's own secrets by their names, and its provider's by their fields' names.

    Raises ``ApiKeyInvalid`` when the agent's API key is missing or was edited into another shape.
    """
    found: dict[str, Secret] = {**state.secrets.of(instance.key), API_SERVER_KEY: state.api_key(instance)}
    if instance.agent.provider:
        record = state.provider(instance.agent.provider)
        kept = state.secrets.of(provider_scope(record.name))
        for field in providers.provider_type(record.type).secrets:
            if field.name.upper() in kept:
                found[field.name] = kept[field.name.upper()]
    return found


def digest(files: Files) -> str:
    """Return one digest of everything that a host must have for an agent."""
    parts = [files.env.reveal(), repr(sorted(files.leaves.items())), files.service, files.slice]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _provider(record: Provider, agent: Agent) -> Mapping[str, object]:
    options = dict(record.options)
    if agent.model is not None:
        options["model"] = agent.model
    return {"type": record.type, "options": options}
