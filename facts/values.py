"""The values of some of an agent's leaves and variables, and its unit, for a comparison that people read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from pyinfra.api import FactBase
from typing_extensions import override

from .leaves import KeyPath, leaf_key
from .script import values_of


@dataclass(frozen=True)
class Values:
    """What was found. None stands for a value that looks like a secret, and stayed on the host."""

    #: As JSON, by the leaf's path, see :func:`.leaves.leaf_key`.
    leaves: dict[str, str | None] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)
    #: Text of each unit that is there, by its path.
    units: dict[str, str] = field(default_factory=dict)


class HermesValues(FactBase[Values]):
    """
    Returns the values of some leaves and variables of an agent, as :class:`Values`. Needs root (``_sudo=True``).

    + agent: name of the agent
    + home: its home
    + python: interpreter of its release
    + leaves: paths in its config.yaml
    + variables: names in its .env
    + units: paths of units whose text is wanted

    It is meant for what is known not to be secret; what looks like a secret all the same is not sent.

    **Example:**

    .. code:: python

        host.get_fact(
            HermesValues,
            agent="maurice",
            home="/home/maurice",
            python="/opt/pyinfra-hermes/releases/v2026.5.7-wheel-481e9e99/venv/bin/python",
            leaves=(("model", "default"),),
            variables=("API_SERVER_PORT",),
            units=("/etc/systemd/system/hermes-maurice.service",),
            _sudo=True,
        ).leaves  # {'["model", "default"]': '"llama3"'}
    """

    @staticmethod
    @override
    def default() -> Values:
        return Values()

    @override
    def command(
        self,
        agent: str,
        home: str,
        python: str,
        leaves: Iterable[KeyPath] = (),
        variables: Iterable[str] = (),
        units: Iterable[str] = (),
    ) -> str:
        asked = json.dumps({"leaves": [list(path) for path in leaves], "variables": list(variables)})
        return values_of(agent, home, python, asked, units)

    @override
    def process(self, output: list[str]) -> Values:
        return read(output)


def read(lines: Iterable[str]) -> Values:
    """Read what the script printed. The agent may have made up what is told of its files; units are root's."""
    found = Values()
    texts: dict[str, list[str]] = {}
    unit: list[str] | None = None
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "unit":
            unit = texts[rest] = []
        elif word == "line" and unit is not None:
            unit.append(rest)
        elif word == "own":
            word, _, rest = rest.partition(" ")
            if word not in ("leaf", "variable"):
                continue
            with suppress(ValueError, TypeError, RecursionError):
                name, value = json.loads(rest)
                if value is None or isinstance(value, str):
                    where = found.leaves if word == "leaf" else found.variables
                    where[leaf_key(name) if word == "leaf" else str(name)] = value
    found.units.update({path: "\n".join(text) for path, text in texts.items() if text})
    return found
