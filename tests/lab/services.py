"""Stand-ins for the services of providers: one TLS server under all of their names, each with its own dialect.

Nothing is behind them. They take the keys that a test gives them, keep every request, and answer with the same words
in whichever way the service does: as one JSON document, as server-sent events, or as an event stream of AWS.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import ipaddress
import json
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from typing_extensions import override

from tests.lab.serving import Asked, Server

WORDS = "I am a stand-in"
REGION = "eu-central-1"
AZURE = "lab-resource.openai.azure.com"
#: Every name that is answered to.
NAMES = (
    "openrouter.ai",
    "api.anthropic.com",
    "api.openai.com",
    f"bedrock-runtime.{REGION}.amazonaws.com",
    f"bedrock.{REGION}.amazonaws.com",
    "generativelanguage.googleapis.com",
    "aiplatform.googleapis.com",
    "oauth2.googleapis.com",
    "api.z.ai",
    AZURE,
)


class Authority:
    """A certificate authority made for one test module."""

    def __init__(self, folder: Path) -> None:
        """Make its key, and put its certificate into ``folder``."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab authority")])
        self.certificate = self._signed(self._name, self._key.public_key(), (), authority=True)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, *names: str, trusted: bool = True) -> ssl.SSLContext:
        """Return what a server needs to be one of these names, or to be one that nobody vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        if trusted:
            certificate = self._signed(subject, key.public_key(), names)
        else:
            certificate = self._signed(subject, key.public_key(), names, by=(subject, key))
        file = self._folder / f"{names[0]}-{trusted}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: tuple[str, ...],
        authority: bool = False,
        by: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None,
    ) -> x509.Certificate:
        issuer, signer = by or (self._name, self._key)
        today = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=1))
            .not_valid_after(today + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        return builder.sign(signer, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class _Script:
    keys: dict[str, str] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    answer: tuple[int, str, str] | None = None
    #: Whose claims get a token, and which.
    grant: tuple[rsa.RSAPublicKey, str] | None = None


class Services(Server):
    """The server. It listens as soon as it exists; `close` ends it."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext) -> None:
        """Listen with the certificate of ``context``."""
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._script = _Script()
        super().__init__(address, port, context)

    def expect(self, host: str, key: str, *models: str) -> None:
        """From now on only this key is taken at ``host``, and only these models are there; nothing was asked yet."""
        with self._lock:
            self._script = _Script({host: key}, set(models))
            self._asked.clear()

    def grant(self, signer: rsa.RSAPublicKey, token: str) -> None:
        """Give a token for claims that this key signed, until the next `expect`."""
        with self._lock:
            self._script.grant = (signer, token)

    def answer(self, status: int, body: str = "{}", content_type: str = "application/json") -> None:
        """Answer every request like this until the next `expect`."""
        with self._lock:
            self._script.answer = (status, body, content_type)

    @property
    def asked(self) -> list[Asked]:
        """Every request since the last `expect`."""
        with self._lock:
            return list(self._asked)

    @property
    def chats(self) -> list[Asked]:
        """The requests that carried a chat."""
        return [asked for asked in self.asked if asked.method == "POST"]

    @override
    def handle(self, asked: Asked) -> tuple[int, str, bytes]:
        with self._lock:
            self._asked.append(asked)
            script = self._script
        if script.answer is not None:
            status, text, kind = script.answer
            return status, kind, text.encode()
        if asked.host == "oauth2.googleapis.com":
            return _token(asked, script.grant)
        if not self._is_let_in(asked, script.keys.get(asked.host)):
            return _json(400 if "googleapis" in asked.host else 401, _refusal(asked.host))
        return _answer(asked, script.models)

    def _is_let_in(self, asked: Asked, key: str | None) -> bool:
        if asked.host.endswith("amazonaws.com"):
            authorization = str(asked.header("authorization"))
            return authorization == f"Bearer {key}" or (key is not None and is_signed(asked, key))
        if asked.host == "openrouter.ai" and asked.path.partition("?")[0] == "/api/v1/models":
            return True
        given = [asked.header("x-api-key"), asked.header("api-key"), asked.header("x-goog-api-key")]
        bearer = str(asked.header("authorization")).removeprefix("Bearer ")
        return key is not None and key in (*given, bearer)


def is_signed(asked: Asked, secret_access_key: str) -> bool:
    """Whether a request has a valid signature of version 4, made with this key for its own host and body."""
    authorization = str(asked.header("authorization"))
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return False
    parts = dict(part.strip().split("=", 1) for part in authorization.partition(" ")[2].split(","))
    scope = parts["Credential"].split("/", 1)[1]
    names = parts["SignedHeaders"].split(";")
    url = urlsplit(asked.path)
    # The path as it was sent, each part encoded once more; the query's parts in their order.
    path = "/".join(quote(part, safe="-_.~") for part in url.path.split("/"))
    canonical = "\n".join(
        [
            asked.method,
            path,
            "&".join(sorted(url.query.split("&"))) if url.query else "",
            *(f"{name}:{' '.join(str(asked.header(name)).split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(asked.raw).hexdigest(),
        ]
    )
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            str(asked.header("x-amz-date")),
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = b"AWS4" + secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return "host" in names and hmac.compare_digest(signature, parts["Signature"])


def _token(asked: Asked, grant: tuple[rsa.RSAPublicKey, str] | None) -> tuple[int, str, bytes]:
    [assertion] = parse_qs(asked.raw.decode())["assertion"]
    claim, _, signature = assertion.rpartition(".")
    try:
        if grant is None:
            raise InvalidSignature
        padded = signature + "=" * (-len(signature) % 4)
        grant[0].verify(base64.urlsafe_b64decode(padded), claim.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return _json(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    return _json(200, {"access_token": grant[1], "expires_in": 3600, "token_type": "Bearer"})


def _refusal(host: str) -> Any:
    if "googleapis" in host:
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        error = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [reason]}
        return {"error": error}
    return {"error": {"message": "invalid key", "type": "authentication_error", "code": "invalid_api_key"}}


def _answer(asked: Asked, models: set[str]) -> tuple[int, str, bytes]:
    path = asked.path.partition("?")[0]
    if asked.method == "GET":
        return _told(asked, unquote(path), models)
    if "amazonaws.com" in asked.host:
        _, _, model, action = path.split("/")
        if unquote(model) not in models:
            return _json(400, {"message": "The provided model identifier is invalid."})
        return _BEDROCK[action]()
    if asked.host.startswith("generativelanguage"):
        model, _, action = path.removeprefix("/v1beta/models/").partition(":")
        return _json(404, _missing(model)) if model not in models else _gemini(action)
    model = asked.body.get("model")
    if model not in models:
        return _json(404, _missing(model))
    if path.endswith("/messages"):
        return _anthropic(asked.body)
    if path.endswith("/responses"):
        return _responses(asked.body)
    if path.endswith("/chat/completions"):
        return _chat(asked.body)
    return _json(404, _missing(path))


def _told(asked: Asked, path: str, models: set[str]) -> tuple[int, str, bytes]:
    if asked.host == "openrouter.ai" and path == "/api/v1/key":
        return _json(200, {"data": {"label": "sk-or-...", "usage": 0}})
    if path.endswith("/foundation-models"):
        return _json(
            200, {"modelSummaries": [{"modelId": m, "inferenceTypesSupported": ["ON_DEMAND"]} for m in models]}
        )
    if path.endswith("/inference-profiles"):
        return _json(200, {"inferenceProfileSummaries": [{"inferenceProfileId": f"eu.{m}"} for m in models]})
    if path == "/v1beta/models":
        return _json(200, {"models": [{"name": f"models/{m}"} for m in models]})
    if path.endswith("/models"):
        return _json(200, {"data": [{"id": m, "object": "model"} for m in models]})
    _, slash, model = path.partition("/models/")
    if slash and model in models:
        return _json(200, {"id": model, "name": f"models/{model}"})
    return _json(404, _missing(model or path))


def _missing(what: str) -> Any:
    return {"error": {"message": f"no {what} here", "type": "not_found_error", "code": "model_not_found"}}


def _json(status: int, body: Any) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode()


def _events(events: Iterator[dict[str, Any]] | list[dict[str, Any]], named: bool) -> tuple[int, str, bytes]:
    lines = [(f"event: {e['type']}\n" if named else "") + f"data: {json.dumps(e)}\n\n" for e in events]
    return 200, "text/event-stream", "".join([*lines, "" if named else "data: [DONE]\n\n"]).encode()


def _chat(body: Any) -> tuple[int, str, bytes]:
    base = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    message = {"role": "assistant", "content": WORDS}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _json(200, {**base, "object": "chat.completion", "choices": [choice], "usage": usage})
    deltas: list[tuple[dict[str, Any], str | None]] = [(message, None), ({}, "stop")]
    chunks = [
        {**base, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": d, "finish_reason": f}]}
        for d, f in deltas
    ]
    return _events([*chunks, {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}], named=False)


def _responses(body: Any) -> tuple[int, str, bytes]:
    part = {"type": "output_text", "text": WORDS, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    done = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": body["model"],
        "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage,
    }  # fmt: skip
    if not body.get("stream"):
        return _json(200, done)
    began = {**done, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": began}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "content": [], "status": "in_progress"}}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        ("response.output_text.delta", {**place, "delta": WORDS, "logprobs": []}),
        ("response.output_text.done", {**place, "text": WORDS, "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": done}),
    ]
    return _events([{"type": kind, "sequence_number": n, **more} for n, (kind, more) in enumerate(steps)], named=True)


def _message(model: str) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model,
        "content": [{"type": "text", "text": WORDS}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def _message_events(model: str) -> list[dict[str, Any]]:
    whole = _message(model)
    return [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]  # fmt: skip


def _anthropic(body: Any) -> tuple[int, str, bytes]:
    if body.get("stream"):
        return _events(_message_events(body["model"]), named=True)
    return _json(200, _message(body["model"]))


def _gemini(action: str) -> tuple[int, str, bytes]:
    whole = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": WORDS}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    }
    if action == "streamGenerateContent":
        return 200, "text/event-stream", f"data: {json.dumps(whole)}\r\n\r\n".encode()
    return _json(200, whole)


def _invoked_as_stream() -> tuple[int, str, bytes]:
    chunks = [
        _frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
        for event in _message_events("claude")
    ]
    return 200, "application/vnd.amazon.eventstream", b"".join(chunks)


def _conversed() -> tuple[int, str, bytes]:
    return _json(
        200,
        {
            "output": {"message": {"role": "assistant", "content": [{"text": WORDS}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
            "metrics": {"latencyMs": 1},
        },
    )


def _conversed_as_stream() -> tuple[int, str, bytes]:
    events: list[tuple[str, dict[str, Any]]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORDS}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}),
    ]
    return 200, "application/vnd.amazon.eventstream", b"".join(_frame(kind, body) for kind, body in events)


_BEDROCK = {
    "invoke": lambda: _json(200, _message("claude")),
    "invoke-with-response-stream": _invoked_as_stream,
    "converse": _conversed,
    "converse-stream": _conversed_as_stream,
}


def _frame(kind: str, body: Any) -> bytes:
    """One message of AWS' event streams: lengths, checksum, headers, payload, checksum."""
    pairs = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in pairs.items()
    )
    payload = json.dumps(body).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))
