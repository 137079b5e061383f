"""A way to an agent's API through SSH: a Unix socket here, the agent's loopback there, no port opened anywhere."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyinfra_hermes.facts.script import await_start

from ..exits import Exit
from ..hosts import login_of
from ..output import plain
from ..problems import Problem
from ..state.records import Instance
from ..state.store import State
from .openssh import explain

#: Seconds that an agent which is just starting is waited for.
_START_SECONDS = 120


@contextmanager
def forwarded(state: State, instance: Instance) -> Iterator[Path]:
    """
    Open a Unix socket, in a directory of ours alone, that leads to the agent's API.

    Before it is used, the host is asked whether the port is held by the agent's own process: the key is sent to
    nobody else. An agent that is starting is waited for. Raises :class:`Problem`.
    """
    host, agent = instance
    login = login_of(state, host)
    with tempfile.TemporaryDirectory(prefix="clm-") as folder:
        socket = Path(folder) / "api.sock"
        options = ("-o", "ExitOnForwardFailure=yes", "-L", f"{socket}:127.0.0.1:{agent.port}")
        # The remote command ends, and the forward with it, when its standard input is closed.
        process = subprocess.Popen(
            login.command(login.as_root(), options=options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C at the terminal gives up an answer; it must not reach the way to the agent.
            start_new_session=True,
        )
        assert process.stdin and process.stdout and process.stderr
        try:
            process.stdin.write(await_start(agent.name, agent.port, _START_SECONDS) + "echo end\nexec cat >/dev/null\n")
            process.stdin.flush()
            lines = []
            for line in process.stdout:
                if line.rstrip() == "end":
                    break
                lines.append(plain(line.rstrip()))
            else:
                raise explain(login, process.wait(), process.stderr.read())
            word, _, detail = lines[0].partition(" ")
            if word != "listening" and detail.startswith("the unit is inactive"):
                raise Problem(f"Agent {instance.key} is stopped", f"clm agent start {agent.name}", Exit.UNHEALTHY)
            if word != "listening":
                more = "\n".join(f"  {line}" for line in lines[1:])
                what = f"Agent {instance.key} does not serve: {detail}\n{more}".rstrip()
                raise Problem(what, f"clm agent status {agent.name}", Exit.UNHEALTHY)
            # Nobody reads these any more; a full pipe must not stop ssh.
            for stream in (process.stdout, process.stderr):
                threading.Thread(target=stream.read, daemon=True).start()
            yield socket
        finally:
            process.kill()
            process.wait()
