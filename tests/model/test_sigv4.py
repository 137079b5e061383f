"""Signatures as AWS publishes them."""

from __future__ import annotations

import pytest

from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.sigv4 import Credentials, signed

KEYS = Credentials(Secret("AKIDEXAMPLE"), Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
AT = "20150830T123600Z"


@pytest.mark.parametrize(
    ("url", "headers", "service", "signature"),
    [
        # AWS, signature version 4 test suite: get-vanilla
        (
            "https://example.amazonaws.com/",
            {},
            "service",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        # AWS, General Reference: "Examples of the complete version 4 signing process", ListUsers
        (
            "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
            {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            "iam",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ],
)
def test_published_signatures(url: str, headers: dict[str, str], service: str, signature: str) -> None:
    sent = signed("GET", url, headers, b"", KEYS, "us-east-1", service, AT)
    authorization = sent["Authorization"]
    assert isinstance(authorization, Secret)
    assert authorization.reveal().endswith(f"Signature={signature}")
    assert sent["X-Amz-Date"] == AT


def test_nothing_of_a_key_is_seen() -> None:
    keys = Credentials(KEYS.access_key_id, Secret("hunter2"), Secret("hunter3"))
    shown = repr(signed("POST", "https://h/x", {"A": "b"}, b"{}", keys, "r", "s", AT)) + repr(keys)
    assert "hunter" not in shown
    assert "AKIDEXAMPLE" not in shown
