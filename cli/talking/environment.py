"""What a program needs to use an agent through its tunnel, as variables of a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Literal

from pyinfra_hermes.deploys.model.secret import Secret

from ..state.store import State
from .endpoint import stable_port

Shell = Literal["sh", "fish", "json"]


def variables(reference: str, port: int | None) -> dict[str, str | Secret]:
    """Return the variables that OpenAI clients read, for an agent's tunnel at its stable port, or at another."""
    snapshot = State.open().read()
    instance = snapshot.agent(reference)
    return {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port or stable_port(instance.key)}/v1",
        "OPENAI_API_KEY": snapshot.api_key(instance),
    }


def written(found: Mapping[str, str | Secret], shell: Shell) -> Secret:
    """Return variables as a shell takes them, or as a JSON object. The text is a secret as the key in it is."""
    plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in found.items()}
    if shell == "json":
        return Secret(json.dumps(plain, indent=2))
    quote = shlex.quote if shell == "sh" else fish_quoted
    assign = "export {}={}" if shell == "sh" else "set -gx {} {}"
    return Secret("\n".join(assign.format(name, quote(value)) for name, value in plain.items()))


def fish_quoted(value: str) -> str:
    """Return a word as fish reads it: between single quotes only they and the backslash are special."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
