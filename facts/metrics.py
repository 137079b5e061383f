"""Whether a host writes metrics of its agents into a file, every minute."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override


@dataclass(frozen=True)
class MetricsTimer:
    """What there is of the timer."""

    #: SHA256 of each of its files, by path; of those that are there.
    files: Mapping[str, str] = field(default_factory=dict)
    #: Whether it is enabled and runs.
    on: bool = False


class HermesMetricsTimer(FactBase[MetricsTimer | None]):
    """
    Returns what there is of the timer that writes metrics; ``None`` when the host could not be asked.

    + files: the paths of its files

    **Example:**

    .. code:: python

        host.get_fact(HermesMetricsTimer, files=("/opt/pyinfra-hermes/metrics.sh",), _sudo=True).on  # True
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, files: tuple[str, ...]) -> str:
        script = resources.files("pyinfra_hermes.facts").joinpath("metrics.sh").read_text(encoding="utf-8")
        return f"set -- {shlex.join(files)}\n{script}"

    @override
    def process(self, output: list[str]) -> MetricsTimer:
        if not output or output[-1] != "end":
            raise FactProcessError("the answer about the timer was cut off")
        rows = [line.split() for line in output]
        return MetricsTimer(
            {row[1]: row[2] for row in rows if row[0] == "file" and len(row) == 3}, "timer on" in output
        )
