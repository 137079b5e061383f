"""``clm`` alone: what there is, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from .state.lookup import Lookup
from .state.records import Instance
from .state.store import State

#: Agents that are named one by one; more are for ``clm ps``.
_NAMED = 8


def orientation() -> str:
    """Say what is on record and which command comes next. Nothing is asked of a host, and no secret is read."""
    from importlib.metadata import version

    known = State.open().read()
    return "\n".join(
        [f"clm {version('pyinfra-hermes')}; on record in {known.path}:", *_held(known), "", *_next(known), "",
         "All commands: clm --help"]
    )  # fmt: skip


def _held(known: Lookup) -> Iterator[str]:
    agents = list(known.instances())
    counts = (
        (len(known.hosts), "host"),
        (len(agents), "agent"),
        (len(known.providers), "provider"),
        (len(known.integrations), "integration"),
    )
    yield "  " + ", ".join(f"{n or 'no'} {what}{'' if n == 1 else 's'}" for n, what in counts)
    width = max((len(agent.name) for _, agent in agents), default=0)
    for instance in agents[:_NAMED]:
        host, agent = instance
        provider = agent.provider or "no provider"
        yield f"  {agent.name:<{width}}  on {host.name}, {agent.release}, {provider}, {_stage(instance)}"
    if len(agents) > _NAMED:
        yield f"  and {len(agents) - _NAMED} more"


def _stage(instance: Instance) -> str:
    agent = instance.agent
    if agent.status != "installed":
        return agent.status
    state = agent.onboarding_state
    return "ready" if state == "ready" else f"onboarding at {state}"


def _next(known: Lookup) -> Iterator[str]:
    agents = list(known.instances())
    if not known.hosts:
        yield "Next, a host that you reach with SSH as root, or as a login with passwordless sudo:"
        yield "  clm host add wolf-i --address 192.0.2.10 --user admin"
        return
    if not known.providers:
        yield "Next, what agents think with (which there are: clm provider types):"
        yield "  clm provider add local --type ollama --url http://192.0.2.20:11434 --model llama3.1:8b"
        return
    if not agents:
        yield "Next, an agent:"
        yield f"  clm agent install --type hermes --host {next(iter(known.hosts))} --name maurice"
        return
    open_ = [each for each in agents if each.agent.status != "installed" or each.agent.onboarding_state != "ready"]
    for instance in open_[:_NAMED]:
        host, agent = instance
        if agent.status == "removing":
            yield f"{agent.name} is half removed: clm agent remove {host.name}/{agent.name}"
        elif agent.status != "installed":
            install = f"clm agent install --type hermes --host {host.name} --name {agent.name}"
            yield f"{agent.name} is not installed: {install}"
        else:
            yield f"{agent.name} is not ready: clm agent configure {host.name}/{agent.name}"
    if not open_:
        host, agent = agents[0]
        yield f"How they are: clm ps         Talk to one: clm chat {host.name}/{agent.name}"
