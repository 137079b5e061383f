"""A conversation with an agent over its OpenAI-compatible API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from pyinfra_hermes.deploys.model.secret import Secret

from .exits import Exit
from .output import plain
from .problems import Problem
from .ssh.forward import forwarded
from .state.records import Instance
from .state.store import State

#: Turns that are sent along; older ones are dropped.
MAX_TURNS = 100


class Conversation:
    """Questions and answers, with what was said so far."""

    def __init__(self, client: httpx.Client, instance: Instance) -> None:
        self._client = client
        self._instance = instance
        self._history: list[dict[str, str]] = []

    @classmethod
    @contextmanager
    def open(cls, reference: str, timeout: float) -> Iterator[Conversation]:
        """Reach an agent on record. ``timeout``: seconds of silence until an answer is given up."""
        state = State.open()
        snapshot = state.read()
        instance = snapshot.agent(reference)
        key: Secret = snapshot.api_key(instance)
        with (
            forwarded(state, instance) as socket,
            httpx.Client(
                transport=httpx.HTTPTransport(uds=str(socket)),
                base_url=f"http://127.0.0.1:{instance.agent.port}/v1",
                headers={"Authorization": f"Bearer {key.reveal()}"},
                timeout=httpx.Timeout(timeout, connect=10),
            ) as client,
        ):
            yield cls(client, instance)

    def reset(self) -> None:
        """Forget what was said."""
        self._history.clear()

    def ask(self, text: str) -> str:
        """
        Ask and return the whole answer.

        Not streamed: Hermes (0.13) tells a failure of its model only then, and with HTTP status 200.
        """
        try:
            answer = self._client.post("/chat/completions", json=self._body(text, stream=False))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        self._check_status(answer.status_code, answer.text)
        body = _object(answer.text)
        choice = (body.get("choices") or [{}])[0]
        content = _content(choice.get("message") or {})
        failed = choice.get("finish_reason") == "error" or (body.get("hermes") or {}).get("failed")
        if failed or not content:
            raise self._no_answer(content or str((body.get("hermes") or {}).get("error") or ""))
        self._remember(text, content)
        return plain(content)

    def stream(self, text: str) -> Iterator[str]:
        """Ask and give the answer piece by piece. What was said so far only grows when the answer is whole."""
        pieces: list[str] = []
        try:
            with self._client.stream("POST", "/chat/completions", json=self._body(text, stream=True)) as answer:
                if answer.status_code != 200:
                    self._check_status(answer.status_code, answer.read().decode(errors="replace"))
                for line in answer.iter_lines():
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if not data or data == "[DONE]":
                        continue
                    choice = (_object(data).get("choices") or [{}])[0]
                    piece = _content(choice.get("delta") or {})
                    if piece:
                        pieces.append(piece)
                        yield plain(piece)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        content = "".join(pieces)
        if not content.strip():
            raise self._no_answer("")
        self._remember(text, content)

    def _body(self, text: str, stream: bool) -> dict[str, Any]:
        messages = [*self._history, {"role": "user", "content": text}]
        return {"model": "hermes-agent", "messages": messages, "stream": stream}

    def _remember(self, question: str, answer: str) -> None:
        self._history += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        del self._history[: -2 * MAX_TURNS]

    def _check_status(self, status: int, text: str) -> None:
        if status == 200:
            return
        name = self._instance.agent.name
        if status in (401, 403):
            raise Problem(
                f"Agent {self._instance.key} does not accept the key on record: its .env was changed on the host",
                f"clm agent configure {name}",
                Exit.UNHEALTHY,
            )
        error = _object(text).get("error")
        said = error.get("message") if isinstance(error, dict) else error
        raise self._no_answer(f"HTTP {status}: {said or text[:300]}")

    def _no_answer(self, said: str) -> Problem:
        reason = f": {plain(said)[:600]}" if said.strip() else ""
        return Problem(
            f"Agent {self._instance.key} runs, but its model does not answer{reason}",
            f"clm agent logs {self._instance.agent.name} -n 30",
            Exit.UNHEALTHY,
        )

    def _unreachable(self, error: httpx.HTTPError) -> Problem:
        what = "gave no sign of life in time" if isinstance(error, httpx.TimeoutException) else "ended the connection"
        return Problem(
            f"Agent {self._instance.key} {what} ({type(error).__name__})",
            f"clm agent status {self._instance.agent.name}",
            Exit.UNHEALTHY,
        )


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
