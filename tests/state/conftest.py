"""A state directory in a temporary place, and what several tests fill it with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyinfra_hermes.cli.state.records import Agent, Host, Integration, Provider, agent_scope, provider_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

API_KEY = "0123456789abcdef" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state directory will be; nothing is there yet."""
    return tmp_path / "config" / "clawrium"


@pytest.fixture
def state(path: Path) -> State:
    """The state of a control machine on its first day."""
    return State.open(path, lock_wait=5)


@pytest.fixture
def filled(state: State) -> State:
    """One host with one agent, its provider, an integration, their secrets, changed twice: earlier versions exist."""
    with state.transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="xclm")
        tx.providers["cloud"] = Provider(name="cloud", type="openrouter", options={"model": "a/b"})
        tx.integrations["jira"] = Integration(name="jira", type="atlassian", options={"url": "https://a.example"})
        tx.secrets.set(provider_scope("cloud"), "API_KEY", Secret("sk-first"))
    with state.transaction() as tx:
        tx.hosts["wolf-i"].agents["hermes-test"] = Agent(
            name="hermes-test", release="v2026.5.7", port=8642, provider="cloud", status="installed"
        )
        tx.integrations["jira"].options["user"] = "me"
        tx.secrets.set(agent_scope("wolf-i", "hermes-test"), "HERMES_API_SERVER_KEY", Secret(API_KEY))
    return state
