"""
The engine in a process that has started already: each line on standard input converges some hosts anew.

Says what an import-free run costs, over connections of its own each time. Started by :class:`Resident`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .rounds import Failed


class Resident:
    """The engine in a child process, ready to be timed."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.resident"],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def converge(self, hosts: Sequence[str]) -> dict[str, Any]:
        """Bring the agents of hosts to what is on record, where they are already; return what it took."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(hosts)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the engine's process ended")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Serve until standard input ends."""
    from pyinfra_hermes.cli.engine import Session, check
    from pyinfra_hermes.cli.hosts import login_of
    from pyinfra_hermes.cli.specification import secrets_of, specification
    from pyinfra_hermes.cli.state.records import Instance
    from pyinfra_hermes.cli.state.store import State
    from pyinfra_hermes.deploys.configure import configure
    from pyinfra_hermes.deploys.install import install
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

    for line in sys.stdin:
        started, cpu = time.monotonic(), time.process_time()
        state = State.open()
        snapshot = state.read()
        hosts = [snapshot.host(name) for name in json.loads(line)]
        deploys: dict[str, list[Any]] = {host.name: [] for host in hosts}
        for host in hosts:
            for agent in host.agents.values():
                instance = Instance(host, agent)
                spec, secrets = specification(snapshot, instance), secrets_of(snapshot, instance)
                deploys[host.name] += [
                    lambda spec=spec, **kw: install(spec=spec, wheelhouse=Wheelhouse(), **kw),
                    lambda spec=spec, secrets=secrets, **kw: configure(spec=spec, secrets=secrets, **kw),
                ]
        with Session.open([login_of(state, host) for host in hosts]) as session:
            connected = time.monotonic()
            results = session.run(deploys)
        ended = time.monotonic()
        check(results)
        wrong = [step for result in results.values() for step in result.steps if step.changed or step.failed]
        if wrong:
            raise Failed(f"there was something to do: {wrong}")
        answer = {
            "seconds": ended - started,
            "connect": connected - started,
            "cpu": time.process_time() - cpu,
            "connections": sum(result.connections for result in results.values()),
            "execs": sum(result.execs for result in results.values()),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
