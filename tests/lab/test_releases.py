"""Every other release than the default one, side by side on one host; the default one is what all other tests use."""

from __future__ import annotations

import pytest

from pyinfra_hermes.deploys.model.layout import release_directory
from pyinfra_hermes.deploys.model.releases import Release, manifest
from tests.lab.clm import Clm, main_pid, unit
from tests.lab.machine import Machine
from tests.lab.model import StandInModel

OTHERS = [release for release in manifest().releases if release != manifest().release()]


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine, _model_server: StandInModel) -> Clm:
    """Someone who has the host and a provider on record."""
    person = Clm(tmp_path_factory.mktemp("releases"))
    person.add_host(host)
    person.add_provider(_model_server)
    return person


@pytest.mark.parametrize("release", OTHERS, ids=lambda release: release.tag)
def test_a_release_does_the_main_job(clm: Clm, host: Machine, model: StandInModel, release: Release) -> None:
    agent = release.tag.replace(".", "-")
    clm.run("agent", "install", "--type", "hermes", "--host", "wolf-i", "--name", agent, "--release", release.tag)
    clm.configure(agent, "--provider", "local")
    [asked] = model.chats
    assert asked.body["model"], "the chat that proves it reached the model"
    assert host.ssh("readlink", f"/home/{agent}/.hermes/code").stdout.strip() == release_directory(release.id)

    # From 0.18 on, what the channels do is told only to those who have the key.
    status = clm.status(agent)
    assert (status["state"], status["healthy"], status["drift"]) == ("running", True, [])
    assert (status["release"], status["channels"]) == (release.tag, {"api_server": "connected"})

    # What the daemon wrote since it started is no reason to do anything again.
    pid = main_pid(host, agent)
    clm.configure(agent, "--provider", "local")
    assert main_pid(host, agent) == pid

    model.reply("Lima.")
    assert "Lima." in clm.run("chat", agent, "--once", "What is the capital of Peru?").stdout

    clm.run("agent", "stop", agent)
    stopped = unit(host, agent)
    assert (stopped["ActiveState"], stopped["Result"]) == ("inactive", "success")


def test_releases_lie_side_by_side(clm: Clm, host: Machine) -> None:
    found = {agent["release"]: agent["state"] for agent in clm.json("ps", exit=None)}
    assert found == {release.tag: "stopped" for release in OTHERS}
