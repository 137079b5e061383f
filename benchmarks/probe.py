"""
Run ``clm`` or ``pyinfra`` as it is, and write down what went over SSH and how long each operation took.

    python -m benchmarks.probe RESULT.json clm agent configure maurice

Counted where nothing can be missed: logins, execs and SFTP uploads in paramiko, and every start of OpenSSH.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

counts = {"connections": 0, "execs": 0, "uploads": 0}
operations: list[dict[str, Any]] = []


def main() -> None:
    """Run the program named after the file for the result, and exit as it does."""
    result, program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    sys.addaudithook(_count_openssh)
    if program == "pyinfra" or arguments[:1] == ["agent"]:
        _count_paramiko()
        _time_operations()
    [script] = entry_points(group="console_scripts", name=program)
    started = time.monotonic()
    try:
        script.load()()
    finally:
        seconds = time.monotonic() - started
        Path(result).write_text(json.dumps({"seconds": seconds, **counts, "operations": operations}))


def _count_openssh(event: str, values: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and values[1] and Path(str(values[1][0])).name == "ssh" and "-G" not in values[1]:
        counts["connections"] += 1
        counts["execs"] += 1


def _count_paramiko() -> None:
    # As pyinfra does it: gevent first, everything that opens a socket after it.
    from gevent import monkey

    monkey.patch_all()
    import paramiko

    for owner, method, count in (
        (paramiko.SSHClient, "connect", "connections"),
        (paramiko.Channel, "exec_command", "execs"),
        (paramiko.SFTPClient, "putfo", "uploads"),
    ):
        setattr(owner, method, _counting(getattr(owner, method), count))


def _counting(function: Callable[..., Any], count: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        counts[count] += 1
        return function(*args, **kwargs)

    return counted


def _time_operations() -> None:
    import pyinfra.api.operations as api

    original = api._run_host_op

    def timed(state: Any, host: Any, op_hash: str) -> bool:
        started, before = time.monotonic(), dict(counts)
        try:
            return original(state, host, op_hash)
        finally:
            meta = state.ops[host][op_hash].operation_meta
            operations.append(
                {
                    "host": host.name,
                    "name": min(state.get_op_meta(op_hash).names).rpartition(" | ")[2],
                    "seconds": time.monotonic() - started,
                    "execs": counts["execs"] - before["execs"],
                    "uploads": counts["uploads"] - before["uploads"],
                    "changed": meta.is_complete() and meta.did_change(),
                }
            )

    api._run_host_op = timed


if __name__ == "__main__":
    main()
