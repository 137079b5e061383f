"""Commands and shells as an agent's user, in the sandbox that its daemon is in."""

from __future__ import annotations

import base64
import codecs
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import IO, TextIO

from ..exits import Exit
from ..problems import Problem
from ..ssh.openssh import Login, explain, login_of
from ..state.records import Instance
from ..state.store import State
from .neutral import Neutraliser

#: Linux takes no longer argument, and the whole of it is one: MAX_ARG_STRLEN is 128 KiB.
_LONGEST = 120_000
#: bash where it is, for its editing; the account itself has no shell.
_SHELL = "command -v bash >/dev/null && PS1='\\u@\\h:\\w\\$ ' exec bash; exec sh -i"


def execute(reference: str, command: Sequence[str]) -> int:
    """
    Run a command as an agent's user and return its exit status, 128 and the number for one that a signal ended.

    Standard input, output and error are those of this process; at a terminal what could steer it is taken out of what
    the command writes. It ends with this process, and with the connection. Raises :class:`Problem`.
    """
    return _run(reference, inside(command), "pipe")


def shell(reference: str) -> int:
    """Give a shell as an agent's user at this terminal and return its exit status. Raises :class:`Problem`."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Problem("A shell needs a terminal", f"clm agent exec {reference} -- COMMAND", Exit.USAGE)
    return _run(reference, _SHELL, "pty")


def inside(command: Sequence[str]) -> str:
    """Return the shell script that runs a command with its arguments exactly as they are."""
    return f'set -- {" ".join(map(shlex.quote, command))}\n"$@"\nexit $?\n'


def remote(agent: str, host: str, inside: str, mode: str) -> str:
    """
    Return the command that runs a shell script beside an agent, for ``sh -c`` and so for any login shell.

    It is spelled in letters and digits: what is passed on arrives as it is, whatever shells it comes through.
    """
    source = resources.files("pyinfra_hermes.cli.talking").joinpath("beside.sh").read_text(encoding="utf-8")
    words = {"AGENT": agent, "HOST": host, "MODE": mode, "INSIDE": _encoded(inside)}
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items())
    return f"sh -c '{decoding(assignments + source)}'"


def decoding(script: str) -> str:
    """Return the same script in letters and digits, for between single quotes."""
    return f'eval "$(echo {_encoded(script)} | base64 -d)"'


def _encoded(text: str) -> str:
    # Arguments that are no UTF-8 come from Python as surrogates.
    return base64.b64encode(text.encode(errors="surrogateescape")).decode()


def _run(reference: str, inside: str, mode: str) -> int:
    state = State.open()
    instance = state.read().agent(reference)
    login = login_of(state, instance.host)
    command = login.as_root(remote(instance.agent.name, instance.host.name, inside, mode))
    if len(command) > _LONGEST:
        raise Problem("The command is too long to be passed on: more than 60 kB", "Pipe the text into it", Exit.USAGE)
    with tempfile.TemporaryDirectory(prefix="clm-") as folder:
        # What ssh itself has to say goes there: on standard error it could not be told from what the command says.
        log = Path(folder, "ssh.log")
        options = ("-E", str(log), *(("-t", "-t") if mode == "pty" else ()))
        status = _attached(login.command(command, options=options), filtered=mode == "pipe")
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if status == 255 and said.strip():
        raise _lost(login, instance, said)
    return status


def _lost(login: Login, instance: Instance, said: str) -> Problem:
    problem = explain(login, 255, said)
    return Problem(problem.message, problem.remedy or f"clm host check {instance.host.name}", problem.exit)


def _attached(command: list[str], *, filtered: bool) -> int:
    sys.stdout.flush()
    streams = [stream if filtered and stream.isatty() else None for stream in (sys.stdout, sys.stderr)]
    out, err = (subprocess.PIPE if stream else None for stream in streams)
    process = subprocess.Popen(command, stdout=out, stderr=err)
    pumps = [
        threading.Thread(target=_shown, args=(source, sink), daemon=True)
        for source, sink in zip((process.stdout, process.stderr), streams, strict=True)
        if source is not None and sink is not None
    ]
    for pump in pumps:
        pump.start()
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # It stood at the same terminal, so it was told as well; the host ends the command when ssh is gone.
        process.kill()
        process.wait()
        return Exit.INTERRUPTED
    for pump in pumps:
        pump.join()
    # A signal that ended ssh is reported as a shell would.
    return status if status >= 0 else 128 - status


def _shown(source: IO[bytes], sink: TextIO) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    neutral = Neutraliser()
    while piece := os.read(source.fileno(), 65536):
        sink.write(neutral.feed(decoder.decode(piece)))
        sink.flush()
    sink.write(neutral.feed(decoder.decode(b"", final=True)) + neutral.end())
    sink.flush()
