"""Back up an agent: everything that is its own, while it goes on."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra.api import deploy

from pyinfra_hermes.operations import archives
from pyinfra_hermes.operations.observing import expect

from .model.archive import rules
from .model.layout import Layout


@deploy("Back up Hermes")
def backup(
    agent: str,
    take: archives.Take,
    skipped: Callable[[str, str], None],
    secrets: bool = False,
    stop: bool = False,
) -> None:
    """
    Read what an agent's home has of its own: memories, conversations, skills, jobs, configuration.

    + agent: name of the agent
    + take: gets each file and folder with its content
    + skipped: gets the path of each link, device and the like that was left, and why
    + secrets: whether files with credentials are taken along
    + stop: whether the agent is stopped meanwhile; it is started again in any case

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.backup import backup

        backup("maurice", take=draft.take, skipped=draft.skip, _sudo=True)
    """
    expect(agent)
    paths = Layout(agent)
    archives.exported(
        name=f"{agent}: backup",
        agent=agent,
        home=paths.hermes_home,
        rules=rules(),
        take=take,
        skipped=skipped,
        secrets=secrets,
        stopped=paths.service if stop else None,
    )
