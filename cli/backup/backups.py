"""Backups of agents: made on a live agent, verified once written, and put back only as a whole."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, get_args

import click

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.archive import Manifest, NewerFormat
from pyinfra_hermes.deploys.model.releases import Method, UnknownRelease, manifest
from pyinfra_hermes.deploys.model.secret import Secret

from ..acting import Deploys, run
from ..exits import Exit
from ..problems import Problem
from ..progress import Progress
from ..specification import secrets_of, specification
from ..state.directory import reason
from ..state.encryption import Header, Key
from ..state.errors import NotFound
from ..state.records import Agent, Instance, Reference, agent_scope
from ..state.store import State
from ..state.timestamps import now, rfc3339
from .archive_keys import Given, in_memory

if TYPE_CHECKING:
    from pyinfra_hermes.facts.observation import AgentState, Observation

    from .archive_file import Archive, Draft

#: What a record says of an agent beside what the host confirmed: the user's choices.
_CHOICES = (
    "provider", "model", "channels", "integrations", "memory", "environment", "secret_environment", "config",
    "hardening",
)  # fmt: skip
_MIB = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """What the user asked ``clm agent backup`` for."""

    agent: str
    output: Path | None = None
    with_secrets: bool = False
    stop: bool = False
    given: Given = field(default_factory=Given)
    verbose: bool = False


@dataclass(frozen=True)
class Made:
    """A backup on disk, verified."""

    path: Path
    manifest: Manifest
    size: int
    sealed: bool


def backup(wanted: Wanted) -> Made:
    """Back an agent up; what is on disk afterwards was read back and is whole, or nothing is."""
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket or starts a thread

    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(wanted.agent)
    target = _target(wanted.output, instance, wanted.with_secrets or wanted.given.is_made)
    if wanted.with_secrets:
        state.unlock()
        snapshot = state.read()
    secrets = _kept_secrets(snapshot, instance) if wanted.with_secrets else None
    key = wanted.given.new() if wanted.with_secrets or wanted.given.is_made else None
    with Progress.shown(f"{instance.host.name}  connecting", wanted.verbose) as progress:
        made = export(state, instance, target, key, secrets, stop=wanted.stop, progress=progress)
        try:
            with opened(target, lambda header: key if key is not None else wanted.given.of(header, target)) as archive:
                verify(archive, progress)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return Made(target, made, target.stat().st_size, key is not None)


def export(
    state: State,
    instance: Instance,
    target: Path,
    key: Key | None,
    secrets: bytes | None,
    *,
    stop: bool,
    progress: Progress,
) -> Manifest:
    """Write an archive of an agent, with ``secrets`` on record, and return its manifest. Raises :class:`Problem`."""

    try:
        with drafting(target.parent, key) as draft:
            taken = take(state, instance, draft, secrets=secrets is not None, stop=stop, progress=progress)
            if secrets is not None:
                draft.add_secrets(secrets)
            return draft.finish(taken, target)
    except FileExistsError:
        raise _is_there(target) from None
    except OSError as error:
        raise Problem(
            f"{target} cannot be written: {reason(error)}. Nothing was left of it", "Choose another --output"
        ) from None


@contextmanager
def drafting(folder: Path, key: Key | None) -> Iterator[Draft]:
    """Begin an archive. With a key nothing is written that is not sealed."""
    from .archive_file import Draft

    with Draft(folder, key, in_memory() if key else None) as draft:
        yield draft


def take(state: State, instance: Instance, draft: Draft, *, secrets: bool, stop: bool, progress: Progress) -> Manifest:
    """Take everything of an agent into an archive; return the manifest but for what is in it. Raises ``Problem``."""
    from pyinfra_hermes.deploys.backup import backup as deploy

    host, agent = instance
    seen: list[Observation] = []

    def look(observation: Observation) -> None:
        _refuse_without_home(observation.agent(agent.name), instance)
        seen.append(observation)

    told = partial(_tell_size, draft, progress, agent.name)
    act = partial(deploy, agent=agent.name, take=told, skipped=draft.skip, secrets=secrets, stop=stop)
    run(state, host, [act], progress, (agent.name, look))
    [before] = seen
    return Manifest(
        agent=agent.name,
        host=host.name,
        release=agent.release,
        hermes_version=_release(before.agent(agent.name), before.releases),
        schema=draft.schema,
        created_at=rfc3339(now()),
        created_by=_operator(),
        stopped=stop,
        with_secrets=secrets,
        record=json.loads(agent.model_dump_json()),
        leaves=before.agent(agent.name).set_leaves or (),
    )


@contextmanager
def opened(path: Path, key_of: Callable[[Header], Key], file: BinaryIO | None = None) -> Iterator[Archive]:
    """Open an archive; whatever is wrong with it, then or later, is a :class:`Problem`."""
    from .archive_file import Archive, Corrupt

    try:
        with Archive(path, key_of, file) as archive:
            yield archive
    except NewerFormat as error:
        raise Problem(
            f"{path} was made by a later version: {error}; nothing was changed",
            "Upgrade pyinfra-hermes on this machine",
            Exit.REFUSED,
        ) from None
    except Corrupt as error:
        raise Problem(f"{path} is damaged, or no backup: {error}. Nothing was changed", None, Exit.REFUSED) from None
    except OSError as error:
        if error.filename is None or str(error.filename) != str(path):
            raise
        raise Problem(f"{path} cannot be read: {reason(error)}", None, Exit.USAGE) from None


def verify(archive: Archive, progress: Progress) -> None:
    """Read an archive to its end: every digest, and its database. Raises what :func:`opened` turns into a problem."""
    last = 0

    def tell(size: int) -> None:
        nonlocal last
        if size - last >= 32 * _MIB:
            last = size
            progress.waiting(f"{archive.path.name}: {size // _MIB} of {archive.manifest.size // _MIB} MiB verified")

    archive.verify(tell)


@dataclass(frozen=True)
class Restoring:
    """What the user asked ``clm agent restore`` for."""

    agent: str
    source: Path
    host: str | None = None
    stop: bool = False
    install: bool = False
    chat: bool = True
    wheelhouse: Path | None = None
    given: Given = field(default_factory=Given)
    verbose: bool = False


@dataclass(frozen=True)
class Restored:
    """What became of a restore."""

    instance: Instance
    manifest: Manifest
    #: Whether the agent was started and proven; else it is to be configured.
    proven: bool
    #: Folder on the host with what was there before; None when there was nothing.
    aside: str | None


def restore(wanted: Restoring) -> Restored:
    """Put a backup in the place of what an agent has; on failure it has what it had."""
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket or starts a thread

    state = State.open()
    state.unlock()
    with opened(wanted.source, lambda header: wanted.given.of(header, wanted.source)) as archive:
        with Progress.shown(f"{wanted.source.name}  verifying", wanted.verbose) as progress:
            verify(archive, progress)
        instance = _target_of(state, wanted, archive)
        with Progress.shown(f"{instance.host.name}  connecting", wanted.verbose) as progress:
            return _put(state, instance, archive, wanted, progress)


def _put(state: State, instance: Instance, archive: Archive, wanted: Restoring, progress: Progress) -> Restored:
    from pyinfra_hermes.deploys.configure import configure
    from pyinfra_hermes.deploys.restore import settle

    host, agent = instance
    snapshot = state.read()
    ready = agent.onboarding_state == "ready" and agent.provider is not None
    spec = specification(snapshot, instance)
    known = secrets_of(snapshot, instance)
    lived: list[bool] = []
    aside: list[str] = []

    def look(observation: Observation) -> None:
        before = observation.agent(agent.name)
        _refuse_without_home(before, instance)
        live = before.unit is not None and before.unit.active not in ("inactive", "failed")
        if live and not wanted.stop:
            raise Problem(
                f"Agent {instance.key} runs; nothing is put under a running agent",
                f"clm agent stop {agent.name}\n  Or restore with --stop, which does it",
                Exit.REFUSED,
            )
        lived.append(live)

    prove = partial(configure, spec=spec, secrets=known, chat=wanted.chat, progress=progress.waiting, what="restore")
    deploys: Deploys = [
        put_back(archive, agent.name, stop=wanted.stop),
        *([prove] if ready else []),
        partial(settle, agent=agent.name, do="keep", after=aside.append),
    ]
    try:
        run(state, host, deploys, progress, (agent.name, look))
    except BaseException as error:
        if not lived:
            raise  # nothing was begun
        raise _undone(state, instance, error, progress, was_running=lived[0]) from None
    return Restored(instance, archive.manifest, ready, next((path for path in aside if path), None))


def put_back(archive: Archive, name: str, *, stop: bool) -> Callable[..., object]:
    """Return the deploy that puts an archive in the place of what an agent has."""
    from pyinfra_hermes.deploys.restore import restore as deploy

    manifest_ = archive.manifest
    return partial(
        deploy,
        agent=name,
        give=archive.contents,
        size=manifest_.size,
        schema=manifest_.schema,
        leaves=manifest_.leaves,
        stop=stop,
    )


def undo(name: str, spec: Any | None, progress: Progress) -> Deploys:
    """Return the deploys that bring back what was there before a restore; ``spec`` starts the agent, too."""
    from pyinfra_hermes.deploys.lifecycle import start
    from pyinfra_hermes.deploys.restore import settle

    back = partial(settle, agent=name, do="undo", after=lambda path: None)
    return [back] if spec is None else [back, partial(start, spec=spec, progress=progress.waiting)]


def _undone(
    state: State, instance: Instance, error: BaseException, progress: Progress, *, was_running: bool
) -> BaseException:
    """Bring back what was there before; return what ends the command."""
    host, agent = instance
    name = agent.name
    failed = error if isinstance(error, Problem) else None
    spec = specification(state.read(), instance) if was_running else None
    try:
        run(state, host, undo(name, spec, progress), progress)
    except Problem as trouble:
        # What was there lies beside the home; a second restore brings it back first.
        more = f"\nWhat was there before could not be brought back: {trouble.message}"
        exit = failed.exit if failed else Exit.FAILED
        return Problem(f"{failed.message if failed else error}{more}", "The same command carries on", exit)
    if failed is None:
        return error
    if "schema of state.db is newer" in failed.message:
        what = f"{failed.message}: this would be a downgrade"
        remedy = f"Upgrade the agent to the release of the backup first, or restore a backup of {agent.release}"
        return Problem(f"{what}. {_as_before(instance, was_running)}", remedy, Exit.REFUSED)
    exit = Exit.NOT_APPLIED if was_running and failed.exit != Exit.UNREACHABLE else failed.exit
    return Problem(f"{failed.message}\n{_as_before(instance, was_running)}", failed.remedy, exit)


def _as_before(instance: Instance, was_running: bool) -> str:
    return f"Agent {instance.key} {'serves on' if was_running else 'has'} what it had."


def _target_of(state: State, wanted: Restoring, archive: Archive) -> Instance:
    """Return the agent that the backup goes to; installed first, when that was asked for."""
    name, snapshot = wanted.agent, state.read()
    if wanted.host is not None:
        snapshot.host(wanted.host)
        reference = f"{wanted.host}/{names.agent_name(name)}"
    else:
        reference = name
    try:
        instance: Instance | None = snapshot.agent(reference)
    except NotFound:
        if not wanted.install:
            raise
        instance = None
    if instance is not None and (instance.agent.status == "installed" or not wanted.install):
        if instance.agent.status != "installed":
            raise Problem(
                f"Agent {instance.key} is not installed (status={instance.agent.status})",
                f"clm agent restore {name} --from {wanted.source} --install",
                Exit.REFUSED,
            )
        return instance
    return _installed(state, wanted, archive, instance)


def _installed(state: State, wanted: Restoring, archive: Archive, instance: Instance | None) -> Instance:
    from ..installing import Installation, install

    host, name = (
        (instance.host.name, instance.agent.name) if instance else (wanted.host, wanted.agent.rpartition("/")[2])
    )
    if host is None:
        raise Problem(f"Agent {name} is not on record, so its host must be said", "--host HOST", Exit.USAGE)
    names.agent_name(name)
    release = archive.manifest.release
    try:
        manifest().release(release)
    except UnknownRelease:
        click.echo(f"Warning: release {release} is not in the manifest; the default is installed.", err=True)
        release = manifest().release().tag
    _adopt_secrets(state, host, name, archive)
    # As it was installed where the backup was made; what is on record here goes before that.
    said = archive.manifest.record.get("method") if instance is None else None
    method: Method | None = next((known for known in get_args(Method) if known == said), None)
    install(Installation(host, name, release, method=method, wheelhouse=wanted.wheelhouse, verbose=wanted.verbose))
    if instance is None:
        _adopt_choices(state, host, name, archive.manifest)
    return state.read().agent(f"{host}/{name}")


def _adopt_secrets(state: State, host: str, name: str, archive: Archive) -> None:
    """Put the backup's secrets on record where there are none; those on record stay."""
    content = archive.secrets()
    if content is None:
        return
    plain = json.loads(content)
    with state.transaction() as tx:
        scope = agent_scope(host, name)
        for key, entry in plain.items():
            if tx.secrets.scopes.get(scope, {}).get(key) is None:
                value = Reference(entry["reference"]) if "reference" in entry else Secret(entry["value"])
                tx.secrets.set(scope, key, value, description=entry.get("description", ""))


def _adopt_choices(state: State, host: str, name: str, of: Manifest) -> None:
    """Put the choices of the backup's record on record, as far as what they name is there."""
    with state.transaction() as tx:
        there = tx.host(host).agents[name]
        plain = json.loads(there.model_dump_json())
        kept = {key: value for key, value in of.record.items() if key in _CHOICES}
        if kept.get("provider") not in tx.providers:
            kept.pop("provider", None)
            kept.pop("model", None)
        kept["integrations"] = [one for one in kept.get("integrations", ()) if one in tx.integrations]
        # The proof is of another day; everything else was decided.
        stages = {k: v for k, v in dict(of.record.get("onboarding") or {}).items() if k != "validate"}
        try:
            tx.host(host).agents[name] = Agent.model_validate_json(
                json.dumps({**plain, **kept, **({"onboarding": stages} if "provider" in kept else {})})
            )
        except ValueError:
            click.echo("Warning: what the backup says of the agent's settings cannot be used here.", err=True)


def _kept_secrets(snapshot: Any, instance: Instance) -> bytes:
    plain = {}
    for key, entry in snapshot.secrets.scopes.get(instance.key, {}).items():
        kept = entry.kept()
        where = {"reference": kept.text} if isinstance(kept, Reference) else {"value": kept.reveal()}
        plain[key] = {**where, "description": entry.description}
    return json.dumps(plain).encode()


def _tell_size(draft: Draft, progress: Progress, name: str, found: Any, content: Iterator[bytes]) -> None:
    def told() -> Iterator[bytes]:
        size = draft.size
        for piece in content:
            if (size + len(piece)) // (32 * _MIB) != size // (32 * _MIB):
                progress.waiting(f"{name}: {(size + len(piece)) // _MIB} MiB received")
            size += len(piece)
            yield piece

    draft.take(found, told())


def _refuse_without_home(seen: AgentState, instance: Instance) -> None:
    host, agent = instance
    home = seen.paths.get("hermes")
    if not seen.ours or home is None or home.kind != "directory":
        raise Problem(
            f"Agent {instance.key} is not installed on its host: no {'home' if seen.ours else 'account'} is there",
            f"clm agent install --type hermes --host {host.name} --name {agent.name}",
            Exit.REFUSED,
        )


def _release(seen: AgentState, releases: Any) -> str | None:
    link = seen.paths.get("code")
    known = {**releases, **seen.releases}
    found = known.get((link.detail or "").rpartition("/")[2]) if link is not None else None
    return None if found is None else f"{found.version} ({found.calver})"


def _target(output: Path | None, instance: Instance, sealed: bool) -> Path:
    given = Path.cwd() if output is None else output.expanduser()
    if given.is_dir():
        ending = "sealed" if sealed else "tar.gz"
        given = given / f"{instance.agent.name}-{now():%Y%m%dT%H%M%SZ}.{ending}"
    path = given.absolute()
    if os.path.lexists(path):
        raise _is_there(path)
    if not path.parent.is_dir():
        raise Problem(f"There is no folder {path.parent}", f"mkdir -p {path.parent}", Exit.USAGE)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Problem(f"{path.parent} cannot be written to", "Choose another --output", Exit.USAGE)
    return path


def _is_there(path: Path) -> Problem:
    return Problem(f"{path} is there already; a backup is never overwritten", "Choose another --output", Exit.REFUSED)


def _operator() -> str:
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = str(os.getuid())
    return f"{who}@{socket.gethostname()}"[:200]
