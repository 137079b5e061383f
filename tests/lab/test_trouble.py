"""What goes wrong is said in plain words with what mends it, and leaves nothing half done."""

import contextlib
import fcntl
import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from tests.lab.clm import built_release, run
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person, Running, Said, shown_fingerprint
from tests.lab.process import wait_until

RELEASES = "/opt/pyinfra-hermes/releases"
RELEASE = f"{RELEASES}/{manifest().release().id}"
UNIT = "hermes-eve.service"
HERMES = "/home/eve/.hermes"

#: Hermes asks a dead model server three times, which takes 24 seconds; once is enough to see what is said.
_ONE_TRY = "agent:\\n  api_max_retries: 1\\n"

# Everything that we could have made or changed on a host, a line each.
_FOOTPRINT = """
getent passwd; getent group
find /home /opt /var/lib/pyinfra-hermes /tmp/pyinfra-hermes* -xdev -maxdepth 3 ! -path '*/.hermes/*' 2>/dev/null | sort
find /etc/systemd/system -name 'hermes*' -exec sha256sum {} + 2>/dev/null
ls /var/lib/systemd/linger 2>/dev/null
"""


def footprint(machine: Machine) -> str:
    return machine.ssh("sh -s", input=_FOOTPRINT).stdout


@contextlib.contextmanager
def nothing_done(person: Person, *machines: Machine) -> Iterator[None]:
    """Fail when the block leaves a trace: in the state, or on one of the hosts."""
    before = person.records(), [footprint(machine) for machine in machines]
    yield
    assert person.records() == before[0]
    assert [footprint(machine) for machine in machines] == before[1]


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who has nothing yet."""
    return Person(tmp_path_factory.mktemp("person"))


@pytest.fixture(scope="module")
def eve(person: Person, hosts: Callable[..., list[Machine]], lab: Lab, _model_server: StandInModel) -> Machine:
    """A host on which the agent eve runs, on record as `box`; a test that breaks it mends it again."""
    (host,) = hosts(1, layer=built_release(lab))
    person.add_host(host, "box")
    person.clm("provider", "add", "model", "--type", "ollama", "--url", _model_server.url, "--model", "stand-in")
    install(person)
    person.clm("agent", "configure", "eve", "--provider", "model")
    return host


@pytest.fixture(scope="module")
def stranger(hosts: Callable[..., list[Machine]]) -> Machine:
    """A host that is never on record."""
    (machine,) = hosts(1)
    return machine


@pytest.fixture(scope="module")
def bare(person: Person, bare_host: Machine) -> Machine:
    """The host without ripgrep and ffmpeg, on record as `bare`."""
    person.add_host(bare_host, "bare", user="root")
    return bare_host


def install(person: Person, *arguments: str, host: str = "box", name: str = "eve", code: Exit = Exit.DONE) -> Said:
    return person.clm("agent", "install", "--host", host, f"--name={name}", *arguments, code=code)


def all_say(person: Person, code: Exit, cases: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
    """Run commands side by side; each must end with `code` and say its words."""
    with ThreadPoolExecutor(4) as pool:
        for (_, words), said in zip(cases, pool.map(lambda case: person.clm(*case[0], code=code), cases), strict=True):
            said.has(*words).lacks("word@")


def logins(machine: Machine) -> int:
    """How often somebody came to the host's sshd, let in or not."""
    script = "journalctl --sync; journalctl --no-pager -o cat -t sshd | grep -cE 'Accepted|Connection|identification'"
    return int(machine.ssh(script, check=False).stdout)


# -- on the control machine: no host is asked ------------------------------------------------------------------


@pytest.mark.usefixtures("locked_out")
def test_bad_input_is_refused_before_any_connection(person: Person, eve: Machine) -> None:
    provider, ollama = ("provider", "add"), ("--type", "ollama", "--model", "m")
    agent = ("agent", "install", "--host", "box")
    cases: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        ((*agent, "--name=Abc"), ("Name 'Abc' must start with a lowercase letter",)),
        ((*agent, "--name=1a"), ("Name '1a' must start with a lowercase letter",)),
        ((*agent, "--name=a b"), ("Name 'a b' must", "contain only lowercase letters")),
        ((*agent, "--name=a\n"), ("Name 'a\\n' must",)),
        ((*agent, "--name=../x"), ("Name '../x' must",)),
        ((*agent, "--name=-x"), ("Name '-x' must",)),
        ((*agent, f"--name={'a' * 33}"), ("must be 32 characters or less (got 33)",)),
        ((*agent, "--name="), ("cannot be empty",)),
        ((*agent, "--name=root"), ("Name 'root' collides with a reserved Unix account",)),
        ((*agent, "--name=eve", "--port=80"), ("Port 80 is not between 1024 and 65535",)),
        ((*agent, "--name=eve", "--release=v1.2.3"), ("'v1.2.3' is not in the manifest; listed: v",)),
    ]
    for name in ("w 1", "w\n", "../w", "-w", "", "a:b", "w" * 65):
        cases.append((("host", "add", "--address", eve.address, "--", name), (f"Host name {name!r} must",)))
    for name in ("p 1", "p\n", "../p", "-p", "", "1p"):
        add = (*provider, "--url", "http://192.0.2.1", *ollama, "--", name)
        cases.append((add, (f"Provider name {name!r} must",)))
    for url in ("ftp://x", "http://a b", "http://user:word@x", "http://x/?q=1", "http://169.254.169.254", "http://x\n"):
        cases.append(((*provider, "other", f"--url={url}", *ollama), ("API URL: URL",)))
    before = logins(eve)
    with nothing_done(person, eve):
        all_say(person, Exit.USAGE, cases)
    assert logins(eve) == before


def test_an_unknown_name_is_answered_with_a_known_one(person: Person, eve: Machine) -> None:
    before = logins(eve)
    no_agent, no_host, no_provider = (
        (f"There is no {what} '{slip}'; did you mean {known}?",)
        for what, slip, known in (("agent", "eva", "eve"), ("host", "bax", "box"), ("provider", "modle", "model"))
    )
    with nothing_done(person, eve):
        all_say(
            person,
            Exit.USAGE,
            [
                *((("agent", verb, "eva"), no_agent) for verb in ("configure", "start", "status", "logs", "stop")),
                (("chat", "eva", "--once", "x"), no_agent),
                (("agent", "install", "--host", "bax", "--name", "eve"), no_host),
                (("ps", "-H", "bax"), no_host),
                (("host", "check", "elsewhere"), ("There is no host 'elsewhere'; there is box",)),
                (("agent", "configure", "eve", "--provider", "modle"), no_provider),
                (("provider", "remove", "modle"), no_provider),
            ],
        )
        # There is nothing to remove, which is what was asked for; the slip of the finger is told all the same.
        person.clm("agent", "remove", "eva", "--yes").has(*no_agent)
    assert logins(eve) == before


def test_without_a_terminal_a_missing_answer_names_its_flag(person: Person, eve: Machine, stranger: Machine) -> None:
    add = ("provider", "add", "other")
    with nothing_done(person, eve, stranger):
        all_say(
            person,
            Exit.USAGE,
            [
                (("agent", "remove", "eve"), ("no terminal", "--yes")),
                ((*add, "--type", "ollama", "--model", "m"), ("no terminal", "--url")),
                ((*add, "--type", "ollama", "--url", "http://192.0.2.1"), ("no terminal", "--model")),
                ((*add, "--url", "http://192.0.2.1", "--model", "m"), ("no terminal", "--type")),
                (("chat", "eve"), ("no terminal", "--once")),
                (("chat", "eve", "--once", " "), ("The question is empty",)),
                (
                    ("host", "add", "other", "--address", stranger.address),
                    ("no terminal", f"--host-key-fingerprint {shown_fingerprint(stranger)}"),
                ),
            ],
        )


def test_an_agent_without_any_provider_is_told_how_to_add_one(person: Person, tmp_path: Path, eve: Machine) -> None:
    other = Person(tmp_path)
    shutil.copytree(person.state, other.state)
    for name, empty in (("providers.json", {"providers": {}}), ("hosts.json", None)):
        path = other.state / name
        document = json.loads(path.read_text())
        if empty is not None:
            document |= empty
        else:
            document["hosts"]["box"]["agents"]["eve"].update(provider=None, onboarding={})
        path.write_text(json.dumps(document))
    with nothing_done(other, eve):
        other.clm("agent", "configure", "eve", code=Exit.REFUSED).has("No providers", "clm provider add NAME")
        other.clm("agent", "start", "eve", code=Exit.REFUSED).has(
            "Cannot start box:hermes:eve: onboarding incomplete (state=pending). Run 'clm agent configure eve' first."
        )


# -- the state directory ---------------------------------------------------------------------------------------


@pytest.fixture
def copied(person: Person, eve: Machine, tmp_path: Path) -> Person:
    """Somebody with a copy of the state, who may break it."""
    other = Person(tmp_path)
    shutil.copytree(person.state, other.state)
    return other


def test_state_that_others_can_read_is_refused_with_the_chmod_that_mends_it(copied: Person) -> None:
    for path, mode in ((copied.state / "secrets.json", "600"), (copied.state, "700")):
        path.chmod(0o750)
        for command in (("ps",), ("agent", "start", "eve"), ("provider", "list")):
            copied.clm(*command, code=Exit.FAILED).has("open to other users (mode 0750)", f"chmod {mode} {path}")
        path.chmod(int(mode, 8))
    copied.clm("provider", "list").has("model")


def test_read_only_state_is_read_and_refuses_to_be_changed(copied: Person, eve: Machine) -> None:
    # Mounted read-only for these commands alone; root is not stopped by modes.
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    add = ("provider", "add", "other", "--type", "ollama", "--url", "http://192.0.2.1", "--model", "m")
    again = ("agent", "install", "--host", "box", "--name", "newcomer")
    with nothing_done(copied, eve):
        for command, code in ((("provider", "list"), Exit.DONE), (add, Exit.FAILED), (again, Exit.FAILED)):
            within = ["unshare", "--mount", "sh", "-c", script, str(copied.state), *copied.command(*command)]
            said = Said(run(within, copied.environment, stdin=None, seconds=90)).lacks("Traceback")
            assert said.code == code, said
            if code == Exit.FAILED:
                said.has(f"Cannot open {copied.state}/.lock: Read-only file system")


def test_damaged_state_is_named_and_the_last_good_version_offered(copied: Person) -> None:
    path = copied.state / "hosts.json"
    path.write_text(path.read_text()[:100])
    damaged = copied.records()
    said = copied.clm("ps", code=Exit.FAILED).has(
        f"{path}: line ", "is not JSON", "Nothing was overwritten", "last good version"
    )
    assert copied.records() == damaged
    (version,) = re.findall(r"last good version is (\S+),", said.err)
    shutil.copy2(version, path)
    copied.clm("host", "list").has("box")


@pytest.fixture(scope="module")
def locked_out(
    person: Person, eve: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, Running]]:
    """Somebody whose state is locked, and who has begun to add a provider: early, as that takes ten seconds."""
    other = Person(tmp_path_factory.mktemp("locked"))
    shutil.copytree(person.state, other.state)
    holder = {"pid": 4711, "command": "clm agent install", "host": "desk", "since": "2026-05-07T12:00:00Z"}
    with (other.state / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps(holder))
        lock.flush()
        add = ("provider", "add", "other", "--type", "ollama", "--url", "http://192.0.2.1", "--model", "m")
        yield other, other.begin(*add)


def test_a_held_lock_names_its_holder(person: Person, locked_out: tuple[Person, Running]) -> None:
    other, adding = locked_out
    # Reading waits for nobody.
    other.clm("provider", "list").has("model")
    adding.wait(Exit.LOCKED).has("pid 4711 (clm agent install) on desk", "waited 10 s", "ps -fp 4711")
    assert other.document("providers.json") == person.document("providers.json")


@pytest.mark.parametrize("value", ["", "zz", "0F" * 32, "0f" * 32 + "\n"])
def test_an_api_key_of_another_shape_is_refused_before_the_host_is_asked(
    copied: Person, eve: Machine, value: str
) -> None:
    path = copied.state / "secrets.json"
    document = json.loads(path.read_text())
    document["box:hermes:eve"]["HERMES_API_SERVER_KEY"]["value"] = value
    path.write_text(json.dumps(document))
    before = logins(eve)
    with nothing_done(copied, eve):
        for command in (("agent", "configure", "eve"), ("agent", "start", "eve"), ("chat", "eve", "--once", "x")):
            said = copied.clm(*command, code=Exit.REFUSED).has(
                "HERMES_API_SERVER_KEY", "64 lowercase hexadecimal digits"
            )
            said.has("clm agent install --type hermes --host box --name eve")
    assert logins(eve) == before


# -- a host that does not let us in, or not become root ---------------------------------------------------------


def add_host(person: Person, machine: Machine, *, user: str, key: Path, trusted: str, code: Exit) -> Said:
    return person.clm(
        "host", "add", "other", "--address", machine.address, "--user", user, "--identity-file", str(key),
        "--host-key-fingerprint", trusted, code=code,
    )  # fmt: skip


def test_a_host_that_cannot_be_used_is_not_taken_on_record(person: Person, stranger: Machine, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", wrong], check=True)
    right = shown_fingerprint(stranger)
    with nothing_done(person, stranger):
        said = add_host(person, stranger, user="root", key=wrong, trusted=right, code=Exit.UNREACHABLE)
        said.has(f"root@{stranger.address} port 22 does not let us in", "Permission denied", str(wrong))
        said.lacks("clm host show other", "clm host check other")
        said = add_host(person, stranger, user="root", key=stranger.key, trusted="SHA256:x", code=Exit.UNREACHABLE)
        said.has(right, "not SHA256:x", "Nothing was trusted")
        said = add_host(person, stranger, user="nosudo", key=stranger.key, trusted=right, code=Exit.PREFLIGHT)
        said.has("nosudo may not become root without a password", "/etc/sudoers.d/nosudo")
        # Nobody has this address on the lab's network.
        nowhere = stranger.address.rpartition(".")[0] + ".251"
        said = person.clm("host", "add", "other", "--address", nowhere, code=Exit.UNREACHABLE)
        said.has(f"cannot connect to {nowhere} port 22").lacks("clm host check other")


def test_sudo_that_was_taken_away_is_named_by_every_command(person: Person, eve: Machine) -> None:
    words = ("box: admin may not become root without a password", "/etc/sudoers.d/admin")
    eve.ssh("mv /etc/sudoers.d/admin /root/admin")
    try:
        with nothing_done(person, eve):
            all_say(
                person,
                Exit.PREFLIGHT,
                [
                    (("agent", "install", "--host", "box", "--name", "newcomer"), words),
                    (("agent", "configure", "eve"), words),
                    (("agent", "restart", "eve"), words),
                    (("agent", "logs", "eve"), words),
                    (("chat", "eve", "--once", "x"), words),
                    (("host", "check", "box"), words),
                ],
            )
            person.clm("ps", "-H", "box", code=Exit.UNREACHABLE).has(
                "box: unreachable: " + words[0].removeprefix("box: ")
            )
        person.clm("agent", "remove", "eve", "--yes", code=Exit.PREFLIGHT).has(*words)
        assert recorded(person, "box", "eve")["status"] == "installed"
    finally:
        eve.ssh("mv /root/admin /etc/sudoers.d/admin")
    assert person.json("agent", "status", "eve")["state"] == "running"


def test_a_changed_host_key_is_never_accepted_in_passing(person: Person, eve: Machine) -> None:
    words = ("the host key of admin@", "has changed since it was trusted", "Nothing was sent")
    key = "/etc/ssh/ssh_host_ed25519_key"
    old = shown_fingerprint(eve)
    eve.ssh(f"mkdir /root/keys; mv {key} {key}.pub /root/keys; ssh-keygen -q -t ed25519 -N '' -f {key}")
    try:
        new = shown_fingerprint(eve)
        mends = (*words, "clm host trust box")
        trust = ("host", "trust", "box")
        with nothing_done(person, eve):
            all_say(
                person,
                Exit.UNREACHABLE,
                [
                    (("agent", "install", "--host", "box", "--name", "newcomer"), mends),
                    (("agent", "configure", "eve"), mends),
                    (("chat", "eve", "--once", "x"), mends),
                    (("host", "check", "box"), mends),
                    (("ps", "-H", "box"), ("unreachable", *words)),
                    ((*trust, "--host-key-fingerprint", old), (new, "Nothing was trusted")),
                ],
            )
            person.clm(*trust, code=Exit.USAGE).has(old, new, f"--host-key-fingerprint {new}")
        person.clm(*trust, "--host-key-fingerprint", new).has(f"ssh-ed25519 {new}")
        assert person.json("ps", "-H", "box")[0]["state"] == "running"
    finally:
        eve.ssh("mv /root/keys/* /etc/ssh/; rmdir /root/keys")
    person.clm("host", "trust", "box", "--host-key-fingerprint", old)


def test_silent_hosts_are_given_up_in_time(person: Person, eve: Machine, bare: Machine) -> None:
    # Unplugged, packets vanish; paused, the kernel still accepts connections and nobody answers them.
    before, started = person.records(), time.monotonic()
    bare.unplug()
    eve.pause()
    try:
        running = [
            (machine, person.begin(*command))
            for machine, command in (
                (eve, ("ps",)), (eve, ("agent", "configure", "eve")), (eve, ("chat", "eve", "--once", "x")),
                (eve, ("host", "check", "box")), (bare, ("host", "check", "bare")),
                (bare, ("agent", "install", "--host", "bare", "--name", "newcomer")),
            )
        ]  # fmt: skip
        for machine, command in running:
            said = command.wait(Exit.UNREACHABLE, seconds=90)
            assert machine.address in said.text or "no answer within" in said.text, said
        assert time.monotonic() - started < 40
    finally:
        eve.resume()
        bare.plug()
    eve.disconnect()
    assert person.records() == before
    assert person.json("ps")[0]["state"] == "running"


# -- a host that is not ready, or not while we work on it -------------------------------------------------------


@pytest.fixture(scope="module")
def empty(person: Person, hosts: Callable[..., list[Machine]]) -> Machine:
    """A host with others on it and nothing of ours, on record as `empty`; its port 8642 is taken."""
    (machine,) = hosts(1)
    machine.ssh("useradd --create-home carol; mkdir /home/dave; echo hers > /home/carol/diary")
    squat(machine)
    person.add_host(machine, "empty")
    return machine


def squat(machine: Machine) -> None:
    """Take the port that an agent would have."""
    machine.ssh("systemd-run --quiet --unit=squatter python3 -m http.server 8642 --bind 127.0.0.1")
    machine.ssh("until ss -Hltn 'sport = :8642' | grep -q .; do sleep 0.05; done")


def test_everything_that_a_host_lacks_is_said_at_once_with_one_remedy(person: Person, bare: Machine) -> None:
    assert "/usr/bin/python3" in bare.hide("/usr/bin/python3*")
    bare.ssh("useradd --create-home carol; ln -sf /opt/os-release /etc/os-release")
    bare.ssh("printf 'ID=slackware\\nVERSION_ID=15\\n' > /opt/os-release")
    bare.fill("/home", keep_free_kib=10_000)
    with nothing_done(person, bare):
        said = install(person, host="bare", name="carol", code=Exit.PREFLIGHT)
        said.has(
            "bare is not ready; nothing was made or changed there:",
            "- ripgrep (binary `rg`) is required by hermes but was not found on this host.",
            "- ffmpeg is required by hermes but was not found on this host.",
            "- python3 (Debian package python3) was not found on this host.",
            "- slackware 15 x86_64 is not a platform of this release; it has: debian 12 x86_64",
            "- /home has 10 MiB free, 200 are needed.",
            "- the account carol (uid 1002) exists and was not made by pyinfra-hermes",
        )
        assert said.err.splitlines()[-1].strip() == (
            "Install it with: sudo apt-get update && sudo apt-get install -y ripgrep ffmpeg python3"
        )
        said = person.clm("host", "check", "bare", code=Exit.PREFLIGHT)
        said.has("ripgrep", "ffmpeg", "python3", "slackware", "/home has", "Install it with: ")
    assert person.json("ps", "-H", "bare") == []


def test_what_is_somebody_elses_is_not_touched(person: Person, empty: Machine) -> None:
    with nothing_done(person, empty):
        said = install(person, host="empty", name="carol", code=Exit.PREFLIGHT)
        said.has("the account carol (uid 1002) exists and was not made by pyinfra-hermes", "Choose another name")
        said = install(person, host="empty", name="dave", code=Exit.PREFLIGHT)
        said.has("/home/dave exists without an account")
        said = install(person, "--port", "8642", host="empty", code=Exit.PREFLIGHT)
        said.has("port 8642 is taken by another process (pid ", "Choose another port")
        for name in ("carol", "root"):
            person.clm("agent", "remove", name, "--host", "empty", "--yes", code=None).lacks("removed.")
    assert empty.ssh("cat /home/carol/diary; systemctl is-active squatter").stdout == "hers\nactive\n"


@pytest.mark.parametrize(("folder", "needed"), [("/opt", 900), ("/home", 200)])
def test_a_disk_without_room_is_found_out_before_anything_is_made(
    person: Person, empty: Machine, folder: str, needed: int
) -> None:
    empty.fill(folder, keep_free_kib=20_000)
    try:
        with nothing_done(person, empty):
            said = install(person, host="empty", name="zoe", code=Exit.PREFLIGHT)
            said.has(f"- {folder} has 20 MiB free, {needed} are needed.")
    finally:
        empty.unfill(folder)


def releases(machine: Machine) -> str:
    """What counts as a release, and what lies around it."""
    return machine.ssh(f"cd {RELEASES} 2>/dev/null && ls -A . */RELEASE", check=False).stdout


def recorded(person: Person, host: str, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = person.document("hosts.json")["hosts"][host]["agents"][name]
    return entry


def tamper(wheel: Path) -> None:
    """Add a file to a wheel, which is as valid as before."""
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("evil.pth", "import os\n")


def test_wheels_that_are_not_those_of_the_lock_are_refused(
    person: Person, empty: Machine, wheelhouse: Path, tmp_path: Path
) -> None:
    wheels, cache = tmp_path / "wheels", tmp_path / "cache"
    shutil.copytree(wheelhouse, wheels)
    (hermes,), (uv,) = wheels.glob("hermes_agent-*.whl"), wheels.glob("uv-*.whl")
    fresh = person.but(XDG_CACHE_HOME=str(cache))
    tamper(hermes)
    # Here: nothing is packed, let alone sent.
    said = install(fresh, "--wheelhouse", str(wheels), host="empty", name="zoe", code=Exit.FAILED)
    said.has("could not be had", "DO NOT MATCH THE HASHES", "hermes-agent==0.13.0", "Expected sha256")
    assert (list(cache.rglob("*.tar")), releases(empty)) == ([], "")
    # There: what was packed and then changed is refused by the host, before anything of it runs.
    original = Wheelhouse().archive(manifest().release(), "3.11", "x86_64")
    for wheel, words in ((hermes, "Hash mismatch for `hermes-agent"), (uv, "is not in the lock; nothing was run")):
        if wheel is uv:
            tamper(uv)
        packed = cache / "pyinfra-hermes/wheels" / original.name
        subprocess.run(["tar", "-cf", packed, "-C", wheels, "."], check=True)
        install(fresh, host="empty", name="zoe", code=Exit.FAILED).has(words)
        assert releases(empty) == ".:\n.lock\n"
    assert empty.ssh("ls -d /tmp/pyinfra-hermes* /tmp/.tmp* /tmp/tmp.*", check=False).stdout == ""
    assert recorded(person, "empty", "zoe")["status"] == "failed"


_WHEN_IT_BUILDS = f"until [ -e {RELEASE}/venv/bin/python ]; do sleep 0.02; done\n"
_TAKE_THE_ROOM = """
used=$(df -k --output=used /opt | tail -n 1)
mount -o "remount,size=$((used + 20000))k" /opt
"""
_KILL_IT = f"""
build=$(pgrep -f '^sh -s -- {RELEASES}')
children=$(pgrep -P "$build")
kill -KILL "$build"
kill -KILL $children || true
"""


def test_a_build_that_breaks_off_counts_for_nothing_and_the_same_command_finishes_it(
    person: Person, empty: Machine
) -> None:
    empty.fill("/opt", keep_free_kib=1_200_000)
    for accident, words in ((_TAKE_THE_ROOM, "No space left on device"), (_KILL_IT, "release v2026.5.7")):
        command = person.begin("agent", "install", "--host", "empty", "--name", "zoe")
        empty.ssh("sh -s", input=_WHEN_IT_BUILDS + accident)
        said = command.wait(Exit.FAILED).has("empty: zoe: release v2026.5.7", words).lacks("Traceback")
        assert "/RELEASE" not in releases(empty), said
        report = person.json("ps", "-H", "empty")[0]
        assert (report["state"], report["unit"]) == ("install failed", None)
        person.clm("agent", "configure", "zoe", code=Exit.REFUSED).has(
            "not installed (status=failed)", "--host empty --name zoe"
        )
        if accident is _TAKE_THE_ROOM:
            assert "No space left" in report["why"]
            # Room for what the second accident leaves, too: how much of a release that is, nobody knows.
            empty.ssh("mount -o remount,size=1900000k /opt")
    # The port of the first agent is somebody else's: another was chosen, and is kept.
    assert recorded(person, "empty", "zoe")["port"] == 8643
    install(person, host="empty", name="zoe").has("Agent zoe installed on empty.")
    assert releases(empty).splitlines()[0] == f"{Path(RELEASE).name}/RELEASE"
    assert ".build" not in releases(empty)
    assert recorded(person, "empty", "zoe")["port"] == 8643
    install(person, host="empty", name="zoe").has("nothing to do")


# -- an agent in trouble ----------------------------------------------------------------------------------------


def serving(machine: Machine) -> str:
    """Which daemon serves, on which files; the same as before means that nobody noticed anything."""
    files = f"{HERMES}/.env {HERMES}/config.yaml"
    return machine.ssh(f"systemctl show -p MainPID --value {UNIT}; sha256sum {files}; stat -c %a%U {files}").stdout


@pytest.fixture
def as_it_was(person: Person, eve: Machine) -> Iterator[None]:
    """Put the agent back on its provider after the test, and take away others."""
    yield
    person.clm("agent", "configure", "eve", "--provider", "model", "--model", "stand-in", "--skip-chat")
    for name in set(person.document("providers.json")["providers"]) - {"model"}:
        person.clm("provider", "remove", name)


@pytest.mark.usefixtures("as_it_was")
def test_a_full_disk_leaves_the_agent_on_what_it_had(person: Person, eve: Machine, model: StandInModel) -> None:
    add = ("provider", "add", "keyed", "--type", "custom", "--url", model.url, "--model", "m", "--api-key-stdin")
    person.clm(*add, stdin="sk-a-key-that-makes-another-env\n")
    before = serving(eve)
    eve.fill("/home", keep_free_kib=0)
    try:
        said = person.clm("agent", "configure", "eve", "--provider", "keyed", code=Exit.NOT_APPLIED)
        said.has("eve: .env", "No space left on device", "Agent eve still serves on what it had.").lacks("sk-a-key")
        assert serving(eve) == before
        assert eve.ssh(f"ls -A {HERMES} | grep '^.env'").stdout == ".env\n"
        (report,) = person.json("ps", "-H", "box")
        assert (report["state"], report["healthy"], ".env" in report["drift"]) == ("drifted", True, True)
    finally:
        eve.unfill("/home")
    person.clm("agent", "configure", "eve", "--skip-chat").has("is configured, runs")
    assert person.json("ps", "-H", "box")[0]["drift"] == []


@pytest.mark.usefixtures("as_it_was")
def test_a_config_that_is_no_yaml_is_named_with_its_line_and_kept(person: Person, eve: Machine) -> None:
    broken = "model:\n  provider: custom\n bad: [\n"
    eve.ssh(f"cp -p {HERMES}/config.yaml /root/config.yaml; cat > {HERMES}/config.yaml", input=broken)
    before = serving(eve)
    try:
        said = person.clm(
            "agent", "configure", "eve", "--model", "another", "--skip-connectivity", code=Exit.NOT_APPLIED
        )
        said.has(f"{HERMES}/config.yaml: line 3: ", "nothing was written", "Agent eve still serves on what it had.")
        assert serving(eve) == before
        assert eve.ssh(f"cat {HERMES}/config.yaml").stdout == broken
    finally:
        eve.ssh(f"mv /root/config.yaml {HERMES}/config.yaml")


def test_a_directory_in_the_place_of_env_is_refused(person: Person, eve: Machine) -> None:
    pid = serving(eve).splitlines()[0]
    eve.ssh(f"mv {HERMES}/.env /root/env; mkdir {HERMES}/.env; chown eve: {HERMES}/.env")
    try:
        (report,) = person.json("ps", "-H", "box")
        assert (report["state"], ".env" in report["drift"]) == ("unhealthy", True)
        person.clm("agent", "configure", "eve", code=Exit.FAILED).has(f"{HERMES}/.env is a directory; move it away")
        assert (
            eve.ssh(f"stat -c %F {HERMES}/.env; systemctl show -p MainPID --value {UNIT}").stdout
            == f"directory\n{pid}\n"
        )
    finally:
        eve.ssh(f"rmdir {HERMES}/.env && mv /root/env {HERMES}/.env")
    assert person.json("ps", "-H", "box")[0]["state"] == "running"


def test_a_link_in_the_place_of_env_is_replaced_and_not_followed(person: Person, eve: Machine) -> None:
    wanted = serving(eve).splitlines()[1:]
    eve.ssh(f"sha256sum /etc/shadow > /root/sum; cp -p {HERMES}/.env /root/env")
    eve.ssh(f"ln -sf /etc/shadow {HERMES}/.env; chown -h eve: {HERMES}/.env")
    person.clm("agent", "configure", "eve", "--skip-chat").has("is configured, runs")
    eve.ssh('sha256sum --check --quiet /root/sum && [ "$(stat -c %a%U%G /etc/shadow)" = 640rootshadow ]')
    assert serving(eve).splitlines()[1:] == wanted
    assert eve.ssh(f"stat -c %F {HERMES}/.env").stdout == "regular file\n"


def test_a_daemon_that_dies_at_once_is_shown_with_its_own_reason(person: Person, eve: Machine) -> None:
    package = f"{RELEASE}/venv/lib/python3.11/site-packages/gateway"
    eve.ssh(f"mv {package} {package}.gone")
    try:
        said = person.clm("agent", "restart", "eve", code=Exit.UNHEALTHY)
        said.has("eve does not serve: the daemon dies right after its start (exit-code, exit status 1)")
        said.has("ModuleNotFoundError: No module named 'gateway'").lacks("Gateway Starting")
        said = person.clm("chat", "eve", "--once", "x", code=Exit.UNHEALTHY)
        said.has("does not serve", "No module named 'gateway'", "clm agent status eve")
        # Between its first and its second death it may be a daemon that just starts.
        assert wait_until(lambda: "eve: crash-looping: " in person.clm("ps", "-H", "box").out, seconds=90, pause=0.5)
        person.clm("agent", "status", "eve", code=Exit.UNHEALTHY).has("its release lacks the module gateway")
    finally:
        eve.ssh(f"mv {package}.gone {package}")
    person.clm("agent", "start", "eve").has("Agent eve started.")


@pytest.mark.usefixtures("as_it_was")
def test_a_model_server_that_is_down_is_said_to_be_down(person: Person, eve: Machine, model: StandInModel) -> None:
    person.clm("provider", "add", "down", "--type", "ollama", "--url", f"http://{model.address}:9", "--model", "m")
    eve.ssh(f"printf '{_ONE_TRY}' >> {HERMES}/config.yaml")
    configure = ("agent", "configure", "eve", "--provider", "down")
    person.clm(*configure, code=Exit.UNHEALTHY).has(
        "does not take connections at port 9", "Nothing was changed on box."
    )
    said = person.clm(*configure, "--skip-connectivity", code=Exit.NOT_APPLIED)
    said.has("agent eve runs, but its model does not answer", "Connection error", "serves on what it had")
    (report,) = person.json("ps", "-H", "box")
    assert (report["healthy"], report["onboarding"]) == (True, "validate")
    # Who wants it all the same gets it.
    person.clm(*configure, "--skip-connectivity", "--skip-chat")
    once = person.begin("chat", "eve", "--once", "x")
    with person.terminal("chat", "eve") as terminal:
        terminal.expect("you> ")
        terminal.type("hello\n")
        terminal.expect("Error: Agent box:hermes:eve runs, but its model does not answer")
        terminal.expect("you> ")
        terminal.type("/exit\n")
        assert terminal.end() == Exit.DONE
    said = once.wait(Exit.UNHEALTHY)
    said.has("Agent box:hermes:eve runs, but its model does not answer", "Connection error", "clm agent logs eve")
    assert said.out == ""
