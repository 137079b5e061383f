"""Remove releases that no agent of a host needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyinfra.api import deploy

from pyinfra_hermes.operations import releases
from pyinfra_hermes.operations.observing import expect


@deploy("Prune Hermes' releases")
def prune(shared: Sequence[str], own: Mapping[str, Sequence[str]], agents: Sequence[str] = ()) -> None:
    """
    Remove releases from a host.

    + shared: ids of those that all agents share
    + own: ids of those that upstream's installer made, by agent
    + agents: names of all agents of the host: none may be changed by another run meanwhile

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.prune import prune

        prune(["v2026.5.7-wheel-481e9e99"], {}, _sudo=True)
    """
    expect(*own, *agents)
    releases.pruned(name="prune releases", shared=shared, own=own)
