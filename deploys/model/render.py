"""From a specification and its secrets to what must be on the host: one renderer for every way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import channels, dotenv, providers, unit
from .layout import Layout
from .providers import Value
from .releases import Release, manifest
from .secret import Secret
from .spec import AgentSpec

_HEADER = (
    "Managed by pyinfra-hermes: changes made here are lost at the next `clm agent configure {agent}`.\n"
    "Read by python-dotenv inside Hermes, which expands ${{...}} even in quotes."
)


class CannotRender(ValueError):
    """A specification that lacks something the files need; the text says what and which command gives it."""


@dataclass(frozen=True)
class Files:
    """What must be on the host for one agent."""

    paths: Layout
    release: Release
    #: The text of ``~/.hermes/.env``.
    env: Secret
    #: Leaves of ``config.yaml`` that are ours, by dotted path, with their values.
    leaves: Mapping[str, Value]
    #: Leaves of ``config.yaml`` that would be ours but are not wanted now: they are removed.
    absent_leaves: tuple[str, ...]
    service: str
    slice: str


def render(spec: AgentSpec, secrets: Mapping[str, Secret]) -> Files:
    """
    Render everything for one agent.

    ``secrets`` holds the agent's own secrets under the names of secrets.json (``HERMES_API_SERVER_KEY``) and
    the active provider's under its fields' names (``api_key``). Raises :class:`CannotRender` when something
    that the files need is not there or cannot be carried to the daemon unchanged.
    """
    if spec.provider is None:
        raise CannotRender(f"Agent {spec.name} has no provider. Run 'clm agent configure {spec.name}' first.")
    provider = providers.provider_type(spec.provider.type)
    missing = [f.label for f in provider.secrets if f.required and f.name not in secrets]
    if missing:
        raise CannotRender(f"Agent {spec.name}: the {provider.title} provider lacks its {', '.join(missing)}")
    rendered = provider.render(spec.provider.options, secrets)
    release = manifest().release(spec.release)
    return Files(
        paths=Layout(spec.name),
        release=release,
        env=_environment(spec, rendered, secrets),
        leaves=dict(rendered.config),
        absent_leaves=tuple(leaf for leaf in providers.LEAVES if leaf not in rendered.config),
        service=unit.service(spec, release.id),
        slice=unit.shared_slice(),
    )


def _environment(spec: AgentSpec, provider: providers.Rendered, secrets: Mapping[str, Secret]) -> Secret:
    variables: dict[str, Secret | str] = dict(provider.env)
    try:
        for name in spec.channels:
            variables.update(channels.CATALOGUE[name].render(spec.port, secrets))
        plain = {name: v.reveal() if isinstance(v, Secret) else v for name, v in variables.items()}
        return Secret(dotenv.document(plain, _HEADER.format(agent=spec.name)))
    except (channels.InvalidChannel, dotenv.CannotEncode) as error:
        raise CannotRender(f"Agent {spec.name}: {error}") from None
