"""
`clm agent memory` and `clm agent sessions`: what is refused before a host is asked, and texts that are not lost.

L_1 to L_11 in names: the bugs of the predecessor's memory commands, one test for each.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.memories import drafts
from pyinfra_hermes.cli.memories.drafts import Draft
from pyinfra_hermes.cli.output import emit
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.sessions import printing
from pyinfra_hermes.cli.sessions.reading import _redacted
from pyinfra_hermes.cli.state.records import Agent, Host, agent_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.facts.sessions import Match, Message, Session
from tests.lab.person import Person, Said

UNREACHABLE = 4


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with an agent on a host that nobody answers at, so that exit 4 tells of a connection that was tried."""
    person = Person(tmp_path / "person").but(XDG_STATE_HOME=str(tmp_path / "kept"))
    with State.open(person.state).transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="127.0.0.1", port=1, user="root")
        agent = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed")
        agent.config["memory.memory_char_limit"] = 20
        tx.hosts["wolf-i"].agents["maurice"] = agent
        tx.secrets.set(agent_scope("wolf-i", "maurice"), "HERMES_API_SERVER_KEY", Secret("0f" * 32))
    return person


def kept(said: Said) -> Path:
    """Where a text is that did not get to the agent."""
    found = re.search(r"Your text is kept in (\S+)", said.err)
    assert found, said
    return Path(found[1])


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        *((verb, "../USER.md") for verb in ("show", "read", "info", "write", "edit", "add", "delete")),
        *(("read", name) for name in ("notes.md", "memory/x.md", "/etc/passwd")),
    ],
)
def test_another_file_is_refused_before_a_connection(person: Person, verb: str, name: str) -> None:
    said = person.clm("agent", "memory", verb, "maurice", name, code=2, stdin="x")
    said.has("hermes memory accepts only MEMORY.md and USER.md")


@pytest.mark.parametrize(("file", "limit"), [("USER.md", 1375), ("SOUL.md", 3000), ("MEMORY.md", 20)])
def test_L_3_a_text_over_the_limit_is_refused_before_a_connection_and_kept(
    person: Person, file: str, limit: int
) -> None:
    write = ("agent", "memory", "write", "maurice", file, "--replace")
    text = "日" * limit + "x"
    said = person.clm(*write, code=2, stdin=text)
    said.has(f"hermes memory file '{file}' exceeds character limit ({limit + 1} > {limit} chars)")
    assert kept(said).read_text() == text
    assert [path.stat().st_mode & 0o777 for path in (kept(said), kept(said).parent)] == [0o600, 0o700]
    # One less is for the host to take, which cannot be reached; then it is kept as well.
    said = person.clm(*write, code=UNREACHABLE, stdin="日" * limit + "\n")
    assert kept(said).read_text() == "日" * limit + "\n"


def test_a_text_of_a_file_stays_there_and_is_not_kept_twice(person: Person, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 2000)
    write = ("agent", "memory", "write", "maurice", "USER.md", "--file", str(tmp_path / "text"))
    person.clm(*write, code=2).has("(2000 > 1375 chars)", "memory.user_char_limit").lacks("is kept in")
    (tmp_path / "text").write_bytes(b"bees \xff")
    person.clm(*write, code=2).has("is not UTF-8, from byte 6 on")
    (tmp_path / "text").write_bytes(b"bees \0")
    person.clm(*write, code=2).has("NUL")
    person.clm("agent", "memory", "write", "maurice", "USER.md", "--file", str(tmp_path), code=2).has("cannot be read")


def test_an_entry_is_one_and_not_longer_than_all_may_be(person: Person) -> None:
    add = ("agent", "memory", "add", "maurice", "MEMORY.md")
    person.clm(*add, "x" * 21, code=2).has("(21 > 20 chars)", "clm agent config set maurice memory.memory_char_limit")
    assert kept(person.clm(*add, code=2, stdin="a\n§\nb").has("is 2 entries")).read_text() == "a\n§\nb"
    person.clm(*add, " ", code=2).has("is empty")
    person.clm("agent", "memory", "add", "maurice", "SOUL.md", "x", code=2).has("has no entries")


def test_L_11_an_agent_that_is_not_on_record_is_no_reason_to_connect(person: Person) -> None:
    for words in (
        ["show", "x;id"],
        ["read", "nobody", "USER.md"],
        ["info", "../maurice"],
        ["delete", "x", "--all", "-y"],
    ):
        person.clm("agent", "memory", *words, code=2)
    for words in (["list", "nobody"], ["show", "x;id"], ["search", "nobody", "x"], ["export", "nobody"]):
        person.clm("agent", "sessions", *words, code=2)


@pytest.mark.parametrize("words", [[], ["USER.md", "--all"], ["USER.md", "--entry", "0"], ["--all", "--entry", "1"]])
def test_what_to_delete_is_said_in_one_way(person: Person, words: list[str]) -> None:
    person.clm("agent", "memory", "delete", "maurice", *words, "-y", code=2)


def test_an_unreachable_host_is_told_of_as_such(person: Person) -> None:
    # The predecessor said of everything that went wrong: "Memory unavailable".
    for words in (["memory", "show"], ["memory", "delete", "--all", "-y"], ["sessions", "list"], ["sessions", "show"]):
        noun, verb, *rest = words
        person.clm("agent", noun, verb, "maurice", *rest, code=UNREACHABLE).has("wolf-i")


def test_what_sessions_are_asked_for_is_checked_first(person: Person) -> None:
    person.clm("agent", "sessions", "list", "maurice", "--since", "yesterday", code=2).has("this is no time")
    person.clm("agent", "sessions", "search", "maurice", " ", code=2).has("one word at least")
    person.clm("agent", "sessions", "list", "maurice", "--limit", "0", code=2)


def test_an_editor_gets_its_words_and_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    draft = Draft.of("maurice", "USER.md", b"bees")
    assert draft.path.suffix == ".md"
    write = "import sys; open(sys.argv[-1], 'w').write(' '.join(sys.argv[1:-1]))"
    (tmp_path / "edit.py").write_text(write)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {tmp_path}/edit.py --wait '$(id) ; x'")
    draft.edit(None)
    assert draft.read() == b"--wait $(id) ; x"
    monkeypatch.setenv("VISUAL", f"{sys.executable} {tmp_path}/edit.py visual")
    draft.edit(None)
    assert draft.read() == b"visual"
    draft.edit(f"{sys.executable} {tmp_path}/edit.py option")
    assert draft.read() == b"option"
    for editor in ("false", "/no/such/editor", "'"):
        with pytest.raises(Problem):
            draft.edit(editor)
    draft.drop()
    assert draft.read() is None


def test_nobody_waits_for_keys_that_no_terminal_can_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under pytest standard output is no terminal: vi, which nobody named, is not begun."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    draft = Draft.of("maurice", "USER.md", b"bees")
    with pytest.raises(Problem, match="no terminal to edit at"):
        draft.edit(None)
    draft.edit("true")
    assert draft.read() == b"bees"


def test_a_folder_that_others_can_read_gets_no_text(tmp_path: Path) -> None:
    (tmp_path / "clawrium/memory").mkdir(parents=True, mode=0o755)
    with pytest.raises(Problem, match="is not yours alone"):
        drafts.folder({"XDG_STATE_HOME": str(tmp_path)})
    assert drafts.folder({"HOME": str(tmp_path), "XDG_STATE_HOME": "relative"}).is_relative_to(
        tmp_path / ".local/state"
    )


@given(st.text())
def test_nothing_of_a_conversation_steers_a_terminal(text: str) -> None:
    message = Message(text, f"{text}\x1b[2J\u202e", tool=text, calls=((text, text),))
    session = Session(text, title=f"\x1b]0;{text}\x07", source=text)
    shown = [printing.heading(session), printing.exported(message, "markdown"), printing.exported(session, "markdown")]
    for line in (*shown, *printing.transcript(session, message)):
        rest = re.sub("\x1b\\[[01]m", "", line)  # ours
        assert not set(rest) & {"\x1b", "\x07", "\u202e", "\r", "\x9b", "\0"}
    assert printing.exported(message, "jsonl").count("\n") == 1


TIMES = ["2h", "30m", "2026-05-07", "2026-05-07T12:00"]


@pytest.mark.parametrize("text", [*TIMES, "", "h", "-2h", "9999999d", "999999w", "0001-01-01"])
def test_a_time_is_read_or_refused(text: str) -> None:
    if text in TIMES:
        assert printing.since(text) is not None
    else:
        with pytest.raises(Problem, match="this is no time"):
            printing.since(text)


def test_text_that_turns_others_around_is_escaped_in_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert emit({"text": "日 \u202e"}, "yaml")
    printed = capsys.readouterr().out
    assert "\u202e" not in printed
    assert yaml.safe_load(printed) == {"text": "日 \u202e"}


def test_a_secret_that_is_cut_in_two_is_not_shown_in_part() -> None:
    secret = "sentinel-3f9c1b77aa20"
    Secret(secret).reveal()
    match = Match("s", "user", f"the key of the {'x' * 60} is {secret} and so on")
    assert "sentinel" not in printing.match_data(_redacted_match(match), ["key"])["text"]
    cut = _redacted(Message("user", f"{'x ' * 9000}{secret[:12]}", shortened=True))
    assert isinstance(cut, Message)
    assert "sentinel" not in cut.text and cut.text.startswith("x x")
    head = _redacted(Session("s", title=f"about {secret}", first=f"{'x' * 490}{secret}"))
    assert isinstance(head, Session)
    assert "sentinel" not in f"{head.title}{head.first}"


def _redacted_match(match: Match) -> Match:
    found = _redacted(match)
    assert isinstance(found, Match)
    return found
