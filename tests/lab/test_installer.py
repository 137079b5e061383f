"""The installer method where something goes wrong, and side by side: with the tests' own installer, see upstream.sh."""

from __future__ import annotations

import re
import signal
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from pyinfra_hermes.deploys.model.layout import Layout
from pyinfra_hermes.facts.script import PENDING
from tests.lab.clm import FLEET, Clm, counted, main_pid
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.process import wait_until
from tests.lab.upstream import PLANTED, Upstream

HOST, AGENT = "wolf-i", "maurice"
FIRST, SECOND = "v2026.5.7", "v2026.7.1"
PATHS = Layout(AGENT)
#: Takes dpkg's lock as apt does, says so, and gives it back after some seconds.
_HOLD = """
import fcntl, sys, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
open("/run/lab-held", "w").close()
time.sleep(4)
open("/run/lab-released", "w").close()
"""


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine, _upstream_server: Upstream) -> Clm:
    """Someone who has the host on record, has pinned the installers of two releases, and says where they lie."""
    person = Clm(tmp_path_factory.mktemp("installer"))
    person.add_host(host, HOST)
    server = _upstream_server
    pins = person.state / "releases.yaml"
    rows = [f'  - {{tag: {tag}, installer_sha256: "{server.digest(tag)}"}}\n' for tag in (FIRST, SECOND)]
    pins.write_text("releases:\n" + "".join(rows))
    pins.chmod(0o600)
    person.environment |= {"HERMES_METHOD": "installer", "HERMES_INSTALLER_BASE": server.base}
    return person


@pytest.fixture(scope="module")
def equipped(clm: Clm, host: Machine, tmp_path_factory: pytest.TempPathFactory) -> Clm:
    """The same, and the host has a source of what an installation by the installer needs."""
    work = tmp_path_factory.mktemp("packages")
    for package, program in (("git", "git"), ("xz-utils", "xz")):
        _package(work, package, program)
    archive = subprocess.run(["tar", "-c", "-C", work, "."], capture_output=True, check=True).stdout
    (host.root / "srv/packages").mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", host.root / "srv/packages"], input=archive, check=True)
    host.ssh("rm -rf /etc/apt/sources.list* && echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list")
    return clm


def install(clm: Clm, *arguments: str, name: str = AGENT, exit: int = 0) -> str:
    """Install an agent, and return all that was said."""
    return clm.run("agent", "install", "--host", HOST, "--name", name, *arguments, exit=exit).output


def traces(host: Machine, name: str = AGENT) -> str:
    """What there is of an agent and of its installation."""
    return host.ssh(
        f"getent passwd {name}; ls -d /home/{name} {PENDING}/{name}.* {PENDING}/.fetch.* /tmp/pyinfra-hermes-*; "
        f"systemctl show hermes-install-{name} -p ActiveState --value | grep -v inactive",
        check=False,
    ).stdout


# Before anything is made


def test_all_that_an_installer_needs_is_asked_for_at_once(clm: Clm, host: Machine) -> None:
    said = install(clm, exit=5)
    assert "- git (Debian package git) was not found on this host." in said
    assert "- xz (Debian package xz-utils) was not found on this host." in said
    assert "Install it with: sudo apt-get update && sudo apt-get install -y git xz-utils" in said
    assert traces(host) == ""
    assert clm.json("host", "check", HOST)["problems"] == []
    assert len(clm.json("host", "check", HOST, "--method", "installer", exit=5)["problems"]) == 2


def test_packages_are_installed_when_asked_for_and_another_installer_is_never_run(
    equipped: Clm, host: Machine, upstream: Upstream
) -> None:
    held = subprocess.Popen(
        ["ssh", "-F", host.ssh_config, f"root@{host.name}", "python3", "-"], stdin=subprocess.PIPE, text=True
    )
    assert held.stdin is not None
    held.stdin.write(_HOLD)
    held.stdin.close()
    host.ssh("until [ -e /run/lab-held ]; do sleep 0.05; done")
    upstream.fault = "bytes"
    said = install(equipped, "--install-deps", exit=1)
    assert held.wait(20) == 0, "who held the lock was waited for"
    assert host.ssh("ls /run/lab-released && git && xz").stdout.count("\n") == 1

    genuine, served = upstream.digest(FIRST), re.search(r"actual +sha256 ([0-9a-f]{64})", said)
    assert f"expected sha256 {genuine}" in said
    assert served is not None and served[1] != genuine
    assert "nothing was executed" in said and f"clm release pin {FIRST}" in said
    assert "/orders" not in upstream.asked, "the script asks for this as soon as it runs"
    assert traces(host) == ""


def test_an_address_that_cannot_be_used_is_refused_before_a_connection(clm: Clm) -> None:
    clm.run("agent", "install", "--host", HOST, "--name", AGENT, "--installer-base", "ftp://x", exit=2)
    clm.run("agent", "install", "--host", HOST, "--name", AGENT, "--repository", "https://u:p@x/y.git", exit=2)


# An installation


def test_one_that_fails_says_why_and_shows_no_secret(
    equipped: Clm, host: Machine, upstream: Upstream, tmp_path: Path
) -> None:
    # From a folder of the control machine, for hosts without a way out.
    script = tmp_path / "NousResearch/hermes-agent" / FIRST / "scripts/install.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes(upstream.script(FIRST))
    upstream.fault = "exit"
    said = install(equipped, "--installer-base", str(tmp_path), name="lisa", exit=1)
    assert not [path for path in upstream.asked if path.endswith("install.sh")]
    assert "failed at the step 'Installing dependencies...': exit code 1" in said
    assert PLANTED not in said
    assert "building wheel 200 ... ANTHROPIC_API_KEY=********" in said
    log = f"{PENDING}/lisa.installer/log"
    assert log in said
    assert PLANTED in host.ssh("cat", log).stdout
    assert host.ssh("stat", "--format=%a %U", log).stdout == "600 root\n"
    assert host.ssh("ls -A /home/lisa/.hermes/releases").stdout == ""
    equipped.run("agent", "remove", "lisa", "--yes")
    assert traces(host, "lisa") == ""


def test_one_goes_on_when_clm_and_the_connection_end_and_is_waited_for_again(
    equipped: Clm, host: Machine, upstream: Upstream
) -> None:
    # Somebody else's, which hangs: it is no reason to wait, and nothing is done to it.
    upstream.fault = "hang"
    other = equipped.start("agent", "install", "--host", HOST, "--name", "lisa")
    assert wait_until(lambda: "/orders" in upstream.asked, 60)
    upstream.reset()

    upstream.fault, upstream.pause = "fallback", 0.7
    begun = equipped.start("agent", "install", "--host", HOST, "--name", AGENT)
    assert wait_until(lambda: "/orders" in upstream.asked, 60)
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    again = equipped.start("agent", "install", "--host", HOST, "--name", AGENT)
    assert again.stderr is not None
    said = next(line for line in again.stderr if "under way" in line)
    host.ssh("pkill -KILL -f '^sshd: admin'")
    rest = again.communicate(timeout=90)[1]
    assert again.returncode == 0, said + rest
    assert "the connection was lost" in rest
    assert re.search(r"\d:\d\d  → ", rest), "the steps are told, with the time since it began"
    assert upstream.asked.count("/orders") == 1, "there was one installation"
    assert "Warning: upstream's installer of v2026.5.7-installer-" in rest
    assert "took its fallback tier (all minus known-broken (none)): nobody checked" in rest
    [receipt] = equipped.json("agent", "history", AGENT)
    assert "fallback tier (all minus known-broken (none)), without hashes" in receipt["changes"][0]

    assert other.poll() is None
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert equipped.status("lisa", exit=None)["state"] == "installing"
    refused = install(equipped, "--release", SECOND, name="lisa", exit=1)
    assert "agent lisa gets v2026.5.7-installer-" in refused
    equipped.run("agent", "remove", "lisa", "--yes")
    assert traces(host, "lisa") == ""


def test_what_it_leaves_is_ours(equipped: Clm, host: Machine, upstream: Upstream) -> None:
    [release] = host.ssh(f"ls {PATHS.releases}").stdout.split()
    assert release == f"{FIRST}-installer-{upstream.digest(FIRST)[:8]}"
    assert host.ssh("readlink", PATHS.code).stdout == f"{PATHS.releases}/{release}\n"
    assert host.ssh("stat", "--format=%a %U %s", PATHS.env).stdout == f"600 {AGENT} 0\n"
    assert host.ssh("test", "-e", PATHS.config, check=False).returncode == 1, "upstream's example is nobody's"
    assert host.ssh("cmp", "/etc/skel/.bashrc", f"{PATHS.home}/.bashrc").stdout == ""
    assert host.ssh("stat", "--format=%a %U", f"{PENDING}/{AGENT}.installed/{release}").stdout == "600 root\n"
    assert host.ssh(f"find {PATHS.home} ! -user {AGENT}").stdout == "", "root made nothing there"
    assert f"{PATHS.code}/venv/bin/hermes" in host.ssh("cat", f"{PATHS.home}/.local/bin/hermes").stdout
    assert "nothing to do" in install(equipped)


def test_its_agent_answers_and_pyinfra_has_nothing_to_do(equipped: Clm, model: StandInModel, tmp_path: Path) -> None:
    equipped.add_provider(model)
    equipped.configure(AGENT, "--provider", "local")
    assert len(model.chats) == 1
    status = equipped.status(AGENT)
    assert (status["state"], status["method"], status["drift"]) == ("running", "installer", [])
    said = equipped.run("agent", "status", AGENT).stdout
    assert f"{FIRST}, by installer" in said and "by its fallback tier (all minus" in said
    assert counted(equipped.pyinfra(*FLEET, "-y").output)[:2] == (0, 0)
    # The release is the agent's own, so nobody seals it; all else holds.
    checks = equipped.json("agent", "verify", AGENT)["checks"]
    assert [row["check"] for row in checks if row["result"] != "passed"] == ["release is sealed"]


def test_another_release_comes_beside_it(equipped: Clm, host: Machine, upstream: Upstream, model: StandInModel) -> None:
    kept = ("sha256sum", PATHS.env, f"{PATHS.hermes_home}/SOUL.md")
    before, pid = host.ssh(*kept).stdout, main_pid(host, AGENT)
    upgrade = ("agent", "upgrade", AGENT, "--to", SECOND, "--yes", "--skip-chat")
    assert "install does not change that" in install(equipped, "--release", SECOND, exit=3)
    upstream.fault = "exit"
    said = equipped.run(*upgrade, exit=6).output
    assert "failed at the step 'Installing dependencies...': exit code 1" in said
    assert PLANTED not in said
    assert main_pid(host, AGENT) == pid
    assert len(host.ssh(f"ls {PATHS.releases}").stdout.split()) == 1
    status = equipped.status(AGENT)
    assert (status["state"], status["release"], status["drift"]) == ("running", FIRST, [])

    # Whoever can be asked would wait for an answer here.
    upstream.fault = "tty"
    said = equipped.run(*upgrade).output
    assert "→ Installing dependencies..." in said
    log = host.ssh("cat", f"{PENDING}/{AGENT}.installer/log").stdout
    assert "Non-interactive mode and no terminal available" in log
    assert len(host.ssh(f"ls {PATHS.releases}").stdout.split()) == 2
    assert host.ssh(*kept).stdout == before
    status = equipped.status(AGENT)
    assert (status["state"], status["release"], status["method"]) == ("running", SECOND, "installer")
    assert main_pid(host, AGENT) != pid


def test_nothing_is_made_where_a_link_of_the_agents_leads(equipped: Clm, host: Machine) -> None:
    """systemd's BindPaths= made an empty file of root's there: /etc/nologin, for one."""
    enter = resources.files("pyinfra_hermes.operations").joinpath("installer_enter.py.txt").read_text(encoding="utf-8")
    home, empty = PATHS.hermes_home, "/run/lab-empty"
    host.ssh(f"install -o {AGENT} -g {AGENT} -m 600 /dev/null {empty}; cat >/run/lab-enter", input=enter)
    begin = f"unshare -m python3 -I /run/lab-enter {AGENT} {empty} {home} sh -c"
    hidden = host.ssh(
        f"{begin} 'id -un; grep -c . {home}/.env; echo x >{home}/.env'; grep -c API_ {home}/.env", check=False
    )
    assert hidden.stdout.split()[:2] == [AGENT, "0"] and int(hidden.stdout.split()[2]) > 0
    host.ssh(f"mv {home}/.env {home}/.kept && ln -s /etc/lab-made {home}/.env")
    refused = host.ssh(f"{begin} 'echo executed'", check=False)
    assert (refused.returncode, refused.stdout) == (1, "") and "nothing was executed" in refused.stderr
    assert (
        host.ssh(f"ls /etc/lab-made; mv {home}/.kept {home}/.env; rm {empty} /run/lab-enter", check=False).stdout == ""
    )


#: Stops every process of its own user, again and again: those that look into its home, too.
_STOP = """
import os, signal, time
while True:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) != os.getpid() and os.stat("/proc/" + pid).st_uid == os.getuid():
                os.kill(int(pid), signal.SIGSTOP)
        except OSError:
            pass
    time.sleep(0.001)
"""


def test_removal_leaves_nothing_of_one_that_stops_whoever_looks_at_it(equipped: Clm, host: Machine) -> None:
    # A daemon that cannot finish what it does would be waited for.
    host.ssh(f"systemctl kill --signal=KILL hermes-{AGENT}.service; systemctl stop hermes-{AGENT}.service", check=False)
    host.ssh("cat >/run/lab-stop", input=_STOP)
    host.ssh(
        f"setsid setpriv --reuid={AGENT} --regid={AGENT} --clear-groups "
        "python3 /run/lab-stop >/dev/null 2>&1 </dev/null &"
    )
    # It hides itself, and neither the host nor its neighbours.
    assert equipped.json("ps")[0]["state"] != "unreachable"
    equipped.run("agent", "remove", AGENT, "--yes")
    assert traces(host) == ""
    assert host.ssh(f"ls -A {PENDING}", check=False).stdout == ""


def _package(folder: Path, package: str, program: str) -> None:
    """Make a Debian package with one program in it, and list it as a source of packages does."""
    tree = folder / f"{package}-tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin" / program).write_text("#!/bin/sh\n")
    (tree / "usr/bin" / program).chmod(0o755)
    fields = f"Package: {package}\nVersion: 1\nArchitecture: all\nMaintainer: lab <lab@localhost>\nDescription: lab\n"
    (tree / "DEBIAN/control").write_text(fields)
    file = folder / f"{package}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, file], check=True, capture_output=True)
    size = file.stat().st_size
    digest = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout.split()[0]
    with (folder / "Packages").open("a") as listing:
        listing.write(f"{fields}Filename: ./{file.name}\nSize: {size}\nSHA256: {digest}\n\n")
