"""Run the body of an operation on an observation, with pyinfra-testing's host, and return what it yields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from pyinfra.api import FileUploadCommand, StringCommand
from pyinfra.api.util import get_kwargs_str
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from pyinfra_hermes.facts.observation import AgentState, Observation, PathState, parse
from pyinfra_hermes.facts.starting import Start
from pyinfra_hermes.operations.announcing import Change, listening

from ..facts.captured import AGENT, DIGEST, HOST

#: A host with nothing of ours on it, and one whose agent maurice runs and answers.
BARE: Observation = parse([*(line for line in HOST if not line.startswith(("release", "listener", "path"))), "end"])
RUNNING: Observation = parse([*HOST, *AGENT, "end"])


def with_agent(observed: Observation, **changes: Any) -> Observation:
    agent = replace(observed.agent("maurice"), **changes)
    return replace(observed, agents={"maurice": agent})


def file(
    detail: str | None = DIGEST, mode: str = "600", owner: str = "maurice", kind: str = "regular file"
) -> PathState:
    return PathState(kind, mode, owner, owner, 1, detail)


def maurice(**fields: Any) -> AgentState:
    return replace(AgentState("maurice", account=RUNNING.agent("maurice").account), **fields)


@dataclass
class Yielded:
    commands: list[StringCommand | FileUploadCommand]
    noop: str | None
    #: What the operation announced before it acted.
    changes: tuple[Change, ...] = ()

    @property
    def raw(self) -> list[str]:
        return [c.get_raw_value() for c in self.commands if isinstance(c, StringCommand)]

    @property
    def only(self) -> StringCommand:
        [command] = self.commands
        assert isinstance(command, StringCommand)
        return command


def stdin(command: StringCommand) -> str | None:
    return command.connector_arguments.get("_stdin")


def packaged(name: str, room: str = "operations") -> str:
    return resources.files(f"pyinfra_hermes.{room}").joinpath(name).read_text()


def yielded(
    operation: Callable[..., Any],
    observed: Observation | None,
    names: tuple[str, ...] = ("maurice",),
    starts: Mapping[tuple[int, int], Start] | None = None,
    **kwargs: Any,
) -> Yielded:
    """Return the commands of an operation, or its reason for none."""
    state = FakeState()
    answers = {
        get_kwargs_str({"agent": "maurice", "port": port, "seconds": seconds}): start
        for (port, seconds), start in (starts or {}).items()
    }
    facts = {"agents.HermesAgents": {get_kwargs_str({"names": names}): observed}, "starting.HermesStart": answers}
    host = create_host(state, facts=facts)
    with ctx_state.use(state), ctx_host.use(host), listening(host) as changes:
        return Yielded(list(operation._inner(**kwargs)), host.noop_description, tuple(changes))
