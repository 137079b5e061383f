"""A conversation with an agent over its OpenAI-compatible API."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..exits import Exit
from ..output import plain
from ..problems import Problem
from ..progress import Progress
from ..ssh.forward import Way
from ..state.records import Instance
from ..state.store import State
from .neutral import Neutraliser

#: What Hermes takes as the id of a session, and a file name can be: 0.19 refuses the rest, 0.13 believes anything.
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")

#: Lines of the journal by which Hermes tells that its model failed, the most telling first. Measured with 0.13 to 0.19.
_REASONS = tuple(
    re.compile(pattern)
    for pattern in (
        r"📝 Error: (.+)",
        r"(Streaming failed .+)",
        r"❌ (.+)",
        r"ERROR [\w.]+: (.+)",
        r"⚠️ +(API call failed.+)",
    )
)
_LONGEST_REASON = 600


@dataclass(frozen=True)
class Said:
    """A piece of an answer."""

    text: str


@dataclass(frozen=True)
class Working:
    """What the agent does before it says more: a tool, with what it is given in short."""

    label: str


@dataclass(frozen=True)
class Answer:
    """An answer, also one that was broken off."""

    text: str
    session: str
    model: str
    finish_reason: str
    usage: Mapping[str, int] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "text": self.text,
            "session": self.session,
            "model": self.model,
            "finish_reason": self.finish_reason,
            "usage": dict(self.usage),
        }


class Broken(Problem):
    """An answer that did not come, or not to its end; ``answer`` holds what came."""

    def __init__(self, message: str, remedy: str | None, answer: Answer, exit: Exit = Exit.UNHEALTHY) -> None:
        super().__init__(message, remedy, exit)
        self.answer = answer


class Conversation:
    """
    Questions and answers.

    What was said is kept by the agent, under the id of a session: it outlives this process, the connection and a
    restart of the daemon. Hermes may keep a question also when its answer failed or was given up.
    """

    def __init__(self, state: State, instance: Instance, timeout: float, session: str | None, system: str | None):
        self._state = state
        self._instance = instance
        self._timeout = timeout
        self._system = system
        self._key = state.read().api_key(instance)
        self._way: Way | None = None
        self._client: httpx.Client | None = None
        #: The id of the session, which Hermes keeps it under.
        self.session = session or new_session()

    @classmethod
    @contextmanager
    def open(
        cls, reference: str, timeout: float, session: str | None = None, system: str | None = None
    ) -> Iterator[Conversation]:
        """
        Reach an agent on record.

        + timeout: seconds without a sign of work until an answer is given up
        + session: id of one to go on with; a new one when not given
        + system: instructions that are sent with each question

        Raises :class:`Problem`.
        """
        if session is not None and not (_SESSION.fullmatch(session) and ".." not in session):
            raise Problem(
                f"Session {session!r} must be 1 to 128 letters, digits, and _ . : - after the first, without '..'",
                None,
                Exit.USAGE,
            )
        state = State.open()
        conversation = cls(state, state.read().agent(reference), timeout, session, system)
        try:
            conversation._reach()
            yield conversation
        finally:
            conversation._leave()

    def reset(self) -> None:
        """Begin a new session. The one before stays with the agent."""
        self.session = new_session()

    def ask(self, question: str) -> Generator[Said | Working, None, Answer]:
        """
        Ask, and give the answer piece by piece as the agent makes it; at the end the generator returns the
        :class:`Answer`.

        Closing the generator gives the answer up, and the agent ends its work on it. Raises :class:`Broken`, and
        :class:`Problem` when the agent cannot be reached.
        """
        client = self._reached()
        reading = _Reading(self.session, self._timeout)
        messages = [{"role": "system", "content": self._system}] if self._system else []
        body = {
            "model": "hermes-agent",
            "messages": [*messages, {"role": "user", "content": question}],
            "stream": True,
        }
        try:
            with client.stream(
                "POST", "/chat/completions", json=body, headers={"X-Hermes-Session-Id": self.session}
            ) as answer:
                if answer.status_code != 200:
                    self._check_status(answer, reading)
                yield from reading.events(answer)
        except httpx.TimeoutException:
            raise self._broken(
                reading, f"gave no sign of work for {self._timeout:.0f} s", "Try a longer --timeout"
            ) from None
        except httpx.HTTPError as error:
            raise self._cut_off(reading, error) from None
        self._check(reading)
        return reading.answer()

    def _check(self, reading: _Reading) -> None:
        """Raise :class:`Broken` when the daemon says, or does not say, that its model failed."""
        if reading.finish not in ("stop", "length", "tool_calls") or reading.error:
            raise self._no_answer(reading, reading.error)
        if reading.text.strip() and (reading.tokens or reading.finish != "stop"):
            return
        # 0.13 and 0.15 end a stream whose model failed like any other: "stop", and zero tokens. Their journal tells.
        reasons = _reasons(self._way.journal()) if self._way is not None else []
        if reasons or not reading.text.strip():
            raise self._no_answer(reading, reasons[-1] if reasons else "")

    def _check_status(self, response: httpx.Response, reading: _Reading) -> None:
        status, text = response.status_code, response.read().decode(errors="replace")
        name = self._instance.agent.name
        error = _object(text).get("error")
        said = plain(str((error.get("message") if isinstance(error, dict) else error) or text))[:_LONGEST_REASON]
        if status == 401:
            raise Problem(
                f"Agent {self._instance.key} does not accept the key on record: its .env was changed on the host",
                f"clm agent configure {name}",
                Exit.UNHEALTHY,
            )
        if status == 404:
            raise Problem(
                f"Agent {self._instance.key} has no /v1/chat/completions (HTTP 404): {said}",
                f"clm agent status {name}",
                Exit.UNHEALTHY,
            )
        if status == 413:
            raise Problem("The question is longer than the agent takes (10 MB)", None, Exit.USAGE)
        if status == 429:
            raise Problem(
                f"Agent {self._instance.key} gives as many answers as it may at a time: {said}",
                "Ask again when it is done with them",
                Exit.UNHEALTHY,
            )
        raise self._no_answer(reading, f"HTTP {status}: {said}")

    def _no_answer(self, reading: _Reading, said: str) -> Broken:
        reason = f": {plain(said)[:_LONGEST_REASON]}" if said.strip() else ""
        what = "broke the answer off" if reading.text.strip() else "does not answer"
        return Broken(
            f"Agent {self._instance.key} runs, but its model {what}{reason}",
            f"clm agent logs {self._instance.agent.name} -n 30",
            reading.answer("error"),
        )

    def _cut_off(self, reading: _Reading, error: httpx.HTTPError) -> Broken:
        name = self._instance.agent.name
        way = self._way
        # The forward closes a little before the ssh that it is part of.
        for _ in range(20):
            if way is None or not way.alive:
                break
            time.sleep(0.05)
        if way is not None and not way.alive:
            lost = f"is out of reach: {way.end().message}"
            return self._broken(reading, lost, "Ask again: it is reached anew", Exit.UNREACHABLE)
        return self._broken(
            reading,
            f"ended the connection ({type(error).__name__}): it was stopped or restarted",
            f"clm agent status {name}",
        )

    def _broken(self, reading: _Reading, what: str, remedy: str, exit: Exit = Exit.UNHEALTHY) -> Broken:
        cut = " in the middle of its answer" if reading.text.strip() else ""
        return Broken(f"Agent {self._instance.key} {what}{cut}", remedy, reading.answer("error"), exit)

    def _reached(self) -> httpx.Client:
        """
        Return what speaks to the agent, over a connection that showed a sign of life just now.

        A question that is sent into a connection which was lost meanwhile, by a laptop that slept for one, may or may
        not be in the agent's session: it could not be asked again. Raises :class:`Problem`.
        """
        client = self._reach()
        if self._way is not None and self._way.mark():
            return client
        self._leave()
        client = self._reach()
        assert self._way is not None
        self._way.mark()
        return client

    def _reach(self) -> httpx.Client:
        """Return what speaks to the agent, over a connection that is made anew when the last one was lost."""
        if self._client is not None and self._way is not None and self._way.alive:
            return self._client
        self._leave()
        with Progress.shown(f"Reaching {self._instance.agent.name} on {self._instance.host.name}"):
            self._way = Way.open(self._state, self._instance)
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self._way.socket)),
            base_url=f"http://127.0.0.1:{self._instance.agent.port}/v1",
            headers={"Authorization": f"Bearer {self._key.reveal()}"},
            timeout=httpx.Timeout(self._timeout, connect=10),
        )
        return self._client

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._way is not None:
            self._way.close()
        self._client = self._way = None


class _Reading:
    """An answer while it comes."""

    def __init__(self, session: str, timeout: float) -> None:
        self.text = ""
        self.finish = ""
        self.error = ""
        self.usage: dict[str, int] = {}
        self.model = ""
        self._session = session
        self._timeout = timeout
        self._neutral = Neutraliser()

    @property
    def tokens(self) -> int:
        """How many the daemon says it took; 0 also when the provider does not tell."""
        return self.usage.get("total_tokens", 0)

    def answer(self, finish: str | None = None) -> Answer:
        """Return what there is of it."""
        return Answer(self.text, self._session, self.model, finish or self.finish, self.usage)

    def events(self, response: httpx.Response) -> Iterator[Said | Working]:
        """Give what comes. Raises what httpx raises, also when only signs of life come for too long."""
        self._session = response.headers.get("X-Hermes-Session-Id") or self._session
        heard, kind = time.monotonic(), ""
        for line in response.iter_lines():
            name, _, value = line.partition(":")
            if name == "event":
                kind = value.strip()
            elif name == "data":
                heard = time.monotonic()
                data, kind_of_data, kind = value.strip(), kind, ""
                yield from self._event(kind_of_data, data)
            elif time.monotonic() - heard > self._timeout:
                # ": keepalive", every 30 s, for as long as the model is silent.
                raise httpx.ReadTimeout("only signs of life")
        if rest := self._neutral.end():
            self.text += rest
            yield Said(rest)
        if not self.finish:
            raise httpx.RemoteProtocolError("the answer has no end")

    def _event(self, kind: str, data: str) -> Iterator[Said | Working]:
        if data == "[DONE]":
            return
        found = _object(data)
        if kind == "hermes.tool.progress":
            if found.get("status") == "running":
                words = (found.get("emoji"), found.get("tool"), found.get("label"))
                yield Working(plain(" ".join(str(word) for word in words if word)).replace("\n", " ")[:200])
            return
        self.model = str(found.get("model") or self.model)
        choice = (found.get("choices") or [{}])[0]
        piece = self._neutral.feed(_content(choice.get("delta") or {}))
        if piece:
            self.text += piece
            yield Said(piece)
        self.finish = str(choice.get("finish_reason") or self.finish)
        if isinstance(usage := found.get("usage"), dict):
            self.usage = {str(name): count for name, count in usage.items() if isinstance(count, int)}
        if error := found.get("error"):
            self.error = str(error.get("message") if isinstance(error, dict) else error)


def new_session() -> str:
    """Return an id that no session has yet."""
    return f"clm-{time.strftime('%Y%m%d')}-{secrets.token_hex(4)}"


def _reasons(lines: list[str]) -> list[str]:
    """Return what lines of the journal say of a model that failed: those that say most, in the order they came."""
    for pattern in _REASONS:
        if found := [match[1].strip() for match in map(pattern.search, lines) if match]:
            return found
    return []


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
