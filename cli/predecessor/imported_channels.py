"""Channels of the predecessor's agents: which can be recorded, and whose settings are kept for later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyinfra_hermes.deploys.model import channels
from pyinfra_hermes.deploys.model.channels.sharing import Membership
from pyinfra_hermes.deploys.model.declaration import InvalidSetting
from pyinfra_hermes.deploys.model.secret import Secret

from ..state.records import Agent, agent_scope
from . import translation
from .ledger import Ledger


class Channels:
    """Plans which channels agents get."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: Which agent has a bot or an account that no other may have.
        self._claims: dict[tuple[str, Secret], str] = {
            (channel, value): scope
            for host in ledger.on_record.hosts.values()
            for agent in host.agents.values()
            for scope in [agent_scope(host.name, agent.name)]
            for channel, value, _ in self._membership(scope, agent.channels).claims()
        }

    def of_agent(
        self, agent: Agent, data: Mapping[str, Any], config: Mapping[str, Any], scope: str
    ) -> Iterator[tuple[str, dict[str, translation.Setting]]]:
        """Go through the channels that can be recorded; what cannot is kept for the report."""
        for name, given in self._settings(data, config):
            shown = f"{scope}/{name}"
            if name in agent.channels:
                self._ledger.say("channel", shown, "known")
                continue
            declaration = channels.CATALOGUE.get(name)
            if declaration is None:
                self._later(scope, name, given, "this version has no such channel")
                continue
            settings, notes, problem = translation.channel(declaration, given)
            if problem is None and not self._ledger.fits(agent, {name: settings}):
                problem = "its settings do not fit"
            if problem is None and (problem := self._ledger.lack(declaration, settings, scope)) is not None:
                problem += f"; once it is there: clm agent channel enable {agent.name} {name}"
            problem = problem or self._clash(scope, name, settings)
            if problem is not None:
                self._later(scope, name, given, problem)
                continue
            if notes:
                self._put_aside(scope, name, given)
            self._ledger.say("channel", shown, "import", *notes)
            yield name, settings

    def attached(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the entries of channels.json that an agent has."""
        attached = translation.texts(data.get("channels"))
        found = {
            entry["type"]: entry
            for entry in self._ledger.source.channels
            if entry.get("type") in ("discord", "slack") and entry.get("name") in attached
        }
        return list(found.values())

    def warn_of_tokens(self, reference: str, agent: Agent, scope: str) -> None:
        """Name the tokens that are refused when the agent is configured, and can be mended now."""
        new = self._ledger.plan.secrets.get(scope, {})
        for f in [f for channel in agent.channels for f in channels.CATALOGUE[channel].secrets if f.key in new]:
            try:
                f.check_secret(new[f.key].value or Secret(""))
            except InvalidSetting:
                remedy = f"clm secret set {reference} {f.key}"
                self._ledger.plan.warnings.append(f"{f.key} of {reference} does not look like one: {remedy}")

    def _later(self, scope: str, name: str, given: Mapping[str, Any], why: str) -> None:
        self._put_aside(scope, name, given)
        self._ledger.say("channel", f"{scope}/{name}", "later", f"{why}; its settings are kept")

    def _put_aside(self, scope: str, name: str, given: Mapping[str, Any]) -> None:
        kept = self._ledger.plan.kept.get(scope, {}).get("channels", {})
        self._ledger.keep(scope, "channels", {**kept, name: translation.settings(given)})

    def _settings(self, data: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        inside = config["channels"] if isinstance(config.get("channels"), dict) else {}
        for name, given in inside.items():
            if name in ("discord", "slack") and isinstance(given, dict) and given.get("enabled", True) is not False:
                yield name, given
        for entry in self.attached(data):
            if entry["type"] not in inside:
                yield entry["type"], entry["config"] if isinstance(entry.get("config"), dict) else {}

    def _clash(self, scope: str, name: str, settings: Mapping[str, Any]) -> str | None:
        """Say which other agent has the bot of a channel already; None when none has, and then it is this one's."""
        claims = list(self._membership(scope, {name: settings}).claims())
        for channel, value, label in claims:
            if (holder := self._claims.get((channel, value), scope)) != scope:
                return f"its {label} is that of {holder}, and two agents would take each other's messages"
        self._claims.update({(channel, value): scope for channel, value, _ in claims})
        return None

    def _membership(self, scope: str, chosen: Mapping[str, Mapping[str, Any]]) -> Membership:
        return Membership(scope, chosen, self._ledger.kept(scope))
