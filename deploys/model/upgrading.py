"""What another release means for an agent, told before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .adapters import Feature
from .releases import Method, Release, tags
from .render import Files

#: What a person has of a feature; of the others nobody has to know.
MEANING: Mapping[Feature, str] = {
    "openai-api": "OpenAI has a provider of its own",
    "vertex": "Google Vertex can be the provider",
    "bedrock-bearer-claude": "Claude on Bedrock works with a bearer token",
    "azure-entra": "Azure can be signed in to with Entra ID",
    "plugin-platforms": "Teams, Google Chat, LINE and IRC are there",
    "whatsapp-cloud": "WhatsApp works through Meta's API",
}


def is_older(release: Release, than: Release) -> bool:
    """Tell whether a release is an earlier one."""
    return tags.order(release.tag) < tags.order(than.tag)


def _schema_fits(data: int | None, release: Release) -> bool:
    return data is None or release.state_schema is None or data <= release.state_schema


@dataclass(frozen=True)
class Plan:
    """A change of releases, as far as it is known before its host is asked."""

    agent: str
    host: str
    what: Literal["upgrade", "rollback"]
    before: Release
    method_before: Method
    after: Release
    method: Method
    #: What the rendered configuration has other, by name; no values.
    changes: tuple[str, ...]
    #: MiB that the release needs by directory, unless it is there.
    room: Mapping[str, int]

    @property
    def gained(self) -> tuple[str, ...]:
        return tuple(MEANING[each] for each in MEANING if self.after.has(each) and not self.before.has(each))

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(MEANING[each] for each in MEANING if self.before.has(each) and not self.after.has(each))

    @property
    def schema(self) -> str:
        """What becomes of ``state.db``, in words."""
        old, new = self.before.state_schema, self.after.state_schema
        if old is None or new is None:
            return "not known; it is kept before, and put back when this fails"
        if old == new:
            return f"schema {new} stays"
        if old < new:
            return f"schema {old} becomes {new} at the first start; the one of before is kept"
        return f"schema {old} is newer than {new}, which this release reads: the one of before is put back"

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan as names and values."""
        room = ", ".join(f"{mib} MiB in {where}" for where, mib in self.room.items())
        return [
            ("agent", f"{self.agent} on {self.host}"),
            ("from", _named(self.before, self.method_before)),
            ("to", _named(self.after, self.method)),
            *([("gains", "\n".join(self.gained))] if self.gained else []),
            *([("loses", "\n".join(self.lost))] if self.lost else []),
            ("settings", "\n".join(self.changes) or "rendered as before"),
            ("state.db", self.schema),
            (
                "room",
                f"{room} unless the release is there, and for a copy of state.db" if room else "for a copy of state.db",
            ),
            ("downtime", "from its stop, once it has finished what it is doing (210 s at most), until it answers"),
        ]

    def data(self) -> dict[str, Any]:
        """Return the plan as plain data, for programs."""
        return {
            "agent": self.agent,
            "host": self.host,
            "what": self.what,
            "from": {"release": self.before.tag, "version": self.before.version, "method": self.method_before},
            "to": {"release": self.after.tag, "version": self.after.version, "method": self.method},
            "gains": list(self.gained),
            "loses": list(self.lost),
            "settings": list(self.changes),
            "state_schema": {"from": self.before.state_schema, "to": self.after.state_schema},
            "room_mib": dict(self.room),
        }


def _named(release: Release, method: Method) -> str:
    return f"{release.tag}{f' (Hermes {release.version})' if release.version else ''}, by {method}"


def rendered_changes(before: Files, after: Files) -> tuple[str, ...]:
    """Name what another release is told in another way: variables and leaves, without values."""

    def compared(where: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[str]:
        found = []
        for key in sorted({*old, *new}, key=str):
            name = ".".join(key) if isinstance(key, tuple) else str(key)
            if key not in new:
                found.append(f"- {where}: {name}")
            elif key not in old:
                found.append(f"+ {where}: {name}")
            elif str(_plain(old[key])) != str(_plain(new[key])):
                found.append(f"~ {where}: {name}")
        return found

    return (
        *compared(".env", before.variables, after.variables),
        *compared("config.yaml", before.leaves, after.leaves),
    )


def _plain(value: Any) -> Any:
    reveal = getattr(value, "reveal", None)
    return reveal() if callable(reveal) else value


def database_for(release: Release, current: Release, kept: Mapping[str, tuple[str, bool, int | None]]) -> str | None:
    """
    Choose the kept ``state.db`` that an earlier release gets; None when what is there fits.

    ``kept`` maps ids of snapshots to the id of the release whose they are, whether a database was kept, and its
    schema. Raises ``LookupError`` when one is needed and there is none.
    """
    if current.state_schema is not None and _schema_fits(current.state_schema, release):
        return None
    fitting = [
        id for id, (of, _, schema) in kept.items() if of.startswith(f"{release.tag}-") and _schema_fits(schema, release)
    ]
    if not fitting:
        raise LookupError(release.tag)
    return max(fitting)
