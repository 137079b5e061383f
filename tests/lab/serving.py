"""An HTTP server in a thread of its own, for stand-ins: what came in goes to `handle`, and its answer goes out."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    host: str
    method: str
    path: str
    headers: dict[str, str]
    raw: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, whatever its case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    @property
    def body(self) -> Any:
        """The body as data; None when there is none."""
        return json.loads(self.raw) if self.raw else None


class Server(ABC):
    """The server. It listens as soon as it exists; `close` ends it."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext | None = None) -> None:
        """Listen, with the certificate of ``context`` if there is one; port 0 takes a free one."""
        self._server = _Answering((address, port), self, context)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @abstractmethod
    def handle(self, asked: Asked) -> tuple[int, str, bytes]:
        """Decide on an answer: status, content type, body."""


class Listener(ThreadingHTTPServer):
    """A server that nobody has to wait for: a thread for each connection, which ends with the program."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], connection: type[Connection], context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(address, connection)
        if context is not None:
            # The handshake belongs to the connection's own thread: a client that hangs must not keep others waiting.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that refuse the certificate or hang up; anything else is a fault of the stand-in."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """A connection; whatever is asked on it goes to `serve`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.serve()

    def do_HEAD(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def do_DELETE(self) -> None:
        self.serve()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept, not told on stderr."""

    def serve(self) -> None:
        """Answer a request."""
        raise NotImplementedError

    def read(self) -> bytes:
        """Read the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, kind: str, body: bytes) -> None:
        """Send an answer, whole."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Answering(Listener):
    def __init__(self, address: tuple[str, int], server: Server, context: ssl.SSLContext | None) -> None:
        self.server = server
        super().__init__(address, _Answered, context)


class _Answered(Connection):
    server: _Answering

    @override
    def serve(self) -> None:
        host = str(self.headers.get("Host")).partition(":")[0]
        asked = Asked(host, self.command, self.path, dict(self.headers.items()), self.read())
        self.reply(*self.server.server.handle(asked))
