"""Text that cannot steer a terminal, words that arrive as they are, moments, and the local end of a tunnel."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import re
import signal
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.output import plain
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.ssh.sockets import private_folder
from pyinfra_hermes.cli.talking import endpoint
from pyinfra_hermes.cli.talking.conversation import Said
from pyinfra_hermes.cli.talking.environment import fish_quoted, written
from pyinfra_hermes.cli.talking.executing import decoding, inside
from pyinfra_hermes.cli.talking.journal import Entry, Wanted, _await_nobody
from pyinfra_hermes.cli.talking.neutral import Neutraliser
from pyinfra_hermes.cli.talking.relay import Relay
from pyinfra_hermes.cli.talking.screen import blocks, screen
from pyinfra_hermes.cli.talking.since import since
from pyinfra_hermes.cli.talking.tunnel import _ended_by_signals

# -- text ------------------------------------------------------------------------------------------------------

#: Pieces of sequences, so that hypothesis puts whole, broken and nested ones together.
_STEERING = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "\x1b",
                "\x1b[",
                "31m",
                "[",
                "]",
                "\x1b]0;",
                "\x07",
                "\x1b\\",
                "\x9b",
                "\x9d",
                "\x9c",
                "P",
                "\n",
                "m",
                "\u202e",
            ]
        ),
        st.text(max_size=8),
    ),
    max_size=30,
).map("".join)


def neutralised(*pieces: str) -> str:
    neutral = Neutraliser()
    return "".join([*map(neutral.feed, pieces), neutral.end()])


@given(_STEERING, st.lists(st.integers(0, 200), max_size=6))
def test_where_an_answer_is_split_does_not_matter_and_nothing_steers(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    shown = neutralised(*(text[a:b] for a, b in pairwise(edges)))
    assert shown == neutralised(text)
    assert shown == plain(shown), "no control and no reordering character is left"


@given(st.text())
def test_text_without_sequences_stays_as_it_is_but_for_what_is_not_printable(text: str) -> None:
    bare = re.sub("[\x1b\x90\x98\x9b\x9d-\x9f]", "", text)
    assert neutralised(bare) == plain(bare)


def test_whole_sequences_go_and_what_hides_text_does_not() -> None:
    assert neutralised("a\x1b[31mb\x1b[0m c\x1b]0;title\x07d\x1b]8;;http://x\x1b\\e\x1b(Bf\x9b1mg") == "ab cdefg"
    # A string that never ends would take the rest of the answer with it.
    assert neutralised("a\x1b]0;hidden\nshown") == "a]0;hidden\nshown"
    assert "x" * 600 in neutralised("\x1bP" + "x" * 600)


@given(st.lists(st.sampled_from(["a", "\n", "\n\n", "```\n", "~~~~\n", "- b\n", " \n"]), max_size=25).map("".join))
def test_blocks_of_markdown_lose_nothing(text: str) -> None:
    found = blocks(text)
    assert "".join(found) == text
    for before in range(len(text)):
        # What was left on the screen for good never changes when more comes.
        done = blocks(text[:before])[:-1]
        assert found[: len(done)] == done


def test_a_fence_is_one_block() -> None:
    assert blocks("a\n\n```\nb\n\nc\n```\n\nd") == ["a\n\n", "```\nb\n\nc\n```\n\n", "d"]


@given(st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=8))
def test_what_is_written_into_a_pipe_is_the_answer_with_one_end_of_line(pieces: list[str]) -> None:
    written_ = io.StringIO()
    with contextlib.redirect_stdout(written_), screen(markdown=False, quiet=True) as shown:
        for piece in pieces:
            shown.show(Said(piece))
    answer = "".join(pieces).lstrip("\n")
    assert written_.getvalue() == (answer if answer.endswith("\n") or not answer else f"{answer}\n")


# -- words -----------------------------------------------------------------------------------------------------

_WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(_WORD, min_size=1, max_size=6))
def test_arguments_come_through_shells_exactly(words: list[str]) -> None:
    # Twice decoded, as on the way: by the login shell of the host, and by the shell in the unit.
    script = decoding(decoding(inside(["printf", "%s\\0", *words])))
    for shell in ("sh", "bash"):
        said = subprocess.run([shell, "-c", script], capture_output=True, check=True).stdout
        assert said.decode().split("\0")[:-1] == words


def test_arguments_that_are_no_utf8_come_through() -> None:
    words = [os.fsdecode(b"\xff\xfe"), os.fsdecode(b"a\x80b")]
    said = subprocess.run(["sh", "-c", decoding(inside(["printf", "%s,", *words]))], capture_output=True, check=True)
    assert said.stdout == b"\xff\xfe,a\x80b,"


@settings(max_examples=60, deadline=None)
@given(_WORD, _WORD)
def test_variables_are_taken_over_by_a_shell_as_they_are(first: str, second: str) -> None:
    found = {"OPENAI_BASE_URL": first, "OPENAI_API_KEY": second}
    script = f'{written(found, "sh").reveal()}\nprintf "%s\\0" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    assert said.decode().split("\0")[:-1] == [first, second]
    assert json.loads(written(found, "json").reveal()) == found


@given(_WORD)
def test_fish_has_two_special_characters_between_single_quotes(word: str) -> None:
    # https://fishshell.com/docs/current/language.html#quotes: \' and \\ are the only escapes there.
    quoted = fish_quoted(word)
    assert (quoted[0], quoted[-1]) == ("'", "'")
    assert re.sub(r"\\(['\\])", r"\1", quoted[1:-1]) == word
    assert not re.search(r"(?<!\\)(?:\\\\)*'", quoted[1:-1])


# -- moments ---------------------------------------------------------------------------------------------------

NOW = datetime(2026, 5, 7, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10 min ago", "-600s"),
        ("2h", "-7200s"),
        ("-1h", "-3600s"),
        ("1 day 2 hours ago", "-93600s"),
        ("1h30m", "-5400s"),
        ("now", "-0s"),
        ("today", f"@{NOW.timestamp() - 43200:.0f}"),
        ("Yesterday", f"@{NOW.timestamp() - 129600:.0f}"),
        ("11:30", f"@{NOW.timestamp() - 1800:.0f}"),
        ("2026-05-07 11:00", f"@{NOW.timestamp() - 3600:.0f}"),
        ("2026-05-07T09:00:00Z", f"@{NOW.timestamp() - 3600:.0f}"),
        ("2026-05-06", f"@{NOW.timestamp() - 129600:.0f}"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "10", "10 parsecs ago", "25:00", "2026-13-01", "2 days hence", "--help"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="10 min ago"):
        since(text, NOW)


@pytest.mark.parametrize("text", ["13:00", "2026-05-07T12:00:01+02:00", "9999-12-31"])
def test_what_is_still_to_come_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="still to come"):
        since(text, NOW)


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{1,30} ?(min|h|d)( ago)?", fullmatch=True))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert re.fullmatch(r"-[0-9]+s|@-?[0-9]+", since(text, NOW))


def test_an_entry_with_colours_is_read_and_shown_without() -> None:
    line = {"MESSAGE": list(b"\x1b[31mred\x1b[0m \xff"), "__REALTIME_TIMESTAMP": "1", "__CURSOR": "c", "PRIORITY": "4"}
    entry = Entry.read(0, json.dumps(line))
    assert entry is not None
    assert (entry.message, entry.priority, entry.cursor) == ("red \N{REPLACEMENT CHARACTER}", 4, "c")
    assert Entry.read(0, "Bad pattern") is None


# -- journals --------------------------------------------------------------------------------------------------


def test_a_journal_that_is_read_anew_begins_where_it_was_left() -> None:
    wanted = Wanted(lines=0, follow=True, since="2026-05-07 12:00:00", grep="x")
    assert "entries eve --lines=0 '--since=2026-05-07 12:00:00' --follow --grep=x" in wanted.script("eve", None, None)
    # Nothing was seen yet: all that came since it was reached first.
    assert "entries eve --since=-7s --lines=all --follow --grep=x" in wanted.script("eve", None, 7)
    assert "entries eve --after-cursor=c --lines=all --follow --grep=x" in wanted.script("eve", "c", 7)


def test_that_nobody_reads_any_more_is_noticed_though_nothing_is_written() -> None:
    reading, writing = os.pipe()
    told: queue.Queue[object] = queue.Queue()
    watching = threading.Thread(target=_await_nobody, args=(writing, told))
    watching.start()
    with pytest.raises(queue.Empty):
        told.get(timeout=0.05)
    os.close(reading)
    assert isinstance(told.get(timeout=30), BrokenPipeError)
    watching.join()
    os.close(writing)


# -- the local end of a tunnel ---------------------------------------------------------------------------------


def test_several_signals_at_once_end_it_once_and_one_that_was_ignored_does_not() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    tidied = []
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt), _ended_by_signals():
            try:
                signal.raise_signal(signal.SIGHUP)
            finally:
                for number in numbers:
                    signal.raise_signal(number)
                    tidied.append(number)
        assert tidied == [*numbers]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with _ended_by_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_socket_that_nobody_listens_on_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    endpoint.on_socket(path).close()
    assert path.is_socket(), "closed and left behind, as by a killed process"
    with endpoint.on_socket(path):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        with pytest.raises(endpoint.InUse, match="another tunnel listens"):
            endpoint.on_socket(path)
        other, listening = endpoint.on_free_socket(tmp_path, "a")
        listening.close()
        assert other == tmp_path / "a-2.sock"


def test_what_is_no_socket_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(Problem, match="is no socket"):
        endpoint.on_socket(path)
    assert path.read_text() == "mine"
    with pytest.raises(Problem, match="longer than"):
        endpoint.on_socket(tmp_path / ("x" * 200))
    with pytest.raises(Problem, match="No such file"):
        endpoint.on_socket(tmp_path / "nowhere" / "a.sock")


def test_many_tunnels_at_once_each_get_a_socket_and_a_port_of_their_own(tmp_path: Path) -> None:
    endpoint.on_socket(tmp_path / "a.sock").close()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: endpoint.on_free_socket(tmp_path, "a"), range(8)))
        ports = list(pool.map(lambda _: endpoint.on_free_port(endpoint.stable_port("test")), range(8)))
    assert len({path for path, _ in made}) == 8
    assert len({one.getsockname()[1] for one in ports}) == 8
    with pytest.raises(Problem, match="Address already in use"):
        endpoint.on_port(ports[0].getsockname()[1])
    for one in [*ports, *(listening for _, listening in made)]:
        one.close()


def test_the_folder_of_sockets_is_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = private_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(Problem, match="not a folder of this user alone"):
        private_folder()
    # The specification of these folders has relative ones passed over.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for relative in ("run", "", "."):
        monkeypatch.setenv("XDG_RUNTIME_DIR", relative)
        assert private_folder() == tmp_path / f"clm-{os.getuid()}"


@given(st.text())
def test_an_agent_has_the_same_port_every_time(key: str) -> None:
    assert 20000 <= endpoint.stable_port(key) == endpoint.stable_port(key) < 30000


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Path]:
    """A server that says back what it is told, when it has been told everything."""
    path = tmp_path / "echo.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as told:
                connection.sendall(told.read())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def said_through(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as there:

        def tell() -> None:
            with contextlib.suppress(OSError):
                there.sendall(data)
                there.shutdown(socket.SHUT_WR)

        threading.Thread(target=tell, daemon=True).start()
        with there.makefile("rb") as back:
            return back.read()


def test_what_is_passed_on_arrives_and_waits_while_there_is_no_way(echo: Path) -> None:
    data = os.urandom(8 << 20)
    with endpoint.on_port(0) as listening, Relay([listening]) as relay:
        port = listening.getsockname()[1]
        with ThreadPoolExecutor(4) as pool:
            waiting = pool.submit(said_through, port, b"early")
            relay.lead_to(None)
            relay.lead_to(echo)
            assert waiting.result() == b"early"
            for said in pool.map(lambda _: said_through(port, data), range(4)):
                assert hashlib.sha256(said).digest() == hashlib.sha256(data).digest()
        relay.lead_to(echo.with_name("gone"))
        assert said_through(port, b"x") == b""
