"""Every channel as we render it is one that the real gateway of each release would start, for the right people."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pyinfra_hermes.deploys.model.channels import CATALOGUE
from pyinfra_hermes.deploys.model.releases import Release
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.operations.files import config_request

from ..channels import DISCORD_TOKEN, SAMPLES, SERVICE_ACCOUNT
from .releases import on_every_release

WRITE = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text()
KEY = "0f" * 32


class Files:
    """What is on a host, after each of several applies: config.yaml goes through the writer that hosts have."""

    def __init__(self, python: Path, folder: Path, release: Release) -> None:
        self.python, self.release = python, release
        self.config = folder / "rendered.yaml"
        self.cases: list[dict[str, Any]] = []

    def apply(
        self, channels: Mapping[str, Mapping[str, Any]], secrets: Mapping[str, str], users: tuple[str, ...] = ()
    ) -> None:
        spec = AgentSpec.parse(
            {
                "name": "maurice",
                "release": self.release.tag,
                "provider": {"type": "ollama", "url": "http://h", "model": "m"},
                "channels": {name: dict(options) for name, options in channels.items()},
            }
        )
        checked = {
            f.key: f.check_secret(Secret(secrets[f.key]))
            for name in channels
            for f in CATALOGUE[name].secrets
            if f.key in secrets
        }
        files = render(spec, {"HERMES_API_SERVER_KEY": Secret(KEY), **checked})
        before = [tuple(path) for path in self.cases[-1]["leaves"]] if self.cases else []
        wanted = config_request(
            str(self.config), files.leaves, (*files.absent_leaves, *(p for p in before if p not in files.leaves))
        )
        subprocess.run([str(self.python), "-I", "-c", WRITE], input=wanted, text=True, check=True)
        self.cases.append(
            {
                "env": files.env.reveal(),
                "config": self.config.read_text(encoding="utf-8"),
                "users": users,
                "leaves": list(files.leaves),
            }
        )


def _secrets(name: str) -> dict[str, str]:
    return {f.key: SAMPLES[name].secrets[f.name] for f in CATALOGUE[name].secrets if f.name in SAMPLES[name].secrets}


def _available(release: Release) -> list[str]:
    return [name for name in SAMPLES if (feature := CATALOGUE[name].feature) is None or release.has(feature)]


def _blocked_by_the_user(python: Path, folder: Path, release: Release) -> Files:
    """A config.yaml of the user's own turns the channels off; what clm was told counts."""
    files = Files(python, folder, release)
    files.config.write_text("slack: {enabled: false}\ndiscord: {enabled: false, require_mention: true}\n")
    files.config.chmod(0o600)
    everybody = {name: {"allow_all_users": True} for name in ("discord", "slack")}
    files.apply(everybody, {**_secrets("discord"), **_secrets("slack")}, ("1",))
    return files


@on_every_release()
def test_the_gateway_starts_what_is_on_and_nothing_else(
    in_hermes: Callable[..., Any], hermes_python: Path, tmp_path: Path, release: Release
) -> None:
    names = _available(release)
    files = Files(hermes_python, tmp_path, release)
    for name in names:
        sample = SAMPLES[name]
        files.apply({name: sample.options}, _secrets(name), (sample.allowed, sample.stranger))
    # All at once, then Slack off with its tokens still on record, then none.
    everything = {key: value for name in names for key, value in _secrets(name).items()}
    files.apply({name: SAMPLES[name].options for name in names}, everything)
    files.apply({name: SAMPLES[name].options for name in names if name != "slack"}, everything)
    files.apply({}, everything)
    blocked = _blocked_by_the_user(hermes_python, tmp_path, release)
    star, nobody = (Files(hermes_python, tmp_path, release) for _ in range(2))
    star.apply({"discord": {"allowed_users": ["*"]}}, everything, ("1",))
    nobody.apply({"discord": {}}, everything, ("1",))
    cases = [*files.cases, *blocked.cases, *star.cases, *nobody.cases]
    *single, together, without_slack, off, against_a_block, open_to_all, to_nobody = in_hermes("channels", cases)

    for name, found in zip(names, single, strict=True):
        sample = SAMPLES[name]
        assert set(found["platforms"]) == {"api_server", name}
        seen = found["platforms"][name]
        assert (name, seen["adapter"]) == (name, True)
        assert (name, seen["home"]) == (name, list(sample.home) if sample.home else None)
        if sample.allowed:
            assert (name, seen["allowed"]) == (name, {sample.allowed: True, sample.stranger: False})
        assert sample.environment.items() <= found["environment"].items()
        assert found["connect_seconds"] == CATALOGUE[name].connect_seconds
    assert set(together["platforms"]) == {"api_server", *names}
    assert set(without_slack["platforms"]) == {"api_server", *names} - {"slack"}
    assert set(off["platforms"]) == {"api_server"}
    assert not [name for name in off["environment"] if name.startswith(("SLACK_", "DISCORD_"))]
    assert {"discord", "slack"} <= set(against_a_block["platforms"])
    assert all(against_a_block["platforms"][name]["allowed"] == {"1": True} for name in ("discord", "slack"))
    assert open_to_all["platforms"]["discord"]["allowed"] == {"1": True}
    assert to_nobody["platforms"]["discord"]["allowed"] == {"1": False}

    extra = {name: found["platforms"][name]["extra"] for name, found in zip(names, single, strict=True)}
    assert single[names.index("discord")]["platforms"]["discord"]["token"] == DISCORD_TOKEN
    assert extra["discord"]["unauthorized_dm_behavior"] == "ignore"
    assert extra["discord"]["channel_prompts"] == {"345678901234567890": "Be brief: #1"}
    assert extra["slack"]["reply_in_thread"] is False
    assert extra["signal"]["http_url"] == "http://127.0.0.1:8080" and extra["signal"]["ignore_stories"] is False
    assert (extra["webhook"]["host"], extra["webhook"]["port"]) == ("127.0.0.1", 8700)
    assert extra["webhook"]["routes"]["github"]["prompt"] == "A push: {ref}"
    if "google_chat" in names:
        assert json.loads(extra["google_chat"]["service_account_json"]) == SERVICE_ACCOUNT
    if "whatsapp_cloud" in names:
        assert extra["whatsapp_cloud"]["webhook_host"] == "127.0.0.1"
