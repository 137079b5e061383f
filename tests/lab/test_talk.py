"""Talking to an agent: answers that fail, tunnels for other programs, journals that go on, commands beside it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from tests.lab.clm import Terminal, built_release, logins
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person
from tests.lab.process import wait_until
from tests.lab.protocol import Reply
from tests.lab.tunnels import entrance, models, ssh_of

UNIT = "hermes-eve.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/files.conf"
MEGABYTES = 100

#: What the openai client is asked to do; it takes address and key from the variables that it knows.
_OPENAI = """
import sys
sys.path.insert(0, sys.argv[1])
from openai import OpenAI
client = OpenAI()
ask = [{"role": "user", "content": "from openai"}]
print(client.models.list().data[0].id)
print(client.chat.completions.create(model="hermes-agent", messages=ask).choices[0].message.content)
chunks = client.chat.completions.create(model="hermes-agent", messages=ask, stream=True)
print("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who has nothing yet."""
    return Person(tmp_path_factory.mktemp("person"))


@pytest.fixture(scope="module")
def eve(person: Person, hosts: Callable[..., list[Machine]], lab: Lab, _model_server: StandInModel) -> Machine:
    """A host on which the agent eve runs; it asks its model once, so that failures are told soon."""
    (host,) = hosts(1, layer=built_release(lab))
    person.add_host(host, "box")
    person.add_provider(_model_server)
    person.install("eve", "box")
    host.ssh("printf 'agent:\\n  api_max_retries: 1\\n' >>/home/eve/.hermes/config.yaml")
    person.configure("eve", "--provider", "local")
    return host


@pytest.fixture
def one_connection(eve: Machine) -> Iterator[None]:
    """Fail when a test's command connects more than once."""
    before = logins(eve)
    yield
    assert logins(eve) - before == 1


# -- conversations -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_connection")
def test_one_question_as_an_object_for_a_program(person: Person, model: StandInModel) -> None:
    answer = json.loads(person.clm("chat", "eve", "-o", "json", "--system", "Be brief.", stdin="from a pipe").out)
    assert answer["text"] == 'stand-in model: I read "from a pipe"'
    assert (answer["finish_reason"], answer["model"]) == ("stop", "hermes-agent")
    assert re.fullmatch(r"clm-[0-9]{8}-[0-9a-f]{8}", answer["session"])
    assert answer["usage"]["completion_tokens"] > 0
    assert "Be brief." in str([m["content"] for m in model.chats[-1].messages if m["role"] == "system"])


def test_a_session_goes_on_in_another_process(person: Person, eve: Machine, model: StandInModel) -> None:
    asked = ("chat", "eve", "-o", "json", "--session", "test-1")
    person.clm(*asked, "first")
    answer = json.loads(person.clm(*asked, "second").out)
    assert answer["session"] == "test-1"
    said = [m["content"] for m in model.chats[-1].messages if m["role"] != "system"]
    assert said == ["first", 'stand-in model: I read "first"', "second"]
    for wrong in ("../x", "a b", "-x", "x" * 129, ""):
        person.clm("chat", "eve", f"--session={wrong}", "q", code=Exit.USAGE).has("must be 1 to 128 letters")


@pytest.mark.parametrize(
    ("reply", "out", "words"),
    [
        (
            Reply("one two three four five", cut_after=4),
            "one two three\n",
            ("broke the answer off", "Streaming failed"),
        ),
        (Reply(""), "", ("its model does not answer", "no content")),
        (500, "", ("its model does not answer", "told to fail with 500", "clm agent logs eve")),
    ],
    ids=["it hangs up in the middle", "it says nothing", "it fails"],
)
@pytest.mark.usefixtures("one_connection")
def test_an_answer_that_does_not_come_is_told_with_its_reason(
    person: Person, model: StandInModel, reply: Reply | int, out: str, words: tuple[str, ...]
) -> None:
    # Hermes 0.13 ends such a stream like any other.
    if isinstance(reply, Reply):
        model.reply(reply)
    else:
        model.fail(reply)
    said = person.clm("chat", "eve", "question", code=Exit.UNHEALTHY).has(*words)
    assert said.out == out, "what came is kept"


@pytest.mark.usefixtures("one_connection")
def test_a_model_that_is_silent_is_given_up_in_time(person: Person, model: StandInModel) -> None:
    model.hang(30, times=1)
    said = person.clm("chat", "eve", "-o", "json", "--timeout", "2", "question", code=Exit.UNHEALTHY)
    said.has("gave no sign of work for 2 s", "--timeout")
    assert json.loads(said.out)["finish_reason"] == "error"


def test_what_a_model_says_cannot_steer_the_terminal_however_it_is_split(person: Person, model: StandInModel) -> None:
    # It is streamed word by word: the sequence for the title comes in three pieces.
    model.reply(Reply("# Safe\n\n\x1b]0;a new title\x07**bold** \x1b[31mred\x1b[0m \u202egnp"))
    with Terminal(person.command("chat", "eve", "question"), person.environment) as terminal:
        assert terminal.end() == Exit.DONE
        for word in ("Safe", "bold red", "gnp"):
            assert word in terminal.text
        for steering in ("**", "title", "\u202e", "[31m"):
            assert steering not in terminal.text
    assert person.clm("chat", "eve", "question").out == "# Safe\n\n**bold** red gnp\n"


@pytest.mark.usefixtures("eve")
def test_a_conversation_at_a_terminal(person: Person, model: StandInModel) -> None:
    model.queue(Reply(" ".join(["slow"] * 60), pause=0.3))
    with person.terminal("chat", "eve") as terminal:
        terminal.expect("you> ")
        terminal.type("lengthy\n")
        terminal.expect("slow slow")
        terminal.type("\x03")
        terminal.expect("(given up")
        terminal.expect("you> ")
        terminal.type('"""\nline one\nline two\n"""\n')
        terminal.expect("line two")
        terminal.expect("you> ")
        os.kill(ssh_of(terminal), signal.SIGKILL)
        terminal.type("after the cut\n")
        terminal.expect("after the cut")
        # A question that was given up may stay in the session; then the daemon puts the next behind it.
        terminal.expect('after the cut"')
        terminal.expect("you> ")
        terminal.type("\x03")
        session = terminal.expect("--session clm-")
        assert terminal.end() == Exit.INTERRUPTED
    assert "Go on with: clm chat eve" in session
    roles = [m["role"] for m in model.chats[-1].messages if m["role"] != "system"]
    assert roles[-1] == "user" and "assistant" in roles, "the agent kept what was said before the cut"


def test_an_answer_that_is_cut_off_by_the_link_is_kept(person: Person, eve: Machine, model: StandInModel) -> None:
    model.reply(Reply(" ".join(["slow"] * 100), pause=0.1))
    with person.terminal("chat", "eve", "question", "--plain") as terminal:
        terminal.expect("slow slow")
        os.kill(ssh_of(terminal), signal.SIGKILL)
        terminal.expect("is out of reach: the connection to box was lost in the middle of its answer")
        assert terminal.end() == Exit.UNREACHABLE


# -- tunnels, and journals meanwhile --------------------------------------------------------------------------------


@pytest.mark.usefixtures("model")
def test_a_tunnel_for_other_programs(person: Person, eve: Machine, lab: Lab) -> None:
    with (
        person.terminal("agent", "tunnel", "eve") as tunnel,
        person.terminal("agent", "logs", "eve", "-f", "-n1") as log,
    ):
        port, path = entrance(tunnel)
        key = person.key("eve", "box")
        assert key not in tunnel.text
        variables = dict(re.findall(r"export (\w+)=(\S+)", person.clm("agent", "env", "eve").out))
        assert variables == {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": key}
        (packages,) = built_release(lab).glob("opt/pyinfra-hermes/releases/*/venv/lib/python3*/site-packages")
        client = subprocess.run(
            [sys.executable, "-c", _OPENAI, str(packages)], env={**person.environment, **variables},
            capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        answer = 'stand-in model: I read "from openai"'
        assert client.stdout.splitlines() == ["hermes-agent", answer, answer], client.stderr
        assert json.loads(models(key, "--unix-socket", str(path)))["data"][0]["id"] == "hermes-agent"
        assert "Invalid API key" in models("0" * 64, "--unix-socket", str(path))

        with person.terminal("agent", "tunnel", "eve") as second:
            other, beside = entrance(second)
            assert (other, beside.name) == (port + 1, "box-eve-2.sock")
            assert "Another tunnel to eve is open" in second.text
            assert "hermes-agent" in models(key, port=other)
            second.type("\x03")
            assert second.end() == Exit.DONE
        assert not beside.exists()

        log.expect("\n")
        for one in (tunnel, log):
            os.kill(ssh_of(one), signal.SIGKILL)
        tunnel.expect("down: the connection to box was lost")
        # The port stays ours meanwhile, and the client waits.
        assert "hermes-agent" in models(key, port=port)
        tunnel.expect("up again")
        log.expect("box is back")

        eve.ssh(f"mkdir -p $(dirname {DROP_IN}) && cat >{DROP_IN} && systemctl daemon-reload", input=(
            "[Service]\nExecStart=\nExecStart=/usr/bin/python3 -u -m http.server --bind 127.0.0.1 -d /srv 8642\n"
        ))  # fmt: skip
        made = eve.ssh(f"head -c {MEGABYTES}M /dev/urandom | tee /srv/big | sha256sum; systemctl restart {UNIT}").stdout
        try:
            assert wait_until(lambda: b"big" in fetched(path, "/"), seconds=60, pause=0.5)
            big = subprocess.Popen(
                ["curl", "-sS", "--unix-socket", path, "http://localhost/big"], stdout=subprocess.PIPE
            )
            here = subprocess.run(["sha256sum"], stdin=big.stdout, capture_output=True, text=True, timeout=90).stdout
            assert (big.wait(), here) == (0, made)
        finally:
            eve.ssh(f"rm -r $(dirname {DROP_IN}) /srv/big; systemctl daemon-reload; systemctl restart {UNIT}")
        # The journal told of both starts, each once, though its connection was cut before.
        log.expect('"GET /big HTTP/1.1" 200')
        log.expect(f"Started {UNIT}")
        log.type("\x03")
        assert log.end() == Exit.DONE
        assert log.text.count(f"Started {UNIT}") == 2
        tunnel.type("\x03")
        assert tunnel.end() == Exit.DONE
    assert not path.exists()


def test_a_stale_socket_is_replaced_and_what_is_in_use_refused(person: Person, eve: Machine, tmp_path: Path) -> None:
    path = tmp_path / "eve.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with person.terminal("agent", "tunnel", "eve", "--socket", str(path)) as tunnel:
        tunnel.expect("  up")
        assert "127.0.0.1" not in tunnel.text, "a socket alone was asked for"
        assert "hermes-agent" in models(person.key("eve", "box"), "--unix-socket", str(path))
        before = logins(eve)
        person.clm("agent", "tunnel", "eve", "--socket", str(path), code=Exit.REFUSED).has("in use", "--socket")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            person.clm("agent", "tunnel", "eve", "--port", port, code=Exit.REFUSED).has(port, "in use", "--port")
        assert logins(eve) == before, "that is known without the host"


def test_journals_for_people_and_programs(person: Person, eve: Machine) -> None:
    entries = [
        json.loads(line) for line in person.clm("agent", "logs", "eve", "-n", "3", "-o", "json").out.splitlines()
    ]
    assert [entry["agent"] for entry in entries] == ["eve"] * 3
    assert person.clm("agent", "logs", "eve", "-n", "1", "--grep", "Started|Nothing").out.count("Started") == 1
    person.clm("agent", "logs", "eve", "--grep", "(", code=Exit.FAILED).has("Bad pattern")
    assert "POST /v1/chat/completions" in person.clm("agent", "logs", "eve", "--file", "agent", "-n", "2000").out
    before = logins(eve)
    for when in ("soon", "9999-12-31", "2 days hence"):
        person.clm("agent", "logs", "eve", "--since", when, code=Exit.USAGE).has("--since")
    assert logins(eve) == before
    # Nothing more is written: that nobody reads it any more is noticed all the same.
    head = " ".join(["set -o pipefail;", *person.command("agent", "logs", "eve", "-f", "-n", "1"), "| head -n 1"])
    done = subprocess.run(["bash", "-c", head], env=person.environment, capture_output=True, text=True, timeout=90)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 1, "")
    assert wait_until(lambda: eve.ssh("pgrep -x journalctl", check=False).stdout == "", seconds=30)


# -- commands beside it ------------------------------------------------------------------------------------------

AWKWARD = ["a b", "$HOME ${HOME} $$", "%n%%", "it's", "", '"q"', "\\n", "line\nbreak", "--", "-x", "*", "\u00fc"]


@pytest.mark.usefixtures("one_connection")
def test_a_command_gets_its_arguments_and_input_as_they_are_and_gives_its_status_back(person: Person) -> None:
    script = 'cat; printf "[%s]" "$@"; exit 42'
    said = person.clm("agent", "exec", "eve", "--", "sh", "-c", script, "sh", *AWKWARD, stdin="input\n", code=None)
    assert (said.out, said.code) == ("input\n" + "".join(f"[{word}]" for word in AWKWARD), 42)


def test_a_command_is_the_agents_own_within_its_sandbox(person: Person, eve: Machine) -> None:
    look = "id -un; pwd; command -v hermes; env; touch /etc/x || ls /home; touch /tmp/beside; kill -9 $$"
    said = person.clm("agent", "exec", "eve", "sh", "-c", look, code=128 + signal.SIGKILL)
    assert said.out.splitlines()[:2] == ["eve", "/home/eve"]
    assert said.out.splitlines()[-1] == "eve", "of other homes nothing is to be seen"
    said.has("/venv/bin/hermes\n", "HERMES_HOME=/home/eve/.hermes\n", "Read-only file system")
    said.lacks("API_SERVER", person.key("eve", "box"))
    assert eve.ssh(f"ls /proc/$(systemctl show -P MainPID {UNIT})/root/tmp").stdout == "beside\n", "its /tmp, too"
    person.clm("agent", "exec", "eve", "--", "no-such-command", code=127)
    person.clm("agent", "exec", "eve", "--", "sh", "-c", "exit 255", code=255).lacks("Error")


def test_a_command_ends_with_its_connection(person: Person, eve: Machine) -> None:
    def units() -> str:
        return eve.ssh("systemctl list-units --plain --no-legend 'clm-exec-*'").stdout

    with person.terminal("agent", "exec", "eve", "--", "sh", "-c", "echo begun; sleep 600") as terminal:
        terminal.expect("begun")
        assert "clm-exec-eve-" in units()
        terminal.type("\x03")
        assert terminal.end() == Exit.INTERRUPTED
    assert wait_until(lambda: units() == "", seconds=30)


def test_a_shell_at_the_terminal(person: Person, eve: Machine) -> None:
    person.clm("agent", "shell", "eve", code=Exit.USAGE).has("needs a terminal", "clm agent exec eve")
    with person.terminal("agent", "shell", "eve") as terminal:
        terminal.expect("eve@")
        terminal.type("tty; exit 7\n")
        terminal.expect("/dev/pts/")
        assert terminal.end() == 7


def test_a_host_that_forbids_forwards_is_told_of_as_such(person: Person, eve: Machine) -> None:
    # sshd takes the connection, closes what comes through it, and says nothing.
    eve.ssh("sed -i '1i AllowTcpForwarding no' /etc/ssh/sshd_config; systemctl restart ssh")
    try:
        said = person.clm("agent", "tunnel", "eve", code=Exit.UNREACHABLE)
        said.has("box does not pass connections on to agent eve", "AllowTcpForwarding local")
    finally:
        eve.ssh("sed -i 1d /etc/ssh/sshd_config; systemctl restart ssh")


def test_who_is_not_there_is_told_before_or_by_the_host(person: Person, eve: Machine) -> None:
    eve.ssh(f"mv /etc/systemd/system/{UNIT} /root/")
    try:
        person.clm("agent", "exec", "eve", "--", "true", code=125).has("there is no agent eve on box")
    finally:
        eve.ssh(f"mv /root/{UNIT} /etc/systemd/system/")
    eve.ssh(f"systemctl stop {UNIT}")
    for command in (("chat", "eve", "q"), ("agent", "tunnel", "eve")):
        person.clm(*command, code=Exit.UNHEALTHY).has("Agent box:hermes:eve is stopped", "clm agent start eve")


def fetched(path: Path, what: str) -> bytes:
    with contextlib.suppress(subprocess.TimeoutExpired):
        command = ["curl", "-s", "--unix-socket", str(path), f"http://localhost{what}"]
        return subprocess.run(command, capture_output=True, timeout=60).stdout
    return b""
