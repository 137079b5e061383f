"""Commands in the shapes that our operations need; everything that a user gave is quoted here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal

from pyinfra.api import QuoteString, StringCommand
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.leaves import KeyPath
from pyinfra_hermes.facts.observation import Account
from pyinfra_hermes.facts.script import PENDING

from .announcing import Change, announce
from .observing import refusal

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def refuse(message: str) -> StringCommand:
    """Fail on this host only: an exception in an operation's body would end the run for every host."""
    announce(Change("refuse", message))
    return StringCommand("echo", QuoteString(message), ">&2; exit 1")


def unobserved() -> StringCommand:
    """Fail on a host that could not be observed, or where somebody else holds the agent."""
    if (why := refusal(ctx_host.get())) is not None:
        return refuse(f"{why}; nothing was changed")
    return refuse("the host could not be observed, see above; nothing was changed")


def pending(agent: str, what: Literal["restart", "proof"]) -> QuoteString:
    """Return the path of the note that an agent is to be restarted, or to be proven."""
    return QuoteString(f"{PENDING}/{agent}.{what}")


def note_restart(agent: str) -> StringCommand:
    """
    Note that the daemon is to be restarted; goes before what changes something, in the same command.

    A run that is killed after a change and before the restart would otherwise be the last to know of it: the next one
    finds every file as it should be.
    """
    return StringCommand("mkdir -p --", PENDING, "&& : >", pending(agent, "restart"))


def note_leaves(agent: str, paths: Iterable[KeyPath]) -> StringCommand:
    """Note, in one step, which paths in an agent's config.yaml are ours to take away again."""
    target, part = QuoteString(f"{PENDING}/{agent}.leaves"), QuoteString(f"{PENDING}/{agent}.leaves.part")
    text = QuoteString(json.dumps(sorted(list(path) for path in paths)))
    return StringCommand("printf '%s\\n'", text, ">", part, "&& sync --", part, "&& mv -fT --", part, target)


def note_seeds(agent: str, digests: Mapping[str, str]) -> StringCommand:
    """Note, in one step and for root only, which files of an agent's ``mcp-tokens`` we put there, and what."""
    target, part = QuoteString(f"{PENDING}/{agent}.seeds"), QuoteString(f"{PENDING}/{agent}.seeds.part")
    if not digests:
        return StringCommand("rm -f --", target)
    text = QuoteString(json.dumps(digests, sort_keys=True))
    bits = ["(umask 077 && printf '%s\\n'", text, ">", part, ") && sync --", part, "&& mv -fT --", part, target]
    return StringCommand(*bits)


def as_agent(
    account: Account | None,
    name: str,
    script: StringCommand,
    stdin: str | None = None,
    first: StringCommand | None = None,
    last: StringCommand | None = None,
) -> StringCommand:
    """
    Run a script as an agent, from a command that runs as root.

    In a directory that an agent controls root must not write by path: every step would be a race against a
    planted link. ``setpriv`` opens no session, so no user manager starts, and it works for a login as root
    where sudo is not installed. ``stdin`` is the way for secrets: it is neither an argument nor logged. ``first`` runs
    before, as root, and ``last`` after it when it succeeded.
    """
    home = account.home if account else f"/home/{name}"
    command = StringCommand(
        "setpriv",
        QuoteString(f"--reuid={name}"),
        QuoteString(f"--regid={name}"),
        "--clear-groups --inh-caps=-all --no-new-privs env -i",
        QuoteString(f"HOME={home}"),
        QuoteString(f"PATH={_PATH}"),
        "LC_ALL=C.UTF-8 sh -c",
        QuoteString(StringCommand("umask 077; cd / &&", script)),
    )
    if first is not None:
        command = StringCommand(first, "&&", command)
    if last is not None:
        command = StringCommand(command, "&&", last)
    if stdin is None:
        return command
    return StringCommand(command, _stdin=stdin)


def write_atomically(path: str, mode: str) -> StringCommand:
    """Put standard input into a file: a reader sees the old content or the new, never a part, never another mode."""
    target = QuoteString(path)
    return StringCommand(
        "t=$(mktemp --",
        QuoteString(f"{path}.XXXXXXXXXX"),
        ') && trap \'rm -f -- "$t"\' EXIT && cat >"$t" && chmod',
        QuoteString(mode),
        '"$t" && sync -- "$t" && mv -fT -- "$t"',
        target,
    )
