"""One look at a host and, closer, at some of its agents: one connection, one command there."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra_hermes.facts import script
from pyinfra_hermes.facts.examination import Examination, read
from pyinfra_hermes.facts.observation import Observation, parse

from ..exits import Exit
from ..problems import Problem
from ..ssh.openssh import login_of, run_script
from ..state.records import Host
from ..state.store import State

_SECONDS = 40
#: What trying its tools may take for one agent.
_PROBE_SECONDS = 90
_CONNECT_SECONDS = 4


def look_at(state: State, host: Host, names: Iterable[str], *, probe: bool = False) -> tuple[Observation, Examination]:
    """
    Observe a host, and examine some of its agents.

    + probe: also try the agents' tools under their units' hardening

    Raises :class:`Problem` when the host cannot be asked, or its answer not be read.
    """
    closer = list(names)
    # Two scripts, one after the other, each with a last line of its own.
    both = f"{{\n{script.observe_agents(host.agents)}}}\n(\n{script.examine(closer, probe=probe)})\n"
    seconds = _SECONDS + (_PROBE_SECONDS * len(closer) if probe else 0)
    answer = run_script(login_of(state, host), both, seconds=seconds, connect_seconds=_CONNECT_SECONDS, keep=True)
    lines = answer.split("\n")
    try:
        first = lines.index(script.END) + 1
        return parse(lines[:first]), read(lines[first:])
    except ValueError as error:
        raise Problem(
            f"{host.name}: its answer cannot be read: {error}", f"clm host check {host.name}", Exit.FAILED
        ) from error
