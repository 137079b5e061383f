"""`clm secret`: what is shown and to whom, what is refused, and encryption from a user's side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyinfra_hermes.cli import rotation
from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.state.records import (
    Agent,
    Applied,
    Host,
    Integration,
    Provider,
    agent_scope,
    integration_scope,
    provider_scope,
)
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.person import Person, Said

API_KEY = "0123456789abcdef" * 4
OTHER_KEY = "fedcba9876543210" * 4
KEY = "HERMES_API_SERVER_KEY"
PASSPHRASE = "correct horse battery"


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with two agents, a provider that one of them uses, an integration, and a secret of each."""
    person = Person(tmp_path)
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        for name, port in (("maurice", 8642), ("agnes", 8643)):
            tx.hosts["wolf-i"].agents[name] = Agent(name=name, release="v2026.5.7", port=port, status="installed")
            tx.secrets.set(agent_scope("wolf-i", name), KEY, Secret(API_KEY), description="The API.")
        tx.hosts["wolf-i"].agents["maurice"].provider = "cloud"
        tx.hosts["wolf-i"].agents["maurice"].applied = Applied(digest="x", release="v2026.5.7")
        tx.hosts["wolf-i"].agents["maurice"].integrations = ("jira",)
        tx.providers["cloud"] = Provider(
            name="cloud", type="custom", options={"url": "http://192.0.2.9/v1", "model": "m"}
        )
        tx.integrations["jira"] = Integration(
            name="jira",
            type="atlassian",
            options={"url": "https://a.example", "username": "me@a.example", "products": "jira"},
        )
        tx.secrets.set(provider_scope("cloud"), "API_KEY", Secret("sk-sentinel-cloud"))
        tx.secrets.set(integration_scope("jira"), "ATLASSIAN_API_TOKEN", Secret("sk-sentinel-jira"))
        tx.secrets.set(agent_scope("wolf-i", "maurice"), "DISCORD_BOT_TOKEN", Secret("sk-sentinel-discord"))
    return person


def value(person: Person, scope: str, key: str) -> str | None:
    entry = json.loads(person.state.joinpath("secrets.json").read_text()).get(scope, {}).get(key)
    return None if entry is None else entry["value"]


# Looking


def test_a_list_shows_no_value(person: Person) -> None:
    said = person.clm("secret", "list").has("provider:cloud", "ATLASSIAN_API_TOKEN", "The API.", "DISCORD_BOT_TOKEN")
    said.lacks("sentinel", API_KEY)
    rows = person.json("secret", "list", "maurice")
    assert [(row["scope"], row["key"]) for row in rows] == [
        ("wolf-i:hermes:maurice", "DISCORD_BOT_TOKEN"),
        ("wolf-i:hermes:maurice", KEY),
    ]
    assert set(rows[0]) == {"scope", "key", "reference", "description", "created_at", "updated_at"}
    assert person.clm("secret", "list", "provider:cloud").out.count("\n") == 2


@pytest.mark.parametrize("scope", ["maurice", "wolf-i/maurice", "wolf-i:hermes:maurice"])
def test_one_value_goes_into_a_pipe(person: Person, scope: str) -> None:
    assert person.clm("secret", "get", scope, "DISCORD_BOT_TOKEN").out == "sk-sentinel-discord\n"


def test_a_terminal_gets_it_only_when_asked_to(person: Person) -> None:
    with person.terminal("secret", "get", "provider:cloud", "API_KEY") as terminal:
        assert terminal.end() == Exit.REFUSED
        assert "clm secret get provider:cloud API_KEY --show" in terminal.text
        assert "sentinel" not in terminal.text
    with person.terminal("secret", "get", "provider:cloud", "API_KEY", "--show") as terminal:
        assert terminal.end() == 0
        assert terminal.text == "sk-sentinel-cloud\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("get", "provider:cloud", "NOPE"), "There is no NOPE of provider:cloud; there is API_KEY"),
        (("get", "provider:clowd", "API_KEY"), "There is no provider 'clowd'; did you mean cloud?"),
        (("get", "integration:jura", "X"), "There is no integration 'jura'; did you mean jira?"),
        (("get", "morice", KEY), "There is no agent 'morice'; did you mean maurice?"),
        (("list", "nobody"), "There is no agent 'nobody'"),
        (("set", "maurice", "lower"), "is not the name of an environment variable"),
        (("set", "maurice", f"{KEY}_NEXT", "--stdin"), "is kept while a key is rotated"),
        (("set", "provider:cloud", "TOKEN", "--stdin"), "A provider of type custom takes API_KEY, not TOKEN"),
        (("set", "provider:nope", "API_KEY", "--stdin"), "There is no provider 'nope'"),
        (("set", "maurice", "X_TOKEN"), "Give it with --stdin, --file or --reference"),
        (("set", "maurice", "X_TOKEN", "--stdin", "--reference", "env:X"), "one way only"),
        (("set", "maurice", "X_TOKEN", "--reference", "sk-sentinel"), "This is no reference: give a reference"),
        (("set", "maurice", "X_TOKEN", "--reference", "file:x.key"), "depends on where clm is run"),
        (("set", "provider:cloud", "API_KEY", "--stdin"), "Give it with --yes"),
        (("import", "maurice", "maurice"), "cannot be copied to itself"),
        (("import", "maurice", "agnes"), "Give it with --yes"),
        (("encrypt",), "Give it with --passphrase-stdin, --key-file, --command or --keyring"),
        (("encrypt", "--generate"), "needs to know where"),
        (("encrypt", "--key-file", "/nonexistent/key"), "Make one with --generate"),
        (("encrypt", "--key-file", "/x", "--command", "y"), "Give one of --passphrase-stdin"),
        (("encrypt", "--command", "no-such-program"), "There is no program 'no-such-program'"),
        (("encrypt", "--passphrase-stdin"), "A passphrase has 8 characters or more"),
    ],
)
def test_bad_input_changes_nothing(person: Person, arguments: tuple[str, ...], says: str) -> None:
    before = person.records()
    said = person.clm("secret", *arguments, code=Exit.USAGE, stdin="short").has(says)
    said.lacks("sentinel", "Traceback")
    assert person.records() == before


# Setting and removing


def test_a_value_comes_from_standard_input_or_a_file(person: Person, tmp_path: Path) -> None:
    said = person.clm("secret", "set", "agnes", "SLACK_BOT_TOKEN", "--stdin", "--description", "Work", stdin="sk-one\n")
    assert value(person, "wolf-i:hermes:agnes", "SLACK_BOT_TOKEN") == "sk-one"
    said.has("SLACK_BOT_TOKEN of wolf-i:hermes:agnes is kept.").lacks("configure", "sk-one")
    tmp_path.joinpath("token").write_text("sk-two\n")
    person.clm("secret", "set", "agnes", "SLACK_BOT_TOKEN", "--file", str(tmp_path / "token"), "--yes")
    assert value(person, "wolf-i:hermes:agnes", "SLACK_BOT_TOKEN") == "sk-two"
    before = person.records()
    person.clm("secret", "set", "agnes", "SLACK_BOT_TOKEN", "--stdin", stdin="sk-two").has("nothing to do")
    assert person.records() == before


def test_who_uses_it_is_told_what_to_do_next(person: Person) -> None:
    said = person.clm("secret", "set", "provider:cloud", "API_KEY", "--stdin", "--yes", stdin="sk-new-value")
    said.has("Next: clm agent configure wolf-i/maurice")


def test_at_a_terminal_it_is_asked_for_twice_and_not_shown(person: Person) -> None:
    with person.terminal("secret", "set", "agnes", "SLACK_BOT_TOKEN") as terminal:
        terminal.expect("SLACK_BOT_TOKEN of wolf-i:hermes:agnes:")
        terminal.type("sk-typed-1" + "\n")
        terminal.expect("Once more:")
        terminal.type("sk-typed-2" + "\n")
        terminal.expect("SLACK_BOT_TOKEN of wolf-i:hermes:agnes:")
        terminal.type("sk-typed-1" + "\n")
        terminal.expect("Once more:")
        terminal.type("sk-typed-1" + "\n")
        assert terminal.end() == 0
        assert "sk-typed" not in terminal.text
    assert value(person, "wolf-i:hermes:agnes", "SLACK_BOT_TOKEN") == "sk-typed-1"


@pytest.mark.parametrize(("answer", "kept"), [("n", "sk-sentinel-cloud"), ("y", "sk-new-value")])
def test_replacing_asks(person: Person, tmp_path: Path, answer: str, kept: str) -> None:
    tmp_path.joinpath("token").write_text("sk-new-value")
    with person.terminal("secret", "set", "provider:cloud", "API_KEY", "--file", str(tmp_path / "token")) as terminal:
        terminal.expect("Replace API_KEY of provider:cloud, set at ")
        terminal.type(answer + "\n")
        assert terminal.end() == (Exit.REFUSED if answer == "n" else 0)
    assert value(person, "provider:cloud", "API_KEY") == kept


@pytest.mark.parametrize(
    ("key", "given", "says"),
    [
        ("X_TOKEN", "sentinel\N{GREEK SMALL LETTER ALPHA}", "U+03B1"),
        ("X_TOKEN", "sentinel\x01", "control character U+0001"),
        (KEY, "sentinel", "must be 64 lowercase hexadecimal digits"),
        (KEY, API_KEY.upper(), "must be 64 lowercase hexadecimal digits"),
        ("X_TOKEN", "", "Standard input holds no secret"),
    ],
)
def test_what_an_agent_could_not_use_is_refused_and_not_shown(person: Person, key: str, given: str, says: str) -> None:
    before = person.records()
    said = person.clm("secret", "set", "maurice", key, "--stdin", "--yes", stdin=given, code=Exit.USAGE).has(says)
    said.lacks("sentinel", API_KEY.upper())
    assert person.records() == before


def test_a_reference_is_kept_and_shown_and_used(person: Person) -> None:
    person.environment["CLOUD_KEY"] = "sk-resolved"
    said = person.clm("secret", "set", "provider:cloud", "API_KEY", "--reference", "env:CLOUD_KEY", "--yes")
    said.lacks("Warning")
    assert person.json("secret", "list", "provider:cloud")[0]["reference"] == "env:CLOUD_KEY"
    assert person.clm("secret", "get", "provider:cloud", "API_KEY").out == "sk-resolved\n"
    assert b"sk-resolved" not in b"".join(person.records().values())
    del person.environment["CLOUD_KEY"]
    person.clm("secret", "get", "provider:cloud", "API_KEY", code=Exit.FAILED).has(
        "API_KEY: the environment variable CLOUD_KEY is not set"
    )
    person.clm("secret", "set", "agnes", "X_TOKEN", "--reference", "op://v/i/f").has(
        "Warning: kept, but it cannot be used now: X_TOKEN: op is not installed"
    )
    person.clm("secret", "set", "agnes", KEY, "--reference", "cmd:echo short", "--yes").has(
        "Warning: kept, but it cannot be used now: HERMES_API_SERVER_KEY must be 64"
    )


@pytest.mark.parametrize(
    ("scope", "key", "user"),
    [
        ("provider:cloud", "API_KEY", "wolf-i:hermes:maurice"),
        ("integration:jira", "ATLASSIAN_API_TOKEN", "wolf-i:hermes:maurice"),
        ("agnes", KEY, "wolf-i:hermes:agnes"),
    ],
)
def test_what_is_used_is_removed_by_force_only(person: Person, scope: str, key: str, user: str) -> None:
    before = person.records()
    said = person.clm("secret", "remove", scope, key, "--yes", code=Exit.REFUSED)
    instead = f"clm secret rotate {scope}" if key == KEY else f"clm secret set {scope} {key}"
    said.has(f"is used by {user}", instead, "--force")
    assert person.records() == before
    person.clm("secret", "remove", scope, key, "--force").has("removed.")
    person.clm("secret", "remove", scope, key, "--force", code=Exit.USAGE).has(f"There is no {key}")


def test_what_nobody_uses_is_removed_when_confirmed(person: Person) -> None:
    person.clm("secret", "remove", "maurice", "DISCORD_BOT_TOKEN", code=Exit.USAGE).has("Give it with --yes")
    person.clm("secret", "remove", "maurice", "DISCORD_BOT_TOKEN", "--yes")
    assert value(person, "wolf-i:hermes:maurice", "DISCORD_BOT_TOKEN") is None
    assert value(person, "wolf-i:hermes:maurice", KEY) == API_KEY


def test_what_is_left_of_something_forgotten_can_be_removed(person: Person) -> None:
    with State.open(person.state).transaction() as tx:
        tx.secrets.set("provider:gone", "API_KEY", Secret("sk-sentinel-gone"))
    person.clm("secret", "list", "provider:gone").has("API_KEY")
    person.clm("secret", "remove", "provider:gone", "API_KEY", "--yes")
    person.clm("secret", "list", "provider:gone", code=Exit.USAGE)


def test_everything_but_the_api_key_is_copied(person: Person) -> None:
    with State.open(person.state).transaction() as tx:
        tx.secrets.set("wolf-i:hermes:agnes", KEY, Secret(OTHER_KEY))
    with person.terminal("secret", "import", "maurice", "agnes") as terminal:
        terminal.expect("Copy from wolf-i:hermes:maurice to wolf-i:hermes:agnes: DISCORD_BOT_TOKEN?")
        terminal.type("y" + "\n")
        assert terminal.end() == 0
        assert "sentinel" not in terminal.text
    assert value(person, "wolf-i:hermes:agnes", "DISCORD_BOT_TOKEN") == "sk-sentinel-discord"
    assert value(person, "wolf-i:hermes:agnes", KEY) == OTHER_KEY
    person.clm("secret", "import", "maurice", "agnes").has("nothing to do")
    person.clm("secret", "set", "agnes", "DISCORD_BOT_TOKEN", "--stdin", "--yes", stdin="another")
    with person.terminal("secret", "import", "maurice", "agnes") as terminal:
        terminal.expect("DISCORD_BOT_TOKEN (replaced)?")


# Encryption


@pytest.fixture
def key_file(person: Person, tmp_path: Path) -> Path:
    """Somebody whose secrets are encrypted with a key file."""
    path = tmp_path / "the.key"
    person.clm("secret", "encrypt", "--key-file", str(path), "--generate")
    return path


def test_plain_is_what_it_is_and_status_says_so(person: Person) -> None:
    data = person.json("secret", "status")
    assert (data["storage"], data["mode"], data["network_mount"]) == ("plain", "0600", None)
    person.clm("secret", "status").has("plain text: whoever can read the file reads the secrets", "clm secret encrypt")


def test_of_nothing_there_is_a_status_too(tmp_path: Path) -> None:
    nobody = Person(tmp_path)
    nobody.clm("secret", "status").has("there are no secrets yet")
    assert not nobody.state.exists()
    nobody.clm("secret", "list").has("No secrets.")


def test_status_needs_no_key_and_tells_what_it_is(person: Person, key_file: Path) -> None:
    key_file.unlink()
    data = person.json("secret", "status")
    assert data["storage"] == "encrypted"
    assert data["encryption"]["cipher"] == "AES-256-GCM"
    assert data["generations"]["plain"] == 0 and data["generations"]["encrypted"] > 0
    person.clm("secret", "status").has("encrypted with AES-256-GCM", f"the key file {key_file}", "encrypted")


def test_status_tells_what_is_damaged_left_over_and_copied(person: Person, key_file: Path) -> None:
    secrets = person.state / "secrets.json"
    for name in (".secrets.json.0123456789abcdef.new", "secrets.json.bad"):
        person.state.joinpath(name).touch(mode=0o600)
    person.clm("secret", "status").has("left over", "secrets.json.bad: in the open")
    secrets.write_text(secrets.read_text().replace("AES-256-GCM", "AES-256-GCN"))
    person.clm("secret", "status", code=Exit.FAILED).has("DAMAGED", "clm state restore secrets.json")


def test_every_command_works_with_encrypted_secrets(person: Person, key_file: Path) -> None:
    assert person.clm("secret", "get", "maurice", KEY).out == f"{API_KEY}\n"
    person.clm("secret", "set", "agnes", "SLACK_BOT_TOKEN", "--stdin", stdin="sk-sentinel-slack")
    person.clm("provider", "add", "p", "--type", "custom", "--url", "http://192.0.2.1/v1", "--model", "m",
               "--api-key-stdin", stdin="sk-sentinel-p")  # fmt: skip
    person.clm("provider", "list").has("API_KEY")
    person.clm("provider", "remove", "p")
    person.clm("secret", "import", "maurice", "agnes", "--yes")
    person.clm("secret", "remove", "agnes", "SLACK_BOT_TOKEN", "--yes")
    assert person.clm("secret", "get", "agnes", "DISCORD_BOT_TOKEN").out == "sk-sentinel-discord\n"
    assert not any(b"sentinel" in content for content in person.records().values())


def test_what_needs_no_secret_works_without_the_key(person: Person, key_file: Path) -> None:
    key_file.unlink()
    person.clm("host", "list").has("wolf-i")
    person.clm("provider", "list").has("cloud", "encrypted")
    assert person.json("provider", "list")[0]["secrets"] is None
    person.clm("agent", "start", "agnes", code=Exit.USAGE).has(f"The key file {key_file} cannot be read")
    person.clm("secret", "list", code=Exit.USAGE).has("CLM_KEY_FILE=FILE")


def test_a_passphrase_is_asked_for_once_where_it_is_needed_and_never_shown(person: Person) -> None:
    with person.terminal("secret", "encrypt") as terminal:
        for question in ("New passphrase:", "Once more:"):
            terminal.expect(question)
            terminal.type(PASSPHRASE + "\n")
        assert terminal.end() == 0
        assert PASSPHRASE not in terminal.text
        assert "is encrypted, and so are its earlier versions." in terminal.text
    for arguments in (("host", "list"), ("provider", "list")):
        with person.terminal(*arguments) as terminal:
            assert terminal.end() == 0
            assert "Passphrase" not in terminal.text
    with person.terminal("secret", "list") as terminal:
        terminal.expect(f"Passphrase for {person.state}/secrets.json:")
        terminal.type(PASSPHRASE + "\n")
        assert terminal.end() == 0
        assert terminal.text.count("Passphrase") == 1 and "provider:cloud" in terminal.text
    with person.terminal("secret", "list") as terminal:
        terminal.expect("Passphrase for")
        terminal.type("something else" + "\n")
        assert terminal.end() == Exit.REFUSED
        assert "This passphrase is not the one that" in terminal.text
        assert "the file itself is undamaged" in terminal.text
    person.clm("secret", "list", code=Exit.USAGE).has("nobody can be asked for it here", "CLM_PASSPHRASE_FILE=FILE")


def test_a_run_without_a_person_takes_the_passphrase_from_a_file(person: Person, tmp_path: Path) -> None:
    person.clm("secret", "encrypt", "--passphrase-stdin", stdin=f"{PASSPHRASE}\n").lacks(PASSPHRASE)
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text(f"{PASSPHRASE}\n")
    person.environment["CLM_PASSPHRASE_FILE"] = str(file)
    assert person.clm("secret", "get", "maurice", KEY).out == f"{API_KEY}\n"
    person.clm("secret", "rekey", "--same").has("is encrypted anew")
    file.chmod(0o644)
    person.clm("secret", "list", code=Exit.FAILED).has("is open to other users", f"chmod 600 {file}")
    file.chmod(0o600)
    file.write_text("something else\n")
    person.clm("secret", "list", code=Exit.REFUSED).has(f"The passphrase in {file} is not the one")


def test_a_command_may_print_the_passphrase(person: Person, tmp_path: Path) -> None:
    program = tmp_path / "stand-in-for-pass"
    program.write_text('#!/bin/sh\n[ "$*" = "show clm" ] && echo from the manager\n')
    program.chmod(0o700)
    person.clm("secret", "encrypt", "--command", f"{program} show clm").has("is encrypted")
    assert person.clm("secret", "get", "maurice", KEY).out == f"{API_KEY}\n"
    assert person.json("secret", "status")["encryption"]["key_source"] == f"the command `{program} show clm`"


def test_another_key_and_back_to_plain(person: Person, key_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    person.clm("secret", "rekey", "--same", "--key-file", str(other), code=Exit.USAGE).has("--same keeps")
    person.clm("secret", "rekey", "--key-file", str(other), "--generate").has("is encrypted anew")
    key_file.unlink()
    assert person.clm("secret", "get", "maurice", KEY).out == f"{API_KEY}\n"
    person.clm("secret", "encrypt", "--key-file", str(other), code=Exit.REFUSED).has("is encrypted already")
    person.clm("secret", "decrypt", code=Exit.USAGE).has("Give it with --yes")
    person.clm("secret", "decrypt", "--yes").has("is plain text now.", "Earlier versions stay encrypted")
    assert value(person, "wolf-i:hermes:maurice", KEY) == API_KEY
    person.clm("secret", "decrypt", "--yes", code=Exit.REFUSED).has("is not encrypted", "clm secret encrypt")
    person.clm("secret", "rekey", "--key-file", str(other), code=Exit.REFUSED).has("is not encrypted")


def test_a_key_does_not_lie_beside_what_it_locks(person: Person) -> None:
    key = person.state / "keys" / "x"
    said = person.clm("secret", "encrypt", "--key-file", str(key), "--generate", code=Exit.USAGE)
    said.has("would lie beside what it locks")
    assert not key.exists()


def test_copies_that_others_made_are_named(person: Person, tmp_path: Path) -> None:
    copy = person.state / "secrets.json.bad"
    copy.write_bytes(person.state.joinpath("secrets.json").read_bytes())
    said = person.clm("secret", "encrypt", "--key-file", str(tmp_path / "k"), "--generate")
    said.has(f"Warning: {copy} holds secrets in the open. When you no longer need it: rm {copy}")
    said.lacks("The plain text is gone")


def test_cryptography_is_imported_for_an_encrypted_file_only(person: Person, tmp_path: Path) -> None:
    def imports(*arguments: str) -> bool:
        probe = (
            "import sys; from pyinfra_hermes.cli.main import run; code = run(sys.argv[1:]);"
            "sys.exit(code or (77 if 'cryptography' in sys.modules else 0))"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe, *arguments], env=person.environment, capture_output=True, check=False
        )
        assert done.returncode in (0, 77), done.stderr
        return done.returncode == 77

    assert not imports("secret", "list") and not imports("secret", "status")
    person.clm("secret", "encrypt", "--key-file", str(tmp_path / "k"), "--generate")
    assert not imports("host", "list") and not imports("secret", "status")
    assert imports("secret", "list")


# Rotation: what is decided without a host. tests/lab/test_secret_rotation.py has a real one.


class StandInHost:
    """An agent's host, as far as a rotation sees it: which key is in force."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        self.key = key
        self.refuses: list[Problem] = []
        self.still_accepts: set[str] = set()
        monkeypatch.setattr(rotation, "observe_host_of", lambda state, host: None)
        monkeypatch.setattr("pyinfra_hermes.cli.rotation.put_in_force", self.put_in_force)
        monkeypatch.setattr(rotation._Rotation, "_answer", lambda _, key: self.answer(key.reveal()))

    def put_in_force(self, state: State, instance: object, spec: object, secrets: dict[str, Secret], _: bool) -> bool:
        if self.refuses:
            raise self.refuses.pop(0)
        self.key = secrets[KEY].reveal()
        return True

    def answer(self, key: str) -> int:
        return 200 if key == self.key or key in self.still_accepts else 401


@pytest.fixture
def stand_in(person: Person, monkeypatch: pytest.MonkeyPatch) -> StandInHost:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(person.state.parent))
    return StandInHost(monkeypatch, API_KEY)


def test_a_rotation_ends_with_the_new_key_everywhere(person: Person, stand_in: StandInHost) -> None:
    assert rotation.rotate("maurice", verbose=False).on_host
    new = value(person, "wolf-i:hermes:maurice", KEY)
    assert new == stand_in.key != API_KEY
    assert value(person, "wolf-i:hermes:maurice", f"{KEY}_NEXT") is None


@pytest.mark.parametrize("trouble", ["does not apply", "old one lives"])
def test_a_rotation_that_fails_leaves_the_old_key_in_force_and_on_record(
    person: Person, stand_in: StandInHost, trouble: str
) -> None:
    if trouble == "does not apply":
        stand_in.refuses = [Problem("it does not start", None, Exit.UNHEALTHY)]
    else:
        stand_in.still_accepts = {API_KEY}
    before = value(person, "wolf-i:hermes:maurice", KEY)
    with pytest.raises(Problem) as caught:
        rotation.rotate("maurice", verbose=False)
    assert caught.value.exit == Exit.NOT_APPLIED
    assert caught.value.message.endswith("The old key is in force, and on record.")
    assert stand_in.key == before == value(person, "wolf-i:hermes:maurice", KEY)
    assert value(person, "wolf-i:hermes:maurice", f"{KEY}_NEXT") is None


def test_a_rotation_that_cannot_be_taken_back_goes_on_with_the_same_key(person: Person, stand_in: StandInHost) -> None:
    stand_in.refuses = [Problem("gone"), Problem("still gone")]
    with pytest.raises(Problem, match="Which one the host has is not known") as caught:
        rotation.rotate("maurice", verbose=False)
    assert "clm secret rotate maurice" in str(caught.value.remedy)
    begun = value(person, "wolf-i:hermes:maurice", f"{KEY}_NEXT")
    assert value(person, "wolf-i:hermes:maurice", KEY) == API_KEY
    rotation.rotate("maurice", verbose=False)
    assert stand_in.key == begun == value(person, "wolf-i:hermes:maurice", KEY)


def test_a_rotation_that_is_stopped_at_any_write_is_gone_on_with(
    person: Person, stand_in: StandInHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    original = State.transaction
    for wanted in (1, 2):
        made = 0

        def transaction(self: State, wanted: int = wanted) -> object:
            nonlocal made
            made += 1
            if made == wanted:
                raise Stopped
            return original(self)

        old = value(person, "wolf-i:hermes:maurice", KEY)
        monkeypatch.setattr(State, "transaction", transaction)
        with pytest.raises(Stopped):
            rotation.rotate("maurice", verbose=False)
        monkeypatch.setattr(State, "transaction", original)
        held = {value(person, "wolf-i:hermes:maurice", name) for name in (KEY, f"{KEY}_NEXT")}
        assert old in held and stand_in.key in held
        rotation.rotate("maurice", verbose=False)
        assert value(person, "wolf-i:hermes:maurice", KEY) == stand_in.key != old


def test_an_agent_that_was_never_configured_gets_a_key_on_record(person: Person, stand_in: StandInHost) -> None:
    assert not rotation.rotate("agnes", verbose=False).on_host
    assert value(person, "wolf-i:hermes:agnes", KEY) not in (None, API_KEY)
    assert stand_in.key == API_KEY


def test_a_key_that_is_kept_elsewhere_is_not_rotated_here(person: Person) -> None:
    person.environment["THE_KEY"] = API_KEY
    person.clm("secret", "set", "maurice", KEY, "--reference", "env:THE_KEY", "--yes")
    said: Said = person.clm("secret", "rotate", "maurice", code=Exit.REFUSED)
    said.has("is kept elsewhere: env", "Replace it there, then: clm agent configure maurice")


def test_the_umask_does_not_decide_who_reads_a_key_file(person: Person, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        person.clm("secret", "encrypt", "--key-file", str(tmp_path / "k"), "--generate")
    finally:
        os.umask(before)
    assert tmp_path.joinpath("k").stat().st_mode & 0o777 == 0o600
