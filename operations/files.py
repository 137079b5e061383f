"""Manage an agent's files: written as the agent, in one step, never seen half or by others."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from importlib import resources

from pyinfra.api import HiddenValue, QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.observation import PathState

from .commands import as_agent, note_restart, refuse, unobserved, write_atomically
from .observing import observe_agent


@operation()
def directories(agent: str, paths: Mapping[str, str], mode: str = "700") -> Generator[StringCommand, None, None]:
    """
    Make directories of an agent and keep their mode.

    + agent: name of the agent, who owns them
    + paths: the directories by the key under which an observation knows them (``hermes``, ``memories``)
    + mode: mode of each, as chmod(1) takes it

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files

        files.directories(
            name="Make the agent's directories",
            agent="maurice",
            paths={"hermes": "/home/maurice/.hermes", "memories": "/home/maurice/.hermes/memories"},
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    wrong = [path for key, path in paths.items() if not _is_directory(state.paths.get(key), mode, agent)]
    if not wrong:
        ctx_host.get().noop(f"directories of {agent} exist with mode {mode}")
        return
    for path in wrong:
        found = next((state.paths[key] for key, p in paths.items() if p == path and key in state.paths), None)
        if found is not None and (found.kind != "directory" or found.owner != agent):
            yield refuse(f"{path} is a {found.kind} of {found.owner}, not a directory of {agent}; move it away")
            return
    quoted = [QuoteString(path) for path in wrong]
    yield as_agent(
        state.account,
        agent,
        StringCommand("mkdir -p --", *quoted, "&& chmod", QuoteString(mode), "--", *quoted),
    )


@operation()
def link(agent: str, key: str, path: str, target: str) -> Generator[StringCommand, None, None]:
    """
    Point a symbolic link of an agent at a target.

    + agent: name of the agent, who owns the link
    + key: the key under which an observation knows it (``code``)
    + path: the link
    + target: where it points

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files

        files.link(
            name="Point the agent at its release",
            agent="maurice",
            key="code",
            path="/home/maurice/.hermes/code",
            target="/opt/pyinfra-hermes/releases/v2026.5.7-wheel-481e9e99",
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    found = state.paths.get(key)
    if found is not None and found.kind == "symbolic link" and found.detail == target:
        ctx_host.get().noop(f"link {path} points at {target}")
    elif found is not None and found.kind != "symbolic link":
        yield refuse(f"{path} is a {found.kind}, not a link; move it away")
    else:
        yield as_agent(state.account, agent, StringCommand("ln -sfnT --", QuoteString(target), QuoteString(path)))


@operation()
def secret_file(
    agent: str, key: str, path: str, content: HiddenValue, mode: str = "600", overwrite: bool = True
) -> Generator[StringCommand, None, None]:
    """
    Put a file with secrets where an agent reads it.

    + agent: name of the agent, who owns the file
    + key: the key under which an observation knows it (``env``)
    + path: the file
    + content: its text, ending with a newline
    + mode: its mode, from the first moment on
    + overwrite: whether a file with other content is replaced; its mode is mended in any case

    The content travels on standard input only: it is in no argument, log, diff or temporary directory. It is
    written beside the target as the agent and renamed.

    **Example:**

    .. code:: python

        from pyinfra.api import HiddenValue
        from pyinfra_hermes.operations import files

        files.secret_file(
            name="Write .env",
            agent="maurice",
            key="env",
            path="/home/maurice/.hermes/.env",
            content=HiddenValue(text),
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    text = content.unmask()
    found = state.paths.get(key)
    if found is not None and found.is_file(text.encode(), mode, agent):
        ctx_host.get().noop(f"file {path} is up to date")
    elif found is not None and found.kind == "directory":
        yield refuse(f"{path} is a directory; move it away")
    elif found is not None and not overwrite and found.kind.startswith("regular"):
        if found.mode == mode:
            ctx_host.get().noop(f"file {path} exists with mode {mode}")
        else:
            yield as_agent(state.account, agent, StringCommand("chmod", QuoteString(mode), "--", QuoteString(path)))
    else:
        yield as_agent(
            state.account,
            agent,
            write_atomically(path, mode),
            stdin=text,
            first=note_restart(agent) if overwrite else None,
        )


@operation()
def config_leaves(
    agent: str,
    path: str,
    python: str,
    leaves: Mapping[str, str | int | bool],
    absent: Sequence[str] = (),
) -> Generator[StringCommand, None, None]:
    """
    Set leaves of an agent's ``config.yaml`` and remove others; everything else in it survives, comments too.

    + agent: name of the agent, who owns the file
    + path: the file
    + python: interpreter on the host that has ruamel.yaml: the release's
    + leaves: values by dotted path; no secrets, those are ``${NAME}`` and lie in ``.env``
    + absent: dotted paths that must not be there

    A file that is not YAML fails the host with the line; it is not written to.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files

        files.config_leaves(
            name="Set the model",
            agent="maurice",
            path="/home/maurice/.hermes/config.yaml",
            python="/opt/pyinfra-hermes/releases/v2026.5.7-wheel-481e9e99/venv/bin/python",
            leaves={"model.provider": "custom", "model.default": "llama3"},
            absent=["model.context_length"],
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if state.config_error is not None:
        yield refuse(f"{path}: {state.config_error}; nothing was written. Mend or remove the file.")
        return
    found = state.paths.get("config")
    if found is not None and not found.kind.startswith("regular"):
        yield refuse(f"{path} is a {found.kind}; move it away")
        return
    if state.config_has(leaves, absent):
        ctx_host.get().noop(f"file {path} has what we set")
        return
    script = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text(encoding="utf-8")
    wanted = json.dumps({"path": path, "set": dict(leaves), "absent": list(absent)})
    yield as_agent(
        state.account,
        agent,
        StringCommand(QuoteString(python), "-I -c", QuoteString(script)),
        stdin=wanted,
        first=note_restart(agent),
    )


def _is_directory(found: PathState | None, mode: str, owner: str) -> bool:
    return found is not None and found.is_directory(mode, owner)
