"""Manage an agent's files: written as the agent, in one step, never seen half or by others."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from importlib import resources

from pyinfra.api import HiddenValue, QuoteString, StringCommand, operation
from pyinfra.api.operation import OperationMeta
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.leaves import Json, KeyPath, at_or_under, difference, flat, leaf_key, shown
from pyinfra_hermes.facts.observation import AgentState, PathState, seed_digest, variable_digest

from .announcing import Action, Change, announce
from .commands import as_agent, note_leaves, note_restart, note_seeds, refuse, unobserved, write_atomically
from .observing import changed, observe_agent
from .snapshots import before_change


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
    announce(*(Change("add", path, new=f"directory, mode {mode}") for path in wrong))
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
        announce(Change("add" if found is None else "change", path, new=f"link to {target}"))
        yield from before_change(state)
        yield as_agent(state.account, agent, StringCommand("ln -sfnT --", QuoteString(target), QuoteString(path)))


@operation()
def secret_file(
    agent: str,
    key: str,
    path: str,
    content: HiddenValue,
    mode: str = "600",
    overwrite: bool = True,
    variables: Mapping[str, HiddenValue | str] | None = None,
) -> Generator[StringCommand, None, None]:
    """
    Put a file with secrets where an agent reads it.

    + agent: name of the agent, who owns the file
    + key: the key under which an observation knows it (``env``)
    + path: the file
    + content: its text, ending with a newline
    + mode: its mode, from the first moment on
    + overwrite: whether a file with other content is replaced; its mode is mended in any case
    + variables: what the content sets when it is an ``.env``, by name, to tell which of them change

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
            announce(Change("change", path, "mode", mode))
            yield as_agent(state.account, agent, StringCommand("chmod", QuoteString(mode), "--", QuoteString(path)))
    else:
        announce(*_file_changes(path, found, mode, agent, state, variables or {}))
        yield from before_change(state)
        yield as_agent(
            state.account,
            agent,
            write_atomically(path, mode),
            stdin=text,
            first=note_restart(agent) if overwrite else None,
        )


def _file_changes(
    path: str,
    found: PathState | None,
    mode: str,
    owner: str,
    state: AgentState,
    variables: Mapping[str, HiddenValue | str],
) -> Iterator[Change]:
    told = found is None
    if found is None:
        yield Change("add", path, new=f"mode {mode}, owner {owner}")
    elif (found.mode, found.owner) != (mode, owner) or not found.kind.startswith("regular"):
        told = True
        yield Change("change", path, "mode and owner", f"{mode} {owner}")
    plain = {name: value.unmask() if isinstance(value, HiddenValue) else value for name, value in variables.items()}
    # A file that is not there has nothing to compare with; one without a key is compared by names only.
    for name, value in variables.items():
        digest = variable_digest(plain.get("API_SERVER_KEY", ""), name, plain[name])
        if found is None or state.variables.get(name) != digest:
            action: Action = "change" if name in state.variables else "add"
            secret = isinstance(value, HiddenValue)
            told = True
            yield Change(action, path, name, None if secret else plain[name], secret)
    for name in state.variables:
        if name not in variables and variables:
            told = True
            yield Change("remove", path, name)
    if found is not None and not variables:
        yield Change("change", path, "content", secret=True)
    elif not told:
        yield Change("change", path, "comments and spelling")


@operation()
def config_leaves(
    agent: str,
    path: str,
    python: str,
    leaves: Mapping[KeyPath, Json],
    absent: Sequence[KeyPath] = (),
) -> Generator[StringCommand, None, None]:
    """
    Set leaves of an agent's ``config.yaml`` and remove those of ours that are no longer wanted.

    + agent: name of the agent, who owns the file
    + path: the file
    + python: interpreter on the host that has ruamel.yaml: the release's
    + leaves: values by key path; a mapping is a block that is ours as a whole; no secrets, those are ``${NAME}`` and
      lie in ``.env``
    + absent: key paths that are always ours and must not be there

    Everything else in the file survives, comments too. What was set is on record on the host, so that it is removed
    once it is no longer wanted, and nothing else is. A block that is there and not on record was put there by
    somebody else: the host fails. So it does with the line when the file is not YAML; then it is not written to.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files

        files.config_leaves(
            name="Set the model",
            agent="maurice",
            path="/home/maurice/.hermes/config.yaml",
            python="/opt/pyinfra-hermes/releases/v2026.5.7-wheel-481e9e99/venv/bin/python",
            leaves={("model", "provider"): "custom", ("model", "default"): "llama3"},
            absent=[("model", "context_length")],
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
    if foreign := _foreign_block(state, leaves):
        yield refuse(_in_the_way(agent, path, python, foreign))
        return
    if state.config_has(leaves, absent) and not _unrecorded(state, leaves):
        ctx_host.get().noop(f"file {path} has what we set")
        return
    announce(*_config_changes(path, state, leaves, absent))
    yield from before_change(state)
    recorded = state.set_leaves or ()
    script = resources.files("pyinfra_hermes.operations").joinpath("config.py.txt").read_text(encoding="utf-8")
    yield as_agent(
        state.account,
        agent,
        StringCommand(QuoteString(python), "-I -c", QuoteString(script)),
        stdin=config_request(path, leaves, (*recorded, *absent)),
        # Killed at any moment, the record has at least what the file has of ours.
        first=StringCommand(note_restart(agent), "&&", note_leaves(agent, {*recorded, *leaves})),
        last=note_leaves(agent, leaves),
    )


def config_request(path: str, leaves: Mapping[KeyPath, Json], absent: Sequence[KeyPath]) -> str:
    """Return what the script that edits a config.yaml reads from its standard input."""
    wanted = [[list(leaf), value] for leaf, value in leaves.items()]
    return json.dumps({"path": path, "set": wanted, "absent": [list(leaf) for leaf in dict.fromkeys(absent)]})


def _foreign_block(state: AgentState, leaves: Mapping[KeyPath, Json]) -> KeyPath | None:
    """Return a wanted block in whose place is another that is not on record as ours."""
    for path, value in leaves.items():
        if isinstance(value, dict | list) and path not in (state.set_leaves or ()):
            there = at_or_under(state.leaves, path)
            if there and difference({leaf: state.leaves[leaf] for leaf in there}, {path: value}):
                return path
    return None


def _in_the_way(agent: str, path: str, python: str, leaf: KeyPath) -> str:
    if len(leaf) == 2 and leaf[0] == "mcp_servers":
        hermes = f"{python.rpartition('/')[0]}/hermes"
        home = path.rpartition("/")[0]
        how = f"with: sudo -u {agent} env HERMES_HOME={home} {hermes} mcp remove {shlex.quote(leaf[1])}"
    else:
        how = f"from {path}"
    return (
        f"{path}: {shown(leaf)} is there already and was not put there by pyinfra-hermes; nothing was written. "
        f"Give ours another name, or take that one away {how}"
    )


def _unrecorded(state: AgentState, leaves: Mapping[KeyPath, Json]) -> bool:
    """Tell whether something of ours is there and on no record, so that it would stay when it is no longer wanted."""
    if state.set_leaves is None:
        # Older versions kept none, and set only what is always ours.
        return any(isinstance(value, dict | list) for value in leaves.values())
    return any(path not in state.set_leaves for path in leaves)


def _config_changes(
    path: str, state: AgentState, leaves: Mapping[KeyPath, Json], absent: Sequence[KeyPath]
) -> Iterator[Change]:
    differ = state.config_difference(leaves, absent)
    values = {leaf: value for block, inner in leaves.items() for leaf, value in flat(block, inner)}
    for leaf in differ.changed:
        action: Action = "change" if leaf_key(leaf) in state.leaves else "add"
        yield Change(action, path, shown(leaf), json.dumps(values[leaf], ensure_ascii=False), path=leaf)
    for leaf in differ.removed:
        yield Change("remove", path, shown(leaf), path=leaf)
    found = state.paths.get("config")
    if found is not None and (found.mode, found.owner) != ("600", state.name):
        yield Change("change", path, "mode and owner", f"600 {state.name}")


@operation()
def stale_credentials(
    agent: str,
    path: str,
    python: str,
    service: str,
    keep: Collection[str] = (),
    after: Sequence[OperationMeta] = (),
) -> Generator[StringCommand, None, None]:
    """
    Remove credentials from Hermes' ``auth.json`` that it copied from an ``.env`` which has them no more.

    + agent: name of the agent, who owns the file
    + path: the file
    + python: interpreter on the host
    + service: the agent's unit, which is stopped before and left stopped: its daemon would write them back
    + keep: sources of the copies that may stay, ``env:NAME`` for a variable
    + after: operations after whose changes every copy goes, as it may be of an older value; Hermes makes them anew

    Hermes 0.13 copies the values of its provider's variables there and keeps them when it gets another provider; from
    0.15 on it writes no values of variables. Logins that the agent's user made stay.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files

        files.stale_credentials(
            name="Forget the last provider's key",
            agent="maurice",
            path="/home/maurice/.hermes/auth.json",
            python="/opt/pyinfra-hermes/releases/v2026.5.7-wheel-481e9e99/venv/bin/python",
            service="hermes-maurice.service",
            keep=["env:ANTHROPIC_API_KEY"],
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    kept = () if any(changed(meta) for meta in after) else tuple(sorted(keep))
    stale = [copy for copy in state.credentials if _copied(copy.source) and copy.source not in kept]
    if not stale:
        ctx_host.get().noop(f"file {path} has no copies of credentials that are gone")
        return
    announce(*(Change("remove", path, f"credential_pool.{copy.pool} ({copy.source})", secret=True) for copy in stale))
    yield from before_change(state)
    script = resources.files("pyinfra_hermes.operations").joinpath("credentials.py.txt").read_text(encoding="utf-8")
    purge = as_agent(
        state.account,
        agent,
        StringCommand(QuoteString(python), "-I -c", QuoteString(script)),
        stdin=json.dumps({"path": path, "keep": list(kept)}),
    )
    unit = QuoteString(service)
    if state.unit is not None and state.unit.active not in ("inactive", "failed"):
        again = StringCommand("|| { systemctl start", unit, "; exit 1; }")
        bits = [note_restart(agent), "&& systemctl stop", unit, "&& {", purge, again, "; }"]
        yield StringCommand(*bits, _stdin=purge.connector_arguments["_stdin"])
    else:
        yield purge


@operation()
def no_other_files(agent: str, key: str, path: str, keep: Collection[str] = ()) -> Generator[StringCommand, None, None]:
    """
    Remove the files of a directory of an agent that are no longer wanted.

    + agent: name of the agent
    + key: the key under which an observation knows the directory (``credentials``), and ``KEY/NAME`` its files
    + path: the directory; everything in it is ours
    + keep: names of the files that stay

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import files

        files.no_other_files(
            name="Remove credentials of providers that are no longer used",
            agent="maurice",
            key="credentials",
            path="/home/maurice/.hermes/credentials",
            keep=["vertex.json"],
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    names = sorted(each.removeprefix(f"{key}/") for each in state.paths if each.startswith(f"{key}/"))
    others = [f"{path}/{name}" for name in names if name not in keep]
    if not others:
        ctx_host.get().noop(f"directory {path} has no other files")
        return
    announce(*(Change("remove", each, secret=True) for each in others))
    yield from before_change(state)
    yield as_agent(state.account, agent, StringCommand("rm -f --", *(QuoteString(each) for each in others)))


@operation()
def seeded_files(
    agent: str, path: str, seeds: Mapping[str, HiddenValue], what: Mapping[str, str]
) -> Generator[StringCommand, None, None]:
    """
    Put files where an agent's daemon finds them and rewrites them from then on: tokens that it renews.

    + agent: name of the agent, who owns the files
    + path: the directory, ``~/.hermes/mcp-tokens``
    + seeds: content by the file's name
    + what: what each is, by the file's name, to tell which are written

    A file is written when it is not there, and when this is not what was put there last; what the daemon made of it
    stays otherwise. A record on the host, which only root reads, holds digests of what was put there. A file on record
    that is no longer wanted is removed, with what the daemon put beside it; other files are nobody's business.

    **Example:**

    .. code:: python

        from pyinfra.api import HiddenValue
        from pyinfra_hermes.operations import files

        files.seeded_files(
            name="Give the agent its tokens",
            agent="maurice",
            path="/home/maurice/.hermes/mcp-tokens",
            seeds={"work.json": HiddenValue(text)},
            what={"work.json": "oauth_tokens of work"},
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    record = dict(state.seeds or {})
    texts = {name: content.unmask() for name, content in seeds.items()}
    wanted = [name for name, text in texts.items() if not state.seeded(name, text)]
    gone = [name for name in record if name not in seeds]
    if not wanted and not gone:
        ctx_host.get().noop(f"directory {path} has what was given")
        return
    for name in wanted:
        found = state.paths.get(f"mcp-tokens/{name}")
        if found is not None and found.kind == "directory":
            yield refuse(f"{path}/{name} is a directory; move it away")
            return
        announce(
            Change("add" if found is None else "change", f"{path}/{name}", f"{what[name]}: to be written", secret=True)
        )
        yield from before_change(state)
        # Killed in between, the file is on record as ours, and is written again.
        begun, done = record | {name: ""}, record | {name: seed_digest(texts[name])}
        yield as_agent(
            state.account,
            agent,
            StringCommand("mkdir -p --", QuoteString(path), "&&", write_atomically(f"{path}/{name}", "600")),
            stdin=texts[name],
            first=StringCommand(note_restart(agent), "&&", note_seeds(agent, begun)),
            last=note_seeds(agent, done),
        )
        record = done
    if gone:
        others = [f"{path}/{each}" for name in gone for each in _beside(name) if each not in seeds]
        announce(*(Change("remove", f"{path}/{name}", secret=True) for name in gone))
        yield from before_change(state)
        yield as_agent(
            state.account,
            agent,
            StringCommand("rm -f --", *(QuoteString(each) for each in dict.fromkeys(others))),
            first=note_restart(agent),
            last=note_seeds(agent, {name: digest for name, digest in record.items() if name in seeds}),
        )


def _beside(name: str) -> tuple[str, ...]:
    if name.endswith(".client.json"):
        return (name, f"{name}.bak")
    server = name.removesuffix(".json")
    return (name, *(f"{server}.{end}" for end in ("client.json", "client.json.bak", "meta.json")))


def _copied(source: str) -> bool:
    return source.startswith("env:") or source == "model_config"


def _is_directory(found: PathState | None, mode: str, owner: str) -> bool:
    return found is not None and found.is_directory(mode, owner)
