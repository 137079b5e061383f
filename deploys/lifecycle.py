"""Start, stop and restart an agent that is configured."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra.api import deploy

from pyinfra_hermes.operations import receipts, services, snapshots
from pyinfra_hermes.operations.observing import expect

from .configure import ANSWERS
from .model.spec import AgentSpec


@deploy("Start Hermes")
def start(spec: AgentSpec, restart: bool = False, progress: Callable[[str], None] | None = None) -> None:
    """
    Start an agent and prove that it serves; with ``restart`` also one that runs already.

    + spec: the agent
    + restart: whether a running agent is restarted
    + progress: called with a sentence while the daemon starts

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.lifecycle import start

        start(spec, _sudo=True)
    """
    expect(spec.name)
    snapshots.settled(name=f"{spec.name}: what was cut off", agent=spec.name, release=spec.release_id)
    started = services.service(name=f"{spec.name}: service", agent=spec.name, restarted=restart)
    services.healthy(
        name=f"{spec.name}: {ANSWERS}",
        agent=spec.name,
        port=spec.port,
        after=[started],
        chat=False,
        progress=progress,
        what="restart" if restart else "start",
    )


@deploy("Stop Hermes")
def stop(spec: AgentSpec) -> None:
    """
    Stop an agent and keep it from starting with the host; everything it has stays.

    + spec: the agent

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.lifecycle import stop

        stop(spec, _sudo=True)
    """
    expect(spec.name)
    services.service(name=f"{spec.name}: service", agent=spec.name, running=False)
    receipts.kept(name=f"{spec.name}: receipt", agent=spec.name, what="stop")
