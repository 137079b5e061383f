"""Note on a host that an agent is on its way to it."""

from __future__ import annotations

from pyinfra.api import deploy

from pyinfra_hermes.operations import archives


@deploy("Note where an agent comes from")
def note(agent: str, text: str | None) -> None:
    """
    Note where an agent comes from and how far it is.

    + agent: name of the agent
    + text: one line; None takes the note away

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.arrival import note

        note("maurice", "wolf-i copying", _sudo=True)
    """
    archives.arrival(name=f"{agent}: note of its arrival", agent=agent, note=text)
