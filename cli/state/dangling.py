"""Across the files: names that lead nowhere, secrets without an owner, owners without their secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.providers import CATALOGUE

from .records import (
    API_SERVER_KEY,
    HostsFile,
    Instance,
    IntegrationsFile,
    Provider,
    ProvidersFile,
    SecretsFile,
    provider_scope,
)

_HOSTS, _PROVIDERS = HostsFile.FILENAME, ProvidersFile.FILENAME
_INTEGRATIONS, _SECRETS = IntegrationsFile.FILENAME, SecretsFile.FILENAME


@dataclass(frozen=True)
class Dangling:
    """A thing of one file that needs a thing of another, which is not there."""

    #: The file that holds it, and the one in which something is missing.
    file: str
    other: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Documents:
    """The state files; None for one that cannot be looked into: it is asked nothing and blamed for nothing."""

    hosts: HostsFile | None = None
    providers: ProvidersFile | None = None
    integrations: IntegrationsFile | None = None
    secrets: SecretsFile | None = None

    def instances(self) -> Iterator[Instance]:
        """Go through all agents."""
        for host in self.hosts.hosts.values() if self.hosts else ():
            for agent in host.agents.values():
                yield Instance(host, agent)


def dangling(documents: Documents) -> list[Dangling]:
    """Find everything that leads nowhere."""
    return [*_of_agents(documents), *_without_secrets(documents), *_orphans(documents)]


def _of_agents(documents: Documents) -> Iterator[Dangling]:
    for instance in documents.instances():
        agent = instance.agent
        if documents.providers and agent.provider and agent.provider not in documents.providers.providers:
            yield Dangling(
                _HOSTS,
                _PROVIDERS,
                f"agent {instance.key} uses provider {agent.provider}, which is not on record",
                f"clm agent configure {_reference(instance)} --provider OTHER",
            )
        for name in agent.integrations:
            if documents.integrations and name not in documents.integrations.integrations:
                yield Dangling(
                    _HOSTS,
                    _INTEGRATIONS,
                    f"agent {instance.key} uses integration {name}, which is not on record",
                    f"clm integration remove {name} --force",
                )


def _without_secrets(documents: Documents) -> Iterator[Dangling]:
    if documents.secrets is None:
        return
    for instance in documents.instances():
        entry = documents.secrets.scopes.get(instance.key, {}).get(API_SERVER_KEY)
        install = f"clm agent install --type hermes --host {instance.host.name} --name {instance.agent.name}"
        if entry is None and instance.agent.status == "installed":
            yield Dangling(_HOSTS, _SECRETS, f"agent {instance.key} has no {API_SERVER_KEY}", install)
        elif entry is not None and entry.value is not None and not names.is_api_server_key(entry.value.reveal()):
            yield Dangling(
                _SECRETS,
                _SECRETS,
                f"the {API_SERVER_KEY} of agent {instance.key} is not 64 lowercase hexadecimal digits",
                f"Put the earlier value back, or remove the entry and make a new key with: {install}",
            )
    for provider in documents.providers.providers.values() if documents.providers else ():
        missing = sorted(_required(provider) - documents.secrets.scopes.get(provider_scope(provider.name), {}).keys())
        if missing:
            yield Dangling(
                _PROVIDERS,
                _SECRETS,
                f"provider {provider.name} has no {' and no '.join(missing)}",
                " && ".join(f"clm secret set {provider_scope(provider.name)} {key}" for key in missing),
            )


def _orphans(documents: Documents) -> Iterator[Dangling]:
    known: dict[str, Collection[str]] = {}
    if documents.providers:
        known["provider"] = documents.providers.providers
    if documents.integrations:
        known["integration"] = documents.integrations.integrations
    agents = {instance.key for instance in documents.instances()}
    if documents.secrets is None:
        return
    for scope in documents.secrets.scopes:
        kind, _, name = scope.partition(":")
        if scope.count(":") == 1:
            if kind in known and name not in known[kind]:
                yield Dangling(
                    _SECRETS,
                    _PROVIDERS if kind == "provider" else _INTEGRATIONS,
                    f"there are secrets under {scope}, and no such {kind}",
                    f"clm {kind} remove {name} --force",
                )
        elif documents.hosts and scope not in agents:
            host, _, agent = scope.split(":")
            yield Dangling(
                _SECRETS,
                _HOSTS,
                f"there are secrets under {scope}, and no such agent",
                f"clm agent remove {agent} --host {host}"
                if host in documents.hosts.hosts
                else " && ".join(f"clm secret remove {scope} {key}" for key in documents.secrets.scopes[scope]),
            )


def _required(provider: Provider) -> set[str]:
    declaration = CATALOGUE.get(provider.type)
    return {field.key for field in declaration.secrets if field.required} if declaration else set()


def _reference(instance: Instance) -> str:
    return f"{instance.host.name}/{instance.agent.name}"
