"""Manage the service of an agent, and prove that it is this agent that answers."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.operation import OperationMeta
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.observation import AgentState, PathState
from pyinfra_hermes.facts.receipts import Receipt
from pyinfra_hermes.facts.script import PENDING, await_start, start_functions
from pyinfra_hermes.facts.starting import HermesStart

from . import receipts, snapshots
from .announcing import Change, announce
from .commands import note_restart, pending, unobserved
from .observing import changed, forget, observe, observe_agent

_SYSTEMD = "/etc/systemd/system"
#: Seconds that one poll stays on the host; between two of them a lost connection is noticed and progress is told.
_SLICE = 6
#: What a service is told to do, that is worth telling.
_TOLD = ("enable", "disable", "restart", "stop")


def service_name(agent: str) -> str:
    """Return the name of an agent's unit."""
    return f"hermes-{agent}.service"


@operation()
def unit(agent: str, service: str, slice: str) -> Generator[StringCommand, None, None]:
    """
    Put the unit of an agent, and the slice of all agents, into ``/etc/systemd/system``.

    + agent: name of the agent
    + service: text of ``hermes-<agent>.service``
    + slice: text of ``hermes.slice``

    The manager is reloaded when something changed. Nothing is enabled, started or restarted.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import services

        services.unit(
            name="Write the unit",
            agent="maurice",
            service=text,
            slice="[Slice]\\nMemoryMax=90%\\n",
            _sudo=True,
        )
    """
    observed = observe(agent)
    if observed is None:
        yield unobserved()
        return
    state = observed.agent(agent)
    wanted = {
        f"{_SYSTEMD}/hermes.slice": (slice, observed.slice),
        f"{_SYSTEMD}/{service_name(agent)}": (service, state.paths.get("unit")),
    }
    wrong = {path: text for path, (text, found) in wanted.items() if not _is_ours(found, text)}
    if wrong or (state.unit is not None and state.unit.needs_reload):
        found = {path: there for path, (_, there) in wanted.items()}
        announce(*(Change("add" if found[path] is None else "change", path) for path in wrong))
        if not wrong:
            announce(Change("do", "systemd", "reload, as a unit is newer than what it runs"))
        yield from snapshots.before_change(state)
        yield _write_units(agent, wrong)
        forget()
    else:
        ctx_host.get().noop(f"unit {service_name(agent)} is up to date")


@operation()
def service(
    agent: str,
    running: bool = True,
    enabled: bool | None = None,
    restart_after: Sequence[OperationMeta] = (),
    restarted: bool = False,
) -> Generator[StringCommand, None, None]:
    """
    Start, stop or restart the service of an agent.

    + agent: name of the agent
    + running: whether it should run
    + enabled: whether it should start with the host; as ``running`` when not given
    + restart_after: operations after whose changes a running service must be restarted; a change by an earlier run
      that did not come to the restart counts, too
    + restarted: restart it in any case

    A service that runs and after none of whose files changed is left alone. Stopping waits until the agent
    has finished what it was doing, 210 seconds at most.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files, services

        written = files.secret_file(name="Write .env", ...)
        services.service(
            name="Run the agent",
            agent="maurice",
            restart_after=[written],
            _sudo=True,
        )
    """
    enabled = running if enabled is None else enabled
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    found, name = state.unit, QuoteString(service_name(agent))
    is_running = found is not None and found.running
    is_enabled = found is not None and found.enabled
    stale = running and (restarted or state.restart_pending or any(changed(meta) for meta in restart_after))
    steps: list[str] = []
    if is_enabled != enabled:
        steps.append("enable --quiet" if enabled else "disable --quiet")
    if running and (not is_running or stale):
        # A unit that hit its start limit refuses to start until its failures are forgotten.
        steps += ["reset-failed", "restart"]
    elif not running and found is not None and found.active not in ("inactive", "failed"):
        steps.append("stop")
    if not steps:
        ctx_host.get().noop(f"service {service_name(agent)} is {'running' if running else 'stopped'}")
        return
    if found is None and not running:
        ctx_host.get().noop(f"service {service_name(agent)} does not exist")
        return
    announce(*(Change("do", service_name(agent), word) for step in steps if (word := step.split()[0]) in _TOLD))
    bits: list[Any] = []
    for step in steps:
        bits += [
            "&&" if bits else "",
            # In braces: else `|| true` would forgive the steps before it, too.
            f"{{ systemctl {step}" if step == "reset-failed" else f"systemctl {step}",
            name,
            "2>/dev/null || true; }" if step == "reset-failed" else "",
        ]
    if "restart" in steps:
        note = StringCommand("mkdir -p --", PENDING, "&& : >", pending(agent, "proof"), "&&")
        bits = [note, *bits, "&& rm -f --", pending(agent, "restart")]
    yield StringCommand(*(bit for bit in bits if bit != ""))
    forget()


@operation()
def healthy(
    agent: str,
    port: int,
    after: Sequence[OperationMeta] = (),
    chat: bool = True,
    timeout: int = 180,
    progress: Callable[[str], None] | None = None,
    what: str = "configure",
    hold: bool = False,
) -> Generator[StringCommand, None, None]:
    """
    Prove that an agent serves: its unit runs and stays up, its own process holds the port, and it answers.

    + agent: name of the agent
    + port: port that its API listens on, on loopback
    + after: operations after whose changes the agent must be proven anew
    + chat: also have one short conversation, which shows that its model answers
    + timeout: seconds to wait for a start; channels that cannot be reached take up to 30 each
    + progress: called with a sentence while waiting
    + what: what the receipt calls this run
    + hold: leave open that a change is under way, which :func:`.snapshots.concluded` ends

    The host fails with what is wrong and the last lines of the journal, in which values of ``.env`` are
    blacked out. What worked before this run is put back then, and proven, by the same script.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import services

        services.healthy(
            name="Prove that the agent serves",
            agent="maurice",
            port=8642,
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    open_ = state.under_way is not None and not hold
    if not any(changed(meta) for meta in after) and not state.proof_pending and not open_ and _proven(state, port):
        ctx_host.get().noop(f"agent {agent} answers on port {port}")
        return
    announce(Change("do", f"agent {agent}", "prove that it answers"))
    deadline = time.monotonic() + timeout
    proof = _Proof(agent, port, chat, hold, receipts.receipt(state, what))
    yield proof.command()
    forget()
    while not _proven(seen := observe_agent(agent), port) or (seen is not None and seen.proof_pending):
        start = ctx_host.get().get_fact(HermesStart, agent=agent, port=port, seconds=_SLICE)
        if start is None or start.word == "failed":
            why = start.detail if start else "the host could not be asked"
            yield proof.command(failed=why.partition("\n")[0])
            return
        if start.word == "listening" or time.monotonic() > deadline:
            # Either it answers now, or this says what is wrong.
            yield proof.command(last=True)
            forget()
            # Nobody needs it here: whoever ran this says what of its channels came up.
            observe_agent(agent)
            return
        if progress is not None:
            progress(start.detail)


@dataclass(frozen=True)
class _Proof:
    """The script that proves an agent, goes back when it does not serve, and keeps a receipt of either."""

    agent: str
    port: int
    chat: bool
    hold: bool
    receipt: Receipt

    def command(self, *, last: bool = False, failed: str | None = None) -> StringCommand:
        """Return it; with ``failed`` it need not look whether the agent started."""
        if failed is None:
            began = await_start(self.agent, self.port, _SLICE)
        else:
            began = f"{start_functions()}result={shlex.quote(f'failed {failed}')}\n"
        script = (
            began
            + snapshots.prover()
            + snapshots.functions()
            + receipts.functions(self.receipt)
            + resources.files("pyinfra_hermes.operations").joinpath("prove.sh").read_text(encoding="utf-8")
        )
        words = ("chat" if self.chat else "no-chat", "hold" if self.hold else "settle", "last" if last else "more")
        return StringCommand("sh -s --", QuoteString(self.agent), str(self.port), *words, _stdin=script)


def _proven(state: AgentState | None, port: int) -> bool:
    return state is not None and state.healthy and state.listening is not None and state.listening.port == port


def _is_ours(found: PathState | None, text: str) -> bool:
    return found is not None and found.is_file(text.encode(), "644", "root")


def _write_units(agent: str, texts: Mapping[str, str]) -> StringCommand:
    bits: list[Any] = ["set -e; umask 022;", note_restart(agent), "|| exit 1;"]
    for path, text in texts.items():
        # A unit holds no secret; printf is the shell's own, so the text is not an argument of any program.
        bits += ["printf %s", QuoteString(text), ">", QuoteString(f"{path}.part"), ";"]
        bits += [
            "sync",
            QuoteString(f"{path}.part"),
            ";",
            "mv -fT --",
            QuoteString(f"{path}.part"),
            QuoteString(path),
            ";",
        ]
    return StringCommand(*bits, "systemctl daemon-reload")
