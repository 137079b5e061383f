"""From a specification and its secrets to what must be on the host: one renderer for every way in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from . import channels, dotenv, extras, integrations, memory, providers, unit
from .declaration import InvalidSetting, Json, KeyPath, Rendered, SecretFile, Seed, Target
from .layout import Layout
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
    #: Name of the release's folder, which says by which method it comes.
    release_id: str
    #: The text of ``~/.hermes/.env``.
    env: Secret
    #: What ``.env`` sets, by name.
    variables: Mapping[str, Secret | str]
    #: Files of ``~/.hermes/credentials``, by their names.
    credentials: Mapping[str, Secret]
    #: Files of ``~/.hermes/mcp-tokens`` that are the daemon's own once they are there, by their names.
    seeds: Mapping[str, Seed]
    #: Leaves of ``config.yaml`` that are ours, with their values.
    leaves: Mapping[KeyPath, Json]
    #: Leaves of ``config.yaml`` that are always ours and not wanted now: they are removed.
    absent_leaves: tuple[KeyPath, ...]
    service: str
    slice: str

    @property
    def credential_sources(self) -> tuple[str, ...]:
        """What Hermes may have copied a credential from, as its auth.json names it: ours of now, none of before."""
        custom = ("model_config",) if self.leaves.get(("model", "provider")) == "custom" else ()
        return (*(f"env:{name}" for name in self.variables), *custom)


def render(spec: AgentSpec, secrets: Mapping[str, Secret]) -> Files:
    """
    Render everything for one agent.

    ``secrets`` holds the agent's own secrets under the names of secrets.json (``HERMES_API_SERVER_KEY``) and
    the active provider's under its fields' names (``api_key``), those of an integration under its name and its
    fields' (``jira.api_token``). Raises :class:`CannotRender` when something
    that the files need is not there or cannot be carried to the daemon unchanged.
    """
    release = manifest().release(spec.release)
    paths = Layout(spec.name)
    try:
        rendered = _merged(spec, secrets, Target(adapter=release.adapter, port=spec.port))
        located = {f.variable: f"{paths.credentials}/{name}" for name, f in rendered.files.items()}
        variables = {**rendered.env, **located}
        plain = {name: v.reveal() if isinstance(v, Secret) else v for name, v in variables.items()}
        env = Secret(dotenv.document(plain, _HEADER.format(agent=spec.name)))
    except (InvalidSetting, dotenv.CannotEncode) as error:
        raise CannotRender(f"Agent {spec.name}: {error}") from None
    return Files(
        paths=paths,
        release=release,
        release_id=spec.release_id,
        env=env,
        variables=variables,
        credentials={name: file.content for name, file in rendered.files.items()},
        seeds=rendered.seeds,
        leaves=rendered.config,
        absent_leaves=tuple(leaf for leaf in providers.LEAVES if leaf not in rendered.config),
        service=unit.service(spec, spec.release_id),
        slice=unit.shared_slice(),
    )


def _merged(spec: AgentSpec, secrets: Mapping[str, Secret], target: Target) -> Rendered:
    """Put together what each entry contributes. Two entries that set one thing are refused."""
    env: dict[str, Secret | str] = {}
    config: dict[KeyPath, Json] = {}
    files: dict[str, SecretFile] = {}
    seeds: dict[str, Seed] = {}
    for who, part in _parts(spec, secrets, target):
        names = [name for name in [*part.env, *(file.variable for file in part.files.values())] if name in env]
        names += [f"mcp-tokens/{name}" for name in part.seeds if name in seeds]
        for taken in names + [path for path in part.config if path in config]:
            shown = taken if isinstance(taken, str) else ".".join(taken)
            raise InvalidSetting(f"{who} sets {shown}, which another part of the agent sets already")
        env.update(part.env)
        config.update(part.config)
        files.update(part.files)
        seeds.update(part.seeds)
    extras.check_apart(config)
    return Rendered(env=env, config=config, files=files, seeds=seeds)


def _parts(spec: AgentSpec, secrets: Mapping[str, Secret], target: Target) -> Iterator[tuple[str, Rendered]]:
    if spec.provider is None:
        raise CannotRender(f"Agent {spec.name} has no provider. Run 'clm agent configure {spec.name}' first.")
    provider = providers.provider_type(spec.provider.type)
    known = {f.name: secrets[f.name] for f in provider.secrets if secrets.get(f.name)}
    provider.check_complete(spec.provider.options, known)
    yield provider.what, provider.render(spec.provider.options, known, target.adapter)
    for name, options in spec.channels.items():
        channel = channels.channel(name)
        known = {f.name: secrets[f.key] for f in channel.secrets if secrets.get(f.key)}
        channel.check_complete(options, known)
        yield channel.what, channel.render(options, known, target)
    yield "The channels together", channels.together(spec.channels)
    for each in spec.integrations:
        kind = integrations.integration_type(each.type).of(each.options)
        known = {f.name: secrets[f"{each.name}.{f.name}"] for f in kind.secrets if secrets.get(f"{each.name}.{f.name}")}
        with _named(f"Integration {each.name}"):
            kind.check_complete(each.options, known)
            yield f"Integration {each.name}", kind.render(each.name, each.options, known)
    if spec.memory is not None:
        backend = memory.memory_backend(spec.memory.type)
        known = {f.name: secrets[f.key] for f in backend.secrets if secrets.get(f.key)}
        backend.check_complete(spec.memory.options, known)
        yield backend.what, backend.render(spec.memory.options, known)
    config: dict[str, Json] = dict(spec.config)
    yield "The agent's own part", extras.render(spec.environment, spec.secret_environment, config, secrets)


@contextmanager
def _named(who: str) -> Iterator[None]:
    try:
        yield
    except InvalidSetting as error:
        raise InvalidSetting(f"{who}: {error}") from None
