"""Configure an agent: its files, its unit, its service, and the proof that it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyinfra.api import HiddenValue, deploy

from pyinfra_hermes.operations import files, services, toolchain
from pyinfra_hermes.operations.observing import expect

from .install import CHECK
from .model import integrations, memory, unit
from .model.render import Files, render
from .model.secret import Secret
from .model.spec import AgentSpec

#: How the name of the proof ends, by which its failure is told from others.
ANSWERS = "answers"


def commands_of(spec: AgentSpec) -> dict[str, str]:
    """Return the commands of the host's own that an agent starts, each with what needs it."""
    found: dict[str, str] = {}
    for each in spec.integrations:
        for command in integrations.integration_type(each.type).commands(each.options):
            found.setdefault(command, f"integration {each.name}")
    if spec.memory is not None:
        for command in memory.memory_backend(spec.memory.type).commands:
            found.setdefault(command, f"memory backend {spec.memory.type}")
    return found


@deploy("Configure Hermes")
def configure(
    spec: AgentSpec,
    secrets: Mapping[str, Secret],
    chat: bool = True,
    progress: Callable[[str], None] | None = None,
    what: str = "configure",
    hold: bool = False,
) -> None:
    """
    Bring an installed agent to its specification, running and proven. Unchanged input changes nothing.

    + spec: the agent, with a provider
    + secrets: its own under the names of secrets.json, its provider's under their fields' names
    + chat: whether a short conversation is part of the proof
    + progress: called with a sentence while the daemon starts
    + what: what the receipt calls this run
    + hold: leave open that a change of releases is under way, for :func:`.upgrade.conclude`

    Raises :class:`pyinfra_hermes.deploys.model.render.CannotRender` before anything is sent to the host.

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.configure import configure

        configure(spec, {"HERMES_API_SERVER_KEY": key}, _sudo=True)
    """
    rendered: Files = render(spec, secrets)
    paths = rendered.paths
    python = f"{spec.release_directory}/venv/bin/python"
    expect(spec.name)
    toolchain.commands(
        name=f"{spec.name}: {CHECK}",
        agent=spec.name,
        wanted=commands_of(spec),
        path=unit.search_path(spec.name, spec.release_id),
        leaves={path: value for path, value in rendered.leaves.items() if path[0] in ("mcp_servers", "memory")},
    )
    credentials = []
    if rendered.credentials:
        files.directories(
            name=f"{spec.name}: directory of credentials", agent=spec.name, paths={"credentials": paths.credentials}
        )
    for file, content in rendered.credentials.items():
        credentials.append(
            files.secret_file(
                name=f"{spec.name}: {file}",
                agent=spec.name,
                key=f"credentials/{file}",
                path=f"{paths.credentials}/{file}",
                content=HiddenValue(content.reveal()),
            )
        )
    environment = files.secret_file(
        name=f"{spec.name}: .env",
        agent=spec.name,
        key="env",
        path=paths.env,
        content=HiddenValue(rendered.env.reveal()),
        variables={
            name: HiddenValue(value.reveal()) if isinstance(value, Secret) else value
            for name, value in rendered.variables.items()
        },
    )
    written = [
        *credentials,
        environment,
        files.config_leaves(
            name=f"{spec.name}: config.yaml",
            agent=spec.name,
            path=paths.config,
            python=python,
            leaves=rendered.leaves,
            absent=rendered.absent_leaves,
        ),
        files.no_other_files(
            name=f"{spec.name}: no other credentials",
            agent=spec.name,
            key="credentials",
            path=paths.credentials,
            keep=rendered.credentials,
        ),
        files.seeded_files(
            name=f"{spec.name}: tokens",
            agent=spec.name,
            path=paths.tokens,
            seeds={name: HiddenValue(seed.content.reveal()) for name, seed in rendered.seeds.items()},
            what={name: seed.what for name, seed in rendered.seeds.items()},
        ),
        services.unit(
            name=f"{spec.name}: unit",
            agent=spec.name,
            service=rendered.service,
            slice=rendered.slice,
        ),
        # Last: it stops the daemon, which the service starts again.
        files.stale_credentials(
            name=f"{spec.name}: auth.json",
            agent=spec.name,
            path=paths.auth,
            python=python,
            service=paths.service,
            keep=rendered.credential_sources,
            after=[environment],
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
        what=what,
        hold=hold,
    )
