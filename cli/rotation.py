"""
A new API key for an agent.

The new key is on record, beside the old one, before the host hears of it; it takes the old one's place only after
the host has shown that it accepts the new one and refuses the old. Whoever is stopped in between leaves a host
with one of two keys that are both on record, and the same command goes on with the same new key.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import click

from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec

from .acting import run_on_host
from .exits import Exit
from .problems import Problem
from .progress import Progress
from .specification import digest, secrets_of, specification
from .state.records import API_SERVER_KEY, NEXT_API_SERVER_KEY, Applied, Instance
from .state.store import State
from .surveying import observe_host_of


@dataclass(frozen=True)
class Rotated:
    """What came of a rotation."""

    instance: Instance
    #: Whether a host had to be told; an agent that was never configured has no key in force.
    on_host: bool


def rotate(reference: str, *, verbose: bool) -> Rotated:
    """Give an agent a new API key, on its host and on record, or leave it the old one on both."""
    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    name = instance.agent.name
    entry = snapshot.secrets.scopes.get(instance.key, {}).get(API_SERVER_KEY)
    if entry is not None and entry.reference is not None:
        raise Problem(
            f"The {API_SERVER_KEY} of {instance.key} is kept elsewhere: {entry.reference.partition(':')[0]}",
            f"Replace it there, then: clm agent configure {name}",
            Exit.REFUSED,
        )
    snapshot.api_key(instance)
    if instance.agent.applied is None:
        with state.transaction() as tx:
            tx.secrets.set(instance.key, API_SERVER_KEY, _new())
            tx.secrets.remove(instance.key, NEXT_API_SERVER_KEY)
        return Rotated(instance, on_host=False)
    if instance.agent.status != "installed":
        raise Problem(
            f"Agent {instance.key} is not installed (status={instance.agent.status})",
            f"clm agent install --type hermes --host {instance.host.name} --name {name}",
            Exit.REFUSED,
        )
    _Rotation(state, instance, verbose).carry_out()
    return Rotated(instance, on_host=True)


class _Rotation:
    """One rotation, begun now or by a command that was stopped."""

    def __init__(self, state: State, instance: Instance, verbose: bool) -> None:
        self._state = state
        self._instance = instance
        self._verbose = verbose
        snapshot = state.read()
        self._spec: AgentSpec = specification(snapshot, instance)
        self._known = secrets_of(snapshot, instance)
        self._old = self._known[API_SERVER_KEY]

    def carry_out(self) -> None:
        """Rotate. Raises ``Problem``, which says which key is in force."""
        # A host that cannot be reached has the key that it had: nothing is begun.
        observe_host_of(self._state, self._instance.host)
        new = self._recorded()
        try:
            self._put_in_force(new)
            self._prove(new)
        except Problem as problem:
            raise self._taken_back(problem) from None
        files = render(self._spec, self._with(new))
        with self._state.transaction() as tx:
            tx.secrets.set(self._instance.key, API_SERVER_KEY, new)
            tx.secrets.remove(self._instance.key, NEXT_API_SERVER_KEY)
            record = tx.host(self._instance.host.name).agents[self._instance.agent.name]
            record.applied = Applied(digest=digest(files), release=self._spec.release)

    def _recorded(self) -> Secret:
        with self._state.transaction() as tx:
            begun = tx.secrets.scopes.get(self._instance.key, {}).get(NEXT_API_SERVER_KEY)
            if begun is not None and begun.value is not None:
                click.echo("Going on with the rotation that was begun before.", err=True)
                return begun.value
            new = _new()
            tx.secrets.set(self._instance.key, NEXT_API_SERVER_KEY, new, description="A rotation is under way.")
        return new

    def _put_in_force(self, key: Secret) -> None:
        put_in_force(self._state, self._instance, self._spec, self._with(key), self._verbose)

    def _with(self, key: Secret) -> Mapping[str, Secret]:
        return {**self._known, API_SERVER_KEY: key}

    def _prove(self, new: Secret) -> None:
        answers = {which: self._answer(key) for which, key in (("new", new), ("old", self._old))}
        if answers["new"] != 200:
            raise Problem(f"Agent {self._instance.key} does not accept its new key (HTTP {answers['new']})")
        if answers["old"] not in (401, 403):
            raise Problem(f"Agent {self._instance.key} still accepts its old key (HTTP {answers['old']})")

    def _answer(self, key: Secret) -> int:
        import httpx

        from .ssh.forward import forwarded

        with (
            forwarded(self._state, self._instance) as socket,
            httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=30) as client,
        ):
            url = f"http://127.0.0.1:{self._instance.agent.port}/v1/models"
            try:
                return client.get(url, headers={"Authorization": f"Bearer {key.reveal()}"}).status_code
            except httpx.HTTPError as error:
                raise Problem(
                    f"Agent {self._instance.key} gave no answer ({type(error).__name__})", None, Exit.UNHEALTHY
                ) from None

    def _taken_back(self, problem: Problem) -> Problem:
        """Put the old key in force again, and say what holds."""
        name = self._instance.agent.name
        try:
            self._put_in_force(self._old)
        except Problem as another:
            return Problem(
                f"{problem.message}\nThe old key is on record. Which one the host has is not known, because putting "
                f"the old one back failed as well: {another.message}",
                f"Go on with the new key: clm secret rotate {name}\n"
                f"  Or put the old one back: clm agent configure {name}",
                problem.exit,
            )
        with self._state.transaction() as tx:
            tx.secrets.remove(self._instance.key, NEXT_API_SERVER_KEY)
        return Problem(
            f"{problem.message}\nThe old key is in force, and on record.",
            problem.remedy or f"clm agent status {name}",
            Exit.NOT_APPLIED,
        )


def _new() -> Secret:
    return Secret(random.token_hex(32))


def put_in_force(
    state: State, instance: Instance, spec: AgentSpec, secrets: Mapping[str, Secret], verbose: bool
) -> bool:
    """Configure an agent on its host and prove that it serves, without a chat; nothing is recorded."""
    from . import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.configure import configure as deploy

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [lambda **kw: deploy(spec=spec, secrets=secrets, chat=False, progress=progress.waiting, **kw)]

    return run_on_host(state, instance, act, verbose)
