"""Fixtures for tests on real hosts. One lab for the whole session; without root or tools they are skipped."""

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.tools import why_unavailable
from tests.lab.upstream import Upstream

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this directory, so that `-m 'not lab'` leaves it out, and run it first: it takes long."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)
    items.sort(key=lambda item: _HERE not in item.path.parents)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs hosts where there can be none; `HERMES_LAB_REQUIRED=1` makes that a failure."""
    # Here, not in the fixture: pytest then tells the reason once, and not once per test.
    reason = why_unavailable() if "lab" in getattr(item, "fixturenames", ()) else None
    if reason and os.environ.get("HERMES_LAB_REQUIRED") == "1":
        pytest.fail(f"HERMES_LAB_REQUIRED=1, but {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of this session."""
    with Lab() as opened:
        yield opened


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Callable[..., list[Machine]]]:
    """`hosts(n)` boots n hosts, `hosts(n, tools=False)` without ripgrep and ffmpeg; gone after the module.

    `hosts(n, layer=directory)` boots them with the content of a directory on their disks.
    """
    booted: list[Machine] = []

    def boot(n: int, tools: bool = True, layer: Path | None = None) -> list[Machine]:
        added = lab.boot(n, tools, layer)
        booted.extend(added)
        return added

    yield boot
    for machine in booted:
        lab.remove(machine)


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]]) -> Machine:
    """One host, shared by the tests of a module."""
    return hosts(1)[0]


@pytest.fixture(scope="module")
def bare_host(hosts: Callable[..., list[Machine]]) -> Machine:
    """One host without ripgrep and ffmpeg, shared by the tests of a module."""
    return hosts(1, tools=False)[0]


@pytest.fixture
def fresh_host(lab: Lab) -> Iterator[Machine]:
    """One host for this test alone."""
    (machine,) = lab.boot(1)
    yield machine
    lab.remove(machine)


@pytest.fixture(scope="session")
def _shared_model(lab: Lab) -> StandInModel:
    return lab.model()


@pytest.fixture(scope="module")
def _model_server(_shared_model: StandInModel) -> StandInModel:
    # A module's own fixtures must not meet what the last test of another one left in its script.
    _shared_model.reset()
    return _shared_model


@pytest.fixture
def model(_model_server: StandInModel) -> StandInModel:
    """The stand-in model server that the hosts can reach, with an empty script and log."""
    _model_server.reset()
    return _model_server


@pytest.fixture(scope="session")
def _upstream_server(lab: Lab) -> Iterator[Upstream]:
    server = Upstream(lab.run.bridge.address)
    yield server
    server.close()


@pytest.fixture
def upstream(_upstream_server: Upstream) -> Upstream:
    """Where installers and what they ask for come from, for hosts of the lab; without faults, and nothing asked."""
    _upstream_server.reset()
    return _upstream_server


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the default release, as a user without a way out would bring one."""
    folder = tmp_path_factory.mktemp("wheels")
    with tarfile.open(Wheelhouse().archive(manifest().release(), "3.11", "x86_64")) as archive:
        archive.extractall(folder, filter="data")
    return folder
