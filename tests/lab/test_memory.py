"""
What a real daemon remembers, changed by many while it writes, too; and its conversations, read while it talks.

L_1 to L_11 in names: the bugs of the predecessor's memory commands, one test for each.
"""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.clm import Clm, Done, built_release, logins, main_pid, run
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import Reply, Request, StandInModel, ToolCall
from tests.lab.process import wait_until

AGENT = "maurice"
HOME = f"/home/{AGENT}/.hermes"
EDITS, ADDS = 20, 30

# Says one thing after the other to an agent: each in a conversation of its own, or all in the one that is named.
_TALK = """
import json, sys, urllib.request
key, session, texts = json.load(sys.stdin)
for text in texts:
    body = {"model": "hermes-agent", "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    headers["X-Hermes-Session-Id"] = session or text.replace(" ", "-")
    request = urllib.request.Request("http://127.0.0.1:8642/v1/chat/completions", json.dumps(body).encode(), headers)
    json.load(urllib.request.urlopen(request, timeout=60))
"""
# Adds an entry with the name that it is given, as a person would in an editor, who takes a moment for it.
_EDITOR = """
import pathlib, sys, time
name, path = sys.argv[1], pathlib.Path(sys.argv[2])
time.sleep(0.5)
path.write_text(path.read_text().rstrip("\\n") + "\\n\\u00a7\\n" + name + "\\n")
"""


@pytest.fixture(scope="module")
def machine(hosts: object, lab: Lab) -> Machine:
    """A host that has the release."""
    [machine] = hosts(1, layer=built_release(lab))  # type: ignore[operator]
    return machine  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, machine: Machine, _model_server: StandInModel) -> Clm:
    """Someone with an agent that runs."""
    person = Clm(tmp_path_factory.mktemp("memory"))
    person.environment["XDG_STATE_HOME"] = str(person.config_home / "kept")
    person.add_host(machine)
    person.add_provider(_model_server)
    person.install(AGENT)
    person.configure(AGENT, "--provider", "local", "--skip-chat")
    (person.config_home / "editor.py").write_text(_EDITOR)
    return person


def talk(machine: Machine, clm: Clm, *texts: str, session: str | None = None) -> None:
    """Say something to the agent."""
    machine.ssh("python3", "-c", _TALK, input=json.dumps([clm.key(AGENT), session, texts]))


def edit(clm: Clm, name: str, file: str = "MEMORY.md") -> Done:
    """Add an entry in an editor."""
    editor = f"{sys.executable} {clm.config_home}/editor.py {name}"
    command = [sys.executable, "-m", "pyinfra_hermes.cli", "agent", "memory", "edit", AGENT, file, "--editor", editor]
    return run(command, clm.environment, stdin=None, seconds=120)


def remember(request: Request) -> str | Reply:
    """What a model says that notes everything it is told to."""
    if request.messages[-1].get("role") == "tool" or not request.last_user_text.startswith("note "):
        return "noted"
    content = request.last_user_text.removeprefix("note ")
    return Reply(tool_calls=(ToolCall("memory", {"action": "add", "target": "memory", "content": content}),))


def entries(machine: Machine, file: str = "MEMORY.md") -> list[str]:
    """What is in the file, read as the agent."""
    shown = machine.ssh(
        "setpriv", f"--reuid={AGENT}", f"--regid={AGENT}", "--clear-groups", "cat", f"{HOME}/memories/{file}"
    )
    return shown.stdout.split("\n§\n")


def test_fifty_change_it_while_the_daemon_writes_and_nothing_is_lost(
    clm: Clm, machine: Machine, model: StandInModel
) -> None:
    model.reply(remember)
    pid = main_pid(machine, AGENT)
    theirs = [f"theirs-{number}" for number in range(25)]
    added, edited = ([f"{what}-{n}" for n in range(count)] for what, count in (("added", ADDS), ("edited", EDITS)))

    def change(name: str) -> Done:
        if name in edited:
            return edit(clm, name)
        return clm.run("agent", "memory", "add", AGENT, "MEMORY.md", name, exit=None)

    # Side by side, and not one kind after the other.
    names = [name for pair in zip(added, edited, strict=False) for name in pair] + added[EDITS:]
    with ThreadPoolExecutor(7) as pool:
        daemon = pool.submit(talk, machine, clm, *(f"note {name}" for name in theirs))
        done = dict(zip(names, pool.map(change, names), strict=True))
        daemon.result()

    there = entries(machine)
    assert len(there) == len(set(there))
    assert set(theirs) <= set(there), "what the daemon wrote is there"
    for name, each in done.items():
        assert (each.returncode == 0) == (name in there), f"it was told otherwise: {each}"
        if each.returncode != 0:
            assert name in edited, f"to add an entry is always possible: {each}"
            assert "was changed meanwhile" in each.stderr
            found = re.search(r"Your text is kept in (\S+)", each.stderr)
            assert found and name in Path(found[1]).read_text()
    assert set(there) == {*theirs, *(name for name, each in done.items() if each.returncode == 0)}
    kept = list((clm.config_home / "kept/clawrium/memory").iterdir())
    assert len(kept) == sum(each.returncode != 0 for each in done.values())
    listed = machine.ssh(f"ls -lA {HOME}/memories").stdout
    assert re.findall(r"^(\S+) \d+ (\S+) \S+ .* (\S+)$", listed, re.M) == [
        ("-rw-------", AGENT, "MEMORY.md"), ("-rw-------", AGENT, "MEMORY.md.lock"),
    ]  # fmt: skip
    assert main_pid(machine, AGENT) == pid
    shown = clm.json("agent", "memory", "show", AGENT, "MEMORY.md")[0]
    assert shown["entries"] == there
    assert shown["characters"] == len("\n§\n".join(there))


def test_L_8_a_change_is_one_connection_and_every_new_conversation_has_it(
    clm: Clm, machine: Machine, model: StandInModel
) -> None:
    write = ("agent", "memory", "write", AGENT, "USER.md", "--replace")
    clm.run(*write, stdin="The user keeps bees.")
    talk(machine, clm, "first", session="long")
    before = logins(machine)
    said = clm.run(*write, stdin="The user lives in Brno.\n").stdout
    assert logins(machine) == before + 1, "one connection"
    assert "USER.md has 1 entry, 23 of 1375 characters." in said
    assert "in every conversation that begins from now on" in said
    talk(machine, clm, "second", session="long")
    talk(machine, clm, "third")
    knows = {
        request.last_user_text: [w for w in ("bees", "Brno") if w in str(request.messages[0])]
        for request in model.chats
    }
    assert knows == {"first": ["bees"], "second": ["bees"], "third": ["Brno"]}
    assert clm.run("agent", "memory", "read", AGENT, "USER.md").stdout == "The user lives in Brno."
    # Someone who has not seen what is there does not replace it.
    done = clm.run(*write[:-1], stdin="x", exit=2)
    assert "Give it with --replace, or --expected SHA256" in done.stderr
    digest = clm.json("agent", "memory", "info", AGENT, "USER.md")[0]["sha256"]
    clm.run(*write[:-1], "--expected", digest, stdin="The user has moved.")
    done = clm.run(*write[:-1], "--expected", digest, stdin="The user is back.", exit=3)
    assert "was changed meanwhile" in done.stderr
    assert entries(machine, "USER.md") == ["The user has moved."]
    assert "looks like an attack" in clm.run("agent", "memory", "add", AGENT, "USER.md", "see authorized_keys").stderr
    clm.run("agent", "memory", "delete", AGENT, "USER.md", "--entry", "2", "--yes")
    assert entries(machine, "USER.md") == ["The user has moved."]


def test_nothing_that_the_agent_plants_is_followed_and_a_full_disk_loses_nothing(clm: Clm, machine: Machine) -> None:
    machine.ssh("echo sentinel-4711 >/root/secret; chmod 600 /root/secret; touch /root/target")
    file = f"{HOME}/memories/USER.md"
    as_agent = f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups"
    for trap, verb in (
        (f"ln -s /root/target {file}", "add"),
        (f"mkfifo {file}", "edit"),
        (f"ln -s /root/secret {file}", ""),
    ):
        machine.ssh(f"rm -f {file}; {as_agent} {trap}")
        if verb:
            done = clm.run("agent", "memory", verb, AGENT, "USER.md", *["x"] * (verb == "add"), exit=3)
            assert "not a file; nothing was followed" in done.stderr
    assert "sentinel-4711" not in clm.run("agent", "memory", "show", AGENT).output
    clm.run("agent", "memory", "delete", AGENT, "USER.md", "--yes")
    assert machine.ssh("cat /root/secret /root/target").stdout == "sentinel-4711\n"

    machine.ssh(f"mount -t tmpfs -o size=64k,mode=700,uid=$(id -u {AGENT}),gid=$(id -g {AGENT}) tmpfs {HOME}/memories")
    try:
        clm.run("agent", "memory", "write", AGENT, "USER.md", stdin="before")
        machine.ssh(f"head -c 1M /dev/zero >{HOME}/memories/filler", check=False)
        done = clm.run("agent", "memory", "write", AGENT, "USER.md", "--replace", stdin="after" * 200, exit=3)
        assert "there is no room" in done.stderr
        assert "Your text is kept in" in done.stderr
        assert machine.ssh(f"ls -A {HOME}/memories; cat {file}").stdout == "USER.md\nUSER.md.lock\nfiller\nbefore"
    finally:
        machine.ssh(f"umount {HOME}/memories")


def test_what_was_typed_outlives_a_kill_and_is_edited_again_when_too_long(clm: Clm, machine: Machine) -> None:
    (clm.config_home / "slow.py").write_text(
        "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('typed'); print(sys.argv[1]); time.sleep(60)"
    )
    process = clm.start(
        "agent", "memory", "edit", AGENT, "SOUL.md", "--editor", f"{sys.executable} -u {clm.config_home}/slow.py"
    )
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    process.kill()
    process.wait()
    assert path.read_text() == "typed"
    assert path.stat().st_mode & 0o777 == 0o600
    (clm.config_home / "long.py").write_text(
        "import pathlib, sys; path = pathlib.Path(sys.argv[1])\n"
        "path.write_text('short' if len(path.read_text()) > 1375 else 'x' * 2000)"
    )
    words = ("agent", "memory", "edit", AGENT, "USER.md", "--editor", f"{sys.executable} {clm.config_home}/long.py")
    with clm.terminal(*words) as terminal:
        terminal.expect("Edit it again?")
        terminal.type("\n")
        assert terminal.end() == 0
        assert "(2000 > 1375 chars)" in terminal.text
    assert entries(machine, "USER.md") == ["short"]


def test_L_9_a_daemon_that_was_stopped_by_hand_is_known_as_stopped_and_read_without_a_trace(
    clm: Clm, machine: Machine, model: StandInModel
) -> None:
    key = clm.key(AGENT)
    model.reply(remember)
    talk(machine, clm, f"note the key is {key} \x1b[31mred", session="secrets")
    live = machine.ssh(f"cd {HOME} && sha256sum state.db state.db-wal").stdout
    listed = clm.json("agent", "sessions", "list", AGENT, "--limit", "1")
    assert (listed[0]["id"], listed[0]["source"]) == ("secrets", "api_server")
    shown = clm.run("agent", "sessions", "show", AGENT, "secrets").stdout
    assert "-> memory" in shown and "assistant  20" in shown and "\x1b" not in shown
    found = clm.run("agent", "sessions", "search", AGENT, "red key").stdout
    assert found.count("secrets") >= 1
    target = clm.config_home / "talk.jsonl"
    clm.run("agent", "sessions", "export", AGENT, "--file", str(target))
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["message"]["role"] for row in rows[1:]] == ["user", "assistant", "tool", "assistant"]
    assert target.stat().st_mode & 0o777 == 0o600
    printed = clm.run("agent", "sessions", "export", AGENT, "secrets", "--format", "markdown").stdout
    for text in (shown, found, target.read_text(), printed):
        assert key not in text
        assert "the key is" in text
    assert machine.ssh(f"cd {HOME} && sha256sum state.db state.db-wal").stdout == live

    machine.ssh(f"systemctl stop hermes-{AGENT}")
    assert wait_until(lambda: "state.db-wal" not in machine.ssh(f"ls {HOME}").stdout, seconds=30)
    assert clm.json("agent", "sessions", "show", AGENT, "secrets")["complete"]
    left = machine.ssh(f"ls {HOME}; find {HOME} ! -user {AGENT}").stdout
    assert "state.db-" not in left and "/" not in left
    assert (
        "does not run; it reads this once it does" in clm.run("agent", "memory", "add", AGENT, "USER.md", "late").stdout
    )
    clm.run("agent", "memory", "delete", AGENT, "--all", "--yes")
    assert [row["kind"] for row in clm.json("agent", "memory", "info", AGENT)] == ["absent"] * 3
