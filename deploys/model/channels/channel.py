"""What every channel's declaration holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from ..declaration import Declaration, InvalidSetting, Json, KeyPath, Rendered, Target, Value
from ..secret import Secret
from .checking import Check


class InvalidChannel(InvalidSetting):
    """A channel that there is not, or that cannot be as it is asked for."""


@dataclass(frozen=True, kw_only=True)
class Channel(Declaration):
    """
    The declaration of one channel, under the name that Hermes gives the platform.

    Its secrets lie under the agent's own key, by the names that Hermes knows them by: the fields' variables.
    """

    always_on: bool = False
    #: Fields that ``config.yaml`` carries, each with its leaf; a mapping's names become leaves below it.
    leaves: Mapping[str, KeyPath] = field(default_factory=dict)
    #: What there is beyond the fields that name a variable or a leaf.
    more: Callable[[Mapping[str, Value], Mapping[str, Secret], Target], Rendered] | None = None
    #: Fields that name who may talk to the agent; ``*`` in one of them is everybody.
    admits: tuple[str, ...] = ()
    #: Says why settings let strangers in, beyond ``allow_all_users`` and ``*``.
    also_opens: Callable[[Mapping[str, Value]], str | None] | None = None
    #: Fields whose value may serve one agent only: two that share it take each other's messages.
    exclusive: tuple[str, ...] = ()
    #: Fields that hold a port on which the agent listens on its host.
    listens: tuple[str, ...] = ()
    #: How the service is asked whether it takes the credentials; None where that is no cheap call.
    check: Check | None = None
    #: Seconds that a connection may take. The API is not served before every channel has connected or failed.
    connect_seconds: int = 10

    @property
    @override
    def what(self) -> str:
        return f"Channel {self.name}"

    @override
    def options(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Check settings as :meth:`Declaration.options` does; a list without items is no setting."""
        return {name: value for name, value in super().options(values).items() if value not in ([], {}, "")}

    def opens(self, options: Mapping[str, Value]) -> str | None:
        """Say why anybody at all may make the agent work with these settings; None when only chosen ones may."""
        if options.get("allow_all_users"):
            return "allow_all_users lets everybody in"
        for name in self.admits:
            if "*" in _items(options.get(name)):
                return f"'*' in {name} lets everybody in"
        return self.also_opens(options) if self.also_opens else None

    def admits_nobody(self, options: Mapping[str, Value]) -> bool:
        """Tell whether nobody may talk to the agent with these settings, as long as no pairing is approved."""
        return bool(self.admits) and not self.opens(options) and not any(options.get(name) for name in self.admits)

    def claims(self, options: Mapping[str, Value], secrets: Mapping[str, Secret]) -> dict[Secret, str]:
        """Return what no other agent may have, each with the label of its field; secrets by their fields' names."""
        found: dict[Secret, str] = {}
        for f in self.fields:
            if f.name in self.exclusive:
                value = secrets[f.name].reveal() if f.name in secrets else options.get(f.name)
                found |= {Secret(item): f.label for item in _items(value)}
        return found

    def render(self, options: Mapping[str, Value], secrets: Mapping[str, Secret], target: Target) -> Rendered:
        """
        Return what the channel puts into an agent's files.

        ``secrets`` are those of the channel, by their fields' names.
        """
        env = self.variables(options, secrets)
        config: dict[KeyPath, Json] = {}
        if not self.always_on:
            # A block that says `enabled: false` would win over the variables (0.18), for Slack always.
            config[self.name, "enabled"] = True
        for name, path in self.leaves.items():
            value = options.get(name)
            if isinstance(value, dict):
                config |= {(*path, key): text for key, text in value.items()}
            elif value is not None:
                config[path] = list(value) if isinstance(value, list) else value
        further = self.more(options, secrets, target) if self.more else Rendered()
        return Rendered(env={**env, **further.env}, config={**config, **further.config})


def _items(value: object) -> Collection[str]:
    if isinstance(value, list):
        return value
    return [item.strip() for item in str(value).split(",") if item.strip()] if value is not None else ()
