"""Hosts on record, on real ones: init, add, trust, edit, rename and remove, and what they leave alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state.records import Agent, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.machine import Machine

# In a private mount namespace: OpenSSH finds the home of its user in /etc/passwd, whatever HOME says.
_AT_HOME = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'
# What pyinfra needs of a host: a connection through paramiko, and an answer.
_ENGINE = """
import sys
from pyinfra_hermes.cli.engine import Session, check
from pyinfra_hermes.cli.ssh.openssh import login_of
from pyinfra_hermes.cli.main import show
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.state.store import State
state = State.open()
try:
    with Session.open([login_of(state, state.read().host(sys.argv[1]))]) as session:
        check(session.results)
        print(session.observe()[sys.argv[1]].host.os)
except Problem as problem:
    show(problem)
    sys.exit(problem.exit)
"""
_RULE = "/etc/sudoers.d/pyinfra-hermes-clm"


class Control:
    """A control machine: a user with a home of their own."""

    def __init__(self, home: Path, host: Machine) -> None:
        self.home = home
        self.host = host
        self.ssh = home / ".ssh"
        self.ssh.mkdir(parents=True, mode=0o700)
        self.state = home / ".config" / "clawrium"
        self._passwd = home / "passwd"
        lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
        me = f"x:{os.geteuid()}:"
        self._passwd.write_text("".join(self._moved(line) if me in line else line for line in lines))
        self.agent: str | None = None

    def __call__(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "pyinfra_hermes.cli", *arguments, code=code)

    def run(self, *command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("XDG_CONFIG_HOME", "SSH_AUTH_SOCK")}
        environment["HOME"] = str(self.home)
        if self.agent:
            environment["SSH_AUTH_SOCK"] = self.agent
        argv = ["unshare", "--mount", "sh", "-c", _AT_HOME, "sh", str(self._passwd), *command]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=180, input="")
        if code is not None:
            assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def engine(self, name: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-c", _ENGINE, name, code=code)

    def reach(self, user: str, *more: str) -> list[str]:
        """Options that reach the host as one of its users, with its true key."""
        return ["--address", self.host.address, "-u", user, "-i", str(self.host.key), *self.trusting(), *more]

    def trusting(self) -> list[str]:
        return ["--host-key-fingerprint", fingerprint(self.host)]

    def record(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.state / "hosts.json").read_text())["hosts"][name]
        return found

    def _moved(self, line: str) -> str:
        fields = line.split(":")
        return ":".join([*fields[:5], str(self.home), *fields[6:]])


@pytest.fixture
def control(tmp_path: Path, host: Machine) -> Control:
    return Control(tmp_path / "home", host)


@pytest.fixture
def clean(host: Machine) -> Iterator[Machine]:
    """The host without a management login, before and after."""
    yield host
    # userdel refuses while a process of the account is still on its way out.
    host.ssh(
        "for _ in $(seq 100); do pkill -KILL -u clm; userdel -r clm; id clm || break; sleep 0.1; done; "
        "rm -f /etc/sudoers.d/pyinfra-hermes-*"
    )


def fingerprint(host: Machine) -> str:
    said = host.ssh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").stdout
    return said.split()[1]


def traces(host: Machine) -> str:
    """Everything that an init may touch, with contents, modes and times."""
    return host.ssh(
        "getent passwd; getent shadow; getent group; "
        "for f in /etc/sudoers.d/* /etc/sudoers.d/.[!.]* /home/*/.ssh /home/*/.ssh/.* /home/*/.ssh/* /root/.ssh/*; do "
        "[ ! -e $f ] || stat -c '%n %a %U %G %y' $f; [ ! -f $f ] || cat $f; done"
    ).stdout


def test_init_makes_a_login_and_a_second_run_changes_nothing(clean: Machine, control: Control) -> None:
    done = control("host", "init", "wolf-i", *control.reach("admin"), "--yes")
    assert "account clm made, our key added, passwordless sudo given" in done.stdout
    record = control.record("wolf-i")
    key = control.state / "keys" / "wolf-i" / "id_ed25519"
    assert (record["user"], record["identity_file"]) == ("clm", str(key))
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert key.with_suffix(".pub").read_text().startswith("ssh-ed25519 ")

    said = clean.ssh(
        f"stat -c '%a %U %G' /home/clm /home/clm/.ssh /home/clm/.ssh/authorized_keys {_RULE}; "
        "passwd -S clm | cut -d' ' -f2; id -gn clm; getent passwd clm; visudo -c >/dev/null && echo whole"
    ).stdout.splitlines()
    assert said[:6] == ["700 clm clm", "700 clm clm", "600 clm clm", "440 root root", "L", "clm"]
    assert (":Management login (pyinfra-hermes):" in said[6], said[7]) == (True, "whole")

    before = traces(clean), key.read_bytes(), (control.state / "hosts.json").read_bytes()
    for again in (["host", "init", "wolf-i", *control.reach("admin"), "--yes"], ["host", "init", "wolf-i"]):
        assert "nothing to do" in control(*again).stdout
    assert (traces(clean), key.read_bytes(), (control.state / "hosts.json").read_bytes()) == before
    control("host", "check", "wolf-i")
    assert control.engine("wolf-i").stdout == "debian\n"


def test_a_second_control_machine_adds_its_key_and_locks_nobody_out(
    clean: Machine, control: Control, tmp_path: Path
) -> None:
    control("host", "init", "wolf-i", *control.reach("root"), "--yes")
    # A line of somebody else, without an end.
    clean.ssh("printf '# mine\\nssh-ed25519 AAAAsomebody else' >> /home/clm/.ssh/authorized_keys")
    second = Control(tmp_path / "second", clean)
    done = second("host", "init", "den", *second.reach("admin"), "--yes")
    assert "On den: our key added." in done.stdout
    lines = clean.ssh("cat /home/clm/.ssh/authorized_keys").stdout.splitlines()
    assert lines[1:3] == ["# mine", "ssh-ed25519 AAAAsomebody else"]
    assert len(lines) == 4
    control("host", "check", "wolf-i")
    second("host", "check", "den")


def test_an_account_that_is_not_ours_is_used_only_when_told_to(clean: Machine, control: Control) -> None:
    clean.ssh("useradd -m -s /bin/bash -c 'A person' clm")
    before = traces(clean)
    done = control("host", "init", "wolf-i", *control.reach("admin"), "--yes", code=3)
    assert "clm did not make (it is called 'A person')" in done.stderr
    assert "--adopt" in done.stderr
    assert traces(clean) == before
    assert not (control.state / "hosts.json").exists()
    done = control("host", "init", "wolf-i", *control.reach("admin"), "--yes", "--adopt")
    assert "our key added, passwordless sudo given" in done.stdout
    assert clean.ssh("getent passwd clm").stdout.split(":")[4] == "A person"
    assert "nothing to do" in control("host", "init", "wolf-i").stdout


@pytest.mark.parametrize(("user", "code", "why"), [("nosudo", 5, "may not become root"), ("ghost", 4, "not let us in")])
def test_what_we_may_not_do_a_person_pastes_and_the_same_command_carries_on(
    clean: Machine, control: Control, user: str, code: int, why: str
) -> None:
    command = ["host", "init", "wolf-i", *control.reach(user), "--yes"]
    before = traces(clean)
    done = control(*command, code=code)
    assert why in done.stderr
    assert "the same command carries on" in done.stderr
    assert traces(clean) == before
    assert (control.state / "keys/wolf-i/id_ed25519.pub").read_text().split()[1] in done.stdout
    for shell in ("bash", "sh"):
        clean.ssh(shell, input=done.stdout)  # twice: pasting again does no harm
    pasted = traces(clean)
    assert "is on record" in control(*command).stdout
    assert traces(clean) == pasted
    assert pasted.count("clm-wolf-i@") == 1
    control("host", "check", "wolf-i")


def test_nothing_in_the_accounts_home_leads_us_elsewhere(clean: Machine, control: Control) -> None:
    clean.ssh(
        "useradd --system -m -s /bin/sh -c 'Management login (pyinfra-hermes)' clm; mkdir -p /srv/keys; "
        "cp /root/.ssh/authorized_keys /srv/keys; chown -R clm /srv/keys; ln -s /srv/keys /home/clm/.ssh"
    )
    before = traces(clean), clean.ssh("cat /srv/keys/*").stdout
    done = control("host", "init", "wolf-i", *control.reach("admin"), "--yes", code=5)
    assert "/home/clm/.ssh is a symbolic link" in done.stderr
    assert (traces(clean), clean.ssh("cat /srv/keys/*").stdout) == before
    clean.ssh("rm -r /srv/keys")


def test_a_rule_of_somebody_else_stays(clean: Machine, control: Control) -> None:
    clean.ssh(f"echo '# by hand' > {_RULE}; chmod 440 {_RULE}; touch /etc/sudoers.d/.pyinfra-hermes.stale1")
    done = control("host", "init", "wolf-i", *control.reach("admin"), "--yes", code=3)
    assert f"{_RULE} is there" in done.stderr
    assert clean.ssh(f"cat {_RULE}; ls -A /etc/sudoers.d | grep -c '^[.]'", check=False).stdout == "# by hand\n0\n"


def test_a_rule_that_visudo_does_not_take_is_not_installed(clean: Machine, control: Control) -> None:
    clean.ssh("printf '#!/bin/sh\\necho bad >&2; exit 1\\n' > /usr/local/sbin/visudo; chmod 755 /usr/local/sbin/visudo")
    done = control("host", "init", "wolf-i", *control.reach("admin"), "--yes", code=5)
    clean.ssh("rm /usr/local/sbin/visudo")
    assert "visudo there does not take our rule: bad" in done.stderr
    assert clean.ssh("ls -A /etc/sudoers.d").stdout.split() == ["README", "admin"]
    # Half-made, the same command carries on.
    assert "passwordless sudo given" in control("host", "init", "wolf-i", *control.reach("admin"), "--yes").stdout


def test_the_way_changes_and_what_is_on_the_host_does_not(host: Machine, control: Control) -> None:
    control("host", "add", "wolf-i", *control.reach("admin"), "--tag", "a")
    with_agent(control, "wolf-i")
    before = control.record("wolf-i")
    secrets = (control.state / "secrets.json").read_bytes()

    assert "may not become root" in control("host", "edit", "wolf-i", "--user", "nosudo", code=5).stderr
    assert "not let us in" in control("host", "edit", "wolf-i", "--no-identity-file", code=4).stderr
    assert "cannot connect" in control("host", "edit", "wolf-i", "--port", "2222", code=4).stderr
    assert control.record("wolf-i") == before

    host.ssh("/usr/sbin/sshd -p 2222 -o PidFile=/run/second.pid")
    try:
        done = control("host", "edit", "wolf-i", "--port", "2222", "--user", "root", "--untag", "a", "--tag", "b")
        assert "shows the key that wolf-i is trusted with" in done.stderr
        changed = {"port": 2222, "user": "root", "tags": ["b"]}
        assert control.record("wolf-i") == {**before, **changed}
        known = (control.state / "known_hosts").read_text()
        assert known.startswith(f"[{host.address}]:2222 ssh-ed25519 ")
        assert len(known.splitlines()) == 1
        control("host", "check", "wolf-i")
        assert control.engine("wolf-i").stdout == "debian\n"
        again = control("host", "edit", "wolf-i", "--port", "2222", "--user", "root")
        assert "nothing to do" in again.stdout
    finally:
        host.ssh("kill $(cat /run/second.pid)")
    assert (control.state / "secrets.json").read_bytes() == secrets


def test_another_key_in_the_new_place_is_asked_about(host: Machine, control: Control) -> None:
    control("host", "add", "wolf-i", *control.reach("admin"))
    host.ssh(
        "ssh-keygen -q -t ed25519 -N '' -f /run/other_key; "
        "/usr/sbin/sshd -p 2223 -o PidFile=/run/third.pid -h /run/other_key"
    )
    try:
        before = control.record("wolf-i")
        done = control("host", "edit", "wolf-i", "--port", "2223", code=2)
        assert "--host-key-fingerprint SHA256:" in done.stderr
        assert control.record("wolf-i") == before
        offered = re.findall(r"SHA256:\S+", done.stderr)[0]
        control("host", "edit", "wolf-i", "--port", "2223", "--host-key-fingerprint", offered)
        control("host", "check", "wolf-i")
    finally:
        host.ssh("kill $(cat /run/third.pid); rm /run/other_key*")


def test_a_renamed_host_is_reached_with_its_key_in_the_new_place(clean: Machine, control: Control) -> None:
    control("host", "init", "wolf-i", *control.reach("admin"), "--yes")
    with_agent(control, "wolf-i")
    done = control("host", "rename", "wolf-i", "den")
    assert '.["wolf-i:hermes:maurice"].HERMES_API_SERVER_KEY.value' in done.stdout
    assert '.["den:hermes:maurice"].HERMES_API_SERVER_KEY.value' in done.stdout
    assert [path.name for path in (control.state / "keys").iterdir()] == ["den"]
    control("host", "check", "den")
    assert control("ps", code=None).stdout.split("\n")[1].split()[:2] == ["maurice", "den"]


def test_a_changed_key_is_refused_with_both_fingerprints(host: Machine, control: Control, tmp_path: Path) -> None:
    control("host", "add", "wolf-i", *control.reach("admin"))
    with_agent(control, "wolf-i")
    for kind in ("ed25519", "ecdsa"):
        other = tmp_path / f"other-{kind}"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", other], check=True)
        old = subprocess.run(["ssh-keygen", "-lf", other], capture_output=True, text=True, check=True).stdout.split()[1]
        entry = " ".join(other.with_suffix(".pub").read_text().split()[:2])
        (control.state / "known_hosts").write_text(f"{host.address} {entry}\n")
        for done in (
            control("host", "check", "wolf-i", code=4),
            control.engine("wolf-i", code=4),
            control("chat", "maurice", "--once", "hi", code=4),
            control("agent", "start", "maurice", "--force", code=4),
        ):
            assert f"trusted is {old}, it shows {fingerprint(host)}" in done.stderr
            assert "clm host trust wolf-i" in done.stderr
        listed = control("ps", "-o", "json", code=4)
        assert f"trusted is {old}, it shows {fingerprint(host)}" in json.loads(listed.stdout)[0]["why"]

        done = control("host", "trust", "wolf-i", code=2)
        assert old in done.stderr
        assert f"--host-key-fingerprint {fingerprint(host)}" in done.stderr
        wrong = control("host", "trust", "wolf-i", "--host-key-fingerprint", old, code=4)
        assert "Nothing was trusted" in wrong.stderr
        control("host", "trust", "wolf-i", *control.trusting())
        control("host", "check", "wolf-i")


def test_the_users_known_hosts_is_read_and_never_written(clean: Machine, control: Control) -> None:
    host_key = " ".join(clean.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[:2])
    mine = control.ssh / "known_hosts"
    mine.write_text(f"# a comment\n\n@cert-authority *.example.com {host_key}\n{clean.address} {host_key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", mine], check=False, capture_output=True)
    mine.with_name("known_hosts.old").unlink()
    mine.write_text(mine.read_text() + "nonsense without an end")
    (control.ssh / "config").write_text(
        f"Host jump\n  HostName {clean.address}\n  User admin\n  IdentityFile {clean.key}\n"
        "  StrictHostKeyChecking accept-new\n"
        f"Host inner\n  HostName 127.0.0.1\n  ProxyJump jump\n  User admin\n  IdentityFile {clean.key}\n"
        "Host *\n  UpdateHostKeys yes\n  HashKnownHosts yes\n"
    )
    (control.ssh / "config").chmod(0o600)
    assert "|1|" in mine.read_text() and "@cert-authority" in mine.read_text() and "# a comment" in mine.read_text()
    before = mine.read_bytes(), mine.stat(), sorted(path.name for path in control.ssh.iterdir())

    # The hashed line vouches for the host: no fingerprint is given.
    way = ["--address", clean.address, "-u", "admin", "-i", str(clean.key)]
    assert "Your known_hosts vouches for" in control("host", "add", "wolf-i", *way).stderr
    control("host", "init", "wolf-i", "-u", "admin", "-i", str(clean.key), "--yes")
    with_agent(control, "wolf-i")
    control("host", "trust", "wolf-i")
    control("host", "edit", "wolf-i", "--tag", "t", "--user", "clm")
    control("host", "edit", "wolf-i", "--user", "root", "--identity-file", str(clean.key))
    control("ps", code=None)
    control("chat", "maurice", "--once", "hi", code=None)
    control.engine("wolf-i")
    control("host", "add", "through", "--address", "inner", *control.trusting())
    control.engine("through")
    after = mine.read_bytes(), mine.stat(), sorted(path.name for path in control.ssh.iterdir())
    assert after[0] == before[0]
    assert (after[1].st_mtime_ns, after[1].st_ino) == (before[1].st_mtime_ns, before[1].st_ino)
    assert after[2] == before[2]


def test_an_entry_of_the_ssh_configuration_brings_key_login_and_jump_host(host: Machine, control: Control) -> None:
    (control.ssh / "config").write_text(
        f"Host bastion\n  HostName {host.address}\n  User nosudo\n  IdentityFile {host.key}\n"
        f"Host inner\n  HostName 127.0.0.1\n  Port 22\n  User admin\n  IdentityFile {host.key}\n  ProxyJump bastion\n"
        f"Host plain\n  HostName {host.address}\n  User admin\n"
    )
    (control.ssh / "config").chmod(0o600)
    # The jump host has to be in the user's own list, and is not put there.
    done = control("host", "add", "wolf-i", "--address", "inner", *control.trusting(), code=4)
    assert f"the jump host {host.address} on the way to" in done.stderr
    assert not (control.ssh / "known_hosts").exists()
    host_key = " ".join(host.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[:2])
    (control.ssh / "known_hosts").write_text(f"{host.address} {host_key}\n")

    control("host", "add", "inner", *control.trusting())
    record = control.record("inner")
    assert (record["address"], record["user"], record["identity_file"]) == ("inner", "admin", None)
    assert (control.state / "known_hosts").read_text() == f"127.0.0.1 {host_key}\n"
    control("host", "check", "inner")
    assert control.engine("inner").stdout == "debian\n"
    assert "ssh-ed25519 SHA256:" in control("host", "show", "inner").stdout
    # An entry that is only an address and a login is recorded as what it says.
    control("host", "add", "plain", "-i", str(host.key))
    assert (control.record("plain")["address"], control.record("plain")["user"]) == (host.address, "admin")
    control("host", "remove", "inner", "--yes")
    assert "127.0.0.1" not in (control.state / "known_hosts").read_text()


def test_keys_in_an_ssh_agent_open_the_door(host: Machine, control: Control, tmp_path: Path) -> None:
    control.agent = str(tmp_path / "agent.sock")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", control.agent], stdout=subprocess.DEVNULL)
    try:
        while not Path(control.agent).exists():
            assert agent.poll() is None
        way = ["--address", host.address, "-u", "admin", *control.trusting()]
        assert "does not let us in" in control("host", "add", "wolf-i", *way, code=4).stderr
        control.run("ssh-add", "-q", str(host.key))
        control("host", "add", "wolf-i", *way)
        control("host", "check", "wolf-i")
        assert control.engine("wolf-i").stdout == "debian\n"
    finally:
        agent.kill()
        agent.wait()


@pytest.fixture
def address6(host: Machine) -> Iterator[str]:
    """An IPv6 address of the host, on the bridge."""
    if not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("the kernel has no IPv6")
    bridge = host._bridge.name
    number = int(host._bridge.network.network_address.packed[1]) << 8 | host._bridge.network.network_address.packed[2]
    mine, theirs = f"fd00:c1:{number:x}::1", f"fd00:c1:{number:x}::10"
    link = host.ssh("ip -o link | grep -o 'host0' | head -n 1").stdout.strip()
    subprocess.run(["ip", "-6", "address", "add", f"{mine}/64", "dev", bridge, "nodad"], check=True)
    host.ssh(f"ip -6 address add {theirs}/64 dev {link} nodad")
    yield theirs
    host.ssh(f"ip -6 address del {theirs}/64 dev {link}")
    subprocess.run(["ip", "-6", "address", "del", f"{mine}/64", "dev", bridge], check=True)


def test_a_host_with_an_ipv6_address(
    host: Machine, control: Control, address6: str, wheelhouse: Path, model: object
) -> None:
    way = ["-u", "admin", "-i", str(host.key), *control.trusting()]
    # As people write it: capitals, and the brackets of a URL.
    control("host", "add", "wolf-i", "--address", f"[{address6.upper()}]", *way)
    assert control.record("wolf-i")["address"] == address6
    assert (control.state / "known_hosts").read_text().startswith(f"{address6} ssh-ed25519 ")
    assert fingerprint(host) in control("host", "show", "wolf-i").stdout
    control("host", "check", "wolf-i")
    assert control.engine("wolf-i").stdout == "debian\n"

    install = [
        "agent",
        "install",
        "--type",
        "hermes",
        "--host",
        "wolf-i",
        "--name",
        "six",
        "--method",
        "wheel",
        "--wheelhouse",
        str(wheelhouse),
    ]
    control(*install)
    url = model.url  # type: ignore[attr-defined]
    control("provider", "add", "local", "--type", "custom", "--url", url, "--model", "stand-in")
    control("agent", "configure", "six", "--provider", "local")
    assert control("ps").stdout.splitlines()[1].split()[:3] == ["six", "wolf-i", "running"]
    assert control("chat", "six", "--once", "hello").stdout.strip()

    host.ssh("/usr/sbin/sshd -p 2222 -o PidFile=/run/second.pid")
    try:
        control("host", "edit", "wolf-i", "--port", "2222")
        assert (control.state / "known_hosts").read_text().startswith(f"[{address6}]:2222 ssh-ed25519 ")
        assert control("ps").stdout.splitlines()[1].split()[2] == "running"
        assert control.engine("wolf-i").stdout == "debian\n"
        control("agent", "remove", "six", "--yes")
    finally:
        host.ssh("kill $(cat /run/second.pid)")


def with_agent(control: Control, host: str) -> None:
    """Put an agent on record that was never installed."""
    with State.open(control.state).transaction() as tx:
        tx.hosts[host].agents["maurice"] = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed")
        tx.secrets.set(agent_scope(host, "maurice"), "HERMES_API_SERVER_KEY", Secret("ab" * 32))
