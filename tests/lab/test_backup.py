"""Backups of a live agent, restored elsewhere with its history; and moves that succeed, fail, and are killed."""

from __future__ import annotations

import base64
import json
import re
import signal
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.clm import Clm, built_release, main_pid, unit
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import Request, StandInModel
from tests.lab.process import wait_until
from tests.lab.talking import SESSION, TALK, messages, talk

OLD, NEW, AGENT = "wolf-i", "wolf-ii", "maurice"
HOME = f"/home/{AGENT}/.hermes"
MEMORY = "The owner of this agent keeps bees.\n"
ENTERED = "sentinel-of-a-password-file-4711"


@pytest.fixture(scope="module")
def machines(hosts: Callable[..., list[Machine]], lab: Lab) -> list[Machine]:
    """Two hosts that have the release."""
    return hosts(2, layer=built_release(lab))


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, machines: list[Machine], _model_server: StandInModel) -> Clm:
    """Someone with an agent on the first host that has a memory, a talk behind it, and traps in its home."""
    person = Clm(tmp_path_factory.mktemp("backup"))
    for machine, name in zip(machines, (OLD, NEW), strict=True):
        person.add_host(machine, name)
    person.add_provider(_model_server)
    person.install(AGENT)
    person.configure(AGENT, "--provider", "local", "--skip-chat")
    old = machines[0]
    old.ssh(f"echo {ENTERED} >/etc/sentinel; chmod 600 /etc/sentinel")
    old.ssh(
        f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups sh -euc '"
        f"cd {HOME}; umask 077; cat >memories/MEMORY.md; mkdir -p skills/own; echo howto >skills/own/SKILL.md; "
        f"ln -s /etc/sentinel memories/USER.md; ln -s /etc skills/etc; mkfifo sessions/session_fifo.json; "
        f'echo "{{\\"token\\": \\"sentinel-of-a-login\\"}}" >auth.json\'',
        input=MEMORY,
    )
    return person


@pytest.fixture(scope="module")
def archive(clm: Clm, machines: list[Machine]) -> Path:
    """A backup that was made while the agent talked all the time."""
    old, key = machines[0], clm.key(AGENT)
    talk(old, 8642, key, "first words")
    wanted = json.dumps([8642, key, SESSION, "and so on", 0])
    old.ssh("systemd-run", "--quiet", "--unit=talk", "python3", "-c", TALK, wanted)
    try:
        assert wait_until(lambda: len(messages(old, AGENT)) > 6, seconds=60)
        pid = main_pid(old, AGENT)
        done = clm.run("agent", "backup", AGENT, "--output", str(clm.config_home))
        assert main_pid(old, AGENT) == pid
        assert unit(old, "x")["ActiveState"] == "inactive"
        said = old.ssh("systemctl is-active talk").stdout.strip()
        assert said == "active", "the talk went on"
    finally:
        old.ssh("systemctl stop talk")
    assert "is backed up and verified" in done.stdout
    for left_out in ("memories/USER.md: a link", "skills/etc: a link", "sessions/session_fifo.json: neither"):
        assert left_out in done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_a_backup_of_a_live_agent_is_whole_private_and_without_secrets(
    clm: Clm, archive: Path, machines: list[Machine], tmp_path: Path
) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as tar:
        assert tar.getnames()[0] == "manifest.json"
        tar.extractall(tmp_path, filter="data")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["agent"], manifest["host"], manifest["release"]) == (AGENT, OLD, "v2026.5.7")
    home = tmp_path / "hermes"
    assert (home / "memories/MEMORY.md").read_text() == MEMORY
    assert (home / "skills/own/SKILL.md").read_text() == "howto\n"
    names = {path.relative_to(home).as_posix() for path in home.rglob("*")}
    assert {"state.db", "config.yaml", "SOUL.md", "sessions"} <= names
    assert not names & {".env", "auth.json", "code", "logs", "gateway.pid", "state.db-wal", "memories/USER.md"}
    database = sqlite3.connect(home / "state.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    [said] = database.execute("SELECT count(*) FROM messages WHERE session_id = ?", (SESSION,)).fetchone()
    assert said >= 6
    database.close()
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for secret in (clm.key(AGENT), "sentinel-of-a-login", ENTERED):
        assert secret.encode() not in everything
    left = machines[0].ssh(f"ls -A /home/{AGENT}").stdout
    assert ".clm-snapshot" not in left


def test_a_backup_with_secrets_is_sealed_and_opened_by_its_key_alone(clm: Clm, archive: Path, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for path in (right, wrong):
        path.write_text(base64.b64encode(path.name.encode().ljust(32)).decode())
        path.chmod(0o600)
    sealed = tmp_path / "sealed"
    take = ("agent", "backup", AGENT, "-o", str(sealed), "--with-secrets")
    assert "--passphrase-file or --key-file" in clm.run(*take, exit=2).stderr
    clm.run(*take, "--key-file", str(right))
    content = sealed.read_bytes()
    assert sealed.stat().st_mode & 0o777 == 0o600
    for text in (clm.key(AGENT), "sentinel-of-a-login", "keeps bees"):
        assert text.encode() not in content
    done = clm.run("agent", "restore", AGENT, "--from", str(sealed), "--key-file", str(wrong), exit=3)
    assert "is not the one" in done.stderr
    # The right one comes to the next gate: the agent runs.
    done = clm.run("agent", "restore", AGENT, "--from", str(sealed), "--key-file", str(right), exit=3)
    assert "nothing is put under a running agent" in done.stderr


@pytest.mark.parametrize("where", [20, 0.4, -5, None])
def test_a_damaged_archive_is_refused_and_nothing_is_touched(
    clm: Clm, archive: Path, machines: list[Machine], tmp_path: Path, where: int | float | None
) -> None:
    content = bytearray(archive.read_bytes())
    if where is None:
        del content[len(content) // 2 :]
    else:
        content[int(where * len(content)) if isinstance(where, float) else where] ^= 1
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(content)
    before = main_pid(machines[0], AGENT)
    done = clm.run("agent", "restore", AGENT, "--from", str(damaged), "--stop", exit=3)
    assert "is damaged, or no backup" in done.stderr
    assert main_pid(machines[0], AGENT) == before


def test_the_restored_copy_on_another_host_goes_on_where_the_first_was(
    clm: Clm, archive: Path, machines: list[Machine], model: StandInModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = machines[1]
    # The method is the backup's: the usual one would ask upstream.
    monkeypatch.delitem(clm.environment, "HERMES_METHOD")
    done = clm.run("agent", "restore", AGENT, "--from", str(archive), "--host", NEW, "--install")
    assert f"Next: clm agent configure {NEW}/{AGENT}" in done.stdout
    clm.configure(f"{NEW}/{AGENT}", "--skip-chat")
    with tarfile.open(archive) as tar:
        file = tar.extractfile("hermes/state.db")
        assert file is not None
        database = sqlite3.connect(":memory:")
        octets = bytearray(file.read())
        octets[18:20] = b"\x01\x01"
        database.deserialize(bytes(octets))
        kept = database.execute("SELECT role, content FROM messages WHERE session_id = ? ORDER BY id", (SESSION,))
        history = [(role, content) for role, content in kept]
    assert messages(new, AGENT) == history
    assert new.ssh(f"cat {HOME}/memories/MEMORY.md").stdout == MEMORY
    port = next(row["port"] for row in clm.json("ps") if row["host"] == NEW)
    talk(new, port, clm.key(AGENT, NEW), "where were we?")
    [asked] = [request for request in model.chats if request.last_user_text == "where were we? 0"]
    assert "first words 0" in texts(asked), "it knows what was said on the other host"
    assert "keeps bees" in json.dumps(asked.body), "and what it remembered"

    # A second restore finds it running, and keeps what it had aside.
    done = clm.run("agent", "restore", f"{NEW}/{AGENT}", "--from", str(archive), "--stop", "--skip-chat")
    assert "It runs and answers." in done.stdout
    [aside] = re.findall(rf"is kept on {NEW}, in (\S+)", done.stdout)
    assert "state.db" in new.ssh(f"ls {aside}").stdout
    assert messages(new, AGENT) == history
    clm.run("agent", "remove", f"{NEW}/{AGENT}", "--yes")


def test_a_restore_whose_proof_fails_leaves_the_agent_serving_on_what_it_had(
    clm: Clm, archive: Path, machines: list[Machine], model: StandInModel
) -> None:
    old = machines[0]
    old.ssh(f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups sh -c 'echo since >{HOME}/memories/SINCE.md'")
    history = messages(old, AGENT)
    model.fail(401)
    done = clm.run("agent", "restore", f"{OLD}/{AGENT}", "--from", str(archive), "--stop", exit=6)
    model.reset()
    assert f"Agent {OLD}:hermes:{AGENT} serves on what it had." in done.stderr
    assert messages(old, AGENT) == history
    assert old.ssh(f"cat {HOME}/memories/SINCE.md").stdout == "since\n"
    assert [name for name in old.ssh(f"ls -A /home/{AGENT}").stdout.split() if "hermes" in name] == [".hermes"]
    status = clm.status(AGENT)
    assert (status["state"], status["drift"]) == ("running", [])


def texts(request: Request) -> str:
    """What was said in a request to the model."""
    return " ".join(str(message.get("content")) for message in request.messages)


def test_a_move_to_a_port_that_is_taken_does_not_even_begin(clm: Clm, machines: list[Machine]) -> None:
    pid = main_pid(machines[0], AGENT)
    done = clm.run("agent", "move", AGENT, "--to", NEW, "--port", "22", exit=2)
    machines[1].ssh("systemd-run", "--quiet", "--unit=taker", "python3", "-m", "http.server", "8777")
    assert wait_until(lambda: "8777" in machines[1].ssh("ss -Hltn").stdout, seconds=20)
    done = clm.run("agent", "move", AGENT, "--to", NEW, "--port", "8777", exit=5)
    assert f"Port 8777 is taken on {NEW}" in done.stderr
    machines[1].ssh("systemctl stop taker")
    assert main_pid(machines[0], AGENT) == pid


def test_a_move_whose_proof_fails_leaves_the_old_one_serving(
    clm: Clm, machines: list[Machine], model: StandInModel
) -> None:
    old, new = machines
    history = messages(old, AGENT)
    model.fail(401)
    done = clm.run("agent", "move", AGENT, "--to", NEW, exit=6)
    model.reset()
    assert f"was not moved: it serves on {OLD} as before" in done.stderr
    assert new.ssh(f"getent passwd {AGENT}; ls -d /home/{AGENT}", check=False).stdout == ""
    status = clm.status(AGENT)
    assert (status["host"], status["state"], status["drift"]) == (OLD, "running", [])
    assert unit(old, AGENT)["UnitFileState"] == "enabled"
    assert messages(old, AGENT) == history
    assert set(clm.document("secrets.json")) & {f"{NEW}:hermes:{AGENT}"} == set()


def test_a_move_that_is_killed_is_carried_on_by_the_next(
    clm: Clm, machines: list[Machine], model: StandInModel
) -> None:
    old, new = machines
    history, key = messages(old, AGENT), clm.key(AGENT)
    for step in ("restore", "answers"):
        process = clm.start("agent", "move", AGENT, "--to", NEW, "--skip-chat")
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(rf"{NEW}  {AGENT}: {step}", line):
                break
        else:
            raise AssertionError(f"it ended before {step}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert clm.status(AGENT, exit=None)["host"] == OLD
    clm.run("agent", "move", AGENT, "--to", NEW, "--skip-chat")
    status = clm.status(AGENT)
    assert (status["host"], status["state"], status["drift"]) == (NEW, "running", [])
    assert old.ssh(f"getent passwd {AGENT}; ls -d /home/{AGENT}", check=False).stdout == ""
    assert messages(new, AGENT)[: len(history)] == history
    assert clm.key(AGENT, NEW) == key
    assert f"{OLD}:hermes:{AGENT}" not in clm.document("secrets.json")
    assert key in new.ssh(f"cat {HOME}/.env").stdout
    assert "sentinel-of-a-login" in new.ssh(f"cat {HOME}/auth.json").stdout, "what it was logged in to goes with it"
    talk(new, status["port"], key, "still there?")
    [asked] = [request for request in model.chats if request.last_user_text == "still there? 0"]
    assert "first words 0" in texts(asked)
    assert "nothing to do" in clm.run("agent", "move", AGENT, "--to", NEW).stdout
