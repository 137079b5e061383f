"""Whether a provider can be used: what is asked of it, and what its answer, or the lack of one, means."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from .declaration import Value
from .redaction import redact
from .secret import Secret

Options: TypeAlias = Mapping[str, Value]
Secrets: TypeAlias = Mapping[str, Secret]

#: How a probe ends. Those after `ok` up to `not-json` are answers; the rest says why there is none.
Outcome = Literal[
    "ok",
    "unauthorized",
    "forbidden",
    "no-model",
    "no-credit",
    "rate-limited",
    "broken",
    "misplaced",
    "rejected",
    "redirected",
    "html",
    "not-json",
    "timeout",
    "dns",
    "refused",
    "self-signed",
    "untrusted",
    "tls",
    "unreachable",
    "no-curl",
]
#: The outcomes of a service that did answer.
ANSWERED: frozenset[Outcome] = frozenset(
    {
        "ok", "unauthorized", "forbidden", "no-model", "no-credit", "rate-limited", "broken", "misplaced", "rejected",
        "redirected", "html", "not-json",
    }
)  # fmt: skip

_LONGEST_QUOTE = 200


@dataclass(frozen=True)
class Moment:
    """The time of a request, which signatures hold; nothing here looks at a clock."""

    #: Since the epoch.
    seconds: int
    #: In UTC, like 20261122T210000Z.
    stamp: str


@dataclass(frozen=True)
class Request:
    """One request over HTTP. Its secrets are values of headers or the body; a URL has one where a service wants it."""

    url: str = field(repr=False)
    headers: Mapping[str, Secret | str] = field(default_factory=dict)
    #: What is posted, JSON when no header says otherwise; without it the request is a GET.
    body: str | Secret | None = None
    #: What is given up after.
    seconds: int = 10
    #: Whether the URL or the body names the model, so that a 404 is about the model.
    names_model: bool = False
    #: Finds the ids of models in the answer; they must hold the chosen model.
    lists: Callable[[Any], Iterable[str]] | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

    @property
    def sent(self) -> dict[str, Secret | str]:
        """All headers that are sent."""
        kind: dict[str, Secret | str] = {} if self.body is None else {"Content-Type": "application/json"}
        return {**kind, **self.headers}


@dataclass(frozen=True)
class Response:
    """What a service answered."""

    status: int
    content_type: str
    body: str

    @property
    def json(self) -> Any:
        """The body as data, None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def complaint(self) -> str:
        """What a service says in an error, in one line, without secrets; empty when it says nothing."""
        found = self.json
        for key in ("error", "message", "Message"):
            if isinstance(found, dict) and isinstance(found.get(key), dict | str):
                found = found[key]
        for key in ("message", "Message"):
            if isinstance(found, dict) and isinstance(found.get(key), str):
                found = found[key]
        text = found if isinstance(found, str) else ""
        return "".join(c for c in redact(text) if c.isprintable())[:_LONGEST_QUOTE]


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, as curl(1) or Python tells it."""

    said: str


Answer: TypeAlias = Response | Failure


@dataclass(frozen=True)
class Probe:
    """How one kind of provider is asked."""

    #: What the service is called.
    service: str
    #: What an `ok` proves.
    proves: str
    #: Requests that prove it, by settings, secrets and the time of day.
    ask: Callable[[Options, Secrets, Moment], tuple[Request, ...]]
    #: Requests that list models; None where a service does not tell which can be used.
    models: Callable[[Options, Secrets, Moment], tuple[Request, ...]] | None = None
    #: What an error means, where the service's own words say more than the status.
    meaning: Callable[[Response], Outcome | None] = lambda response: None
    #: Whether a model that is not listed cannot be used; a router takes names that it lists nowhere.
    lists_all: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came of a probe, for a person."""

    outcome: Outcome
    sentence: str

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def answered(self) -> bool:
        """Whether the service was reached at all."""
        return self.outcome in ANSWERED


def judge(probe: Probe, requests: Sequence[Request], answers: Sequence[Answer], model: str) -> Verdict:
    """Say what the answers to a probe's requests mean: the first that is not good decides."""
    for request, answer in zip(requests, answers, strict=True):
        outcome = _outcome(probe, request, answer)
        known: list[str] = []
        if outcome == "ok" and request.lists is not None and isinstance(answer, Response):
            known = listed(request, answer)
            if not _has(known, model):
                outcome = "no-model"
        if outcome != "ok":
            return Verdict(outcome, _sentence(probe, request, answer, outcome, model, known))
    return Verdict("ok", f"{probe.service} answers: {probe.proves.format(model=model)}")


def listed(request: Request, answer: Response) -> list[str]:
    """Return the ids of models in an answer, sorted; none when it has another shape than expected."""
    if request.lists is None:
        return []
    try:
        return sorted(set(request.lists(answer.json)))
    except (TypeError, KeyError, AttributeError):
        return []


def ids_of_data(body: Any) -> Iterable[str]:
    """Find the models in a listing as OpenAI's API gives it, and Anthropic's."""
    return [str(row["id"]) for row in body["data"]]


def _has(known: Sequence[str], model: str) -> bool:
    # Ollama leaves out `:latest`; OpenRouter takes `:online` and the like after any id, and lists them nowhere.
    return any(each in known for each in (model, f"{model}:latest", model.rpartition(":")[0] or model))


def _outcome(probe: Probe, request: Request, answer: Answer) -> Outcome:
    if isinstance(answer, Failure):
        return _failure(answer.said)
    status = answer.status
    html = "html" in answer.content_type.lower() or answer.body.lstrip()[:1] == "<"
    if status >= 500:
        return "broken"
    if 300 <= status < 400:
        return "redirected"
    if html:
        return "html"
    if status >= 400 and (meant := probe.meaning(answer)) is not None:
        return meant
    if status == 401:
        return "unauthorized"
    if status == 402:
        return "no-credit"
    if status == 403:
        return "forbidden"
    if status == 404:
        return "no-model" if request.names_model else "misplaced"
    if status == 429:
        return "rate-limited"
    if status >= 400:
        return "rejected"
    return "ok" if answer.json is not None else "not-json"


#: What programs say when there is no answer; the first that fits counts.
_FAILURES: tuple[tuple[str, Outcome], ...] = (
    (r"curl.*not found", "no-curl"),
    (r"timed out|timeout", "timeout"),
    (r"not resolve|name or service not known|name resolution|no address associated|nodename nor servname", "dns"),
    (r"self.signed", "self-signed"),
    (r"certificate|CERTIFICATE_VERIFY", "untrusted"),
    (r"\b(ssl|tls)\b|wrong version number|handshake", "tls"),
    (r"refused|couldn't connect|could not connect|failed to connect", "refused"),
)


def _failure(said: str) -> Outcome:
    for pattern, outcome in _FAILURES:
        if re.search(pattern, said, re.I):
            return outcome
    return "unreachable"


def _sentence(
    probe: Probe, request: Request, answer: Answer, outcome: Outcome, model: str, known: Sequence[str]
) -> str:
    service, parts = probe.service, urlsplit(request.url)
    host = str(parts.hostname)
    between = "something between, a captive portal or proxy, answers for it"
    no_way = f"Could not connect to {service} API"
    said = answer.complaint if isinstance(answer, Response) else _last_line(answer.said)
    quoted = f": {said}" if said else ""
    status = answer.status if isinstance(answer, Response) else 0
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.5)
    sentences: dict[Outcome, str] = {
        "unauthorized": f"API key for {service!r} appears to be invalid. Check your API key is correct."
        + (f" It says: {said}" if said else ""),
        "forbidden": f"{service} takes the key and forbids its use (403){quoted}",
        "no-model": f"{service} has no model {model!r}"
        + (f"; it has {_some(near or sorted(known))}" if known else quoted),
        "no-credit": f"{service} takes the key, but the account has no credit{quoted}",
        "rate-limited": f"Rate limited by {service}. Wait a moment or upgrade your plan.",
        "broken": f"{service} is in trouble: it answered {status}{quoted}",
        "misplaced": f"There is no API at {request.url}: it answered 404{quoted}",
        "rejected": f"{service} rejected the request ({status}){quoted}",
        "redirected": f"{host} sends elsewhere ({status}): {between}",
        "html": f"{host} answered with a web page ({status}): {between}",
        "not-json": f"{host} answered {status}, but not with JSON: there is another service than {service}",
        "timeout": f"Connection to {service} timed out after {request.seconds}s.",
        "dns": f"{no_way}: the name {host} has no address (DNS)",
        "refused": f"{no_way}: {host} does not take connections at port {parts.port or _port(parts.scheme)}",
        "self-signed": f"{no_way}: the certificate of {host} is self-signed",
        "untrusted": f"{no_way}: the certificate of {host} is not trusted{quoted}",
        "tls": f"{no_way}: {host} does not speak TLS as it should{quoted}",
        "unreachable": f"{no_way}: {said or 'no answer'}",
        "no-curl": "curl is not installed on the host, so nothing can be asked from there",
    }
    return sentences[outcome]


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _some(models: Sequence[str]) -> str:
    shown, more = ", ".join(models[:3]), len(models) - 3
    return f"{shown} and {more} more" if more > 0 else shown


def _last_line(text: str) -> str:
    lines = [line.strip() for line in redact(text).splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:_LONGEST_QUOTE] if lines else ""
