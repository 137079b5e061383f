"""Hosts asked how their agents are, side by side over OpenSSH, with the very script that the deploys observe with."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

from pyinfra_hermes.facts.observation import Observation, parse
from pyinfra_hermes.facts.script import observe_agents

from .problems import Problem
from .remembering import Remembered
from .ssh import bounded, keeping
from .ssh.openssh import login_of, run_script
from .state.lookup import Lookup
from .state.records import Host, Instance
from .state.store import State

if TYPE_CHECKING:
    from .fleet import Fleet

_SECONDS = 15
#: A dead host must not keep the others' states from the reader for long.
_CONNECT_SECONDS = 4
_HOSTS_AT_ONCE = 32
#: Seconds after which it is said who is waited for, and how many are named.
_PATIENCE, _NAMED = 2, 3


def observe_host_of(state: State, host: Host) -> Observation:
    """Ask one host about all its agents. Raises :class:`Problem`."""
    return parse(_asked(state, host, observe_agents(host.agents)))


def _asked(state: State, host: Host, script: str, *, keep: bool = False) -> list[str]:
    login = login_of(state, host)
    return run_script(login, script, seconds=_SECONDS, connect_seconds=_CONNECT_SECONDS, keep=keep).split("\n")


def _glance(state: State, host: Host) -> Observation:
    """Ask one host about all its agents for no more than a report tells, and for nothing that it told before."""
    remembered = Remembered(state, host)
    known = remembered.contents
    script = observe_agents(host.agents, thorough=False, known=known)
    observed = parse(_asked(state, host, script, keep=True), known)
    remembered.keep(observed)
    return observed


def survey(state: State, snapshot: Lookup, wanted: Iterable[Instance], *, waiting: bool = False) -> Fleet:
    """
    Ask the hosts of agents side by side, each once, and report on the agents.

    + waiting: say at a terminal which hosts are waited for, when that takes long

    A host that does not answer delays no other. What is typed so that a passphrase would be asked for is left unknown.
    The connections stay open for the next look, see :mod:`.ssh.keeping`. Raises :class:`Problem` when it is not said
    properly for how long.
    """
    chosen = list(wanted)
    keeping.seconds()
    hosts = {instance.host.name: instance.host for instance in chosen}

    def ask(host: Host) -> Observation | Problem:
        try:
            return _glance(state, host)
        except Problem as problem:
            return problem
        except ValueError as error:
            return Problem(f"{host.name}: its answer cannot be read: {error}", f"clm host check {host.name}")

    with bounded.side_by_side(_HOSTS_AT_ONCE) as pool:
        asked = {name: pool.submit(ask, host) for name, host in hosts.items()}
        # What judges the answers takes a while to import: it does so while the hosts answer.
        from .fleet import Fleet, report

        if waiting:
            _say_who_is_late(asked)
        answers = {name: answer.result() for name, answer in asked.items()}
    return Fleet(answers, tuple(report(snapshot, each, answers[each.host.name]) for each in chosen))


def _say_who_is_late(asked: Mapping[str, Future[Observation | Problem]]) -> None:
    late = wait(asked.values(), _PATIENCE).not_done
    if not late or not sys.stderr.isatty():
        return
    from .progress import Progress

    with Progress.shown("") as progress:
        while late:
            names = [name for name, answer in asked.items() if answer in late]
            named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            progress.waiting(f"{len(asked) - len(late)} of {len(asked)} hosts have answered; waiting for {named}")
            late = wait(late, return_when=FIRST_COMPLETED).not_done
