"""What a configure would change: found out by the very deploys, which are prepared and not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyinfra_hermes.deploys.model.render import render

from .onboarding.configuring import installed
from .problems import Problem
from .progress import Progress
from .specification import secrets_of, specification
from .ssh.openssh import login_of
from .state.store import State

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.difference import Difference
    from pyinfra_hermes.operations.announcing import Change


def differences(reference: str) -> Sequence[Difference]:
    """Return what ``clm agent configure`` would change of an agent, in its order. Nothing is changed anywhere."""
    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = installed(snapshot, reference)
    spec, known = specification(snapshot, instance), secrets_of(snapshot, instance)
    files = render(spec, known)

    from .engine import Session, check

    # isort: split
    from pyinfra_hermes.deploys import difference
    from pyinfra_hermes.deploys.configure import configure
    from pyinfra_hermes.deploys.install import install
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

    def then(host: str, changes: list[Change], sudo: bool) -> list[Difference]:
        return difference.differences(changes, files, sudo=sudo)

    deploys = [
        lambda **kw: install(spec=spec, wheelhouse=Wheelhouse(), **kw),
        lambda **kw: configure(spec=spec, secrets=known, **kw),
    ]
    host = instance.host.name
    with (
        Progress.shown(f"{host}  comparing") as progress,
        Session.open([login_of(state, instance.host)], progress.step) as session,
    ):
        found = session.plan({host: deploys}, then)
        check(session.results)
    if host not in found:
        raise Problem(f"{host}: the host could not be observed")
    return found[host]
