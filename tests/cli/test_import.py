"""Clawrium's directory is taken over whole, shown before, and left as it was; nothing in it can break that."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.commands.import_ import import_
from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.inventory import fleet
from pyinfra_hermes.cli.predecessor import moving
from pyinfra_hermes.cli.predecessor.clawrium import LARGEST
from pyinfra_hermes.cli.predecessor.plan import Wishes
from pyinfra_hermes.cli.problems import Problem, translate
from pyinfra_hermes.cli.state.directory import OpenDirectory
from pyinfra_hermes.cli.state.errors import StateWriteFailed
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model import channels, providers
from pyinfra_hermes.deploys.model.spec import AgentSpec

AT = "2026-05-11T10:00:00.123456+00:00"
KEY = "ab" * 32
#: No name has such a shape, so wherever it shows up it is a value that came through.
SENTINEL = "s3ntinel!value"


def secret(key: str, value: str, description: str = "") -> dict[str, str]:
    return {"key": key, "value": value, "created_at": AT, "updated_at": AT, "description": description}


def agent(name: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "hermes",
        "version": "2026.5.7",
        "status": "installed",
        "installed_at": AT,
        "error": None,
        "agent_name": name,
        "config": {
            "provider": {"name": "local", "type": "ollama", "default_model": "llama3.1:8b"},
            "gateway": {"port": 40000},
            "api_server": {"enabled": True, "host": "0.0.0.0", "port": 8642},
            "channels": {
                "discord": {"enabled": True, "allowed_users": ["740723459344302120"], "home_channel_name": "Home"}
            },
        },
        "integrations": ["work-atlassian"],
        "onboarding": {"state": "ready", "stages": {"providers": {"status": "complete", "completed_at": AT}}},
        "runtime": {"status": "running"},
        **more,
    }


def host(**more: Any) -> dict[str, Any]:
    return {
        "hostname": "192.0.2.36",
        "key_id": "wolf-i",
        "port": 22,
        "user": "xclm",
        "auth_method": "key",
        "alias": "wolf-i",
        "addresses": [{"address": "192.0.2.36", "is_primary": True, "label": None, "added_at": AT}],
        "hardware": {"architecture": "x86_64"},
        "metadata": {"added_at": AT, "last_seen": AT, "tags": ["home"]},
        **more,
    }


def era() -> dict[str, Any]:
    """As 26.5 wrote it: secrets under the address, channels inside the agent."""
    return {
        "hosts": [host(agents={"hermes-test": agent("hermes-test")})],
        "providers": [
            {"name": "local", "type": "ollama", "endpoint": "http://192.0.2.20:11434", "default_model": "llama3.1:8b",
             "available_models": ["llama3.1:8b"], "created_at": AT, "updated_at": AT},
            {"name": "far", "type": "zzz", "default_model": "x/y", "created_at": AT, "updated_at": AT},
        ],
        "integrations": [{"name": "work-atlassian", "type": "atlassian", "created_at": AT, "updated_at": AT}],
        "secrets": {
            "192.0.2.36:hermes:hermes-test": {
                "HERMES_API_SERVER_KEY": secret("HERMES_API_SERVER_KEY", KEY, "Bearer token"),
                "DISCORD_BOT_TOKEN": secret("DISCORD_BOT_TOKEN", SENTINEL),
            },
            "provider:local": {"API_KEY": secret("API_KEY", SENTINEL)},
            "provider:far": {"API_KEY": secret("API_KEY", SENTINEL)},
            "integration:work-atlassian": {
                "ATLASSIAN_API_TOKEN": secret("ATLASSIAN_API_TOKEN", SENTINEL),
                "ATLASSIAN_URL": secret("ATLASSIAN_URL", "https://wolf.atlassian.net/"),
                "ATLASSIAN_EMAIL": secret("ATLASSIAN_EMAIL", "a@b.c"),
            },
        },
    }  # fmt: skip


def head() -> dict[str, Any]:
    """As 26.7 wrote it: secrets under the key_id, channels and providers attached."""
    documents = era()
    attached = agent(
        "hermes-test",
        channels=["chat"],
        providers=[{"name": "local", "role": "primary", "model": "qwen3:8b"}, {"name": "far", "role": "vision"}],
    )
    attached["config"] = {"api_server": {"port": 8611}}
    documents["hosts"] = [host(alias=None, os_family="linux", agents={"hermes-test": attached})]
    documents["channels"] = [
        {"name": "chat", "type": "slack", "config": {"allowed_users": ["U01ABC2DEF3"]}, "created_at": AT}
    ]
    documents["secrets"]["wolf-i:hermes:hermes-test"] = documents["secrets"].pop("192.0.2.36:hermes:hermes-test")
    documents["secrets"]["channel:chat"] = {
        "BOT_TOKEN": secret("BOT_TOKEN", SENTINEL),
        "APP_TOKEN": secret("APP_TOKEN", SENTINEL),
    }
    return documents


def full() -> dict[str, Any]:
    """Two agents with every setting of a channel and of an integration that there was."""
    documents = era()
    documents["providers"][1] |= {"type": "openrouter"}
    first = documents["hosts"][0]["agents"]["hermes-test"]
    first["config"]["channels"]["discord"] |= {
        "allow_all_users": True, "home_channel": "740723459344302121", "home_channel_thread_id": "740723459344302122",
        "allowed_channels": ["740723459344302123"], "allowed_guilds": ["740723459344302124"], "require_mention": True,
        "stream_mode": "append", "stream_delay_ms": 100,
    }  # fmt: skip
    first["integrations"] = ["work-atlassian", "work_atlassian", "gh", "web"]
    other = agent("other", providers=[{"name": "far", "role": "primary"}], integrations=["work_atlassian"])
    documents["hosts"][0]["agents"]["other"] = other
    documents["integrations"] += [
        {"name": "work_atlassian", "type": "atlassian"}, {"name": "gh", "type": "github"},
        {"name": "web", "type": "atlassian"},
    ]  # fmt: skip
    entries = documents["secrets"]["integration:work-atlassian"]
    documents["secrets"] |= {
        "192.0.2.36:hermes:other": {"DISCORD_BOT_TOKEN": secret("DISCORD_BOT_TOKEN", f"{SENTINEL}2")},
        "integration:work_atlassian": {
            **entries,
            "JIRA_PROJECTS_FILTER": secret("JIRA_PROJECTS_FILTER", "DEV,OPS"),
            "CONFLUENCE_SPACES_FILTER": secret("CONFLUENCE_SPACES_FILTER", "TEAM"),
        },
        "integration:gh": {"GITHUB_TOKEN": secret("GITHUB_TOKEN", SENTINEL)},
    }
    return documents


class Killed(BaseException):
    """What ends a command in the middle."""


class Place:
    """A configuration home, and ``clm`` that uses it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ours = home / "clawrium"

    def leave(self, documents: dict[str, Any], where: Path | None = None) -> Path:
        """Put down what the predecessor leaves behind."""
        folder = where or self.ours
        keys = folder / "keys" / "wolf-i"
        keys.mkdir(parents=True, mode=0o700)
        for each in (folder, folder / "keys", keys):
            each.chmod(0o700)
        for name, document in documents.items():
            write(folder / f"{name}.json", json.dumps(document, indent=2))
        write(keys / "xclm_ed25519", "PRIVATE")
        write(keys / "xclm_ed25519.pub", "PUBLIC")
        write(folder / ".hosts.lock", "")
        return folder

    def __call__(self, *arguments: str, code: int | None = None, answer: str = "") -> str:
        """Run a command in this process; give all that it said."""
        result = CliRunner().invoke(
            import_,
            ["clawrium", *arguments],
            input=answer,
            env={"XDG_CONFIG_HOME": str(self.home), "HOME": str(self.home)},
        )
        said, exit_code = result.output, result.exit_code
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            assert isinstance(result.exception, Exception)
            problem = translate(result.exception)
            if problem is None:
                raise result.exception
            said, exit_code = f"{said}\n{problem.message}\n{problem.remedy}", int(problem.exit)
        assert SENTINEL not in said
        assert KEY not in said
        if code is not None:
            assert exit_code == code, said
        return said

    def clm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.home), "HOME": str(self.home)}
        command = [sys.executable, "-m", "pyinfra_hermes.cli", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=240, stdin=subprocess.DEVNULL
        )

    def state(self) -> State:
        return State.open(self.ours)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def digests(folder: Path) -> dict[str, str]:
    """The content of every file, by its path inside a folder; ours beside theirs are left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def on_record(place: Place) -> Place:
    place.leave(era())
    place("--yes", code=0)
    return place


def kept(place: Place) -> Path:
    (folder,) = place.ours.glob("imported-from-clawrium-*")
    return folder


# what is taken over


@pytest.mark.parametrize("shape", [era, head])
def test_everything_has_its_place(place: Place, shape: Any) -> None:
    documents = shape()
    place.leave(documents)
    place("--yes", code=0)
    snapshot = place.state().read()
    record = snapshot.host("wolf-i")
    assert (record.address, record.port, record.user, record.tags) == ("192.0.2.36", 22, "xclm", ("home",))
    assert record.identity_file == str(place.ours / "keys" / "wolf-i" / "xclm_ed25519")
    found = snapshot.agent("wolf-i/hermes-test").agent
    assert (found.release, found.provider, found.status) == ("v2026.5.7", "local", "installed")
    assert found.onboarding_state == "validate", "nothing was proven yet"
    assert found.applied is None
    assert found.integrations == ("work-atlassian",)
    options = {"url": "https://wolf.atlassian.net", "products": "both", "username": "a@b.c"}
    assert snapshot.integration("work-atlassian").options == options
    assert list(snapshot.secrets.scopes["integration:work-atlassian"]) == ["ATLASSIAN_API_TOKEN"]
    entry = snapshot.secrets.scopes["wolf-i:hermes:hermes-test"]["HERMES_API_SERVER_KEY"]
    assert entry.value.reveal() == KEY
    assert entry.description == "Bearer token"
    assert entry.created_at.isoformat() == AT
    assert snapshot.secrets.scopes["provider:local"]["API_KEY"].value.reveal() == SENTINEL
    assert "provider:far" not in snapshot.secrets.scopes, "not half of it"
    assert set(snapshot.providers) == {"local"}


def test_what_a_newer_one_attached_comes_along(place: Place) -> None:
    place.leave(head())
    said = place("--yes", code=0)
    snapshot = place.state().read()
    found = snapshot.agent("hermes-test").agent
    assert (found.port, found.model) == (8611, "qwen3:8b")
    assert set(snapshot.secrets.scopes["wolf-i:hermes:hermes-test"]) == {
        "HERMES_API_SERVER_KEY", "DISCORD_BOT_TOKEN", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"
    }  # fmt: skip
    assert "1 further providers of it" in said


def test_a_key_under_an_address_moves_under_the_name(on_record: Place) -> None:
    said = on_record(code=0)
    assert "Nothing to import" in said
    scopes = on_record.state().read().secrets.scopes
    assert "wolf-i:hermes:hermes-test" in scopes
    assert "192.0.2.36:hermes:hermes-test" not in scopes


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_line_that_users_have_prints_the_same_key(on_record: Place) -> None:
    line = '.["wolf-i:hermes:hermes-test"].HERMES_API_SERVER_KEY.value'
    printed = subprocess.run(
        ["jq", "-r", line, on_record.ours / "secrets.json"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == KEY


def _with_integration(name: str = "work-atlassian", kind: str = "atlassian", **values: Any) -> dict[str, Any]:
    documents = era()
    documents["integrations"] = [{"name": name, "type": kind, "created_at": AT, "updated_at": AT}]
    documents["hosts"][0]["agents"]["hermes-test"]["integrations"] = [name]
    entries = documents["secrets"].pop("integration:work-atlassian")
    entries |= {key: secret(key, value) for key, value in values.items()}
    documents["secrets"][f"integration:{name}"] = {k: v for k, v in entries.items() if v["value"] is not None}
    return documents


def test_settings_that_were_secrets_are_settings_here(place: Place) -> None:
    place.leave(
        _with_integration(
            ATLASSIAN_URL="https://wolf.atlassian.net/wiki/",
            JIRA_PROJECTS_FILTER="DEV, OPS",
            CONFLUENCE_SPACES_FILTER="~ab1,TEAM",
        )
    )
    place("--yes", code=0)
    snapshot = place.state().read()
    assert snapshot.integration("work-atlassian").options == {
        "url": "https://wolf.atlassian.net", "products": "both", "username": "a@b.c",
        "projects": ["DEV", "OPS"], "spaces": ["~ab1", "TEAM"],
    }  # fmt: skip
    assert snapshot.secrets.names("integration:work-atlassian") == ("ATLASSIAN_API_TOKEN",)
    assert snapshot.agent("hermes-test").agent.integrations == ("work-atlassian",)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ATLASSIAN_URL": None}, ["it has no Site", "clm integration edit work-atlassian --url URL"]),
        (
            {"ATLASSIAN_URL": f"https://a:{SENTINEL}@wolf.atlassian.net"},
            ["its Site cannot be taken over", "clm integration edit work-atlassian --url URL"],
        ),
        ({"ATLASSIAN_URL": f"https://wolf.example/?token={SENTINEL}"}, ["its Site cannot be taken over"]),
        ({"ATLASSIAN_URL": "https://wolf.example"}, ["it has no Confluence", "--confluence-url URL"]),
        ({"ATLASSIAN_EMAIL": SENTINEL}, ["its User cannot be taken over", "--username E-MAIL"]),
        ({"ATLASSIAN_EMAIL": None, "ATLASSIAN_API_TOKEN": None}, ["it has no User", "--api-token-file PATH"]),
        # Without the filter the agent would see more than it did.
        ({"JIRA_PROJECTS_FILTER": f"DEV,{SENTINEL}"}, ["its Projects cannot be taken over", "--projects KEY,..."]),
        ({"JIRA_PROJECTS_FILTER": 7}, ["its Projects cannot be taken over", "--projects KEY,..."]),
        ({"CONFLUENCE_SPACES_FILTER": "ATATT3xFfGF0aaaa"}, ["its Spaces cannot be taken over", "--spaces KEY,..."]),
    ],
)
def test_an_integration_that_is_not_complete_is_recorded_and_not_attached(
    place: Place, values: dict[str, Any], says: list[str]
) -> None:
    place.leave(_with_integration(**values))
    said = place("--yes", code=0)
    for part in [*says, "clm agent integration add wolf-i/hermes-test work-atlassian"]:
        assert part in said
    snapshot = place.state().read()
    assert snapshot.integration("work-atlassian").type == "atlassian"
    assert snapshot.agent("hermes-test").agent.integrations == ()
    assert len(fleet(place.state())) == 1
    assert SENTINEL not in (place.ours / "integrations.json").read_text()
    assert "Nothing to import" in place("--yes", code=0)


def test_the_commands_that_the_plan_names_mend_it(place: Place) -> None:
    place.leave(_with_integration(ATLASSIAN_URL=None))
    place("--yes", code=0)
    edited = place.clm("integration", "edit", "work-atlassian", "--url", "https://wolf.atlassian.net")
    assert edited.returncode == 0, edited.stderr
    added = place.clm("agent", "integration", "add", "wolf-i/hermes-test", "work-atlassian")
    assert added.returncode == 0, added.stderr
    assert len(fleet(place.state())) == 1
    assert "Nothing to import" in place("--yes", code=0)
    assert place.state().read().agent("hermes-test").agent.integrations == ("work-atlassian",)


@pytest.mark.parametrize(
    ("name", "kind", "code", "says"),
    [
        ("gh", "github", 0, "this version has no integrations of type github"),
        ("web", "atlassian", Exit.PARTLY, "clm integration add my-web --type atlassian"),
    ],
)
def test_an_integration_that_cannot_be_here_is_left_with_its_secrets(
    place: Place, name: str, kind: str, code: int, says: str
) -> None:
    place.leave(_with_integration(name, kind))
    said = place("--yes", code=code)
    assert says in said
    assert "ATLASSIAN_API_TOKEN" in said
    assert f"without its integrations {name}, which are not imported" in said
    snapshot = place.state().read()
    assert (dict(snapshot.integrations), snapshot.agent("hermes-test").agent.integrations) == ({}, ())
    assert f"integration:{name}" not in snapshot.secrets.scopes


def test_two_integrations_of_one_name_in_hermes_are_not_both_attached(place: Place) -> None:
    documents = era()
    documents["integrations"].append({"name": "work_atlassian", "type": "atlassian"})
    documents["secrets"]["integration:work_atlassian"] = documents["secrets"]["integration:work-atlassian"]
    documents["hosts"][0]["agents"]["hermes-test"]["integrations"] = ["work-atlassian", "work_atlassian"]
    place.leave(documents)
    assert "not attached to work_atlassian" in place("--yes", code=0)
    assert len(fleet(place.state())) == 1


def _with_discord(**settings: Any) -> dict[str, Any]:
    documents = era()
    documents["hosts"][0]["agents"]["hermes-test"]["config"]["channels"]["discord"] |= settings
    return documents


def test_a_channel_comes_with_what_fits_and_says_what_does_not(place: Place) -> None:
    place.leave(
        _with_discord(
            allowed_users=["740723459344302120", "9"], allow_all_users=True, home_channel=740723459344302121,
            home_channel_name="Große Halle", allowed_channels=["*"], stream_mode="append", require_mention=False,
        )
    )  # fmt: skip
    said = place("--yes", code=0)
    assert place.state().read().agent("hermes-test").agent.channels["discord"] == {
        "allowed_users": ["740723459344302120"], "home_channel": "740723459344302121", "require_mention": False
    }  # fmt: skip
    assert "it was open to everybody and is not here" in said
    assert "not, or not all of, its allowed_users, home_channel_name, stream_mode" in said
    assert "DISCORD_BOT_TOKEN of wolf-i/hermes-test does not look like one" in said


def test_a_channel_stays_whose_limits_cannot_be_taken_over(place: Place) -> None:
    place.leave(_with_discord(allowed_channels=["general"]))
    assert "its allowed_channels cannot be taken over" in place("--yes", code=0)
    assert set(place.state().read().agent("hermes-test").agent.channels) == {"api"}


def test_a_channel_without_its_token_waits_for_it(place: Place) -> None:
    documents = era()
    del documents["secrets"]["192.0.2.36:hermes:hermes-test"]["DISCORD_BOT_TOKEN"]
    place.leave(documents)
    assert "clm agent channel enable hermes-test discord" in place("--yes", code=0)
    assert set(place.state().read().agent("hermes-test").agent.channels) == {"api"}
    assert len(fleet(place.state())) == 1


def test_one_bot_goes_to_one_agent(place: Place) -> None:
    documents = era()
    documents["hosts"][0]["agents"]["twin"] = agent("twin")
    documents["secrets"]["192.0.2.36:hermes:twin"] = {"DISCORD_BOT_TOKEN": secret("DISCORD_BOT_TOKEN", SENTINEL)}
    place.leave(documents)
    assert "its Bot token is that of wolf-i:hermes:hermes-test" in place("--yes", code=0)
    assert set(place.state().read().agent("twin").agent.channels) == {"api"}
    assert len(fleet(place.state())) == 1


def test_a_context_that_hermes_would_refuse_stays_behind_and_is_named(place: Place) -> None:
    documents = era()
    documents["providers"][0]["context_window"] = 8192
    place.leave(documents)
    assert "without its Context length, which cannot be used here" in place("--yes", code=0)
    assert "context_length" not in place.state().read().provider("local").options


def test_an_agent_waits_for_the_key_of_its_provider(place: Place) -> None:
    documents = era()
    documents["providers"][0] |= {"type": "openrouter", "default_model": "z-ai/glm-5"}
    key = documents["secrets"].pop("provider:local")
    theirs = place.leave(documents)
    said = place("--yes", code=0)
    assert "without its provider local, which is not complete" in said
    assert place.state().read().agent("hermes-test").agent.provider is None
    assert len(fleet(place.state())) == 1
    (kept_secrets,) = theirs.glob("imported-*/secrets.json")
    write(kept_secrets, json.dumps({**documents["secrets"], "provider:local": key}))
    assert "gets its provider local" in place("--yes", code=0)
    assert place.state().read().agent("hermes-test").agent.provider == "local"
    assert len(fleet(place.state())) == 1


def test_other_commands_read_what_was_imported(on_record: Place) -> None:
    assert "wolf-i" in on_record.clm("host", "list").stdout
    assert "local" in on_record.clm("provider", "list").stdout
    agents = on_record.clm("ps", "-o", "json")
    assert json.loads(agents.stdout)[0]["name"] == "hermes-test"
    assert len(fleet(on_record.state())) == 1, "the inventory is not stopped by anything that was imported"


def test_what_has_no_place_is_listed_and_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.leave(era())
    monkeypatch.setattr(channels, "CATALOGUE", {"api": channels.CATALOGUE["api"]})
    said = place("--yes", code=0)
    assert "this version has no providers of type zzz" in said
    assert "this version has no such channel" in said
    text = (kept(place) / "not-imported.json").read_text()
    report = json.loads(text)
    assert {item["name"] for item in report["not_imported"]} == {"far", "wolf-i:hermes:hermes-test/discord"}
    assert report["settings"]["wolf-i:hermes:hermes-test"]["channels"]["discord"]["allowed_users"] == [
        "740723459344302120"
    ]
    assert SENTINEL not in text
    # The token waits where the channel will look for it.
    assert place.state().read().secrets.get("wolf-i:hermes:hermes-test", "DISCORD_BOT_TOKEN")


def test_what_was_kept_for_later_comes_when_a_version_can_take_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = era()
    documents["hosts"][0]["agents"]["hermes-test"]["config"]["provider"]["name"] = "far"
    documents["providers"][1]["endpoint"] = "http://192.0.2.21:8000"
    place.leave(documents)
    place("--yes", code=0)
    assert place.state().read().agent("hermes-test").agent.provider is None
    monkeypatch.setattr(providers, "CATALOGUE", {**providers.CATALOGUE, "zzz": providers.CATALOGUE["custom"]})
    said = place("--yes", code=0)
    assert "gets its provider far" in said
    snapshot = place.state().read()
    assert snapshot.agent("hermes-test").agent.provider == "far"
    assert snapshot.secrets.get("provider:far", "API_KEY")
    assert "Nothing to import" in place(code=0)


# their files


def test_in_the_directory_of_both_their_files_are_kept_to_the_byte(place: Place) -> None:
    folder = place.leave(head())
    before = digests(folder)
    place("--yes", code=0)
    copies = kept(place)
    assert copies.stat().st_mode & 0o777 == 0o700
    after = {
        **digests(copies),
        **{name: digest for name, digest in digests(folder).items() if name.startswith("keys/")},
    }
    assert all(after[name] == digest for name, digest in before.items() if name != ".hosts.lock")
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in copies.iterdir())
    assert not list((folder / "generations").iterdir()), "theirs are no earlier versions of ours"


def test_until_then_every_command_is_refused_and_names_this_one(place: Place) -> None:
    folder = place.leave(era())
    before = digests(folder)
    for arguments in (["ps"], ["host", "list"], ["provider", "remove", "local"]):
        refused = place.clm(*arguments)
        assert refused.returncode == Exit.FAILED
        assert "clm import clawrium" in refused.stderr
    assert digests(folder) == before


def test_another_directory_is_only_read(place: Place, tmp_path: Path) -> None:
    theirs = place.leave(era(), tmp_path / "backup")
    before = digests(theirs)
    place(str(theirs), "--yes", code=0)
    assert digests(theirs) == before
    identity = Path(place.state().read().host("wolf-i").identity_file or "")
    assert identity.is_relative_to(place.ours)
    assert (identity.read_text(), identity.stat().st_mode & 0o777) == ("PRIVATE", 0o600)
    assert [path.name for path in kept(place).iterdir()] == ["not-imported.json"], "no second copy of their secrets"
    before = digests(place.ours)
    assert "Nothing to import" in place(str(theirs), "--yes", code=0)
    assert digests(place.ours) == before


def test_importing_twice_changes_nothing_and_says_so(on_record: Place) -> None:
    before = digests(on_record.ours)
    said = on_record("--yes", code=0)
    assert "Nothing to import: everything that can be is on record." in said
    assert digests(on_record.ours) == before


def test_what_was_changed_since_stays(on_record: Place) -> None:
    with on_record.state().transaction() as tx:
        tx.hosts["wolf-i"].address = "192.0.2.99"
        tx.hosts["wolf-i"].agents["hermes-test"].port = 9000
    assert "at another address, which stays" in on_record("--yes", code=0)
    assert on_record.state().read().agent("hermes-test").agent.port == 9000


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--dry-run", "--yes"], ["-o", "json"], ["-o", "yaml"], []])
def test_nothing_is_written_before_a_yes(place: Place, arguments: list[str]) -> None:
    folder = place.leave(era())
    before = digests(folder)
    place(*arguments, code=0 if arguments else Exit.USAGE)
    assert digests(folder) == before
    assert not (folder / ".lock").exists()


def test_a_no_leaves_everything(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.leave(era())
    before = digests(folder)
    monkeypatch.setattr("pyinfra_hermes.cli.asking.interactive", lambda: True)
    assert "Cancelled; nothing was changed" in place(code=Exit.REFUSED, answer="n\n")
    assert digests(folder) == before
    assert "Imported: hosts 1" in place(code=0, answer="y\n")


def test_for_programs_there_is_json(place: Place) -> None:
    place.leave(era())
    planned = json.loads(place("-o", "json", code=0))
    assert (planned["changes"], planned["applied"], planned["kept_in"]) == (True, False, None)
    done = json.loads(place("-o", "json", "--yes", code=0))
    assert done["applied"]
    assert Path(done["kept_in"]) == kept(place)
    assert done["items"] == planned["items"]


def test_a_write_that_fails_leaves_everything(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.leave(era())
    before = digests(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert "No space left on device" in place("--yes", code=Exit.FAILED)
    monkeypatch.undo()
    assert digests(folder) == before
    assert not list(folder.glob("imported-*"))


def test_a_commit_that_fails_leaves_their_files_in_charge(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.leave(era())
    before = digests(folder)

    def fails(*_: object) -> None:
        raise StateWriteFailed("Cannot write. Nothing was changed")

    monkeypatch.setattr(moving, "commit", fails)
    place("--yes", code=Exit.FAILED)
    monkeypatch.undo()
    assert {name: digest for name, digest in digests(folder).items() if not name.startswith("imported-")} == before
    place("--yes", code=0)
    assert place.state().read().host("wolf-i")


@pytest.mark.parametrize("renames", range(6))
def test_killed_at_any_rename_the_next_command_finds_theirs_or_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    folder = place.leave(era())
    before = digests(folder)
    done: list[str] = []

    def killed(directory: OpenDirectory, name: str, target: str) -> None:
        if len(done) == renames:
            raise Killed
        done.append(target)
        os.replace(name, target, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)

    monkeypatch.setattr(OpenDirectory, "replace", killed)
    # What a killed process cannot do any more either:
    monkeypatch.setattr("pyinfra_hermes.cli.state.writing._Change.give_up", lambda self: "")
    if renames < 5:
        with pytest.raises(Killed):
            moving.carry_out(place.state(), moving.prepare(place.state(), None, Wishes()))
    else:
        moving.carry_out(place.state(), moving.prepare(place.state(), None, Wishes()))
    monkeypatch.undo()
    if renames == 0:
        assert {name: now for name, now in digests(folder).items() if name in before} == before
    place("--yes", code=0)
    assert place.state().read().agent("hermes-test")
    for copies in folder.glob("imported-*"):
        assert all(digests(copies)[name] == each for name, each in before.items() if name.endswith(".json"))


def test_a_directory_that_cannot_be_looked_at_is_no_traceback(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.leave(era())
    opened = os.open

    def denied(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith("hosts.json"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os, "open", denied)
    assert f"Cannot open {folder}/hosts.json: Permission denied" in place("--yes", code=Exit.FAILED)


def test_another_key_of_the_same_id_is_not_overwritten(place: Place, tmp_path: Path) -> None:
    theirs = place.leave(era(), tmp_path / "backup")
    ours = place.state().directory.keys / "wolf-i"
    with place.state().directory.created() as directory, directory.created_folder("keys"):
        ours.mkdir(mode=0o700)
    write(ours / "xclm_ed25519", "ANOTHER")
    assert "its key is used where it is" in place(str(theirs), "--yes", code=0)
    assert (ours / "xclm_ed25519").read_text() == "ANOTHER"
    assert place.state().read().host("wolf-i").identity_file == str(theirs / "keys" / "wolf-i" / "xclm_ed25519")


def test_files_that_change_after_they_were_shown_are_not_imported(place: Place) -> None:
    folder = place.leave(era())
    state = place.state()
    wanted = moving.prepare(state, None, Wishes())
    write(folder / "providers.json", "[]")
    before = digests(folder)
    with pytest.raises(Problem, match="was changed in the meantime"):
        moving.carry_out(state, wanted)
    assert digests(folder) == before


def test_a_running_command_of_theirs_is_waited_out(place: Place) -> None:
    import fcntl

    folder = place.leave(era())
    with (folder / ".hosts.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is writing in" in place("--yes", code=Exit.LOCKED)
    place("--yes", code=0)


# what is refused


def test_truncated_wrong_and_foreign_files_end_it(place: Place) -> None:
    folder = place.leave(era())
    whole = {path: path.read_text() for path in folder.glob("*.json")}
    for path, text in whole.items():
        for bad in (text[:-9], "", "7", '"x"', "[[]]" if path.stem != "secrets" else "[]", "[" * 100_000, "\x00"):
            write(path, bad)
            before = digests(folder)
            said = place("--yes", code=Exit.FAILED)
            assert str(path) in said
            assert digests(folder) == before
        write(path, text)


def test_a_link_is_refused_with_what_mends_it(place: Place, tmp_path: Path) -> None:
    folder = place.leave(era())
    (folder / "hosts.json").rename(tmp_path / "elsewhere.json")
    (folder / "hosts.json").symlink_to(tmp_path / "elsewhere.json")
    said = place("--yes", code=Exit.FAILED)
    assert "is a symbolic link" in said
    assert f"cp --remove-destination -p {tmp_path}/elsewhere.json {folder}/hosts.json" in said


def test_a_huge_file_is_refused(place: Place) -> None:
    folder = place.leave(era())
    with (folder / "hosts.json").open("w") as file:
        file.truncate(LARGEST + 1)
    assert "is larger than 16 MiB" in place("--yes", code=Exit.FAILED)


def test_files_that_others_can_read_are_told_and_closed(place: Place) -> None:
    folder = place.leave(era())
    (folder / "secrets.json").chmod(0o644)
    assert f"{folder}/secrets.json is open to other users (mode 0644)" in place("--yes", code=0)
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file() and path.suffix != ".pub"}
    assert modes == {0o600}


def test_a_key_behind_a_link_is_not_used(place: Place, tmp_path: Path) -> None:
    folder = place.leave(era())
    key = folder / "keys" / "wolf-i" / "xclm_ed25519"
    key.unlink()
    key.symlink_to("/etc/hostname")
    assert "its key is not a regular file" in place("--yes", code=0)
    assert place.state().read().host("wolf-i").identity_file is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("x" + SENTINEL, "is not 64 lowercase hexadecimal digits"),
        (KEY.upper(), "is not 64 lowercase hexadecimal digits"),
        ("", "is empty"),
        (7, "has no value"),
        (None, "has no value"),
    ],
)
def test_a_malformed_key_is_told_and_not_taken(place: Place, value: object, says: str) -> None:
    documents = era()
    documents["secrets"]["192.0.2.36:hermes:hermes-test"]["HERMES_API_SERVER_KEY"]["value"] = value
    place.leave(documents)
    said = place("--yes", code=Exit.PARTLY)
    assert f"HERMES_API_SERVER_KEY {says}" in said
    made = place.state().read().secrets.get("wolf-i:hermes:hermes-test", "HERMES_API_SERVER_KEY")
    assert made is not None
    assert len(made.reveal()) == 64
    assert made.reveal() not in (KEY, value)
    before = digests(place.ours)
    assert "Nothing to import" in place("--yes", code=Exit.PARTLY)
    assert digests(place.ours) == before, "a repeated import makes no other key"


@pytest.mark.parametrize("value", [f"cmd:{SENTINEL}", f"{SENTINEL}\0", f"{SENTINEL}α", f"{SENTINEL}\ud800"])
def test_a_value_that_would_mean_something_else_here_is_not_taken(place: Place, value: str) -> None:
    documents = era()
    documents["secrets"]["provider:local"]["API_KEY"]["value"] = value
    place.leave(documents)
    place("--yes", code=Exit.PARTLY)
    assert place.state().read().secrets.get("provider:local", "API_KEY") is None


def test_agents_that_cannot_come_are_named(place: Place) -> None:
    documents = era()
    documents["hosts"][0]["agents"] |= {
        "claw": {"type": "openclaw", "agent_name": "claw"},
        "newer": agent("newer", version="2031.1.1"),
        "root": agent("root"),
        "twin": agent("twin"),
        "odd": 7,
    }
    place.leave(documents)
    said = place("--yes", code=Exit.PARTLY)
    assert "wolf-i/claw" in said
    assert "v2031.1.1 is not in the manifest" in said
    assert "port 8642 is another agent's on this host, so it gets 8643" in said
    agents = place.state().read().host("wolf-i").agents
    assert {name: record.port for name, record in agents.items()} == {"hermes-test": 8642, "twin": 8643}
    place("--yes", "--release", "v2026.5.7", code=Exit.PARTLY)
    agents = place.state().read().host("wolf-i").agents
    assert (agents["newer"].release, agents["newer"].port) == ("v2026.5.7", 8644)


def test_a_release_that_is_not_listed_cannot_be_chosen(place: Place) -> None:
    place.leave(era())
    assert "not in the manifest" in place("--yes", "--release", "v1.2.3", code=Exit.USAGE)


def test_hosts_find_a_name_of_their_own(place: Place) -> None:
    documents = era()
    documents["hosts"] += [
        host(hostname="2001:db8::7", key_id=None, alias=None),
        host(hostname="192.0.2.37", key_id="den", alias="wolf-i"),
        host(hostname="192.0.2.38", key_id="../x", alias="my host"),
        host(hostname="192.0.2.36", key_id="again", alias="again"),
        host(hostname="bad host", key_id="bad", alias="bad"),
        host(hostname="192.0.2.39", key_id="mac", alias="mac", os_family="darwin"),
    ]
    documents["secrets"]["192.0.2.38:hermes:x"] = {}
    place.leave(documents)
    said = place("--yes", code=Exit.PARTLY)
    hosts = place.state().read().hosts
    assert {name: record.address for name, record in hosts.items()} == {
        "wolf-i": "192.0.2.36", "2001-db8-7": "2001:db8::7", "den": "192.0.2.37", "192.0.2.38": "192.0.2.38",
    }  # fmt: skip
    assert "192.0.2.36 port 22 is host wolf-i's" in said
    assert "it is not a Linux host" in said


def test_secrets_that_two_hosts_could_have_go_to_neither(place: Place) -> None:
    documents = era()
    documents["hosts"].append(
        host(hostname="192.0.2.37", key_id="192.0.2.36", alias="den", agents={"hermes-test": agent("hermes-test")})
    )
    place.leave(documents)
    said = place("--yes", code=0)
    assert "no agent that is imported has them, or several hosts could" in said
    scopes = place.state().read().secrets.scopes
    values = [
        entry.value.reveal() for scope, entries in scopes.items() if "hermes" in scope for entry in entries.values()
    ]
    assert KEY not in values
    assert SENTINEL not in values


def test_a_host_on_record_is_not_another_machine(on_record: Place, tmp_path: Path) -> None:
    documents = era()
    documents["hosts"] = [host(hostname="192.0.2.77", agents={"other": agent("other")})]
    theirs = on_record.leave(documents, tmp_path / "second")
    said = on_record(str(theirs), "--yes", code=Exit.PARTLY)
    assert "a host of this name is on record at another address" in said
    assert set(on_record.state().read().host("wolf-i").agents) == {"hermes-test"}


def test_values_on_record_win(on_record: Place, tmp_path: Path) -> None:
    documents = era()
    documents["secrets"]["192.0.2.36:hermes:hermes-test"]["HERMES_API_SERVER_KEY"]["value"] = "cd" * 32
    theirs = on_record.leave(documents, tmp_path / "second")
    assert "with another value, which stays" in on_record(str(theirs), "--yes", code=0)
    value = on_record.state().read().secrets.get("wolf-i:hermes:hermes-test", "HERMES_API_SERVER_KEY")
    assert value is not None
    assert value.reveal() == KEY


def test_unknown_fields_are_counted(place: Place) -> None:
    documents = era()
    documents["hosts"][0][SENTINEL] = SENTINEL
    documents["secrets"]["provider:local"]["API_KEY"][SENTINEL] = SENTINEL
    documents["secrets"][SENTINEL] = {"X": secret("X", SENTINEL)}
    place.leave(documents)
    said = place("--yes", code=0)
    assert "hosts.json: 1 field not known here, ignored" in said
    assert "(a name not shown)" in said


@pytest.mark.parametrize("what", ["nothing", "empty", "ours", "elsewhere"])
def test_where_there_is_nothing_of_theirs(place: Place, tmp_path: Path, what: str) -> None:
    if what == "empty":
        place.ours.mkdir(mode=0o700)
    if what in ("ours", "elsewhere"):
        with place.state().transaction() as tx:
            tx.hosts.clear()
    arguments = [str(tmp_path / "not-there")] if what == "elsewhere" else []
    assert "clm import clawrium DIR" in place(*arguments, "--yes", code=Exit.USAGE)


def test_a_directory_with_files_of_both_is_left_alone(place: Place) -> None:
    folder = place.leave(era())
    write(folder / "providers.json", '{"schema_version": 1, "providers": {}}')
    before = digests(folder)
    assert "holds files of clawrium and of pyinfra-hermes" in place("--yes", code=Exit.REFUSED)
    assert digests(folder) == before


def test_another_directory_cannot_come_first(place: Place, tmp_path: Path) -> None:
    folder = place.leave(era())
    before = digests(folder)
    theirs = place.leave(head(), tmp_path / "second")
    assert "Import that one first: clm import clawrium" in place(str(theirs), "--yes", code=Exit.REFUSED)
    assert digests(folder) == before


# anything at all

_JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70_000), st.just(10**30), st.just(1.5), st.just(SENTINEL), st.just(""),
    st.just([]), st.just({}), st.just([SENTINEL]), st.just({SENTINEL: SENTINEL}), st.just("a:b"), st.just("\ud800"),
    st.just("0" * 300), st.just([[1]]), st.just({"hermes": {"type": "hermes"}}),
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, (*path, number))


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    documents = copy.deepcopy(draw(st.sampled_from([era(), head(), full()])))
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from([path for path in _places(documents) if len(path) > 1] or [("hosts", 0)]))
        inner: Any = documents
        try:
            for step in path[:-1]:
                inner = inner[step]
            match draw(st.sampled_from(["replace", "remove", "rename", "repeat"])):
                case "replace":
                    inner[path[-1]] = copy.deepcopy(draw(_JUNK))
                case "remove":
                    del inner[path[-1]]
                case "rename" if isinstance(inner, dict):
                    inner[draw(st.sampled_from([SENTINEL, "hermes", "", "a:hermes:b", "\ud800"]))] = inner.pop(path[-1])
                case "repeat" if isinstance(inner, list):
                    inner.append(copy.deepcopy(inner[path[-1]]))
                case _:
                    pass
        except (KeyError, IndexError, TypeError):
            continue
    return documents


@given(mutated())
@settings(max_examples=80, deadline=None)
def test_whatever_is_in_the_files_it_is_all_or_nothing_and_nobody_sees_a_secret(documents: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        theirs = place.leave(documents)
        before = digests(theirs)
        said = place("--yes")
        if list(theirs.glob("imported-*")):
            copies = digests(kept(place))
            assert all(copies[name] == digest for name, digest in before.items() if name.endswith(".json"))
            # Every agent can be given to a host as it came, or is only installed there: the inventory takes all.
            for _, data in fleet(place.state()):
                for row in data["hermes_agents"]:
                    assert AgentSpec.parse(row)
            for name in ("hosts.json", "providers.json", "integrations.json"):
                assert SENTINEL not in (theirs / name).read_text()
            report = kept(place) / "not-imported.json"
            assert not report.exists() or SENTINEL not in report.read_text()
            after = digests(theirs)
            assert "Nothing to import" in place("--yes")
            assert digests(theirs) == after
        else:
            assert "mported" in said
            assert digests(theirs) == before


@given(
    st.binary(max_size=64) | st.text(alphabet='[]{}",:0\\u ', max_size=64).map(str.encode),
    st.sampled_from(sorted(era())),
)
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_no_document_are_an_error_and_no_traceback(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        theirs = place.leave(era())
        (theirs / f"{name}.json").write_bytes(content)
        before = digests(theirs)
        place("--dry-run")
        assert digests(theirs) == before
