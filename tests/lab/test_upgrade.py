"""
Releases: each does the main job, an agent goes from one to the next and back with all that it remembers, and whatever
goes wrong on the way, it serves on what it had.
"""

from __future__ import annotations

import json
import signal
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyinfra_hermes.deploys.model.layout import release_directory
from pyinfra_hermes.deploys.model.releases import Release, manifest
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from tests.lab.clm import Clm, built_release, main_pid, unit
from tests.lab.interrupting import interrupt
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.process import wait_until
from tests.lab.talking import messages, talk

AGENT, PORT = "maurice", 8642
HOME = f"/home/{AGENT}/.hermes"
NOTES = "/var/lib/pyinfra-hermes"
MEMORY = "The owner of this agent keeps bees.\n"
#: Every other release than the default one, which is what all other tests use, in their order.
LATER = [release for release in manifest().releases if release != manifest().release()]
BEFORE, NEWEST = LATER[-2:]


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the default release."""
    [machine] = hosts(1, layer=built_release(lab))
    return machine


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine, _model_server: StandInModel) -> Clm:
    """Someone with an agent on the default release that was talked to and remembers something."""
    person = Clm(tmp_path_factory.mktemp("upgrade"))
    person.add_host(host)
    person.add_provider(_model_server)
    person.install(AGENT)
    person.configure(AGENT, "--provider", "local", "--skip-chat")
    host.ssh(
        f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups sh -c 'cat >{HOME}/memories/MEMORY.md'", input=MEMORY
    )
    talk(host, PORT, person.key(AGENT), "first words")
    return person


def release_of(host: Machine) -> str:
    """The folder of the release that the agent's link points at."""
    return host.ssh("readlink", f"{HOME}/code").stdout.strip()


def assert_settled(clm: Clm, host: Machine, release: Release) -> None:
    """The agent runs a release, as it is on record, and nothing is under way."""
    status = clm.status(AGENT)
    assert (status["state"], status["healthy"], status["drift"]) == ("running", True, [])
    assert (status["release"], status["onboarding"]) == (release.tag, "ready")
    assert release_of(host) == release_directory(AGENT, release.id)
    assert host.ssh(f"ls {NOTES}").stdout.split() == [
        f"{AGENT}.leaves", f"{AGENT}.receipts", *([f"{AGENT}.snapshots"] if release != manifest().release() else [])
    ]  # fmt: skip
    assert host.ssh(f"cat {HOME}/memories/MEMORY.md").stdout == MEMORY
    assert host.ssh(f"ls -A {HOME} | grep clm-back", check=False).stdout == ""


def test_a_release_whose_bytes_are_not_those_that_are_pinned_is_not_brought(
    clm: Clm, host: Machine, tmp_path: Path
) -> None:
    with tarfile.open(Wheelhouse().archive(LATER[0], "3.11", "x86_64")) as archive:
        archive.extractall(tmp_path, filter="data")
    [wheel] = tmp_path.glob("hermes_agent-*.whl")
    with wheel.open("ab") as file:
        file.write(b"\0")
    pid = main_pid(host, AGENT)
    command = ("agent", "upgrade", AGENT, "--to", LATER[0].tag, "--yes", "--wheelhouse", str(tmp_path))
    kept, clm.environment["XDG_CACHE_HOME"] = clm.environment.get("XDG_CACHE_HOME"), str(tmp_path / "cache")
    try:
        said = clm.run(*command, exit=6).stderr
    finally:
        del clm.environment["XDG_CACHE_HOME"]
        if kept is not None:
            clm.environment["XDG_CACHE_HOME"] = kept
    assert "DO NOT MATCH THE HASHES" in said
    assert f"Agent {AGENT} was not touched" in said
    assert main_pid(host, AGENT) == pid
    assert LATER[0].tag not in host.ssh("ls /opt/pyinfra-hermes/releases").stdout


@pytest.mark.parametrize("release", LATER, ids=lambda release: release.tag)
def test_each_release_does_the_main_job_and_knows_what_was_said_on_the_one_before(
    clm: Clm, host: Machine, model: StandInModel, release: Release
) -> None:
    said = messages(host, AGENT)
    assert ("user", "first words 0") in said
    done = clm.run("agent", "upgrade", AGENT, "--to", release.tag, "--yes")
    assert f"Agent {AGENT} runs {release.tag} and answers." in done.stdout
    assert [f"[{n}/8]" in done.stderr for n in range(1, 9)] == [True] * 8
    [asked] = model.chats
    assert asked.body["model"], "the chat that proves it reached the model"
    assert_settled(clm, host, release)
    assert clm.status(AGENT)["channels"] == {"api_server": "connected"}

    # What its wheel lacks came along from its sources: Hermes copies the skills to the agent when it starts.
    skills = host.ssh("find", f"{HOME}/skills", "-name", "SKILL.md", "-user", AGENT).stdout.split()
    assert len(skills) > 70
    for folder in release.source.folders if release.source else ():
        at = f"{release_directory(AGENT, release.id)}/{folder}"
        assert not host.ssh("find", at, "(", "!", "-user", "root", "-o", "-perm", "/022", ")").stdout

    # What the daemon wrote since it started is no reason to do anything again.
    pid = main_pid(host, AGENT)
    clm.configure(AGENT)
    assert "nothing to do" in clm.run("agent", "upgrade", AGENT, "--to", release.tag, "--yes").stdout
    assert main_pid(host, AGENT) == pid

    talk(host, PORT, clm.key(AGENT), f"on {release.tag}")
    [asked] = [request for request in model.chats if request.last_user_text == f"on {release.tag} 0"]
    assert "first words 0" in str(asked.messages), "it knows what was said before"
    assert messages(host, AGENT)[: len(said)] == said
    [receipt] = clm.json("agent", "history", AGENT, "-n", "1")
    assert (receipt["what"], receipt["result"], receipt["after"]) == ("upgrade", "applied", release.id)


def test_the_newest_one_stops_as_asked(clm: Clm, host: Machine) -> None:
    clm.run("agent", "stop", AGENT)
    stopped = unit(host, AGENT)
    assert (stopped["ActiveState"], stopped["Result"]) == ("inactive", "success")
    clm.run("agent", "start", AGENT)


def test_what_cannot_be_is_refused_before_anything_is_touched(clm: Clm, host: Machine) -> None:
    pid = main_pid(host, AGENT)
    assert "Did you mean" in clm.run("agent", "upgrade", AGENT, "--to", "v2026.7.21", "--yes", exit=2).stderr
    earlier = clm.run("agent", "upgrade", AGENT, "--to", BEFORE.tag, "--yes", exit=3)
    assert f"clm agent rollback {AGENT} --to {BEFORE.tag}" in earlier.stderr
    refused = clm.run("agent", "install", "--host", "wolf-i", "--name", AGENT, "--release", BEFORE.tag, exit=3)
    assert "an install does not change that" in refused.stderr
    plan = clm.json("agent", "rollback", AGENT, "--plan", "--to", BEFORE.tag)
    assert plan["state_schema"] == {"from": NEWEST.state_schema, "to": BEFORE.state_schema}
    assert main_pid(host, AGENT) == pid


def test_a_rollback_puts_the_database_back_that_fits_and_loses_no_conversation(
    clm: Clm, host: Machine, model: StandInModel
) -> None:
    said = messages(host, AGENT)
    done = clm.run("agent", "rollback", AGENT, "--yes")
    assert f"Agent {AGENT} runs {BEFORE.tag} and answers." in done.stdout
    assert_settled(clm, host, BEFORE)
    [aside] = [line.rpartition("/")[2] for line in done.stdout.splitlines() if "state.db.of-" in line]
    assert messages(host, AGENT, aside) == said
    now = messages(host, AGENT)
    assert now == said[: len(now)]
    assert ("user", f"on {BEFORE.tag} 0") in now
    assert ("user", f"on {NEWEST.tag} 0") not in now
    [receipt] = clm.json("agent", "history", AGENT, "-n", "1")
    assert (receipt["what"], receipt["before"], receipt["after"]) == ("rollback", NEWEST.id, BEFORE.id)


# From here on the agent is on the release before the newest, and all of them lie on the host.


@contextmanager
def spoilt(host: Machine, path: str, line: str) -> Iterator[None]:
    """Have a program of the newest release hold a line of ours: a script as its second one, a module as its last."""
    path = f"{release_directory(AGENT, NEWEST.id)}/venv/{path}"
    [path] = host.ssh(f"ls {path}").stdout.split()
    at = "$" if path.endswith(".py") else "1"
    host.ssh(f"cp -p {path} /root/spoilt; sed -i '{at}a {line}' {path}")
    yield
    host.ssh(f"mv /root/spoilt {path}")


def fails(clm: Clm, host: Machine, why: str) -> str:
    """Try to upgrade; the agent is on what it had afterwards. Returns what was said."""
    said = messages(host, AGENT)
    done = clm.run("agent", "upgrade", AGENT, "--to", NEWEST.tag, "--yes", exit=6)
    assert why in done.stderr
    assert_settled(clm, host, BEFORE)
    assert messages(host, AGENT) == said
    return done.stderr


def test_a_release_that_cannot_be_imported_is_not_even_switched_to(clm: Clm, host: Machine) -> None:
    pid = main_pid(host, AGENT)
    with spoilt(host, "lib/python3*/site-packages/gateway/platforms/api_server.py", "import nowhere"):
        said = fails(clm, host, "the new release cannot be imported: ")
    assert "No module named 'nowhere'" in said
    assert f"Agent {AGENT} was not touched" in said
    assert main_pid(host, AGENT) == pid


def test_a_daemon_that_dies_is_gone_back_from(clm: Clm, host: Machine) -> None:
    with spoilt(host, "bin/hermes", 'import sys; "gateway" in sys.argv and sys.exit("made to fail")'):
        said = fails(clm, host, "the daemon dies right after its start")
    assert "made to fail" in said
    assert f"Agent {AGENT} serves on what it had." in said
    [receipt] = clm.json("agent", "history", AGENT, "-n", "1")
    assert (receipt["what"], receipt["result"]) == ("upgrade", "reverted")
    assert "the daemon dies" in receipt["reason"]


def test_a_model_that_fails_on_the_new_one_brings_back_the_old_one_and_its_database(
    clm: Clm, host: Machine, model: StandInModel
) -> None:
    model.fail(401)
    fails(clm, host, "its model does not answer")
    model.reset()
    assert f"on {BEFORE.tag}" in str(messages(host, AGENT))
    assert "Hermes" not in talk(host, PORT, clm.key(AGENT), "still there?")


def test_without_room_to_keep_what_works_nothing_is_touched(clm: Clm, host: Machine) -> None:
    pid = main_pid(host, AGENT)
    host.fill("/var/lib", keep_free_kib=0)
    try:
        said = clm.run("agent", "upgrade", AGENT, "--to", NEWEST.tag, "--yes", "--skip-chat", exit=6).stderr
    finally:
        host.unfill("/var/lib")
    assert "cannot be kept to go back to: no room" in said
    assert main_pid(host, AGENT) == pid
    assert_settled(clm, host, BEFORE)


@pytest.mark.parametrize(
    ("number", "with_"),
    [(5, signal.SIGINT), (5, signal.SIGPWR), (7, signal.SIGKILL), (8, signal.SIGKILL)],
)
def test_killed_at_any_step_the_same_command_goes_on(
    clm: Clm, host: Machine, number: int, with_: signal.Signals
) -> None:
    # There and back in turns: each is the other's beginning.
    there = clm.status(AGENT)["release"] == BEFORE.tag
    to = NEWEST if there else BEFORE
    said = messages(host, AGENT)
    command = ("agent", "upgrade" if there else "rollback", AGENT, "--to", to.tag, "--yes", "--skip-chat")
    interrupt(clm, *command, with_=with_, after=f"[{number}/8]")
    if with_ == signal.SIGPWR:
        # The power of the host, too; its agent is started when it boots, in the middle of it all.
        host.kill()
        host.start()
    clm.run(*command)
    assert_settled(clm, host, to)
    if there:
        assert messages(host, AGENT)[: len(said)] == said


def test_what_is_said_after_a_power_cut_is_kept_when_the_upgrade_goes_on(
    clm: Clm, host: Machine, model: StandInModel
) -> None:
    """Its state.db was kept before the cut; what it then heard on the old release must be in what is gone back to."""
    command = ("agent", "upgrade", AGENT, "--to", NEWEST.tag, "--yes", "--skip-chat")
    notes = host.root / NOTES.lstrip("/")

    def kept() -> bool:
        note = notes / f"{AGENT}.before"
        return (
            note.exists()
            and (notes / f"{AGENT}.snapshots" / json.loads(note.read_text())["id"] / "database.tar").exists()
        )

    interrupt(clm, *command, with_=signal.SIGKILL, after=kept)
    host.kill()
    host.start()
    assert wait_until(lambda: clm.status(AGENT, exit=None)["healthy"], seconds=60, pause=0.5)
    assert f"Go on: clm agent upgrade wolf-i/{AGENT} --to {NEWEST.tag}" in clm.run("ps", exit=None).output
    talk(host, PORT, clm.key(AGENT), "after the power cut")
    clm.run(*command)
    assert_settled(clm, host, NEWEST)
    assert ("user", "after the power cut 0") in messages(host, AGENT)
    latest = host.ssh(f"ls -d {NOTES}/{AGENT}.snapshots/* | tail -n 1").stdout.strip()
    host.ssh(f"tar -xOf {latest}/database.tar | grep -qa 'after the power cut 0'")
