"""The shipped checks: a healthy agent passes all of them, and each property that is broken fails its own check."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.clm import Clm, built_release, run
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel

HOST, AGENT = "wolf-i", "maurice"
HERMES = f"/home/{AGENT}/.hermes"
UNIT = f"/etc/systemd/system/hermes-{AGENT}.service"
RELOAD = "systemctl daemon-reload"

# In the daemon's place, in its unit: what it answers is in a file. It is told of the release's folder as an argument.
_STUB = """
import http.server, pathlib, sys
class Stub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mode = pathlib.Path("/opt/stub.mode").read_text().strip()
        known = self.headers.get("Authorization", "").startswith("Bearer ") and "0" * 64 not in str(self.headers)
        status = (503 if mode == "sick" else 200) if self.path == "/health" else 200 if known or mode == "open" else 401
        self.send_response(status)
        self.end_headers()
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((sys.argv[1], 8642), Stub).serve_forever()
"""
_STUB_RUNS = (
    "curl -s -o /dev/null --retry 50 --retry-delay 0 --retry-max-time 20 --retry-connrefused http://127.0.0.1:8642/"
)


def _stub(mode: str, address: str = "127.0.0.1") -> str:
    program = f"/usr/bin/python3 /opt/stub.py {address} $(readlink {HERMES}/code)/"
    return (
        f"echo {mode} >/opt/stub.mode; "
        f'sed -i "s|^ExecStart=.*|ExecStart={program}|; s/^RestartSec=.*/RestartSec=0/" {UNIT}; '
        f"{RELOAD}; systemctl restart hermes-{AGENT}; {_STUB_RUNS}"
    )


#: What is broken, how it is mended, and the checks that must fail, and no others.
BROKEN = {
    "shell": (f"usermod --shell /bin/bash {AGENT}", f"usermod --shell /usr/sbin/nologin {AGENT}", {"account"}),
    "mode": (f"chmod 640 {HERMES}/config.yaml", f"chmod 600 {HERMES}/config.yaml", {"files are private"}),
    "copy": (
        f"install -o {AGENT} -m 644 {HERMES}/.env /home/{AGENT}/notes.txt",
        f"rm /home/{AGENT}/notes.txt",
        {"no secret lies open"},
    ),
    "drop-in": (
        f"mkdir {UNIT}.d; echo '[Unit]' >{UNIT}.d/more.conf; {RELOAD}",
        f"rm -r {UNIT}.d; {RELOAD}",
        {"unit file"},
    ),
    "sandbox": (
        f"cp -a {UNIT} /root/unit; sed -i '/^ProtectSystem=/d; /^PrivateTmp=/d' {UNIT}; {RELOAD}",
        f"cp -a /root/unit {UNIT}; {RELOAD}",
        {"sandbox"},
    ),
    "linger": (
        f"touch /var/lib/systemd/linger/{AGENT}",
        f"rm /var/lib/systemd/linger/{AGENT}",
        {"no linger"},
    ),
    "release": (
        f"chmod g+w $(readlink {HERMES}/code)/venv/bin",
        f"chmod g-w $(readlink {HERMES}/code)/venv/bin",
        {"release is sealed"},
    ),
    "disabled": (
        f"systemctl disable --quiet hermes-{AGENT}",
        f"systemctl enable --quiet hermes-{AGENT}",
        {"service is enabled"},
    ),
    "listener": (
        f"systemd-run --quiet --unit=listens --uid={AGENT} python3 -m http.server --bind 0.0.0.0 9999; "
        "curl -s -o /dev/null --retry 50 --retry-delay 0 --retry-max-time 20 --retry-connrefused http://127.0.0.1:9999/",
        "systemctl stop listens",
        {"nothing else listens to the network"},
    ),
    # From here on the daemon is not Hermes any more.
    "network": (_stub("fine", "0.0.0.0"), _stub("fine"), {"listener"}),
    "health": (_stub("sick"), "echo fine >/opt/stub.mode", {"health"}),
    "key": ("echo open >/opt/stub.mode", "echo fine >/opt/stub.mode", {"api wants its key"}),
    "stopped": (
        f"systemctl stop hermes-{AGENT}",
        f"systemctl start hermes-{AGENT}; {_STUB_RUNS}",
        {"service runs", "listener", "health", "api wants its key"},
    ),
}


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the release."""
    [machine] = hosts(1, layer=built_release(lab))
    machine.ssh("cat >/opt/stub.py; echo fine >/opt/stub.mode", input=_STUB)
    return machine


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine, _model_server: StandInModel) -> Clm:
    """Someone with an agent that runs."""
    person = Clm(tmp_path_factory.mktemp("verify"))
    person.add_host(host, HOST)
    person.add_provider(_model_server)
    person.run("agent", "install", "--host", HOST, "--name", AGENT, "--method", "wheel")
    person.configure(AGENT, "--provider", "local", "--skip-chat")
    return person


def results(clm: Clm, exit: int) -> dict[str, str]:
    """What `clm agent verify` says of each check."""
    return {row["check"]: row["result"] for row in clm.json("agent", "verify", AGENT, exit=exit)["checks"]}


def plain_pytest(host: Machine, folder: Path, *arguments: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    """The same checks as a user's own CI runs them; the options' plugin is named, as an old installation needs it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pyinfra_hermes.deploys.checks.plugin"]
    command += ["--pyargs", "pyinfra_hermes.deploys.checks", f"--hosts=ssh://{user}@{host.name}"]
    command += [f"--ssh-config={host.ssh_config}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, stdin=subprocess.DEVNULL)


def test_a_healthy_agent_passes_every_check_in_both_ways(clm: Clm, host: Machine, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    said = clm.run("agent", "verify", AGENT, "--junit", str(report)).stdout
    [suite] = ElementTree.parse(report).getroot()
    checks = int(suite.attrib["tests"])
    assert f"{checks} checks passed, 0 failed, 0 left out." in said
    assert clm.key(AGENT) not in said + report.read_text()
    done = plain_pytest(host, tmp_path, "--sudo", user="admin")
    assert f"{checks} passed" in done.stdout, done.stdout + done.stderr
    # Every check fails below, but for two that have tests of their own.
    broken = set().union(*(names for *_, names in BROKEN.values()))
    assert set(results(clm, 0)) == broken | {"version", "restarts are steady"}


def test_the_same_agent_in_numbers(clm: Clm, tmp_path: Path) -> None:
    file = tmp_path / "hermes.prom"
    clm.run("metrics", "--textfile", str(file))
    assert file.stat().st_mode & 0o777 == 0o644 and [path.name for path in tmp_path.iterdir()] == [file.name]
    values = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    labels = f'{{host="{HOST}",agent="{AGENT}"}}'
    assert values[f'hermes_host_up{{host="{HOST}"}}'] == "1"
    assert {values[f"hermes_agent_{name}{labels}"] for name in ("up", "healthy")} == {"1"}
    assert {values[f"hermes_agent_{name}{labels}"] for name in ("trouble", "drifted", "restarts_total")} == {"0"}
    assert int(values[f"hermes_agent_state_db_bytes{labels}"]) > 0
    assert float(values["hermes_scrape_duration_seconds"]) > 0


def test_a_host_writes_its_own_numbers(clm: Clm, host: Machine) -> None:
    for directory in ("/var/lib/first", "/var/lib/prom"):
        said = clm.run("metrics", "install-timer", HOST, "--directory", directory).stdout
        assert said == f"{HOST} writes metrics every minute.\n"
    assert "nothing to do" in clm.run("metrics", "install-timer", HOST, "--directory", "/var/lib/prom").stdout
    assert host.ssh("ls -A /var/lib/first; stat -c '%n %a' /var/lib/prom/*").stdout == "/var/lib/prom/hermes.prom 644\n"
    lines = host.ssh("cat", "/var/lib/prom/hermes.prom").stdout.splitlines()
    assert f'hermes_agent_up{{agent="{AGENT}"}} 1' in lines and f'hermes_agent_healthy{{agent="{AGENT}"}} 1' in lines
    # It is no agent, whatever it is called.
    assert [row["name"] for row in clm.json("ps")] == [AGENT]
    clm.run("metrics", "remove-timer", HOST)
    left = host.ssh("ls -A /var/lib/prom; ls /etc/systemd/system /opt/pyinfra-hermes | grep metrics", check=False)
    assert left.stdout == ""


def test_what_a_file_wants_is_held_against_the_host(host: Machine, clm: Clm, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text(f"- {{name: {AGENT}, release: v2026.5.29.2, port: 8642, hardening: standard}}\n")
    done = plain_pytest(host, tmp_path, f"--hermes-spec={wanted}", "-k", "version or listener or sandbox")
    assert done.returncode == 1 and "1 failed, 2 passed" in done.stdout, done.stdout
    assert f"{AGENT}: its unit is for v2026.5.7-" in done.stdout
    assert f"clm agent configure {AGENT}" in done.stdout
    for text, why in (
        ("- {name: maurice, prot: 1}", "there is no prot"),
        ("- {name: m, host: other}", "no Hermes agent"),
    ):
        wanted.write_text(text)
        done = plain_pytest(host, tmp_path, f"--hermes-spec={wanted}")
        assert done.returncode != 0 and why in done.stdout + done.stderr, done.stdout + done.stderr
    without_root = plain_pytest(host, tmp_path, user="nosudo")
    assert "the checks need root" in without_root.stdout + without_root.stderr


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_fails_its_check_and_no_other(clm: Clm, host: Machine, what: str) -> None:
    broken, mended, names = BROKEN[what]
    host.ssh(broken)
    try:
        found = results(clm, 8)
    finally:
        host.ssh(mended)
    assert {check for check, result in found.items() if result != "passed"} == names


def test_a_daemon_that_is_restarted_again_and_again_is_found(clm: Clm, host: Machine, tmp_path: Path) -> None:
    host.ssh(f"{_stub('fine')}; systemctl kill -s KILL hermes-{AGENT}; sleep 1; {_STUB_RUNS}")
    # More often than the check waits, less often than systemd would give it up for.
    restless = "--unit=restless --on-active=1 --on-unit-active=8 --timer-property=AccuracySec=100ms"
    host.ssh(f"systemd-run --quiet {restless} systemctl kill -s KILL hermes-{AGENT}")
    try:
        done = plain_pytest(host, tmp_path, "-k", "steady")
    finally:
        host.ssh("systemctl stop restless.timer")
    assert done.returncode == 1 and re.search(r"it was restarted \d+ times, \d+ a moment ago", done.stdout), done.stdout


def test_without_the_extra_it_says_how_to_get_it(clm: Clm) -> None:
    program = "import sys; sys.modules['testinfra'] = None; from pyinfra_hermes.cli.main import main; main()"
    argv = [sys.executable, "-c", program, "agent", "verify", AGENT]
    done = run(argv, clm.environment, stdin=None, seconds=60)
    assert done.returncode == 1
    assert "pip install 'pyinfra-hermes[verify]'" in done.stderr


def test_what_writes_metrics_goes_with_the_last_agent(clm: Clm, host: Machine) -> None:
    clm.run("metrics", "install-timer", HOST)
    clm.run("agent", "remove", AGENT, "--yes")
    found = (
        "ls -d /opt/pyinfra-hermes/*.sh; find /etc/systemd /run/systemd -name '*metrics*'; find /var/lib -name '*.prom'"
    )
    assert host.ssh(found, check=False).stdout == ""
