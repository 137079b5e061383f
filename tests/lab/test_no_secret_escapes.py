"""Sentinel secrets go the whole way, on both ways in, and are found where they belong and nowhere else."""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from tests.lab.clm import REPOSITORY, built_release
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person, Said
from tests.lab.watcher import Hit, Watcher

PROVIDER_KEY = "sk-sentinel-PROVIDER-0123456789abcdefghij"
#: In .env it is spelled differently from its equals signs on; what is searched for is what stands before them.
OTHER_KEY = "sentinel/OTHER+0123456789AB=="
API_KEY = "5e17" * 16
SECRETS = {"provider key": PROVIDER_KEY, "other key": OTHER_KEY.rstrip("="), "API key": API_KEY}

HERMES = "/home/eve/.hermes"
_FLEET = (str(REPOSITORY / "inventories/fleet.py"), str(REPOSITORY / "deploys/hermes.py"))
_LOUD = ("-vvv", "--diff", "--debug")


@dataclass
class Journey:
    """What was said on the whole way, and what the watcher saw meanwhile."""

    person: Person
    machine: Machine
    said: list[Said] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    rounds: int = 0
    programs: int = 0
    #: Files on the host that hold a secret: after all kinds of use, after the model server repeated a key that it
    #: refused, and after the agent was removed.
    before: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    #: Lines of the host's journal that hold one.
    journal: list[str] = field(default_factory=list)

    def clm(self, *arguments: str, code: Exit | None = Exit.DONE, stdin: str | None = None) -> Said:
        self.said.append(said := self.person.clm(*arguments, code=code, stdin=stdin))
        return said

    def pyinfra(self, *arguments: str, code: int | None = 0) -> Said:
        self.said.append(said := self.person.plain_pyinfra(*arguments, code=code))
        return said


def root_of(machine: Machine) -> Path:
    """The root directory of a host as its own processes see it, memory disks included."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ids = re.search(r"^NSpid:(.*)$", (process / "status").read_text(), re.MULTILINE)
            first = ids is not None and ids[1].split()[1:] == ["1"]
            if first and f"/{machine.name}/" in (process / "cgroup").read_text().replace("\n", "/\n"):
                return process / "root"
    raise AssertionError(f"{machine} has no first process")


def watching(machine: Machine, person: Person) -> Watcher:
    root = root_of(machine)
    folders = [root / name for name in ("tmp", "var/tmp", "dev/shm", "run/user", "run/lock")]
    return Watcher(SECRETS, [*folders, person.temporary], spared=("/hermes-eve.service",))


_SEARCH = r"""
umask 077
cat > /root/.wanted <<'WANTED'
@WANTED@
WANTED
find / -type f ! -path '/proc/*' ! -path '/sys/*' ! -path '/usr/*' ! -path '/opt/pyinfra-hermes/*' \
    ! -path '*/journal/*' ! -path /root/.wanted -exec grep -laFf /root/.wanted {} + 2>/dev/null
echo --
journalctl --no-pager --output=export | grep -aFf /root/.wanted
rm /root/.wanted
"""


def search(machine: Machine) -> tuple[list[str], list[str]]:
    """Every file of the host that holds a secret, and every line of its journal that does, sudo's among them."""
    script = _SEARCH.replace("@WANTED@", "\n".join(SECRETS.values()))
    files, _, journal = machine.ssh("sh -s", input=script, check=False).stdout.partition("--\n")
    return sorted(set(files.splitlines())), journal.splitlines()


@pytest.fixture(scope="module")
def journey(
    tmp_path_factory: pytest.TempPathFactory, hosts: Callable[..., list[Machine]], lab: Lab, _model_server: StandInModel
) -> Journey:
    """Install, configure, use, break and remove an agent as a login that needs sudo, with everything watched."""
    (machine,) = hosts(1, layer=built_release(lab))
    way = Journey(Person(tmp_path_factory.mktemp("person")), machine)
    with watching(machine, way.person) as watcher:
        _install(way, _model_server)
        _use(way)
        _use_with_pyinfra(way)
        _fill_the_disk(way)
        way.before, way.journal = search(machine)
        _be_told_the_key(way, _model_server)
        way.told, _ = search(machine)
        _print_the_key(way)
        way.clm("agent", "remove", "eve", "--yes", "--verbose")
        way.after, _ = search(machine)
    way.hits, way.rounds, way.programs = watcher.hits, watcher.rounds, watcher.programs
    return way


def _install(way: Journey, model: StandInModel) -> None:
    way.person.add_host(way.machine, "box", user="admin")
    add = ("--type", "custom", "--url", model.url, "--model", "m")
    way.clm("provider", "add", "keyed", *add, "--api-key-stdin", stdin=f"{PROVIDER_KEY}\n")
    file = way.person.config_home / "key"
    file.write_text(OTHER_KEY)
    way.clm("provider", "add", "other", *add, "--api-key-file", str(file))
    file.unlink()
    way.clm("agent", "install", "--host", "box", "--name", "eve", "--verbose")
    path = way.person.state / "secrets.json"
    document = json.loads(path.read_text())
    document["box:hermes:eve"]["HERMES_API_SERVER_KEY"]["value"] = API_KEY
    path.write_text(json.dumps(document))
    model.require_key(PROVIDER_KEY)
    way.clm("agent", "configure", "eve", "--provider", "keyed", "--verbose").has("runs and answers")


def _use(way: Journey) -> None:
    for command in (
        ("agent", "configure", "eve", "--model", "another", "--skip-chat", "--verbose"),
        ("agent", "configure", "eve", "--verbose"),
        ("ps", "-o", "json"),
        ("agent", "status", "eve", "-o", "yaml"),
        ("provider", "list", "-o", "json"),
        ("host", "list", "-o", "json"),
        ("chat", "eve", "--once", "hello"),
        ("agent", "logs", "eve", "-n", "1000"),
        ("agent", "stop", "eve", "--verbose"),
    ):
        way.clm(*command)
    for looked in (("agent", "doctor", "eve"), ("doctor", "-o", "json")):
        way.clm(*looked)


def _use_with_pyinfra(way: Journey) -> None:
    # There is something to do: the daemon was stopped, and what was written is gone.
    way.machine.ssh(f"rm {HERMES}/.env {HERMES}/config.yaml")
    way.pyinfra(*_FLEET, "--dry", *_LOUD)
    # Without a terminal nobody can say yes.
    way.pyinfra(*_FLEET, *_LOUD, code=None)
    way.pyinfra(*_FLEET, "-y", *_LOUD)
    way.pyinfra(*_FLEET, *_LOUD, "--debug-operations", "--debug-facts", code=None)
    way.pyinfra(_FLEET[0], "debug-inventory")
    way.clm("agent", "configure", "eve", "--verbose").has("nothing to do")


def _fill_the_disk(way: Journey) -> None:
    # The key of another provider is on its way into .env when there is no room for it.
    way.machine.fill("/home", keep_free_kib=0)
    refused = ("agent", "configure", "eve", "--provider", "other", "--skip-connectivity", "--verbose")
    way.clm(*refused, code=Exit.NOT_APPLIED).has("No space left")
    way.pyinfra(*_FLEET, "-y", *_LOUD, code=1).has("No space left")
    way.machine.unfill("/home")
    # Plain pyinfra goes back from such a failure with its next run only; until then what worked is kept, for root.
    way.clm("agent", "rollback", "eve", "--yes")


def _be_told_the_key(way: Journey, model: StandInModel) -> None:
    # Some model servers repeat the key that they refuse, and Hermes passes their words on.
    model.fail(401, {"error": {"message": f"Incorrect API key provided: {OTHER_KEY}"}})
    configure = ("agent", "configure", "eve", "--verbose")
    way.clm(*configure, code=Exit.UNHEALTHY).has("Incorrect API key provided")
    way.clm(*configure, "--skip-connectivity", code=Exit.NOT_APPLIED).has("Incorrect API key provided")
    way.clm("chat", "eve", "--once", "hello", code=Exit.UNHEALTHY).has("Incorrect API key provided")
    model.reset()


_PRINTS_ITS_KEY = f"""
folder=/run/systemd/system/hermes-eve.service.d
mkdir -p $folder
printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c "cat {HERMES}/.env; exit 1"\\n' > $folder/x.conf
systemctl daemon-reload
"""


def _print_the_key(way: Journey) -> None:
    way.machine.ssh("sh -s", input=_PRINTS_ITS_KEY)
    way.clm("agent", "restart", "eve", "--force", code=Exit.UNHEALTHY).has("API_SERVER_KEY=********", "API_KEY=")
    way.clm("chat", "eve", "--once", "x", code=Exit.UNHEALTHY).has("API_SERVER_KEY=********", "API_KEY=")
    way.clm("agent", "logs", "eve").has("API_SERVER_KEY=********", "API_KEY=")
    way.machine.ssh("rm -r /run/systemd/system/hermes-eve.service.d; systemctl daemon-reload")


def secrets_in(text: str) -> list[str]:
    return [name for name, value in SECRETS.items() if value in text]


def test_nothing_was_in_arguments_environments_or_temporary_files(journey: Journey) -> None:
    print(f"{journey.rounds} rounds, {journey.programs} programs")
    assert journey.rounds > 200
    assert [str(hit) for hit in journey.hits] == []


def test_nothing_was_said_at_any_verbosity(journey: Journey) -> None:
    assert len(journey.said) > 25
    for said in journey.said:
        assert secrets_in(said.text) == [], said.command


def test_on_the_host_only_the_agents_own_files_hold_them(journey: Journey) -> None:
    print("after use:", *journey.before, "after a refusal that repeats the key:", *journey.told, sep="\n  ")
    assert journey.journal == []
    # 0.13 copies the keys of its provider into auth.json.
    assert set(journey.before) <= {f"{HERMES}/.env", f"{HERMES}/auth.json"}
    assert f"{HERMES}/.env" in journey.before
    # What its model server says, Hermes writes into files of its own.
    assert all(path.startswith(f"{HERMES}/") for path in journey.told)
    assert journey.after == []


def test_here_only_secrets_json_and_its_generations_hold_them(journey: Journey) -> None:
    holding = []
    for path in journey.person.config_home.rglob("*"):
        if path.is_file() and secrets_in(path.read_text(errors="replace")):
            assert path.stat().st_mode & 0o077 == 0
            holding.append(str(path.relative_to(journey.person.state)))
    assert "secrets.json" in holding
    assert {re.sub(r"^generations/(.*)\.~\d+~$", r"\1", name) for name in holding} == {"secrets.json"}
    assert list(journey.person.temporary.iterdir()) == []


# -- what leaks on purpose is noticed ---------------------------------------------------------------------------

_LEAKS = """
from io import StringIO
from pyinfra.operations import files, server
server.shell(name="In an argument", commands=["sleep 0.1; : {argument}"], _sudo=True)
server.shell(name="In the environment", commands=["sleep 0.1"], _env={{"KEY": "{environment}"}})
files.put(name="In a file", src=StringIO("{file}\\n" * 9999), dest="/root/put", _sudo=True)
"""


def test_plain_pyinfra_is_caught_in_the_act(journey: Journey) -> None:
    person, machine = journey.person, journey.machine
    inventory, deploy = person.config_home / "leaking_inventory.py", person.config_home / "leaking.py"
    data = {
        "ssh_hostname": machine.address, "ssh_user": "admin", "ssh_key": str(machine.key),
        "ssh_known_hosts_file": str(machine.known_hosts), "ssh_strict_host_key_checking": "yes",
    }  # fmt: skip
    inventory.write_text(f"hosts = [('box', {data!r})]\n")
    deploy.write_text(_LEAKS.format(argument=PROVIDER_KEY, environment=API_KEY, file=SECRETS["other key"]))
    with watching(machine, person) as watcher:
        said = person.plain_pyinfra(str(inventory), str(deploy), "-y", "-vvv")
    deploy.unlink()
    seen = {(hit.secret, hit.place) for hit in watcher.hits}
    assert {("provider key", "arguments"), ("API key", "arguments"), ("other key", "file")} <= seen, said
    assert secrets_in(said.text) != []
    files, journal = search(machine)
    assert "/root/put" in files
    # sudo has written it down for good.
    assert any("COMMAND=" in line and PROVIDER_KEY in line for line in journal)


def test_a_local_program_with_a_secret_is_caught_too(journey: Journey) -> None:
    with watching(journey.machine, journey.person) as watcher:
        subprocess.run(["sh", "-c", f"sleep 0.05; : {API_KEY}"], check=True)
        subprocess.run(["sleep", "0.05"], env={"KEY": PROVIDER_KEY}, check=True)
        (journey.person.temporary / "file").write_text(OTHER_KEY)
        time.sleep(0.2)
    (journey.person.temporary / "file").unlink()
    assert {(hit.secret, hit.place) for hit in watcher.hits} == {
        ("API key", "arguments"), ("provider key", "environment"), ("other key", "file"),
    }  # fmt: skip
