"""What an agent is checked against: what a file says of it, and what its own unit says where the file is silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pyinfra_hermes.deploys.model import names, releases
from pyinfra_hermes.deploys.model.spec import AgentSpec, Hardening
from pyinfra_hermes.deploys.model.unit import PROFILES

#: Fields of a row that are looked at.
_FIELDS = ("name", "host", "port", "release", "method", "hardening", "running")
#: Fields that a row may have for others: a file that an agent is made from can be given as it is.
_OTHERS = (*AgentSpec.model_fields, "type", "secrets", "schema_version")


class InvalidWanted(ValueError):
    """A file of wanted agents that cannot be used; the text says where and why."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one agent; None where whatever its host has is right."""

    name: str
    #: Name, address or alias of its host, as ``--hosts`` has it; None for every host.
    host: str | None = None
    port: int | None = None
    #: Upstream's tag.
    release: str | None = None
    method: Literal["installer", "wheel"] | None = None
    hardening: Hardening | None = None
    #: Whether it is to run; one that is only installed has no configuration yet.
    running: bool = True


def read(path: Path) -> tuple[Wanted, ...]:
    """
    Read a file of wanted agents: one mapping, a list of them, or a mapping with such a list as ``hermes_agents``.

    Raises :class:`InvalidWanted`.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidWanted(f"{path} cannot be read: {error}") from None
    if isinstance(data, Mapping) and set(data) == {"hermes_agents"}:
        data = data["hermes_agents"]
    rows = [data] if isinstance(data, Mapping) else data
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise InvalidWanted(f"{path}: expected an agent, or a list of agents")
    return tuple(_row(row, f"{path}: agent {number}") for number, row in enumerate(rows, 1))


def on_host(wanted: Iterable[Wanted], *host: str) -> tuple[Wanted, ...]:
    """Return the agents that are wanted on a host, which may be called by any of several names."""
    return tuple(each for each in wanted if each.host is None or each.host in host)


def tag_of(release_id: str) -> str:
    """Return upstream's tag of an installed release, from its folder's name."""
    return release_id.partition("-")[0]


def _row(row: Any, where: str) -> Wanted:
    if not isinstance(row, Mapping):
        raise InvalidWanted(f"{where}: expected name, port, release and so on")
    unknown = [str(key) for key in row if key not in (*_FIELDS, *_OTHERS)]
    if unknown:
        raise InvalidWanted(f"{where}: there is no {unknown[0]}; known are {', '.join(_FIELDS)}")
    given = {key: row[key] for key in _FIELDS if row.get(key) is not None}
    shapes: Mapping[str, bool] = {
        "name": isinstance(given.get("name"), str),
        "host": isinstance(given.get("host", ""), str),
        "port": type(given.get("port", 0)) is int,
        "release": isinstance(given.get("release", ""), str),
        "method": given.get("method", "wheel") in ("installer", "wheel"),
        "hardening": isinstance(known := given.get("hardening", "off"), str) and known in PROFILES,
        "running": isinstance(given.get("running", True), bool),
    }
    for key, right in shapes.items():
        if not right:
            raise InvalidWanted(f"{where}: {key} cannot be {given.get(key)!r}")
    try:
        names.agent_name(given["name"])
        if "release" in given:
            given["release"] = releases.manifest().release(given["release"]).tag
    except ValueError as error:
        raise InvalidWanted(f"{where}: {error}") from None
    return Wanted(**given)
