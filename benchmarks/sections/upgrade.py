"""An upgrade and its rollback: how long they take, and how long the agent does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pyinfra_hermes.deploys.model.releases import manifest

from ..report import Row, Section, times
from ..rounds import collect
from ..world import Host, World, daemon_alone, wait_until_idle

# Runs on a host: for how many seconds /health is not answered, a fifth of a second at least at a time.
_WATCH = """
import http.client, json, os, sys, time
port, ended = int(sys.argv[1]), sys.argv[2]
def answers():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
last, silent, longest = time.monotonic(), 0.0, 0.0
while not os.path.exists(ended):
    if answers():
        now = time.monotonic()
        if now - last > 0.2:
            silent += now - last
            longest = max(longest, now - last)
        last = now
    time.sleep(0.02)
print(json.dumps({"silent": silent, "longest": longest}))
"""
_ENDED = "/run/benchmark-ended"


@contextmanager
def watched_health(host: Host, port: int) -> Iterator[dict[str, float]]:
    """Fill in ``silent``: seconds in the block during which /health was not answered."""
    seen: dict[str, float] = {}
    host.machine.ssh(f"rm -f {_ENDED}")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(host.machine.ssh, "python3", "-c", _WATCH, str(port), _ENDED, timeout=600)
        try:
            yield seen
        finally:
            host.machine.ssh(f"touch {_ENDED}")
            seen.update(json.loads(future.result().stdout))


def measure(world: World, runs: int) -> Section:
    """One host with both releases; every round goes to the newest release and back."""
    [host] = world.equipped(1)
    desk = world.desk(host)
    old, new = manifest().release(), manifest().newest
    desk.deploy(host, "maurice")
    # Another agent has brought the release: what is measured is the change, not the building.
    desk.clm("agent", "install", "--host", host.name, "--name", "seed", "--release", new.tag)
    rounds: list[dict[str, float]] = []
    for _ in range(runs):
        seconds: dict[str, float] = {}
        wait_until_idle()
        alone = daemon_alone(host, "maurice", 8642)
        seconds["alone"] = alone["stop"] + alone["job"] + alone["start"]
        for what, release in (("upgrade", new), ("rollback", old)):
            wait_until_idle()
            with watched_health(host, 8642) as health:
                seconds[what] = desk.clm("agent", what, "maurice", "--to", release.tag, "--yes")
            seconds[f"{what} silent"] = health["silent"]
        rounds.append(seconds)
    world.remove(host)

    series = collect(rounds)
    section = Section(
        "Another release, and back",
        f"`clm agent upgrade` from {old.tag} to {new.tag}, which is on the host, and `clm agent rollback`; with the "
        "conversation that proves it. *Without an answer* is how long `/health` is silent, asked on the host every 20 "
        "ms. *The daemon alone* is `systemctl stop` and `systemctl start` of the earlier release, until its port "
        "listens.",
    )
    alone_ = series["alone"]
    for what in ("upgrade", "rollback"):
        silent = series[f"{what} silent"]
        section.rows += [
            Row(f"`clm agent {what}`", series[what]),
            Row("- of it without an answer", silent, times(silent.ratio(alone_), "the daemon alone")),
        ]
    section.rows.append(Row("the daemon alone: stop and start", alone_))
    section.notes.append("A rollback puts the state.db of before back; the later release migrates it anew each time.")
    return section
