"""Install an agent: account, release, tools, directories and unit, disabled and stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from pyinfra.api import HiddenValue, deploy

from pyinfra_hermes.operations import (
    accounts,
    files,
    installer,
    preflight,
    receipts,
    releases,
    services,
    snapshots,
    toolchain,
)
from pyinfra_hermes.operations.observing import expect

from .model import integrations, unit
from .model.layout import Layout, is_shared
from .model.releases import Method, Release, manifest
from .model.spec import AgentSpec
from .model.tools import UV, Tool
from .upstream import Upstream
from .wheelhouse import Wheelhouse

#: How the name of the preflight ends, by which its failure is told from others.
CHECK = "check the host"
#: How the names of two steps of an upgrade begin.
VERIFY, KEEP = "verify", "keep what works"


def requirements(release: Release, method: Method = "wheel") -> preflight.Requirements:
    """Return what a release asks of a host that gets it by a method, in the preflight's terms."""
    other: Method = "wheel" if method == "installer" else "installer"
    platforms, others = (
        tuple((row.os, row.os_version, row.arch) for row in release.platforms if row.status(each))
        for each in (method, other)
    )
    if method == "wheel":
        return preflight.Requirements(platforms, release.python, others=others, other_method=other)
    # A checkout, an environment, Node with its packages, and a Python when the host's does not fit.
    disk = (("/opt", 80), ("/home", 2500), ("/etc", 1), ("/var", 50), ("/tmp", 40))  # noqa: S108 - uploads of ours
    tools = release.adapter.installer.tools
    return preflight.Requirements(platforms, None, tools, disk_mib=disk, others=others, other_method=other)


def tools_of(spec: AgentSpec) -> tuple[Tool, ...]:
    """Return the programs of ours that an agent needs: to be installed, and for its integrations."""
    first = (UV,) if spec.method == "installer" else ()
    kinds = [(integrations.integration_type(each.type), each.options) for each in spec.integrations]
    return tuple(dict.fromkeys((*first, *(tool for kind, options in kinds for tool in kind.tools(options)))))


@deploy("Install Hermes")
def install(
    spec: AgentSpec,
    wheelhouse: Wheelhouse,
    upstream: Upstream | None = None,
    progress: Callable[[str], None] | None = None,
    part: Literal["all", "stage"] = "all",
    change: snapshots.Switch | None = None,
    receipt: bool = False,
    packages: bool = False,
) -> None:
    """
    Install one agent. Safe to repeat: what is there stays, configuration and keys included.

    + spec: the agent
    + wheelhouse: where wheels come from
    + upstream: where upstream's installer comes from, and what it clones; what :meth:`.upstream.Upstream.of` finds when
      not given
    + progress: called with a sentence for each step of the installer
    + part: ``stage`` brings the release, and leaves the agent with the one that it has
    + change: what becomes of an agent that runs another release
    + receipt: keep a receipt on the host; a configure that follows keeps one for both
    + packages: whether to install the Debian packages of programs that the host lacks

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.install import install
        from pyinfra_hermes.deploys.model.spec import AgentSpec
        from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

        install(AgentSpec.parse({"name": "maurice"}), Wheelhouse(), _sudo=True)
    """
    expect(spec.name)
    snapshots.settled(name=f"{spec.name}: what was cut off", agent=spec.name, release=spec.release_id)
    release = manifest().release(spec.release)
    _checked(spec, release, packages=packages)
    _brought(spec, release, wheelhouse, upstream or Upstream.of(), progress)
    if part == "stage":
        releases.verified(
            name=f"{spec.name}: {VERIFY} {release.tag}",
            agent=spec.name,
            release=spec.release_id,
            directory=spec.release_directory,
            calver=release.calver,
            account=None if is_shared(spec.release_id) else spec.name,
        )
        return
    _switched(spec, change or snapshots.Switch())
    if receipt:
        receipts.kept(name=f"{spec.name}: receipt", agent=spec.name, what="install", release=spec.release_id)


def _checked(spec: AgentSpec, release: Release, *, packages: bool) -> None:
    """Have a host refuse before anything is made on it, or with ``packages`` get what it lacks."""
    asked = requirements(release, spec.method)
    if packages:
        preflight.packages(name=f"{spec.name}: packages", agent=spec.name, requirements=asked)
    preflight.preflight(
        name=f"{spec.name}: {CHECK}",
        agent=spec.name,
        release=spec.release_id,
        port=spec.port,
        requirements=asked,
    )


def _brought(
    spec: AgentSpec,
    release: Release,
    wheelhouse: Wheelhouse,
    upstream: Upstream,
    progress: Callable[[str], None] | None,
) -> None:
    """Bring an account, directories, the release and the tools of its integrations; what runs is not touched."""
    paths = Layout(spec.name)
    if spec.method == "installer":
        # Before there is an account: an installer that is not the pinned one leaves nothing.
        installer.script(
            name=f"{spec.name}: installer of {release.tag}",
            agent=spec.name,
            release=spec.release_id,
            sha256=release.installer_sha256,
            url=upstream.url(release),
            content=upstream.content(release),
            remedy=f"See what upstream changed, and pin it anew: clm release pin {release.tag}. "
            "Check all pins with: clm release verify",
        )
    accounts.account(name=f"{spec.name}: account", agent=spec.name)
    if spec.method == "wheel":
        releases.wheel(
            name=f"{spec.name}: release {release.tag}",
            release=spec.release_id,
            calver=release.calver,
            lock=release.requirements(),
            archive=partial(wheelhouse.archive, release),
            sources=release.source,
        )
    for tool in tools_of(spec):
        toolchain.tool(
            name=f"{spec.name}: {tool.tag}",
            id=tool.id,
            programs=tool.programs,
            lock=tool.requirements(),
            archive=partial(wheelhouse.archive, tool),
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
    if spec.method == "installer":
        installer.release(
            name=f"{spec.name}: release {release.tag}",
            agent=spec.name,
            release=spec.release_id,
            calver=release.calver,
            directory=spec.release_directory,
            hermes_home=paths.hermes_home,
            sha256=release.installer_sha256,
            repository=upstream.repository,
            uv=UV.program("uv"),
            arguments=release.adapter.installer.arguments(release.tag, paths.hermes_home, spec.release_directory),
            progress=progress,
        )


def _switched(spec: AgentSpec, change: snapshots.Switch) -> None:
    """Let the agent's unit be one of the release that was brought; what worked is kept first."""
    snapshots.switched(
        name=f"{spec.name}: {KEEP}",
        agent=spec.name,
        release=spec.release_id,
        what=change.what,
        database=change.database,
    )
    files.link(
        name=f"{spec.name}: link to the release",
        agent=spec.name,
        key="code",
        path=Layout(spec.name).code,
        target=spec.release_directory,
    )
    services.unit(
        name=f"{spec.name}: unit",
        agent=spec.name,
        service=unit.service(spec, spec.release_id),
        slice=unit.shared_slice(),
    )
