"""What a shell completes beyond commands and options: names of agents, hosts and releases, as they are on record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class
from typing_extensions import override

from .lazy import LazyGroup
from .state.directory import default_path
from .state.errors import StateReadFailed

#: A file of more bytes than this is not worth the wait at a prompt.
_LARGEST = 8 << 20
#: What a name may consist of: a record that was edited by hand must not put words of its own into somebody's shell.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


def agents() -> Iterator[str]:
    """Name every agent on record; with its host where several have the name."""
    pairs = [
        (host, agent)
        for host, record in _entries("hosts.json", "hosts").items()
        for agent in (record.get("agents") or {} if isinstance(record, dict) else ())
    ]
    names = [agent for _, agent in pairs]
    for host, agent in pairs:
        yield agent if names.count(agent) == 1 else f"{host}/{agent}"


def hosts() -> Iterator[str]:
    """Name every host on record."""
    yield from _entries("hosts.json", "hosts")


def providers() -> Iterator[str]:
    """Name every provider on record."""
    yield from _entries("providers.json", "providers")


def integrations() -> Iterator[str]:
    """Name every integration on record."""
    yield from _entries("integrations.json", "integrations")


def scopes() -> Iterator[str]:
    """Name every scope that may have secrets."""
    for host, record in _entries("hosts.json", "hosts").items():
        for agent in record.get("agents") or {} if isinstance(record, dict) else ():
            yield f"{host}:hermes:{agent}"
    yield from (f"provider:{name}" for name in providers())
    yield from (f"integration:{name}" for name in integrations())


def releases() -> Iterator[str]:
    """Name every release of the manifest."""
    from pyinfra_hermes.deploys.model.releases import manifest

    yield from (release.tag for release in manifest().releases)


Source = Callable[[], Iterator[str]]

#: What completes a parameter: by how the command begins, and the parameter's name; the first that fits.
_SOURCES: tuple[tuple[str, str, Source | None], ...] = (
    ("host add", "name", None),
    ("host init", "name", None),
    ("host rename", "new", None),
    ("host rename", "old", hosts),
    ("host", "name", hosts),
    ("provider add", "name", None),
    ("provider", "name", providers),
    ("integration add", "name", None),
    ("integration", "name", integrations),
    ("agent install", "name", None),
    ("agent variable", "name", None),
    ("agent", "integrations", integrations),
    ("agent move", "to", hosts),
    ("agent", "name", agents),
    ("agent", "names", agents),
    ("chat", "name", agents),
    ("secret", "scope", scopes),
    ("release", "tag", releases),
    ("", "agent", agents),
    ("", "host", hosts),
    ("", "hosts", hosts),
    ("", "provider", providers),
    ("", "release", releases),
    ("", "to", releases),
)


def source_of(command: Sequence[str], parameter: str) -> Source | None:
    """Return what completes a parameter of a command, which is named without ``clm``."""
    for prefix, name, source in _SOURCES:
        words = prefix.split()
        if name == parameter and list(command[: len(words)]) == words:
            return source
    return None


def _entries(file: str, key: str) -> dict[str, Any]:
    # Read plainly: the checks of the state directory cost more than a person waits for at a Tab, and nothing is
    # decided by what is offered.
    try:
        path = default_path() / file
        if path.stat().st_size > _LARGEST:
            return {}
        found = json.loads(path.read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, StateReadFailed):
        return {}
    return found if isinstance(found, dict) else {}


class _OnRecord(click.types.StringParamType):
    """A text for which a shell offers what is on record."""

    @override
    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        source = source_of(ctx.command_path.split()[1:], param.name or "")
        names = sorted(set(source())) if source else []
        return [CompletionItem(name) for name in names if name.startswith(incomplete) and _offered(name)]


def _offered(name: str) -> bool:
    return all(_NAME.fullmatch(part) for part in re.split("[/:]", name))


def offer(command: click.Command) -> None:
    """Let the texts that a command and those below it take be completed."""
    for parameter in command.params:
        if isinstance(parameter.type, click.types.StringParamType):
            parameter.type = _OnRecord()
    if isinstance(command, click.Group):
        for each in command.commands.values():
            offer(each)


class _Bash(BashComplete):
    @staticmethod
    @override
    def _check_version() -> None:
        # Click would start a bash to ask it, each time.
        return


def install() -> None:
    """Prepare for a shell that asks: what commands import for completion, and nothing else."""
    LazyGroup.prepare = offer
    add_completion_class(_Bash)
