"""A new host, and a second agent on it."""

from __future__ import annotations

from typing import Any

from ..report import Row, Section, times
from ..rounds import Series, collect
from ..world import World, install_folder_size, watched_start


def measure(world: World, runs: int) -> Section:
    """Every round has a host of its own that has never seen an agent."""
    rounds: list[dict[str, float]] = []
    probes: dict[str, dict[str, Any]] = {}
    size = ""
    for _ in range(runs):
        [host] = world.boot()
        desk = world.desk(host)
        seconds: dict[str, float] = {"ssh": world.ssh(host, "true")}
        for which, agent, port in (("first", "maurice", 8642), ("second", "agnes", 8643)):
            install = desk.probe("clm", "agent", "install", "--host", host.name, "--name", agent)
            with watched_start(host, agent, port) as started:
                configure = desk.probe("clm", "agent", "configure", agent, "--provider", "model")
            probes |= {f"{which} install": install, f"{which} configure": configure}
            release = _seconds(install, "release ")
            seconds |= {
                f"{which} install": install["wall"],
                f"{which} release": release,
                f"{which} configure": configure["wall"],
                f"{which} daemon": started["start"],
                f"{which} proof": _seconds(configure, "answers"),
            }
        rounds.append(seconds)
        size = install_folder_size(host)
        world.remove(host)
    return _section(collect(rounds), probes, size)


def _section(series: dict[str, Series], probes: dict[str, dict[str, Any]], size: str) -> Section:
    section = Section(
        "A new host: install, configure, healthy",
        f"From a host without anything of ours (Debian 12 with ripgrep and ffmpeg) to an agent that had a short "
        f"conversation with the stand-in model. The wheels lie packed on the control machine. The release takes {size} "
        "on the host. The daemon's own start is from its unit's ActiveEnter until its port listens, seen on the host.",
    )
    ssh = series["ssh"]
    for which, title in (("first", "first agent"), ("second", "second agent, same host")):
        install, release = series[f"{which} install"], series[f"{which} release"]
        configure, daemon = series[f"{which} configure"], series[f"{which} daemon"]
        proof = series[f"{which} proof"]
        total = install + configure
        section.rows += [
            Row(f"**{title}**: install + configure + healthy", total, times(total.ratio(ssh), "`ssh host true`")),
            Row("- `clm agent install`", install, "", probes[f"{which} install"]),
            Row("- - of it the release: upload, build, its own `--version`", release),
            Row("- - of it the rest, start-up of `clm` included", install - release),
            Row("- `clm agent configure --provider model`", configure, "", probes[f"{which} configure"]),
            Row("- - of it the daemon's own start", daemon, times(daemon.ratio(configure), "all of configure")),
            Row("- - of it the rest of the proof: `hermes --version`, the agent's first conversation", proof - daemon),
            Row("- - of it everything else, start-up of `clm` included", configure - proof),
        ]
    first = probes["first configure"]
    proof = sum(op["execs"] for op in first["operations"] if op["name"].endswith("answers"))
    section.notes.append(
        f"Budget: first configure of an installed agent a dozen execs at most, the daemon's own start aside. "
        f"Counted: {first['execs']}, {proof} of them the proof that waits for the start."
    )
    return section


def _seconds(probe: dict[str, Any], part: str) -> float:
    return float(sum(op["seconds"] for op in probe["operations"] if part in op["name"]))
