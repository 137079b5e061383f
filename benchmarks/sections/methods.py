"""From a new host to the first answer by either method of installing, and a second agent beside the first."""

from __future__ import annotations

from tests.lab.image import packages
from tests.lab.upstream import GENUINE, NEEDS, Upstream

from ..report import Row, Section, times
from ..rounds import collect
from ..world import World

_TAG = GENUINE[-1]


def measure(world: World, runs: int) -> Section:
    """Every round has a host for each method; they take turns in beginning."""
    layer = packages(*NEEDS)
    rounds: list[dict[str, float]] = []
    with world.upstream() as upstream:
        methods = {"wheel": (), "installer": _source(upstream)}
        # What the server packs for its first caller is not measured.
        for number in range(-1, runs):
            seconds: dict[str, float] = {}
            for method in sorted(methods, reverse=number % 2 == 0):
                [host] = world.boot(layer=layer)
                index = f"UV_DEFAULT_INDEX={upstream.index(_TAG)}"
                host.machine.ssh("systemctl", "set-environment", index, "UV_PYTHON_DOWNLOADS=never")
                desk = world.desk(host)
                for which, agent in (("first", "maurice"), ("second", "agnes")):
                    seconds[f"{method} {which}"] = desk.clm(
                        "agent", "install", "--host", host.name, "--name", agent, "--release", _TAG,
                        "--method", method, *methods[method],
                    ) + desk.clm("agent", "configure", agent, "--provider", "model")  # fmt: skip
                world.remove(host)
            if number >= 0:
                rounds.append(seconds)
    series = collect(rounds)
    section = Section(
        "The two methods: from a new host to the first answer",
        f"`clm agent install` and `clm agent configure` of {_TAG}, proof with a conversation included. The wheels lie "
        "packed on the control machine. The installer is upstream's own; the repository and the package index that it "
        "asks are on this machine, too, so over the internet it takes longer: it clones, resolves and fetches there.",
    )
    for which, title in (("first", "first agent"), ("second", "second agent, same host")):
        wheel, installer = series[f"wheel {which}"], series[f"installer {which}"]
        section.rows += [
            Row(f"**{title}**, wheel", wheel),
            Row(f"**{title}**, installer", installer, times(installer.ratio(wheel), "wheel")),
        ]
    section.notes.append("A release by wheel is shared by the agents of a host; by the installer each has its own.")
    return section


def _source(upstream: Upstream) -> tuple[str, ...]:
    return ("--installer-base", upstream.genuine, "--repository", upstream.repository(_TAG))
