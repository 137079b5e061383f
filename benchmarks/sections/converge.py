"""A converge that finds nothing to do: one host, and many."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from pyinfra_hermes.facts.script import observe_agents

from ..report import Row, Section, times
from ..rounds import Series, interleave, run
from ..world import World

_IMPORT = "from gevent import monkey; monkey.patch_all(); import pyinfra.api, pyinfra.connectors.ssh"
_FLEET = ("inventories/fleet.py", "deploys/hermes.py", "-y")
_AS_ROOT = ("sudo", "-n", "sh", "-s")
_MANY = (1, 10, 20)


def one(world: World, runs: int) -> Section:
    """One host with one agent that is as it should be."""
    desk, hosts = world.fleet()
    host = hosts[0]
    agent = f"agent{host.machine.number}"
    script = observe_agents([agent])
    with world.resident(desk) as engine:
        counts = engine.converge([host.name])
        series = interleave(
            {
                "ssh": lambda: world.ssh(host, "true"),
                "import": lambda: run([sys.executable, "-c", _IMPORT]),
                "observe": lambda: world.ssh(host, *_AS_ROOT, input=script),
                "clm": lambda: desk.clm("agent", "configure", agent),
                "pyinfra": lambda: desk.pyinfra(*_FLEET, "--limit", host.name),
                "engine": lambda: engine.converge([host.name])["seconds"],
            },
            runs,
        )
    section = Section(
        "Converge with nothing to do, one host",
        "One running agent. Budget: one connection, two or three execs, within 2 x of `ssh host true` plus interpreter "
        "and pyinfra import. Everything logs in anew as a user with sudo.",
    )
    base, name = series["ssh"] + series["import"], "budget's base"
    rows = [
        ("`ssh host true`", series["ssh"], "", {"connections": 1, "execs": 1, "uploads": 0}),
        (f"`python -c '{_IMPORT}'`", series["import"], "", None),
        ("**budget's base**: the sum of both", base, "1", None),
        ("`ssh host sudo sh -s` with our observing script", series["observe"], "base", None),
        ("`clm agent configure NAME`", series["clm"], "base", desk.probe("clm", "agent", "configure", agent)),
        (
            "`pyinfra inventories/fleet.py deploys/hermes.py -y`",
            series["pyinfra"],
            "base",
            desk.probe("pyinfra", *_FLEET, "--limit", host.name),
        ),
        ("the engine, its process started before", series["engine"], "ssh", counts),
    ]
    for what, seconds, to, counted in rows:
        ratio = {"base": lambda s: times(s.ratio(base), name), "ssh": lambda s: times(s.ratio(series["ssh"]), "ssh")}
        section.rows.append(Row(what, seconds, ratio[to](seconds) if to in ratio else to, counted))
    return section


def many(world: World, runs: int) -> Section:
    """The same on 1, 10 and 20 hosts."""
    desk, hosts = world.fleet()
    names = [host.name for host in hosts]
    took: dict[int, list[dict[str, float]]] = {n: [] for n in _MANY}
    with world.resident(desk) as engine:
        counted = {n: engine.converge(names[:n]) for n in _MANY}

        def converge(n: int) -> float:
            took[n].append(engine.converge(names[:n]))
            return took[n][-1]["seconds"]

        def with_pyinfra(n: int) -> float:
            limits = [word for name in names[:n] for word in ("--limit", name)]
            return desk.pyinfra(*_FLEET, *limits)

        scripts = {host.name: observe_agents([f"agent{host.machine.number}"]) for host in hosts}

        def with_openssh(n: int) -> float:
            started = time.monotonic()
            with ThreadPoolExecutor(n) as pool:
                list(pool.map(lambda host: world.ssh(host, *_AS_ROOT, input=scripts[host.name]), hosts[:n]))
            return time.monotonic() - started

        series = interleave(
            {
                **{f"openssh {n}": lambda n=n: with_openssh(n) for n in _MANY},
                **{f"engine {n}": lambda n=n: converge(n) for n in _MANY},
                **{f"pyinfra {n}": lambda n=n: with_pyinfra(n) for n in _MANY},
            },
            runs,
        )
    section = Section(
        "Converge with nothing to do, many hosts",
        "Budget: 20 hosts in under 3 x the time of one on two cores. The engine runs in a process that has started "
        "before, so nothing that is paid once flatters its ratio; `pyinfra` is the whole process. The hosts are on the "
        "same cores as the control machine: what 20 real hosts do side by side, these do in turns.",
    )
    for kind, title in (
        ("openssh", "the floor: `ssh host sudo sh -s` with our observing script, side by side"),
        ("engine", "the engine"),
        ("pyinfra", "`pyinfra inventories/fleet.py deploys/hermes.py -y`"),
    ):
        for n in _MANY:
            seconds, first = series[f"{kind} {n}"], series[f"{kind} {_MANY[0]}"]
            section.rows.append(
                Row(
                    f"{title}, {n} host{'s' if n > 1 else ''}",
                    seconds,
                    times(seconds.ratio(first), "one host"),
                    counted[n] if kind == "engine" else None,
                )
            )
    cpu = {n: Series(tuple(answer["cpu"] for answer in took[n])).median for n in _MANY}
    listed = ", ".join(f"{seconds:.2f} s for {n}" for n, seconds in cpu.items())
    section.notes.append(
        f"CPU time of the engine's own process, its medians: {listed}. The rest is sshd, sudo and the observing "
        "script on the hosts."
    )
    return section
