"""Our signatures are those of AWS' own library, as Hermes brings it along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.sigv4 import Credentials, signed

_RUNTIME = "https://bedrock-runtime.eu-central-1.amazonaws.com"
_ARN = "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fabcdef"
_BEDROCK = "https://bedrock.eu-central-1.amazonaws.com"
CASES: list[dict[str, Any]] = [
    {"method": method, "url": url, "body": body, "headers": headers, "keys": keys, "region": "eu-central-1"}
    for method, url, body, headers in [
        ("POST", f"{_RUNTIME}/model/eu.anthropic.claude-sonnet-4-6-v1%3A0/converse", '{"é": 1}', {"Accept": "a/b"}),
        ("POST", f"{_RUNTIME}/model/{_ARN}/converse", "{}", {"Content-Type": "application/json"}),
        ("GET", f"{_BEDROCK}/foundation-models?byOutputModality=TEXT", "", {}),
        ("GET", f"{_BEDROCK}/inference-profiles?maxResults=1000&a=b%2Fc~d&b=", "", {"X-Two": "a  b"}),
    ]
    for keys in (["AKIALAB", "lab/secret+key"], ["ASIALAB", "lab/secret+key", "session/token+=="])
]


def test_they_are_equal(in_hermes: Callable[..., Any]) -> None:
    for case, theirs in zip(CASES, in_hermes("sign", CASES), strict=True):
        ours = signed(
            case["method"], case["url"], case["headers"], case["body"].encode(),
            Credentials(*map(Secret, case["keys"])), case["region"], "bedrock", theirs["X-Amz-Date"],
        )["Authorization"]  # fmt: skip
        assert isinstance(ours, Secret)
        assert ours.reveal() == theirs["Authorization"], case["url"]
