"""What is on record of an agent, in rows for a person, before it is applied."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra_hermes.deploys import references
from pyinfra_hermes.deploys.model import channels, memory, providers
from pyinfra_hermes.deploys.model.declaration import Declaration, Value

from ..catalogues import fields
from ..state.lookup import Lookup
from ..state.records import Instance, provider_scope


def reviewed(snapshot: Lookup, instance: Instance) -> list[tuple[str, str]]:
    """Return what is on record of an agent, in rows for a person; of secrets only that they are set, or where."""
    agent = instance.agent
    rows = [("agent", f"{agent.name} on {instance.host.name}, {agent.release}, port {agent.port}")]
    if agent.provider is not None:
        record = snapshot.provider(agent.provider)
        declaration = providers.provider_type(record.type)
        model = agent.model or record.options.get("model", "-")
        rows.append(("provider", f"{record.name} ({record.type}), model {model}"))
        rows += _settings(declaration, {**record.options}, snapshot, provider_scope(record.name), leave_out=("model",))
    for name, options in agent.channels.items():
        entry = channels.channel(name)
        rows.append(("channel", name))
        rows += [] if entry.always_on else _settings(entry, options, snapshot, instance.key)
    if agent.memory is not None:
        rows.append(("memory", agent.memory.type))
        rows += _settings(memory.memory_backend(agent.memory.type), agent.memory.options, snapshot, instance.key)
    variables = [*agent.environment, *agent.secret_environment]
    if variables:
        rows.append(("variables", ", ".join(variables)))
    if agent.config:
        rows.append(("config.yaml", ", ".join(agent.config)))
    if agent.integrations:
        rows.append(("integrations", ", ".join(agent.integrations)))
    rows.append(("hardening", agent.hardening))
    return rows


def _settings(
    declaration: Declaration,
    options: Mapping[str, Value],
    snapshot: Lookup,
    scope: str,
    leave_out: tuple[str, ...] = (),
) -> list[tuple[str, str]]:
    kept = snapshot.secrets.scopes.get(scope, {})
    rows = []
    for f in declaration.fields:
        if f.secret and f.key in kept:
            reference = kept[f.key].reference
            rows.append((f"  {f.name}", references.shown(reference) if reference else "set"))
        elif not f.secret and f.name in options and f.name not in leave_out:
            rows.append((f"  {f.name}", fields.shown(f, options[f.name])))
    return rows
