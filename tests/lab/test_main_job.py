"""The whole way of one agent, as a person with ``clm`` walks it: logged in as a user with sudo, not as root."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.clm import Clm, fingerprint, logins, main_pid, unit
from tests.lab.machine import Machine
from tests.lab.model import Reply, Request, StandInModel
from tests.lab.process import wait_until
from tests.lab.protocol import MODEL

HOST, AGENT = "wolf-i", "hermes-test"
HOME = f"/home/{AGENT}"
SERVICE = f"hermes-{AGENT}.service"
UNIT = f"/etc/systemd/system/{SERVICE}"
FILES = (f"{HOME}/.hermes/.env", f"{HOME}/.hermes/config.yaml", UNIT, "/etc/systemd/system/hermes.slice")
REFUSAL = (
    f"Error: Cannot start {HOST}:hermes:{AGENT}: onboarding incomplete (state=pending). "
    f"Run 'clm agent configure {AGENT}' first.\n"
)


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine) -> Clm:
    """Someone who has the host on record."""
    person = Clm(tmp_path_factory.mktemp("admin"))
    person.add_host(host, HOST)
    return person


@pytest.fixture(scope="module")
def installed(clm: Clm) -> Clm:
    """The same with the agent installed; nothing was configured yet when a test asks for this first."""
    clm.install(AGENT)
    return clm


@pytest.fixture(scope="module")
def running(installed: Clm, _model_server: StandInModel) -> Clm:
    """The same with the agent running on the stand-in model."""
    if "local" not in [provider["name"] for provider in installed.json("provider", "list")]:
        installed.add_provider(_model_server)
    installed.configure(AGENT, "--provider", "local")
    return installed


@pytest.fixture
def configured(running: Clm, model: StandInModel) -> Clm:
    """The same, and the model has seen nothing yet."""
    return running


@pytest.fixture
def changing(configured: Clm, model: StandInModel) -> Iterator[Clm]:
    """The same for a test that gives the agent another provider or model: afterwards it has the first one again."""
    yield configured
    model.reset()
    configured.configure(AGENT, "--provider", "local", "--model", MODEL, "--skip-chat")


def stat(host: Machine, *paths: str) -> str:
    """Modes, owners, sizes and times of files, to the nanosecond."""
    return host.ssh("stat", "--format=%n %a %U %G %s %y %z", *paths).stdout


# Hosts


def test_a_host_is_only_added_when_somebody_vouches_for_its_key(tmp_path: Path, host: Machine) -> None:
    stranger = Clm(tmp_path)
    add = ("host", "add", HOST, "--address", host.address, "--user", "admin", "--identity-file", str(host.key))
    silent = stranger.run(*add, exit=2)
    assert f"--host-key-fingerprint {fingerprint(host)}" in silent.stderr
    wrong = "SHA256:" + "A" * 43
    assert fingerprint(host) in stranger.run(*add, "--host-key-fingerprint", wrong, exit=4).stderr
    assert stranger.json("host", "list") == []

    with stranger.terminal(*add) as terminal:
        terminal.expect(fingerprint(host))
        terminal.expect("Is this the host's key? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == 3
    assert stranger.json("host", "list") == []
    with stranger.terminal(*add) as terminal:
        terminal.expect("[y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
        assert f"Host {HOST} added: admin@{host.address} port 22." in terminal.text
    assert [entry["name"] for entry in stranger.json("host", "list")] == [HOST]


def test_hosts_are_listed_shown_and_checked(clm: Clm, host: Machine) -> None:
    [listed] = clm.json("host", "list")
    assert (listed["name"], listed["address"], listed["port"], listed["user"]) == (HOST, host.address, 22, "admin")
    assert host.address in clm.run("host", "list").stdout
    shown = clm.json("host", "show", HOST)
    assert shown["host_keys"] == [f"ssh-ed25519 {fingerprint(host)}"]
    checked = clm.json("host", "check", HOST)
    assert (checked["os"], checked["problems"]) == ("debian", [])
    assert clm.run("host", "check", HOST).stdout.endswith(f"{HOST} is ready.\n")


def test_the_way_in_by_hand_that_a_host_shows_works(clm: Clm) -> None:
    [line] = [line for line in clm.run("host", "show", HOST).stdout.splitlines() if line.startswith("by hand")]
    command = line.removeprefix("by hand").strip()
    done = subprocess.run(
        ["sh", "-c", f"{command} id -un"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )
    assert (done.stdout, done.stderr) == ("admin\n", "")


# Installation


def test_an_installed_agent_is_private_disabled_and_stopped(installed: Clm, host: Machine) -> None:
    there: Any = host.testinfra_host()
    account = there.user(AGENT)
    assert (account.shell, account.home) == ("/usr/sbin/nologin", HOME)
    assert account.groups == [AGENT]
    for path, mode in ((HOME, 0o700), (f"{HOME}/.hermes", 0o700), (f"{HOME}/.hermes/memories", 0o700)):
        folder = there.file(path)
        assert (folder.is_directory, folder.mode, folder.user) == (True, mode, AGENT), path
    env = there.file(f"{HOME}/.hermes/.env")
    assert (env.is_file, env.mode, env.user, env.size) == (True, 0o600, AGENT, 0)
    assert not there.file(f"{HOME}/.hermes/config.yaml").exists
    written = there.file(UNIT)
    assert (written.mode, written.user, written.group) == (0o644, "root", "root")
    service = there.service(SERVICE)
    assert (service.is_enabled, service.is_running) == (False, False)
    assert there.file(f"{HOME}/.hermes/code").linked_to.startswith("/opt/pyinfra-hermes/releases/v2026.5.7-")
    assert installed.status(AGENT)["state"] == "not onboarded"


def test_no_agent_can_change_the_release_that_all_of_them_share(installed: Clm, host: Machine) -> None:
    release = host.ssh("readlink", f"{HOME}/.hermes/code").stdout.strip()
    writable = host.ssh(f"find {release} ! -user root -o ! -type l -perm /022 | head").stdout
    assert writable == ""
    staging = host.ssh("ls -A /tmp /opt/pyinfra-hermes/releases").stdout
    assert "pyinfra-hermes-" not in staging and ".build." not in staging


def test_the_api_key_is_in_secrets_json_and_nowhere_else(installed: Clm, host: Machine) -> None:
    query = f'.["{HOST}:hermes:{AGENT}"].HERMES_API_SERVER_KEY.value'
    secrets = installed.state / "secrets.json"
    key = subprocess.run(["jq", "-r", query, secrets], capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert (secrets.stat().st_mode & 0o777, installed.state.stat().st_mode & 0o777) == (0o600, 0o700)
    elsewhere = [path for path in installed.state.rglob("*") if path.is_file() and "secrets.json" not in path.name]
    assert elsewhere
    assert [path for path in elsewhere if key in path.read_text()] == []
    assert host.ssh("grep", "-rlF", key, "/etc", "/home", "/tmp", "/var", "/opt", check=False).stdout == ""


def test_start_is_refused_before_the_agent_is_configured(installed: Clm, host: Machine) -> None:
    before = [
        (path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(installed.state.glob("*.json"))
    ]
    asked = logins(host)
    done = installed.run("agent", "start", AGENT, exit=3)
    assert (done.stdout, done.stderr) == ("", REFUSAL)
    assert logins(host) == asked, "the gate is on the control machine"
    assert before == [
        (path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(installed.state.glob("*.json"))
    ]
    assert unit(host, AGENT)["ActiveState"] == "inactive"


def test_an_installation_repeated_changes_nothing(installed: Clm, host: Machine) -> None:
    key, before = installed.key(AGENT), stat(host, UNIT, f"{HOME}/.hermes/.env", f"{HOME}/.hermes/code")
    done = installed.install(AGENT)
    assert f"Agent {AGENT} is installed on {HOST}; nothing to do." in done.stdout
    assert done.stderr == ""
    assert installed.key(AGENT) == key
    assert stat(host, UNIT, f"{HOME}/.hermes/.env", f"{HOME}/.hermes/code") == before


# Configuration


def test_configure_without_any_provider_names_the_command_that_adds_one(installed: Clm) -> None:
    done = installed.configure(AGENT, exit=3)
    assert "No providers configured." in done.stderr
    assert "clm provider add" in done.stderr


def test_providers_are_listed_without_their_keys(installed: Clm, model: StandInModel) -> None:
    installed.add_provider(model)
    installed.add_provider(model, "keyed", "big-model", key="sk-of-a-customer-4711")
    listed = {provider["name"]: provider for provider in installed.json("provider", "list")}
    assert listed["local"]["options"] == {"url": model.url, "model": MODEL}
    assert (listed["local"]["secrets"], listed["keyed"]["secrets"]) == ([], ["API_KEY"])
    assert "sk-of-a-customer" not in installed.run("provider", "list").output
    assert installed.document("secrets.json")["provider:keyed"]["API_KEY"]["value"] == "sk-of-a-customer-4711"
    assert "sk-of-a-customer" not in (installed.state / "providers.json").read_text()


def test_a_configured_agent_runs_and_is_shown_as_running(configured: Clm, host: Machine) -> None:
    status = configured.status(AGENT)
    assert (status["state"], status["healthy"], status["drift"]) == ("running", True, [])
    assert status["channels"] == {"api_server": "connected"}
    assert status["unit"]["enabled"] and status["unit"]["main_pid"] == main_pid(host, AGENT)
    [row] = configured.json("ps")
    assert (row["name"], row["host"], row["state"], row["onboarding"]) == (AGENT, HOST, "running", "ready")
    assert re.search(rf"^{AGENT} +{HOST} +running +local +8642 ", configured.run("ps").stdout, re.M)
    shown = configured.run("agent", "status", AGENT).stdout
    assert f"http://127.0.0.1:8642/v1, on {HOST} only" in shown
    # The wheel lacks them; they came along from the sources.
    assert len(host.ssh("find", f"{HOME}/.hermes/skills", "-name", "SKILL.md", "-user", AGENT).stdout.split()) == 87


def test_the_key_goes_to_no_process_that_only_calls_itself_the_daemon(configured: Clm, host: Machine) -> None:
    # ss(8) prints the names of processes, which they choose, beside their numbers.
    listen = f"""
import ctypes, select, socket
ctypes.CDLL(None).prctl(15, b",pid={main_pid(host, AGENT)},", 0, 0, 0)
ears = [socket.create_server(("127.0.0.1", port)) for port in range(2000, 2020)]
open("/tmp/ears", "w").close()
while True:
    ear = select.select(ears, [], [])[0][0].accept()[0]
    open("/tmp/heard", "ab").write(ear.recv(9999))
    ear.close()
"""
    host.ssh("systemd-run", "--quiet", "--unit=ears", "-p", "User=nobody", "python3", "-c", listen)
    try:
        assert wait_until(lambda: host.ssh("test -e /tmp/ears", check=False).returncode == 0, seconds=20)
        assert configured.status(AGENT)["state"] == "running"
        assert [row["state"] for row in configured.json("ps")] == ["running"]
        assert host.ssh("cat /tmp/heard", check=False).stdout == ""
    finally:
        host.ssh("systemctl stop ears; rm -f /tmp/ears /tmp/heard")


def test_the_daemon_is_confined_as_promised(configured: Clm, host: Machine) -> None:
    there: Any = host.testinfra_host()
    pid = main_pid(host, AGENT)
    assert there.process.get(pid=pid).user == AGENT
    listening = host.ssh(f"ss -Hltnp | grep pid={pid},").stdout
    assert [line.split()[3] for line in listening.splitlines()] == ["127.0.0.1:8642"]
    assert there.socket("tcp://127.0.0.1:8642").is_listening
    assert not there.socket(f"tcp://{host.address}:8642").is_listening
    env, config = there.file(f"{HOME}/.hermes/.env"), there.file(f"{HOME}/.hermes/config.yaml")
    assert (env.mode, env.user, config.mode, config.user) == (0o600, AGENT, 0o600, AGENT)
    assert f"API_SERVER_KEY={configured.key(AGENT)}\n" in env.content_string
    assert there.service(SERVICE).is_enabled
    shown = unit(host, AGENT)
    assert (shown["NoNewPrivileges"], shown["ProtectSystem"], shown["Slice"]) == ("yes", "strict", "hermes.slice")
    assert shown["FragmentPath"] == UNIT
    # A user manager of its own would be the way out of the sandbox.
    assert not there.file(f"/var/lib/systemd/linger/{AGENT}").exists


def test_the_api_wants_its_key(configured: Clm, host: Machine) -> None:
    ask = "curl -s -o /dev/null -w %{http_code} http://127.0.0.1:8642/v1/models"
    assert host.ssh(ask).stdout == "401"
    assert host.ssh(f"{ask} -H 'Authorization: Bearer {'0' * 64}'").stdout == "401"
    assert host.ssh(f"{ask} -H 'Authorization: Bearer {configured.key(AGENT)}'").stdout == "200"


def test_configured_again_with_nothing_new_changes_nothing(configured: Clm, host: Machine) -> None:
    before = unit(host, AGENT), stat(host, *FILES), configured.document("hosts.json")
    done = configured.configure(AGENT)
    assert (done.stdout, done.stderr) == (f"Agent {AGENT} runs as configured; nothing to do.\n", "")
    after = unit(host, AGENT), stat(host, *FILES), configured.document("hosts.json")
    for same in ("MainPID", "NRestarts", "InvocationID"):
        assert before[0][same] == after[0][same]
    assert before[1:] == after[1:]


# Conversation


def test_a_question_is_answered_by_the_configured_model(configured: Clm, model: StandInModel) -> None:
    done = configured.run("chat", AGENT, "--once", "What is the capital of Peru?")
    assert (done.stdout, done.stderr) == ('stand-in model: I read "What is the capital of Peru?"\n', "")
    [request] = model.chats
    assert (request.path, request.body["model"]) == ("/v1/chat/completions", MODEL)
    assert request.header("Authorization") == "Bearer no-key-required"


def test_a_question_may_come_from_a_pipe(configured: Clm) -> None:
    done = configured.run("chat", AGENT, "--once", "-", stdin="two\nlines")
    assert done.stdout == 'stand-in model: I read "two\nlines"\n'


def test_without_a_terminal_a_conversation_is_refused(configured: Clm) -> None:
    assert "--once" in configured.run("chat", AGENT, exit=2).stderr


def said(request: Request) -> list[tuple[str, str]]:
    """The conversation that a request carries, without the daemon's own instructions."""
    return [(m["role"], m["content"]) for m in request.messages if m["role"] != "system"]


def test_a_conversation_remembers_until_it_is_told_to_forget(configured: Clm, model: StandInModel) -> None:
    with configured.terminal("chat", AGENT) as terminal:
        terminal.expect(f"Talking to {AGENT}.")
        for text in ("one", "two", "/reset", "three"):
            terminal.expect("you> ")
            terminal.type(f"{text}\n")
            terminal.expect("Forgotten:" if text == "/reset" else f'stand-in model: I read "{text}"')
        terminal.expect("you> ")
        terminal.type("/what\n")
        terminal.expect("There is no /what.")
        terminal.expect("you> ")
        terminal.type("/exit\n")
        assert terminal.end() == 0
    first, second, third = model.chats
    assert said(first) == [("user", "one")]
    assert said(second) == [("user", "one"), ("assistant", 'stand-in model: I read "one"'), ("user", "two")]
    assert said(third) == [("user", "three")]


def test_a_conversation_ends_with_ctrl_d(configured: Clm) -> None:
    with configured.terminal("chat", AGENT) as terminal:
        terminal.expect("you> ")
        terminal.type("\x04")
        assert terminal.end() == 0


def test_an_answer_can_be_given_up_and_the_conversation_goes_on(configured: Clm, model: StandInModel) -> None:
    with configured.terminal("chat", AGENT) as terminal:
        model.hang(30, times=1)
        # The first request after a start may be a question about the model; the chat is what hangs.
        terminal.expect("you> ")
        terminal.type("slow\n")
        assert wait_until(lambda: bool(model.chats), seconds=90)
        terminal.type("\x03")
        terminal.expect("(given up;")
        terminal.expect("you> ")
        terminal.type("quick\n")
        terminal.expect('quick"')
        terminal.type("/exit\n")
        assert terminal.end() == 0
    # Whether Hermes keeps a question that was given up depends on the moment; then it asks both as one.
    assert said(model.chats[-1])[-1] in [("user", "quick"), ("user", "slow\n\nquick")]


def test_text_from_the_model_cannot_steer_the_terminal(configured: Clm, model: StandInModel) -> None:
    model.reply(Reply("safe\x1b[31m red \x1b]0;title\x07 \u202egnp"))
    done = configured.run("chat", AGENT, "--once", "hi")
    assert "safe" in done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)


# Providers


def test_a_changed_model_restarts_the_agent_once(changing: Clm, host: Machine, model: StandInModel) -> None:
    before = unit(host, AGENT)
    done = changing.configure(AGENT, "--model", "another-model")
    assert f"Agent {AGENT} is configured, runs and answers." in done.stdout
    after = unit(host, AGENT)
    assert after["MainPID"] != before["MainPID"]
    assert starts_since(host, before["InvocationID"]) == 1
    assert after["NRestarts"] == "0"
    assert {request.body["model"] for request in model.chats} == {"another-model"}


def test_a_provider_with_a_key_is_paid_with_it_and_nobody_else(
    changing: Clm, host: Machine, model: StandInModel
) -> None:
    key = "sk-of-a-customer-4711"
    if "keyed" not in [provider["name"] for provider in changing.json("provider", "list")]:
        changing.add_provider(model, "keyed", "big-model", key=key)
    model.require_key(key)
    before = unit(host, AGENT)["InvocationID"]
    changing.configure(AGENT, "--provider", "keyed")
    assert starts_since(host, before) == 1
    assert [(request.body["model"], request.header("Authorization")) for request in model.chats] == [
        ("big-model", f"Bearer {key}")
    ]
    assert key in host.ssh("cat", f"{HOME}/.hermes/.env").stdout
    assert key not in host.ssh("cat", f"{HOME}/.hermes/config.yaml").stdout

    model.reset()
    before = unit(host, AGENT)["InvocationID"]
    changing.configure(AGENT, "--provider", "local")
    assert starts_since(host, before) == 1
    assert [(request.body["model"], request.header("Authorization")) for request in model.chats] == [
        (MODEL, "Bearer no-key-required")
    ]
    assert host.ssh("grep", "-rlF", key, HOME, check=False).stdout == "", "the old key is gone"


def test_a_wrong_key_is_noticed_and_named_each_time(changing: Clm, model: StandInModel) -> None:
    changing.add_provider(model, "unpaid", key="sk-expired-0815")
    model.require_key("sk-another")
    for _ in range(2):
        done = changing.configure(AGENT, "--provider", "unpaid", exit=7)
        assert "its model does not answer" in done.stderr
        assert "wrong or missing API key" in done.stderr
        assert "sk-expired" not in done.output
    assert "onboarding incomplete (state=validate)" in changing.run("agent", "start", AGENT, exit=3).stderr
    assert "wrong or missing API key" in changing.run("chat", AGENT, "--once", "hi", exit=7).stderr
    status = changing.status(AGENT, exit=7)
    assert (status["state"], status["healthy"]) == ("degraded", True), "it runs, but not as if all were well"
    assert "its provider refuses the key (HTTP 401)" in status["why"]


def starts_since(host: Machine, invocation: str) -> int:
    """How often the agent was started after a certain start."""
    lines = host.ssh(
        "journalctl --sync; journalctl --quiet --output=json --output-fields=INVOCATION_ID,MESSAGE "
        f"--unit {SERVICE} | grep -F 'Started {SERVICE}'"
    ).stdout.splitlines()
    [start] = [number for number, line in enumerate(lines) if invocation in line]
    return len(lines) - start - 1


# Running


def test_logs_are_shown_without_what_they_must_not_show(configured: Clm, host: Machine) -> None:
    leak = f"/etc/systemd/system/{SERVICE}.d/leak.conf"
    host.ssh(f"mkdir -p $(dirname {leak}) && cat >{leak} && systemctl daemon-reload", input=(
        f"[Service]\nExecStartPre=/bin/cat {HOME}/.hermes/.env\n"
    ))  # fmt: skip
    configured.run("agent", "restart", AGENT)
    host.ssh(f"rm -r $(dirname {leak}) && systemctl daemon-reload")
    key = configured.key(AGENT)
    assert key in host.ssh("journalctl", "--unit", SERVICE).stdout, "the journal has it indeed"
    shown = configured.run("agent", "logs", AGENT).output
    assert "API_SERVER_KEY=********" in shown
    assert key not in shown
    assert len(configured.run("agent", "logs", AGENT, "--lines", "3").stdout.splitlines()) == 3
    assert configured.run("agent", "logs", AGENT, "--since", "now").stdout == ""


def test_logs_can_be_followed(configured: Clm) -> None:
    with configured.terminal("agent", "logs", AGENT, "--follow", "--lines", "1") as terminal:
        assert wait_until(lambda: bool(terminal.expect("\n")), seconds=90)
        configured.run("agent", "restart", AGENT)
        terminal.expect(f"Started {SERVICE}")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


def test_stop_keeps_everything_and_start_brings_it_back(configured: Clm, host: Machine) -> None:
    before = stat(host, *FILES)
    assert f"Agent {AGENT} stopped." in configured.run("agent", "stop", AGENT).stdout
    shown = unit(host, AGENT)
    assert (shown["ActiveState"], shown["SubState"], shown["UnitFileState"]) == ("inactive", "dead", "disabled")
    assert "nothing to do" in configured.run("agent", "stop", AGENT).stdout
    assert configured.status(AGENT)["state"] == "stopped"
    stopped = configured.run("chat", AGENT, "--once", "hi", exit=7)
    assert stopped.stderr == f"Error: Agent {HOST}:hermes:{AGENT} is stopped\n  clm agent start {AGENT}\n"

    assert f"Agent {AGENT} started." in configured.run("agent", "start", AGENT).stdout
    pid = main_pid(host, AGENT)
    assert unit(host, AGENT)["UnitFileState"] == "enabled"
    assert stat(host, *FILES) == before
    assert "nothing to do" in configured.run("agent", "start", AGENT).stdout
    assert main_pid(host, AGENT) == pid


def test_restart_is_one_restart_that_is_proven(configured: Clm, host: Machine) -> None:
    before = unit(host, AGENT)["InvocationID"]
    assert configured.run("agent", "restart", AGENT).stdout == f"Agent {AGENT} restarted.\n"
    assert starts_since(host, before) == 1
    assert configured.status(AGENT)["state"] == "running"
    assert configured.configure(AGENT).stderr == ""


def test_an_agent_comes_back_with_its_host(configured: Clm, host: Machine) -> None:
    host.stop()
    host.start()
    assert wait_until(lambda: configured.status(AGENT, exit=None)["state"] == "running", seconds=90, pause=0.3)
    assert configured.configure(AGENT).stdout == f"Agent {AGENT} runs as configured; nothing to do.\n"
    assert "I read" in configured.run("chat", AGENT, "--once", "hi").stdout


def test_what_was_changed_on_the_host_is_seen_and_brought_back(configured: Clm, host: Machine) -> None:
    host.ssh(f"echo 'EXTRA=1' >>{HOME}/.hermes/.env; chmod 644 {HOME}/.hermes/.env")
    assert configured.status(AGENT)["drift"] == [".env"]
    assert "drifted: .env" in configured.run("ps").stdout
    # A start leaves files as they are, and says what others can read.
    started = configured.run("agent", "start", AGENT)
    assert ".env (mode 644" in started.stderr
    assert f"clm agent configure wolf-i/{AGENT}" in started.stderr
    configured.configure(AGENT)
    assert configured.status(AGENT)["drift"] == []
    assert host.ssh("stat", "--format=%a", f"{HOME}/.hermes/.env").stdout == "600\n"


def test_nothing_of_ours_is_left_lying_about(configured: Clm, host: Machine) -> None:
    assert "pyinfra" not in host.ssh("ls -A /tmp /var/tmp /root /home/admin").stdout
    # What is there is the record of which leaves of config.yaml are ours; no note of something that is owed.
    assert host.ssh("ls -A /var/lib/pyinfra-hermes").stdout.split() == [f"{AGENT}.leaves", f"{AGENT}.receipts"]
    assert list(configured.temporary.iterdir()) == []
