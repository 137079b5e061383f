"""``pyinfra INVENTORY deploys/hermes.py`` with plain host data and with what ``clm`` knows: one engine, two ways in."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.clm import (
    FLEET,
    PYINFRA,
    REPOSITORY,
    Clm,
    Terminal,
    built_release,
    counted,
    knocks,
    logins,
    main_pid,
    unit,
)
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.model import StandInModel

EXAMPLE = ("inventories/example.py", "deploys/hermes.py")
#: What operations the deploy has for one agent: first those that install it, then those that configure it.
INSTALLING = 10
OPERATIONS = INSTALLING + 8


@pytest.fixture(scope="module")
def host(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host that has the release, for the agents of plain host data."""
    [machine] = hosts(1, layer=built_release(lab))
    return machine


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Clm:
    """Someone with an empty state directory."""
    return Clm(tmp_path_factory.mktemp("pyinfra"))


@pytest.fixture
def example(person: Clm, host: Machine, model: StandInModel) -> dict[str, str]:
    """What leads inventories/example.py to a host of the lab, as a user with sudo."""
    folder = person.config_home / "secrets"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        key = folder / "maurice.key"
        key.touch(0o600)
        key.write_text(secrets.token_hex(32) + "\n")
    return {
        "HERMES_EXAMPLE_SECRETS": str(folder),
        "HERMES_EXAMPLE_HOST": host.address,
        "HERMES_EXAMPLE_USER": "admin",
        "HERMES_EXAMPLE_SSH_KEY": str(host.key),
        "HERMES_EXAMPLE_KNOWN_HOSTS": str(host.known_hosts),
        "HERMES_EXAMPLE_MODEL_URL": model.url,
    }


# Plain host data


def test_a_dry_run_before_anything_is_there_changes_nothing(
    person: Clm, host: Machine, example: dict[str, str]
) -> None:
    shown = person.pyinfra(*EXAMPLE, "--dry", environment=example).stderr
    assert re.search(r"maurice: account +1 \(wolf-i\)", shown)
    assert re.search(r"maurice: answers +1 \(wolf-i\)", shown)
    assert host.ssh("getent passwd maurice; ls -d /home/maurice /etc/systemd/system/hermes*", check=False).stdout == ""


def test_enter_at_the_prompt_goes_on_and_anything_else_does_not(
    person: Clm, host: Machine, example: dict[str, str], model: StandInModel
) -> None:
    with Terminal([PYINFRA, *EXAMPLE], {**person.environment, **example}, cwd=REPOSITORY) as terminal:
        terminal.expect("Detected changes")
        terminal.expect("Press enter to execute...")
        terminal.type("no\n")
        terminal.end()
    assert host.ssh("getent", "passwd", "maurice", check=False).stdout == ""
    with Terminal([PYINFRA, *EXAMPLE], {**person.environment, **example}, cwd=REPOSITORY) as terminal:
        terminal.expect("Press enter to execute...")
        terminal.type("\n")
        assert terminal.end(seconds=90) == 0
        assert "Traceback" not in terminal.text
        changed, failed, same = counted(terminal.text)
    # The host has all tools, and the release was there.
    assert (changed + same, failed) == (OPERATIONS, 0)
    assert "llama3.1:8b" in [request.body["model"] for request in model.chats], "the model was asked for an answer"
    key = (Path(example["HERMES_EXAMPLE_SECRETS"]) / "maurice.key").read_text().strip()
    ask = "curl -s -o /dev/null -w %{http_code} http://127.0.0.1:8642/v1/models"
    assert host.ssh(f"{ask} -H 'Authorization: Bearer {key}'").stdout == "200"


def test_a_second_run_finds_nothing_to_do(person: Clm, host: Machine, example: dict[str, str]) -> None:
    pid = main_pid(host, "maurice")
    done = person.pyinfra(*EXAMPLE, "-y", environment=example)
    assert counted(done.stderr) == (0, 0, OPERATIONS)
    assert main_pid(host, "maurice") == pid
    dry = person.pyinfra(*EXAMPLE, "--dry", environment=example).stderr
    assert "maurice: answers" in dry
    assert "(wolf-i)" not in dry, "no operation has a host with changes"
    assert main_pid(host, "maurice") == pid


def test_yes_does_it_all_without_a_question(
    person: Clm, hosts: Callable[..., list[Machine]], example: dict[str, str], model: StandInModel
) -> None:
    [fresh] = hosts(1)
    there = {**example, "HERMES_EXAMPLE_HOST": fresh.address, "HERMES_EXAMPLE_USER": "root"}
    done = person.pyinfra(*EXAMPLE, "-y", environment=there)
    # The release is built, too; the check has nothing to do, and the second look at the unit.
    assert counted(done.stderr) == (10, 0, OPERATIONS - 10)
    assert unit(fresh, "maurice")["UnitFileState"] == "enabled"
    assert len(model.chats) == 1
    assert counted(person.pyinfra(*EXAMPLE, "-y", environment=there).stderr) == (0, 0, OPERATIONS)


def test_every_verbosity_works_and_shows_no_secret(person: Clm, host: Machine, example: dict[str, str]) -> None:
    key = (Path(example["HERMES_EXAMPLE_SECRETS"]) / "maurice.key").read_text().strip()
    host.ssh("rm", "/home/maurice/.hermes/.env")
    done = person.pyinfra(*EXAMPLE, "-y", "-vvv", "--diff", "--debug", environment=example)
    assert counted(done.stderr)[1] == 0
    assert "Traceback" not in done.output
    assert key not in done.output
    assert key in host.ssh("cat", "/home/maurice/.hermes/.env").stdout


# clm and plain pyinfra


@pytest.fixture(scope="module")
def second(hosts: Callable[..., list[Machine]], lab: Lab) -> Machine:
    """A host for the agents of ``clm``."""
    [machine] = hosts(1, layer=built_release(lab))
    return machine


@pytest.fixture
def agnes(person: Clm, second: Machine, model: StandInModel) -> Clm:
    """The same person, with an agent that was installed and configured by ``clm``."""
    if not person.state.exists():
        person.add_host(second, "lab-2")
        person.add_provider(model, key="sk-known-to-clm-only")
        person.install("agnes", "lab-2")
        person.configure("agnes", "--provider", "local")
    return person


def test_plain_pyinfra_finds_nothing_to_do_after_clm(agnes: Clm, second: Machine) -> None:
    pid = main_pid(second, "agnes")
    assert counted(agnes.pyinfra(*FLEET, "-y").stderr) == (0, 0, OPERATIONS)
    assert "(lab-2)" not in agnes.pyinfra(*FLEET, "--dry").stderr
    assert main_pid(second, "agnes") == pid


def test_clm_finds_nothing_to_do_after_plain_pyinfra(agnes: Clm, second: Machine, tmp_path: Path) -> None:
    # The host loses the agent, the record keeps it: another person, who has no record of it, cleans the host.
    other = Clm(tmp_path)
    other.add_host(second, "the-same", user="root")
    other.run("agent", "remove", "agnes", "--host", "the-same", "--yes")
    assert agnes.status("agnes", exit=7)["state"] == "missing"

    changed, failed, _ = counted(agnes.pyinfra(*FLEET, "-y").stderr)
    assert changed and not failed
    pid = main_pid(second, "agnes")
    assert agnes.configure("agnes").stdout == "Agent agnes runs as configured; nothing to do.\n"
    assert main_pid(second, "agnes") == pid
    assert agnes.status("agnes")["state"] == "running"
    assert "I read" in agnes.run("chat", "agnes", "--once", "hello").stdout


def test_an_agent_that_is_only_installed_stays_so(agnes: Clm, second: Machine) -> None:
    agnes.install("bert", "lab-2")
    assert counted(agnes.pyinfra(*FLEET, "-y").stderr) == (0, 0, OPERATIONS + INSTALLING)
    assert unit(second, "bert")["ActiveState"] == "inactive"
    agnes.run("agent", "remove", "bert", "--yes")


def test_the_fleet_as_data_holds_no_secret(agnes: Clm) -> None:
    shown = agnes.pyinfra("inventories/fleet.py", "debug-inventory").output
    assert '"agnes"' in shown
    assert agnes.key("agnes", "lab-2") not in shown
    assert "sk-known-to-clm-only" not in shown
    loud = agnes.pyinfra(*FLEET, "-y", "-vvv", "--diff", "--debug").output
    assert agnes.key("agnes", "lab-2") not in loud
    assert "sk-known-to-clm-only" not in loud


# Bad data

PROVIDER = {"type": "ollama", "url": "http://192.0.2.1:11434", "model": "m"}


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ([{"name": "a", "provider": {**PROVIDER, "type": "openia"}, "secrets": {}}], "Invalid provider type 'openia'"),
        ([{"name": "a", "provider": PROVIDER, "secrets": {"HERMES_API_SERVER_KEY": "file:/nowhere"}}], "openssl rand"),
        ([{"name": "a", "secrets": {"HERMES_API_SERVER_KEY": "0123abcd"}}], "not the secret itself"),
        ([{"name": "a"}, {"name": "b"}], "agents a and b have the same port 8642"),
        (["a"], "hermes_agents must be a list of mappings"),
    ],
)
def test_bad_data_is_one_clear_line_and_no_connection(
    person: Clm, host: Machine, tmp_path: Path, agents: object, said: str
) -> None:
    data = {"ssh_hostname": host.address, "ssh_key": str(host.key), "ssh_known_hosts_file": str(host.known_hosts)}
    listed = repr([("wolf", {**data, "hermes_agents": agents})])
    inventory = tmp_path / "inventory.py"
    inventory.write_text(f"from pyinfra_hermes.deploys.hermes import checked as _checked\nhosts = _checked({listed})\n")
    before = knocks(host)
    done = person.pyinfra(str(inventory), "deploys/hermes.py", "-y", exit=1)
    assert "Traceback" not in done.output
    assert "Connecting" not in done.output
    assert "wolf: " in done.stderr.splitlines()[-1]
    assert said in done.stderr.splitlines()[-1]
    assert knocks(host) == before


def test_an_inventory_that_does_not_ask_for_the_check_hears_it_later_and_as_clearly(
    person: Clm, host: Machine, tmp_path: Path
) -> None:
    data = {"ssh_hostname": host.address, "ssh_key": str(host.key), "ssh_known_hosts_file": str(host.known_hosts)}
    inventory = tmp_path / "inventory.py"
    inventory.write_text(f"hosts = {[('wolf', {**data, 'hermes_agents': [{'name': 'a'}, {'name': 'b'}]})]!r}\n")
    done = person.pyinfra(str(inventory), "deploys/hermes.py", "-y", exit=1)
    assert "Traceback" not in done.output
    assert "wolf: agents a and b have the same port 8642" in done.stderr.splitlines()[-1]
    assert host.ssh("getent", "passwd", "a", "b", check=False).stdout == ""


def test_a_state_that_cannot_be_used_is_one_clear_line_and_no_connection(agnes: Clm, second: Machine) -> None:
    secret = agnes.state / "secrets.json"
    good = secret.read_text()
    try:
        secret.write_text(good.replace(agnes.key("agnes", "lab-2"), "edited by hand"))
        before = logins(second)
        done = agnes.pyinfra(*FLEET, "-y", exit=1)
        assert "Traceback" not in done.output
        assert "is not 64 lowercase hexadecimal digits" in done.stderr.splitlines()[-1]
        secret.write_text("{")
        done = agnes.pyinfra(*FLEET, "-y", exit=1)
        assert "Traceback" not in done.output
        assert str(secret) in done.stderr.splitlines()[-1]
        assert logins(second) == before
    finally:
        secret.write_text(good)
