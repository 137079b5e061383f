"""Asks a provider whether it can be used, from here or from an agent's host, where its agents will ask from."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TypeAlias

from pyinfra_hermes.deploys.model.declaration import InvalidSetting, Value
from pyinfra_hermes.deploys.model.probing import (
    Answer,
    Failure,
    Moment,
    Outcome,
    Request,
    Response,
    Verdict,
    judge,
    listed,
)
from pyinfra_hermes.deploys.model.providers import ProviderType, provider_type
from pyinfra_hermes.deploys.model.secret import Secret

from ..exits import Exit
from ..problems import Problem
from ..ssh.openssh import Login, login_of, run_script
from ..state.records import provider_scope
from ..state.store import State

#: What is read of an answer, in bytes: OpenRouter's list of models has half a million.
_LONGEST = 4 * 1024 * 1024

# Each request is a configuration for curl(1) on its standard input: nothing of it is in an argument. Of each answer
# there are two lines: the body, and what curl says of it, both in base64.
_ASK = f"""
ask() {{
    {{ said=$( {{ curl -q --config - | head -c {_LONGEST} | base64 -w 0 >&4; }} 2>&1 ); }} 4>&1
    printf '\\n'
    printf '%s' "$said" | base64 -w 0
    printf '\\n'
}}
"""


#: Runs a shell script on a host, without root, and returns what it printed.
Run: TypeAlias = Callable[[str], str]


@dataclass(frozen=True)
class Known:
    """A provider with all that is needed to use it."""

    name: str
    type: ProviderType
    options: Mapping[str, Value]
    secrets: Mapping[str, Secret]
    #: How the agent's host is reached; None to ask from here.
    login: Login | None = None
    #: Runs a script on that host over a connection that there is already.
    run: Run | None = None

    @property
    def model(self) -> str:
        return str(self.options["model"])


def known(name: str, agent: str | None = None, model: str | None = None) -> Known:
    """
    Read a provider from the record.

    + agent: ask from its host, and about its model when it has one of its own
    + model: ask about this one instead

    Raises :class:`Problem` when its credentials are not on record.
    """
    state = State.open()
    state.unlock()
    snapshot = state.read()
    record = snapshot.provider(name)
    declaration = provider_type(record.type)
    instance = None if agent is None else snapshot.agent(agent)
    kept = snapshot.secrets.of(provider_scope(record.name))
    secrets = {f.name: kept[f.key] for f in declaration.secrets if kept.get(f.key)}
    chosen = model or (instance.agent.model if instance and instance.agent.provider == record.name else None)
    options = declaration.options({**record.options, **({"model": chosen} if chosen else {})})
    try:
        declaration.check_complete(options, secrets)
    except InvalidSetting as error:
        raise Problem(str(error), f"clm provider edit {name}", Exit.REFUSED) from None
    return Known(
        record.name, declaration, options, secrets, None if instance is None else login_of(state, instance.host)
    )


def test(provider: Known) -> Verdict:
    """Ask whether a provider can be used. Raises :class:`Problem` when the agent's host cannot be reached."""
    probe = provider.type.probe
    requests = probe.ask(provider.options, provider.secrets, now())
    return judge(probe, requests, ask(provider.run or provider.login, requests), provider.model)


def models(provider: Known) -> list[str]:
    """
    Return the ids of the models that a provider lists.

    Raises :class:`Problem` when it lists none, or does not answer as it should.
    """
    probe = provider.type.probe
    if probe.models is None:
        raise Problem(
            f"{probe.service} does not tell which models can be used",
            f"They are on its own pages: {provider.type.credential_url}",
            Exit.REFUSED,
        )
    requests = probe.models(provider.options, provider.secrets, now())
    answers = ask(provider.run or provider.login, requests)
    # Whether the chosen model is among them is another question.
    verdict = judge(probe, [replace(request, lists=None) for request in requests], answers, provider.model)
    if not verdict.ok:
        raise problem(provider.name, verdict)
    found = [listed(r, a) for r, a in zip(requests, answers, strict=True) if isinstance(a, Response)]
    return sorted({model for each in found for model in each})


def problem(name: str, verdict: Verdict) -> Problem:
    """Turn a verdict that is not good into what ends a command: exit 7 when the service answered, 1 when not."""
    remedies: dict[Outcome, str] = {
        "unauthorized": f"Give another: clm provider edit {name}",
        "forbidden": "Let the key use the model, at the service",
        "no-model": f"clm provider models {name}\n  clm provider edit {name} --model MODEL",
        "misplaced": f"clm provider edit {name} --url URL",
    }
    exit = Exit.UNHEALTHY if verdict.answered else Exit.FAILED
    return Problem(verdict.sentence, remedies.get(verdict.outcome), exit)


def now() -> Moment:
    """Return the time of a request that is made now."""
    at = datetime.now(UTC)
    return Moment(int(at.timestamp()), at.strftime("%Y%m%dT%H%M%SZ"))


def ask(host: Login | Run | None, requests: Sequence[Request]) -> list[Answer]:
    """
    Send requests from a host, or from here, and return the answers. Raises :class:`Problem` for the host.

    None is sent when a header would be two: curl takes what is behind a line end for another header.
    """
    if not all(map(_is_sendable, requests)):
        return [Failure("a header would have a line end; was the credential copied whole?") for _ in requests]
    if host is not None:
        return _from_host(host, requests)
    return [_from_here(request) for request in requests]


def _is_sendable(request: Request) -> bool:
    return not any(char in _revealed(value) for value in request.sent.values() for char in "\r\n\0")


def _from_host(host: Login | Run, requests: Sequence[Request]) -> list[Answer]:
    asked = [f"printf '%s' {shlex.quote(_curl(request))} | ask" for request in requests]
    seconds = sum(request.seconds for request in requests) + 15
    run = partial(run_script, host, root=False, seconds=seconds) if isinstance(host, Login) else host
    lines = run("\n".join([_ASK, *asked, ""])).splitlines()
    bodies, sayings = ([base64.b64decode(line).decode(errors="replace") for line in lines[n::2]] for n in (0, 1))
    return [_answer(body, said) for body, said in zip(bodies, sayings, strict=True)]


def _curl(request: Request) -> str:
    """Write a request as curl's configuration."""
    pairs = [
        ("url", request.url),
        ("request", request.method),
        *(("header", f"{name}: {_revealed(value)}") for name, value in request.sent.items()),
        *([] if request.body is None else [("data-binary", _revealed(request.body))]),
        ("max-time", str(request.seconds)),
        ("proto", "=http,https"),
        ("write-out", "%{stderr}\nstatus %{http_code} %{content_type}"),
    ]
    return "silent\nshow-error\ngloboff\n" + "".join(f"{name} = {_quoted(value)}\n" for name, value in pairs)


def _quoted(value: str) -> str:
    for char, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(char, escaped)
    return f'"{value}"'


def _revealed(value: Secret | str) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _answer(body: str, said: str) -> Answer:
    found = re.search(r"^status (\d{3}) ?(.*)$", said, re.M)
    if found is None or found[1] == "000":
        return Failure(re.sub(r"^status .*$", "", said, flags=re.M).strip())
    return Response(int(found[1]), found[2], body)


def _from_here(request: Request) -> Answer:
    import ssl

    import httpx

    try:
        # The certificates that this machine trusts, as curl does on a host, and not a list of httpx' own.
        with httpx.Client(timeout=request.seconds, verify=ssl.create_default_context()) as client:
            headers = {name: _revealed(value) for name, value in request.sent.items()}
            content = None if request.body is None else _revealed(request.body)
            # What is above is for each step; this is for all of them, as it is for curl.
            until, body = monotonic() + request.seconds, b""
            with client.stream(request.method, request.url, headers=headers, content=content) as got:
                for piece in got.iter_bytes():
                    body += piece
                    if monotonic() > until:
                        return Failure("timed out")
                    if len(body) >= _LONGEST:
                        break
            text = body[:_LONGEST].decode(errors="replace")
            return Response(got.status_code, got.headers.get("content-type", ""), text)
    except httpx.TimeoutException:
        return Failure("timed out")
    except (httpx.HTTPError, UnicodeError) as error:
        return Failure(str(error) or type(error).__name__)
