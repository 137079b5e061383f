"""Upstream's genuine installer, run through the installer method on a host that cannot reach the public internet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyinfra_hermes.deploys.model.layout import Layout, release_directory
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.facts.script import PENDING
from tests.lab.clm import Clm, main_pid
from tests.lab.image import packages
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.upstream import GENUINE, NEEDS, Upstream


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]]) -> Machine:
    """A host with git, as an administrator would have put it there."""
    return hosts(1, layer=packages(*NEEDS))[0]


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine, _model_server: StandInModel) -> Clm:
    """Someone who has the host and a provider on record."""
    person = Clm(tmp_path_factory.mktemp("genuine"))
    person.add_host(host)
    person.add_provider(_model_server)
    return person


@pytest.mark.parametrize("tag", GENUINE)
def test_the_genuine_installer_runs_to_its_end(clm: Clm, host: Machine, upstream: Upstream, tag: str) -> None:
    """
    The installer of a tag, byte for byte what the manifest pins, ends with exit 0 and a Hermes of the right version.

    Genuine: the script, out of the release's wheel. Git and uv. The sources that it clones, out of the release's source
    archive. Every Python package, in the versions that uv chooses for its extra "all".

    Stood in for: GitHub, by a repository of the sources as one commit under the tag. The source archive has neither
    uv.lock nor .env.example, cli-config.yaml.example or package.json, so upstream's first choice, installing with
    hashes from uv.lock, is not what is seen here, but its second. The package index, by one with what it will ask for:
    the host says so in the environment of its services. uv, which the script would fetch, is the pinned one of ours.

    Not reached: Node.js and what it would install, a browser among it: the script looks for them, warns and goes on.
    """
    agent = _agent(tag)
    paths = Layout(agent)
    host.ssh("systemctl", "set-environment", f"UV_DEFAULT_INDEX={upstream.index(tag)}", "UV_PYTHON_DOWNLOADS=never")
    source = ("--installer-base", upstream.genuine, "--repository", upstream.repository(tag))

    done = clm.run(
        "agent", "install", "--type", "hermes", "--host", "wolf-i", "--name", agent, "--release", tag,
        "--method", "installer", *source,
    )  # fmt: skip
    assert "Installing dependencies" in done.output
    assert upstream.asked[0] == f"/genuine/NousResearch/hermes-agent/{tag}/scripts/install.sh"
    assert f"/{tag}/hermes-agent.git/git-upload-pack" in upstream.asked
    assert any(path.startswith(f"/{tag}/wheel/aiohttp-") for path in upstream.asked)
    log = host.ssh("cat", f"{PENDING}/{agent}.installer/log").stdout
    assert "Could not find Node.js" in log
    assert "Main package installed (all)" in log
    assert "took its fallback tier (all): nobody checked those packages against hashes" in done.output
    assert "Installation Complete!" in log
    skills = host.ssh("find", f"{paths.hermes_home}/skills", "-name", "SKILL.md").stdout
    assert len(skills.splitlines()) > 70, "the installer seeded the skills of the checkout"
    # What the account was made with is as it was.
    for name in (".bashrc", ".profile"):
        host.ssh("cmp", f"/etc/skel/{name}", f"{paths.home}/{name}")


def test_its_agent_answers(clm: Clm, host: Machine, model: StandInModel) -> None:
    tag = GENUINE[-1]
    agent = _agent(tag)
    clm.configure(agent, "--provider", "local")
    [chat] = model.chats
    assert chat.body["model"], "the chat that proves it reached the model"
    arguments = host.ssh(f"tr '\\0' ' ' </proc/{main_pid(host, agent)}/cmdline").stdout
    directory = release_directory(agent, manifest().release(tag).id_of("installer"))
    assert arguments.startswith(f"{directory}/venv/bin/python ")
    status = clm.status(agent)
    assert (status["state"], status["healthy"], status["drift"]) == ("running", True, [])
    assert (status["release"], status["channels"]) == (tag, {"api_server": "connected"})


def _agent(tag: str) -> str:
    return tag.replace(".", "-")
