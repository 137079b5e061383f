"""After ``clm agent remove`` nothing of the agent is on its host, from whatever state, and nobody else lost a thing."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab.clm import Clm, built_release
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel

HOST, AGENT = "wolf-i", "maurice"
UNIT = f"/etc/systemd/system/hermes-{AGENT}.service"

# Whatever bears the agent's name, or belongs to its uid. Prints what it finds; silence is a clean host.
_LEFT = """
name=$1 uid=${2%:*} gid=${2#*:}
getent passwd "$name"; getent group "$name"; getent passwd "$uid"; getent group "$gid"
loginctl list-users --no-legend | grep -w "$name"
pgrep -a -U "$uid"
ls -d "/home/$name" "/run/user/$uid" "/var/lib/systemd/linger/$name" "/var/spool/cron/crontabs/$name" \
    "/var/mail/$name" 2>/dev/null
find /etc/systemd /run/systemd /var/lib/systemd /run/lock /var/lock /var/lib/pyinfra-hermes \
    \\( -name "hermes-$name*" -o -name "$name*" \\) 2>/dev/null
find / -xdev \\( -uid "$uid" -o -gid "$gid" \\) ! -path '/proc/*' 2>/dev/null | head
find /tmp /var/tmp /dev/shm /run -uid "$uid" 2>/dev/null | head
systemctl list-units --all --no-legend "hermes-$name*" "user@$uid*" "user-$uid*" "user-runtime-dir@$uid*"
systemctl list-unit-files --no-legend "hermes-$name*"
ss -Hltn "sport = :$3"
true
"""


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the release."""
    [machine] = hosts(1, layer=built_release(lab))
    return machine


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine) -> Clm:
    """Someone who has the host on record."""
    person = Clm(tmp_path_factory.mktemp("removal"))
    person.add_host(host, HOST)
    return person


@pytest.fixture
def installed(clm: Clm, host: Machine) -> Iterator[Clm]:
    """The same with the agent installed, and gone afterwards whatever the test did to it."""
    clm.install(AGENT)
    yield clm
    if AGENT in clm.document("hosts.json")["hosts"][HOST]["agents"] or ids(host):
        clm.run("agent", "remove", AGENT, "--host", HOST, "--yes")


def ids(host: Machine, account: str = AGENT) -> str:
    """``uid:gid`` of an account, needed to look for what it left."""
    return host.ssh(f"getent passwd {account} | cut -d: -f3,4").stdout.strip()


def left(host: Machine, owner: str, port: int = 8642) -> str:
    """What is left of the agent on its host."""
    return host.ssh("sh", "-c", _LEFT, "sh", AGENT, owner, str(port), check=False).stdout


def assert_forgotten(clm: Clm) -> None:
    """Nothing of the agent is on record."""
    for path in clm.state.glob("*.json"):
        assert AGENT not in path.read_text(), path


def remove(clm: Clm, *args: str, exit: int = 0) -> str:
    """Remove the agent without being asked."""
    return clm.run("agent", "remove", AGENT, "--yes", *args, exit=exit).output


def test_an_agent_with_all_that_it_may_have_leaves_nothing(clm: Clm, host: Machine, model: StandInModel) -> None:
    clm.add_provider(model)
    clm.install(AGENT)
    clm.configure(AGENT, "--provider", "local")
    clm.run("chat", AGENT, "--once", "hello")
    owner = ids(host)
    uid = owner.partition(":")[0]
    # The real trap: with linger the account has a user manager that starts its programs again while they are killed.
    host.ssh(f"loginctl enable-linger {AGENT}; until systemctl is-active --quiet user@{uid}; do sleep 0.1; done")
    host.ssh(
        f"install -d -o {AGENT} -g {AGENT} /home/{AGENT}/.config/systemd/user && "
        f"cat >/home/{AGENT}/.config/systemd/user/stubborn.service && "
        f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups "
        f"env XDG_RUNTIME_DIR=/run/user/{uid} systemctl --user enable --now --quiet stubborn.service",
        input="[Service]\nExecStart=/bin/sh -c 'trap : TERM INT; while :; do sleep 1; done'\n"
        "Restart=always\nRestartSec=0\n[Install]\nWantedBy=default.target\n",
    )
    as_agent = f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups"
    host.ssh(f"setsid {as_agent} sh -c 'trap : TERM HUP; while :; do sleep 1; done' >/dev/null 2>&1 &")
    host.ssh(f"{as_agent} sh -c 'mkdir -p /tmp/of-it/deep /var/tmp/of-it && touch /tmp/of-it/deep/file /dev/shm/of-it'")
    host.ssh(f"{as_agent} sh -c 'mkdir /run/lock/of-it; touch /run/lock/of-it/lock'")
    host.ssh(f"install -d /var/spool/cron/crontabs && install -o {AGENT} /dev/null /var/spool/cron/crontabs/{AGENT}")
    host.ssh(f"mkdir {UNIT}.d && printf '[Service]\\nNice=5\\n' >{UNIT}.d/mine.conf && systemctl daemon-reload")
    host.ssh(f"systemctl set-property --runtime hermes-{AGENT}.service CPUWeight=50")
    before = left(host, owner)
    for trace in (
        "of-it",
        f"/linger/{AGENT}",
        f"/crontabs/{AGENT}",
        f"/run/user/{uid}",
        ":8642",
        f"user@{uid}.service",
    ):
        assert trace in before, trace
    processes = host.ssh("pgrep", "-a", "-U", uid).stdout
    assert processes.count("trap : TERM") == 2
    assert "hermes gateway run" in processes
    assert "systemd --user" in processes

    began = time.monotonic()
    assert f"Agent {AGENT} removed." in remove(clm)
    assert time.monotonic() - began < 60, "what does not want to end is not waited for"
    assert left(host, owner) == ""
    assert host.ssh("ls -d /etc/systemd/system/hermes.slice /var/lib/pyinfra-hermes", check=False).stdout == ""
    assert host.ssh("systemctl is-active hermes.slice", check=False).stdout == "inactive\n"
    assert host.ssh("systemctl --failed --no-legend").stdout == ""
    assert_forgotten(clm)
    assert clm.json("ps") == []

    again = clm.run("agent", "remove", AGENT, "--yes")
    assert f"There was nothing of agent {AGENT} to remove." in again.stdout
    again = clm.run("agent", "remove", AGENT, "--host", HOST, "--yes")
    assert f"There was nothing of agent {AGENT} to remove." in again.stdout
    # The provider is free to go now, and the host.
    clm.run("provider", "remove", "local")


@pytest.mark.parametrize(
    "damage",
    [
        f"systemctl stop hermes-{AGENT}; rm {UNIT}; systemctl daemon-reload",
        f"userdel {AGENT}",
        f"userdel --remove {AGENT}",
        f"rm -rf /home/{AGENT}",
        f"userdel --remove {AGENT}; mkdir -p {UNIT}.d; mv {UNIT} {UNIT}.d/10-left.conf; systemctl daemon-reload",
        f"userdel {AGENT}; rm -rf {UNIT} /home/{AGENT}; touch /var/lib/systemd/linger/{AGENT}",
        f"systemctl enable --quiet hermes-{AGENT}; rm {UNIT}",
    ],
    ids="unit account account-and-home home dropins linger wants".split(),  # noqa: SIM905
)
def test_a_half_removed_agent_is_removed(installed: Clm, host: Machine, damage: str) -> None:
    owner = ids(host)
    host.ssh("mkdir -p /var/lib/systemd/linger")
    host.ssh(f"set -e; {damage} 2>/dev/null")
    remove(installed)
    assert left(host, owner) == ""
    assert_forgotten(installed)
    assert "There was nothing" in remove(installed)


def test_a_removal_that_is_cut_off_can_be_repeated(installed: Clm, host: Machine) -> None:
    owner = ids(host)
    # userdel fails while somebody holds its lock file: everything before it is done by then.
    host.ssh("touch /etc/passwd.lock; echo 1 >/etc/passwd.lock")
    try:
        failed = remove(installed, exit=1)
    finally:
        host.ssh("rm /etc/passwd.lock")
    assert "userdel failed" in failed
    [row] = installed.json("ps")
    assert row["state"] == "half-removed"
    assert "not installed (status=removing)" in installed.configure(AGENT, exit=3).stderr
    remove(installed)
    assert left(host, owner) == ""
    assert_forgotten(installed)


def test_a_half_removed_agent_can_be_installed_again_instead(installed: Clm, host: Machine) -> None:
    key = installed.key(AGENT)
    host.ssh(f"userdel --remove {AGENT} 2>/dev/null; rm {UNIT}; systemctl daemon-reload")
    assert f"Agent {AGENT} installed on {HOST}." in installed.install(AGENT).stdout
    assert installed.key(AGENT) == key


def test_a_host_is_cleaned_of_an_agent_that_nobody_has_on_record(installed: Clm, host: Machine) -> None:
    owner = ids(host)
    remove(installed, "--local-only")
    assert ids(host) == owner, "only forgotten here"
    assert_forgotten(installed)
    assert f"There is no agent '{AGENT}'" in remove(installed)
    assert ids(host) == owner, "without a host there is nowhere to look"
    assert f"Agent {AGENT} removed." in remove(installed, "--host", HOST)
    assert left(host, owner) == ""


def test_a_host_that_is_gone_for_good_can_be_forgotten(installed: Clm, host: Machine) -> None:
    host.unplug()
    try:
        refused = installed.run("agent", "remove", AGENT, "--yes", exit=4)
        assert f"If the host is gone for good: clm agent remove {AGENT} --local-only" in refused.stderr
        remove(installed, "--local-only")
    finally:
        host.plug()
    assert_forgotten(installed)


def test_a_question_is_asked_and_no_is_no(installed: Clm, host: Machine) -> None:
    assert "--yes" in installed.run("agent", "remove", AGENT, exit=2).stderr
    with installed.terminal("agent", "remove", AGENT) as terminal:
        terminal.expect("with all its memories and conversations")
        terminal.type("\n")
        assert terminal.end() == 3
    assert ids(host)
    with installed.terminal("agent", "remove", AGENT) as terminal:
        terminal.expect("[y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert host.ssh("id", AGENT, check=False).returncode != 0


# What is not ours


def test_a_unit_that_is_not_ours_stays_and_so_does_all_else(installed: Clm, host: Machine) -> None:
    own = host.ssh("cat", UNIT).stdout
    host.ssh(f"cat >{UNIT} && systemctl daemon-reload", input="[Service]\nExecStart=/bin/true\n")
    refused = remove(installed, exit=1)
    assert f"{UNIT} was not made by pyinfra-hermes; nothing was removed" in refused
    assert ids(host)
    assert host.ssh("cat", UNIT).stdout == "[Service]\nExecStart=/bin/true\n"
    assert AGENT in installed.document("hosts.json")["hosts"][HOST]["agents"]
    host.ssh(f"cat >{UNIT} && systemctl daemon-reload", input=own)


@pytest.mark.parametrize(
    ("made", "account"),
    [
        ("useradd --create-home --comment 'A human' human", "human"),
        ("useradd --create-home --comment 'Hermes agent (pyinfra-hermes' almost", "almost"),
        ("true", "nosudo"),
    ],
)
def test_an_account_that_is_not_ours_is_not_touched(clm: Clm, host: Machine, made: str, account: str) -> None:
    host.ssh(made)
    uid = ids(host, account).partition(":")[0]
    before = host.ssh(f"getent passwd {account}; stat --format='%n %a %U %y' /home/{account}").stdout
    host.ssh(f"setsid setpriv --reuid={uid} --regid={uid} --clear-groups sleep 1000 >/dev/null 2>&1 &")
    refused = clm.run("agent", "remove", account, "--host", HOST, "--yes", exit=1)
    assert f"the account {account} was not made by pyinfra-hermes" in refused.stderr
    taken = clm.run("agent", "install", "--host", HOST, "--name", account, exit=5)
    assert f"the account {account} (uid {uid}) exists and was not made by pyinfra-hermes" in taken.stderr
    assert host.ssh(f"getent passwd {account}; stat --format='%n %a %U %y' /home/{account}").stdout == before
    assert "sleep 1000" in host.ssh("pgrep", "-a", "-U", uid).stdout
    assert_unknown = clm.json("ps")
    assert [row["name"] for row in assert_unknown if row["name"] == account] == []
    host.ssh(f"pkill -KILL -U {uid}; true")


@pytest.mark.parametrize("name", ["root", "Root", "-rf", "../etc", "x;reboot"])
def test_a_name_that_no_agent_can_have_is_refused_before_any_connection(clm: Clm, host: Machine, name: str) -> None:
    before = host.ssh("cat /etc/passwd; ls -la --time-style=full-iso /home").stdout
    done = clm.run("agent", "remove", "--host", HOST, "--yes", "--", name, exit=2)
    assert shlex.quote(name) in done.stderr or name in done.stderr
    assert host.ssh("cat /etc/passwd; ls -la --time-style=full-iso /home").stdout == before
