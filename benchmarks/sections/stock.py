"""The same steps with pyinfra's own operations."""

from __future__ import annotations

import time
from typing import Any

from ..report import Row, Section, times
from ..rounds import Series, interleave
from ..world import Desk, Host, World, wait_until_idle

_INVENTORY = "benchmarks/inventory.py"
_WAYS = {
    "ours": ("deploys/hermes.py", "tuned"),
    "stock, our transport": ("benchmarks/stock.py", "tuned"),
    "stock": ("benchmarks/stock.py", "plain"),
}


class _Way:
    """One way to the same end, on a host of its own."""

    def __init__(self, name: str, host: Host, world: World) -> None:
        self.deploy, self.transport = _WAYS[name]
        self.host = host
        self.desk: Desk = world.desk(host)
        self.desk.deploy(host, "maurice")
        self.fresh: list[dict[str, Any]] = []
        self.converged: list[dict[str, Any]] = []

    def round(self) -> None:
        """Clear the host, go the way, wait for the daemon, go it once more."""
        self.desk.pyinfra(_INVENTORY, "benchmarks/clear.py", "-y", **self._env())
        self.fresh.append(self._go())
        self._wait()
        self.converged.append(self._go())

    def remains(self) -> list[str]:
        """Return which of our operations still find something to do."""
        probe = self.desk.probe("pyinfra", _INVENTORY, "deploys/hermes.py", "-y", **self._env())
        return [op["name"] for op in probe["operations"] if op["changed"]]

    def _go(self) -> dict[str, Any]:
        return self.desk.probe("pyinfra", _INVENTORY, self.deploy, "-y", **self._env())

    def _env(self) -> dict[str, str]:
        return {"BENCHMARK_HOST": self.host.name, "BENCHMARK_TRANSPORT": self.transport}

    def _wait(self) -> None:
        for _ in range(300):
            if self.host.machine.ssh("ss -Hltn 'sport = :8642'").stdout:
                break
            time.sleep(0.2)
        wait_until_idle()


def measure(world: World, runs: int) -> Section:
    """Three ways on three hosts; the release is on all of them."""
    hosts = world.equipped(len(_WAYS))
    ways = {name: _Way(name, host, world) for name, host in zip(_WAYS, hosts, strict=True)}

    def round_of(way: _Way) -> float:
        way.round()
        return 0.0

    interleave({name: lambda way=way: round_of(way) for name, way in ways.items()}, runs)
    remains = {name: way.remains() for name, way in ways.items()}
    for host in hosts:
        world.remove(host)

    section = Section(
        "The same eight steps with pyinfra's own operations",
        "`pyinfra benchmarks/inventory.py DEPLOY -y`, the whole process, for an agent whose release is installed: "
        "account, directories, `.env`, `config.yaml`, link, slice, unit, service. Stock is `benchmarks/stock.py`; ours "
        "is `deploys/hermes.py`, which also checks the host and proves that the agent answers. In *first configure* "
        "all of them run `systemctl start`, none of them is charged for the daemon's start: our proof, which waits "
        "for it, is taken out of ours (seconds and execs), stock has none. *Converged* is everything, our look at the "
        "agent's health included.",
    )
    base_fresh = Series(tuple(_without_proof(probe)["wall"] for probe in ways["ours"].fresh))
    base_converged = Series(tuple(probe["wall"] for probe in ways["ours"].converged))
    for name, way in ways.items():
        fresh = Series(tuple(_without_proof(probe)["wall"] for probe in way.fresh))
        counts = _without_proof(way.fresh[-1])
        section.rows.append(Row(f"first configure: {name}", fresh, times(fresh.ratio(base_fresh), "ours"), counts))
    for name, way in ways.items():
        converged = Series(tuple(probe["wall"] for probe in way.converged))
        section.rows.append(
            Row(f"converged: {name}", converged, times(converged.ratio(base_converged), "ours"), way.converged[-1])
        )
    for name, left in remains.items():
        section.notes.append(f"After *{name}*, our deploy finds to do: {', '.join(left) or 'nothing'}.")
    section.notes.append(
        "*stock, our transport* has TCP_NODELAY as our inventories have it; *stock* is pyinfra as it comes. Both are "
        "without the diff phase (`-y`), which stock would pay for with one more round of facts."
    )
    return section


def _without_proof(probe: dict[str, Any]) -> dict[str, Any]:
    proof = [op for op in probe["operations"] if op["name"].endswith("answers")]
    return {
        "wall": probe["wall"] - sum(op["seconds"] for op in proof),
        "connections": probe["connections"],
        "execs": probe["execs"] - sum(op["execs"] for op in proof),
        "uploads": probe["uploads"],
    }
