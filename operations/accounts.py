"""Manage the accounts that agents run as."""

from __future__ import annotations

from collections.abc import Generator
from importlib import resources

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.script import ACCOUNT_COMMENT, PENDING, UNIT_HEADER

from .announcing import Change, announce
from .commands import refuse, unobserved
from .observing import forget, observe_agent

SHELL = "/usr/sbin/nologin"


@operation()
def account(agent: str, present: bool = True) -> Generator[StringCommand, None, None]:
    """
    Add or remove the account of an agent, with its home.

    + agent: name of the agent, which is the name of its account
    + present: whether the account should exist

    An account is marked as ours in the moment it is made. One that we did not make is never adopted, changed
    or removed: the host fails.

    Removing takes everything of the agent: service and unit with drop-ins, linger, the account's own user
    manager, all its processes, its files in temporary directories, its home and the account, in this order, so
    that it can be repeated from any half-removed state.

    **Examples:**

    .. code:: python

        from pyinfra_hermes.operations import accounts

        accounts.account(
            name="Make the agent's account",
            agent="maurice",
            _sudo=True,
        )
        accounts.account(
            name="Remove the agent with everything that it has",
            agent="maurice",
            present=False,
            _sudo=True,
        )
    """
    state = observe_agent(agent)
    if state is None:
        yield unobserved()
        return
    if state.account is not None and not state.account.ours:
        yield refuse(f"the account {agent} was not made by pyinfra-hermes; it is neither adopted nor removed")
        return
    if present:
        if state.account is None:
            announce(Change("add", f"account {agent}"))
            yield _useradd(agent)
            forget()
        elif state.account.shell != SHELL:
            announce(Change("change", f"account {agent}", "shell", SHELL))
            yield StringCommand("usermod --shell", SHELL, "--", QuoteString(agent))
        else:
            ctx_host.get().noop(f"account {agent} exists")
    elif state.traces:
        announce(*(Change("remove", f"agent {agent}", trace) for trace in state.traces))
        yield _remove(agent)
        forget()
    else:
        ctx_host.get().noop(f"nothing of agent {agent} is on the host")


def _useradd(agent: str) -> StringCommand:
    # One command makes the account and marks it: killed before or after, the next run knows what it sees.
    return StringCommand(
        "useradd --system --user-group --create-home --home-dir",
        QuoteString(f"/home/{agent}"),
        "--key HOME_MODE=0700 --shell",
        SHELL,
        "--comment",
        QuoteString(ACCOUNT_COMMENT),
        "--",
        QuoteString(agent),
    )


def _remove(agent: str) -> StringCommand:
    script = resources.files("pyinfra_hermes.operations").joinpath("remove.sh").read_text(encoding="utf-8")
    return StringCommand(
        "sh -s --",
        QuoteString(agent),
        QuoteString(ACCOUNT_COMMENT),
        QuoteString(UNIT_HEADER),
        PENDING,
        _stdin=script,
    )
