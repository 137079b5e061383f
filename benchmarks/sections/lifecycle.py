"""Stop, start, another model, memory, remove."""

from __future__ import annotations

from ..report import Row, Section, times
from ..rounds import collect
from ..world import World, daemon_alone, wait_until_idle, watched_start


def measure(world: World, runs: int) -> Section:
    """One host, whose release stays; every round has two new agents, one of which is stopped before it is removed."""
    [host] = world.equipped(1)
    desk = world.desk(host)
    text = desk.folder / "user.md"
    write = ("agent", "memory", "write", "maurice", "USER.md", "--replace", "--file", str(text))
    rounds: list[dict[str, float]] = []
    for number in range(runs):
        for agent in ("maurice", "agnes"):
            desk.deploy(host, agent)
        wait_until_idle()
        seconds: dict[str, float] = {}
        alone = daemon_alone(host, "maurice", 8642)
        seconds |= {"daemon stop": alone["stop"], "daemon start": alone["job"] + alone["start"]}
        wait_until_idle()
        seconds["stop"] = desk.clm("agent", "stop", "maurice")
        with watched_start(host, "maurice", 8642) as started:
            seconds["start"] = desk.clm("agent", "start", "maurice")
        seconds["start's daemon"] = started["start"]
        wait_until_idle()
        seconds["start again"] = desk.clm("agent", "start", "maurice")
        with watched_start(host, "maurice", 8642, "running") as started:
            seconds["model"] = desk.clm("agent", "configure", "maurice", "--model", f"stand-in-{number}")
        seconds["model's daemon"] = started["start"]
        wait_until_idle()
        text.write_text(f"Round {number}.")
        seconds["memory write"] = desk.clm(*write)
        seconds["memory read"] = desk.clm("agent", "memory", "read", "maurice", "USER.md")
        desk.clm("agent", "stop", "agnes")
        order = [("running", "maurice"), ("stopped", "agnes")]
        for kind, agent in order if number % 2 else reversed(order):
            seconds[f"remove {kind}"] = desk.clm("agent", "remove", agent, "--yes")
        rounds.append(seconds)
    desk.deploy(host, "maurice")
    counts = {
        "stop": desk.probe("clm", "agent", "stop", "maurice"),
        "start": desk.probe("clm", "agent", "start", "maurice"),
        "start again": desk.probe("clm", "agent", "start", "maurice"),
        "model": desk.probe("clm", "agent", "configure", "maurice", "--model", "stand-in"),
        "memory write": desk.probe("clm", *write),
        "memory read": desk.probe("clm", "agent", "memory", "read", "maurice", "USER.md"),
        "remove": desk.probe("clm", "agent", "remove", "maurice", "--yes"),
    }
    world.remove(host)

    series = collect(rounds)
    section = Section(
        "Stop, start, another model, memory, remove",
        "`clm`, whole processes. *The daemon alone* is `systemctl stop` and `systemctl start` on the host, nobody in "
        "between; a start ends when the port listens. Inside our commands the daemon's part is from its unit's "
        "ActiveEnter until its port listens, seen on the host.",
    )
    stop, start, model = series["stop"], series["start"], series["model"]
    section.rows += [
        Row("the daemon alone: stop", series["daemon stop"]),
        Row("the daemon alone: start", series["daemon start"]),
        Row("`clm agent stop`", stop, times(stop.ratio(series["daemon stop"]), "the daemon alone"), counts["stop"]),
        Row(
            "`clm agent start`", start, times(start.ratio(series["daemon start"]), "the daemon alone"), counts["start"]
        ),
        Row("- of it not the daemon's own start", start - series["start's daemon"]),
        Row("`clm agent start`, it runs already", series["start again"], "", counts["start again"]),
        Row("`clm agent configure --model M`, restart and conversation", model, "", counts["model"]),
        Row("- of it not the daemon's own start", model - series["model's daemon"]),
        Row("`clm agent memory write`", series["memory write"], "", counts["memory write"]),
        Row("`clm agent memory read`", series["memory read"], "", counts["memory read"]),
        Row("`clm agent remove`, it runs", series["remove running"], "", counts["remove"]),
        Row("`clm agent remove`, it is stopped", series["remove stopped"]),
    ]
    return section
