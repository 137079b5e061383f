"""Hosts on record without a connection: renamed, forgotten, tagged; and whose key is believed."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from pyinfra_hermes.cli import asking, hosts
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.ssh import configuration as ssh_configuration
from pyinfra_hermes.cli.ssh import keys, openssh
from pyinfra_hermes.cli.ssh.openssh import Login, LoginRefused, NotTrusted, connection_problem
from pyinfra_hermes.cli.state.known_hosts import HostKey, KnownHosts
from pyinfra_hermes.cli.state.records import Agent, Host, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

_KEY = "HERMES_API_SERVER_KEY"


def key(name: str) -> HostKey:
    kind = b"ssh-ed25519"
    return HostKey("ssh-ed25519", len(kind).to_bytes(4, "big") + kind + name.encode())


class Clm:
    """Runs `clm` with a state of its own, no terminal, and an ssh that connects to nothing."""

    def __init__(self, home: Path) -> None:
        tools = home / "bin"
        tools.mkdir()
        ssh = 'case " $* " in *" -G "*) exec /usr/bin/ssh -F none "$@" ;; esac'
        (tools / "ssh").write_text(f"#!/bin/sh\n{ssh}\necho connected >>{home}/connections\nexit 255\n")
        (tools / "ssh").chmod(0o755)
        self.connections = home / "connections"
        self.state = State.open(home / "clawrium", lock_wait=5)
        self._environment = {**os.environ, "XDG_CONFIG_HOME": str(home), "PATH": f"{tools}:{os.environ['PATH']}"}

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pyinfra_hermes.cli", *arguments]
        done = subprocess.run(command, input="", capture_output=True, text=True, env=self._environment, timeout=240)
        assert done.returncode == code, done.stderr
        return done

    def file(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.state.directory.path / name).read_text())
        return found


@pytest.fixture
def clm(tmp_path: Path) -> Clm:
    made = Clm(tmp_path)
    pair = keys.ensure(made.state, "wolf-i")
    with made.state.transaction() as tx:
        tx.hosts["first"] = Host(name="first", address="192.0.2.1", user="root")
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.10", user="clm", identity_file=str(pair.path))
        tx.hosts["last"] = Host(name="last", address="192.0.2.3", user="root", identity_file=str(pair.path))
        for name, port in (("maurice", 8642), ("agnes", 8643)):
            tx.hosts["wolf-i"].agents[name] = Agent(name=name, release="v2026.5.7", port=port, status="installed")
            tx.secrets.set(agent_scope("wolf-i", name), _KEY, Secret(f"{port}" * 16))
        tx.secrets.set("first:hermes:maurice", _KEY, Secret("ab" * 32))
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sentinel"))
    known = KnownHosts(made.state.directory)
    known.add("192.0.2.10", 22, [key("wolf")])
    known.add("192.0.2.1", 22, [key("first")])
    return made


def test_a_rename_moves_everything_and_nothing_else(clm: Clm) -> None:
    before_hosts, before_secrets = clm.file("hosts.json"), clm.file("secrets.json")
    done = clm("host", "rename", "wolf-i", "den")
    hosts_now, secrets_now = clm.file("hosts.json"), clm.file("secrets.json")
    folder = clm.state.directory.keys
    text = json.dumps(before_hosts).replace('"wolf-i"', '"den"').replace(f"{folder}/wolf-i/", f"{folder}/den/")
    assert hosts_now == json.loads(text)
    assert list(hosts_now["hosts"]) == ["first", "den", "last"]  # type: ignore[call-overload]
    assert secrets_now == json.loads(json.dumps(before_secrets).replace('"wolf-i:hermes:', '"den:hermes:'))
    assert [path.name for path in folder.iterdir()] == ["den"]
    for name in ("maurice", "agnes"):
        assert f'.["den:hermes:{name}"].{_KEY}.value' in done.stdout
    assert not clm.connections.exists()


def test_the_line_that_a_rename_prints_works(clm: Clm) -> None:
    done = clm("host", "rename", "wolf-i", "den")
    line = next(line for line in done.stdout.splitlines() if "is now" in line and "maurice" in line)
    said = subprocess.run(line.split("is now", 1)[1], shell=True, capture_output=True, text=True)
    if said.returncode == 127:
        pytest.skip("there is no jq here")
    assert said.stdout == "8642" * 16 + "\n"


@pytest.mark.parametrize(
    ("new", "code", "says"),
    [
        ("first", 3, "already exists"),
        ("ghost", 3, "ghost:hermes:maurice"),
        ("wolf-i", 2, "has that name already"),
        ("a:b", 2, "must start with a letter or digit"),
        ("../x", 2, "must start with a letter or digit"),
    ],
)
def test_a_name_that_is_taken_or_bad_is_refused_and_nothing_moves(clm: Clm, new: str, code: int, says: str) -> None:
    with clm.state.transaction() as tx:
        tx.secrets.set("ghost:hermes:maurice", _KEY, Secret("cd" * 32))
    before = clm.file("hosts.json"), clm.file("secrets.json")
    assert says in clm("host", "rename", "wolf-i", new, code=code).stderr
    assert (clm.file("hosts.json"), clm.file("secrets.json")) == before
    assert [path.name for path in clm.state.directory.keys.iterdir()] == ["wolf-i"]


@pytest.mark.parametrize("stop", ["before", "after"])
def test_a_rename_that_is_stopped_leaves_a_host_that_works(
    clm: Clm, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*arguments: object, **named: object) -> None:
        raise Killed

    if stop == "before":
        monkeypatch.setattr("pyinfra_hermes.cli.state.store.commit", die)
    else:
        monkeypatch.setattr(keys, "remove", die)
    monkeypatch.setattr(State, "open", classmethod(lambda cls, *a, **k: clm.state))
    with pytest.raises(Killed):
        hosts.rename_host("wolf-i", "den")
    monkeypatch.undo()
    name = "wolf-i" if stop == "before" else "den"
    identity = clm.state.read().host(name).identity_file
    assert identity is not None and Path(identity).parent.name == name and Path(identity).exists()
    assert len(list(clm.state.directory.keys.iterdir())) == 2
    clm("host", "edit", name, "--tag", "x")
    assert [path.name for path in clm.state.directory.keys.iterdir()] == [name]


def test_a_host_with_agents_is_refused_with_the_list(clm: Clm) -> None:
    done = clm("host", "remove", "wolf-i", "--yes", code=3)
    assert "agnes, maurice" in done.stderr
    assert "clm agent remove agnes" in done.stderr
    assert "wolf-i" in clm.file("hosts.json")["hosts"]  # type: ignore[operator]


def test_force_names_what_goes_and_needs_a_yes(clm: Clm) -> None:
    done = clm("host", "remove", "wolf-i", "--force", code=2)
    assert "Agents that stay on wolf-i, and are forgotten here: agnes, maurice" in done.stderr
    assert "wolf-i:hermes:maurice" in done.stderr
    assert "--yes" in done.stderr
    assert "wolf-i" in clm.file("hosts.json")["hosts"]  # type: ignore[operator]

    done = clm("host", "remove", "wolf-i", "--force", "--yes")
    assert list(clm.file("hosts.json")["hosts"]) == ["first", "last"]  # type: ignore[call-overload]
    assert list(clm.file("secrets.json")) == ["schema_version", "first:hermes:maurice", "provider:cloud"]
    # Its key is used by another host; the key that it was trusted with is not.
    assert (clm.state.directory.keys / "wolf-i").exists()
    assert "192.0.2.10" not in clm.state.directory.known_hosts.read_text()
    assert "192.0.2.1 " in clm.state.directory.known_hosts.read_text()


def test_without_a_terminal_a_missing_yes_is_an_error(clm: Clm) -> None:
    assert "Give it with --yes" in clm("host", "remove", "last", code=2).stderr
    clm("host", "remove", "last", "--yes")
    assert "last" not in clm.file("hosts.json")["hosts"]  # type: ignore[operator]


def test_what_was_not_agreed_to_does_not_go(clm: Clm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(State, "open", classmethod(lambda cls, *a, **k: clm.state))
    going = hosts.removal("last")
    with clm.state.transaction() as tx:
        tx.hosts["last"].agents["late"] = Agent(name="late", release="v2026.5.7", port=8642, status="installed")
    with pytest.raises(Problem, match="meanwhile"):
        hosts.remove_host(going, force=True)
    assert "late" in clm.state.read().host("last").agents


def test_tags_change_without_a_connection(clm: Clm) -> None:
    clm("host", "edit", "wolf-i", "--tag", "a", "--tag", "b", "--tag", "a")
    clm("host", "edit", "wolf-i", "--untag", "a")
    record = clm.state.read().host("wolf-i")
    assert (record.tags, sorted(record.agents)) == (("b",), ["agnes", "maurice"])
    assert "nothing to do" in clm("host", "edit", "wolf-i", "--tag", "b").stdout
    assert not clm.connections.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edit", "wolf-i"], "Say what to change"),
        (["edit", "wolf-i", "-i", "/etc/hostname", "--no-identity-file"], "exclude each other"),
        (["edit", "wolf-i", "--port", "70000"], "not between 1 and 65535"),
        (["edit", "wolf-i", "--address", "fe80::1%a b"], "no valid zone"),
        (["edit", "wolf-i", "--tag", "a b"], "a tag must match"),
        (["add", "new", "--address", "192.0.2.99", "--tag", "a b"], "a tag must match"),
        (["edit", "nobody", "--tag", "a"], "There is no host"),
        (["init", "new", "--management-user", "a.b", "--yes"], "Management user"),
        (["init", "new", "--management-user", "root", "--yes"], "clm host add"),
        (["init", "new", "--address", "192.0.2.99"], "Give it with --yes"),
        (["init", "wolf-i:x", "--yes"], "must start with a letter or digit"),
        (["add", "new", "--address", "[fd00::10"], "neither a host name nor an IP address"),
    ],
)
def test_bad_input_is_answered_before_a_connection(clm: Clm, arguments: list[str], says: str) -> None:
    before = clm.file("hosts.json")
    done = clm("host", *arguments, code=2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not clm.connections.exists()
    assert clm.file("hosts.json") == before


def test_an_address_that_another_host_has_is_refused(clm: Clm) -> None:
    assert "as host first" in clm("host", "edit", "wolf-i", "--address", "192.0.2.1", code=3).stderr
    assert "as host first" in clm("host", "init", "new", "--address", "192.0.2.1", "--yes", code=3).stderr
    assert "clm host edit wolf-i --port 2222" in clm("host", "init", "wolf-i", "--port", "2222", code=3).stderr
    assert not clm.connections.exists()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login("wolf-i", "192.0.2.10", 22, "root", None, tmp_path / "known_hosts")


def test_a_host_that_changes_while_the_question_is_open_is_not_trusted(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "confirm", lambda question, flag: None)
    monkeypatch.setattr(hosts, "offered_key", lambda login: key("impostor"))
    with pytest.raises(Problem, match="another key than a moment ago"):
        hosts._confirm_key(login, key("wolf"), None)


@pytest.mark.parametrize(
    ("ours", "theirs", "fingerprint", "outcome"),
    [
        ("wolf", "", None, "known"),
        ("", "wolf", None, "known"),
        ("", "", None, "asked"),
        ("other", "", None, "remove the old key first: ssh-keygen -R 192.0.2.10 -f"),
        ("", "other", None, "remove the old key first: ssh-keygen -R 192.0.2.10"),
        ("other", "wolf", key("wolf").fingerprint, "remove the old key first"),
        ("", "", key("wolf").fingerprint, "known"),
        ("wolf", "wolf", key("other").fingerprint, "Nothing was trusted"),
        ("", "@revoked wolf", key("wolf").fingerprint, "marked as revoked"),
    ],
)
def test_who_vouches_for_a_key(
    login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    ours: str, theirs: str, fingerprint: str | None, outcome: str,
) -> None:  # fmt: skip
    state = State.open(tmp_path / "clawrium")
    if ours:
        KnownHosts(state.directory).add(login.address, 22, [key(ours)])
    mine = tmp_path / "mine"
    *marker, name = theirs.split() or [""]
    mine.write_text(" ".join([*marker, login.address, str(key(name))]) if name else "")
    monkeypatch.setattr(hosts, "users_known_hosts", lambda: (mine,))
    monkeypatch.setattr(hosts, "offered_key", lambda login: key("wolf"))

    def ask(question: str, flag: str) -> None:
        raise click.Abort

    monkeypatch.setattr(asking, "confirm", ask)
    agree: Callable[[], HostKey] = lambda: hosts._agree(state, login, fingerprint)  # noqa: E731
    if outcome == "known":
        assert agree() == key("wolf")
    elif outcome == "asked":
        with pytest.raises(click.Abort):
            agree()
    else:
        with pytest.raises(Problem) as problem:
            agree()
        assert outcome in f"{problem.value.message} {problem.value.remedy}"


def test_openssh_is_told_to_write_nothing_of_the_users(login: Login) -> None:
    for option in ("UpdateHostKeys=no", "GlobalKnownHostsFile=/dev/null", "ControlPath=none", "VerifyHostKeyDNS=no"):
        assert option in login.command("true")
    # What the caller says comes first, and the first value wins.
    command = login.command("true", options=("-o", "StrictHostKeyChecking=accept-new"))
    assert command.index("StrictHostKeyChecking=accept-new") < command.index("StrictHostKeyChecking=yes")
    said = subprocess.run([command[0], "-G", *command[1:]], capture_output=True, text=True, check=True).stdout
    # What this OpenSSH does not know it passes over; of the rest it makes what we mean.
    lines = said.lower().splitlines()
    assert {"updatehostkeys false", "stricthostkeychecking accept-new", "batchmode yes"} <= set(lines)


@pytest.mark.parametrize("jumps", [("a",), ("me@a:2222", "b"), ("a", "me@b", "[fd00::1]:22")])
def test_jump_hosts_are_reached_with_lists_that_are_not_written(jumps: tuple[str, ...]) -> None:
    command = openssh._jump_command(jumps)
    for jump in reversed(jumps):
        words = shlex.split(command)
        assert words[-1] == f"ssh://{jump}"
        assert words[words.index("-W") + 1] == "[%h]:%p"
        assert {"StrictHostKeyChecking=yes", "UpdateHostKeys=no", "BatchMode=yes"} <= set(words)
        inner = [word for word in words if word.startswith("ProxyCommand=")]
        command = inner[0].removeprefix("ProxyCommand=").replace("%%", "%") if inner else ""
    assert command == ""


def test_both_fingerprints_are_in_what_openssh_and_paramiko_say(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    login.known_hosts.write_text(f"192.0.2.10 {key('wolf')}\n")
    offered = key("impostor").fingerprint
    text = (
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
        "The fingerprint for the ED25519 key sent by the remote host is\n"
        f"{offered}.\nOffending ED25519 key in {login.known_hosts}:1\nHost key verification failed.\n"
    )
    expected = f"trusted is {key('wolf').fingerprint}, it shows {offered}"
    assert expected in connection_problem("wolf-i", login.where, text).message
    monkeypatch.setattr(openssh, "offered_key", lambda login: key("impostor"))
    text = "SSH host key error (Host key for 192.0.2.10 does not match.)"
    said = connection_problem("wolf-i", login.where, text, login)
    assert expected in said.message
    assert said.remedy == "If you know why: clm host trust wolf-i"


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("root@x: Permission denied (publickey).", LoginRefused, "does not let us in"),
        ("No ED25519 host key is known for 192.0.2.10\nHost key verification failed.", NotTrusted, "not trusted yet"),
        (
            "No RSA host key is known for j and ...\nHost key verification failed.",
            NotTrusted,
            "the jump host j on the way",
        ),
        ("SSH error (StrictPolicy: No host key for j found in known_hosts)", NotTrusted, "the jump host j on the way"),
        ("No host key for [x]:22 found in known_hosts", NotTrusted, "the jump host [x]:22"),
        ("SSH error (StrictPolicy: No host key for 192.0.2.10 found in known_hosts)", NotTrusted, "not trusted yet"),
        ("ssh: connect to host j port 22: No route\nConnection closed by UNKNOWN port 65535", Problem, "No route"),
        ("@ WARNING: REVOKED HOST KEY DETECTED! @\nHost key verification failed.", NotTrusted, "revoked"),
    ],
)
def test_why_a_connection_failed(login: Login, text: str, kind: type[Problem], says: str) -> None:
    problem = connection_problem("wolf-i", login.where, text, login)
    assert (type(problem), problem.exit) == (kind, 4)
    assert says in problem.message


@pytest.mark.parametrize(
    ("address", "port", "entry"),
    [
        ("fd00::10", 22, "fd00::10"),
        ("fd00::10", 2222, "[fd00::10]:2222"),
        ("fe80::1%eth0", 22, "fe80::1%eth0"),
        ("192.0.2.10", 2222, "[192.0.2.10]:2222"),
    ],
)
def test_an_ipv6_address_is_one_for_ssh_and_for_known_hosts(
    tmp_path: Path, address: str, port: int, entry: str
) -> None:
    state = State.open(tmp_path / "clawrium")
    login = Login("six", address, port, "root", None, state.directory.known_hosts)
    assert login.server == (address, port)
    KnownHosts(state.directory).add(*login.server, [key("six")])
    assert state.directory.known_hosts.read_text() == f"{entry} {key('six')}\n"
    assert hosts.trusted(state, login) == (key("six"),)
    found = subprocess.run(
        ["ssh-keygen", "-F", entry, "-f", state.directory.known_hosts], capture_output=True, text=True
    )
    assert found.returncode == 0
    said = subprocess.run(["ssh", "-G", *login.command("true")[1:]], capture_output=True, text=True, check=True).stdout
    assert f"hostname {address}\n" in said


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that ssh(1) reads: ``etc`` for all users, ``.ssh`` for this one."""
    program = tmp_path / "ssh"
    program.touch(mode=0o755)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "etc" / "ssh_config.d").mkdir(parents=True)
    (tmp_path / "etc" / "ssh_config").write_text(
        f"Include {tmp_path}/etc/ssh_config.d/*.conf\nHost *\n  SendEnv LANG\n"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ssh_configuration, "_PROGRAM", program)
    monkeypatch.setattr(ssh_configuration, "_SYSTEM", tmp_path / "etc")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(tmp_path)))
    ssh_configuration.plain_everywhere.cache_clear()
    yield tmp_path
    ssh_configuration.plain_everywhere.cache_clear()


def test_a_host_is_not_asked_for_where_ssh_is_configured_plainly(configuration: Path) -> None:
    (configuration / ".ssh" / "config").write_text("Host *\n  IdentityFile ~/.ssh/key\n")
    (configuration / "etc" / "ssh_config.d" / "ours.conf").write_text("Host *.example\n  User me\n")
    assert ssh_configuration.plain_everywhere()
    (configuration / ".ssh" / "config").unlink()
    ssh_configuration.plain_everywhere.cache_clear()
    assert ssh_configuration.plain_everywhere()


def test_an_ssh_whose_own_configuration_is_elsewhere_is_asked(configuration: Path) -> None:
    (configuration / "etc" / "ssh_config").unlink()
    assert not ssh_configuration.plain_everywhere()


@pytest.mark.parametrize("file", [".ssh/config", "etc/ssh_config", "etc/ssh_config.d/ours.conf"])
@pytest.mark.parametrize(
    "text", ["Host a\n\tproxyJump b\n", "HOSTKEYALIAS=a", "Match all\n Include ~/.ssh/more", "include x"]
)
def test_a_word_of_jump_hosts_anywhere_is_enough_to_ask(configuration: Path, file: str, text: str) -> None:
    (configuration / file).write_text(text)
    assert not ssh_configuration.plain_everywhere()


def test_an_ssh_that_may_read_other_files_is_asked(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (configuration / "etc" / "ssh_config").chmod(0)
    if os.geteuid() != 0:
        assert not ssh_configuration.plain_everywhere()
    (configuration / "bin").mkdir()
    (configuration / "bin" / "ssh").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{configuration}/bin")
    ssh_configuration.plain_everywhere.cache_clear()
    assert not ssh_configuration.plain_everywhere()
    monkeypatch.setenv("PATH", str(configuration / "nowhere"))
    ssh_configuration.plain_everywhere.cache_clear()
    assert not ssh_configuration.plain_everywhere()
