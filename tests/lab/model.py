"""A stand-in for a model server: it speaks the OpenAI protocol and says what a test tells it to say.

There is no model in it. Agents on lab hosts talk to it as they would to a real server, so a test can see
every request and decide on every answer. By hand: `python -m tests.lab.model --help`.
"""

import argparse
import contextlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO, TypeAlias

from typing_extensions import override

from tests.lab.protocol import Reply, Request, ToolCall, chunks, completion, error, model_list
from tests.lab.serving import Connection, Listener

__all__ = ["Answer", "Reply", "Request", "StandInModel", "ToolCall", "echo"]

Answer: TypeAlias = str | Reply | Callable[[Request], "str | Reply"]


@dataclass
class _Trouble:
    """Something that goes wrong with every request, or with the next few."""

    left: int | None
    status: int = 0
    body: Any = None
    seconds: float = 0


@dataclass
class _Script:
    """What to do with the requests to come."""

    answer: Answer | None = None
    queue: deque[Answer] = field(default_factory=deque)
    failure: _Trouble | None = None
    delay: _Trouble | None = None
    key: str | None = None


def echo(request: Request) -> str:
    """The answer when nothing else was asked for: the same question always gets the same one."""
    return f'stand-in model: I read "{request.last_user_text}"'


class StandInModel:
    """The server. It listens as soon as it exists; `close` ends it. Safe to script while requests come in."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0, log: TextIO | None = None) -> None:
        """Listen; port 0 takes a free one. Requests are also written to `log`, one JSON object per line."""
        self._lock = threading.Lock()
        self._script = _Script()
        self._requests: list[Request] = []
        self._answered = 0
        self._log = log
        self._closing = threading.Event()
        self._server = _Server((address, port), self)
        self.address = address
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "StandInModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base URL to configure an agent with."""
        return f"http://{self.address}:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        """Every request since the last `reset`, in the order they came in."""
        with self._lock:
            return list(self._requests)

    @property
    def chats(self) -> list[Request]:
        """Only the requests for a chat completion."""
        return [request for request in self.requests if request.path.endswith("/chat/completions")]

    def reply(self, answer: Answer) -> None:
        """Answer every chat request from now on like this."""
        with self._lock:
            self._script.answer = answer

    def queue(self, *answers: Answer) -> None:
        """Answer the next chat requests with these, one each, before anything else."""
        with self._lock:
            self._script.queue.extend(answers)

    def fail(self, status: int = 500, body: Any = None, times: int | None = None) -> None:
        """Answer every request with an error, or only the next `times`."""
        with self._lock:
            self._script.failure = _Trouble(times, status=status, body=body)

    def hang(self, seconds: float, times: int | None = None) -> None:
        """Say nothing for so long before every answer, or only before the next `times`."""
        with self._lock:
            self._script.delay = _Trouble(times, seconds=seconds)

    def require_key(self, key: str) -> None:
        """Answer 401 to requests that do not bring `Authorization: Bearer <key>`."""
        with self._lock:
            self._script.key = key

    def reset(self) -> None:
        """Forget the script and the requests."""
        with self._lock:
            self._script = _Script()
            self._requests.clear()

    def close(self) -> None:
        """Stop listening; requests that hang are let go."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def record(self, request: Request) -> None:
        """Keep a request."""
        with self._lock:
            self._requests.append(request)
            if self._log is not None:
                self._log.write(json.dumps(asdict(request)) + "\n")
                self._log.flush()

    def wait(self) -> None:
        """Be as slow as the script says."""
        with self._lock:
            delay = self._use("delay")
        if delay is not None:
            self.sleep(delay.seconds)

    def sleep(self, seconds: float) -> None:
        """Let time pass, unless the server is being closed."""
        if seconds:
            self._closing.wait(seconds)

    def refusal(self, request: Request) -> tuple[int, Any] | None:
        """The error that this request gets, when the script wants one."""
        with self._lock:
            failure, key = self._use("failure"), self._script.key
        if failure is not None:
            body = error(f"told to fail with {failure.status}", "server_error")
            return failure.status, body if failure.body is None else failure.body
        if key is not None and request.header("Authorization") != f"Bearer {key}":
            return 401, error("wrong or missing API key", "invalid_request_error", "invalid_api_key")
        return None

    def answer(self, request: Request) -> tuple[int, Reply]:
        """The next answer and its number."""
        with self._lock:
            self._answered += 1
            number = self._answered
            answer = self._script.queue.popleft() if self._script.queue else self._script.answer or echo
        said = answer(request) if callable(answer) else answer
        return number, Reply(said) if isinstance(said, str) else said

    def _use(self, kind: str) -> _Trouble | None:
        trouble: _Trouble | None = getattr(self._script, kind)
        if trouble is not None and trouble.left is not None:
            trouble.left -= 1
            if trouble.left <= 0:
                setattr(self._script, kind, None)
        return trouble


class _Server(Listener):
    def __init__(self, address: tuple[str, int], model: StandInModel) -> None:
        self.model = model
        super().__init__(address, _Asking)


class _Asking(Connection):
    server: _Server
    server_version = "stand-in-model"

    @override
    def serve(self) -> None:
        model = self.server.model
        request = self._request()
        model.record(request)
        model.wait()
        path = request.path.partition("?")[0].rstrip("/")
        if refusal := model.refusal(request):
            self._json(*refusal)
        elif (self.command, path) == ("GET", "/v1/models"):
            self._json(200, model_list())
        elif (self.command, path) == ("POST", "/v1/chat/completions"):
            self._chat(request)
        else:
            self._json(404, error(f"no {self.command} {path} here", "invalid_request_error"))

    def _request(self) -> Request:
        raw = self.read().decode(errors="replace")
        body: Any = raw or None
        with contextlib.suppress(ValueError):
            body = json.loads(raw)
        return Request(time.time(), self.command, self.path, dict(self.headers.items()), body)

    def _chat(self, request: Request) -> None:
        if not isinstance(request.body, dict) or not request.messages:
            self._json(400, error("the body has no messages", "invalid_request_error"))
            return
        number, reply = self.server.model.answer(request)
        if request.body.get("stream"):
            self._events(chunks(request, reply, number), reply)
        else:
            self._json(200, completion(request, reply, number))

    def _json(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.reply(status, "application/json", data)

    def _events(self, events: Iterator[dict[str, Any]], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(events):
            if number == reply.cut_after:
                # No last chunk: the reader knows that something is missing.
                self.close_connection = True
                return
            self.server.model.sleep(reply.pause)
            self._event(json.dumps(event))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


def main() -> None:
    """Serve until Ctrl-C and print every request."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.model",
        description="A stand-in for a model server (no model in it). Prints every request as a line of JSON.",
    )
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--key", help="answer 401 to requests without this key")
    parser.add_argument("--reply", help="always answer with this text (default: echo the question)")
    arguments = parser.parse_args()
    with StandInModel(arguments.address, arguments.port, log=sys.stdout) as model:
        if arguments.key:
            model.require_key(arguments.key)
        if arguments.reply:
            model.reply(arguments.reply)
        print(f"stand-in model at {model.url}; Ctrl-C ends it", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
