"""``clm agent start``, ``restart`` and ``stop``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from .acting import run_on_host
from .exits import Exit
from .output import folded
from .problems import Problem
from .progress import Progress
from .specification import specification
from .state.records import Instance
from .state.store import State

if TYPE_CHECKING:
    from .engine import Result


def start(reference: str, *, force: bool, restart: bool, verbose: bool) -> bool:
    """Start or restart an agent and prove that it serves; tell whether anything changed."""
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    snapshot.api_key(instance)
    if instance.agent.onboarding_state != "ready" and not force:
        verb = "restart" if restart else "start"
        raise Problem(
            f"Cannot {verb} {instance.key}: onboarding incomplete (state={instance.agent.onboarding_state}). "
            f"Run 'clm agent configure {instance.agent.name}' first.",
            None,
            Exit.REFUSED,
        )
    spec = specification(snapshot, instance)

    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.lifecycle import start as deploy

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [lambda **kw: deploy(spec=spec, restart=restart, progress=progress.waiting, **kw)]

    return run_on_host(state, instance, act, verbose, last=partial(_warn_of_open_files, instance))


def _warn_of_open_files(instance: Instance, result: Result) -> None:
    """Say so when others can read an agent's secrets: the run has looked at its files, and left them as they are."""
    from .looking.agent_checks import open_to_others

    host, agent = instance
    found = open_to_others(result.looked.agent(agent.name)) if result.looked is not None else []
    if found:
        text = f"Warning: others on {host.name} may read what is {agent.name}'s alone: {', '.join(found)}"
        click.echo(folded(text, "  ", stream=sys.stderr), err=True)
        click.echo(f"  clm agent configure {host.name}/{agent.name}", err=True)


def stop(reference: str, *, verbose: bool) -> bool:
    """Stop an agent and keep it from starting with its host; tell whether anything changed."""
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    spec = specification(snapshot, instance)

    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.lifecycle import stop as deploy

    return run_on_host(state, instance, lambda _: [lambda **kw: deploy(spec=spec, **kw)], verbose)
