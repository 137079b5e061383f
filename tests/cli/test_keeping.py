"""Connections that are left open: what ssh is told of them, and what it says of them."""

from __future__ import annotations

import pwd
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.ssh import keeping
from pyinfra_hermes.cli.ssh.keeping import Kept, said_besides
from pyinfra_hermes.cli.ssh.openssh import Login, run_script

#: As OpenSSH 9.2 says it on a lab's hosts: unplugged; MaxSessions 0, which takes the login and no
#: session; a full disk here.
BROKEN = "mux_client_request_session: read from master failed: Broken pipe"
REFUSED = "mux_client_request_session: session request failed: Session open refused by peer"
DISABLED = "ControlSocket /run/user/0/clm/ssh-0123456789abcdef already exists, disabling multiplexing"
FULL = "unix_listener: cannot bind to path /tmp/clm-0/ssh-0123456789abcdef.cEr4wbLgvjBjscEe: No space left on device"
TIMED_OUT = "ssh: connect to host 10.83.0.4 port 22: Connection timed out"


@pytest.mark.parametrize(
    ("stderr", "besides", "passed_over"),
    [
        ("", "", False),
        (f"{TIMED_OUT}\r\n", TIMED_OUT, False),
        (f"{BROKEN}\r\n{TIMED_OUT}\r\n", TIMED_OUT, True),
        (f"{REFUSED}\r\n{DISABLED}\r\n", "", True),
        (f"{REFUSED}\r\nFailed to connect to new control master\r\n", "", True),
        (f"{FULL}\r\n", "", True),
        ("sudo: a password is required\n", "sudo: a password is required", False),
    ],
)
def test_the_reason_is_told_apart_from_what_is_kept(stderr: str, besides: str, passed_over: bool) -> None:
    assert said_besides(stderr) == (besides, passed_over)


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """A login of a user whose home, and whose folder of sockets, is below ``tmp_path``."""
    (tmp_path / "known_hosts").touch()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv(keeping.VARIABLE, raising=False)
    monkeypatch.setattr(keeping, "_LONGEST_PATH", 1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(tmp_path)))
    return Login("den", "den.example", 22, "root", None, tmp_path / "known_hosts")


def test_one_is_for_the_configuration_that_it_was_opened_with(login: Login, tmp_path: Path) -> None:
    found = set()
    for text in ("", "Host den.example\n  HostName 192.0.2.1\n", "Host den.example\n  HostName 192.0.2.2\n"):
        (tmp_path / ".ssh" / "config").write_text(text)
        for _ in range(2):
            kept = keeping.kept(login)
            assert kept is not None
            found.add(kept.path)
    assert len(found) == 3
    (tmp_path / ".ssh" / "config").unlink()
    assert keeping.kept(login) is not None


def test_nothing_that_the_user_forwards_is_kept_open(login: Login, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n LocalForward 8080 localhost:80\n ForwardAgent yes\n ForwardX11 yes\n")
    command = login.command("true", options=Kept(tmp_path / "socket", 60).options)
    said = subprocess.run(["ssh", "-F", str(config), "-G", *command[1:]], capture_output=True, text=True, check=True)
    assert {"clearallforwardings yes", "forwardagent no", "forwardx11 no"} <= set(said.stdout.splitlines())


def test_one_at_which_many_wait_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What holds it was stopped, and every look since has asked whether it is open.
    monkeypatch.setattr(keeping, "_HELLO_SECONDS", 0.05)
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind("socket")
        stopped.listen(2)
        assert [Kept(Path("socket"), 60).is_open() for _ in range(6)] == [None] * 6
    assert Kept(Path("socket"), 60).is_open() is False


def test_what_a_jump_host_says_is_told(login: Login, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # With a connection that is to stay, ssh(1) has the standard error of what leads to the host go nowhere.
    way = "ProxyCommand=sh -c 'echo No ED25519 host key is known for jump.example and you asked >&2; exit 1'"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match=r"the jump host jump\.example on the way"):
        run_script(login, "true", options=("-o", way), keep=True)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("This account is currently not available.", "den: This account is currently not available."),
        ("", "den: no reason given"),
        ("host os debian\n" * 50, "den: no reason given"),
    ],
)
def test_a_login_shell_that_lets_nobody_in_says_why(
    login: Login, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, reason: str
) -> None:
    (tmp_path / "said").write_text(said)
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n[ $1 != -G ] || exit 1\n/bin/cat {tmp_path}/said\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem) as found:
        run_script(login, "true\n")
    assert found.value.message == reason
