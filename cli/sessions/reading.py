"""What an agent's state.db tells, asked for over OpenSSH and taken line by line: an agent decides how much that is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, Literal

from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.deploys.references import UnresolvedSecret
from pyinfra_hermes.facts.script import sessions_of
from pyinfra_hermes.facts.sessions import (
    FIRST_SCHEMA,
    LAST_SCHEMA,
    Begin,
    End,
    Match,
    Message,
    NoDatabase,
    NotFound,
    Row,
    Session,
    Unreadable,
    read,
)

from ..exits import Exit
from ..problems import Problem
from ..ssh.openssh import Login, explain, login_of
from ..state.lookup import Lookup
from ..state.records import Instance, integration_scope, provider_scope
from ..state.store import State

#: Bytes of an answer, and of one that is written to a file.
MOST, MOST_IN_FILE = 4 << 20, 256 << 20
_LONGEST_LINE = 8 << 20
_LONGEST_SECRET, _SHOWN = 4096, 500
_SECONDS, _SECONDS_FOR_FILE = 30, 300


@dataclass(frozen=True)
class Request:
    """What is asked of a state.db."""

    do: Literal["list", "show", "search"]
    limit: int = 20
    #: Seconds since the epoch, before which nothing is of interest.
    since: float | None = None
    #: The id of a conversation, or how it begins; the latest when None.
    session: str | None = None
    text: str = ""
    #: Whether the answer goes to a file, so that it may be big.
    to_file: bool = False


class Answer:
    """Rows as they come. What is known once all are read: whether there was more."""

    def __init__(self, instance: Instance, rows: Iterator[Row]) -> None:
        self._instance = instance
        self._rows = rows
        self.cut = False
        #: What is to be said of it, for a person.
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Session | Message | Match]:
        name = self._instance.agent.name
        try:
            for row in self._rows:
                if isinstance(row, Begin):
                    if not row.known:
                        self.notes.append(
                            f"state.db of {name} has schema {row.schema}, and this clm knows {FIRST_SCHEMA} to "
                            f"{LAST_SCHEMA}: what is shown may not be all"
                        )
                elif isinstance(row, End):
                    self.cut = row.cut
                else:
                    yield _redacted(row)
        except NotFound as error:
            which = str(error).removeprefix("several: ")
            what = "has no such conversation" if which == "none such" else f"has several that begin so: {which}"
            raise Problem(f"Agent {name} {what}", f"clm agent sessions list {name}", Exit.USAGE) from None
        except NoDatabase:
            self.notes.append(f"{name} has no state.db: it never had a conversation")
        except Unreadable as error:
            raise Problem(f"Agent {self._instance.key}: {error}", f"clm agent status {name}") from None
        if self.cut:
            self.notes.append(f"This is not all: {name} has more than is read at once")


@contextmanager
def answered(reference: str, request: Request) -> Iterator[Answer]:
    """
    Ask an agent's host, and give its answer while the block runs. Raises :class:`Problem`.

    The agent's own secrets are known to the redactor from then on: they are blacked out where a conversation has them.
    """
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    state.unlock()
    unknown = _reveal(snapshot, instance)
    login = login_of(state, instance.host)
    most, seconds = (MOST_IN_FILE, _SECONDS_FOR_FILE) if request.to_file else (MOST, _SECONDS)
    wanted = {
        "do": request.do,
        "limit": request.limit,
        "since": request.since,
        "session": request.session,
        "text": request.text,
        # A little less than what would be cut off on the way: then it can say so itself.
        "most": most - (1 << 16),
    }
    script = sessions_of(instance.agent.name, json.dumps(wanted), seconds, most)
    with (
        TemporaryFile() as complaints,
        subprocess.Popen(
            login.command(login.as_root()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        assert process.stdin
        try:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(script.encode())
            answer = Answer(instance, read(_lines(process, complaints, login)))
            if unknown:
                answer.notes.append(f"Not blacked out, because it cannot be had: {', '.join(unknown)}")
            yield answer
        finally:
            process.kill()


def _redacted(row: Session | Message | Match) -> Session | Message | Match:
    """Black out secrets while they are whole: later texts are cut to what fits a line."""
    if isinstance(row, Session):
        title = None if row.title is None else redact(row.title)
        return replace(row, title=title, first=None if row.first is None else redact(row.first)[:_SHOWN])
    if isinstance(row, Match):
        return replace(row, text=redact(row.text), title=None if row.title is None else redact(row.title))
    text = redact(row.text)
    # The host cut it off, in the middle of a secret maybe.
    text = text[:-_LONGEST_SECRET] if row.shortened and len(text) > _LONGEST_SECRET else text
    return replace(row, text=text, calls=tuple((name, redact(arguments)) for name, arguments in row.calls))


def _reveal(snapshot: Lookup, instance: Instance) -> list[str]:
    """Make the redactor look for an agent's secrets; return the names of those elsewhere that cannot be had."""
    agent = instance.agent
    scopes = {instance.key, *(integration_scope(name) for name in agent.integrations)}
    if agent.provider:
        scopes.add(provider_scope(agent.provider))
    unknown = []
    for scope, key, entry in snapshot.secrets.entries():
        if scope in scopes:
            try:
                entry.secret(key).reveal()
            except UnresolvedSecret:
                unknown.append(key)
    return unknown


def _lines(process: subprocess.Popen[bytes], complaints: IO[bytes], login: Login) -> Iterator[str]:
    assert process.stdout
    while line := process.stdout.readline(_LONGEST_LINE):
        yield line.decode(errors="replace")
    if (status := process.wait()) != 0:
        complaints.seek(0)
        raise explain(login, status, complaints.read(4000).decode(errors="replace"))
