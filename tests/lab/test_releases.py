"""Every listed release, side by side on one host: installed, configured, healthy, talked to, stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pyinfra_hermes.deploys.model.releases import Release, manifest
from tests.lab.clm import Clm, built_release, unit
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel


@dataclass(frozen=True)
class Fleet:
    """One host and who runs it."""

    host: Machine
    clm: Clm


@pytest.fixture(scope="module")
def fleet(
    hosts: Callable[..., list[Machine]], lab: Lab, tmp_path_factory: pytest.TempPathFactory, _model_server: StandInModel
) -> Iterator[Fleet]:
    """One host that has the default release already, on record together with a provider."""
    [machine] = hosts(1, layer=built_release(lab))
    clm = Clm(tmp_path_factory.mktemp("releases"))
    clm.add_host(machine)
    clm.add_provider(_model_server)
    yield Fleet(machine, clm)


def agent_of(release: Release) -> str:
    return release.tag.replace(".", "-")


@pytest.mark.parametrize("release", manifest().releases, ids=lambda release: release.tag)
def test_a_release_runs_beside_the_others(fleet: Fleet, model: StandInModel, release: Release) -> None:
    agent = agent_of(release)
    fleet.clm.run("agent", "install", "--type", "hermes", "--host", "wolf-i", "--name", agent, "--release", release.tag)
    fleet.clm.configure(agent, "--provider", "local")
    print(fleet.clm.status(agent))
    assert unit(fleet.host, agent)["ActiveState"] == "active"
