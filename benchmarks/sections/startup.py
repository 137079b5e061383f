"""How long ``clm`` takes before it does anything."""

from __future__ import annotations

import sys

from ..report import Row, Section, times
from ..rounds import interleave, run
from ..world import BIN, World


def measure(world: World | None, runs: int) -> Section:
    """Needs no hosts. Fast, so every round is made five times."""
    clm = str(BIN / "clm")
    series = interleave(
        {
            "`python -c pass`": lambda: run([sys.executable, "-c", "pass"]),
            "`python -c 'import click'`": lambda: run([sys.executable, "-c", "import click"]),
            "`clm --help`": lambda: run([clm, "--help"]),
            "`clm --version`": lambda: run([clm, "--version"]),
            "a usage error: `clm --bogus`": lambda: run([clm, "--bogus"], expect=2),
            "`clm agent --help`": lambda: run([clm, "agent", "--help"]),
        },
        runs * 5,
    )
    base = series["`python -c 'import click'`"]
    section = Section(
        "Start-up",
        "Budget: within 3 x of `python -c pass` plus Click, which is `python -c 'import click'` here. "
        "Whole processes, warm page cache.",
    )
    for name, values in series.items():
        section.rows.append(Row(name, values, times(values.ratio(base), "`import click`")))
    section.notes.append("Five times as many rounds as said below.")
    return section
