"""Secrets that are kept elsewhere: what is on record says where, and only a use follows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyinfra_hermes.cli.specification import secrets_of
from pyinfra_hermes.cli.state.documents import Defect, decode, encode
from pyinfra_hermes.cli.state.errors import ApiKeyInvalid, StateInvalid
from pyinfra_hermes.cli.state.records import Provider, Reference, SecretEntry, SecretsFile
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.references import UnresolvedSecret

from .conftest import API_KEY

MOMENT = "2026-05-07T12:00:00Z"


def read(entry: dict[str, object]) -> SecretsFile | Defect:
    entry = {"created_at": MOMENT, "updated_at": MOMENT, "description": "", **entry}
    return decode(SecretsFile, json.dumps({"schema_version": 1, "provider:p": {"API_KEY": entry}}).encode())


def test_a_reference_is_kept_and_written_as_such(filled: State, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_KEY", "sk-resolved")
    with filled.transaction() as tx:
        assert tx.secrets.set("provider:cloud", "API_KEY", Reference("env:CLOUD_KEY"))
        assert not tx.secrets.set("provider:cloud", "API_KEY", Reference("env:CLOUD_KEY"))
    text = path.joinpath("secrets.json").read_text()
    entry = json.loads(text)["provider:cloud"]["API_KEY"]
    assert entry["reference"] == "env:CLOUD_KEY" and "value" not in entry
    snapshot = filled.read()
    assert snapshot.secret("provider:cloud", "API_KEY") == Secret("sk-resolved")
    with filled.transaction() as tx:
        assert tx.secret("provider:cloud", "API_KEY") == Secret("sk-resolved")
        tx.secrets.set("provider:cloud", "OTHER", Secret("x"))
    assert not any(b"sk-resolved" in file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_a_value_that_looks_like_a_reference_is_a_value(filled: State) -> None:
    with filled.transaction() as tx:
        tx.secrets.set("provider:cloud", "API_KEY", Secret("env:HOME"))
    assert filled.read().secret("provider:cloud", "API_KEY") == Secret("env:HOME")


def test_it_is_followed_at_use_and_once_for_a_snapshot(
    filled: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    with filled.transaction() as tx:
        tx.providers["cloud"] = Provider(name="cloud", type="custom", options={"url": "http://x", "model": "m"})
        tx.secrets.set("provider:cloud", "API_KEY", Reference(f"cmd:sh -c 'echo >>{calls}; echo sk-printed'"))
    snapshot = filled.read()
    assert snapshot.secrets.names("provider:cloud") == ("API_KEY",)
    assert not calls.exists()
    for _ in range(3):
        assert secrets_of(snapshot, snapshot.agent("hermes-test"))["api_key"] == Secret("sk-printed")
    assert calls.read_text() == "\n"
    assert secrets_of(filled.read(), snapshot.agent("hermes-test"))["api_key"] == Secret("sk-printed")
    assert calls.read_text() == "\n\n"


def test_a_reference_that_leads_nowhere_names_the_secret(filled: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUD_KEY", raising=False)
    with filled.transaction() as tx:
        tx.secrets.set("provider:cloud", "API_KEY", Reference("env:CLOUD_KEY"))
    with pytest.raises(UnresolvedSecret, match=r"^API_KEY: the environment variable CLOUD_KEY is not set$"):
        filled.read().secret("provider:cloud", "API_KEY")


def test_an_api_key_may_be_kept_elsewhere_and_is_checked_all_the_same(
    filled: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled.transaction() as tx:
        tx.secrets.set("wolf-i:hermes:hermes-test", "HERMES_API_SERVER_KEY", Reference("env:THE_KEY"))
    monkeypatch.setenv("THE_KEY", API_KEY)
    snapshot = filled.read()
    assert snapshot.api_key(snapshot.agent("hermes-test")) == Secret(API_KEY)
    monkeypatch.setenv("THE_KEY", "hunter2")
    snapshot = filled.read()
    with pytest.raises(ApiKeyInvalid):
        snapshot.api_key(snapshot.agent("hermes-test"))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "should have either a value or a reference"),
        ({"value": "hunter2", "reference": "env:X"}, "should have either a value or a reference"),
        ({"reference": "hunter2"}, "reference: give a reference"),
        ({"reference": 7}, "reference: input should be a valid string"),
        ({"value": None}, "should have either a value or a reference"),
    ],
)
def test_an_entry_has_one_of_both(entry: dict[str, object], says: str) -> None:
    outcome = read(entry)
    assert isinstance(outcome, Defect)
    assert says in outcome.what and "hunter2" not in outcome.what


def test_what_is_no_reference_cannot_be_kept_as_one() -> None:
    with pytest.raises(StateInvalid, match="Cannot keep this reference: give a reference") as caught:
        SecretsFile().set("provider:p", "API_KEY", Reference("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_going_from_a_value_to_a_reference_and_back_keeps_the_history() -> None:
    secrets = SecretsFile()
    secrets.set("provider:p", "API_KEY", Secret("one"), description="paid")
    first = secrets.scopes["provider:p"]["API_KEY"]
    secrets.set("provider:p", "API_KEY", Reference("op://v/i/f"))
    second = secrets.scopes["provider:p"]["API_KEY"]
    assert (second.value, second.reference, second.description) == (None, "op://v/i/f", "paid")
    assert second.created_at == first.created_at
    content = encode(secrets)
    assert isinstance(content, bytes) and b"one" not in content
    assert decode(SecretsFile, content) == secrets
    secrets.set("provider:p", "API_KEY", Secret("op://v/i/f"))
    assert secrets.scopes["provider:p"]["API_KEY"].reference is None


def test_an_entry_does_not_show_its_value() -> None:
    entry = SecretEntry.model_validate({"value": "hunter2", "created_at": MOMENT, "updated_at": MOMENT})
    assert "hunter2" not in repr(entry) + str(entry) + entry.model_dump_json()
