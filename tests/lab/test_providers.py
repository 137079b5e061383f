"""Every provider on the wire: the real daemon, configured by ``clm``, sends its chat where it belongs, with its key.

The services are stand-ins with certificates of an authority that the host trusts; their names are in its hosts file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pyinfra_hermes.deploys.model.releases import manifest
from tests.lab.clm import Clm, built_release
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.services import AZURE, NAMES, REGION, Authority, Services, is_signed
from tests.lab.serving import Asked

AGENT = "maurice"
#: An agent of the newest release, for what the default one lacks.
NEWEST = "vera"
_TRUST = "/usr/local/share/ca-certificates/lab.crt"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# Python programs bring certificates of their own; these variables have them use the host's, as its owner would.
_DROPIN = f"[Service]\nEnvironment=SSL_CERT_FILE={_BUNDLE} AWS_CA_BUNDLE={_BUNDLE} REQUESTS_CA_BUNDLE={_BUNDLE}\n"


@dataclass(frozen=True)
class Case:
    """A provider as a person gives it, and what must come of it."""

    type: str
    model: str
    key: str
    host: str
    #: Where the chat goes.
    path: str
    #: Where the key is in it; None for a signature.
    header: str | None
    flag: str = "--api-key-stdin"
    options: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def record(self) -> str:
        """What it is called on record."""
        return self.name or self.type


_BEDROCK = ("--region", REGION)
_CLAUDE = "eu.anthropic.claude-sonnet-4-6-v1:0"
_NOVA = "amazon.nova-pro-v1:0"
_RUNTIME = f"bedrock-runtime.{REGION}.amazonaws.com"
CASES = (
    Case(
        "openrouter", "anthropic/claude-sonnet-4.6", "sk-or-v1-lab", "openrouter.ai", "/api/v1/chat/completions",
        "authorization",
    ),
    Case("anthropic", "claude-sonnet-4-6", "sk-ant-api03-lab", "api.anthropic.com", "/v1/messages", "x-api-key"),
    Case("openai", "gpt-5.2", "sk-proj-lab", "api.openai.com", "/v1/responses", "authorization"),
    Case(
        "bedrock", _CLAUDE, "lab/secret+access/key", _RUNTIME, "/model/eu.anthropic.claude-sonnet-4-6-v1", None,
        "--secret-access-key-stdin", _BEDROCK, {"access-key-id": "AKIALABLABLABLAB"}, "bedrock-claude",
    ),
    Case(
        "bedrock", _NOVA, "lab/temporary+secret", _RUNTIME, "/model/amazon.nova-pro-v1%3A0/converse", None,
        "--secret-access-key-stdin", _BEDROCK, {"access-key-id": "ASIALABLABLABLAB", "session-token": "lab-session"},
        "bedrock-session",
    ),
    Case(
        "bedrock", _NOVA, "ABSKlabbearer", _RUNTIME, "/model/amazon.nova-pro-v1%3A0/converse", "authorization",
        "--bearer-token-stdin", _BEDROCK, name="bedrock-bearer",
    ),
    Case(
        "gemini", "gemini-3-pro-preview", "AIzaLab", "generativelanguage.googleapis.com",
        "/v1beta/models/gemini-3-pro-preview:", "x-goog-api-key",
    ),
    Case("zai", "glm-5", "lab-glm-key", "api.z.ai", "/api/paas/v4/chat/completions", "authorization"),
    Case(
        "azure", "my-gpt-4o", "labazurekey", AZURE, "/openai/v1/chat/completions", "authorization",
        options=("--url", f"https://{AZURE}"),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def services(lab: Lab, authority: Authority) -> Iterator[Services]:
    """All services, where the host finds them."""
    found = Services(lab.run.bridge.address, 443, authority.context(*NAMES))
    yield found
    found.close()


@pytest.fixture(scope="module")
def host(lab: Lab, hosts: Callable[..., list[Machine]], authority: Authority) -> Machine:
    """A host that finds the services under their names and trusts their certificates; the release is there."""
    [machine] = hosts(1, layer=built_release(lab))
    lines = "".join(f"{lab.run.bridge.address} {name}\n" for name in NAMES)
    machine.ssh("sh", "-c", "cat >>/etc/hosts", input=lines)
    machine.ssh("sh", "-c", f"cat >{_TRUST} && update-ca-certificates", input=authority.pem)
    for agent in (AGENT, NEWEST):
        folder = f"/etc/systemd/system/hermes-{agent}.service.d"
        machine.ssh("sh", "-c", f"mkdir -p {folder} && cat >{folder}/lab.conf", input=_DROPIN)
    return machine


@pytest.fixture(scope="module")
def clm(tmp_path_factory: pytest.TempPathFactory, host: Machine) -> Clm:
    """Someone with an installed agent."""
    person = Clm(tmp_path_factory.mktemp("admin"))
    person.add_host(host)
    person.install(AGENT)
    return person


def add(clm: Clm, case: Case, folder: Path) -> None:
    files = []
    for name, value in case.files.items():
        (folder / name).write_text(value)
        files += [f"--{name}-file", str(folder / name)]
    known = [each["name"] for each in clm.json("provider", "list")]
    if case.record not in known:
        clm.run(
            "provider", "add", case.record, "--type", case.type, "--model", case.model, *case.options, *files,
            case.flag, stdin=case.key,
        )  # fmt: skip


def carries(asked: Asked, case: Case) -> bool:
    """Whether a request has the key where the service looks for it."""
    if case.header is None:
        return is_signed(asked, case.key) and asked.header("x-amz-security-token") == case.files.get("session-token")
    return str(asked.header(case.header)).removeprefix("Bearer ") == case.key


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.record)
def test_a_chat_arrives(clm: Clm, host: Machine, services: Services, tmp_path: Path, case: Case) -> None:
    add(clm, case, tmp_path)
    services.expect(case.host, case.key, case.model)
    assert "answer" in clm.run("provider", "test", case.record, "--agent", AGENT).stdout
    # Its last step is a chat with the agent.
    clm.configure(AGENT, "--provider", case.record)
    asked = [each for each in services.asked if not str(each.header("user-agent")).startswith("curl/")]
    chats = [each for each in asked if each.method == "POST" and each.path.startswith(case.path)]
    assert chats, [(each.host, each.method, each.path) for each in asked]
    for chat in chats:
        assert chat.host == case.host
        assert carries(chat, case)
        assert case.model in (*unquote(chat.path).split("/"), chat.body.get("model"), case.path.split("/")[-1][:-1])
    # Hermes asks around for what it can learn about models; the key goes to its own service only.
    assert {each.host for each in asked if case.key in str(each.headers)} <= {case.host}
    # Nothing of another provider is left, wherever the daemon keeps what it was given.
    others = "\n".join(value for each in CASES if each.key != case.key for value in (each.key, *each.files.values()))
    search = ("grep", "-rlaF", "-f", "-", f"/home/{AGENT}/.hermes")
    assert f"/home/{AGENT}/.hermes/.env" in host.ssh(*search, input=case.key).stdout.splitlines()
    assert host.ssh(*search, input=others, check=False).stdout == ""


@pytest.fixture(scope="module")
def person(clm: Clm, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Clm:
    """The same with a provider on record that is not asked for a chat."""
    add(clm, OPENAI, tmp_path_factory.mktemp("keys"))
    return clm


OPENAI = next(case for case in CASES if case.type == "openai")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((200, "<html>Sign in</html>", "text/html"), "html"),
        ((200, "hello", "text/plain"), "not-json"),
        ((302, "", "text/html"), "redirected"),
        ((402, "{}", "application/json"), "no-credit"),
        ((403, '{"error": {"message": "no such right"}}', "application/json"), "forbidden"),
        ((429, "{}", "application/json"), "rate-limited"),
        ((503, "<html>Overloaded</html>", "text/html"), "broken"),
    ],
)
def test_a_refusal_is_told_as_what_it_is(
    person: Clm, services: Services, answer: tuple[int, str, str], outcome: str
) -> None:
    services.expect(OPENAI.host, OPENAI.key, OPENAI.model)
    services.answer(*answer)
    assert person.json("provider", "test", "openai", "--agent", AGENT, exit=7)["outcome"] == outcome


def test_a_wrong_key_and_a_model_that_there_is_not(person: Clm, services: Services) -> None:
    services.expect(OPENAI.host, "sk-another", OPENAI.model)
    refused = person.run("provider", "test", "openai", "--agent", AGENT, exit=7)
    assert "API key for 'OpenAI' appears to be invalid. Check your API key is correct." in refused.stderr
    assert "clm provider edit openai" in refused.stderr
    services.expect(OPENAI.host, OPENAI.key, "another-model")
    refused = person.run("provider", "test", "openai", "--agent", AGENT, exit=7)
    assert f"OpenAI has no model {OPENAI.model!r}" in refused.stderr
    assert person.run("provider", "models", "openai", "--agent", AGENT).stdout == "another-model\n"
    assert OPENAI.key not in refused.output


def test_what_keeps_a_service_from_answering_is_told(
    person: Clm, lab: Lab, authority: Authority, services: Services
) -> None:
    # This machine knows neither the names of the stand-ins nor their authority; the host knows both.
    assert person.json("provider", "test", "openai", exit=1)["outcome"] == "dns"
    address = lab.run.bridge.address
    known = Services(address, 0, authority.context(address))
    unknown = Services(address, 0, authority.context(address, trusted=False))
    known.expect(address, "k", "m")
    try:
        for name, port in (("known", known.port), ("unknown", unknown.port), ("closed", 1)):
            url = f"https://{address}:{port}"
            person.run(
                "provider", "add", name, "--type", "custom", "--url", url, "--model", "m", "--api-key-stdin", stdin="k"
            )
        there = {name: ("provider", "test", name, "--agent", AGENT) for name in ("known", "unknown", "closed")}
        assert person.json(*there["known"])["outcome"] == "ok"
        assert person.json("provider", "test", "known", exit=1)["outcome"] == "untrusted"
        assert person.json(*there["unknown"], exit=1)["outcome"] == "self-signed"
        assert person.json("provider", "test", "unknown", exit=1)["outcome"] == "self-signed"
        assert person.json(*there["closed"], exit=1)["outcome"] == "refused"
        assert person.json("provider", "test", "closed", exit=1)["outcome"] == "refused"
    finally:
        known.close()
        unknown.close()


def test_vertex_by_the_newest_release(clm: Clm, host: Machine, services: Services, tmp_path: Path) -> None:
    signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = signer.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account", "project_id": "lab-project", "private_key": pem.decode(), "private_key_id": "1",
        "client_email": "a@lab-project.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    (tmp_path / "account.json").write_text(json.dumps(account, indent=2))
    model, kept = "google/gemini-3-pro-preview", f"/home/{NEWEST}/.hermes/credentials/vertex.json"
    clm.run(
        "provider", "add", "vertex", "--type", "vertex", "--model", model,
        "--service-account-file", str(tmp_path / "account.json"),
    )  # fmt: skip
    refused = clm.configure(AGENT, "--provider", "vertex", exit=2).stderr
    assert "Provider type vertex is not in Hermes v2026.5.7; it needs v2026.7.1 or later" in refused
    newest = manifest().releases[-1].tag
    clm.run("agent", "install", "--type", "hermes", "--host", "wolf-i", "--name", NEWEST, "--release", newest)
    services.expect("aiplatform.googleapis.com", "ya29.lab", model)
    assert clm.json("provider", "test", "vertex", "--agent", NEWEST, exit=7)["outcome"] == "unauthorized"
    services.grant(signer.public_key(), "ya29.lab")
    clm.configure(NEWEST, "--provider", "vertex")
    place = "/v1beta1/projects/lab-project/locations/global/endpoints/openapi/chat/completions"
    chats = [asked for asked in services.asked if (asked.host, asked.path) == ("aiplatform.googleapis.com", place)]
    assert chats
    assert {(chat.header("authorization"), chat.body["model"]) for chat in chats} == {("Bearer ya29.lab", model)}
    assert host.ssh("stat", "--format=%a %U", kept).stdout == f"600 {NEWEST}\n"
    # With another provider the file is gone; that one is proven with this release, too.
    services.expect(OPENAI.host, OPENAI.key, OPENAI.model)
    add(clm, OPENAI, tmp_path)
    clm.configure(NEWEST, "--provider", "openai")
    assert {(chat.host, chat.path) for chat in services.chats if "input" in chat.body} == {(OPENAI.host, OPENAI.path)}
    assert host.ssh("test", "-e", kept, check=False).returncode == 1
