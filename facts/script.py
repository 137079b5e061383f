"""Put the shell scripts of this room together: plain text, so that they run over pyinfra and over OpenSSH alike."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from .contents import Contents

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
#: ``<agent>.seeds``, for root only: see ``AgentState.seeds``. And two folders: ``<agent>.installed``, for root only,
#: with a file for each complete release that upstream's installer made, and ``<agent>.installer``, with what the last
#: installation ran and said. And, for root only: ``<agent>.snapshots``, a folder for each state that worked,
#: ``<agent>.before`` while a change is under way, which names the one to go back to, and ``<agent>.receipts``.
PENDING = "/var/lib/pyinfra-hermes"

#: Bytes that the files of one agent may have to say in an observation; the rest is left out, which is said. A large
#: config.yaml has some tens of thousands.
MOST_OF_ONE = 512 * 1024

_SHELL = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\nexport PATH LC_ALL\n"


@cache
def _source(name: str) -> str:
    """Return a script without its comment lines and its empty lines: it travels in every observation."""
    text = resources.files("pyinfra_hermes.facts").joinpath(name).read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")) + "\n"


def observe_host() -> str:
    """Return the script that reports on the host itself; it needs no privileges."""
    return f"{_source('host.sh')}{_source('equipment.sh')}echo {END}\n"


def observe_agents(
    names: Iterable[str] = (), *, thorough: bool = True, known: Mapping[str, Contents] = MappingProxyType({})
) -> str:
    """
    Return the script that reports on the host and on every agent of ours; it needs root.

    + names: agents to report on even when there is no trace of them
    + thorough: also tell what the host has to install with, and of processes outside of a running unit
    + known: what is known of the agents' files: those that are the same since are not read again, and not told anew.
      :func:`.observation.parse` wants it, too.
    """
    variables = {
        "COMMENT": ACCOUNT_COMMENT,
        "HEADER": UNIT_HEADER,
        "RELEASES": RELEASES,
        "TOOLS": TOOLS,
        "PENDING": PENDING,
        "MOST": str(MOST_OF_ONE),
        "THOROUGH": "yes" if thorough else "no",
        "KNOWN": "".join(f"\n{name} {contents.digests}\n" for name, contents in sorted(known.items())),
        "CONTENTS": _source("contents.py.txt"),
        "INSIDE": _source("describe.sh") + _source("inside.sh"),
    }
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    arguments = f"set -- {shlex.join(sorted(set(names)))}\n"
    host = _source("host.sh") + (_source("equipment.sh") if thorough else "")
    functions = f"{host}{_source('describe.sh')}{_source('marking.sh')}"
    return f"{functions}{assignments}{arguments}{_source('agents.sh')}echo {END}\n"


@cache
def contents_version() -> str:
    """Return what tells apart the ways in which agents' files have been told of."""
    return hashlib.sha256(_source("contents.py.txt").encode()).hexdigest()


def examine(names: Iterable[str], *, probe: bool = False) -> str:
    """
    Return the script that looks closer at some agents, for after an observation; it needs root and changes nothing.

    + probe: also try the agents' tools under their units' hardening, which takes seconds for each

    What it prints is for :func:`.examination.read`.
    """
    named = sorted(set(names))
    variables = {
        "COMMENT": ACCOUNT_COMMENT,
        "LOOK": _source("look.sh"),
        "TOOLS": _source("tools.sh"),
    }
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    functions = f"{_source('marking.sh')}{journal_functions()}{_source('readable.sh')}{_source('probe.sh')}"
    probes = "".join(f"echo agent {name}\nprobe_sandbox {name} /home/{name}\n" for name in named if probe)
    return f"{_SHELL}{functions}{assignments}set -- {shlex.join(named)}\n{_source('examine.sh')}{probes}echo {END}\n"


def values_of(agent: str, home: str, python: str, asked: str, units: Iterable[str]) -> str:
    """Return the script that tells values of an agent's files, see :mod:`.values`; it needs root."""
    arguments = f"set -- {shlex.join((agent, home, python, asked, *units))}\n"
    return f"{_SHELL}VALUES={shlex.quote(_source('values.py.txt'))}\n{arguments}{_source('values.sh')}"


def sizes_of(shared: Iterable[str], own: Iterable[tuple[str, str]]) -> str:
    """
    Return the script that prints how large releases are, as lines ``ID MIB`` and ``AGENT/ID MIB``; it needs root.

    ``own``: those that upstream's installer made, as agent and id; they are measured as that agent.
    """
    lines = [f"size {shlex.quote(id)} du -sm -- {RELEASES}/{shlex.quote(id)}" for id in shared]
    for agent, id in own:
        who = shlex.quote(agent)
        measure = f"du -sm -- /home/{who}/.hermes/releases/{shlex.quote(id)}"
        as_agent = f"setpriv --reuid={who} --regid={who} --clear-groups --inh-caps=-all --no-new-privs"
        lines.append(f"size {who}/{shlex.quote(id)} timeout -k 1 60 {as_agent} {measure}")
    body = 'size() { name=$1; shift; printf "%s %s\\n" "$name" "$("$@" 2>/dev/null | cut -f1)"; }\n'
    return _SHELL + body + "\n".join(lines) + f"\necho {END}\n"


def receipts_of(agent: str) -> str:
    """Return the script that prints the receipts on a host, a line each, see :mod:`.receipts`; it needs root."""
    return f'{_SHELL}cat -- "{PENDING}/"{shlex.quote(agent)}.receipts 2>/dev/null || true\n'


def start_functions() -> str:
    """Return the shell functions that wait for an agent's start and show its journal; they need root."""
    return f"{_SHELL}{_source('starting.sh')}{journal_functions()}"


def await_start(agent: str, port: int, seconds: int) -> str:
    """Return the script that waits for an agent's start, and prints the journal's reason when it fails; needs root."""
    return (
        f"{start_functions()}"
        f"result=$(await_start {shlex.quote(agent)} {port:d} {seconds:d})\n"
        'printf "%s\\n" "$result"\n'
        f"case $result in failed*) last_run {shlex.quote(agent)} 15 ;; esac\n"
    )


def memories_of(agent: str) -> str:
    """Return the script that tells what an agent's memory files hold, see :mod:`.memory_files`; it needs root."""
    read = _source("memory_home.py.txt") + _source("memories.py.txt")
    assignments = f"COMMENT={shlex.quote(ACCOUNT_COMMENT)}\nREAD={shlex.quote(read)}\nset -- {shlex.quote(agent)}\n"
    return f"{_SHELL}{assignments}{_source('memories.sh')}echo {END}\n"


def memory_home() -> str:
    """Return the part in Python that every script begins with which runs as an agent and touches its memory files."""
    return _source("memory_home.py.txt")


def answer_about_journal(agent: str) -> str:
    """
    Return the script that answers until its standard input ends; needs root, and :func:`await_start` before it.

    The line ``mark TOKEN`` makes it print ``alive TOKEN``, remember where the agent's journal ends, and print ``marked
    TOKEN``; for ``since LINES`` it prints the last lines of what came after that, and :data:`END`.
    """
    name = shlex.quote(agent)
    return (
        "while read -r word what; do case $word in\n"
        "mark) printf 'alive %s\\n' \"$what\"\n"
        f"cursor=$(journalctl --quiet --unit hermes-{name}.service --lines 1 --output=cat --show-cursor |"
        """ sed -n 's/^-- cursor: //p'); printf 'marked %s\\n' "$what" ;;\n"""
        f'since) journalctl --sync 2>/dev/null; journal {name} "$what" --output=cat'
        f' ${{cursor:+"--after-cursor=$cursor"}}; echo {END} ;;\n'
        "esac; done\n"
    )


def watch_start(agent: str, port: int, pause: int) -> str:
    """
    Return the script that prints again and again whether the agent listens, a line of :mod:`.starting` each time;
    needs root, and :func:`await_start` before it.

    It ends with its reader: every line is also a sign of life, in both directions.
    """
    return f"while await_start {shlex.quote(agent)} {port:d} 0; do sleep {pause:d}; done\n"


def sessions_of(agent: str, request: str, seconds: int, most: int) -> str:
    """
    Return the script that tells of an agent's conversations, see :mod:`.sessions`; it needs root.

    ``request``: what is asked, as JSON; ``most``: bytes that the host may send of what the agent has a hand in.
    """
    assignments = f"COMMENT={shlex.quote(ACCOUNT_COMMENT)}\nREAD={shlex.quote(_source('sessions.py.txt'))}\n"
    arguments = f"set -- {shlex.join((agent, str(seconds), str(most), request))}\n"
    return f"{_SHELL}{assignments}{arguments}{_source('sessions.sh')}echo {END}\n"


def await_installation(agent: str, offset: int, seconds: int) -> str:
    """
    Return the script that waits for news of an agent's installation; needs root.

    ``offset``: how much of its log was told before. What it prints is for :func:`.installing.read`.
    """
    return (
        f"{_SHELL}PENDING={PENDING}\n{journal_functions()}{_source('readable.sh')}{_source('installing.sh')}"
        f"await_installation {shlex.quote(agent)} {offset:d} {seconds:d}\necho {END}\n"
    )


def journal_functions() -> str:
    """Return the shell functions that show an agent's journal with its credentials blacked out."""
    return f"REDACT={shlex.quote(_source('redact.py.txt'))}\n{_source('journal.sh')}"
