"""Runs deploys on hosts through pyinfra, in this process, and tells what came of it."""

from __future__ import annotations

from gevent import monkey

if not monkey.is_module_patched("socket"):
    monkey.patch_all()

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click
import gevent
import gevent.hub
import paramiko
import pyinfra.connectors.sshuserclient.client as sshclient
import pyinfra.connectors.util
from paramiko.hostkeys import HostKeyEntry
from pyinfra.api import Config, Inventory, State, StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.operations import run_host_op
from pyinfra.context import ctx_host, ctx_state
from typing_extensions import override

from pyinfra_hermes.facts.agents import HermesAgents
from pyinfra_hermes.facts.observation import Observation
from pyinfra_hermes.facts.receipts import Receipt
from pyinfra_hermes.operations import locking
from pyinfra_hermes.operations.announcing import Change, listening
from pyinfra_hermes.operations.observing import known, last, refusal
from pyinfra_hermes.operations.receipts import taken

from . import begun
from .exits import Exit
from .inventory import host_data
from .problems import Problem
from .ssh.openssh import Login, connection_problem, explain
from .state.locking import command_words

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One operation on one host, after it ran."""

    host: str
    name: str
    changed: bool
    failed: bool
    #: Why there was nothing to do, or what the failing command said.
    text: str
    seconds: float
    #: What it changed, item by item.
    changes: tuple[Change, ...] = ()


@dataclass
class Result:
    """What came of a run on one host."""

    host: str
    steps: list[Step] = field(default_factory=list)
    problem: Problem | None = None
    #: Receipts of what was done, but for how it ended.
    receipts: list[Receipt] = field(default_factory=list)
    #: What the host was last seen to be; None when something was changed since, or nothing was looked at.
    seen: Observation | None = None
    #: The same, whatever was changed since.
    looked: Observation | None = None
    #: SSH connections opened and commands run, for those who count.
    connections: int = 0
    execs: int = 0

    @property
    def failed(self) -> Step | None:
        return next((step for step in self.steps if step.failed), None)

    @property
    def changed(self) -> bool:
        return any(step.changed for step in self.steps)


#: Told before (``step is None``) and after each operation: host, the operation's name, how it went.
Watcher = Callable[[str, str, Step | None], None]


class Session:
    """
    One connection to each of some hosts, for one run.

    pyinfra's context is global: one session at a time in a process.
    """

    def __init__(self, logins: Sequence[Login], watch: Watcher | None = None) -> None:
        self._logins = {login.name: login for login in logins}
        self._watch = watch or (lambda host, name, step: None)
        inventory = Inventory(([(login.name, host_data(login)) for login in logins], {}))
        self._state = State(inventory, Config(CONNECT_TIMEOUT=10), check_for_changes=False)
        locking.called(command_words(sys.argv))
        self.results = {name: Result(name) for name in self._logins}
        self._log = _quiet()

    @classmethod
    @contextmanager
    def open(cls, logins: Sequence[Login], watch: Watcher | None = None) -> Iterator[Session]:
        """Connect to every host at once; a host that cannot be reached has its problem in ``results``."""
        session = cls(logins, watch)
        try:
            session._each(session._connect)
            yield session
        finally:
            session._close()

    def hold(self, *names: str) -> None:
        """
        Hold agents against other runs until this session ends.

        Operations do it before they look; this is for who looks before. Where somebody else holds one, that is the
        host's problem.
        """

        def take(host: Any) -> None:
            login = self._logins[host.name]
            try:
                locking.hold(host, names, login.needs_sudo)
            except locking.Locked as locked:
                raise _locked(host, locked) from None
            except locking.Unavailable as error:
                raise explain(login, 1, str(error)) from None

        self._each(take)

    def observe(self, *names: str) -> dict[str, Observation]:
        """Return what is true on each host that could be reached."""
        found: dict[str, Observation] = {}

        def ask(host: Any) -> None:
            value = host.get_fact(HermesAgents, names=names, _sudo=self._logins[host.name].needs_sudo)
            if value is None:
                self.results[host.name].problem = explain(self._logins[host.name], 1, self._said(host.name))
            else:
                found[host.name] = value

        self._each(ask)
        return found

    def ask(self, host_name: str, question: Callable[[bool], T | None]) -> T:
        """
        Return the answer to a question about one host, which is called with whether it needs sudo; it may get facts.

        Raises the host's :class:`Problem`, with what pyinfra logged when there is no answer.
        """
        found: list[T] = []

        def put(host: Any) -> None:
            if host.name != host_name:
                return
            answer = question(self._logins[host_name].needs_sudo)
            if answer is None:
                raise explain(self._logins[host_name], 1, self._said(host_name))
            found.append(answer)

        self._each(put)
        check({host_name: self.results[host_name]})
        return found[0]

    def script(self, host_name: str, script: str) -> str:
        """
        Run a shell script on one host as whoever logs in, over its connection, and return what it printed.

        The script is given on standard input. Raises the host's :class:`Problem`.
        """
        begun.something()
        printed: list[str] = []

        def ask(host: Any) -> None:
            if host.name != host_name:
                return
            succeeded, output = host.run_shell_command(
                StringCommand("sh", "-s"), print_output=False, print_input=False, _stdin=script, _sudo=False
            )
            if not succeeded:
                raise explain(self._logins[host.name], 1, output.stderr)
            printed.append(output.stdout)

        self._each(ask)
        check({host_name: self.results[host_name]})
        return printed[0]

    def run(self, deploys: Mapping[str, Sequence[Callable[..., object]]]) -> dict[str, Result]:
        """
        Run deploys on hosts: of each host in the order given, of all hosts side by side.

        Each callable is a deploy without further arguments but pyinfra's own. A host that fails stops; no
        other waits for it.
        """
        begun.something()
        with ctx_state.use(self._state):

            def prepare(host: Any) -> None:
                for deploy in deploys.get(host.name, ()):
                    deploy(_sudo=self._logins[host.name].needs_sudo)

            self._each(prepare)
            self._state.is_executing = True
            self._each(self._run_host)
        return self.results

    def plan(
        self, deploys: Mapping[str, Sequence[Callable[..., object]]], then: Callable[[str, list[Change], bool], T]
    ) -> dict[str, T]:
        """
        Find out what deploys would do on each host, and do nothing of it.

        ``then`` is called for each host, with its name, what its operations announced, and whether it needs sudo, and
        may ask it more.
        """
        self._state.check_for_changes = True
        found: dict[str, T] = {}

        def prepare(host: Any) -> None:
            sudo = self._logins[host.name].needs_sudo
            with listening(host) as changes:
                for deploy in deploys.get(host.name, ()):
                    deploy(_sudo=sudo)
            found[host.name] = then(host.name, changes, sudo)

        with ctx_state.use(self._state):
            self._each(prepare)
        return found

    def _each(self, act: Callable[[Any], None]) -> None:
        """Do something for every host that has no problem so far, each in a greenlet of its own."""

        def guarded(host: Any) -> None:
            # Everything is kept for the host: what leaves a greenlet is printed by gevent and lost.
            try:
                with ctx_state.use(self._state), ctx_host.use(host):
                    act(host)
            except Problem as problem:
                self.results[host.name].problem = problem
            except _SudoAsks:
                self.results[host.name].problem = explain(self._logins[host.name], 1, "sudo: a password is required")
            except PyinfraError:
                # "No hosts remaining!" and the like: why is in what pyinfra logged for this host.
                said = explain(self._logins[host.name], 1, self._said(host.name))
                self.results[host.name].problem = _cut(host) if self._is_cut(host) else said
            except Exception as error:
                if self._is_cut(host) or isinstance(error, EOFError):
                    self.results[host.name].problem = _cut(host)
                else:
                    failures.append(error)

        failures: list[Exception] = []
        hosts = [host for host in self._state.inventory if self.results[host.name].problem is None]
        with ctx_state.use(self._state):
            gevent.joinall([gevent.spawn(guarded, host) for host in hosts])
        if failures:
            raise failures[0]

    def _connect(self, host: Any) -> None:
        login = self._logins[host.name]
        try:
            host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            raise connection_problem(host.name, login.where, str(error), login) from None
        self._state.activate_host(host)
        result = self.results[host.name]
        result.connections += 1
        _count_execs(host, result)

    def _run_host(self, host: Any) -> None:
        result = self.results[host.name]
        try:
            self._run_ops(host, result)
        finally:
            result.receipts += taken(host)
            result.seen, result.looked = known(host), last(host)

    def _run_ops(self, host: Any, result: Result) -> None:
        for op_hash in self._state.get_op_order():
            if op_hash not in self._state.ops[host]:
                continue
            if locking.is_lost(host):
                raise _cut(host) if self._is_cut(host) else _let_go(host)
            name = self._label(op_hash)
            self._watch(host.name, name, None)
            started = time.monotonic()
            noops: list[str] = []
            with _noops(host, noops), listening(host) as changes:
                succeeded = run_host_op(self._state, host, op_hash)
            if not succeeded and isinstance(locked := refusal(host), locking.Locked):
                raise _locked(host, locked)
            meta = self._state.ops[host][op_hash].operation_meta
            text = meta.stderr.strip() or meta.stdout.strip() if not succeeded else "".join(noops[-1:])
            step = Step(
                host=host.name,
                name=name,
                changed=bool(succeeded and meta.did_change()),
                failed=not succeeded,
                text=text,
                seconds=time.monotonic() - started,
                changes=tuple(changes),
            )
            result.steps.append(step)
            self._watch(host.name, name, step)
            if not succeeded and self._is_cut(host):
                raise _cut(host)
            if not succeeded:
                return

    def _label(self, op_hash: str) -> str:
        # Hosts share an operation by its position, so it carries the names that each of them gave it:
        # "maurice: account", "agnes: account". What they have in common is what is done.
        names = sorted(self._state.get_op_meta(op_hash).names)
        last = names[0].rpartition(" | ")[2]
        return last if len(names) == 1 else last.rpartition(": ")[2]

    def _said(self, host: str) -> str:
        prefix = f"[{host}] "
        lines = [line.removeprefix(prefix) for line in self._log.lines if line.startswith(prefix)]
        return "\n".join(line for line in lines if not line.startswith("Error: could not load fact"))

    def _is_cut(self, host: Any) -> bool:
        """Tell whether the connection to a host that was there is gone: what pyinfra makes of that has many shapes."""
        client = getattr(host.connector, "client", None)
        transport = client.get_transport() if client is not None else None
        broken = transport is not None and not transport.is_active()
        return broken or "Command socket/SSH error" in self._said(host.name)

    def _close(self) -> None:
        for host in self._state.inventory:
            locking.let_go(host)
            client = getattr(host.connector, "client", None)
            if client is not None:
                client.close()


def _locked(host: Any, locked: locking.Locked) -> Problem:
    return Problem(
        f"{host.name}: {locked}. Nothing was changed.",
        "Run the command again when that one has ended; one that was killed lets go by itself",
        Exit.LOCKED,
    )


def _let_go(host: Any) -> Problem:
    return Problem(
        f"{host.name}: it heard nothing from here for {locking.SILENCE} s, so others may change the agent by now; "
        "what was done there until then stays",
        "The same command carries on",
        Exit.UNREACHABLE,
    )


def _cut(host: Any) -> Problem:
    return Problem(
        f"{host.name}: the connection was cut off; what was done there until then stays",
        "The same command carries on",
        Exit.UNREACHABLE,
    )


def _count_execs(host: Any, result: Result) -> None:
    client = host.connector.client
    run = client.exec_command

    def counted(*args: Any, **kwargs: Any) -> Any:
        result.execs += 1
        return run(*args, **kwargs)

    client.exec_command = counted


@contextmanager
def _noops(host: Any, texts: list[str]) -> Iterator[None]:
    original = host.noop

    def noop(description: str) -> None:
        texts.append(description)
        original(description)

    host.noop = noop
    try:
        yield
    finally:
        del host.noop


class _SudoAsks(Exception):
    """sudo wants a password on a host."""


def _never_ask(prompt: str = "", stream: TextIO | None = None) -> str:
    raise _SudoAsks


# pyinfra asks at the terminal when sudo wants a password, in the middle of a run, and would put it into the
# command line on the host (`env PYINFRA_SUDO_PASSWORD=... sudo -A`), for everybody there to see.
pyinfra.connectors.util.getpass = _never_ask
# A jump host is reached by the user's own configuration, and an unknown one would be asked about at the terminal and be
# written into the user's known_hosts, which is read only.
sshclient.get_missing_host_key_policy = lambda policy: sshclient.StrictPolicy()


class _HostKeys(paramiko.HostKeys):
    """A known_hosts file without the lines that paramiko gives up the rest of the file for: @cert-authority."""

    @override
    def load(self, filename: Any) -> None:
        for line in Path(filename).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(paramiko.SSHException):
                entry = None if line.lstrip().startswith(("#", "@")) else HostKeyEntry.from_line(line)
                if entry is not None:
                    self._entries.append(entry)  # type: ignore[attr-defined]


sshclient.HostKeys = _HostKeys  # type: ignore[misc]


# Ctrl-C is told once, in a sentence; gevent would show it with a traceback first.
gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)


def _interrupted(number: int, frame: object) -> None:
    """
    Have Ctrl-C end the command, whichever greenlet it comes in.

    In paramiko's own it would end that one alone: the command would go on with a connection that is dead.
    """
    hub = gevent.get_hub()
    if gevent.getcurrent() in (hub, hub.parent):
        raise KeyboardInterrupt
    hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)


if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _interrupted)


class _Log(logging.Handler):
    """Keeps what pyinfra reports as going wrong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(click.unstyle(record.getMessage()))


def _quiet() -> _Log:
    """Take pyinfra's own words off the terminal: what matters comes back as steps and problems."""
    log = _Log()
    for name, handler in (("pyinfra", log), ("paramiko", logging.NullHandler())):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
    return log


def check(results: Mapping[str, Result]) -> None:
    """Raise the problem of the first host that has one; exit 10 when others succeeded."""
    troubled = [result for result in results.values() if result.problem is not None]
    if not troubled:
        return
    problem = troubled[0].problem
    assert problem is not None
    if len(results) > len(troubled):
        raise Problem("\n".join(str(result.problem) for result in troubled), problem.remedy, Exit.PARTLY)
    raise problem
