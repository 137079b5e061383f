"""Secrets of the predecessor's: an agent's own, wherever they were kept, and those that nothing has."""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Mapping
from typing import Any

from pyinfra_hermes.deploys.model.secret import Secret

from ..state.records import API_SERVER_KEY, API_SERVER_KEY_DESCRIPTION, SecretEntry, agent_scope
from ..state.timestamps import now
from . import translation
from .imported_channels import Channels
from .ledger import SECRET_KEY, Ledger

_TOKENS = {
    ("discord", "BOT_TOKEN"): "DISCORD_BOT_TOKEN",
    ("slack", "BOT_TOKEN"): "SLACK_BOT_TOKEN",
    ("slack", "APP_TOKEN"): "SLACK_APP_TOKEN",
}
_SCOPE = re.compile(r"[A-Za-z0-9._-]{1,64}:[a-z]{1,16}:[a-z][a-z0-9_-]{0,31}|[a-z]{1,16}:[A-Za-z][A-Za-z0-9_-]{0,63}")


class AgentSecrets:
    """Plans the import of agents' secrets."""

    def __init__(self, ledger: Ledger, channels: Channels) -> None:
        self._ledger = ledger
        self._channels = channels

    def take(self, number: int, host: str, name: str, data: Mapping[str, Any]) -> None:
        """Take over the secrets of an agent of the host that is called ``host`` here; it has an API key then."""
        scope, notes = agent_scope(host, name), []
        found: dict[str, Any] = {}
        for theirs in self._scopes(number, name):
            entries = self._ledger.entries(theirs)
            self._ledger.seen.add(theirs)
            if not entries:
                continue
            if theirs != scope:
                notes.append(f"they were under {theirs}")
            for key, entry in entries.items():
                if (
                    key in found
                    and translation.value_of(found[key]) != translation.value_of(entry)
                    and SECRET_KEY.fullmatch(key)
                ):
                    notes.append(f"another {key} under {theirs} is not taken")
                found.setdefault(key, entry)
        for entry in self._channels.attached(data):
            theirs = f"channel:{entry.get('name')}"
            self._ledger.seen.add(theirs)
            for (kind, key), ours in _TOKENS.items():
                if kind == entry["type"] and key in self._ledger.entries(theirs):
                    found.setdefault(ours, self._ledger.entries(theirs)[key])
        self._ledger.take_secrets(scope, found, notes)
        if API_SERVER_KEY not in self._ledger.held(scope):
            self._new_api_key(scope)

    def leave(self, number: int, name: str) -> None:
        """Let the secrets wait of an agent that is not imported."""
        self._ledger.seen.update(self._scopes(number, name))

    def _scopes(self, number: int, agent: str) -> list[str]:
        """Return the scopes under which the predecessor kept an agent's secrets, the newest form first."""
        ids = translation.ids(self._ledger.source.hosts[number])
        return [f"{one}:hermes:{agent}" for one in ids if self._owners_of(one) == [number]]

    def _owners_of(self, host: str) -> list[int]:
        # An address or an alias of one host may be the id of another one: then it is the other's.
        entries = list(enumerate(self._ledger.source.hosts))
        first = [number for number, entry in entries if host in (entry.get("key_id"), entry.get("hostname"))]
        return first or [number for number, entry in entries if host in translation.ids(entry)]

    def _new_api_key(self, scope: str) -> None:
        # As an installation does: an agent on record without one would stop every inventory.
        at = now()
        made = SecretEntry(
            value=Secret(random.token_hex(32)), created_at=at, updated_at=at, description=API_SERVER_KEY_DESCRIPTION
        )
        self._ledger.plan.secrets.setdefault(scope, {})[API_SERVER_KEY] = made
        self._ledger.say("secrets", scope, "import", f"a new {API_SERVER_KEY}: there is none that can be taken over")


def say_of_others(ledger: Ledger) -> None:
    """Say what becomes of the secrets that nothing of what was planned has."""
    for scope, entries in ledger.source.secrets.items():
        if scope in ledger.seen:
            if not isinstance(entries, dict):
                ledger.say("secrets", scope, "refused", "it should be an object")
            continue
        shown = scope if _SCOPE.fullmatch(scope) else "(a name not shown)"
        match scope.split(":"):
            case [_, "hermes", _]:
                ledger.say("secrets", shown, "skip", "no agent that is imported has them, or several hosts could")
            case [_, _, _]:
                ledger.say("secrets", shown, "skip", "they are of an agent of another type")
            case ["channel", _]:
                ledger.say("secrets", shown, "skip", "no agent that is imported has this channel")
            case _:
                ledger.say("secrets", shown, "skip", "there is no agent, provider or integration that has them")
