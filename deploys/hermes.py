"""All agents of a host, from its data: ``pyinfra INVENTORY deploys/hermes.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyinfra import host, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from pyinfra_hermes.deploys.configure import configure
from pyinfra_hermes.deploys.install import install
from pyinfra_hermes.deploys.model.render import CannotRender
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec, check_fleet
from pyinfra_hermes.deploys.references import UnresolvedSecret, resolve
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from pyinfra_hermes.operations.observing import expect

#: Something that knows the secrets of an agent, by host and agent; asked late and on the control machine only.
SecretSource = Callable[[str, str], Mapping[str, Secret]]


def agents_of(host_name: str, data: Any, source: SecretSource | None) -> list[tuple[AgentSpec, Mapping[str, Secret]]]:
    """
    Read the agents of a host from its data.

    Each is a mapping as :meth:`AgentSpec.parse` takes it, with ``secrets`` beside: references, never values.
    Raises :class:`InvalidSpec` or :class:`UnresolvedSecret`.
    """
    result: list[tuple[AgentSpec, Mapping[str, Secret]]] = []
    for row in data or ():
        fields = dict(row)
        references = fields.pop("secrets", {})
        spec = AgentSpec.parse(fields)
        known = source(host_name, spec.name) if source else resolve(references)
        result.append((spec, known))
    check_fleet({host_name: tuple(spec for spec, _ in result)})
    return result


@deploy("Hermes agents")
def hermes() -> None:
    """
    Install, configure, start and prove every agent in the host's data.

    Host data:

    + hermes_agents: list of agents, see :class:`pyinfra_hermes.deploys.model.spec.AgentSpec`; each may have
      ``secrets``, references by name (``file:PATH``, ``env:VARIABLE``)
    + hermes_secrets: a function that knows the secrets instead, see :data:`SecretSource`
    + hermes_wheelhouse: folder of wheels to install from, instead of the package index
    + hermes_chat: whether a short conversation is part of the proof; yes when not given

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.hermes import hermes

        hermes(_sudo=True)
    """
    try:
        agents = agents_of(host.name, host.data.get("hermes_agents"), host.data.get("hermes_secrets"))
    except (InvalidSpec, UnresolvedSecret) as error:
        raise DeployError(str(error)) from None
    folder = host.data.get("hermes_wheelhouse")
    wheelhouse = Wheelhouse(source=Path(folder).expanduser() if folder else None)
    expect(*(spec.name for spec, _ in agents))
    for spec, secrets in agents:
        install(spec=spec, wheelhouse=wheelhouse)
        if spec.provider is None:
            continue
        try:
            configure(spec=spec, secrets=secrets, chat=host.data.get("hermes_chat", True))
        except CannotRender as error:
            raise DeployError(str(error)) from None


def needs_sudo() -> bool:
    """Tell whether the login is another than root; host data ``_sudo`` has the last word."""
    configured = host.data.get("_sudo")
    return bool(host.data.get("ssh_user") != "root" if configured is None else configured)


# pyinfra executes this file once per host; imported, it only defines.
if state.current_exec_filename == __file__:
    hermes(_sudo=needs_sudo())
