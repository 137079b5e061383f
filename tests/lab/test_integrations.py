"""Integrations in the real daemon: its model is offered their tools, and calls reach them with their secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml
from typing_extensions import override

from pyinfra_hermes.deploys.model.tools import MCP_ATLASSIAN
from tests.lab.clm import Clm, main_pid
from tests.lab.machine import Machine
from tests.lab.model import Reply, StandInModel, ToolCall
from tests.lab.serving import Asked, Server

AGENT = "worker"
CONFIG = f"/home/{AGENT}/.hermes/config.yaml"
TOKENS = f"/home/{AGENT}/.hermes/mcp-tokens"
TOKEN, TICKET, HEADER = "tk-${HOME}-4711 #'\"", "jira-pat-0815", "hd-2342"
PLAIN = "a b ${HOME} $x 'q'"


def signed_in(token: str) -> str:
    """What Hermes keeps of a sign-in in a browser."""
    return json.dumps({"access_token": token, "token_type": "Bearer", "refresh_token": "rt-1"})


#: A server over standard input and output, as small as the protocol lets it be.
SERVER = """\
import json, os, sys
TOOLS = [{"name": "reveal", "description": "Show what it was started with", "inputSchema": {"type": "object"}}]
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    if asked["method"] == "initialize":
        result = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "small", "version": "1"}}
    elif asked["method"] == "tools/list":
        result = {"tools": TOOLS}
    else:
        shown = {"args": sys.argv[1:], "token": os.environ.get("A_TOKEN"), "plain": os.environ.get("PLAIN"),
                 "api": os.environ.get("API_SERVER_KEY")}
        result = {"content": [{"type": "text", "text": json.dumps(shown)}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


class Services(Server):
    """What runs beside the hosts: a Jira that knows one token, and an MCP server over HTTP."""

    def __init__(self, address: str) -> None:
        #: Path and headers of each request.
        self.seen: list[tuple[str, dict[str, str]]] = []
        super().__init__(address, 0)
        self.url = f"http://{address}:{self.port}"

    @override
    def handle(self, asked: Asked) -> tuple[int, str, bytes]:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        status, data = self._answer(asked.path, headers, asked.raw)
        return status, "application/json", b"" if data is None else json.dumps(data).encode()

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.seen.append((path, headers))
        if path.startswith("/jira/"):
            known = headers.get("authorization") == f"Bearer {TICKET}"
            return (200, {"name": "maurice", "displayName": "Maurice"}) if known else (401, {"message": "who are you?"})
        if not body:
            return 405, None  # it pushes nothing, and keeps no session to end
        asked = json.loads(body)
        if path == "/signed":
            if headers.get("authorization") not in ("Bearer at-1", "Bearer at-2"):
                return 404, {}
        elif path != "/mcp" or headers.get("x-api-key") != HEADER:
            return 404, {}
        if asked.get("method") == "initialize":
            about = {"name": "web", "version": "2"}
            version = asked["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
        elif asked.get("method") == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("look", "leap")]
            result = {"tools": tools}
        else:
            return 202, None
        return 200, {"jsonrpc": "2.0", "id": asked["id"], "result": result}


@pytest.fixture(scope="module")
def services(_model_server: StandInModel) -> Iterator[Services]:
    """The services, at this machine's address on the lab's bridge."""

    with closing(Services(_model_server.address)) as found:
        yield found


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine, _model_server: StandInModel) -> Clm:
    """Someone with an agent that works with nothing yet, and whose user put a server of its own into config.yaml."""
    person = Clm(tmp_path_factory.mktemp("admin"))
    person.add_host(host)
    person.add_provider(_model_server)
    person.install(AGENT)
    person.configure(AGENT, "--provider", "local", "--skip-chat")
    foreign = "mcp_servers:\n  mine:\n    command: /bin/false  # by hand\n    enabled: false\n"
    host.ssh(f"cat >>{CONFIG}", input=foreign)
    return person


@pytest.fixture(scope="module")
def attached(clm: Clm, host: Machine, services: Services) -> Clm:
    """The same, and the agent works with four."""
    host.ssh("mkdir -p /opt/mcp && cat >/opt/mcp/small.py", input=SERVER)
    clm.run(
        "integration", "add", "small-one", "-t", "mcp-stdio", "--command", "python3", "--args",
        "/opt/mcp/small.py '${HOME} x' -y -y", "--env", f"PLAIN={PLAIN}", "--secret-env", "A_TOKEN",
        "--secret-stdin", "A_TOKEN", stdin=TOKEN,
    )  # fmt: skip
    clm.run(
        "integration", "add", "jira", "-t", "atlassian", "--url", f"{services.url}/jira/", "--products", "jira",
        "--projects", "WOLF,OPS", "--read-only", "--personal-token-stdin", stdin=TICKET,
    )  # fmt: skip
    clm.run(
        "integration", "add", "page", "-t", "mcp-http", "--url", f"{services.url}/mcp", "--secret-headers", "X-Api-Key",
        "--include", "look", "--secret-stdin", "X-Api-Key", stdin=HEADER,
    )  # fmt: skip
    clm.run(
        "integration", "add", "signed", "-t", "mcp-http", "--url", f"{services.url}/signed", "--oauth-tokens-stdin",
        stdin=signed_in("at-1"),
    )  # fmt: skip
    clm.run("agent", "integration", "add", AGENT, "small-one", "jira", "page", "signed")
    clm.run("agent", "memory-backend", "set", AGENT, "holographic", "--auto-extract")
    clm.configure(AGENT)
    return clm


def offered(model: StandInModel) -> set[str]:
    """The tools that the last question to the model brought along."""
    return {tool["function"]["name"] for tool in model.chats[-1].body["tools"]}


def config(host: Machine) -> Any:
    return yaml.safe_load(host.ssh("cat", CONFIG).stdout)


def test_a_command_that_the_host_lacks_is_refused_before_anything_is_written(clm: Clm, host: Machine) -> None:
    clm.run("integration", "add", "nowhere", "-t", "mcp-stdio", "--command", "mcp-of-nobody")
    clm.run("agent", "integration", "add", AGENT, "nowhere")
    before = main_pid(host, AGENT)
    done = clm.configure(AGENT, exit=5)
    assert "mcp-of-nobody was not found on this host" in done.stderr
    assert "integration nowhere needs it" in done.stderr
    assert "Install it on the host for all accounts: mcp-of-nobody" in done.stderr
    assert (list(config(host)["mcp_servers"]), main_pid(host, AGENT)) == (["mine"], before)
    assert "clm agent integration remove worker nowhere" in clm.run("integration", "remove", "nowhere", exit=3).stderr
    clm.run("agent", "integration", "remove", AGENT, "nowhere")
    clm.run("integration", "remove", "nowhere")


def test_the_model_is_offered_the_tools_of_every_integration(attached: Clm, model: StandInModel) -> None:
    attached.run("chat", AGENT, "--once", "what can you do?")
    tools = offered(model)
    assert {"mcp_small_one_reveal", "mcp_page_look", "mcp_jira_jira_search", "mcp_signed_look"} <= tools
    assert "mcp_page_leap" not in tools, "not among those to offer"
    assert "mcp_jira_jira_create_issue" not in tools, "read only"
    assert "fact_store" in tools, "the memory backend's"
    assert not [name for name in tools if name.startswith("mcp_mine_")]


def test_a_call_reaches_the_server_with_its_secret_and_no_other(attached: Clm, model: StandInModel) -> None:
    model.queue(Reply(tool_calls=(ToolCall("mcp_small_one_reveal"),)), "done")
    attached.run("chat", AGENT, "--once", "call it")
    [answer] = [message["content"] for message in model.chats[-1].messages if message["role"] == "tool"]
    shown = json.loads(json.loads(answer)["result"])
    assert shown == {"args": ["${HOME} x", "-y", "-y"], "token": TOKEN, "plain": PLAIN, "api": None}


def test_secrets_are_in_the_environment_file_only(attached: Clm, host: Machine) -> None:
    text = host.ssh("cat", CONFIG).stdout
    assert not [secret for secret in (TOKEN, TICKET, HEADER, "4711") if secret in text]
    assert "${MCP_JIRA__ATLASSIAN_PERSONAL_TOKEN}" in text
    seen = host.ssh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").stdout
    assert MCP_ATLASSIAN.program("mcp-atlassian") in seen
    assert not [secret for secret in (TICKET, HEADER, "4711") if secret in seen]


def test_the_toolchain_belongs_to_root_and_is_installed_once(attached: Clm, host: Machine) -> None:
    folder = f"/opt/pyinfra-hermes/tools/{MCP_ATLASSIAN.id}"
    assert host.ssh(f"cat {folder}/TOOL").stdout == f"{MCP_ATLASSIAN.id}\n"
    assert host.ssh(f"find {folder} ! -user root -o -perm /o+w ! -type l | head").stdout == ""
    before = host.ssh(f"stat -c %y {folder}/TOOL").stdout
    assert attached.configure(AGENT).stdout == f"Agent {AGENT} runs as configured; nothing to do.\n"
    assert host.ssh(f"stat -c %y {folder}/TOOL").stdout == before


def test_an_integration_is_tried_on_the_agents_host(attached: Clm, services: Services) -> None:
    tried = attached.json("integration", "test", "jira")
    assert tried["service"]["outcome"] == "ok"
    assert "jira_search" in [tool["name"] for tool in tried["server"]["tools"]]
    assert ("/jira/rest/api/2/myself", f"Bearer {TICKET}") in [
        (path, headers.get("authorization")) for path, headers in services.seen
    ]
    small = attached.run("integration", "test", "small-one")
    assert "small 1 offers 1 tools" in small.stdout
    assert "Show what it was started with" in small.stdout
    page = attached.json("integration", "test", "page")
    assert [tool["name"] for tool in page["server"]["tools"]] == ["look", "leap"]
    assert not [secret for secret in (TOKEN, TICKET, HEADER) if secret in small.output]


def test_tokens_of_a_sign_in_are_the_daemons_own_once_they_are_there(
    attached: Clm, host: Machine, services: Services
) -> None:
    def tokens() -> Any:
        return json.loads(host.ssh("cat", f"{TOKENS}/signed.json").stdout)["access_token"]

    def sent() -> set[str | None]:
        return {headers.get("authorization") for path, headers in services.seen if path == "/signed"}

    assert host.ssh(f"stat -c '%a %U' {TOKENS}/signed.json").stdout == f"600 {AGENT}\n"
    assert (tokens(), sent() - {None}) == ("at-1", {"Bearer at-1"})
    host.ssh(
        f"setpriv --reuid={AGENT} --regid={AGENT} --clear-groups tee {TOKENS}/signed.json", input=signed_in("at-x")
    )
    assert attached.configure(AGENT).stdout == f"Agent {AGENT} runs as configured; nothing to do.\n"
    assert attached.json("agent", "diff", AGENT) == []
    assert attached.json("agent", "status", AGENT)["drift"] == []
    assert tokens() == "at-x", "renewed by the daemon, as far as anyone can tell"

    attached.run("integration", "edit", "signed", "--oauth-tokens-stdin", stdin=signed_in("at-2"))
    told = attached.run("agent", "diff", AGENT, exit=None)
    assert "oauth_tokens of signed: to be written" in told.stdout
    attached.configure(AGENT)
    assert (tokens(), "Bearer at-2" in sent()) == ("at-2", True)
    assert host.ssh("stat -c '%a %U' /var/lib/pyinfra-hermes/worker.seeds").stdout == "600 root\n"


def test_a_wrong_token_is_noticed(attached: Clm) -> None:
    edited = attached.run("integration", "edit", "jira", "--personal-token-stdin", stdin="wrong-token-1")
    assert f"clm agent configure wolf-i/{AGENT}" in edited.stdout
    done = attached.run("integration", "test", "jira", exit=7)
    assert "appears to be invalid" in done.stderr
    assert "wrong-token-1" not in done.output
    attached.run("integration", "edit", "jira", "--personal-token-stdin", stdin=TICKET)


def test_detaching_takes_away_that_block_and_nothing_else(attached: Clm, host: Machine, model: StandInModel) -> None:
    done = attached.run("agent", "integration", "remove", AGENT, "small-one", "jira", "signed")
    assert f"clm agent configure {AGENT}" in done.stdout
    assert "onboarding incomplete (state=validate)" in attached.run("agent", "restart", AGENT, exit=3).stderr
    attached.run("agent", "memory-backend", "clear", AGENT)
    attached.configure(AGENT)
    there = config(host)
    assert list(there["mcp_servers"]) == ["mine", "page"]
    assert there["mcp_servers"]["mine"] == {"command": "/bin/false", "enabled": False}
    assert host.ssh(f"ls -A {TOKENS}; ls /var/lib/pyinfra-hermes").stdout == f"{AGENT}.leaves\n{AGENT}.receipts\n"
    assert "# by hand" in host.ssh("cat", CONFIG).stdout
    assert "hermes-memory-store" not in there.get("plugins", {})
    assert "provider" not in there.get("memory", {})
    env = host.ssh("cat", f"/home/{AGENT}/.hermes/.env").stdout
    assert "MCP_PAGE__X_API_KEY" in env
    assert not [name for name in ("MCP_JIRA", "MCP_SMALL_ONE", TICKET) if name in env]
    attached.run("chat", AGENT, "--once", "what is left?")
    left = {name for name in offered(model) if name.startswith("mcp_")}
    assert left == {"mcp_page_look"}
