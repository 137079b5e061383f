"""The scripts of this room, run by a real shell on this machine, asking about names that it does not have."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import resources
from pathlib import Path

import pytest

from pyinfra_hermes.deploys.model import layout
from pyinfra_hermes.facts import script
from pyinfra_hermes.facts.observation import AgentState, CutOff, Observation, PathState, parse

ABSENT = ("hermes-test-absent", "hermes-test-gone")
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
WHOLE = {
    "host": script.observe_host(),
    "agents": script.observe_agents(),
    "named agents": script.observe_agents(ABSENT),
    "start": script.await_start("maurice", 8642, 6),
    "journal": script.journal_functions(),
    "memories": script.memories_of("maurice"),
    "sessions": script.sessions_of("maurice", '{"do": "list"}', 30, 1 << 20),
}
PACKAGED = [
    path
    for room in ("facts", "operations")
    for path in resources.files(f"pyinfra_hermes.{room}").iterdir()
    if path.name.endswith((".sh", ".py.txt"))
]
needs_linux = pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="the scripts are for Linux")


def run(text: str, *arguments: str, shell: str = "sh", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shell, "-c", text, "sh", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_script_is_grammatical(shell: str, name: str) -> None:
    result = subprocess.run([shell, "-n"], input=WHOLE[name], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
def test_a_packaged_script_is_grammatical(path: Path) -> None:
    text = path.read_text()
    if path.name.endswith(".py.txt"):
        compile(text, path.name, "exec")
        return
    result = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("path", [p for p in PACKAGED if p.name.endswith(".sh")], ids=lambda path: path.name)
def test_a_shell_script_is_posix(path: Path) -> None:
    # What dash accepts and does not mean, or what only bash knows.
    text = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
    for bashism in (
        r"\[\[",
        r"\bfunction ",
        r"\blocal ",
        r"<<<",
        r"\$'",
        r"\becho -[en]",
        r" == ",
        r"&>",
        r"\bsource ",
    ):
        found = re.search(bashism, text)
        # awk's == is not the shell's.
        assert found is None or (bashism == " == " and "awk" in text), found


@needs_linux
@pytest.mark.parametrize("shell", SHELLS)
def test_this_machine_can_be_observed(shell: str) -> None:
    result = run(script.observe_agents(ABSENT), shell=shell)
    observed = parse(result.stdout.split("\n"))
    assert observed.host.uid == os.getuid()
    assert observed.host.arch == os.uname().machine
    assert observed.host.memory_mib > 100
    assert observed.host.tools["getent"]
    assert observed.host.free_mib["/"] >= 0
    for name in ABSENT:
        assert observed.agent(name) == AgentState(name)
        assert name in observed.agents


@needs_linux
def test_the_host_alone_can_be_observed() -> None:
    observed = parse(run(script.observe_host()).stdout.split("\n"))
    assert observed.agents == {}
    assert observed.host.os


@needs_linux
def test_a_name_that_is_none_is_not_looked_at() -> None:
    observed = parse(
        run(script.observe_agents(("../etc", "Root", "-x", "a b", "$(id)", "'", "a" * 33))).stdout.split("\n")
    )
    assert observed.agents == {}


def test_an_observation_repeats_no_argument_twice_and_keeps_its_order() -> None:
    assert script.observe_agents(["b", "a", "b"]) == script.observe_agents(["a", "b"])


@needs_linux
def test_a_start_of_what_does_not_exist_fails_at_once() -> None:
    if not shutil.which("systemctl") or not Path("/run/systemd/system").exists():
        pytest.skip("systemd does not run this machine")
    line = run(script.await_start(ABSENT[0], 65000, 5)).stdout.splitlines()[0]
    assert line == f"failed the unit hermes-{ABSENT[0]}.service does not exist"


def describe(path: Path) -> str:
    source = resources.files("pyinfra_hermes.facts").joinpath("describe.sh").read_text()
    return run(f'{source}describe key "$1"', str(path)).stdout


def described(path: Path) -> PathState:
    # The observation around it comes from this machine.
    lines = run(script.observe_host()).stdout.splitlines()
    return parse([*lines[:-1], "agent x", *describe(path).splitlines(), "end"]).agent("x").paths["key"]


@needs_linux
def test_paths_are_described_and_devices_are_not_opened(tmp_path: Path) -> None:
    file, link, fifo = tmp_path / "a file", tmp_path / "link", tmp_path / "fifo"
    file.write_bytes(b"content|with\nlines")
    file.chmod(0o640)
    link.symlink_to("/some where")
    os.mkfifo(fifo)
    found = described(file)
    assert found.is_file(b"content|with\nlines", "640", found.owner)
    assert described(link).detail == "/some where"
    assert described(fifo).kind == "fifo"
    assert described(fifo).detail is None
    assert described(tmp_path).kind == "directory"
    assert describe(tmp_path / "absent") == ""
    file.write_bytes(b"")
    file.chmod(0o600)
    assert described(file).is_file(b"", "600", found.owner)


def test_both_rooms_mean_the_same_account_header_and_folder() -> None:
    assert script.ACCOUNT_COMMENT == layout.ACCOUNT_COMMENT
    assert script.UNIT_HEADER == layout.UNIT_HEADER
    assert script.RELEASES == layout.RELEASES
    assert script.TOOLS == layout.TOOLS


def test_a_script_travels_without_its_comments() -> None:
    assert not re.search(r"(?m)^\s*#", script.observe_host())
    # One argument of a process may have 128 KiB; everything of pyinfra's is in it too.
    assert len(script.observe_agents(["a" * 32] * 20)) < 30_000


@needs_linux
def test_what_an_agent_plants_is_told_of_the_agent_only(tmp_path: Path) -> None:
    # The script itself, on an account that only this shell knows, with the rights of whoever runs the tests.
    home = tmp_path / "home"
    (home / ".hermes").mkdir(parents=True, mode=0o700)
    (home / ".hermes" / "code").symlink_to(
        "x\nagent root\naccount root:x:0:0:Hermes agent (pyinfra-hermes):/:/\nhost uid 7\nend"
    )
    odd = b"y\xff\x0cagent ftp\xe2\x80\xa8agent irc\x85agent news"
    (home / ".hermes" / "SOUL.md").symlink_to(os.fsdecode(odd))
    (home / ".hermes" / ".env").write_text(f"API_SERVER_PORT=8642\nAPI_SERVER_KEY={'0f' * 32}\n")
    stand_ins = f"""
    getent() {{ echo 'maurice:x:12345:12345:{script.ACCOUNT_COMMENT}:{home}:/bin/sh'; }}
    setpriv() {{ while [ "$1" != sh ]; do shift; done; "$@"; }}
    timeout() {{ shift 3; "$@"; }}
    pgrep() {{ :; }}
    """
    result = run(stand_ins + script.observe_agents(("maurice",)))
    observed = parse(result.stdout.splitlines())
    agent = observed.agent("maurice")
    assert list(observed.agents) == ["maurice"]
    assert observed.host.uid == os.getuid()
    assert agent.ours
    assert agent.paths["code"].detail == "x"
    assert agent.paths["soul"].detail == "y??agent ftp???agent irc?agent news"
    assert (agent.env_port, agent.env_key_valid, agent.paths["hermes"].kind) == (8642, True, "directory")
    assert "0f0f" not in result.stdout


@needs_linux
@pytest.mark.parametrize(
    ("sockets", "told"),
    [
        ('127.0.0.1:8642 0.0.0.0:* users:(("hermes",pid=916,fd=18))', ["127.0.0.1 8642 916"]),
        ("[::]:22 [::]:*", ["[::] 22 0"]),
        # The last one of several; what processes are called is up to them.
        ('*:80 *:* users:(("nginx",pid=7,fd=6),("nginx",pid=6,fd=6))', ["* 80 6"]),
        ('127.0.0.1:8642 0.0.0.0:* users:((",pid=916,fd=1",pid=55,fd=3))', ["127.0.0.1 8642 55"]),
        ('127.0.0.1:1 0.0.0.0:* users:(("x\nLISTEN 0 0 *:2",pid=55,fd=3))', ["127.0.0.1 1 0"]),
        ('127.0.0.1:1 0.0.0.0:* users:(("\nLISTEN a b :8 ",pid=55,fd=3))', ["127.0.0.1 1 0"]),
        ('127.0.0.1:1 0.0.0.0:* users:(("\nLISTEN 1 2 :8 ",pid=55,fd=3))', ["127.0.0.1 1 0"]),
        # A line that ends in a name, or in the middle of several: as ss(8) of a host printed them.
        ('127.0.0.1:1 0.0.0.0:* users:((" ,pid=916,\n",pid=55,fd=3))', ["127.0.0.1 1 0"]),
        (
            '127.0.0.1:1 0.0.0.0:* users:(("\n LISTEN ",pid=55,fd=3),(" x :8600 ",pid=56,fd=3),'
            '(" ,pid=916,\n",pid=57,fd=3))',
            ["127.0.0.1 1 0"],
        ),
        (
            '127.0.0.1:1 0.0.0.0:* users:(("\n LISTEN ",pid=55,fd=3),("0 0 x:8600 y ",pid=56,fd=3))',
            ["127.0.0.1 1 0"],
        ),
    ],
)
def test_a_listener_is_whose_it_is_whatever_its_process_is_called(sockets: str, told: list[str]) -> None:
    stand_in = f"ss() {{ printf '%s\\n' {shlex.quote(f'LISTEN 0      128    {sockets}')}; }}\n"
    result = run(stand_in + script.observe_agents())
    assert [line for line in result.stdout.splitlines() if line.startswith("listener")] == [
        f"listener {each}" for each in told
    ]
    assert len(parse(result.stdout.splitlines()).listeners) == len(told)


def observe(folder: Path, sockets: str, *, shell: str = "sh", thorough: bool = False, before: str = "") -> Observation:
    """Observe two agents that only this script knows of: their accounts, their units, and what runs of them."""
    units = folder / "units"
    units.mkdir(exist_ok=True)
    for name in ("agnes", "maurice"):
        (folder / name / ".hermes").mkdir(parents=True, exist_ok=True)
        start = f"ExecStart=/bin/sh -c 'x y' hermes /opt/{name}/venv/bin/hermes gateway run"
        (units / f"hermes-{name}.service").write_text(f"{script.UNIT_HEADER}\n{start}\nUser={name}\n")
    accounts = [
        f"{name}:x:{uid}:{uid}:{script.ACCOUNT_COMMENT}:{folder}/{name}:/x"
        for name, uid in (("agnes", 1), ("maurice", 2))
    ]
    (folder / "passwd").write_text("\n".join(["root:x:0:0:root:/root:/bin/sh", *accounts, ""]))
    shown = "\n\n".join(
        f"MainPID={pid}\nId=hermes-{name}.service\nActiveState=active"
        for name, pid in (("agnes", 916), ("maurice", 91))
    )
    stand_ins = f"""
    ss() {{
        case $1 in
            *p) printf '%s\\n' {shlex.quote(sockets)} ;;
            *) printf 'LISTEN 0 128 127.0.0.1:%s 0.0.0.0:* uid:1 ino:%s sk:3\\n' 22 7 8642 4711 8643 4712 ;;
        esac
    }}
    readlink() {{
        case $2$1 in /proc/916/*) printf '%s\\n' /dev/null 'socket:[4711]' ;; *) command readlink "$@" ;; esac
    }}
    systemctl() {{ case $1 in show) printf '%s\\n' {shlex.quote(shown)} ;; esac; }}
    setpriv() {{ while [ "$1" != sh ]; do shift; done; "$@"; }}
    timeout() {{ shift 3; "$@"; }}
    pgrep() {{ echo 1; }}
    """
    text = script.observe_agents(thorough=thorough).replace("/etc/systemd/system", str(units))
    text = text.replace("/etc/passwd", str(folder / "passwd")).replace("/run/pyinfra-hermes", str(folder / "run" / "x"))
    result = run(stand_ins + before + text, shell=shell, TMPDIR=str(folder))
    return parse(result.stdout.split("\n"))


@needs_linux
@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("users", "listening"),
    [
        ('(("hermes",pid=916,fd=1))', 916),
        ('(("hermes",pid=916,fd=1),("child",pid=920,fd=1))', 916),
        ('(("hermes",pid=910,fd=1),("hermes",pid=916,fd=1))', 916),
        ('(("child",pid=920,fd=1))', None),
        ('((",pid=916,",pid=920,fd=1))', 916),
    ],
)
def test_an_agent_has_its_own_unit_and_the_port_that_its_daemon_holds(
    users: str, listening: int | None, shell: str, thorough: bool, tmp_path: Path
) -> None:
    observed = observe(tmp_path, f"LISTEN 0 128 127.0.0.1:8642 0.0.0.0:* users:{users}", shell=shell, thorough=thorough)
    agnes, maurice = observed.agent("agnes"), observed.agent("maurice")
    assert list(observed.agents) == ["agnes", "maurice"]
    assert [each.unit and each.unit.main_pid for each in (agnes, maurice)] == [916, 91]
    assert [each.runs for each in (agnes, maurice)] == ["agnes", "maurice"]
    # What is only called by the daemon's number does not count; what the daemon holds does, whatever others are called.
    assert (agnes.listening and agnes.listening.pid, maurice.listening) == (listening, None)
    assert all(each.ours and not each.cut and each.paths["unit"].mode == "644" for each in (agnes, maurice))
    assert [each.processes for each in (agnes, maurice)] == ([1, 1] if thorough else [0, 0])
    assert (observed.host.python is not None, bool(observed.host.tools)) == (thorough, thorough)


class _Listening(BaseHTTPRequestHandler):
    """An API that remembers whether somebody showed it a key."""

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@needs_linux
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl(1) is what asks an agent")
@pytest.mark.parametrize(
    ("address", "asked"), [("127.0.0.1", True), ("*", True), ("0.0.0.0", True), ("[::1]", False), ("127.0.0.2", False)]
)
def test_a_key_is_for_the_daemon_that_listens_where_it_is_sent(address: str, asked: bool, tmp_path: Path) -> None:
    # What answers on 127.0.0.1 may be another agent's when the daemon has the same port of another address.
    (tmp_path / "run").mkdir()
    (tmp_path / "agnes" / ".hermes").mkdir(parents=True)
    (tmp_path / "agnes" / ".hermes" / ".env").write_text(f"API_SERVER_KEY={'0f' * 32}\n")
    with HTTPServer(("127.0.0.1", 0), _Listening) as server:
        server.keys = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        users = 'users:(("hermes",pid=916,fd=1))'
        observed = observe(tmp_path, f"LISTEN 0 128 {address}:{server.server_port} 0.0.0.0:* {users}")
        server.shutdown()
        keys = server.keys  # type: ignore[attr-defined]
    assert keys == ([f"Bearer {'0f' * 32}"] * 3 if asked else [])
    assert bool(observed.agent("agnes").answers) is asked


@needs_linux
def test_where_run_cannot_be_written_to_nobody_can_guess_where_answers_are_gathered(tmp_path: Path) -> None:
    # In /tmp everybody could have made a link of the name of a file that root is about to write.
    seen = tmp_path / "seen"
    before = f"setpriv() {{ ls {tmp_path} >>{seen}; echo whole; }}\n"
    observed = observe(tmp_path, "", before=before)
    assert not any(observed.agent(name).cut for name in ("agnes", "maurice"))
    assert {line.count(".") for line in seen.read_text().splitlines() if line.startswith("tmp.")} == {1}
    assert not list(tmp_path.glob("tmp.*"))


@needs_linux
@pytest.mark.parametrize("signal", ["PIPE", "TERM"])
@pytest.mark.parametrize("shell", SHELLS)
def test_one_that_is_ended_leaves_no_answers_behind(shell: str, signal: str, tmp_path: Path) -> None:
    # As when whoever asked broke it off.
    (tmp_path / "run").mkdir()
    other = f"until [ -e {tmp_path}/run/x.$$.agnes ]; do sleep 0.01; done"
    before = f"setpriv() {{ case $* in *--reuid=2*) {other}; kill -{signal} $$ ;; esac; echo whole; }}\n"
    with pytest.raises(CutOff):
        observe(tmp_path, "", shell=shell, before=before)
    assert not list((tmp_path / "run").iterdir())


@needs_linux
def test_lines_that_say_nothing_do_not_fill_the_answer(tmp_path: Path) -> None:
    before = "setpriv() { yes '' | head -c 500000; echo whole; }\n"
    (tmp_path / "run").mkdir()
    observed = observe(tmp_path, "", before=before + f'sed() {{ command sed "$@" | tee -a {tmp_path}/said; }}\n')
    text = (tmp_path / "said").read_text().splitlines()
    assert text == ["own whole"] * 2
    assert not observed.agent("agnes").cut
