"""Channels of agents: turned on, changed and off on record; whom they let in; and bots that two agents share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra_hermes.deploys.model import channels
from pyinfra_hermes.deploys.model.channels.checking import judged
from pyinfra_hermes.deploys.model.channels.sharing import Membership, refuse_shared
from pyinfra_hermes.deploys.model.declaration import Field, InvalidSetting, Value
from pyinfra_hermes.deploys.model.probing import Verdict
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec, check_fleet, lacking
from pyinfra_hermes.deploys.references import UnresolvedSecret

from .. import asking
from ..exits import Exit
from ..onboarding import stages as onboarding
from ..onboarding.stages import ChannelChoices
from ..output import say
from ..problems import Problem
from ..specification import specification
from ..ssh.openssh import login_of
from ..state.lookup import Lookup
from ..state.records import Agent, Instance, SecretEntry
from ..state.store import State, Transaction


@dataclass(frozen=True)
class Changed:
    """What became of a change."""

    instance: Instance
    changed: bool
    #: What the user should know: that nobody is let in, for one.
    warnings: tuple[str, ...]
    #: Names of the secrets of channels that are off which are still on record.
    kept: tuple[str, ...] = ()


def change(reference: str, choices: ChannelChoices, *, allow_open: bool = False, forget: bool = False) -> Changed:
    """
    Turn channels of an agent on, change them and turn them off, on record.

    + allow_open: the second yes to settings that let everybody in; without it, it is asked for
    + forget: remove the secrets of those that are turned off, too

    Applying it is another command's: ``clm agent configure``. What makes no sense is refused before anything is
    recorded: see :func:`refuse_clashes`.
    """
    state = State.open()
    state.unlock()
    instance = state.read().agent(reference)
    if gone := [name for name in choices.off if name not in instance.agent.channels]:
        raise Problem(
            f"Channel {channels.channel(gone[0]).name} of {instance.key} is not on",
            f"clm agent channel list {instance.agent.name}",
            Exit.REFUSED,
        )
    confirm_opening(instance, choices, allow_open)
    with onboarding.deciding(state, instance) as now:
        before = now.agent.model_dump(warnings=False)
        onboarding.choose_channels(now, choices)
        refuse_clashes(now.tx, now.instance)
        kept = _let_go(now.tx, now.instance, choices, forget)
        changed = now.secrets_changed or before != now.agent.model_dump(warnings=False)
    after = state.read().agent(instance.key)
    return Changed(after, changed, tuple(_nobody(after.agent, choices)), kept)


def refuse_lacking(instance: Instance, name: str) -> None:
    """Refuse a channel that the agent's release does not have."""
    why = lacking(channels.channel(name), manifest().release(instance.agent.release))
    if why is not None:
        raise Problem(why, f"Give it a later one: clm agent upgrade {instance.agent.name}", Exit.USAGE)


def confirm_opening(instance: Instance, choices: ChannelChoices, allowed: bool) -> None:
    """
    Ask for the second yes where choices let everybody in that were not let in before.

    ``--yes`` is no such yes. Raises :class:`Problem` when it is refused or there is no terminal.
    """
    was = opened(instance.agent)
    for name, answers in choices.on.items():
        declaration = channels.channel(name)
        recorded: dict[str, Value] = {} if choices.anew else dict(instance.agent.channels.get(name, {}))
        reason = declaration.opens(answers.over(recorded))
        if reason is None or name in was or allowed:
            continue
        say(
            f"Warning: {reason}. Whoever reaches {declaration.title} can make {instance.key} run commands as its user.",
            err=True,
        )
        asking.confirm(f"Open {name} of {instance.key} to everybody?", "--allow-open-access")


def opened(agent: Agent) -> dict[str, str]:
    """Return the channels that anybody may use, each with the reason."""
    reasons = {
        name: channels.CATALOGUE[name].opens(options)
        for name, options in agent.channels.items()
        if name in channels.CATALOGUE
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def refuse_clashes(state: Lookup, instance: Instance, *, follow: bool = False) -> None:
    """
    Refuse a bot or an account that another agent of the fleet uses, and a port that another of the host listens on.

    + follow: follow references to compare what is behind them; else two that are spelled alike are alike. Not in a
      transaction: while its lock is held, nothing is to take its time.

    Raises ``InvalidChannel`` and ``InvalidSpec``; the text names the other agent and no secret.
    """
    ours = _membership(state, instance, follow)
    for other in state.instances():
        if other.key != instance.key and set(other.agent.channels) & set(ours.channels):
            refuse_shared([_membership(state, other, follow), ours])
    check_fleet({instance.host.name: tuple(_specs(state, instance))})


def refuse_unusable(instance: Instance, secrets: Mapping[str, Secret]) -> None:
    """
    Refuse a channel that lacks a credential, or has one of another shape: edited by hand, or led to by a reference.

    + secrets: the agent's own, by their names in secrets.json
    """
    for name in instance.agent.channels:
        declaration = channels.channel(name)
        for f in declaration.secrets:
            why = _unusable(f, secrets.get(f.key))
            if why is not None:
                raise Problem(
                    f"{declaration.title.partition(' (')[0]} enabled for this agent but {f.key} is missing or invalid "
                    f"in secrets.json. Re-run 'clm agent configure {instance.agent.name} --stage channels' to set it."
                    f"{why}",
                    f"Or: clm secret set {instance.agent.name} {f.key}",
                    Exit.REFUSED,
                )


def _unusable(field: Field, secret: Secret | None) -> str | None:
    if not secret:
        return "" if field.required else None
    try:
        field.check_secret(secret)
    except InvalidSetting as error:
        return f"\n{error}"
    return None


def _specs(state: Lookup, instance: Instance) -> Iterator[AgentSpec]:
    for agent in instance.host.agents.values():
        try:
            yield specification(state, Instance(instance.host, agent))
        except InvalidSpec:
            # What is wrong with another agent's record is no reason to refuse a change of this one.
            continue


def _membership(state: Lookup, instance: Instance, follow: bool) -> Membership:
    entries = state.secrets.scopes.get(instance.key, {})
    known: dict[str, Secret] = {}
    for name in instance.agent.channels:
        for f in channels.CATALOGUE[name].secrets if name in channels.CATALOGUE else ():
            if f.key in entries:
                known[f.key] = _comparable(f.key, entries[f.key], follow)
    return Membership(instance.key, instance.agent.channels, known)


def _comparable(key: str, entry: SecretEntry, follow: bool) -> Secret:
    kept = entry.kept()
    if isinstance(kept, Secret):
        return kept
    if follow:
        try:
            return entry.secret(key)
        except UnresolvedSecret:
            # Not ours to report here: whoever needs the secret says why there is none.
            pass
    return Secret(kept.text)


def _let_go(tx: Transaction, instance: Instance, choices: ChannelChoices, forget: bool) -> tuple[str, ...]:
    wanted = {f.key for name in instance.agent.channels for f in channels.channel(name).secrets}
    kept: list[str] = []
    for name in choices.off:
        for f in channels.channel(name).secrets:
            if f.key in wanted or f.key not in tx.secrets.names(instance.key):
                continue
            if forget:
                tx.secrets.remove(instance.key, f.key)
            else:
                kept.append(f.key)
    return tuple(kept)


def _nobody(agent: Agent, choices: ChannelChoices) -> Iterator[str]:
    for name in choices.on:
        declaration, options = channels.channel(name), agent.channels[name]
        if declaration.admits_nobody(options) and name not in opened(agent):
            yield (
                f"Nobody is allowed to use {name} yet: who writes to it gets a pairing code, which counts once "
                f"somebody runs: clm agent exec {agent.name} -- hermes pairing approve {name} CODE\n"
                f"  Name people instead: --{declaration.admits[0].replace('_', '-')}"
            )


def tested(reference: str, names: Sequence[str] = ()) -> list[tuple[str, Verdict | None]]:
    """
    Ask the services from the agent's host whether they take its credentials; None where there is no cheap call.

    + names: channels that are on; all when left out

    Raises :class:`Problem` when the host cannot be reached, or a credential is not on record.
    """
    from .connectivity import ask

    state = State.open()
    state.unlock()
    snapshot = state.read()
    instance = snapshot.agent(reference)
    known = snapshot.secrets.of(instance.key)
    on = [name for name in instance.agent.channels if not channels.channel(name).always_on]
    result: list[tuple[str, Verdict | None]] = []
    for name in names or on:
        entry = channels.channel(name)
        if name not in on:
            remedy = f"clm agent channel enable {instance.agent.name} {name}"
            raise Problem(f"Channel {name} of {instance.key} is not on", remedy, Exit.REFUSED)
        options = instance.agent.channels[name]
        secrets = {f.name: known[f.key] for f in entry.secrets if f.key in known}
        entry.check_complete(options, secrets)
        if entry.check is None:
            result.append((name, None))
            continue
        calls = entry.check.calls(options, secrets)
        answers = ask(login_of(state, instance.host), [call.request for call in calls])
        result.append((name, judged(entry.check, calls, answers)))
    return result


def listed(reference: str) -> list[dict[str, Any]]:
    """Return the channels of an agent as plain data; of secrets the names of those that are there."""
    from ..state.errors import KeyUnavailable
    from ..state.unlocking import without_asking

    snapshot = State.open().read()
    instance = snapshot.agent(reference)
    try:
        with without_asking():
            there: tuple[str, ...] | None = snapshot.secrets.names(instance.key)
    except KeyUnavailable:
        # A listing is no reason to ask for a passphrase.
        there = None
    open_ones = opened(instance.agent)
    return [
        {
            "channel": name,
            "title": channels.channel(name).title,
            "settings": dict(options),
            "secrets": None if there is None else [f.key for f in channels.channel(name).secrets if f.key in there],
            "open": open_ones.get(name),
        }
        for name, options in instance.agent.channels.items()
    ]
