"""Agents of the predecessor's: which become records of ours, and what those on record get that they lack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyinfra_hermes.deploys.model import releases

from ..state.records import Agent, agent_scope
from . import translation
from .imported_channels import Channels
from .imported_integrations import Integrations
from .imported_providers import Providers
from .imported_secrets import AgentSecrets
from .ledger import TYPE, Ledger, words
from .plan import Item, Outcome, Wishes

_FIELDS = words(
    "type version status installed_at error agent_name name config integrations onboarding runtime providers channels "
    "skills"
)
_CREDENTIALS = words("key bot_token app_token api_key token")
_RELEASE = re.compile(r"v?([0-9]{1,6}(?:\.[0-9]{1,6}){2,3})")


class Agents:
    """Plans the import of agents; their providers and integrations are planned already."""

    def __init__(self, ledger: Ledger, wishes: Wishes, providers: Providers, integrations: Integrations) -> None:
        self._ledger = ledger
        self._wishes = wishes
        self._providers = providers
        self._integrations = integrations
        self._channels = Channels(ledger)
        self._secrets = AgentSecrets(ledger, self._channels)

    def add(self, number: int, host: str, agents: Mapping[str, Any]) -> None:
        """Plan what becomes of the agents of a host of theirs, by its number from 0, that is called ``host`` here."""
        on_record = self._ledger.on_record.hosts.get(host)
        recorded = on_record.agents if on_record is not None else {}
        asked = [translation.port_of(data) for data in agents.values() if isinstance(data, dict)]
        taken = {agent.port for agent in recorded.values()}
        for key, data in agents.items():
            name = translation.agent_name(key, data)
            shown = f"{host}/{translation.shown_agent(key, data)}"
            if not isinstance(data, dict):
                self._ledger.say("agent", shown, "refused", "it should be an object")
                continue
            self._ledger.count("hosts.json", data, _FIELDS)
            kind = data.get("type") or key
            if not translation.is_hermes(key, data):
                what = f"type {kind}" if isinstance(kind, str) and TYPE.fullmatch(kind) else "another type"
                self._ledger.say("agent", shown, "skip", f"{what}; only agents of type hermes are imported")
                continue
            if name is None:
                self._ledger.say("agent", shown, "refused", "its name cannot be an agent's here")
            elif name in self._ledger.plan.agents.get(host, {}):
                self._ledger.say("agent", shown, "refused", "there is another one of this name before it")
            elif name in recorded:
                self._complete(number, host, recorded[name], data)
            else:
                port, note = translation.free_port(translation.port_of(data), taken, asked)
                if self._agent(number, host, name, data, port, note):
                    taken.add(port)

    def _agent(self, number: int, host: str, name: str, data: dict[str, Any], port: int, moved: str | None) -> bool:
        shown, notes = f"{host}/{name}", [moved] if moved else []
        release, problem = self._release(data.get("version"), notes)
        if release is None:
            self._secrets.leave(number, name)
            self._ledger.say("agent", shown, "later", problem, "its secrets stay with it")
            return False
        config = data["config"] if isinstance(data.get("config"), dict) else {}
        api = config["api_server"] if isinstance(config.get("api_server"), dict) else {}
        if api.get("host") not in (None, "127.0.0.1", "localhost"):
            notes.append("its API was open to the network and is on loopback here")
        if any(_CREDENTIALS & part.keys() for part in (api, *translation.parts(config.get("channels")))):
            notes.append("hosts.json holds credentials of it, which are not read from there")
        provider, model = self._providers.of_agent(shown, data, config, notes)
        status, error = translation.status(data.get("status"))
        agent = Agent(
            name=name,
            release=release,
            port=port,
            provider=provider,
            model=model,
            status=status,
            error=error,
            installed_at=translation.moment(data.get("installed_at")),
        )
        if not self._ledger.fits(agent):
            self._secrets.leave(number, name)
            self._ledger.say("agent", shown, "refused", "it does not fit what an agent can be here")
            return False
        # What an agent comes with depends on its secrets, which are said after it.
        place = len(self._ledger.plan.items)
        self._secrets.take(number, host, name, data)
        agent.channels = {"api": {}, **dict(self._channels.of_agent(agent, data, config, agent_scope(host, name)))}
        agent.onboarding = translation.onboarding(agent, data)
        agent.integrations = self._integrations.of_agent(shown, data, notes)
        self._ledger.plan.agents.setdefault(host, {})[name] = agent
        self._ledger.plan.items.insert(place, Item("agent", shown, "import", (f"{release} on port {port}", *notes)))
        self._channels.warn_of_tokens(shown, agent, agent_scope(host, name))
        return True

    def _complete(self, number: int, host: str, agent: Agent, data: dict[str, Any]) -> None:
        """Give an agent on record what could not be recorded when it was imported."""
        config = data["config"] if isinstance(data.get("config"), dict) else {}
        lacking: dict[str, Any] = {}
        notes: list[str] = []
        place = len(self._ledger.plan.items)
        self._secrets.take(number, host, agent.name, data)
        if agent.provider is None:
            provider, model = self._providers.of_agent(agent.name, data, config, [])
            if provider is not None:
                lacking = {"provider": provider, "model": model}
                notes.append(f"gets its provider {provider}")
        settings = dict(self._channels.of_agent(agent, data, config, agent_scope(host, agent.name)))
        new = {name: options for name, options in settings.items() if name not in agent.channels}
        if new:
            lacking["channels"] = {**agent.channels, **new}
        if lacking:
            self._ledger.plan.completed[host, agent.name] = lacking
        outcome: Outcome = "import" if lacking else "known"
        self._ledger.plan.items.insert(place, Item("agent", f"{host}/{agent.name}", outcome, tuple(notes)))

    def _release(self, version: object, notes: list[str]) -> tuple[str | None, str]:
        listed = {release.tag for release in releases.manifest().releases}
        match = _RELEASE.fullmatch(version) if isinstance(version, str) else None
        tag = f"v{match[1]}" if match else None
        if tag in listed:
            return tag, ""
        if self._wishes.release is not None:
            notes.append(f"{tag or 'an unknown release'} becomes {self._wishes.release}, as you said")
            return self._wishes.release, ""
        what = f"{tag} is not in the manifest" if tag else "it does not say which release it is"
        return None, f"{what}; --release TAG records it with a release that is"
