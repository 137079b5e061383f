"""The hosts and agents on record as a pyinfra inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyinfra_hermes.deploys.model.manifests import overlay_from
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.transport import CONNECT_KWARGS

from .problems import translate
from .releases.overlay_file import read
from .specification import secrets_of, specification
from .ssh.openssh import Login, login_of
from .state.records import Instance
from .state.store import State

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.hermes import Hosts


def secrets_from(state: State) -> Callable[[str, str], Mapping[str, Secret]]:
    """Return a function that knows the secrets of agents on record, read at each call; it holds none itself."""

    def secrets_on_record(host: str, agent: str) -> Mapping[str, Secret]:
        snapshot = state.read()
        return secrets_of(snapshot, snapshot.agent(f"{host}/{agent}"))

    return secrets_on_record


def host_data(login: Login) -> dict[str, Any]:
    """Return the pyinfra host data that reaches a host; no secret is in it."""
    data: dict[str, Any] = {
        "ssh_hostname": login.address,
        "ssh_port": login.port,
        "ssh_user": login.user,
        "ssh_known_hosts_file": str(login.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "ssh_paramiko_connect_kwargs": CONNECT_KWARGS,
    }
    if login.identity_file:
        data["ssh_key"] = login.identity_file
    return data


def fleet(state: State | None = None) -> Hosts:
    """
    Return every host on record with its agents.

    An agent that is not onboarded yet is installed and not configured, as ``clm agent install`` leaves it. Raises
    :class:`pyinfra.api.exceptions.InventoryError`, which pyinfra shows as one line, before it connects to any host.
    """
    from pyinfra.api.exceptions import InventoryError

    from pyinfra_hermes.deploys.hermes import checked

    overlay_from(read)
    try:
        return checked(_hosts(state or State.open()))
    except Exception as error:
        problem = translate(error)
        if problem is None:
            raise
        raise InventoryError(". ".join(part for part in (problem.message, problem.remedy) if part)) from None


def _hosts(state: State) -> Hosts:
    snapshot = state.read()
    secrets = secrets_from(state)
    result: Hosts = []
    for host in snapshot.hosts.values():
        agents = [
            specification(snapshot, Instance(host, agent)).model_dump()
            for agent in host.agents.values()
            if agent.status != "removing"
        ]
        data = {**host_data(login_of(state, host)), "hermes_agents": agents, "hermes_secrets": secrets}
        result.append((host.name, data))
    return result
