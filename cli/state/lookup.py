"""Questions to the state that every command asks: which agent is meant, who uses what, which port is free."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.secret import Secret

from .errors import Ambiguous, ApiKeyInvalid, NoFreePort, NotFound
from .records import API_SERVER_KEY, FIRST_PORT, Host, Instance, Integration, Provider, SecretsFile
from .vault import Vault

_LAST_PORT = 65535

V = TypeVar("V")


class Lookup:
    """Hosts, providers, integrations and secrets, and the questions to them."""

    #: The state directory, for messages.
    path: Path
    hosts: Mapping[str, Host]
    providers: Mapping[str, Provider]
    integrations: Mapping[str, Integration]
    vault: Vault

    @property
    def secrets(self) -> SecretsFile:
        """
        The secrets. Encrypted ones are decrypted at the first look, and only then.

        Raises :class:`.errors.KeyUnavailable`, :class:`.errors.WrongKey` and :class:`.errors.StateCorrupt`.
        """
        return self.vault.open()

    def host(self, name: str) -> Host:
        """Return a host by its name. Raises :class:`NotFound`."""
        return _named("host", name, self.hosts)

    def provider(self, name: str) -> Provider:
        """Return a configured provider by its name. Raises :class:`NotFound`."""
        return _named("provider", name, self.providers)

    def integration(self, name: str) -> Integration:
        """Return a configured integration by its name. Raises :class:`NotFound`."""
        return _named("integration", name, self.integrations)

    def instances(self) -> Iterator[Instance]:
        """Go through all agents of all hosts."""
        for host in self.hosts.values():
            for agent in host.agents.values():
                yield Instance(host, agent)

    def agent(self, reference: str) -> Instance:
        """
        Return the agent that a person means by ``name``, ``host/name`` or ``host:hermes:name``.

        Raises :class:`NotFound`, and :class:`Ambiguous` for a name that agents on several hosts have.
        """
        host, name = _parts(reference)
        if host is not None:
            on = self.host(host)
            return Instance(on, _named("agent", name, on.agents, where=f" on host {host}"))
        found = [instance for instance in self.instances() if instance.agent.name == name]
        if len(found) > 1:
            raise Ambiguous(
                f"Several agents have the name {name!r}: {', '.join(instance.key for instance in found)}",
                f"Say which one: {' or '.join(f'{host.name}/{agent.name}' for host, agent in found)}",
            )
        if not found:
            raise _not_found("agent", name, {instance.agent.name for instance in self.instances()})
        return found[0]

    def agents_using_provider(self, name: str) -> tuple[Instance, ...]:
        """Return the agents that a provider is configured for; empty when it may go."""
        return tuple(instance for instance in self.instances() if instance.agent.provider == name)

    def agents_using_integration(self, name: str) -> tuple[Instance, ...]:
        """Return the agents that an integration is attached to; empty when it may go."""
        return tuple(instance for instance in self.instances() if name in instance.agent.integrations)

    def next_free_port(self, host: str, start: int = FIRST_PORT, also_taken: Collection[int] = frozenset()) -> int:
        """
        Return the first port from ``start`` on that no agent of a host has on record.

        ``also_taken`` is what listens on the host. Raises :class:`NotFound` and :class:`NoFreePort`.
        """
        recorded = {agent.port for agent in self.host(host).agents.values()}
        for port in range(start, _LAST_PORT + 1):
            if port not in recorded and port not in also_taken:
                return port
        raise NoFreePort(f"No port from {start} to {_LAST_PORT} is free on host {host}")

    def secret(self, scope: str, key: str) -> Secret:
        """Return a secret. Raises :class:`NotFound`."""
        value = self.secrets.get(scope, key)
        if value is None:
            raise NotFound(f"There is no {key} under {scope!r} in {self.path / SecretsFile.FILENAME}")
        return value

    def api_key(self, instance: Instance) -> Secret:
        """
        Return the API key of an agent: 64 lowercase hexadecimal digits.

        Raises :class:`ApiKeyInvalid` when it is missing or was edited into another shape.
        """
        value = self.secrets.get(instance.key, API_SERVER_KEY)
        host, name = instance.host.name, instance.agent.name
        install = f"clm agent install --type hermes --host {host} --name {name}"
        where = f"under {instance.key!r} in {self.path / SecretsFile.FILENAME}"
        if value is None:
            raise ApiKeyInvalid(f"There is no {API_SERVER_KEY} {where}", install)
        if not names.is_api_server_key(value.reveal()):
            raise ApiKeyInvalid(
                f"The {API_SERVER_KEY} {where} is not 64 lowercase hexadecimal digits: it was edited by hand",
                f"Put the earlier value back, or remove the entry and make a new key with: {install}",
            )
        return value


def _parts(reference: str) -> tuple[str | None, str]:
    match reference.split(":"):
        case [host, "hermes", name]:
            return host, name
    host, slash, name = reference.rpartition("/")
    return (host, name) if slash else (None, reference)


def _named(what: str, name: str, known: Mapping[str, V], where: str = "") -> V:
    if name not in known:
        raise _not_found(what, name, known, where)
    return known[name]


def _not_found(what: str, name: str, known: Iterable[str], where: str = "") -> NotFound:
    names_known = sorted(known)
    close = difflib.get_close_matches(name, names_known, n=3)
    if close:
        hint = f"; did you mean {' or '.join(close)}?"
    elif names_known:
        hint = f"; there is {', '.join(names_known[:8])}{', ...' if len(names_known) > 8 else ''}"
    else:
        hint = "; there are none yet" if not where else "; it has none"
    return NotFound(f"There is no {what} {name!r}{where}{hint}")
