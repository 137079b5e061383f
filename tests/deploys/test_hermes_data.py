"""Host data of ``deploys/hermes.py``: what cannot be used is said in one line, and no secret is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from pyinfra_hermes.deploys import overlaying
from pyinfra_hermes.deploys.hermes import checked
from pyinfra_hermes.deploys.model.manifests import overlay_from
from pyinfra_hermes.deploys.model.releases import manifest
from tests.channels import DISCORD_TOKEN

PROVIDER = {"type": "ollama", "url": "http://192.0.2.1:11434", "model": "m"}


@pytest.fixture
def key(tmp_path: Path) -> dict[str, str]:
    """A reference to a key that can be used."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text("a" * 64 + "\n")
    return {"HERMES_API_SERVER_KEY": f"file:{path}"}


def test_good_data_is_given_back(key: dict[str, str]) -> None:
    hosts: Any = [
        "no-data",
        ("none", {}),
        ("wolf", {"hermes_agents": [{"name": "a", "provider": PROVIDER, "secrets": key}, {"name": "b", "port": 8643}]}),
    ]
    assert checked(hosts) is hosts


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ([{"name": "a", "provider": {**PROVIDER, "type": "openia"}}], "a: provider: Invalid provider type 'openia'"),
        ([{"name": "a", "provider": {"type": "ollama"}}], "needs API URL"),
        ([{"name": "a", "provider": PROVIDER}], "Agent a: HERMES_API_SERVER_KEY is missing"),
        ([{"name": "a", "secrets": {"HERMES_API_SERVER_KEY": "file:/nowhere"}}], "/nowhere does not exist. Make it"),
        ([{"name": "a", "secrets": {"HERMES_API_SERVER_KEY": "hunter2"}}], "give a reference"),
        ([{"name": "a", "secrets": {"HERMES_API_SERVER_KEY": 2222}}], "give a reference"),
        ([{"name": "a", "secrets": {"HERMES_API_SERVER_KEY": "env:NOT_THERE"}}], "NOT_THERE is not set"),
        ([{"name": "a", "secrets": ["hunter2"]}], "a: secrets must be a mapping"),
        ([{"name": "a"}, {"name": "b"}], "agents a and b have the same port 8642"),
        ([{"name": "a"}, {"name": "a", "port": 8643}], "agents a and a have the same name a"),
        ([{"name": "Root"}], "must start with a lowercase letter"),
        ([{"name": "a", "colour": "hunter2"}], "a: colour: Extra inputs are not permitted"),
        ({"name": "a"}, "hermes_agents must be a list of mappings"),
        (["a"], "hermes_agents must be a list of mappings"),
        ("hunter2", "hermes_agents must be a list of mappings"),
        (3, "hermes_agents must be a list of mappings"),
    ],
)
def test_bad_data_is_one_line_that_names_the_host(agents: object, said: str) -> None:
    with pytest.raises(PyinfraError) as caught:
        checked([("quiet", {}), ("wolf", {"hermes_agents": agents})])
    text = str(caught.value)
    assert text.startswith("wolf: ")
    assert said in text
    assert text.count("wolf: ") == 1
    assert "\n" not in text
    assert "hunter2" not in text


def test_a_key_that_others_can_read_is_refused(key: dict[str, str]) -> None:
    path = Path(key["HERMES_API_SERVER_KEY"].removeprefix("file:"))
    path.chmod(0o640)
    with pytest.raises(PyinfraError, match=f"chmod 600 {path}"):
        checked([("wolf", {"hermes_agents": [{"name": "a", "provider": PROVIDER, "secrets": key}]})])


def test_a_bot_that_two_hosts_share_is_refused_by_the_agents_names(key: dict[str, str], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(DISCORD_TOKEN)

    def agent(name: str, port: int = 8642) -> dict[str, Any]:
        secrets = {**key, "DISCORD_BOT_TOKEN": f"file:{token}"}
        return {"name": name, "port": port, "provider": PROVIDER, "channels": {"discord": {}}, "secrets": secrets}

    checked([("wolf", {"hermes_agents": [agent("a")]}), ("fox", {"hermes_agents": [{"name": "b", "secrets": key}]})])
    for hosts in (
        [("wolf", {"hermes_agents": [agent("a")]}), ("fox", {"hermes_agents": [agent("b")]})],
        [("wolf", {"hermes_agents": [agent("a"), agent("b", 8643)]})],
    ):
        with pytest.raises(PyinfraError, match=r"wolf/a and .*/b have the same Bot token in channel discord") as caught:
            checked(hosts)  # type: ignore[arg-type]
        assert DISCORD_TOKEN not in str(caught.value)


@pytest.fixture
def _nothing_laid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(overlaying, "_laid", [])
    yield
    overlay_from(None)


def _data(file: object) -> dict[str, Any]:
    return {"hermes_manifest": file, "hermes_agents": [{"name": "a", "release": "2026.9.1"}]}


@pytest.mark.usefixtures("_nothing_laid")
def test_an_inventory_may_bring_releases_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "releases.yaml"
    file.write_text(f"releases: [{{tag: v2026.9.1, installer_sha256: {'a' * 64}}}]")
    hosts: Any = [("wolf", _data(str(file))), ("den", _data(file))]
    assert checked(hosts) is hosts
    assert manifest().newest.tag == "v2026.9.1"
    with pytest.raises(PyinfraError, match=r"fox: hermes_manifest is .*other\.yaml, and .*releases\.yaml for another"):
        checked([("fox", _data(tmp_path / "other.yaml"))])


@pytest.mark.usefixtures("_nothing_laid")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"wolf: hermes_manifest .*releases\.yaml: No such file"),
        (b"\xff", r"wolf: hermes_manifest .*releases\.yaml: it is not UTF-8"),
        (b"default: v1.1.1", r"wolf: hermes_manifest: .*releases\.yaml line 1: the default v1\.1\.1 is not listed"),
        (b"{}", r"wolf: a: release: Release '2026\.9\.1' is not in the manifest"),
    ],
)
def test_releases_that_cannot_be_used_are_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "releases.yaml").write_bytes(content)
    with pytest.raises(PyinfraError, match=said):
        checked([("wolf", _data(tmp_path / "releases.yaml"))])


@pytest.mark.usefixtures("_nothing_laid")
def test_releases_are_named_by_a_path() -> None:
    with pytest.raises(PyinfraError, match="wolf: hermes_manifest must be the path of a file"):
        checked([("wolf", _data({"a": 1}))])


@pytest.mark.parametrize("given", [{"hermes_installer_base": "ftp://x"}, {"hermes_repository": "git@github.com:x/y"}])
def test_an_address_of_upstream_that_cannot_be_used_is_refused_before_a_connection(given: dict[str, str]) -> None:
    with pytest.raises(PyinfraError, match=r"wolf: the (base of installers|repository), "):
        checked([("wolf", {"hermes_agents": [], **given})])
