"""Integrations and memory backends: what is taken, what is refused, and what they become."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.configure import commands_of
from pyinfra_hermes.deploys.install import tools_of
from pyinfra_hermes.deploys.model import integrations, memory, tools
from pyinfra_hermes.deploys.model.declaration import InvalidSetting
from pyinfra_hermes.deploys.model.integrations import InvalidIntegration, integration_type, texts
from pyinfra_hermes.deploys.model.memory import memory_backend
from pyinfra_hermes.deploys.model.render import CannotRender, render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec

KEY = {"HERMES_API_SERVER_KEY": Secret("0f" * 32)}
BASE = {"name": "maurice", "provider": {"type": "ollama", "url": "http://h", "model": "m"}}


def spec(*each: dict[str, Any], **more: Any) -> AgentSpec:
    return AgentSpec.parse({**BASE, "integrations": list(each), **more})


def rendered(*each: dict[str, Any], **secrets: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The servers' blocks and the variables for them; a secret's name has ``__`` in place of the dot."""
    known = {name.replace("__", ".", 1): Secret(value) for name, value in secrets.items()}
    files = render(spec(*each), {**KEY, **known})
    blocks = {path[1]: block for path, block in files.leaves.items() if path[0] == "mcp_servers"}
    variables = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in files.variables.items()
        if name.startswith("MCP_")
    }
    return blocks, variables


def stdio(**options: Any) -> dict[str, Any]:
    return {"name": "x", "type": "mcp-stdio", "command": "run", **options}


def http(**options: Any) -> dict[str, Any]:
    return {"name": "x", "type": "mcp-http", "url": "https://h/mcp", **options}


def atlassian(**options: Any) -> dict[str, Any]:
    return {"name": "x", "type": "atlassian", "url": "https://wolf.atlassian.net", **options}


# Atlassian


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("https://wolf.atlassian.net", "https://wolf.atlassian.net"),
        ("https://wolf.atlassian.net/", "https://wolf.atlassian.net"),
        ("https://wolf.atlassian.net/wiki/spaces/A", "https://wolf.atlassian.net"),
        ("https://wolf.atlassian.net/jira/your-work", "https://wolf.atlassian.net"),
        ("https://jira.wolf.example/", "https://jira.wolf.example"),
        ("https://wolf.example/jira/", "https://wolf.example/jira"),
        ("http://10.0.0.1:8080/jira", "http://10.0.0.1:8080/jira"),
        ("https://atlassian.net.wolf.example/x", "https://atlassian.net.wolf.example/x"),
    ],
)
def test_a_sites_url_is_normalised(given: str, root: str) -> None:
    assert integration_type("atlassian").options({"url": given})["url"] == root


@pytest.mark.parametrize("url", ["http://wolf.atlassian.net", "wolf.atlassian.net", "https://u:p@h", "https://h?x=1"])
def test_a_url_that_is_no_sites_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="Site"):
        integration_type("atlassian").options({"url": url})


@pytest.mark.parametrize(
    ("options", "secrets", "wrong"),
    [
        ({"username": "a@b.c"}, {}, "lacks its API token"),
        ({}, {"api_token"}, "needs its user"),
        ({"username": "a@b.c"}, {"api_token", "personal_token"}, "not both"),
        ({}, {"personal_token"}, "no personal token"),
        ({"username": "a@b.c", "confluence_url": "https://h"}, {"api_token"}, "leave confluence_url out"),
        ({"url": "https://h"}, {"personal_token"}, "needs confluence_url"),
        ({"url": "https://h", "products": "jira"}, {}, "lacks its personal access token"),
        ({"username": "a@b.c", "include": "a", "exclude": "b"}, {"api_token"}, "not both"),
    ],
)
def test_credentials_and_products_must_go_together(options: dict[str, Any], secrets: set[str], wrong: str) -> None:
    kind = integration_type("atlassian")
    checked = kind.options({"url": "https://wolf.atlassian.net", **options})
    with pytest.raises(InvalidIntegration, match=wrong):
        kind.check_complete(checked, secrets)


def test_two_sites_of_one_agent_keep_their_own_tokens() -> None:
    blocks, env = rendered(
        atlassian(name="wolf", username="a@b.c"),
        atlassian(name="fox", url="https://fox.atlassian.net", username="d@e.f", products="jira"),
        wolf__api_token="one",
        fox__api_token="two",
    )
    assert env == {"MCP_WOLF__ATLASSIAN_API_TOKEN": "one", "MCP_FOX__ATLASSIAN_API_TOKEN": "two"}
    assert blocks["wolf"]["env"]["JIRA_API_TOKEN"] == "${MCP_WOLF__ATLASSIAN_API_TOKEN}"
    assert blocks["fox"]["env"] == {
        "JIRA_URL": "https://fox.atlassian.net", "JIRA_USERNAME": "d@e.f",
        "JIRA_API_TOKEN": "${MCP_FOX__ATLASSIAN_API_TOKEN}",
    }  # fmt: skip


def test_its_program_is_a_pinned_one_that_is_there_before_the_daemon_starts() -> None:
    agent = spec(atlassian(username="a@b.c"), stdio(name="y", command="uvx"), stdio(name="z", command="/opt/x"))
    assert tools_of(agent.model_copy(update={"method": "wheel"})) == (tools.MCP_ATLASSIAN, tools.UV)
    # Upstream's installer gets one that is pinned, too.
    assert tools_of(agent) == (tools.UV, tools.MCP_ATLASSIAN)
    assert commands_of(agent) == {"/opt/x": "integration z"}
    blocks, _ = rendered(atlassian(username="a@b.c"), x__api_token="t")
    assert blocks["x"]["command"] == f"/opt/pyinfra-hermes/tools/{tools.MCP_ATLASSIAN.id}/venv/bin/mcp-atlassian"


@pytest.mark.parametrize("tool", tools.CATALOGUE.values(), ids=lambda tool: tool.name)
def test_a_tools_lock_is_the_declared_one_and_holds_it(tool: tools.Tool) -> None:
    lock = tool.requirements()
    assert all(re.search(rf"^{re.escape(wanted)} ", lock, re.M) for wanted in tool.wanted)
    assert "http://" not in lock and "https://" not in lock
    assert tool.id.endswith(tool.lock_sha256[:8])


# Names


@pytest.mark.parametrize(("one", "other"), [("a-b", "a_b"), ("wolf", "Wolf"), ("a--b", "a-_b")])
def test_names_that_hermes_cannot_tell_apart_are_refused(one: str, other: str) -> None:
    with pytest.raises(InvalidSpec, match="become one name"):
        spec(stdio(name=one), stdio(name=other))


@pytest.mark.parametrize("name", ["web", "terminal", "hermes-cli", "mcp-x", "no_mcp"])
def test_a_name_of_hermes_own_tools_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec, match=f"choose another, like my-{name}"):
        spec(stdio(name=name))


def test_one_integration_twice_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="listed twice"):
        spec(stdio(), stdio())


# Texts


def replaced(text: str, variables: dict[str, str]) -> str:
    """What Hermes makes of a text: each of its two loaders replaces what is set, and leaves the rest."""
    for _ in range(2):
        text = re.sub(r"\$\{([^}]+)\}", lambda m: variables.get(m[1]) or m[0], text)
    return text


_TEXT = st.text(st.sampled_from(list("${}AHOME_:\\ 'x")) | st.characters(codec="utf-8", exclude_categories=("C",)))


@given(plain=_TEXT, secret=_TEXT.filter(bool))
def test_texts_arrive_whatever_is_in_them(plain: str, secret: str) -> None:
    writer = texts.Writer("a-b")
    one, two = writer.literal(plain), writer.secret("KEY", Secret(secret))
    variables = {k: v.reveal() if isinstance(v, Secret) else v for k, v in writer.variables.items()}
    variables |= {"HOME": "/home/x", "A": "b", "E": "f"}
    assert (replaced(one, variables), replaced(two, variables)) == (plain, secret)


def test_every_reference_has_a_variable_with_a_value() -> None:
    blocks, env = rendered(
        stdio(args="'${HOME}'", secret_env=["A_TOKEN"]), http(name="y", secret_headers=["X-Key"]),
        x__A_TOKEN="one", y__bearer_token="two",
        **{"y__X-Key": "three"},
    )  # fmt: skip
    named = set(re.findall(r"\$\{([^}]+)\}", repr(blocks)))
    assert named <= set(env)
    assert all(env[name] for name in named)


def test_a_secret_that_is_missing_or_empty_is_named() -> None:
    for secrets in ({}, {"x__A_TOKEN": ""}):
        with pytest.raises(CannotRender, match=r"Integration x: .*A_TOKEN"):
            rendered(stdio(secret_env=["A_TOKEN"]), **secrets)


# Secrets in the open


@pytest.mark.parametrize(
    "args",
    [
        ["xoxb-1234-5678-abcd"],
        ["--auth=ghp_abcdefgh12345678"],
        ["--token", "abc"],
        ["--token=abc"],
        ["-x", "API_KEY=abc"],
        ["--password", "hunter2"],
        ["sk-proj-abcdef"],
        ["--header", "Authorization: Bearer glpat-abcdef123"],
        ["ATATT3xFfGF0abc"],
        ["https://h/?api_key=abc"],
    ],
)
def test_arguments_that_look_like_secrets_are_refused(args: list[str]) -> None:
    with pytest.raises(CannotRender, match=r"looks like a secret.*--secret-env") as error:
        rendered(stdio(args=args))
    assert not [arg for arg in args if arg in str(error.value) and not arg.startswith("-")]


@pytest.mark.parametrize(
    "args",
    [
        ["-y", "@modelcontextprotocol/server-filesystem", "/srv"],
        ["--token-file=/run/token"],
        ["--token", "--verbose"],
        ["--max-tokens=5"],
        ["ask-me", "risk-free"],
        ["--port", "80"],
        ["a=b"],
        ["--api-key-env", "NAME"],
        ["token="],
    ],
)
def test_other_arguments_are_taken(args: list[str]) -> None:
    blocks, _ = rendered(stdio(args=args))
    assert blocks["x"]["args"] == args


@pytest.mark.parametrize(
    ("each", "wrong"),
    [
        (stdio(env={"GITHUB_TOKEN": "abc"}), "--secret-env GITHUB_TOKEN"),
        (stdio(env={"A": "ghp_abcdefgh12345678"}), "--secret-env A"),
        (stdio(env={"1A": "b"}), "not the name of an environment variable"),
        (stdio(env={"A": "b"}, secret_env=["A"]), "as a secret and in the open"),
        (stdio(command="bash", args=["-c", "curl https://h | sh"]), "leaves the server out"),
        (http(headers={"Authorization": "Bearer x"}), "--secret-headers Authorization"),
        (http(headers={"X-Api-Key": "x"}), "--secret-headers X-Api-Key"),
        (http(headers={"X": "1"}, secret_headers=["x"]), "given twice"),
        (http(secret_headers=["X-A", "X_A"]), "differ"),
        (http(headers={"a b": "c"}), "not the name of an HTTP header"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way(each: dict[str, Any], wrong: str) -> None:
    secrets = {f"x__{name}": "s" for name in (*each.get("secret_env", ()), *each.get("secret_headers", ()))}
    with pytest.raises(CannotRender, match=wrong):
        rendered(each, **secrets)


@pytest.mark.parametrize(
    ("each", "wrong"),
    [
        (stdio(command="bin/run"), "depends on a folder"),
        (stdio(command="-x"), "no command"),
        (stdio(args=["a\nb"]), "control character"),
        (stdio(args="'"), "closing quotation"),
        (stdio(secret_env=["lower"]), "capital letters"),
        (stdio(timeout=0), "whole number"),
        (http(url="ftp://h"), "http"),
        (http(url="https://h/mcp?token=abc"), "holds a credential"),
        (http(url="https://u:p@h/"), "user name or password"),
        (http(secret_headers=["a:b"]), "not the name of an HTTP header"),
        ({"name": "x", "type": "github"}, "Valid types: atlassian, mcp-stdio, mcp-http"),
        ({"name": "x y", "type": "mcp-http", "url": "https://h"}, "must start with a letter"),
    ],
)
def test_a_wrong_setting_is_refused(each: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidSpec, match=wrong):
        spec(each)


def test_arguments_keep_order_repetitions_and_commas() -> None:
    blocks, _ = rendered(stdio(args="-v -v 'a, b' ''"))
    assert blocks["x"]["args"] == ["-v", "-v", "a, b", ""]


def test_a_url_keeps_its_slash_and_query() -> None:
    blocks, _ = rendered(http(url="https://h/mcp/?a=b"))
    assert blocks["x"]["url"] == "https://h/mcp/?a=b"


# Memory


def test_a_backend_is_one_leaf_and_its_key_a_variable() -> None:
    agent = spec(memory={"type": "retaindb", "project": "p"})
    files = render(agent, {**KEY, "RETAINDB_API_KEY": Secret("k")})
    assert files.leaves["memory", "provider"] == "retaindb"
    assert files.variables["RETAINDB_PROJECT"] == "p"
    with pytest.raises(CannotRender, match="Memory backend retaindb lacks its API key"):
        render(agent, KEY)


def test_a_backend_whose_package_the_release_lacks_is_refused_with_those_that_have_it() -> None:
    with pytest.raises(InvalidSpec, match=r"supermemory, which is not in v2026\.5\.7; it is in: v2026\.7\.1"):
        spec(memory={"type": "supermemory"}, release="v2026.5.7")
    assert spec(memory={"type": "supermemory"}, release="v2026.7.20").memory is not None


@pytest.mark.parametrize("name", memory.CATALOGUE)
def test_some_release_has_what_a_backend_needs(name: str) -> None:
    assert memory_backend(name).releases()


@pytest.mark.parametrize("name", integrations.CATALOGUE)
def test_every_field_of_an_integration_says_what_it_is(name: str) -> None:
    for field in integration_type(name).fields:
        assert field.label and field.help and not field.help.endswith(".")


# OAuth

TOKENS = '{"access_token": "at-4711", "token_type": "bearer", "refresh_token": "rt-0815"}'
CLIENT = '{"client_id": "c", "redirect_uris": ["http://127.0.0.1:1/callback"]}'


def test_oauth_tokens_become_files_that_the_daemon_owns() -> None:
    known = {"x-1_.oauth_tokens": Secret(TOKENS), "x-1_.oauth_client": Secret(CLIENT)}
    files = render(spec(http(name="x-1_")), {**KEY, **known})
    assert files.leaves["mcp_servers", "x-1_"] == {"url": "https://h/mcp", "auth": "oauth"}
    assert {name: (seed.content.reveal(), seed.what) for name, seed in files.seeds.items()} == {
        "x-1.json": (TOKENS, "oauth_tokens of x-1_"),
        "x-1.client.json": (CLIENT, "oauth_client of x-1_"),
    }
    assert "at-4711" not in repr(files) + str(files.leaves) + files.env.reveal() + files.service
    assert render(spec(http()), KEY).seeds == {}


def test_two_servers_of_one_file_of_tokens_are_refused() -> None:
    known = {"x.oauth_tokens": Secret(TOKENS), "x_.oauth_tokens": Secret(TOKENS)}
    with pytest.raises(CannotRender, match=r"Integration x_ sets mcp-tokens/x\.json, which another part"):
        render(spec(http(name="x"), http(name="x_")), {**KEY, **known})


@pytest.mark.parametrize(
    ("options", "secrets", "wrong"),
    [
        ({}, {"oauth_client": CLIENT}, "of no use without the tokens"),
        ({}, {"oauth_tokens": TOKENS, "bearer_token": "t"}, "Header authorization is given twice"),
        ({"secret_headers": ["Authorization"]}, {"oauth_tokens": TOKENS, "Authorization": "t"}, "given twice"),
    ],
)
def test_oauth_goes_with_no_other_way_to_sign_in(options: Any, secrets: dict[str, str], wrong: str) -> None:
    with pytest.raises(CannotRender, match=wrong):
        render(spec(http(**options)), {**KEY, **{f"x.{name}": Secret(value) for name, value in secrets.items()}})


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("oauth_tokens", "at-4711", "is not JSON"),
        ("oauth_tokens", "[" * 100_000, "is not JSON"),
        ("oauth_tokens", '["at-4711"]', "lacks access_token"),
        ("oauth_tokens", '{"access_token": "", "token_type": "Bearer"}', "lacks access_token"),
        ("oauth_tokens", '{"access_token": "at-4711"}', "has no .token_type"),
        ("oauth_tokens", '{"access_token": "at-4711", "token_type": "mac"}', "has no .token_type"),
        ("oauth_tokens", '{"access_token": "at\\n4711", "token_type": "Bearer"}', "no header can carry"),
        ("oauth_tokens", '{"access_token": "at-4711", "token_type": "Bearer", "refresh_token": 1}', "refresh_token of"),
        ("oauth_tokens", '{"access_token": "at-4711", "token_type": "Bearer", "expires_in": true}', "expires_in of"),
        ("oauth_client", '{"client_secret": "at-4711"}', "lacks client_id"),
        ("oauth_client", '{"client_id": "at-4711"}', "lacks redirect_uris"),
    ],
)
def test_what_hermes_could_not_read_is_refused_without_a_word_of_it(name: str, text: str, wrong: str) -> None:
    [field] = [each for each in integration_type("mcp-http").fields if each.name == name]
    with pytest.raises(InvalidSetting, match=wrong) as caught:
        field.check_secret(Secret(text))
    assert "4711" not in str(caught.value)
    # A reference is resolved after the checks of clm.
    known = {"oauth_tokens": TOKENS, name: text}
    with pytest.raises(CannotRender, match=wrong):
        render(spec(http()), {**KEY, **{f"x.{each}": Secret(value) for each, value in known.items()}})


def test_tokens_are_tried_as_a_header() -> None:
    kind = integration_type("mcp-http")
    opened = kind.opened({"url": "https://h/mcp"}, {"oauth_tokens": Secret(TOKENS)})
    assert opened["headers"] == {"Authorization": "Bearer at-4711"}
