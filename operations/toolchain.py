"""Manage what integrations need on a host: pinned programs of ours, and commands of the host's own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.leaves import Json, KeyPath, difference
from pyinfra_hermes.facts.script import TOOLS

from .commands import as_agent, unobserved
from .observing import observe, observe_agent
from .wheels import build

#: Arguments: PATH, the agent, then each command with what needs it. Only what the shell has built in is used.
FIND = """\
PATH=$1 agent=$2 names=
shift 2
while [ $# -gt 0 ]; do
    case $1 in
        "~/"*) file=$HOME/${1#"~/"} ;;
        */*) file=$1 ;;
        *) file=$(command -v -- "$1") ;;
    esac
    if ! [ -f "$file" ] || ! [ -x "$file" ]; then
        echo "$1 was not found on this host, or agent $agent may not run it; $2 needs it." >&2
        names="$names $1"
    fi
    shift 2
done
[ -z "$names" ] || { echo "Install it on the host for all accounts:$names" >&2; exit 1; }
"""


@operation()
def tool(
    id: str,
    programs: Sequence[str],
    lock: str,
    archive: Callable[[str, str], Path],
) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """
    Install a tool from hash-locked wheels, shared and read-only for all agents of the host.

    + id: id of the tool, the name of its folder
    + programs: programs that it must have; each is run once with ``--version``, as nobody
    + lock: requirements with hashes; nothing that does not match is installed or run
    + archive: called with the host's Python version and architecture, returns a local tar file of the wheels, or
      raises :class:`.wheels.NoWheels`

    A tool counts as installed only once its last step is done, and is never changed then.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import toolchain

        toolchain.tool(
            name="Install mcp-atlassian",
            id="mcp-atlassian-0.23.1-7c76e8ed",
            programs=["mcp-atlassian"],
            lock=Path("mcp-atlassian.lock").read_text(),
            archive=lambda python, arch: Path(f"wheels-{python}-{arch}.tar"),
            _sudo=True,
        )
    """
    observed = observe()
    if observed is None:
        yield unobserved()
        return
    if id in observed.tools:
        ctx_host.get().noop(f"tool {id} is installed")
        return
    yield from build(observed.host, TOOLS, id, "TOOL", lock, archive, "tool.sh", *programs)


@operation()
def commands(
    agent: str,
    wanted: Mapping[str, str],
    path: str,
    leaves: Mapping[KeyPath, Json],
) -> Generator[StringCommand, None, None]:
    """
    Check that an agent finds the commands that it is to start; change nothing.

    + agent: name of the agent
    + wanted: what needs each command, by the command: a name, or a full path
    + path: where the agent's daemon looks for names (``PATH``)
    + leaves: leaves of config.yaml that name the commands; where they stand already, nothing is asked

    All that are missing are reported at once; the host fails then.

    **Example:**

    .. code:: python

        from pyinfra_hermes.operations import toolchain

        toolchain.commands(
            name="Check the host",
            agent="maurice",
            wanted={"npx": "integration files"},
            path="/usr/local/bin:/usr/bin:/bin",
            leaves={("mcp_servers", "files"): {"command": "npx", "args": []}},
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if not wanted or not difference(state.leaves, leaves).changed:
        ctx_host.get().noop(f"nothing that agent {agent} starts is new")
        return
    pairs = [QuoteString(text) for pair in wanted.items() for text in pair]
    yield as_agent(
        state.account,
        agent,
        StringCommand("sh -c", QuoteString(FIND), "sh", QuoteString(path), QuoteString(agent), *pairs),
    )
