"""``clm provider``: added, shown, edited; what an edit voids; what is refused before anybody is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state.records import Agent, Host, StageResult
from pyinfra_hermes.cli.state.store import State
from tests.lab.clm import Clm

BEDROCK = ("--type", "bedrock", "--region", "eu-central-1", "--model", "amazon.nova-pro-v1:0")


@pytest.fixture
def clm(tmp_path: Path) -> Clm:
    """Somebody with a provider of OpenAI's that a ready agent uses."""
    person = Clm(tmp_path)
    person.run("provider", "add", "cloud", "--type", "openai", "--model", "gpt-5.2", "--api-key-stdin", stdin="sk-1")
    with State.open(person.state).transaction() as tx:
        agent = Agent(name="maurice", release="v2026.5.7", port=8642, status="installed", provider="cloud")
        for stage in ("providers", "identity", "channels", "validate"):
            agent.onboarding[stage] = StageResult(status="done")  # type: ignore[index]
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root", agents={"maurice": agent})
    return person


def proven(clm: Clm) -> bool:
    return "validate" in clm.document("hosts.json")["hosts"]["wolf-i"]["agents"]["maurice"]["onboarding"]


def test_types_are_shown_with_their_fields(clm: Clm) -> None:
    rows = {row["name"]: row for row in clm.json("provider", "types")}
    assert rows["vertex"]["since"] == "v2026.7.1"
    assert rows["openai"]["since"] == "v2026.5.7"
    fields = {f["name"]: f for f in clm.json("provider", "types", "bedrock")["fields"]}
    assert (fields["region"]["required"], fields["region"]["secret"]) == (True, False)
    assert (fields["bearer_token"]["required"], fields["bearer_token"]["secret"]) == (False, True)
    assert "--bearer-token-stdin" in clm.run("provider", "types", "bedrock").stdout


def test_an_edit_names_its_agents_and_voids_their_proof(clm: Clm) -> None:
    same = clm.run("provider", "edit", "cloud", "--model", "gpt-5.2", "--api-key-stdin", stdin="sk-1")
    assert same.stdout == "Provider 'cloud' is like that already; nothing was changed.\n"
    assert proven(clm)
    edited = clm.run("provider", "edit", "cloud", "--model", "gpt-6")
    assert "wolf-i:hermes:maurice" in edited.stdout
    assert "clm agent configure wolf-i/maurice" in edited.stdout
    assert not proven(clm)
    assert clm.json("provider", "show", "cloud")["options"] == {"model": "gpt-6"}


def test_a_new_key_voids_the_proof_and_is_never_shown(clm: Clm) -> None:
    edited = clm.run("provider", "edit", "cloud", "--api-key-stdin", stdin="sk-hunter2\n")
    assert not proven(clm)
    shown = clm.run("provider", "show", "cloud").stdout + clm.run("provider", "list", "-o", "json").stdout
    assert "hunter2" not in edited.output + shown
    assert "API_KEY" in shown
    assert clm.document("secrets.json")["provider:cloud"]["API_KEY"]["value"] == "sk-hunter2"


def test_an_edit_is_whole_or_not_at_all(clm: Clm) -> None:
    before = (clm.state / "providers.json").read_bytes(), (clm.state / "secrets.json").read_bytes()
    for args, stdin, said in (
        (("--model", "no good", "--api-key-stdin"), "sk-2", "Model"),
        (("--region", "eu-central-1"), None, "Provider cloud (openai) has no field 'region'"),
        (("--unset", "api_key"), None, "Provider type openai lacks its API key"),
        (("--unset", "model"), None, "Provider type openai needs Model"),
        (("--unset", "colour"), None, "has no field 'colour'; it has model, api_key"),
        (("--model", "gpt-6", "--unset", "model"), None, "Model is both given and unset"),
        ((), None, "No changes specified"),
    ):
        refused = clm.run("provider", "edit", "cloud", *args, stdin=stdin, exit=2)
        assert said in refused.stderr, refused
    assert ((clm.state / "providers.json").read_bytes(), (clm.state / "secrets.json").read_bytes()) == before
    assert proven(clm)


def test_from_an_access_key_to_a_bearer_token(clm: Clm, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("AKIALABLABLABLAB\n")
    add = ("provider", "add", "aws", *BEDROCK)
    assert "lacks its credentials" in clm.run(*add, exit=2).stderr
    clm.run(*add, "--access-key-id-file", str(tmp_path / "id"), "--secret-access-key-stdin", stdin="s/e+c")
    edit = ("provider", "edit", "aws", "--bearer-token-stdin")
    assert "an access key or a bearer token, not both" in clm.run(*edit, stdin="ABSKx", exit=2).stderr
    clm.run(*edit, "--unset", "access-key-id", "--unset", "secret-access-key", stdin="ABSKx")
    assert list(clm.document("secrets.json")["provider:aws"]) == ["AWS_BEARER_TOKEN_BEDROCK"]


def test_a_key_that_stays_where_it_is(clm: Clm) -> None:
    clm.run("provider", "edit", "cloud", "--api-key-reference", "env:LAB_KEY")
    kept = clm.document("secrets.json")["provider:cloud"]["API_KEY"]
    assert "env:LAB_KEY" in json.dumps(kept)
    assert "sk-1" not in json.dumps(kept)
    refused = clm.run("provider", "test", "cloud", exit=1)
    assert "the environment variable LAB_KEY is not set" in refused.stderr


def test_a_service_that_does_not_list_its_models_is_not_asked(clm: Clm) -> None:
    add = ("provider", "add", "mine", "--type", "azure", "--url", "https://r.openai.azure.com", "--model", "d")
    clm.run(*add, "--api-key-stdin", stdin="k")
    assert "Azure does not tell which models can be used" in clm.run("provider", "models", "mine", exit=3).stderr
