"""Killed at any moment, the command, the connection or the host: the same command again comes to the same good end."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.lab.clm import Clm, built_release, main_pid, unit
from tests.lab.interrupting import interrupt
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.process import wait_until

HOST, AGENT = "wolf-i", "maurice"
HERMES = f"/home/{AGENT}/.hermes"
KEY = "sk-of-a-customer-4711"
SEED = 20260507

# Looks at an agent's files again and again, as a daemon that starts at any moment would, and tells what must not be.
_WATCH = f"""
import os, pathlib, stat, sys, time
home = pathlib.Path("{HERMES}")
seen = set()
print("watching", flush=True)
while True:
    try:
        for path in [*home.glob(".env*"), *home.glob("*config*")]:
            with open(path) as file:
                mode, text = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read()
            if mode != 0o600:
                seen.add("%s has mode %o" % (path.name, mode))
            if path.name == ".env" and text and not text.rpartition("API_SERVER_KEY=")[2].strip().isalnum():
                seen.add(".env is incomplete: %d characters" % len(text))
            if path.name == "config.yaml" and not (text.endswith("\\n") and "  api_key: " in text):
                seen.add("config.yaml is incomplete: %d characters" % len(text))
    except FileNotFoundError:
        pass
    for line in seen:
        print(line, flush=True)
    seen.clear()
    time.sleep(0.002)
"""


@contextmanager
def watched(clm: Clm, host: Machine) -> Iterator[None]:
    """Fail when a state file does not parse, or a file of the agent is partial or readable, at any moment."""
    wrong: list[str] = []
    ended = threading.Event()

    def state() -> None:
        while not ended.wait(0.01):
            for path in clm.state.glob("*.json"):
                try:
                    json.loads(path.read_text())
                except ValueError as error:
                    wrong.append(f"{path.name}: {error}")
                if path.stat().st_mode & 0o077:
                    wrong.append(f"{path.name} can be read by others")

    host.ssh("cat >/run/watch.py; systemd-run --quiet --unit=watch python3 -u /run/watch.py", input=_WATCH)
    host.ssh("until journalctl --quiet --unit=watch | grep -q watching; do sleep 0.05; done")
    thread = threading.Thread(target=state)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    host.ssh("systemctl stop watch; systemctl reset-failed watch 2>/dev/null; true")
    told = host.ssh("journalctl --quiet --output=cat --unit=watch _COMM=python3").stdout.splitlines()
    assert "watching" in told
    assert [line for line in told if line != "watching"] == []
    assert wrong == []


def assert_good_end(clm: Clm, host: Machine, model: StandInModel, model_id: str) -> None:
    """The agent was proven with what was asked for last, runs on it, and there is nothing left to do."""
    assert {(request.body["model"], request.header("Authorization")) for request in model.chats[-1:]} == {
        (model_id, f"Bearer {KEY}")
    }
    pid = main_pid(host, AGENT)
    assert clm.configure(AGENT).stdout == f"Agent {AGENT} runs as configured; nothing to do.\n"
    assert main_pid(host, AGENT) == pid
    assert unit(host, AGENT)["NRestarts"] == "0"
    status = clm.status(AGENT)
    assert (status["state"], status["why"], status["drift"]) == ("running", "", [])
    assert (status["onboarding"], status["model"]) == ("ready", model_id)
    assert_clean(host)


def assert_clean(host: Machine) -> None:
    """Nothing half done lies about."""
    assert "pyinfra-hermes" not in host.ssh("ls -A /tmp /var/tmp").stdout
    releases = host.ssh("ls -A /opt/pyinfra-hermes/releases").stdout.split()
    assert len([name for name in releases if name != ".lock"]) == 1, releases
    assert host.ssh(f"ls -A {HERMES}").stdout.split().count(".env") == 1
    odd = host.ssh(f"ls -A {HERMES} /etc/systemd/system | grep -E 'part$|^\\.(env|config)\\..'", check=False).stdout
    assert odd == ""


@pytest.fixture
def person(tmp_path_factory: pytest.TempPathFactory) -> Clm:
    """Someone with an empty state directory."""
    return Clm(tmp_path_factory.mktemp("interrupted"))


def test_an_installation_that_is_killed_again_and_again_ends_well(person: Clm, fresh_host: Machine) -> None:
    person.add_host(fresh_host, HOST)
    install = ("agent", "install", "--host", HOST, "--name", AGENT)
    # What killed runs of this login left a while ago, and of another one.
    for number, user in enumerate(("admin", "nosudo")):
        folder = f"/tmp/pyinfra-hermes-{number:032d}"
        fresh_host.ssh(f"mkdir -m 700 {folder}; touch -d '1 minute ago' {folder}/wheels.tar {folder}", user=user)
    passwd, releases = fresh_host.root / "etc/passwd", fresh_host.root / "opt/pyinfra-hermes/releases"
    uploading = "ls -d /tmp/pyinfra-hermes-*[!01]*[!01]*[!01]*/wheels.tar"
    keys = set()
    with watched(person, fresh_host):
        for with_, after in (
            (signal.SIGINT, 0.4),
            (signal.SIGKILL, (person.state / "secrets.json").exists),
            (signal.SIGKILL, lambda: f"{AGENT}:" in passwd.read_text()),
            (signal.SIGINT, lambda: fresh_host.ssh(uploading, check=False).returncode == 0),
            (signal.SIGKILL, lambda: any(releases.glob("v*/venv/lib/python*/site-packages/*"))),
            (signal.SIGINT, lambda: any(releases.glob("v*/RELEASE"))),
        ):
            interrupt(person, *install, with_=with_, after=after)
            if (person.state / "secrets.json").exists():
                keys.add(person.key(AGENT))
            assert {row["name"] for row in person.json("ps", exit=None)} <= {AGENT}
        person.run(*install)
    assert keys == {person.key(AGENT)}, "made once, and kept"
    assert person.status(AGENT)["state"] == "not onboarded"
    assert unit(fresh_host, AGENT)["ActiveState"] == "inactive"
    fresh_host.ssh(f"rm -r {folder}")
    assert_clean(fresh_host)
    assert "nothing to do" in person.run(*install).stdout


def test_a_host_that_loses_power_while_a_release_is_built(person: Clm, fresh_host: Machine) -> None:
    person.add_host(fresh_host, HOST)
    install = ("agent", "install", "--host", HOST, "--name", AGENT)
    releases = fresh_host.root / "opt/pyinfra-hermes/releases"
    process = person.start(*install)
    assert wait_until(lambda: any(releases.glob("v*/venv/lib/python*/site-packages/*")), seconds=90, pause=0.01)
    fresh_host.kill()
    _, text = process.communicate(timeout=240)
    assert (process.returncode, "the connection was cut off" in text) == (4, True), text
    assert list(releases.glob(".build.*")), "it was in the middle of it"
    assert not list(releases.glob("v*/RELEASE"))
    fresh_host.start()
    [row] = person.json("ps")
    assert row["state"] == "install failed"
    assert "the connection was cut off" in row["why"]
    person.run(*install)
    assert_clean(fresh_host)
    assert person.status(AGENT)["state"] == "not onboarded"


# Configuration


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the release."""
    [machine] = hosts(1, layer=built_release(lab))
    return machine


@pytest.fixture(scope="module")
def configurer(tmp_path_factory: pytest.TempPathFactory, host: Machine) -> Clm:
    """Someone who has an installed agent."""
    clm = Clm(tmp_path_factory.mktemp("configure"))
    clm.add_host(host, HOST)
    clm.install(AGENT)
    return clm


@pytest.fixture
def clm(configurer: Clm, model: StandInModel) -> Clm:
    """The same, and two providers, of which one wants a key."""
    model.require_key(KEY)
    if not configurer.json("provider", "list"):
        configurer.add_provider(model, "paid", key=KEY)
        configurer.add_provider(model, "free")
    return configurer


def configure(model_id: str) -> tuple[str, ...]:
    """The command that everything here is about."""
    return "agent", "configure", AGENT, "--provider", "paid", "--model", model_id


def moments() -> list[tuple[signal.Signals, str | float]]:
    """When and how a configuration is ended: after each of its steps, and whenever."""
    whenever = random.Random(SEED)
    return [
        (signal.SIGKILL, f"{AGENT}: .env"),
        (signal.SIGINT, "config.yaml"),
        (signal.SIGKILL, f"{AGENT}: service"),
        *((kind, round(whenever.uniform(0.3, 2.5), 2)) for kind in (signal.SIGKILL, signal.SIGINT)),
    ]


@pytest.mark.parametrize(("with_", "after"), moments())
def test_a_configuration_that_is_ended_is_completed_by_the_next(
    clm: Clm, host: Machine, model: StandInModel, with_: signal.Signals, after: str | float
) -> None:
    # From here a change goes through every step: another provider, so another .env.
    host.ssh(f"rm -f {HERMES}/.env; sed -i 's/default:.*/default: of-somebody/' {HERMES}/config.yaml; true")
    model_id = f"model-{after}".replace(" ", "")
    with watched(clm, host):
        interrupt(clm, *configure(model_id), with_=with_, after=after)
        clm.run(*configure(model_id))
    assert_good_end(clm, host, model, model_id)


def test_a_sandbox_that_was_written_and_not_entered_is_entered_by_plain_pyinfra_too(
    clm: Clm, host: Machine, model: StandInModel
) -> None:
    clm.run(*configure("sandboxed"), "--skip-chat")
    before = unit(host, AGENT)["InvocationID"]
    interrupt(clm, "agent", "configure", AGENT, "--hardening", "strict", with_=signal.SIGKILL, after="unit")
    assert clm.status(AGENT)["drift"] == ["the running daemon"]
    assert unit(host, AGENT)["InvocationID"] == before
    clm.pyinfra("inventories/fleet.py", "deploys/hermes.py", "-y")
    assert unit(host, AGENT)["InvocationID"] != before
    # What is left is only the record: nothing is changed, and clm knows by then that all is well.
    clm.configure(AGENT)
    assert_good_end(clm, host, model, "sandboxed")


def test_a_host_that_loses_power_while_an_agent_is_configured(clm: Clm, host: Machine, model: StandInModel) -> None:
    clm.run(*configure("before"), "--skip-chat")
    # The command itself is not killed: it has to notice that the host has gone.
    process = clm.start(*configure("after-the-cut"))
    assert process.stderr is not None
    while f"{AGENT}: service" not in process.stderr.readline():
        assert process.poll() is None
    host.kill()
    _, text = process.communicate(timeout=240)
    host.start()
    assert process.returncode == 4, text
    assert "the connection was cut off" in text
    assert "Traceback" not in text
    clm.run(*configure("after-the-cut"))
    assert_good_end(clm, host, model, "after-the-cut")


def test_a_start_that_is_killed_is_completed_by_the_next(clm: Clm, host: Machine) -> None:
    clm.run(*configure("started"), "--skip-chat")
    clm.run("agent", "stop", AGENT)
    interrupt(clm, "agent", "start", AGENT, with_=signal.SIGKILL, after="service")
    clm.run("agent", "start", AGENT)
    status = clm.status(AGENT)
    assert (status["state"], status["why"], status["drift"]) == ("running", "", [])


def test_a_removal_that_is_killed_is_completed_by_the_next(clm: Clm, host: Machine) -> None:
    for delay in (0.5, 0.9):
        if not clm.json("ps"):
            clm.install(AGENT)
        interrupt(clm, "agent", "remove", AGENT, "--yes", with_=signal.SIGKILL, after=delay)
        clm.run("agent", "remove", AGENT, "--yes", "--host", HOST)
        found = host.ssh(f"getent passwd {AGENT}; ls -d /home/{AGENT} /etc/systemd/system/hermes-*", check=False)
        assert found.stdout == ""
        assert clm.json("ps") == []


def test_two_commands_that_install_the_same_agent_at_once_agree(clm: Clm, host: Machine) -> None:
    both = [clm.start("agent", "install", "--host", HOST, "--name", AGENT) for _ in range(2)]
    ended = [(process.communicate(timeout=240), process.returncode) for process in both]
    codes = sorted(code for _, code in ended)
    assert codes[0] == 0, ended
    clm.install(AGENT)
    assert clm.status(AGENT)["state"] == "not onboarded"
