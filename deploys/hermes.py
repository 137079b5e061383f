"""All agents of a host, from its data: ``pyinfra INVENTORY deploys/hermes.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from pyinfra_hermes.deploys import overlaying, redacting
from pyinfra_hermes.deploys.configure import configure
from pyinfra_hermes.deploys.install import install
from pyinfra_hermes.deploys.model.channels import InvalidChannel
from pyinfra_hermes.deploys.model.channels.sharing import Membership, refuse_shared
from pyinfra_hermes.deploys.model.render import CannotRender, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec, check_fleet
from pyinfra_hermes.deploys.references import UnresolvedSecret, resolve
from pyinfra_hermes.deploys.upstream import InvalidSource, Upstream
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from pyinfra_hermes.operations.observing import expect

# `pyinfra -vvv --debug --diff` shows commands, outputs and exceptions as they are.
redacting.install()

#: Something that knows the secrets of an agent, by host and agent; asked late and on the control machine only.
SecretSource = Callable[[str, str], Mapping[str, Secret]]
#: Hosts as an inventory lists them: names, or names with data.
Hosts = list[str | tuple[str, dict[str, Any]]]


def agents_of(host_name: str, data: Any, source: SecretSource | None) -> list[tuple[AgentSpec, Mapping[str, Secret]]]:
    """
    Read the agents of a host from its data.

    Each is a mapping as :meth:`AgentSpec.parse` takes it, with ``secrets`` beside: references, never values.
    Raises :class:`InvalidSpec`, :class:`UnresolvedSecret` or :class:`CannotRender`.
    """
    result: list[tuple[AgentSpec, Mapping[str, Secret]]] = []
    if not isinstance(data or [], Sequence) or not all(isinstance(row, Mapping) for row in data or ()):
        raise InvalidSpec("hermes_agents must be a list of mappings, one for each agent")
    for row in data or ():
        fields = dict(row)
        references = fields.pop("secrets", {})
        spec = AgentSpec.parse(fields)
        if not isinstance(references, Mapping):
            raise InvalidSpec(
                f"{spec.name}: secrets must be a mapping of names to references, file:PATH or env:VARIABLE"
            )
        known = source(host_name, spec.name) if source else resolve(references)
        if spec.provider is not None:
            render(spec, known)
        result.append((spec, known))
    check_fleet({host_name: tuple(spec for spec, _ in result)})
    refuse_shared(_memberships(host_name, result))
    return result


def checked(hosts: Hosts) -> Hosts:
    """
    Return the hosts of an inventory, unless the data of one cannot be used: then nothing is connected to.

    pyinfra connects to every host before it reads a deploy, which would say the same, but late.

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.hermes import checked as _checked

        hosts = _checked([("wolf-i", {"hermes_agents": [{"name": "maurice"}]})])
    """
    members: list[Membership] = []
    for entry in hosts:
        if isinstance(entry, tuple):
            name, data = entry
            overlaying.lay_over(name, data.get("hermes_manifest"))
            agents = _usable(name, data.get("hermes_agents"), data.get("hermes_secrets"))
            members.extend(_memberships(name, agents))
            _upstream(name, data)
    try:
        refuse_shared(members)
    except InvalidChannel as error:
        raise DeployError(str(error)) from None
    return hosts


def _upstream(host_name: str, data: Any) -> Upstream:
    try:
        return Upstream.of(data.get("hermes_installer_base"), data.get("hermes_repository"))
    except InvalidSource as error:
        raise DeployError(f"{host_name}: {error}") from None


def _memberships(host_name: str, agents: Sequence[tuple[AgentSpec, Mapping[str, Secret]]]) -> list[Membership]:
    return [Membership(f"{host_name}/{spec.name}", spec.channels, secrets) for spec, secrets in agents]


def _usable(host_name: str, data: Any, source: SecretSource | None) -> list[tuple[AgentSpec, Mapping[str, Secret]]]:
    try:
        return agents_of(host_name, data, source)
    except (InvalidSpec, InvalidChannel, UnresolvedSecret, CannotRender) as error:
        raise DeployError(f"{host_name}: {str(error).removeprefix(f'{host_name}: ')}") from None


@deploy("Hermes agents")
def hermes() -> None:
    """
    Install, configure, start and prove every agent in the host's data.

    Host data:

    + hermes_agents: list of agents, see :class:`pyinfra_hermes.deploys.model.spec.AgentSpec`; each may have
      ``secrets``, references by name (``file:PATH``, ``env:VARIABLE``)
    + hermes_secrets: a function that knows the secrets instead, see :data:`SecretSource`
    + hermes_wheelhouse: folder of wheels to install from, instead of the package index
    + hermes_installer_base, hermes_repository: where upstream's installer comes from and what it clones, see
      :class:`pyinfra_hermes.deploys.upstream.Upstream`; ``$HERMES_INSTALLER_BASE`` and ``$HERMES_REPOSITORY`` otherwise
    + hermes_install_deps: whether to install the Debian packages of programs that the host lacks; no when not given
    + hermes_manifest: file with releases of your own, laid over the manifest that ships; one for all hosts of a run
    + hermes_chat: whether a short conversation is part of the proof; yes when not given

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.hermes import hermes

        hermes(_sudo=True)
    """
    overlaying.lay_over(host.name, host.data.get("hermes_manifest"))
    agents = _usable(host.name, host.data.get("hermes_agents"), host.data.get("hermes_secrets"))
    folder = host.data.get("hermes_wheelhouse")
    wheelhouse = Wheelhouse(source=Path(folder).expanduser() if folder else None)
    upstream = _upstream(host.name, host.data)
    expect(*(spec.name for spec, _ in agents))
    for spec, secrets in agents:
        install(
            spec=spec,
            wheelhouse=wheelhouse,
            upstream=upstream,
            packages=bool(host.data.get("hermes_install_deps")),
            receipt=spec.provider is None,
        )
        if spec.provider is None:
            continue
        configure(spec=spec, secrets=secrets, chat=host.data.get("hermes_chat", True))


def needs_sudo() -> bool:
    """Tell whether the login is another than root; host data ``_sudo`` has the last word."""
    configured = host.data.get("_sudo")
    return bool(host.data.get("ssh_user") != "root" if configured is None else configured)


# pyinfra executes this file once per host; imported, it only defines.
if state.current_exec_filename == __file__:
    hermes(_sudo=needs_sudo())
