"""Put the shell scripts of this room together: plain text, so that they run over pyinfra and over OpenSSH alike."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from functools import cache
from importlib import resources

#: Last line of every observation; without it the output was cut off.
END = "end"

#: GECOS field of the accounts that are ours, first line of the units that are ours, and where releases and tools lie.
#: The deploys write these, see ``deploys.model.layout``; a test holds both equal.
ACCOUNT_COMMENT = "Hermes agent (pyinfra-hermes)"
UNIT_HEADER = "# Managed by pyinfra-hermes."
RELEASES = "/opt/pyinfra-hermes/releases"
TOOLS = "/opt/pyinfra-hermes/tools"

#: Notes about agents, each an empty file that outlives a run which was killed: ``<agent>.restart`` while the daemon may
#: run on what was there before a change, ``<agent>.proof`` from a start on until the agent has been proven. And
#: ``<agent>.leaves``: the key paths in its config.yaml that we set, as a JSON list of lists. And
#: ``<agent>.seeds``, for root only: see ``AgentState.seeds``.
PENDING = "/var/lib/pyinfra-hermes"

_SHELL = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\nexport PATH LC_ALL\n"


@cache
def _source(name: str) -> str:
    """Return a script without its comment lines and its empty lines: it travels in every observation."""
    text = resources.files("pyinfra_hermes.facts").joinpath(name).read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")) + "\n"


def observe_host() -> str:
    """Return the script that reports on the host itself; it needs no privileges."""
    return f"{_source('host.sh')}echo {END}\n"


def observe_agents(names: Iterable[str] = ()) -> str:
    """Return the script that reports on the host and on every agent of ours; it needs root."""
    variables = {
        "COMMENT": ACCOUNT_COMMENT,
        "HEADER": UNIT_HEADER,
        "RELEASES": RELEASES,
        "TOOLS": TOOLS,
        "PENDING": PENDING,
        "CONTENTS": _source("contents.py.txt"),
        "INSIDE": _source("describe.sh") + _source("inside.sh"),
    }
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    arguments = f"set -- {shlex.join(sorted(set(names)))}\n"
    return f"{_source('host.sh')}{_source('describe.sh')}{assignments}{arguments}{_source('agents.sh')}echo {END}\n"


def values_of(agent: str, home: str, python: str, asked: str, units: Iterable[str]) -> str:
    """Return the script that tells values of an agent's files, see :mod:`.values`; it needs root."""
    arguments = f"set -- {shlex.join((agent, home, python, asked, *units))}\n"
    return f"{_SHELL}VALUES={shlex.quote(_source('values.py.txt'))}\n{arguments}{_source('values.sh')}"


def await_start(agent: str, port: int, seconds: int) -> str:
    """Return the script that waits for an agent's start, and prints the journal's reason when it fails; needs root."""
    return (
        f"{_SHELL}{_source('starting.sh')}{journal_functions()}"
        f"result=$(await_start {shlex.quote(agent)} {port:d} {seconds:d})\n"
        'printf "%s\\n" "$result"\n'
        f"case $result in failed*) last_run {shlex.quote(agent)} 15 ;; esac\n"
    )


def journal_functions() -> str:
    """Return the shell functions that show an agent's journal with its credentials blacked out."""
    return f"REDACT={shlex.quote(_source('redact.py.txt'))}\n{_source('journal.sh')}"
