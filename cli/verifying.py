"""The shipped checks run against an agent on record: pytest in this process, over one connection of ours."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pyinfra_hermes.deploys.model.redaction import redact

from .exits import Exit
from .problems import Problem
from .ssh.openssh import Login, explain, login_of, run_script
from .state.records import Instance
from .state.store import State

if TYPE_CHECKING:
    import pytest

_NEEDED = ("pytest", "testinfra")
_CONNECT_SECONDS = 4
_COMMAND_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    check: str
    #: ``passed``, ``failed`` or ``skipped``.
    result: str
    #: What is wrong, or why the check does not apply; empty for one that passed.
    text: str
    #: The command that mends it.
    remedy: str
    seconds: float

    def data(self) -> dict[str, Any]:
        """Return it as plain data, for programs."""
        return {
            "check": self.check,
            "result": self.result,
            "text": self.text,
            "remedy": self.remedy or None,
            "seconds": round(self.seconds, 3),
        }


def verify(reference: str, junit: Path | None = None) -> tuple[Instance, list[Outcome]]:
    """
    Run the checks against an agent; nothing is changed on its host.

    ``junit``: a file that pytest's report goes to, as XML. Raises :class:`Problem` when they cannot be run.
    """
    state = State.open()
    instance = state.read().agent(reference)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Problem(
            f"The checks need {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            "pip install 'pyinfra-hermes[verify]'",
        )
    with _connected(login_of(state, instance.host)) as (login, options):
        outcomes = _run(instance, login, options, junit)
    return instance, outcomes


@contextlib.contextmanager
def _connected(login: Login) -> Iterator[tuple[Login, tuple[str, ...]]]:
    """Give options under which all commands of a login go over one connection. Raises :class:`Problem`."""
    folder = tempfile.mkdtemp(prefix="clm-")
    try:
        # Where TMPDIR is long there is no room for a socket's path: then each command connects anew.
        shared = ("-o", f"ControlPath={folder}/c") if len(folder) < 80 else ()
        options = (
            *shared,
            *(("-o", "ControlMaster=auto", "-o", f"ControlPersist={_COMMAND_SECONDS}") if shared else ()),
        )
        run_script(login, "id -u\n", connect_seconds=_CONNECT_SECONDS, options=options)
        yield login, options
    finally:
        if any("ControlPath" in option for option in options):
            subprocess.run(login.command(options=("-O", "exit", *shared)), capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _run(instance: Instance, login: Login, options: tuple[str, ...], junit: Path | None) -> list[Outcome]:
    import pytest

    from pyinfra_hermes.deploys import checks
    from pyinfra_hermes.deploys.checks import plugin
    from pyinfra_hermes.deploys.checks.subject import Subject
    from pyinfra_hermes.deploys.checks.wanted import Wanted

    agent = instance.agent
    wanted = Wanted(
        name=agent.name,
        port=agent.port,
        release=agent.release,
        method=agent.method,
        hardening=agent.hardening,
        running=agent.onboarding_state == "ready",
    )
    cut_off: list[Problem] = []
    collected = _Collected([Subject(_host(login, options, cut_off), wanted)])
    folder = str(Path(next(iter(checks.__path__))))
    # The user's own pytest configuration, plugins and conftest.py are for their own tests.
    arguments = ["-c", os.devnull, "--rootdir", folder, "--confcutdir", folder, "--import-mode", "importlib"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:warnings", "--assert", "plain"]
    arguments += [] if junit is None else ["--junitxml", str(junit), "-o", "junit_suite_name=hermes"]
    said = io.StringIO()
    with _without_plugins(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main([*arguments, folder], plugins=[plugin, collected])
    if cut_off:
        raise cut_off[0]
    if code == pytest.ExitCode.INTERRUPTED:
        # pytest keeps Ctrl-C to itself.
        raise KeyboardInterrupt
    if collected.broken or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        lines = [line for line in (collected.broken or said.getvalue()).strip().splitlines() if line.strip()]
        raise Problem(f"The checks could not be run: {redact(lines[-1]) if lines else f'pytest ended with {code}'}")
    return collected.outcomes


@contextlib.contextmanager
def _without_plugins() -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    before["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class _Collected:
    """Says which agent is meant, and keeps what came of the checks."""

    def __init__(self, subjects: list[Any]) -> None:
        self.subjects = subjects
        self.outcomes: list[Outcome] = []
        #: What went wrong before or around the checks.
        self.broken = ""

    def pytest_configure(self, config: pytest.Config) -> None:
        from pyinfra_hermes.deploys.checks.plugin import GIVEN

        # pytest names plugins that it is given itself.
        config.pluginmanager.register(_Given(self.subjects), GIVEN)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken = str(report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        check = report.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")
        text, remedy = "", ""
        if report.skipped and isinstance(report.longrepr, tuple):
            text = str(report.longrepr[2]).removeprefix("Skipped: ")
        elif report.failed:
            # Ours are "AGENT: WHAT\n  REMEDY"; a bug of a check is a traceback, whose last line says most.
            lines = str(report.longrepr).strip().splitlines()
            ours = len(lines) > 1 and lines[-1].startswith("  ")
            text, remedy = (lines[-2], lines[-1].strip()) if ours else (lines[-1] if lines else "it broke", "")
            text = redact(text.partition(": ")[2] if ours else text)
        self.outcomes.append(Outcome(check, report.outcome, text, remedy, report.duration))


@dataclass(frozen=True)
class _Given:
    subjects: list[Any]


def _host(login: Login, options: tuple[str, ...], problems: list[Problem]) -> Any:
    """
    Return a host of testinfra's that is reached as we reach it: our key, our list of host keys, the user's ssh.

    ``problems`` gets what ends the connection, which says nothing about the agent.
    """
    import pytest
    from testinfra.backend.base import BaseBackend  # type: ignore[import-untyped,unused-ignore]
    from testinfra.host import Host  # type: ignore[import-untyped,unused-ignore]

    class OverOurSsh(BaseBackend):  # type: ignore[misc,unused-ignore]
        NAME = "ssh"

        def run(self, command: str, *arguments: str, **_: Any) -> Any:
            remote = self.get_command(command, *arguments)
            try:
                done = subprocess.run(
                    login.command(remote, options=options),
                    capture_output=True,
                    stdin=subprocess.DEVNULL,
                    timeout=_COMMAND_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                self._fail(Problem(f"{login.name}: no answer within {_COMMAND_SECONDS} s", None, Exit.UNREACHABLE))
            if done.returncode == 255:
                self._fail(explain(login, 255, done.stderr.decode(errors="replace")))
            return self.result(done.returncode, remote.encode(), done.stdout, done.stderr)

        def _fail(self, problem: Problem) -> NoReturn:
            problems.append(problem)
            pytest.exit(problem.message)

        def get_sudo_command(self, command: str, sudo_user: str | None) -> str:
            return str(self.quote("sudo -n /bin/sh -c %s", command))

    backend = OverOurSsh(login.name, sudo=login.needs_sudo)
    host = Host(backend)
    backend.set_host(host)
    return host
