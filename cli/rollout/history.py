"""``clm agent history``: receipts of an agent, from its host and from this machine."""

from __future__ import annotations

from pyinfra_hermes.facts.receipts import Receipt, merged, read
from pyinfra_hermes.facts.script import receipts_of

from ..problems import Problem
from ..ssh.openssh import login_of, run_script
from ..state import receipts
from ..state.store import State


def history(reference: str) -> tuple[list[Receipt], str | None]:
    """Return the receipts of an agent, the oldest first, and why its host's are not among them."""
    state = State.open()
    host, agent = state.read().agent(reference)
    here = receipts.read(state, host.name, agent.name)
    try:
        answer = run_script(login_of(state, host), receipts_of(agent.name), seconds=15, connect_seconds=4)
    except Problem as problem:
        return here, problem.message
    there = [receipt for receipt in read(answer.split("\n")) if receipt.agent == agent.name]
    # What the host has of a run is better: it knows how that ended.
    return merged(here, there), None
