"""What the records accept, refuse, derive and write."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pyinfra_hermes.cli.state.documents import Defect, decode, encode
from pyinfra_hermes.cli.state.errors import StateInvalid
from pyinfra_hermes.cli.state.records import (
    KINDS,
    STAGES,
    Agent,
    Applied,
    Document,
    Host,
    HostsFile,
    Integration,
    IntegrationsFile,
    Provider,
    ProvidersFile,
    SecretEntry,
    SecretsFile,
    StageResult,
    agent_scope,
    integration_scope,
    provider_scope,
)
from pyinfra_hermes.deploys.model.names import RESERVED_ACCOUNTS, InvalidName
from pyinfra_hermes.deploys.model.secret import Secret

NOON = datetime(2026, 5, 7, 12, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
plain = st.one_of(texts, st.integers(), st.booleans())
options = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), plain, max_size=4)
host_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
agent_names = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
provider_names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{0,20}", fullmatch=True)
kinds = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
secret_keys = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
addresses = st.one_of(st.ip_addresses().map(str), st.just("host.example.org"))
applied = st.builds(Applied, digest=texts.filter(bool), release=st.just("v2026.5.7"), at=moments)
results = st.builds(StageResult, status=st.sampled_from(["done", "skipped"]), at=moments, detail=options)


def agents(name: str, port: int) -> st.SearchStrategy[Agent]:
    return st.builds(
        Agent,
        name=st.just(name),
        release=st.just("v2026.5.7"),
        port=st.just(port),
        provider=st.none() | provider_names,
        model=st.none() | st.just("anthropic/claude-x:beta"),
        channels=st.dictionaries(
            kinds,
            st.dictionaries(kinds.map(lambda k: k.replace("-", "_")), plain | st.lists(texts, max_size=3)),
            max_size=3,
        ),
        integrations=st.lists(provider_names, unique=True, max_size=3).map(tuple),
        hardening=st.sampled_from(["off", "standard", "strict"]),
        status=st.sampled_from(["installing", "installed", "failed", "removing"]),
        error=st.none() | texts,
        installed_at=st.none() | moments,
        applied=st.none() | applied,
        onboarding=st.dictionaries(st.sampled_from(STAGES), results),
    )


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Host:
    on = {
        agent: draw(agents(agent, 8642 + number))
        for number, agent in enumerate(draw(st.lists(agent_names, unique=True, max_size=3)))
    }
    return Host(
        name=name,
        address=draw(addresses),
        port=draw(st.integers(1, 65535)),
        user=draw(st.from_regex(r"[a-z_][a-z0-9_.-]{0,20}", fullmatch=True)),
        identity_file=draw(st.none() | texts.filter(bool)),
        tags=tuple(draw(st.lists(host_names, unique=True, max_size=3))),
        added_at=draw(moments),
        agents=on,
    )


@st.composite
def hosts_files(draw: st.DrawFn) -> HostsFile:
    return HostsFile(hosts={name: draw(hosts(name)) for name in draw(st.lists(host_names, unique=True, max_size=3))})


@st.composite
def providers_files(draw: st.DrawFn) -> ProvidersFile:
    return ProvidersFile(
        providers={
            name: Provider(
                name=name,
                type=draw(kinds),
                options=draw(options),
                created_at=draw(moments),
                updated_at=draw(moments),
            )
            for name in draw(st.lists(provider_names, unique=True, max_size=3))
        }
    )


@st.composite
def integrations_files(draw: st.DrawFn) -> IntegrationsFile:
    return IntegrationsFile(
        integrations={
            name: Integration(
                name=name,
                type=draw(kinds),
                options=draw(options),
                created_at=draw(moments),
                updated_at=draw(moments),
            )
            for name in draw(st.lists(provider_names, unique=True, max_size=3))
        }
    )


@st.composite
def secrets_files(draw: st.DrawFn) -> SecretsFile:
    scopes = st.one_of(
        st.builds(agent_scope, host_names, agent_names),
        st.builds(provider_scope, provider_names),
        st.builds(integration_scope, provider_names),
    )
    entries = st.builds(SecretEntry, value=texts.map(Secret), created_at=moments, updated_at=moments, description=texts)
    return SecretsFile(
        scopes=draw(st.dictionaries(scopes, st.dictionaries(secret_keys, entries, max_size=3), max_size=3))
    )


documents = st.one_of(hosts_files(), providers_files(), integrations_files(), secrets_files())


@given(documents)
def test_what_is_written_is_read_back(document: Document) -> None:
    content = encode(document)
    assert isinstance(content, bytes)
    again = decode(type(document), content)
    assert again == document
    assert encode(again) == content


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_defect(kind: type, content: bytes) -> None:
    assert isinstance(decode(kind, content), kind | Defect)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from(KINDS),
    st.dictionaries(st.text(max_size=20), json_values),
)
def test_any_json_is_a_document_or_a_defect(kind: type, content: dict[str, object]) -> None:
    for document in (content, {"schema_version": 1, "hosts": content}, {"schema_version": 1} | content):
        assert isinstance(decode(kind, json.dumps(document).encode()), kind | Defect)


SENTINEL = "sk-Sentinel-7f3a"

#: What somebody or something may put in the place of a value.
wrong_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    # A copy each time: a later mutation changes what an earlier one put in.
    st.sampled_from(
        [SENTINEL, "\ud800", [], {}, [SENTINEL], {SENTINEL: SENTINEL}, {"value": SENTINEL}, "9" * 5000]
    ).map(copy.deepcopy),
)


def places(plain: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document, the innermost last."""
    if isinstance(plain, dict):
        for key, inner in plain.items():
            yield (*at, key)
            yield from places(inner, (*at, key))
    elif isinstance(plain, list):
        for number, inner in enumerate(plain):
            yield (*at, number)
            yield from places(inner, (*at, number))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[type[Document], dict[str, Any]]:
    """A document in which a few things were removed, replaced, renamed or added, secrets being the sentinel."""
    document = draw(documents)
    plain = json.loads(encode(document))
    if isinstance(document, SecretsFile):
        for scope, key, entry in document.entries():
            plain[scope][key]["value"] = SENTINEL
            assert entry.value is not None
    for _ in range(draw(st.integers(1, 3))):
        if not plain:
            break
        *above, last = draw(st.sampled_from(list(places(plain))))
        inside: Any = plain
        for step in above:
            inside = inside[step]
        match draw(st.sampled_from(["remove", "replace", "rename", "add"])):
            case "remove":
                del inside[last]
            case "replace":
                inside[last] = draw(wrong_values)
            case "rename" if isinstance(inside, dict):
                inside[draw(st.sampled_from([SENTINEL, "", "a:b", "x" * 300]))] = inside.pop(last)
            case _ if isinstance(inside, dict):
                inside[draw(st.sampled_from([SENTINEL, "value", "port"]))] = draw(wrong_values)
    return type(document), plain


@settings(max_examples=200)
@given(mutated())
def test_a_document_that_was_changed_by_hand_is_read_or_refused_in_silence(
    change: tuple[type[Document], dict[str, Any]],
) -> None:
    kind, plain = change
    outcome = decode(kind, json.dumps(plain).encode())
    assert isinstance(outcome, kind | Defect)
    if kind is SecretsFile:
        assert SENTINEL not in repr(outcome)
    if isinstance(outcome, Document):
        assert isinstance(encode(outcome), bytes)


def an_agent(**changes: object) -> Agent:
    return Agent.model_validate({"name": "m", "release": "v1", "port": 8642, "status": "installed"} | changes)


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        ((), "pending"),
        (("providers",), "identity"),
        (("providers", "identity"), "channels"),
        (("providers", "identity", "channels"), "validate"),
        (STAGES, "ready"),
        (("identity", "channels", "validate"), "providers"),
        (("providers", "validate"), "identity"),
    ],
)
def test_onboarding_is_derived_from_the_stages(finished: tuple[str, ...], expected: str) -> None:
    agent = an_agent(onboarding={stage: StageResult(status="done") for stage in finished})
    assert agent.onboarding_state == expected
    assert "onboarding_state" not in agent.model_dump()


def test_a_skipped_stage_counts() -> None:
    assert an_agent(onboarding={stage: StageResult(status="skipped") for stage in STAGES}).onboarding_state == "ready"


@pytest.mark.parametrize(
    "change",
    [
        {"port": "8642"},
        {"port": True},
        {"port": 0},
        {"port": 65536},
        {"name": "Root"},
        {"name": "a:b"},
        {"method": "git"},
        {"hardening": "lax"},
        {"status": "ok"},
        {"model": "a b"},
        {"channels": {"discord": {"bot_token": Secret("x")}}},
        {"channels": {"discord": {"BOT_TOKEN": "x"}}},
        {"integrations": ["a", "a"]},
        {"installed_at": datetime(2026, 1, 1)},
        {"installed_at": "2026-01-01"},
        {"installed_at": "2026-02-30T00:00:00Z"},
        {"installed_at": "0001-01-01T00:00:00+12:00"},
        {"installed_at": 12},
        {"onboarding": {"ready": StageResult(status="done")}},
        {"onboarding_state": "ready"},
        {"unknown": 1},
        {"release": ""},
    ],
)
def test_an_agent_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        an_agent(**change)


@pytest.mark.parametrize(
    "change",
    [{"address": "a b"}, {"address": "300.1.1.1"}, {"user": "-o"}, {"tags": ["a,b"]}, {"name": "a/b"}],
)
def test_a_host_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Host.model_validate({"name": "h", "address": "192.0.2.1", "user": "root"} | change)


def test_a_name_never_changes() -> None:
    host = Host(name="h", address="::1", user="root")
    for record in (host, an_agent(), Provider(name="p", type="ollama"), Integration(name="i", type="mcp")):
        with pytest.raises(ValidationError, match="frozen"):
            record.name = "other"
    host.address = "2001:db8::0:1"
    assert host.address == "2001:db8::1"


def test_an_assignment_is_checked_and_its_error_does_not_show_it() -> None:
    agent = an_agent()
    with pytest.raises(ValidationError) as caught:
        agent.port = "hunter2"  # type: ignore[assignment]
    assert "hunter2" not in str(caught.value)
    assert agent.port == 8642


def test_text_that_utf8_cannot_carry_is_neither_written_nor_read() -> None:
    def written(error: str) -> bytes | Defect:
        agents = {"m": an_agent(error=error)}
        return encode(HostsFile(hosts={"h": Host(name="h", address="::1", user="root", agents=agents)}))

    assert isinstance(written("lone \udcff"), Defect)
    whole = written("PLACE")
    assert isinstance(whole, bytes)
    assert isinstance(decode(HostsFile, whole.replace(b"PLACE", rb"\uD83D\uDE00")), HostsFile)
    assert isinstance(decode(HostsFile, whole.replace(b"PLACE", rb"\uD83D")), Defect)


def test_two_agents_of_a_host_have_two_ports() -> None:
    with pytest.raises(ValidationError, match="same port 8642"):
        Host(name="h", address="::1", user="root", agents={"a": an_agent(name="a"), "b": an_agent(name="b")})


def test_an_entry_has_the_name_of_its_key() -> None:
    defect = encode(HostsFile.model_construct(hosts={"a": Host(name="b", address="::1", user="root")}))
    assert defect == Defect("hosts: the entry 'a' says that its name is 'b'")


def test_records_with_a_name_that_was_reserved_later_are_read() -> None:
    reserved = min(RESERVED_ACCOUNTS)
    host = Host(name="h", address="::1", user="root", agents={reserved: an_agent(name=reserved)})
    content = encode(HostsFile(hosts={"h": host}))
    assert isinstance(content, bytes)
    assert isinstance(decode(HostsFile, content), HostsFile)


def test_a_moment_is_written_in_utc_with_z() -> None:
    east = datetime(2026, 5, 7, 14, tzinfo=timezone(timedelta(hours=2)))
    assert (
        json.loads(encode(ProvidersFile(providers={"p": Provider(name="p", type="t", created_at=east)})))["providers"][
            "p"
        ]["created_at"]
        == "2026-05-07T12:00:00Z"
    )


@pytest.mark.parametrize(
    "document",
    [
        HostsFile.model_construct(
            hosts={
                "h": Host.model_construct(
                    name="h",
                    address="::1",
                    user="root",
                    agents={"m": an_agent().model_copy(update={"error": Secret("S3")})},
                )
            }
        ),
        ProvidersFile.model_construct(
            providers={"p": Provider(name="p", type="t").model_copy(update={"options": {"url": Secret("S3")}})}
        ),
    ],
)
def test_a_secret_cannot_be_written_where_none_belongs(document: HostsFile | ProvidersFile) -> None:
    defect = encode(document)
    assert isinstance(defect, Defect)
    assert "S3" not in repr(defect)


def test_secrets_keep_their_history() -> None:
    secrets = SecretsFile()
    later = NOON + timedelta(days=1)
    scope = provider_scope("p")
    assert secrets.set(scope, "API_KEY", Secret("one"), description="paid", at=NOON)
    assert not secrets.set(scope, "API_KEY", Secret("one"), at=later)
    assert secrets.scopes[scope]["API_KEY"].updated_at == NOON
    assert secrets.set(scope, "API_KEY", Secret("two"), at=later)
    assert secrets.scopes[scope]["API_KEY"] == SecretEntry(
        value=Secret("two"), created_at=NOON, updated_at=later, description="paid"
    )
    assert secrets.set(scope, "API_KEY", Secret("two"), description="", at=later)
    assert secrets.of(scope) == {"API_KEY": Secret("two")}
    assert [(s, k) for s, k, _ in secrets.entries()] == [(scope, "API_KEY")]
    assert secrets.remove(scope, "API_KEY")
    assert not secrets.remove(scope, "API_KEY")
    assert secrets.scopes == {}
    assert not secrets.remove_scope(scope)


@pytest.mark.parametrize(
    ("scope", "key", "value"),
    [
        ("h:hermes", "K", "hunter2"),
        ("h:other:m", "K", "hunter2"),
        ("h:hermes:m:x", "K", "hunter2"),
        ("provider:", "K", "hunter2"),
        ("schema_version", "K", "hunter2"),
        ("provider:p", "hunter2", "v"),
        ("provider:p", "K\n", "hunter2"),
        ("provider:p", "K" * 129, "hunter2"),
        ("hunter2", "K", "v"),
        ("provider:p", "K", "hunter2\ud800"),
    ],
)
def test_a_secret_that_cannot_be_kept_is_refused_without_showing_it(scope: str, key: str, value: str) -> None:
    secrets = SecretsFile()
    with pytest.raises(StateInvalid) as caught:
        secrets.set(scope, key, Secret(value))
    assert "hunter2" not in str(caught.value)
    assert secrets.scopes == {}


def test_a_scope_is_made_of_names() -> None:
    assert agent_scope("wolf-i", "hermes-test") == "wolf-i:hermes:hermes-test"
    assert integration_scope("jira") == "integration:jira"
    with pytest.raises(InvalidName):
        agent_scope("a:b", "m")


def test_a_dump_of_secrets_is_redacted() -> None:
    secrets = SecretsFile()
    secrets.set("provider:p", "API_KEY", Secret("hunter2"))
    for text in (
        repr(secrets),
        str(secrets),
        secrets.model_dump_json(),
        str(secrets.model_dump(mode="json")),
    ):
        assert "hunter2" not in text
    assert secrets.to_plain()["provider:p"]["API_KEY"]["value"] == "hunter2"


def test_a_sealed_record_refuses_every_change() -> None:
    host = Host(name="h", address="::1", user="root", agents={"m": an_agent(channels={"discord": {"users": ["a"]}})})
    host.seal()
    changes = [
        lambda: setattr(host, "port", 1),
        lambda: setattr(host.agents["m"], "port", 1),
        lambda: host.agents.update({}),
        lambda: host.agents.pop("m"),
        lambda: host.agents.clear(),
        lambda: host.agents.__ior__({}),
        lambda: host.agents["m"].channels["discord"].setdefault("x", 1),
        lambda: host.agents["m"].channels["discord"]["users"].append("b"),
        lambda: host.agents["m"].channels["discord"]["users"].__iadd__(["b"]),
        lambda: host.agents["m"].channels["discord"]["users"].sort(),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="snapshot"):
            change()
    assert host.port == 22
    assert host.model_dump(mode="json")["agents"]["m"]["channels"] == {"discord": {"users": ["a"]}}


def test_a_copy_out_of_a_sealed_record_is_free() -> None:
    host = Host(name="h", address="::1", user="root", agents={"m": an_agent()}, tags=("a",)).seal()
    for free in (copy.copy(host.agents), copy.deepcopy(host.agents), pickle.loads(pickle.dumps(host.agents))):
        assert type(free) is dict
        free["n"] = an_agent(name="n")
    assert list(host.agents) == ["m"]
