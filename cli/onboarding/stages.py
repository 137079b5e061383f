"""The stages of onboarding: what each decides about an agent, and its result on record. The state follows from them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyinfra_hermes.deploys.model import channels, names
from pyinfra_hermes.deploys.model.declaration import InvalidSetting, Value

from ..catalogues import fields
from ..catalogues.fields import Answers
from ..exits import Exit
from ..problems import Problem
from ..specification import specification
from ..state.lookup import Lookup
from ..state.records import STAGES, Agent, Instance, Plain, Stage, StageResult
from ..state.store import State, Transaction

#: Why nobody is asked who the agent is to be.
IDENTITY_SKIPPED = "the agent keeps its own SOUL.md"

#: What a stage decides, in a few words.
ABOUT: Mapping[Stage, str] = {
    "providers": "What the agent thinks with.",
    "identity": IDENTITY_SKIPPED,
    "channels": "Where the agent can be reached.",
    "validate": "Write its files, start it, and prove that it answers.",
}

#: What the user decides about an agent; a change of it makes the proof void.
_DECIDED = (
    "provider", "model", "hardening", "channels", "integrations", "memory",
    "environment", "secret_environment", "config",
)  # fmt: skip


@dataclass
class Deciding:
    """An agent's record while choices are put on it."""

    tx: Transaction
    instance: Instance
    #: Whether a credential of the agent changed: the record does not show that.
    secrets_changed: bool = False

    @property
    def agent(self) -> Agent:
        return self.instance.agent


@contextmanager
def deciding(state: State, instance: Instance) -> Iterator[Deciding]:
    """
    Put choices on record, in one transaction: what they change makes the proof void.

    What cannot be is refused at the end, and nothing is recorded then.
    """
    with state.transaction() as tx:
        now = Deciding(tx, tx.agent(instance.key))
        before = _decided(now.agent)
        yield now
        # Checked as a whole: the release may lack what was chosen, or two choices may not go together.
        specification(tx, now.instance)
        if _decided(now.agent) != before or now.secrets_changed:
            now.agent.onboarding.pop("validate", None)


def _decided(agent: Agent) -> dict[str, Any]:
    return agent.model_dump(include=set(_DECIDED), warnings=False)


def finish(agent: Agent, stage: Stage, detail: Mapping[str, Plain], status: str = "done") -> bool:
    """Record a stage's result; tell whether it is another than before."""
    result = agent.onboarding.get(stage)
    if result is not None and (result.status, result.detail) == (status, dict(detail)):
        return False
    agent.onboarding[stage] = StageResult.model_validate({"status": status, "detail": dict(detail)})
    return True


def skip_identity(now: Deciding) -> bool:
    """Record that there is nothing to ask; tell whether that is new."""
    return finish(now.agent, "identity", {}, "skipped")


def choose_provider(now: Deciding, provider: str, model: str | None) -> None:
    """The providers stage: which provider on record, and which model instead of its own."""
    record = now.agent
    chosen = now.tx.provider(provider).name
    if chosen != record.provider:
        # Another provider has other models.
        record.model = None
    record.provider = chosen
    record.model = names.model_id(model) if model is not None else record.model
    finish(record, "providers", {"provider": chosen})


@dataclass(frozen=True)
class ChannelChoices:
    """What is to be different about an agent's channels."""

    #: Those that are on, old and new, with what is to change of their settings.
    on: Mapping[str, Answers] = field(default_factory=dict)
    off: Collection[str] = ()
    #: Whether the settings of those in ``on`` start from nothing.
    anew: bool = False


def choose_channels(now: Deciding, choices: ChannelChoices) -> None:
    """The channels stage: which are on, with which settings and credentials."""
    record, chosen = now.agent, dict(now.agent.channels)
    for name in choices.off:
        if channels.channel(name).always_on:
            raise InvalidSetting(f"Channel {name} is always on")
        chosen.pop(name, None)
    for name, answers in choices.on.items():
        declaration = channels.channel(name)
        if declaration.always_on and answers:
            raise InvalidSetting(f"Channel {name} has nothing to set; clm secret rotate AGENT makes another key")
        recorded: dict[str, Value] = {} if choices.anew else dict(chosen.get(name, {}))
        kept = kept_secrets(now.tx, now.instance.key, declaration) if declaration.secrets else frozenset()
        chosen[name] = fields.check(declaration, answers, options=recorded, secrets=kept)
        now.secrets_changed |= bool(answers.secrets or answers.removed) and fields.keep_secrets(
            now.tx.secrets, now.instance.key, declaration, answers
        )
    record.channels = chosen
    finish(record, "channels", {"channels": ", ".join(chosen)})


def kept_secrets(state: Lookup, scope: str, declaration: Any) -> frozenset[str]:
    """Name the secret fields of an entry that have something on record."""
    there = state.secrets.names(scope)
    return frozenset(f.name for f in declaration.secrets if f.key in there)


def refuse_too_early(instance: Instance, stage: Stage) -> None:
    """Refuse to validate what is not decided yet; the other stages can be taken in any order."""
    agent = instance.agent
    missing = [each for each in STAGES[: STAGES.index("validate")] if each not in agent.onboarding]
    if stage == "validate" and [each for each in missing if each != "identity"]:
        first = next(each for each in missing if each != "identity")
        raise Problem(
            f"Cannot validate {instance.key}: onboarding incomplete (state={agent.onboarding_state}). "
            f"Run 'clm agent configure {agent.name} --stage {first}' first.",
            None,
            Exit.REFUSED,
        )


def done_of(agent: Agent) -> str:
    """Say how many stages are done; a skipped one is."""
    return f"{sum(stage in agent.onboarding for stage in STAGES)}/{len(STAGES)}"
