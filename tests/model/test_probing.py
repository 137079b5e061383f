"""What the answers of a service, and the lack of one, are taken for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.probing import (
    ANSWERED,
    Answer,
    Failure,
    Request,
    Response,
    Verdict,
    ids_of_data,
    judge,
)
from pyinfra_hermes.deploys.model.providers import CATALOGUE
from pyinfra_hermes.deploys.model.secret import Secret

PROBE = CATALOGUE["openai"].probe
ABOUT_THE_MODEL = Request("https://api.openai.com/v1/models/m", names_model=True)


def verdict(answer: Answer, request: Request = ABOUT_THE_MODEL, probe: Any = PROBE, model: str = "m") -> Verdict:
    return judge(probe, [request], [answer], model)


def response(status: int, body: Any = None, kind: str = "application/json") -> Response:
    return Response(status, kind, body if isinstance(body, str) else json.dumps(body or {}))


@pytest.mark.parametrize(
    ("answer", "outcome", "sentence"),
    [
        (response(200), "ok", "OpenAI answers: the key is valid for m"),
        (
            response(401),
            "unauthorized",
            "API key for 'OpenAI' appears to be invalid. Check your API key is correct.",
        ),
        (response(402), "no-credit", "OpenAI takes the key, but the account has no credit"),
        (
            response(403, {"error": {"message": "Country not supported"}}),
            "forbidden",
            "OpenAI takes the key and forbids its use (403): Country not supported",
        ),
        (
            response(404, {"error": {"message": "The model 'm' does not exist"}}),
            "no-model",
            "OpenAI has no model 'm': The model 'm' does not exist",
        ),
        (response(429), "rate-limited", "Rate limited by OpenAI. Wait a moment or upgrade your plan."),
        (response(500, {"message": "oops"}), "broken", "OpenAI is in trouble: it answered 500: oops"),
        (response(502, "<html>", "text/html"), "broken", "OpenAI is in trouble: it answered 502"),
        (response(400, {"error": "no"}), "rejected", "OpenAI rejected the request (400): no"),
        (
            response(307, "", "text/html"),
            "redirected",
            "api.openai.com sends elsewhere (307): something between, a captive portal or proxy, answers for it",
        ),
        (
            response(200, "<!doctype html>", "text/html; charset=utf-8"),
            "html",
            "api.openai.com answered with a web page (200): something between, a captive portal or proxy, "
            "answers for it",
        ),
        (response(403, "  <html>", ""), "html", None),
        (
            response(200, "hello", "text/plain"),
            "not-json",
            "api.openai.com answered 200, but not with JSON: there is another service than OpenAI",
        ),
    ],
)
def test_an_answer(answer: Response, outcome: str, sentence: str | None) -> None:
    found = verdict(answer)
    assert found.outcome == outcome
    assert sentence in (None, found.sentence)
    assert found.answered


@pytest.mark.parametrize(
    ("said", "outcome", "sentence"),
    [
        # curl(1) 7.88 on Debian 12, then Python's own words through httpx
        ("curl: (28) Operation timed out", "timeout", "Connection to OpenAI timed out after 10s."),
        ("curl: (28) SSL connection timeout", "timeout", None),
        (
            "curl: (6) Could not resolve host: api.openai.com",
            "dns",
            "Could not connect to OpenAI API: the name api.openai.com has no address (DNS)",
        ),
        ("[Errno -2] Name or service not known", "dns", None),
        ("[Errno -3] Temporary failure in name resolution", "dns", None),
        (
            "curl: (7) Failed to connect to api.openai.com port 443 after 0 ms: Couldn't connect to server",
            "refused",
            "Could not connect to OpenAI API: api.openai.com does not take connections at port 443",
        ),
        ("[Errno 111] Connection refused", "refused", None),
        (
            "curl: (60) SSL certificate problem: self-signed certificate",
            "self-signed",
            "Could not connect to OpenAI API: the certificate of api.openai.com is self-signed",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate", "self-signed", None),
        ("curl: (60) SSL certificate problem: unable to get local issuer certificate", "untrusted", None),
        ("curl: (60) SSL: no alternative certificate subject name matches target host name", "untrusted", None),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "untrusted", None),
        ("curl: (35) OpenSSL/3.0.15: error:0A00010B:SSL routines::wrong version number", "tls", None),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "tls", None),
        ("curl: (7) No route to host", "unreachable", None),
        ("", "unreachable", "Could not connect to OpenAI API: no answer"),
        ("sh: 3: curl: not found", "no-curl", "curl is not installed on the host, so nothing can be asked from there"),
    ],
)  # fmt: skip
def test_no_answer(said: str, outcome: str, sentence: str | None) -> None:
    found = verdict(Failure(said))
    assert found.outcome == outcome
    assert sentence in (None, found.sentence)
    assert not found.answered


LISTING = Request("https://h/v1/models", lists=ids_of_data)


def listing(*models: str) -> Response:
    return response(200, {"data": [{"id": model} for model in models]})


def test_a_chosen_model_must_be_listed() -> None:
    probe = CATALOGUE["ollama"].probe
    assert verdict(listing("llama3:latest"), LISTING, probe, "llama3").ok
    assert verdict(listing("llama3:8b"), LISTING, probe, "llama3:8b").ok
    found = verdict(listing("llama3:8b", "qwen3"), LISTING, probe, "llama3:70b")
    assert (found.outcome, found.sentence) == ("no-model", "Ollama has no model 'llama3:70b'; it has llama3:8b")
    assert verdict(listing("a/b"), LISTING, CATALOGUE["openrouter"].probe, "a/b:online").ok


@pytest.mark.parametrize("body", [[], {"data": None}, {"data": [1]}, {"data": [{}]}, "x", 1])
def test_a_listing_of_another_shape_has_no_models(body: Any) -> None:
    assert verdict(response(200, json.dumps(body)), LISTING).outcome == "no-model"


def test_the_first_answer_that_is_not_good_decides() -> None:
    requests = [Request("https://openrouter.ai/api/v1/key"), LISTING]
    found = judge(CATALOGUE["openrouter"].probe, requests, [response(401), listing("a/b")], "a/b")
    assert found.outcome == "unauthorized"


@pytest.mark.parametrize(
    ("name", "answer", "outcome"),
    [
        ("gemini", response(400, {"error": {"details": [{"reason": "API_KEY_INVALID"}]}}), "unauthorized"),
        ("gemini", response(400, {"error": {"message": "User location is not supported"}}), "rejected"),
        ("zai", response(400, {"error": {"code": "1211", "message": "Unknown Model"}}), "no-model"),
        ("zai", response(429, {"error": {"code": "1113", "message": "Insufficient balance"}}), "no-credit"),
        ("zai", response(429, {"error": {"code": "1302", "message": "High concurrency"}}), "rate-limited"),
        ("azure", response(404, {"error": {"code": "404", "message": "Resource not found"}}), "misplaced"),
        ("azure", response(404, {"error": {"code": "DeploymentNotFound", "message": "x"}}), "no-model"),
        ("bedrock", response(403, {"message": "The security token included is invalid."}), "unauthorized"),
        ("bedrock", response(403, {"message": "You don't have access to the model"}), "forbidden"),
        ("bedrock", response(400, {"message": "The provided model identifier is invalid."}), "no-model"),
        ("bedrock", response(400, {"message": "Malformed input"}), "rejected"),
    ],
)  # fmt: skip
def test_a_services_own_words(name: str, answer: Response, outcome: str) -> None:
    assert verdict(answer, ABOUT_THE_MODEL, CATALOGUE[name].probe).outcome == outcome


def test_a_404_about_anything_else_is_about_the_url() -> None:
    assert verdict(response(404), Request("https://h/v1/models")).sentence == (
        "There is no API at https://h/v1/models: it answered 404"
    )


@given(st.integers(100, 599), st.text(max_size=200), st.sampled_from(["application/json", "text/html", "", "x"]))
def test_any_answer_has_a_verdict_in_one_line(status: int, body: str, kind: str) -> None:
    for entry in CATALOGUE.values():
        found = judge(entry.probe, [ABOUT_THE_MODEL], [Response(status, kind, body)], "m")
        assert found.outcome in ANSWERED
        assert len(found.sentence.splitlines()) == 1


_NAMES = st.sampled_from(["error", "message", "code", "data", "id", "models", "name"])
_ANY = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner)
)


@given(_ANY)
def test_any_json_has_a_verdict(body: Any) -> None:
    for entry in CATALOGUE.values():
        for request in (ABOUT_THE_MODEL, LISTING):
            assert judge(entry.probe, [request], [response(400, json.dumps(body))], "m").answered
            assert judge(entry.probe, [request], [response(200, json.dumps(body))], "m").answered


def test_a_service_that_repeats_the_key_is_not_believed_to_have_said_it() -> None:
    key = Secret("sk-hunter2-hunter2").reveal()
    assert key not in verdict(response(403, {"error": {"message": f"{key} may not"}})).sentence
    assert key not in verdict(Failure(f"curl: (7) bad header {key}")).sentence
