"""Install an agent: account, release, tools, directories and unit, disabled and stopped."""

from __future__ import annotations

from pyinfra.api import HiddenValue, deploy

from pyinfra_hermes.operations import accounts, files, preflight, releases, services, toolchain
from pyinfra_hermes.operations.observing import expect

from .model import integrations, unit
from .model.layout import Layout, release_directory
from .model.releases import Release, manifest
from .model.spec import AgentSpec
from .model.tools import Tool
from .wheelhouse import Wheelhouse

#: How the name of the preflight ends, by which its failure is told from others.
CHECK = "check the host"


def requirements(release: Release) -> preflight.Requirements:
    """Return what a release asks of a host, in the preflight's terms."""
    return preflight.Requirements(
        platforms=tuple((row.os, row.os_version, row.arch) for row in release.platforms),
        python=release.python,
    )


def tools_of(spec: AgentSpec) -> tuple[Tool, ...]:
    """Return the programs of ours that an agent's integrations start."""
    kinds = [(integrations.integration_type(each.type), each.options) for each in spec.integrations]
    return tuple(dict.fromkeys(tool for kind, options in kinds for tool in kind.tools(options)))


@deploy("Install Hermes")
def install(spec: AgentSpec, wheelhouse: Wheelhouse) -> None:
    """
    Install one agent. Safe to repeat: what is there stays, configuration and keys included.

    + spec: the agent
    + wheelhouse: where the release's wheels come from

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.install import install
        from pyinfra_hermes.deploys.model.spec import AgentSpec
        from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

        install(AgentSpec.parse({"name": "maurice"}), Wheelhouse(), _sudo=True)
    """
    expect(spec.name)
    release = manifest().release(spec.release)
    paths = Layout(spec.name)
    preflight.preflight(
        name=f"{spec.name}: {CHECK}",
        agent=spec.name,
        release=release.id,
        port=spec.port,
        requirements=requirements(release),
    )
    accounts.account(name=f"{spec.name}: account", agent=spec.name)
    releases.wheel(
        name=f"{spec.name}: release {release.tag}",
        release=release.id,
        calver=release.calver,
        lock=release.requirements(),
        archive=lambda python, arch: wheelhouse.archive(release, python, arch),
    )
    for tool in tools_of(spec):
        toolchain.tool(
            name=f"{spec.name}: {tool.tag}",
            id=tool.id,
            programs=tool.programs,
            lock=tool.requirements(),
            archive=lambda python, arch, tool=tool: wheelhouse.archive(tool, python, arch),  # type: ignore[misc]
        )
    files.directories(
        name=f"{spec.name}: directories",
        agent=spec.name,
        paths={"hermes": paths.hermes_home, "memories": paths.memories},
    )
    files.secret_file(
        name=f"{spec.name}: .env is private",
        agent=spec.name,
        key="env",
        path=paths.env,
        content=HiddenValue(""),
        overwrite=False,
    )
    files.link(
        name=f"{spec.name}: link to the release",
        agent=spec.name,
        key="code",
        path=paths.code,
        target=release_directory(release.id),
    )
    services.unit(
        name=f"{spec.name}: unit",
        agent=spec.name,
        service=unit.service(spec, release.id),
        slice=unit.shared_slice(),
    )
