"""What a user adds to an agent beyond the catalogues: variables and leaves of config.yaml, on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyinfra_hermes.deploys.model import extras
from pyinfra_hermes.deploys.model.declaration import Json
from pyinfra_hermes.deploys.model.secret import Secret

from .. import asking
from ..exits import Exit
from ..onboarding.stages import deciding
from ..problems import Problem
from ..state.store import State


@dataclass(frozen=True)
class Variable:
    """A variable as the user gave it: in the open by ``value``, or from where a secret is read."""

    name: str
    value: str | None = None
    stdin: bool = False
    file: str | None = None
    secret: bool = False

    def read(self) -> tuple[str | Secret, bool]:
        """Return the value and whether it is secret; a secret is asked for when nothing says where it comes from."""
        if sum((self.value is not None, self.stdin, self.file is not None)) > 1:
            raise Problem("VALUE, --stdin and --file are one or the other", None, Exit.USAGE)
        secret = self.secret or extras.is_credential(self.name)
        if self.value is not None:
            if secret:
                raise Problem(
                    f"{self.name} is a secret, and would be in the shell's history and in the list of processes",
                    "Give it with --stdin or --file, or leave VALUE out and be asked",
                    Exit.USAGE,
                )
            return self.value, False
        if self.stdin:
            value = asking.from_stdin()
        elif self.file is not None:
            value = asking.from_file(self.file)
        else:
            value = asking.hidden_twice(self.name, "VALUE, --stdin or --file")
            secret = True
        return (value, True) if secret else (value.reveal(), False)


def set_variable(reference: str, variable: Variable) -> bool:
    """Put a variable on record, as a secret when it is one; tell whether that changed anything."""
    extras.check_variable(variable.name)
    state = State.open()
    instance = state.read().agent(reference)
    value, secret = variable.read()
    name = variable.name
    if isinstance(value, Secret):
        extras.check_value(name, value.reveal())
    else:
        extras.check_plain(name, value)
    if secret or name in instance.agent.secret_environment:
        state.unlock()
    with deciding(state, instance) as now:
        agent, scope = now.agent, now.instance.key
        before = (dict(agent.environment), agent.secret_environment)
        if isinstance(value, Secret):
            now.secrets_changed = now.tx.secrets.set(scope, name, value, description="set with clm agent variable")
            agent.environment = {k: v for k, v in agent.environment.items() if k != name}
            agent.secret_environment = tuple(sorted({*agent.secret_environment, name}))
        else:
            if name in agent.secret_environment:
                now.tx.secrets.remove(scope, name)
            agent.secret_environment = tuple(n for n in agent.secret_environment if n != name)
            agent.environment = {**agent.environment, name: value}
        changed = now.secrets_changed or (agent.environment, agent.secret_environment) != before
    return changed


def unset_variable(reference: str, name: str) -> bool:
    """Take a variable off the record, its value too; tell whether it was there."""
    state = State.open()
    instance = state.read().agent(reference)
    if name in instance.agent.secret_environment:
        state.unlock()
    with deciding(state, instance) as now:
        agent = now.agent
        known = name in agent.environment or name in agent.secret_environment
        if name in agent.secret_environment:
            now.tx.secrets.remove(now.instance.key, name)
        agent.environment = {k: v for k, v in agent.environment.items() if k != name}
        agent.secret_environment = tuple(n for n in agent.secret_environment if n != name)
    return known


def variables(reference: str) -> list[dict[str, Any]]:
    """Return an agent's own variables as plain data; of secrets no value."""
    agent = State.open().read().agent(reference).agent
    rows = [{"name": name, "value": value, "secret": False} for name, value in agent.environment.items()]
    rows += [{"name": name, "value": None, "secret": True} for name in agent.secret_environment]
    return sorted(rows, key=lambda row: str(row["name"]))


def set_leaf(reference: str, text: str, value: str) -> bool:
    """Put a leaf of config.yaml on record; tell whether that changed anything."""
    path = extras.check_path(text)
    wanted = extras.check_leaf(path, extras.parse_value(value))
    state = State.open()
    instance = state.read().agent(reference)
    with deciding(state, instance) as now:
        config: dict[str, Json] = dict(now.agent.config)
        extras.check_apart([path, *(other for known in config if (other := extras.check_path(known)) != path)])
        before = dict(config)
        config[extras.path_text(path)] = wanted
        now.agent.config = config
        # 1 and true are equal and not the same.
        changed = repr(before) != repr(config)
    return changed


def unset_leaf(reference: str, text: str) -> bool:
    """Take a leaf off the record; tell whether it was there."""
    state = State.open()
    with deciding(state, state.read().agent(reference)) as now:
        # What an older clm took may be refused now, and must be got rid of all the same.
        name = text if text in now.agent.config else extras.path_text(extras.check_path(text))
        known = name in now.agent.config
        now.agent.config = {k: v for k, v in now.agent.config.items() if k != name}
    return known


def leaves(reference: str) -> list[dict[str, Any]]:
    """Return an agent's own leaves of config.yaml as plain data."""
    agent = State.open().read().agent(reference).agent
    return [{"path": path, "value": value} for path, value in sorted(agent.config.items())]
