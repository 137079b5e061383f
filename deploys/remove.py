"""Remove an agent with everything that it has on its host."""

from __future__ import annotations

from pyinfra.api import deploy

from pyinfra_hermes.operations import accounts
from pyinfra_hermes.operations.observing import expect


@deploy("Remove Hermes")
def remove(agent: str) -> None:
    """
    Remove an agent: service, unit, linger, processes, files, account. Repeatable from any half-removed state.

    + agent: name of the agent

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.remove import remove

        remove("maurice", _sudo=True)
    """
    expect(agent)
    accounts.account(name=f"{agent}: remove", agent=agent, present=False)
