"""An agent's files between what we set, what others set, and what Hermes makes of them: one host, one agent."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import yaml

from pyinfra_hermes.cli.exits import Exit
from tests.lab.clm import main_pid
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.person import Person, Said

HOME = "/home/maurice/.hermes"
CONFIG, ENV, AUTH = f"{HOME}/config.yaml", f"{HOME}/.env", f"{HOME}/auth.json"
RECORD = "/var/lib/pyinfra-hermes/maurice.leaves"
#: Shaped as no known key is, so that it can be found wherever it lies.
SENTINEL = "sk-or-SENTINEL-9f3b7c1d2e"
LOGIN = {"source": "manual", "auth_type": "api_key", "access_token": "typed-by-the-user", "label": "mine", "id": "a1"}
BY_HAND = "# Mine.\nmy:\n  own: 1  # beside\n"


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("person"))


@pytest.fixture(scope="module")
def maurice(person: Person, host: Machine, _model_server: StandInModel) -> Machine:
    """A host on which the agent maurice runs, with a configuration that has a part of its owner's."""
    person.add_host(host, "box")
    person.add_provider(_model_server)
    person.clm("provider", "add", "router", "--type", "openrouter", "--model", "a/b", "--api-key-stdin", stdin=SENTINEL)
    person.clm("agent", "install", "--host", "box", "--name", "maurice")
    host.ssh(f"cat > {CONFIG} && chown maurice: {CONFIG} && chmod 644 {CONFIG}", input=BY_HAND)
    configured(person, "--provider", "local")
    return host


def configured(person: Person, *arguments: str, code: int | None = 0) -> Said:
    """Configure the agent; that its model answers is another module's subject."""
    return person.clm("agent", "configure", "maurice", "--skip-chat", *arguments, code=code)


def configuration(machine: Machine) -> Any:
    text = machine.ssh(f"cat {CONFIG}").stdout
    assert all(line in text for line in BY_HAND.splitlines())
    return yaml.safe_load(text)


def recorded(machine: Machine) -> list[list[str]]:
    paths: list[list[str]] = json.loads(machine.ssh(f"cat {RECORD}").stdout)
    return paths


def different(person: Person, code: int = Exit.DIFFERENT) -> list[tuple[str, str, Any, Any]]:
    found = json.loads(person.clm("agent", "diff", "maurice", "-o", "json", code=code).out)
    return [(each["action"], each["item"], each["old"], each["new"]) for each in found if each["action"] != "act"]


def test_where_nothing_differs_diff_says_so(person: Person, maurice: Machine, model: StandInModel) -> None:
    person.clm("agent", "diff", "maurice").has("is as it should be")
    assert different(person, Exit.DONE) == []
    assert recorded(maurice) == [["model", name] for name in ("api_key", "base_url", "default", "provider")]
    assert maurice.ssh(f"stat -c '%U %a' {RECORD} {CONFIG}").stdout.split() == ["root", "644", "maurice", "600"]


def test_what_others_set_stays_and_what_they_change_of_ours_is_put_back(
    person: Person, maurice: Machine, model: StandInModel
) -> None:
    pid = main_pid(maurice, "maurice")
    maurice.ssh(f"sed -i 's/default: .*/default: \"by hand\"/' {CONFIG} && echo 'FOREIGN=x' >> {ENV}")
    assert different(person) == [
        ("remove", "FOREIGN", None, None),
        ("change", "model.default", '"by hand"', json.dumps(configuration_of(person))),
    ]
    said = person.clm("agent", "diff", "maurice", code=Exit.DIFFERENT)
    said.has(ENV, "- FOREIGN", CONFIG, '~ model.default: "by hand" -> ', "clm agent configure maurice")
    dry = person.pyinfra("--dry", "inventories/fleet.py", "deploys/hermes.py")
    assert f"- {ENV}: FOREIGN" in dry.output
    assert f"~ {CONFIG}: model.default = " in dry.output
    # Neither of them did anything.
    assert main_pid(maurice, "maurice") == pid
    assert configuration(maurice)["model"]["default"] == "by hand"
    configured(person).has(f"- {ENV}: FOREIGN")
    person.clm("agent", "diff", "maurice")
    assert configuration(maurice)["my"] == {"own": 1}


def configuration_of(person: Person) -> str:
    model: str = json.loads(person.state.joinpath("providers.json").read_text())["providers"]["local"]["options"][
        "model"
    ]
    return model


def test_what_a_user_adds_survives_and_goes_without_a_trace(
    person: Person, maurice: Machine, model: StandInModel
) -> None:
    person.clm("agent", "variable", "set", "maurice", "TAVILY_API_KEY", "--stdin", stdin="tv-SENTINEL ${HOME} #1")
    person.clm("agent", "variable", "set", "maurice", "HERMES_AGENT_TIMEOUT", "901")
    person.clm("agent", "config", "set", "maurice", "agent.max_turns", "51")
    block = {"on": "yes", "at": "12:30", "l": [1.5, None]}
    person.clm("agent", "config", "set", "maurice", '["display","a.b"]', json.dumps(block))
    assert [(action, item) for action, item, _, _ in different(person)] == [
        ("add", "HERMES_AGENT_TIMEOUT"),
        ("add", "TAVILY_API_KEY"),
        ("add", "agent.max_turns"),
        ("add", 'display."a.b".on'),
        ("add", 'display."a.b".at'),
        ("add", 'display."a.b".l'),
    ]
    person.clm("agent", "diff", "maurice", code=Exit.DIFFERENT).has("TAVILY_API_KEY: missing").lacks("SENTINEL")
    configured(person).lacks("SENTINEL")
    configured(person).has("nothing to do")
    read = configuration(maurice)
    assert read["agent"] == {"max_turns": 51}
    assert read["display"] == {"a.b": block}
    assert "SENTINEL" in maurice.ssh(f"grep TAVILY {ENV}").stdout
    environment = maurice.ssh(f"tr '\\0' '\\n' < /proc/{main_pid(maurice, 'maurice')}/environ").stdout
    assert "SENTINEL" not in environment
    person.clm("agent", "variable", "unset", "maurice", "TAVILY_API_KEY")
    person.clm("agent", "variable", "unset", "maurice", "HERMES_AGENT_TIMEOUT")
    person.clm("agent", "config", "unset", "maurice", '["display","a.b"]')
    person.clm("agent", "config", "unset", "maurice", "agent.max_turns")
    said = configured(person)
    said.has(f"- {ENV}: TAVILY_API_KEY", f"- {CONFIG}: agent.max_turns", f'- {CONFIG}: display."a.b"')
    assert configuration(maurice).keys() == {"model", "my"}
    assert "SENTINEL" not in maurice.ssh(f"cat {ENV}").stdout
    assert len(recorded(maurice)) == 4


def test_a_block_of_somebody_else_is_not_taken_over(person: Person, maurice: Machine, model: StandInModel) -> None:
    before = maurice.ssh(f"cat {CONFIG}").stdout
    maurice.ssh(f"cat >> {CONFIG}", input="web:\n  a: theirs\n")
    theirs = maurice.ssh(f"cat {CONFIG}").stdout
    person.clm("agent", "config", "set", "maurice", "web.a", '{"b": 1}')
    said = configured(person, code=None)
    assert said.code != 0
    said.has("web.a is there already and was not put there by pyinfra-hermes", "Give ours another name")
    person.clm("agent", "diff", "maurice", code=Exit.DIFFERENT).has("configure would fail here")
    assert maurice.ssh(f"cat {CONFIG}").stdout == theirs
    person.clm("agent", "config", "unset", "maurice", "web.a")
    maurice.ssh(f"cat > {CONFIG}", input=before)
    configured(person)
    person.clm("agent", "diff", "maurice")


def test_a_provider_that_is_left_leaves_no_key_behind(person: Person, maurice: Machine, model: StandInModel) -> None:
    configured(person, "--provider", "router", "--skip-connectivity")
    # The daemon copies its key at the first chat, and is in the middle of it while we switch.
    asking = threading.Thread(target=person.clm, args=("chat", "maurice", "--once", "Hello?"), kwargs={"code": None})
    asking.start()
    maurice.ssh(f"timeout 60 sh -c 'until grep -qsF {SENTINEL} {AUTH}; do sleep 0.2; done'")
    store = json.loads(maurice.ssh(f"cat {AUTH}").stdout)
    store["credential_pool"]["anthropic"] = [LOGIN]
    maurice.ssh(f"cat > {AUTH}", input=json.dumps(store))
    said = configured(person, "--provider", "local")
    asking.join()
    said.has(f"- {AUTH}: credential_pool.openrouter (env:OPENROUTER_API_KEY)", f"- {ENV}: OPENROUTER_API_KEY")
    assert maurice.ssh(f"grep -rlF {SENTINEL} /home/maurice /tmp /var/tmp /var/lib/pyinfra-hermes || :").stdout == ""
    assert maurice.ssh(f"journalctl -q | grep -cF {SENTINEL} || :").stdout.strip() == "0"
    assert json.loads(maurice.ssh(f"cat {AUTH}").stdout)["credential_pool"] == {"anthropic": [LOGIN]}
    assert maurice.ssh(f"stat -c '%U %a' {AUTH}").stdout.split() == ["maurice", "600"]
    person.clm("chat", "maurice", "--once", "Hello?").has("Hello?")
    person.clm("agent", "diff", "maurice")


def test_a_broken_file_is_told_with_its_line(person: Person, maurice: Machine, model: StandInModel) -> None:
    before = maurice.ssh(f"cat {CONFIG}").stdout
    maurice.ssh(f"echo 'broken: [' >> {CONFIG}")
    person.clm("agent", "diff", "maurice", code=Exit.DIFFERENT).has(f"{CONFIG}: line ", "Mend or remove the file.")
    maurice.ssh(f"cat > {CONFIG}", input=before)


def test_removing_the_agent_takes_the_record_along(person: Person, maurice: Machine) -> None:
    person.clm("agent", "remove", "maurice", "--yes")
    maurice.ssh("! ls /var/lib/pyinfra-hermes")
