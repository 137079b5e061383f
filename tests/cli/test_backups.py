"""`clm agent backup`, `restore` and `move`: everything that is refused before a host is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.backup.relocation import _Note
from pyinfra_hermes.cli.state.records import Agent, Host, StageResult, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.cli.test_archive_file import KEY, made
from tests.lab.person import Person

API_KEY = "0123456789abcdef" * 4


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with two hosts that nobody answers at, and agents on the first."""
    person = Person(tmp_path / "person")
    done = StageResult(status="done")
    with State.open(person.state).transaction() as tx:
        for number, host in enumerate(("wolf-i", "wolf-ii"), 1):
            tx.hosts[host] = Host(name=host, address=f"127.0.0.{number}", port=1, user="root")
        for name, port in (("maurice", 8642), ("agnes", 8643)):
            stages = dict.fromkeys(("providers", "identity", "channels", "validate"), done)
            agent = Agent(name=name, release="v2026.5.7", port=port, status="installed", onboarding=stages)
            tx.hosts["wolf-i"].agents[name] = agent
            tx.secrets.set(agent_scope("wolf-i", name), "HERMES_API_SERVER_KEY", Secret(API_KEY))
            tx.secrets.set(agent_scope("wolf-i", name), "DISCORD_BOT_TOKEN", Secret(f"sentinel-of-{name}"))
    return person


def test_a_backup_that_would_replace_a_file_or_has_nowhere_to_go_is_refused(person: Person, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    person.clm("agent", "backup", "maurice", "-o", str(tmp_path / "there"), code=3).has("is never overwritten")
    assert (tmp_path / "there").read_text() == "mine"
    person.clm("agent", "backup", "maurice", "-o", str(tmp_path / "no/where"), code=2).has("There is no folder")
    person.clm("agent", "backup", "nobody", code=2).has("There is no agent 'nobody'")


def test_a_backup_with_secrets_needs_a_key_that_nobody_else_can_read(person: Person, tmp_path: Path) -> None:
    take = ("agent", "backup", "maurice", "-o", str(tmp_path), "--with-secrets")
    person.clm(*take, code=2).has("--passphrase-file or --key-file")
    short, open_ = tmp_path / "short", tmp_path / "open"
    short.write_text("1234567\n")
    short.chmod(0o600)
    open_.write_text("long enough for anybody\n")
    open_.chmod(0o644)
    person.clm(*take, "--passphrase-file", str(short), code=2).has("8 characters or more")
    person.clm(*take, "--passphrase-file", str(open_), code=None).has("chmod")
    person.clm(*take, "--passphrase-file", str(short), "--key-file", str(short), code=2).has("Give one of")
    # With a good one the host is next, which is not there; and nothing was left of the backup.
    open_.chmod(0o600)
    before = sorted(tmp_path.iterdir())
    person.clm(*take, "--passphrase-file", str(open_), code=4)
    assert sorted(tmp_path.iterdir()) == before


def test_a_restore_refuses_what_is_no_backup_before_it_looks_for_the_agent(person: Person, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no backup")
    for name in ("maurice", "nobody"):
        restore = ("agent", "restore", name, "--from")
        person.clm(*restore, str(tmp_path / "text"), code=3).has("is damaged, or no backup")
        person.clm(*restore, str(tmp_path / "missing"), code=2).has("cannot be read: No such file")
    whole = made(tmp_path, {"SOUL.md": b"I am."})
    person.clm("agent", "restore", "nobody", "--from", str(whole), code=2).has("There is no agent 'nobody'")
    person.clm("agent", "restore", "nobody", "--from", str(whole), "--install", code=2).has("--host HOST")
    person.clm("agent", "restore", "maurice", "--from", str(whole), code=4)


def test_a_sealed_backup_is_opened_by_its_own_kind_of_key(person: Person, tmp_path: Path) -> None:
    sealed = made(tmp_path, {"SOUL.md": b"I am."}, KEY)
    restore = ("agent", "restore", "maurice", "--from", str(sealed))
    person.clm(*restore, code=2).has("is sealed with a key file", "--key-file")
    other = tmp_path / "other"
    other.write_text("bm90IHRoZSBrZXkgdGhhdCBpdCBpcyBzZWFsZWQgYnk=\n")
    other.chmod(0o600)
    person.clm(*restore, "--key-file", str(other), code=3).has("is not the one")


def test_a_move_is_refused_where_it_would_take_something_over(person: Person) -> None:
    move = ("agent", "move", "maurice", "--to")
    person.clm(*move, "nowhere", code=2).has("There is no host 'nowhere'")
    with State.open(person.state).transaction() as tx:
        tx.secrets.set(agent_scope("wolf-ii", "maurice"), "A_TOKEN", Secret("sentinel-left"))
    person.clm(*move, "wolf-ii", code=3).has("There are secrets under wolf-ii:hermes:maurice")
    with State.open(person.state).transaction() as tx:
        tx.secrets.remove_scope(agent_scope("wolf-ii", "maurice"))
        tx.hosts["wolf-ii"].agents["maurice"] = Agent(
            name="maurice", release="v2026.5.7", port=8642, status="installed"
        )
    person.clm("agent", "move", "wolf-i/maurice", "--to", "wolf-ii", code=3).has("on record already")


def test_a_token_that_two_agents_have_is_not_moved(person: Person) -> None:
    with State.open(person.state).transaction() as tx:
        tx.secrets.set(agent_scope("wolf-i", "agnes"), "DISCORD_BOT_TOKEN", Secret("sentinel-of-maurice"))
    said = person.clm("agent", "move", "maurice", "--to", "wolf-ii", code=3)
    said.has("have the same DISCORD_BOT_TOKEN: one token must not run twice").lacks("sentinel-of")


def test_an_agent_that_was_never_configured_is_not_moved(person: Person) -> None:
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"].agents["maurice"].onboarding.pop("validate")
    person.clm("agent", "move", "maurice", "--to", "wolf-ii", code=3).has("clm agent configure maurice")


def test_a_move_to_a_host_that_does_not_answer_changes_nothing(person: Person) -> None:
    before = person.records()
    person.clm("agent", "move", "maurice", "--to", "wolf-ii", code=4)
    assert person.records() == before


@given(line=st.text())
def test_a_note_that_nobody_of_ours_wrote_is_none(line: str) -> None:
    note = _Note.parse(line)
    assert note is None or (note.left, note.mark, note.stage) == tuple(line.split())
    assert _Note.parse("wolf-i 0123 copying") == _Note("wolf-i", "0123", "copying")
