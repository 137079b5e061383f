"""The ends of a change of releases: it is concluded, or the agent goes back to what worked."""

from __future__ import annotations

from pyinfra.api import deploy

from pyinfra_hermes.operations import snapshots
from pyinfra_hermes.operations.observing import expect


@deploy("Conclude a change of Hermes' release")
def conclude(agent: str) -> None:
    """
    Take note that a change of releases is done, which an install and a configure that holds have made.

    + agent: name of the agent

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.upgrade import conclude

        conclude("maurice", _sudo=True)
    """
    expect(agent)
    snapshots.concluded(name=f"{agent}: conclude", agent=agent)


@deploy("Go back to what worked")
def go_back(agent: str, reason: str = "") -> None:
    """
    Put back what an agent had before the change that is under way, and prove it.

    + agent: name of the agent
    + reason: why, for the receipt

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.upgrade import go_back

        go_back("maurice", reason="the disk is full", _sudo=True)
    """
    expect(agent)
    snapshots.reverted(name=f"{agent}: go back", agent=agent, reason=reason)
