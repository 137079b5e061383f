"""Requests as they leave, from here and by the script that a host runs: whole, with nothing in an argument."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from pyinfra_hermes.cli.catalogues import connectivity
from pyinfra_hermes.deploys.model.probing import Failure, Request, Response
from pyinfra_hermes.deploys.model.secret import Secret

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

KEYS = ["sk-plain", "q\"u'o\\te", "$HOME `id` $(id) %s %d", "a\\", "{[1-3]}", "#x; y=z", "'; exit 1; '"]


class Service(ThreadingHTTPServer):
    """Tells what it was sent, and which programs on this machine had the key in their arguments meanwhile."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arguments: list[str] = []
        self.patience = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.server.arguments.append(file.read_bytes().decode(errors="replace"))
            except OSError:
                continue
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path in ("/endless", "/drip"):
            self._go_on(b"x" * 65536 if self.path == "/endless" else b"x")
            return
        if self.path == "/silent":
            self.server.patience.wait(30)
            return
        told = {"method": self.command, "path": self.path, "key": self.headers.get("X-Key"), "body": body,
                "type": self.headers.get("Content-Type")}  # fmt: skip
        data = json.dumps(told).encode() if self.path != "/bytes" else b"\xff\x00\xfe"
        self.send_response(418 if self.path == "/teapot" else 200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _go_on(self, piece: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while not self.server.patience.wait(0.2 if len(piece) == 1 else 0):
                self.wfile.write(piece)
                self.wfile.flush()


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.patience.set()
    server.shutdown()
    server.server_close()


def by_script(script: str) -> str:
    """Run a script as a host does: on the standard input of its shell."""
    command = ["sh", "-s"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(params=["here", "host"])
def where(request: pytest.FixtureRequest) -> Any:
    return None if request.param == "here" else by_script


@pytest.mark.parametrize("key", KEYS)
def test_keys_and_bodies_arrive_as_they_are(service: Service, where: Any, key: str) -> None:
    body = json.dumps({"text": f"{key}\n\té"}, ensure_ascii=False)
    requests = [
        Request(f"{service.url}/a%2Fb?c=[d]", {"X-Key": Secret(key)}),
        Request(f"{service.url}/post", {"X-Key": key}, Secret(body)),
        Request(f"{service.url}/teapot", {"Content-Type": "a/b"}, "x"),
    ]
    got, posted, teapot = connectivity.ask(where, requests)
    assert isinstance(got, Response)
    assert isinstance(posted, Response)
    assert isinstance(teapot, Response)
    assert (got.status, got.content_type) == (200, "application/json; charset=utf-8")
    assert (got.json["method"], got.json["path"], got.json["key"]) == ("GET", "/a%2Fb?c=[d]", key)
    assert (posted.json["method"], posted.json["body"], posted.json["key"]) == ("POST", body, key)
    assert posted.json["type"] == "application/json"
    assert (teapot.status, teapot.json["type"]) == (418, "a/b")
    assert service.arguments
    assert not [line for line in service.arguments if key in line]


def test_an_answer_that_is_no_text_is_an_answer(service: Service, where: Any) -> None:
    [answer] = connectivity.ask(where, [Request(f"{service.url}/bytes")])
    assert isinstance(answer, Response)
    assert answer.status == 200
    assert answer.json is None


def test_no_key_makes_a_header_of_its_own(service: Service, where: Any) -> None:
    for key in ("a\nX-More: b", "a\r\nX-More: b", "a\0b"):
        [answer] = connectivity.ask(where, [Request(service.url, {"X-Key": Secret(key)})])
        assert isinstance(answer, Failure)
        assert "line end" in answer.said
        assert "X-More" not in answer.said
    assert not service.arguments


def test_an_answer_without_an_end_is_cut_off(service: Service, where: Any) -> None:
    [answer] = connectivity.ask(where, [Request(f"{service.url}/endless", seconds=30)])
    assert isinstance(answer, Response)
    assert (answer.status, len(answer.body)) == (200, 4 << 20)


def test_an_answer_that_comes_byte_by_byte_is_given_up(service: Service) -> None:
    [answer] = connectivity.ask(None, [Request(f"{service.url}/drip", seconds=1)])
    assert answer == Failure("timed out")


@pytest.mark.parametrize(
    ("url", "outcome"),
    [("http://127.0.0.1:1/", "refused"), ("http://no-such-name.invalid/", "dns"), ("SERVICE/silent", "timeout")],
)
def test_no_answer_is_told_as_what_it_is(service: Service, where: Any, url: str, outcome: str) -> None:
    from pyinfra_hermes.deploys.model.probing import judge
    from pyinfra_hermes.deploys.model.providers import CATALOGUE

    request = Request(url.replace("SERVICE", service.url), seconds=1)
    [answer] = connectivity.ask(where, [request])
    assert isinstance(answer, Failure)
    assert judge(CATALOGUE["openai"].probe, [request], [answer], "m").outcome == outcome


def test_something_else_than_http_is_told(service: Service, where: Any) -> None:
    from pyinfra_hermes.deploys.model.probing import judge
    from pyinfra_hermes.deploys.model.providers import CATALOGUE

    request = Request(service.url.replace("http:", "https:"), seconds=5)
    [answer] = connectivity.ask(where, [request])
    assert judge(CATALOGUE["openai"].probe, [request], [answer], "m").outcome == "tls"


def test_a_host_without_curl_says_so(tmp_path: Path, service: Service) -> None:
    for tool in ("sh", "head", "base64", "cat"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))

    def bare(script: str) -> str:
        return subprocess.run(
            ["/bin/sh", "-s"], input=script, capture_output=True, text=True, check=True, env={"PATH": str(tmp_path)}
        ).stdout

    [answer] = connectivity.ask(bare, [Request(service.url)])
    assert isinstance(answer, Failure)
    assert "curl" in answer.said
    assert "not found" in answer.said
