"""Labs that are kept up by hand: a process in the background owns each, and others look at it and end it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.lab.cgroup import ControlGroup
from tests.lab.lab import Lab
from tests.lab.machine import BootFailed
from tests.lab.process import wait_until
from tests.lab.run import Run, reap, runs

_REPOSITORY = Path(__file__).resolve().parents[2]
MODEL_LOG = "model.jsonl"


class NotSo(Exception):
    """What was asked for does not fit what is there; the message says so."""


def up(hosts: int, tools: bool, keep: bool) -> tuple[Run, str | None]:
    """Start a lab in the background; returns when all of its hosts answer.

    When some do not, the lab is taken away again, or it is kept and the trouble told along with it.
    """
    reading, writing = os.pipe()
    wanted = json.dumps({"pipe": writing, "hosts": hosts, "tools": tools, "keep": keep})
    command = [sys.executable, "-m", "tests.lab.hand", wanted]
    owner = subprocess.Popen(
        command, cwd=_REPOSITORY, stdin=subprocess.DEVNULL, pass_fds=[writing], start_new_session=True
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            said = json.loads(pipe.readline() or "null")
    except KeyboardInterrupt:
        owner.terminate()
        owner.wait()
        raise
    if said is None or said["id"] is None:
        owner.wait()
        raise NotSo(said["trouble"] if said else f"the lab's process ended at once (exit {owner.returncode})")
    return find(said["id"]), said["trouble"]


def find(lab: str | None) -> Run:
    """The lab with this id, or the only one kept by hand when none is named."""
    alive = [run for run in runs() if run.owner.alive]
    if lab is not None:
        fitting = [run for run in alive if run.id == lab]
        if not fitting:
            raise NotSo(f"no lab {lab}; there is: {', '.join(run.id for run in alive) or 'none'}")
        return fitting[0]
    by_hand = [run for run in alive if run.by_hand]
    if not by_hand:
        raise NotSo("no lab is up; start one with: scripts/lab up")
    if len(by_hand) > 1:
        raise NotSo(f"more than one lab is up, name one of: {', '.join(run.id for run in by_hand)}")
    return by_hand[0]


def find_host(name: str) -> tuple[Run, str]:
    """The lab and the full name of a host; `host1` is enough when only one lab kept by hand has it."""
    names = [(run, host["name"]) for run in runs() if run.owner.alive for host in described(run)["hosts"]]
    short = [at for at in names if at[1].split("-")[0] == name]
    fitting = [at for at in names if at[1] == name] or [at for at in short if at[0].by_hand] or short
    if not fitting:
        raise NotSo(f"no host {name}; there is: {', '.join(host for _, host in names) or 'none'}")
    if len(fitting) > 1:
        raise NotSo(f"{name} is one of: {', '.join(host for _, host in fitting)}")
    return fitting[0]


def described(run: Run) -> dict[str, Any]:
    """What a lab has written down about its hosts and stand-in models."""
    path = run.directory / "hosts.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"hosts": [], "models": []}
    return found


def running(run: Run, host: str) -> bool:
    """Whether a host has any process."""
    return bool(ControlGroup(f"{run.id}/{host}").pids())


def down(run: Run) -> None:
    """End a lab and wait until nothing of it is left."""
    if not run.by_hand:
        raise NotSo(f"lab {run.id} belongs to process {run.owner.pid}, end that instead: {run.owner.command}")
    run.owner.signal(signal.SIGTERM)
    if not wait_until(lambda: not run.owner.alive, seconds=30, pause=0.05):
        run.owner.signal(signal.SIGKILL)
        wait_until(lambda: not run.owner.alive, seconds=5)
    reap()


def _own(pipe: int, hosts: int, tools: bool, keep: bool) -> None:
    # This process is the lab's owner: it sits in the background until it is told to end.
    def say(lab_id: str | None, trouble: str | None) -> None:
        os.write(pipe, (json.dumps({"id": lab_id, "trouble": trouble}) + "\n").encode())
        os.close(pipe)

    os.set_inheritable(pipe, False)
    trouble = None
    try:
        lab = Lab(by_hand=True)
        lab.model(log=lab.run.directory / MODEL_LOG)
        try:
            lab.boot(hosts, tools)
        except BootFailed as error:
            if not keep:
                raise
            trouble = str(error)
    except Exception as error:
        say(None, str(error))
        sys.exit(1)
    with lab, contextlib.suppress(KeyboardInterrupt):
        say(lab.id, trouble)
        _detach()
        threading.Event().wait()


def _detach() -> None:
    # From here on nobody reads along; the terminal it was started from may close.
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(silence, stream)
    os.close(silence)


if __name__ == "__main__":
    _own(**json.loads(sys.argv[1]))
