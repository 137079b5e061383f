"""What agents of a fleet must not have in common: a bot that two of them use loses its messages to one or the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..declaration import Value
from ..secret import Secret
from . import CATALOGUE, InvalidChannel


@dataclass(frozen=True)
class Membership:
    """An agent with its enabled channels and its own secrets, by their names in secrets.json."""

    #: How it is called in a message.
    agent: str
    channels: Mapping[str, Mapping[str, Value]]
    secrets: Mapping[str, Secret]

    def claims(self) -> Iterable[tuple[str, Secret, str]]:
        """Go through what no other agent may have: channel, value, and what the value is."""
        for name, options in self.channels.items():
            entry = CATALOGUE.get(name)
            if entry is None:
                continue
            known = {f.name: self.secrets[f.key] for f in entry.secrets if f.key in self.secrets}
            for value, label in entry.claims(options, known).items():
                yield name, value, label


def refuse_shared(members: Iterable[Membership]) -> None:
    """Raise :class:`InvalidChannel` when two agents share a bot or an account; the text names both and no secret."""
    holders: dict[tuple[str, Secret], str] = {}
    for member in members:
        for name, value, label in member.claims():
            other = holders.setdefault((name, value), member.agent)
            if other != member.agent:
                raise InvalidChannel(
                    f"{other} and {member.agent} have the same {label} in channel {name}: each would take messages "
                    "that are meant for the other. Give each agent a bot or an account of its own"
                )
