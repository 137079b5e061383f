"""Configure an agent: its files, its unit, its service, and the proof that it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyinfra.api import HiddenValue, deploy

from pyinfra_hermes.operations import files, services
from pyinfra_hermes.operations.observing import expect

from .model.layout import release_directory
from .model.render import Files, render
from .model.secret import Secret
from .model.spec import AgentSpec

#: How the name of the proof ends, by which its failure is told from others.
ANSWERS = "answers"


@deploy("Configure Hermes")
def configure(
    spec: AgentSpec,
    secrets: Mapping[str, Secret],
    chat: bool = True,
    progress: Callable[[str], None] | None = None,
) -> None:
    """
    Bring an installed agent to its specification, running and proven. Unchanged input changes nothing.

    + spec: the agent, with a provider
    + secrets: its own under the names of secrets.json, its provider's under their fields' names
    + chat: whether a short conversation is part of the proof
    + progress: called with a sentence while the daemon starts

    Raises :class:`pyinfra_hermes.deploys.model.render.CannotRender` before anything is sent to the host.

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.configure import configure

        configure(spec, {"HERMES_API_SERVER_KEY": key}, _sudo=True)
    """
    rendered: Files = render(spec, secrets)
    paths = rendered.paths
    expect(spec.name)
    written = [
        files.secret_file(
            name=f"{spec.name}: .env",
            agent=spec.name,
            key="env",
            path=paths.env,
            content=HiddenValue(rendered.env.reveal()),
        ),
        files.config_leaves(
            name=f"{spec.name}: config.yaml",
            agent=spec.name,
            path=paths.config,
            python=f"{release_directory(rendered.release.id)}/venv/bin/python",
            leaves=rendered.leaves,
            absent=rendered.absent_leaves,
        ),
        services.unit(
            name=f"{spec.name}: unit",
            agent=spec.name,
            service=rendered.service,
            slice=rendered.slice,
        ),
    ]
    started = services.service(name=f"{spec.name}: service", agent=spec.name, restart_after=written)
    services.healthy(
        name=f"{spec.name}: {ANSWERS}",
        agent=spec.name,
        port=spec.port,
        after=[started],
        chat=chat,
        progress=progress,
    )
