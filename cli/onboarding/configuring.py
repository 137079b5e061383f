"""``clm agent configure``: choices go on record, what is on record goes to the host, and the host proves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pyinfra_hermes.deploys.model import channels
from pyinfra_hermes.deploys.model.declaration import Field
from pyinfra_hermes.deploys.model.render import render
from pyinfra_hermes.deploys.model.spec import Hardening

from .. import asking
from ..acting import run_on_host
from ..catalogues import channels as agent_channels
from ..catalogues import fields
from ..catalogues.fields import Answers
from ..condition import absent_channels, broken_channels
from ..exits import Exit
from ..installing import install_command
from ..problems import Problem
from ..specification import digest, secrets_of, specification
from ..state.lookup import Lookup
from ..state.records import Applied, Instance, Stage
from ..state.store import State
from . import stages as onboarding
from .agentfile import AgentFile, put_on_record
from .stages import ChannelChoices, deciding

if TYPE_CHECKING:
    from ..engine import Result, Session
    from ..progress import Progress


#: Outcomes of a connectivity test that say nothing about the provider's settings.
_PASSING = frozenset({"rate-limited", "broken", "no-curl"})


@dataclass(frozen=True)
class ChannelOptions:
    """What the options of a command say about channels; settings and secrets are named ``CHANNEL.FIELD``."""

    on: Sequence[str] = ()
    off: Sequence[str] = ()
    settings: Sequence[str] = ()
    secret_files: Sequence[str] = ()
    secret_references: Sequence[str] = ()
    secret_stdin: str | None = None

    def choices(self) -> ChannelChoices:
        """Return them checked. Raises ``InvalidSetting`` and :class:`Problem`."""
        answers = {name: Answers() for name in dict.fromkeys(self.on)}
        given: dict[tuple[str, str], list[str]] = {}
        for text in self.settings:
            where, value = _assignment(text, "--set CHANNEL.FIELD=VALUE")
            given.setdefault(where, []).append(value)
        for (channel, name), values in given.items():
            f = _field(channel, name, secret=False)
            several = f.kind in ("list", "mapping")
            answers.setdefault(channel, Answers()).options[name] = fields.parse(f, values if several else values[-1])
        for option, way, texts in (
            ("--secret-file CHANNEL.FIELD=PATH", "file", self.secret_files),
            ("--secret-reference CHANNEL.FIELD=REFERENCE", "reference", self.secret_references),
        ):
            for text in texts:
                (channel, name), source = _assignment(text, option)
                f = _field(channel, name, secret=True)
                secret = fields.read_secret(f, {way: source}, "--secret")
                answers.setdefault(channel, Answers()).secrets[name] = secret
        if self.secret_stdin is not None:
            channel, name = _dotted(self.secret_stdin, "--secret-stdin CHANNEL.FIELD")
            secret = fields.read_secret(_field(channel, name, secret=True), {"stdin": True}, "--secret")
            answers.setdefault(channel, Answers()).secrets[name] = secret
        if both := sorted(set(answers) & set(self.off)):
            raise Problem(f"Channel {both[0]} is to be both on and off", None, Exit.USAGE)
        return ChannelChoices(on=answers, off=tuple(dict.fromkeys(self.off)))


def _assignment(text: str, option: str) -> tuple[tuple[str, str], str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Problem(f"{text.partition('.')[0]!r} lacks its value", f"Give it as {option}", Exit.USAGE)
    return _dotted(name, option), value


def _dotted(text: str, option: str) -> tuple[str, str]:
    channel, dot, name = text.partition(".")
    if not dot:
        raise Problem(f"{text!r} does not name a channel and its field", f"Give it as {option}", Exit.USAGE)
    return channel, name.replace("-", "_")


def _field(channel: str, name: str, *, secret: bool) -> Field:
    declaration = channels.channel(channel)
    wanted = [f for f in declaration.fields if f.secret == secret]
    found = next((f for f in wanted if f.name == name), None)
    if found is None:
        what = "secret" if secret else "setting"
        if any(f.name == name for f in declaration.fields):
            way = f"--set {channel}.{name}=VALUE" if secret else f"--secret-file {channel}.{name}=PATH"
            raise Problem(f"{channel}.{name} is no {what}", f"Give it with {way}", Exit.USAGE)
        there = ", ".join(f"{channel}.{f.name}" for f in wanted) or "none"
        raise Problem(f"{declaration.what} has no {what} {name!r}; there are: {there}", None, Exit.USAGE)
    return found


@dataclass(frozen=True)
class Configuration:
    """What the user asked ``clm agent configure`` for; None leaves what is on record."""

    agent: str
    provider: str | None = None
    model: str | None = None
    hardening: Hardening | None = None
    channels: ChannelChoices = field(default_factory=ChannelChoices)
    open_access: bool = False
    #: A file that says what is to be on record.
    file: AgentFile | None = None
    stage: Stage | None = None
    #: Walk through the questions even where everything is decided.
    edit: bool = False
    connectivity: bool = True
    chat: bool = True
    wheelhouse: Path | None = None
    verbose: bool = False

    @property
    def chooses(self) -> bool:
        """Whether any answer came with the command: then nobody is asked for more than is required."""
        given = (self.provider, self.model, self.hardening)
        return (
            self.file is not None
            or any(answer is not None for answer in given)
            or bool(self.channels.on or self.channels.off)
        )


def configure(wanted: Configuration) -> bool | None:
    """
    Take an agent through onboarding and bring it to what is on record.

    Returns whether anything changed on the host; None when only choices were recorded. The choices are recorded first,
    ``validate`` only once the host has proven the agent.
    """
    state = State.open()
    instance = installed(state.read(), wanted.agent)
    if wanted.stage is not None:
        onboarding.refuse_too_early(instance, wanted.stage)
    if wanted.file is not None:
        put_on_record(wanted.file, state, instance, open_access=wanted.open_access)
        instance = state.read().agent(instance.key)
    if _walks(instance, wanted):
        from .wizard import walk

        if not walk(state, instance, wanted):
            return None
    else:
        _choose(state, instance, wanted)
    instance = state.read().agent(instance.key)
    if wanted.stage not in (None, "validate"):
        return None
    return apply(state, instance, wanted)


def installed(snapshot: Lookup, reference: str) -> Instance:
    """Return an agent that is installed. Raises :class:`Problem` with the command that installs it."""
    instance = snapshot.agent(reference)
    if instance.agent.status != "installed":
        raise Problem(
            f"Agent {instance.key} is not installed (status={instance.agent.status})",
            install_command(instance),
            Exit.REFUSED,
        )
    return instance


def _walks(instance: Instance, wanted: Configuration) -> bool:
    """Tell whether to ask: at a terminal, when something is undecided and no answer came with the command."""
    if wanted.edit and not asking.interactive():
        raise Problem(
            "There is no terminal to ask at",
            f"Give the answers as options: clm agent configure {wanted.agent} --provider PROVIDER",
            Exit.USAGE,
        )
    if wanted.edit and wanted.chooses:
        raise Problem("--edit asks for everything; give no choice beside it", None, Exit.USAGE)
    if wanted.chooses or not asking.interactive():
        return False
    decided = instance.agent.onboarding
    match wanted.stage:
        case None:
            return wanted.edit or "providers" not in decided or "channels" not in decided
        case "providers" | "channels":
            return True
        case _:
            return False


def _choose(state: State, instance: Instance, wanted: Configuration) -> None:
    """Record the choices that came with the command, and ask for the provider when there is none yet."""
    snapshot, stage = state.read(), wanted.stage
    provider = wanted.provider or instance.agent.provider
    if provider is None and (stage in (None, "providers") or wanted.model is not None):
        if not snapshot.providers:
            raise Problem(
                "No providers configured.",
                "clm provider add NAME --type ollama --url URL --model MODEL",
                Exit.REFUSED,
            )
        provider = asking.choice("Provider", "--provider", sorted(snapshot.providers))
    if wanted.channels.on or wanted.channels.off:
        state.unlock()
        _complete(snapshot, instance, wanted.channels)
        agent_channels.confirm_opening(instance, wanted.channels, wanted.open_access)
    with deciding(state, instance) as now:
        record = now.agent
        record.hardening = wanted.hardening or record.hardening
        if provider is not None and (stage in (None, "providers") or wanted.provider or wanted.model):
            onboarding.choose_provider(now, provider, wanted.model)
        if stage in (None, "channels") or wanted.channels.on or wanted.channels.off:
            onboarding.choose_channels(now, wanted.channels)
            if wanted.channels.on or wanted.channels.off:
                agent_channels.refuse_clashes(now.tx, now.instance)
        if stage in (None, "identity", "validate") and (onboarding.skip_identity(now) or stage == "identity"):
            say_skipped()


def _complete(snapshot: Lookup, instance: Instance, choices: ChannelChoices) -> None:
    """Ask for what a channel needs and nobody gave; without a terminal, name the option."""
    for name, answers in choices.on.items():
        declaration = channels.channel(name)
        kept = onboarding.kept_secrets(snapshot, instance.key, declaration)
        there = {*answers.options, *answers.secrets, *kept, *instance.agent.channels.get(name, {})}
        for f in declaration.fields:
            if not f.required or f.default is not None or f.name in there:
                continue
            where = f"{name}.{f.name}"
            if f.secret:
                flag = f"--secret-file {where}=PATH, --secret-stdin {where} or --secret-reference {where}=REF"
                secret = fields.ask_secret(f, flag)
                assert secret is not None
                answers.secrets[f.name] = secret
            else:
                value = fields.ask(f, f"--set {where}=VALUE")
                assert value is not None
                answers.options[f.name] = value


def say_skipped() -> None:
    """Say that nobody is asked about the identity."""
    click.secho(f"Stage 2/4: IDENTITY — auto-skipped ({onboarding.IDENTITY_SKIPPED})", dim=True, err=True)


def apply(state: State, instance: Instance, wanted: Configuration) -> bool:
    """The validate stage: bring an agent to what is on record and have it proven; tell whether that changed it."""
    state.unlock()
    snapshot = state.read()
    spec = specification(snapshot, instance)
    known = secrets_of(snapshot, instance)
    agent_channels.refuse_unusable(instance, known)
    agent_channels.refuse_clashes(snapshot, instance, follow=True)
    files = render(spec, known)

    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.configure import configure as deploy
    from pyinfra_hermes.deploys.install import install as base
    from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

    wheelhouse = Wheelhouse(source=wanted.wheelhouse)

    def act(progress: Progress) -> list[Callable[..., object]]:
        return [
            lambda **kw: base(spec=spec, wheelhouse=wheelhouse, progress=progress.waiting, **kw),
            lambda **kw: deploy(spec=spec, secrets=known, chat=wanted.chat, progress=progress.waiting, **kw),
        ]

    def ask_provider(session: Session) -> None:
        _test_provider(instance, snapshot, partial(session.script, instance.host.name))

    unproven = wanted.connectivity and "validate" not in instance.agent.onboarding
    try:
        changed = run_on_host(
            state, instance, act, wanted.verbose, ask_provider if unproven else None, partial(_say_channels, instance)
        )
    except Problem as problem:
        if problem.exit == Exit.NOT_APPLIED:
            problem.message += f"\nWhat was asked for is on record, and not in force on {instance.host.name}."
            problem.remedy = problem.remedy or (
                f"See what differs: clm agent diff {wanted.agent}\n  Try again: clm agent configure {wanted.agent}"
            )
        raise
    with state.transaction() as tx:
        record = tx.host(instance.host.name).agents[instance.agent.name]
        applied = Applied(digest=digest(files), release=spec.release)
        if record.applied is None or (record.applied.digest, record.applied.release) != (
            applied.digest,
            applied.release,
        ):
            record.applied = applied
        if "validate" not in record.onboarding or changed:
            record.onboarding.pop("validate", None)
            onboarding.finish(record, "validate", {"chat": wanted.chat})
    return changed


def _say_channels(instance: Instance, result: Result) -> None:
    """Warn of channels that an agent which runs and answers is not connected to: the proof is of its API alone."""
    if result.seen is None:
        return
    seen = result.seen.agent(instance.agent.name)
    broken = {**dict.fromkeys(absent_channels(instance, seen), "not running"), **broken_channels(instance, seen)}
    for name, why in broken.items():
        click.echo(f"Warning: channel {name} is not connected: {why}", err=True)
        click.echo(f"  clm agent channel test {instance.host.name}/{instance.agent.name} {name}", err=True)


def _test_provider(instance: Instance, snapshot: Lookup, run: Callable[[str], str]) -> None:
    """Ask from the agent's host whether its provider can be used, before anything is changed there."""
    from ..catalogues import connectivity

    agent, host = instance.agent, instance.host.name
    assert agent.provider is not None
    provider = replace(connectivity.known(agent.provider, instance.key), login=None, run=run)
    verdict = connectivity.test(provider)
    if verdict.outcome in _PASSING or (verdict.outcome == "no-model" and not provider.type.probe.lists_all):
        # Nothing is certain by that; the proof tells.
        click.echo(f"Warning: {verdict.sentence}", err=True)
    elif not verdict.ok:
        problem = connectivity.problem(agent.provider, verdict)
        problem.exit = Exit.UNHEALTHY
        problem.message = (
            f"Agent {agent.name}: its model does not answer on {host}: {problem.message}\n"
            f"Nothing was changed on {host}."
        )
        skip = f"Go on all the same: clm agent configure {agent.name} --skip-connectivity"
        problem.remedy = f"{problem.remedy}\n  {skip}" if problem.remedy else skip
        raise problem
