"""What keys look like: told at once when one was cut off, or belongs to another service."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..declaration import Field

# How keys begin, where their service says so, and whose they are. Longer ones first.
_BEGIN = {
    "sk-ant-": "Anthropic",
    "sk-or-": "OpenRouter",
    "AIza": "Google",
    "ABSK": "Bedrock",
    "AKIA": "AWS",
    "ASIA": "AWS",
}
_ACCESS_KEY_ID = re.compile(r"A[A-Z0-9]{15,127}")


def key_of(service: str) -> Callable[[str], str]:
    """Return a shape for ``service``'s keys: one word, and not a key that plainly is another service's."""

    def check(value: str) -> str:
        word = one_word(value)
        for begin, owner in _BEGIN.items():
            if word.startswith(begin) and owner != service:
                raise ValueError(f"this is a key of {owner}, not of {service}: it begins with {begin}")
        return word

    return check


def one_word(value: str) -> str:
    """Check a credential that has no spaces or line ends; those around it are dropped."""
    word = value.strip()
    if not word:
        raise ValueError("is empty")
    if any(char.isspace() or not char.isprintable() for char in word):
        raise ValueError("contains a space, a line end or a control character; was it copied whole?")
    return word


def access_key_id(value: str) -> str:
    """Check an AWS access key id: upper case letters and digits, beginning with A (AKIA..., ASIA...)."""
    word = one_word(value)
    if not _ACCESS_KEY_ID.fullmatch(word):
        raise ValueError("is no access key id: those are 16 or more upper case letters and digits, like AKIA...")
    return word


def api_key(service: str, variable: str) -> Field:
    """Return the field for a service's key, which Hermes reads from ``variable``."""
    return Field(
        "api_key",
        "API key",
        "secret",
        f"key of {service}",
        variable=variable,
        stored_as="API_KEY",
        shape=key_of(service),
    )
