"""Channels: their shapes, what they render, whom they let in, and what two agents may not share."""

from __future__ import annotations

import base64
import json
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.adapters import ADAPTERS
from pyinfra_hermes.deploys.model.channels import CATALOGUE, InvalidChannel, channel, together
from pyinfra_hermes.deploys.model.channels.checking import judged
from pyinfra_hermes.deploys.model.channels.sharing import Membership, refuse_shared
from pyinfra_hermes.deploys.model.declaration import InvalidSetting, Target
from pyinfra_hermes.deploys.model.probing import Failure, Response
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec, check_fleet

from ..channels import DISCORD_TOKEN, SAMPLES, SLACK_APP_TOKEN, SLACK_BOT_TOKEN, TELEGRAM_TOKEN

NEWEST = list(ADAPTERS.values())[-1]
OPENABLE = [entry for entry in CATALOGUE.values() if entry.admits]
_OTHERS = ("HERMES_GATEWAY_PLATFORM_CONNECT_TIMEOUT",)


def field(name: str, field_name: str) -> Any:
    return next(f for f in CATALOGUE[name].fields if f.name == field_name)


def spec(agent: str = "maurice", port: int = 8642, **channels: dict[str, Any]) -> AgentSpec:
    return AgentSpec.parse({"name": agent, "port": port, "release": "v2026.7.20", "channels": channels})


def test_every_channel_but_the_api_has_a_sample() -> None:
    assert set(SAMPLES) == {name for name, entry in CATALOGUE.items() if not entry.always_on}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_complete_and_renders_under_its_own_prefix(name: str) -> None:
    entry, sample = CATALOGUE[name], SAMPLES[name]
    options = entry.options(sample.options)
    secrets = {
        f.name: f.check_secret(Secret(sample.secrets[f.name])) for f in entry.secrets if f.name in sample.secrets
    }
    entry.check_complete(options, secrets)
    rendered = entry.render(options, secrets, Target(NEWEST, 8642))
    assert all(variable.startswith(f"{name.upper()}_") for variable in rendered.env)
    assert rendered.config[name, "enabled"] is True
    assert all(path[0] == name or path[:2] == ("platforms", name) for path in rendered.config)
    assert entry.options(options) == options


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_channel_needs_is_refused_by_name_when_it_is_not_there(name: str) -> None:
    entry, sample = CATALOGUE[name], SAMPLES[name]
    for f in entry.fields:
        if not f.required or f.default is not None:
            continue
        if f.secret:
            with pytest.raises(InvalidSetting, match=re.escape(f.label)):
                entry.check_complete(entry.options(sample.options), set(sample.secrets) - {f.name})
        else:
            with pytest.raises(InvalidSetting, match=re.escape(f.name)):
                entry.options({k: v for k, v in sample.options.items() if k != f.name})


def test_variables_belong_to_one_channel_each() -> None:
    variables = [f.variable for entry in CATALOGUE.values() for f in entry.fields if f.variable]
    keys = [f.key for entry in CATALOGUE.values() for f in entry.secrets]
    assert len(set(variables)) == len(variables)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("entry", OPENABLE, ids=lambda entry: entry.name)
def test_a_star_and_allow_all_are_open_and_neither_is_not(entry: Any) -> None:
    sample = SAMPLES[entry.name].options
    assert entry.opens(entry.options(sample)) is None
    assert entry.opens(entry.options({**sample, "allow_all_users": True}))
    assert not entry.opens(entry.options({**sample, "allow_all_users": False}))
    assert entry.opens(entry.options({**sample, "allowed_users": [*sample["allowed_users"], "*"]}))
    nobody = {k: v for k, v in sample.items() if k not in entry.admits}
    assert entry.admits_nobody(entry.options(nobody))
    assert entry.admits_nobody(entry.options({**nobody, "allowed_users": []}))
    assert not entry.admits_nobody(entry.options(sample))
    assert not entry.admits_nobody(entry.options({**nobody, "allow_all_users": True}))


@pytest.mark.parametrize("name", ["discord", "slack"])
def test_every_bot_is_open_access_too(name: str) -> None:
    assert channel(name).opens({"allow_bots": "all"})
    assert not channel(name).opens({"allow_bots": "mentions"})


def test_an_empty_list_is_no_setting() -> None:
    assert channel("discord").options({"allowed_users": [], "channel_prompts": {}}) == {}


def test_the_bridge_for_whatsapp_is_refused_with_what_there_is_instead() -> None:
    with pytest.raises(InvalidChannel, match="Use whatsapp_cloud"):
        channel("whatsapp")


@pytest.mark.parametrize(
    ("name", "since"), [("whatsapp_cloud", "v2026.7.1"), ("teams", "v2026.5.29.2"), ("google_chat", "v2026.5.29.2")]
)
def test_a_channel_that_a_release_lacks_is_refused_with_the_release_that_has_it(name: str, since: str) -> None:
    with pytest.raises(InvalidSpec, match=f"Channel {name} is not in Hermes v2026.5.7; it needs {since} or later"):
        AgentSpec.parse({"name": "maurice", "release": "v2026.5.7", "channels": {name: dict(SAMPLES[name].options)}})


GOOD = [
    ("discord", "bot_token", f" {DISCORD_TOKEN}\n", DISCORD_TOKEN),
    ("slack", "bot_token", f"{SLACK_BOT_TOKEN} , {SLACK_BOT_TOKEN}x,", f"{SLACK_BOT_TOKEN},{SLACK_BOT_TOKEN}x"),
    ("slack", "app_token", SLACK_APP_TOKEN, SLACK_APP_TOKEN),
    ("telegram", "bot_token", TELEGRAM_TOKEN, TELEGRAM_TOKEN),
]
BAD = [
    ("discord", "bot_token", "your-token-here", "placeholder"),
    ("discord", "bot_token", f"Bot {DISCORD_TOKEN}", "without 'Bot '"),
    ("discord", "bot_token", DISCORD_TOKEN.replace(".", "", 1), "three parts"),
    ("discord", "bot_token", "A" + DISCORD_TOKEN, "first part"),
    ("discord", "bot_token", "", "three parts"),
    ("slack", "bot_token", SLACK_APP_TOKEN, "app-level token"),
    ("slack", "bot_token", "xoxp-1234567890-abc", "of a person"),
    ("slack", "bot_token", f"{SLACK_BOT_TOKEN},nonsense", "xoxb-"),
    ("slack", "bot_token", ",", "xoxb-"),
    ("slack", "app_token", SLACK_BOT_TOKEN, "is a bot token"),
    ("telegram", "bot_token", TELEGRAM_TOKEN[:-1], "35 characters"),
    ("webhook", "secret", "INSECURE_NO_AUTH", "anybody"),
    ("webhook", "secret", "short", "16"),
    ("google_chat", "service_account_json", "/etc/key.json", "JSON file"),
    ("google_chat", "service_account_json", '{"type": "authorized_user"}', "service account"),
    ("google_chat", "service_account_json", '{"type": "service_account"}', "private_key"),
    ("mattermost", "token", "your_token_here", "placeholder"),
    ("mattermost", "token", "two words here", "without spaces"),
]


@pytest.mark.parametrize(("name", "field_name", "value", "normal"), GOOD)
def test_a_token_of_the_right_shape_is_taken(name: str, field_name: str, value: str, normal: str) -> None:
    assert field(name, field_name).check_secret(Secret(value)).reveal() == normal


@pytest.mark.parametrize(("name", "field_name", "value", "why"), BAD)
def test_a_token_of_another_shape_is_refused_and_not_quoted(name: str, field_name: str, value: str, why: str) -> None:
    with pytest.raises(InvalidSetting, match=why) as refused:
        field(name, field_name).check_secret(Secret(value))
    assert len(value) < 8 or value in ("INSECURE_NO_AUTH",) or value not in str(refused.value)


SECRETS = [(entry.name, f) for entry in CATALOGUE.values() for f in entry.secrets if f.shape]


@pytest.mark.parametrize(("name", "f"), SECRETS, ids=lambda each: each if isinstance(each, str) else each.name)
@given(value=st.text(st.characters(codec="utf-8"), min_size=9, max_size=80))
def test_no_text_is_quoted_when_it_is_refused(name: str, f: Any, value: str) -> None:
    # Hypothesis tries words of our own sources, too; with this they stand in no sentence of ours.
    value += "\u2603"
    try:
        f.check_secret(Secret(value))
    except InvalidSetting as refused:
        assert value not in str(refused)


@given(
    bot=st.integers(10**16, 10**20 - 1),
    middle=st.text(string.ascii_letters + string.digits + "-_", min_size=6, max_size=7),
    last=st.text(string.ascii_letters + string.digits + "-_", min_size=27, max_size=38),
)
def test_every_token_with_an_id_in_it_is_one_of_discords(bot: int, middle: str, last: str) -> None:
    token = f"{base64.urlsafe_b64encode(str(bot).encode()).decode().rstrip('=')}.{middle}.{last}"
    assert field("discord", "bot_token").check_secret(Secret(token)).reveal() == token


@pytest.mark.parametrize(
    ("name", "field_name", "given", "normal"),
    [
        ("discord", "allowed_users", "<@!234567890123456789>, user:345678901234567890,Some.One,*",
         ["234567890123456789", "345678901234567890", "some.one", "*"]),
        ("discord", "home_channel", "<#345678901234567890>", "345678901234567890"),
        ("slack", "allowed_users", "U012ABCDEF,W012ABCDEF,U012ABCDEF", ["U012ABCDEF", "W012ABCDEF"]),
        ("signal", "account", "+49 170 123-4567", "+491701234567"),
        ("whatsapp_cloud", "allowed_users", "491701234567,+49 170 7654321", ["491701234567", "491707654321"]),
        ("teams", "client_id", "01234567-89AB-CDEF-0123-456789ABCDEF", "01234567-89ab-cdef-0123-456789abcdef"),
        ("email", "allowed_users", "Boss@Example.ORG", ["boss@example.org"]),
        ("matrix", "homeserver", "http://127.0.0.1:8008/", "http://127.0.0.1:8008"),
    ],
)  # fmt: skip
def test_ids_come_to_the_form_that_hermes_compares(name: str, field_name: str, given: Any, normal: Any) -> None:
    assert field(name, field_name).check(given) == normal


@pytest.mark.parametrize(
    ("name", "field_name", "value"),
    [
        ("discord", "home_channel", "#general"),
        ("discord", "allowed_roles", "@admins"),
        ("slack", "allowed_users", "@someone"),
        ("slack", "home_channel", "#general"),
        ("telegram", "allowed_users", "@someone"),
        ("signal", "account", "0170 1234567"),
        ("email", "address", "someone"),
        ("email", "imap_host", "imaps://imap.example.org:993"),
        ("matrix", "homeserver", "http://matrix.example.org"),
        ("matrix", "user_id", "agent"),
        ("mattermost", "url", "http://chat.example.org"),
        ("teams", "tenant_id", "contoso.onmicrosoft.com"),
        ("google_chat", "subscription_name", "agent"),
        ("webhook", "host", "everywhere"),
        ("discord", "proxy", "http://me:secret@proxy:3128"),
    ],
)
def test_an_id_of_another_shape_is_refused(name: str, field_name: str, value: str) -> None:
    with pytest.raises(InvalidSetting):
        field(name, field_name).check(value)


@pytest.mark.parametrize(
    ("name", "changes", "secrets", "why"),
    [
        ("matrix", {}, {}, "Access token, or its User and Password"),
        ("matrix", {"user_id": ""}, {"password"}, "needs User"),
        ("telegram", {"webhook_url": "https://h/t"}, {"bot_token"}, "webhook secret"),
        ("telegram", {"webhook_port": 9000}, {"bot_token"}, "only with webhook_url"),
        ("google_chat", {"project_id": "another-one"}, {"service_account_json"}, "acme-chat"),
        ("webhook", {"routes": {"Git Hub": "x"}}, {"secret"}, "name of a route"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, changes: dict[str, Any], secrets: Any, why: str) -> None:
    given = {k: v for k, v in {**SAMPLES[name].options, **changes}.items() if v != ""}
    with pytest.raises(InvalidSetting, match=why):
        channel(name).check_complete(channel(name).options(given), secrets)


def test_a_bot_serves_one_agent_only_and_its_token_is_not_in_the_message() -> None:
    def member(agent: str, tokens: str) -> Membership:
        secrets = {"SLACK_BOT_TOKEN": Secret(tokens), "SLACK_APP_TOKEN": Secret(f"xapp-{agent}")}
        return Membership(agent, {"api": {}, "slack": {}}, secrets)

    refuse_shared([member("a", "xoxb-1,xoxb-2"), member("b", "xoxb-3")])
    with pytest.raises(InvalidChannel, match="a and b have the same Bot token in channel slack") as refused:
        refuse_shared([member("a", "xoxb-1,xoxb-2"), member("b", "xoxb-2")])
    assert "xoxb" not in str(refused.value)
    # One that is off claims nothing.
    refuse_shared([member("a", "xoxb-1"), Membership("b", {"api": {}}, {"SLACK_BOT_TOKEN": Secret("xoxb-1")})])


def test_an_account_without_a_secret_serves_one_agent_only_too() -> None:
    options = channel("signal").options(SAMPLES["signal"].options)
    with pytest.raises(InvalidChannel, match="the same Account in channel signal"):
        refuse_shared([Membership(agent, {"signal": options}, {}) for agent in ("a", "b")])


def test_ports_of_channels_are_the_hosts_ports() -> None:
    check_fleet({"h": (spec("a", webhook={}), spec("b", 8643, webhook={"port": 9000}))})
    with pytest.raises(InvalidSpec, match="agents a and b have the same port 8644"):
        check_fleet({"h": (spec("a", webhook={}), spec("b", 8643, webhook={}))})
    with pytest.raises(InvalidSpec, match="agents a and b have the same port 8700"):
        check_fleet({"h": (spec("a", 8700), spec("b", 8643, webhook={"port": 8700}))})
    with pytest.raises(InvalidSpec, match="two parts of the agent would listen on port 8642"):
        spec(webhook={"port": 8642})


def test_channels_get_less_time_than_hermes_gives_them_and_none_without_channels() -> None:
    assert together(["api"]).env == {}
    assert together(["api", "discord", "slack"]).env == dict.fromkeys(_OTHERS, "10")
    assert together(["matrix", "slack"]).env == dict.fromkeys(_OTHERS, "30")


def verdict(name: str, *answers: Any) -> Any:
    check = CATALOGUE[name].check
    assert check is not None
    options = CATALOGUE[name].options(SAMPLES[name].options)
    secrets = {key: Secret(value) for key, value in SAMPLES[name].secrets.items()}
    calls = check.calls(options, secrets)
    return judged(check, calls, [*answers, *[json_of({"ok": True})] * (len(calls) - len(answers))])


def json_of(body: Any, status: int = 200) -> Response:
    return Response(status, "application/json", json.dumps(body))


CALLED = [name for name, entry in CATALOGUE.items() if entry.check]


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize(
    "answer",
    [
        json_of({}, 401),
        json_of({"message": "no"}, 403),
        json_of({}, 404),
        json_of({}, 429),
        json_of({}, 502),
        Response(200, "text/html", "<html>"),
        Failure("curl: (7) Failed to connect"),
        Failure("timed out"),
    ],
    ids=["401", "403", "404", "429", "502", "html", "refused", "timeout"],
)
def test_whatever_a_service_says_no_sentence_holds_a_token(name: str, answer: Any) -> None:
    said = verdict(name, answer)
    assert not said.ok
    assert not any(secret in said.sentence for secret in SAMPLES[name].secrets.values())


def test_what_services_say_of_tokens_that_they_do_not_take() -> None:
    assert verdict("discord", json_of({"message": "401: Unauthorized", "code": 0}, 401)).sentence == (
        "Discord refuses the Bot token: 401: Unauthorized. It was revoked, or not all of it was copied"
    )
    assert verdict("slack", json_of({"ok": False, "error": "token_revoked"})).sentence == (
        "Slack refuses the Bot token: it was revoked"
    )
    ok, refused = json_of({"ok": True, "team": "Acme"}), json_of({"ok": False, "error": "something_new"})
    assert verdict("slack", ok, ok, refused).sentence == "Slack refuses the App-level token: something_new"
    assert verdict("slack", ok, ok, ok).sentence == "Slack takes the credentials (Acme)"


def test_something_else_that_answers_is_not_taken_for_the_service() -> None:
    for name in ("matrix", "mattermost", "telegram", "discord", "whatsapp_cloud"):
        said = verdict(name, json_of({"hello": "world"}))
        assert said.ok == (name == "matrix")  # With a password, there is nothing but a server to look for.


def test_a_bot_without_the_intent_that_it_needs_is_told_apart_from_a_wrong_token() -> None:
    bot = json_of({"username": "helper"})
    assert "Message Content intent" in verdict("discord", bot, json_of({"flags": 1 << 13})).sentence
    assert verdict("discord", bot, json_of({"flags": 1 << 19})).sentence == "Discord takes the credentials (helper)"


_JSON = st.recursive(
    st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(body=_JSON)
def test_any_json_is_an_answer_that_can_be_judged(body: Any) -> None:
    for name in CALLED:
        assert verdict(name, json_of(body)).sentence


def test_tokens_travel_in_headers_where_a_service_takes_them_there() -> None:
    for name in CALLED:
        check = CATALOGUE[name].check
        assert check is not None
        secrets = {key: Secret(value) for key, value in SAMPLES[name].secrets.items()}
        for call in check.calls(CATALOGUE[name].options(SAMPLES[name].options), secrets):
            assert not any(value in repr(call) for value in SAMPLES[name].secrets.values())
            if name != "telegram":
                assert not any(value in call.request.url for value in SAMPLES[name].secrets.values())
                assert all(isinstance(v, Secret) for k, v in call.request.headers.items() if k == "Authorization")
