"""Put a backup back, and settle it once the agent is proven, or is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from pyinfra.api import deploy

from pyinfra_hermes.operations import archives, services
from pyinfra_hermes.operations.observing import expect

from .model.archive import rules
from .model.layout import Layout


@deploy("Restore Hermes")
def restore(
    agent: str,
    give: Callable[[], Iterator[tuple[Mapping[str, Any], Iterator[bytes]]]],
    size: int,
    schema: int | None,
    leaves: Iterable[tuple[str, ...]] = (),
    stop: bool = False,
) -> None:
    """
    Put what a backup holds in the place of what an installed, stopped agent has; :func:`settle` comes after.

    + agent: name of the agent
    + give: gives each file and folder as a mapping, and its content
    + size: bytes of all of it
    + schema: schema of the ``state.db`` in it
    + leaves: paths in its ``config.yaml`` that we had set
    + stop: whether an agent that runs is stopped; else the host fails

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.restore import restore

        restore("maurice", archive.contents, archive.manifest.size, archive.manifest.schema, _sudo=True)
    """
    expect(agent)
    if stop:
        services.service(name=f"{agent}: stop", agent=agent, running=False)
    archives.replaced(
        name=f"{agent}: restore",
        agent=agent,
        home=Layout(agent).hermes_home,
        rules=rules(),
        give=give,
        size=size,
        schema=schema,
        leaves=leaves,
    )


@deploy("Settle a restored Hermes")
def settle(agent: str, do: Literal["keep", "drop", "undo"], after: Callable[[str], None]) -> None:
    """
    Keep what was put back, or stop the agent and bring back what was there before.

    + agent: name of the agent
    + do: ``keep`` it, ``drop`` what was there before, too, or ``undo`` it
    + after: called with the folder that holds what was there before; empty when there is none

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.restore import settle

        settle("maurice", "keep", after=print, _sudo=True)
    """
    expect(agent)
    if do == "undo":
        services.service(name=f"{agent}: stop", agent=agent, running=False)
    archives.settled(
        name=f"{agent}: {do} what was restored",
        agent=agent,
        home=Layout(agent).hermes_home,
        rules=rules(),
        do=do,
        after=after,
    )
