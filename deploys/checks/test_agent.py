"""The checks: one property of an agent each. All but the last few look at files; nothing is changed."""

from __future__ import annotations

import ipaddress
import re
import time

import pytest

from pyinfra_hermes.deploys.checks.subject import Subject
from pyinfra_hermes.deploys.model.layout import ACCOUNT_COMMENT, UNIT_HEADER, is_shared
from pyinfra_hermes.deploys.model.spec import Hardening
from pyinfra_hermes.deploys.model.unit import EXPOSURE

_INSTALLED_ONLY = "it is not to run yet"
#: Seconds in which a daemon that crashes again and again is started once more (RestartSec=5, and its start).
_STEADY_SECONDS = 10


def test_account(hermes_agent: Subject) -> None:
    """The account is ours, has its home, nobody can log in to it, and it is in no group of others."""
    agent, user = hermes_agent, hermes_agent.host.user(hermes_agent.name)
    agent.first_look  # noqa: B018 - what comes last compares with it
    again = f"Make it: clm agent install --type hermes --host HOST --name {agent.name}"
    if not user.exists:
        agent.wrong("its account is not there", again)
    entry = agent.sh('getent passwd "$1"', agent.name)[0].split(":")
    if entry[4].split(",")[0] != ACCOUNT_COMMENT:
        agent.wrong(f"the account was not made by us: its comment is {entry[4]!r}", "Give the agent another name")
    if entry[5] != agent.paths.home:
        agent.wrong(f"the home of the account is {entry[5]}, not {agent.paths.home}", "Remove the agent, install it")
    if entry[6] != "/usr/sbin/nologin":
        agent.wrong(f"the shell of the account is {entry[6]}", f"usermod --shell /usr/sbin/nologin {agent.name}")
    if not agent.sh('getent shadow "$1"', agent.name)[0].split(":")[1].startswith(("!", "*")):
        agent.wrong("the account has a password", f"passwd --lock {agent.name}")
    groups = set(user.groups) - {agent.name}
    if groups:
        group = sorted(groups)[0]
        agent.wrong(f"the account is in the group {group}", f"gpasswd --delete {agent.name} {group}")


def test_files_are_private(hermes_agent: Subject) -> None:
    """What holds credentials and memories is the agent's, and for nobody else to read."""
    agent, paths = hermes_agent, hermes_agent.paths
    wanted = {
        paths.home: ("directory", "700"),
        paths.hermes_home: ("directory", "700"),
        paths.memories: ("directory", "700"),
        paths.env: ("file", "600"),
    }
    if agent.wanted.running:
        wanted[paths.config] = ("file", "600")
    for folder in (paths.credentials, paths.tokens):
        for line in agent.sh('[ ! -e "$1" ] || find "$1" -maxdepth 1 -printf "%p\\n"', folder):
            wanted[line] = ("directory", "700") if line == folder else ("file", "600")
    lines = agent.sh('stat --printf "%n|%F|%a|%U\\n" -- "$@" 2>/dev/null', *wanted)
    found = {line.split("|")[0]: line.split("|")[1:] for line in lines}
    for path, (kind, mode) in wanted.items():
        if path not in found:
            agent.wrong(f"{path} is not there", agent.configure)
        is_kind, is_mode, owner = found[path]
        if kind not in is_kind:
            agent.wrong(f"{path} is a {is_kind}", agent.configure)
        if is_mode != mode:
            agent.wrong(f"{path} has the mode {is_mode}, not {mode}", f"chmod {mode} {path}")
        if owner != agent.name:
            agent.wrong(f"{path} is {owner}'s", f"chown {agent.name}: {path}")


def test_no_secret_lies_open(hermes_agent: Subject) -> None:
    """No file in its home or in a directory for temporary files that others may read holds a credential of its .env."""
    agent = hermes_agent
    # The values reach grep on its standard input. Old releases of the installer's are large, and hold no credential.
    script = r"""
        [ -f "$2" ] || exit 0
        values=$(sed -n 's/^\(export \)\{0,1\}[A-Z0-9_]*\(KEY\|TOKEN\|SECRET\|PASSWORD\)[A-Z0-9_]*=//p' "$2" |
            sed "s/^['\"]//; s/['\"]$//" | grep -E '.{8}')
        [ -n "$values" ] || exit 0
        find "$1" /tmp /var/tmp -xdev -path "$1/.hermes/releases" -prune -o \
            -type f -perm /044 -size -2048k -print 2>/dev/null |
        while IFS= read -r file; do
            printf '%s\n' "$values" | grep -qsFf - -- "$file" && printf '%s\n' "$file"
        done
    """
    open_ = agent.sh(script, agent.paths.home, agent.paths.env)
    if open_:
        agent.wrong(f"others may read {open_[0]}, which holds a credential of its .env", f"rm {open_[0]}")


def test_unit_file(hermes_agent: Subject) -> None:
    """The unit is ours, only root can change it, nothing overrides it, and systemd runs what it says."""
    agent, unit = hermes_agent, hermes_agent.unit()
    path = agent.paths.unit
    lines = agent.sh('stat -c "%U %G %a" "$1" && head -n 1 "$1"', path)
    if len(lines) < 2:
        agent.wrong(f"{path} is not there", agent.configure)
    if lines[1] != UNIT_HEADER:
        agent.wrong(f"{path} was not written by us", f"Move it away. {agent.configure}")
    if lines[0] != "root root 644":
        agent.wrong(f"{path} is {lines[0]}, not root root 644", f"chown root:root {path}; chmod 644 {path}")
    if unit.get("FragmentPath") != path:
        agent.wrong(f"systemd reads {unit.get('FragmentPath') or 'no file'} instead of {path}", "Remove it")
    # Those of all services are the distribution's business.
    own = [name for name in unit.get("DropInPaths", "").split() if f"/{agent.paths.service}.d/" in name]
    if own:
        agent.wrong(f"{own[0]} overrides the unit", f"rm {own[0]}; systemctl daemon-reload")
    if unit.get("NeedDaemonReload") == "yes":
        agent.wrong("systemd has not read the unit since it was changed", "systemctl daemon-reload")


def test_sandbox(hermes_agent: Subject) -> None:
    """The unit's exposure, as systemd-analyze(1) rates it, is at most what its hardening profile was measured with."""
    agent = hermes_agent
    profile = agent.wanted.hardening or agent.marks.get("hardening")
    known: dict[str, float] = dict(EXPOSURE.items())
    if profile not in known:
        agent.wrong(f"its unit does not say which hardening it has: {profile!r}", agent.configure)
    said = agent.sh('systemd-analyze security --no-pager "$1" | tail -n 1', agent.paths.service)
    score = re.search(r": ([0-9.]+) ", said[-1] if said else "")
    if score is None:
        agent.wrong("systemd-analyze does not rate its unit", f"systemd-analyze security {agent.paths.service}")
    most = known[profile]
    if float(score[1]) > most:
        agent.wrong(f"its unit has the exposure {score[1]}; {profile} has at most {most}", _harden(agent, profile))


def _harden(agent: Subject, profile: Hardening | str) -> str:
    return f"Bring it back: clm agent configure {agent.name} --hardening {profile}"


def test_no_linger(hermes_agent: Subject) -> None:
    """The account cannot run programs outside of its unit's sandbox by a user manager of its own."""
    agent = hermes_agent
    if agent.sh('[ -e "/var/lib/systemd/linger/$1" ] && echo yes', agent.name):
        agent.wrong("it may run programs outside of its sandbox: linger is on", f"loginctl disable-linger {agent.name}")


def test_release_is_sealed(hermes_agent: Subject) -> None:
    """A release that all agents of the host share is root's, and no agent can change it."""
    agent = hermes_agent
    if not agent.release_id:
        agent.wrong("its unit does not say which release it runs", agent.configure)
    if not is_shared(agent.release_id):
        pytest.skip("upstream's installer makes a release that is the agent's own")
    lines = agent.sh(
        '[ -d "$1" ] || echo "$1"; find "$1" \\( ! -user root -o ! -type l -perm /022 \\) -print -quit 2>/dev/null',
        agent.release_directory,
    )
    if lines:
        what = "is not there" if lines[0] == agent.release_directory else "can be changed by others than root"
        agent.wrong(f"{lines[0]} {what}", f"Install the release anew: remove {agent.release_directory}, then install")


def test_version(hermes_agent: Subject) -> None:
    """The release that the unit names is the wanted one, says so itself, and is what runs."""
    agent, wanted = hermes_agent, hermes_agent.release_tag
    method = agent.wanted.method
    if not agent.release_id.startswith(f"{wanted}-"):
        agent.wrong(f"its unit is for {agent.release_id or 'no release'}, not {wanted}", agent.configure)
    if method is not None and is_shared(agent.release_id) != (method == "wheel"):
        agent.wrong(f"its release did not come by the method {method}", agent.configure)
    # As the agent: what upstream's installer makes is the agent's own, and root runs nothing of it.
    said = " ".join(
        agent.sh(
            'cd / && setpriv --reuid="$1" --regid="$1" --clear-groups --inh-caps=-all --no-new-privs '
            'env -i HOME="$2" PATH=/usr/bin:/bin "$3/venv/bin/hermes" --version 2>&1 | head -n 5',
            agent.name, agent.paths.home, agent.release_directory,
        )
    )  # fmt: skip
    if f"({wanted.removeprefix('v')})" not in said:
        agent.wrong(f"it says of its version: {said[:200] or 'nothing'}; wanted is {wanted}", agent.configure)
    pid = agent.unit().get("MainPID", "0")
    running = agent.sh('tr "\\0" " " <"/proc/$1/cmdline"', pid) if pid != "0" else []
    if running and f"{agent.release_directory}/" not in running[0]:
        agent.wrong("the daemon runs on another release", f"Restart it: clm agent restart {agent.name}")


def test_service_is_enabled(hermes_agent: Subject) -> None:
    """It starts with its host."""
    agent = hermes_agent
    agent.applies(True, _INSTALLED_ONLY)
    state = agent.unit().get("UnitFileState") or "not there"
    if state != "enabled":
        agent.wrong(f"its service is {state}: it does not start with the host", f"clm agent start {agent.name}")


def test_service_runs(hermes_agent: Subject) -> None:
    """It runs."""
    agent = hermes_agent
    agent.applies(True, _INSTALLED_ONLY)
    unit = agent.unit()
    if (unit.get("ActiveState"), unit.get("SubState")) != ("active", "running"):
        state = f"{unit.get('ActiveState')} ({unit.get('SubState')})"
        failed = f", {unit.get('Result')}, exit status {unit.get('ExecMainStatus')}"
        agent.wrong(
            f"its service is {state}{failed if unit.get('Result') != 'success' else ''}",
            f"See why: clm agent logs {agent.name}. Start it: clm agent start {agent.name}",
        )


def test_listener(hermes_agent: Subject) -> None:
    """Its own process holds its port, on loopback."""
    agent = hermes_agent
    agent.applies(True, _INSTALLED_ONLY)
    if not agent.port:
        agent.wrong(f"{agent.paths.env} names no port", agent.configure)
    at = [address for address, port, own in agent.listeners if port == agent.port and own]
    if not at:
        other = agent.sh('ss -Hltnp "sport = :$1" | sed -n "s/.*users:((//p"', str(agent.port))
        held = f"it is held by {other[0].split(')')[0]}" if other else "nothing does"
        agent.wrong(f"its process does not listen on port {agent.port}; {held}", f"clm agent logs {agent.name}")
    for address in at:
        if not _is_loopback(address):
            agent.wrong(f"its API listens on {address} port {agent.port}, for the network", agent.configure)


def test_nothing_else_listens_to_the_network(hermes_agent: Subject) -> None:
    """No program of the agent can be reached from elsewhere."""
    agent = hermes_agent
    for address, port, _ in agent.listeners:
        if port != agent.port and not _is_loopback(address):
            agent.wrong(
                f"a program of its account listens on {address} port {port}, for the network",
                f"See which: ss -ltnp 'sport = :{port}'",
            )


def _is_loopback(address: str) -> bool:
    return address != "*" and ipaddress.ip_address(address).is_loopback


def test_health(hermes_agent: Subject) -> None:
    """It says that it is healthy."""
    agent = hermes_agent
    agent.applies(True, _INSTALLED_ONLY)
    status = agent.http("/health", "none")
    if status != 200:
        agent.wrong(f"/health answers {status or 'nothing'}, not 200", f"clm agent logs {agent.name}")


def test_api_wants_its_key(hermes_agent: Subject) -> None:
    """Its API answers nobody who does not have its key."""
    agent = hermes_agent
    agent.applies(True, _INSTALLED_ONLY)
    for key, wanted, who in (("none", 401, "without a key"), ("wrong", 401, "with a wrong key"), ("own", 200, "")):
        status = agent.http("/v1/models", key)  # type: ignore[arg-type]
        if status != wanted:
            agent.wrong(
                f"/v1/models answers {status or 'nothing'} {who or 'with the key of its .env'}, not {wanted}",
                agent.configure,
            )


def test_restarts_are_steady(hermes_agent: Subject) -> None:
    """It is not started again and again."""
    agent = hermes_agent
    agent.applies(True, _INSTALLED_ONLY)
    since, first = agent.first_look
    restarts = int(first.get("NRestarts") or 0)
    if restarts:
        # One that was never restarted cannot be in a loop that these seconds would show.
        time.sleep(max(0.0, since + _STEADY_SECONDS - time.monotonic()))
    now = agent.unit()
    if int(now.get("NRestarts") or 0) != restarts:
        agent.wrong(
            f"it was restarted {now.get('NRestarts')} times, {restarts} a moment ago",
            f"See why: clm agent logs {agent.name}",
        )
