"""``python -m benchmarks``: run the sections that are asked for and print them as Markdown."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .report import Section, commit, machine
from .rounds import Failed
from .sections import converge, install, lifecycle, methods, ps, startup, stock, upgrade
from .world import World

# Those that make hosts of their own come before the fleet of twenty is up, which would be in their way.
SECTIONS: dict[str, Callable[[World, int], Section]] = {
    "startup": startup.measure,
    "install": install.measure,
    "methods": methods.measure,
    "stock": stock.measure,
    "lifecycle": lifecycle.measure,
    "upgrade": upgrade.measure,
    "converge": converge.one,
    "fleet": converge.many,
    "ps": ps.measure,
}


def main() -> int:
    """Measure and print; progress goes to standard error."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description="Measure pyinfra-hermes on throwaway lab hosts, side by side with what it is compared with. "
        "Needs root. All sections take a quarter to half an hour with 5 runs.",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all when none is named")
    parser.add_argument("--runs", type=int, default=5, help="rounds, whose median is shown (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the report into this file, too")
    parser.add_argument(
        "--quiet-below", type=float, metavar="LOAD", help="before each section wait for a load average below this..."
    )
    parser.add_argument("--patience", type=float, default=600, metavar="SECONDS", help="...so long (default: 600)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.sections if name not in SECTIONS]
    if unknown or arguments.runs < 1:
        parser.error(f"no section {unknown[0]!r}" if unknown else "--runs must be 1 or more")
    chosen = [name for name in SECTIONS if name in (arguments.sections or SECTIONS)]
    text = f"{time.strftime('%Y-%m-%d')}, commit {commit()}, {machine()}. Hosts: systemd-nspawn on the same machine.\n"
    print(text)
    try:
        with World.open() as world:
            for name in chosen:
                if arguments.quiet_below is not None:
                    _await_quiet(arguments.quiet_below, arguments.patience)
                _say(f"{name}: {arguments.runs} rounds")
                before = os.getloadavg()[0]
                section = SECTIONS[name](world, arguments.runs)
                section.load = before, os.getloadavg()[0]
                part = section.markdown(arguments.runs)
                print(part, flush=True)
                text += "\n" + part
                if arguments.output:
                    arguments.output.write_text(text)
    except Failed as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    return 0


def _await_quiet(load: float, patience: float) -> None:
    deadline = time.monotonic() + patience
    while os.getloadavg()[0] >= load and time.monotonic() < deadline:
        _say(f"load average {os.getloadavg()[0]:.1f}, waiting for less than {load}")
        time.sleep(15)


def _say(text: str) -> None:
    print(f"benchmark: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
