"""Whether a service takes a channel's credentials: one cheap call each, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..declaration import Value
from ..probing import Answer, Outcome, Probe, Request, Response, Verdict, judge
from ..secret import Secret

Options: TypeAlias = Mapping[str, Value]
Secrets: TypeAlias = Mapping[str, Secret]

#: What Slack says of a token that it does not take. It says so with status 200.
_SLACK = {
    "invalid_auth": "it does not know it",
    "not_authed": "it does not know it",
    "token_revoked": "it was revoked",
    "token_expired": "it has expired",
    "account_inactive": "its app was removed from the workspace",
    "not_allowed_token_type": "it is of another kind",
    "missing_scope": "it lacks a scope",
}
# https://discord.com/developers/docs/resources/application#application-object-application-flags: the intent, and what
# a bot in fewer than 100 servers has instead.
_MESSAGE_CONTENT = 1 << 18 | 1 << 19


@dataclass(frozen=True)
class Call:
    """One call with one credential."""

    #: What the credential is called in a message.
    label: str
    request: Request
    #: Says why an answer that came with a good status is a refusal all the same; None when it is none.
    refusal: Callable[[Any], str | None] = lambda body: None
    #: Finds who the credential belongs to; where that is not found, it was not the service that answered.
    owner: Callable[[Any], object] | None = None


@dataclass(frozen=True)
class Check:
    """How a service is asked about a channel's credentials."""

    service: str
    calls: Callable[[Options, Secrets], Sequence[Call]]


def judged(check: Check, calls: Sequence[Call], answers: Sequence[Answer]) -> Verdict:
    """Say what the answers mean: the first that is not good decides. No sentence holds a credential or a URL."""
    probe = Probe(check.service, "", lambda options, secrets, now: ())
    owners: list[str] = []
    for call, answer in zip(calls, answers, strict=True):
        verdict = judge(probe, [call.request], [answer], "")
        body = answer.json if isinstance(answer, Response) else None
        if not verdict.ok:
            return Verdict(verdict.outcome, _said(check.service, call.label, verdict, answer))
        if (why := call.refusal(body)) is not None:
            return Verdict("unauthorized", f"{check.service} refuses the {call.label}: {why}")
        if call.owner is None:
            continue
        try:
            owner = str(call.owner(body))
        except (AttributeError, KeyError, TypeError):
            return Verdict("not-json", f"{check.service} does not answer as it should: is this its address?")
        owners += [owner[:100]] if owner.isprintable() else []
    names = f" ({', '.join(dict.fromkeys(owners))})" if owners else ""
    return Verdict("ok", f"{check.service} takes the credentials{names}")


def _said(service: str, label: str, verdict: Verdict, answer: Answer) -> str:
    complaint = answer.complaint if isinstance(answer, Response) else ""
    quoted = f": {complaint}" if complaint else ""
    sentences: dict[Outcome, str] = {
        "unauthorized": f"{service} refuses the {label}{quoted}. It was revoked, or not all of it was copied",
        "forbidden": f"{service} knows the {label} and forbids its use{quoted}",
        "misplaced": f"{service} refuses the {label}, or there is another service at its address (404){quoted}",
        "rate-limited": f"{service} asks to wait (429): too many calls",
    }
    return sentences.get(verdict.outcome, verdict.sentence)


def _bearer(secret: Secret, scheme: str = "Bearer") -> dict[str, Secret | str]:
    return {"Authorization": Secret(f"{scheme} {secret.reveal()}")}


def _intent(body: Any) -> str | None:
    if isinstance(body, dict) and not int(body.get("flags") or 0) & _MESSAGE_CONTENT:
        return "its bot lacks the Message Content intent: switch it on in the Developer Portal, on the Bot page"
    return None


def _discord(options: Options, secrets: Secrets) -> Sequence[Call]:
    # Discord turns away clients that do not say what they are.
    headers = {**_bearer(secrets["bot_token"], "Bot"), "User-Agent": "DiscordBot (pyinfra-hermes, 1)"}
    api = "https://discord.com/api/v10"
    return (
        Call("Bot token", Request(f"{api}/users/@me", headers), owner=lambda body: body["username"]),
        Call("Bot token", Request(f"{api}/applications/@me", headers), refusal=_intent),
    )


def _slack_refusal(body: Any) -> str | None:
    if isinstance(body, dict) and body.get("ok") is True:
        return None
    error = str(body.get("error")) if isinstance(body, dict) else "it says nothing of it"
    return _SLACK.get(error, error[:100] if error.isprintable() else "it does not say why")


def _slack(options: Options, secrets: Secrets) -> Sequence[Call]:
    api = "https://slack.com/api"
    tokens = [Secret(each) for each in secrets["bot_token"].reveal().split(",")]
    bots = [
        Call("Bot token", Request(f"{api}/auth.test", _bearer(each), "{}"), _slack_refusal, lambda body: body["team"])
        for each in tokens
    ]
    app = Request(f"{api}/apps.connections.open", _bearer(secrets["app_token"]), "{}")
    return (*bots, Call("App-level token", app, _slack_refusal))


def _telegram(options: Options, secrets: Secrets) -> Sequence[Call]:
    # Telegram takes the token nowhere else.
    request = Request(f"https://api.telegram.org/bot{secrets['bot_token'].reveal()}/getMe")
    return (Call("Bot token", request, owner=lambda body: f"@{body['result']['username']}"),)


def _whatsapp_cloud(options: Options, secrets: Secrets) -> Sequence[Call]:
    url = f"https://graph.facebook.com/v20.0/{options['phone_number_id']}"
    request = Request(url, _bearer(secrets["access_token"]))
    return (Call("Access token", request, owner=lambda body: body["display_phone_number"]),)


def _matrix(options: Options, secrets: Secrets) -> Sequence[Call]:
    client = f"{options['homeserver']}/_matrix/client"
    if "access_token" not in secrets:
        # To sign in with the password would leave a device behind: only that there is a server is looked at.
        return (Call("Homeserver", Request(f"{client}/versions")),)
    request = Request(f"{client}/v3/account/whoami", _bearer(secrets["access_token"]))
    return (Call("Access token", request, owner=lambda body: body["user_id"]),)


def _mattermost(options: Options, secrets: Secrets) -> Sequence[Call]:
    request = Request(f"{options['url']}/api/v4/users/me", _bearer(secrets["token"]))
    return (Call("Token", request, owner=lambda body: body["username"]),)


DISCORD = Check("Discord", _discord)
SLACK = Check("Slack", _slack)
TELEGRAM = Check("Telegram", _telegram)
WHATSAPP_CLOUD = Check("WhatsApp", _whatsapp_cloud)
MATRIX = Check("The homeserver", _matrix)
MATTERMOST = Check("The Mattermost server", _mattermost)
