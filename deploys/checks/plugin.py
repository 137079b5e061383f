"""Options of the checks for pytest: which agents, and what is wanted of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .subject import Subject
    from .wanted import Wanted

#: Options of pytest-testinfra that say how hosts are reached; it takes them under the same names.
_REACHED = (
    *("connection", "ssh_config", "ssh_identity_file", "ssh_extra_args"),
    *("sudo", "sudo_user", "ansible_inventory", "force_ansible"),
)
#: An object that is registered with pytest under this name says with ``subjects`` what the options would say.
GIVEN = "hermes-subjects"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options beside those of pytest-testinfra (``--hosts``, ``--sudo``, ``--ssh-config``)."""
    group = parser.getgroup("hermes", "Hermes agents (pyinfra-hermes)")
    group.addoption(
        "--hermes-agent",
        action="append",
        default=[],
        metavar="NAME",
        help="Check this agent; may be repeated. All that are on the host, when neither this nor a file is given.",
    )
    group.addoption(
        "--hermes-spec", metavar="FILE", help="YAML that says what is wanted of agents: port, release, hardening."
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that takes ``hermes_agent`` every agent; where none is, the run ends instead of passing."""
    if "hermes_agent" not in metafunc.fixturenames:
        return
    found = subjects(metafunc.config)
    metafunc.parametrize("hermes_agent", found, ids=[each.id for each in found], scope="session")


_FOUND = pytest.StashKey[Sequence["Subject"]]()


def subjects(config: pytest.Config) -> Sequence[Subject]:
    """Return the agents to be checked; hosts are asked once in a run. Raises :class:`pytest.UsageError`."""
    if _FOUND not in config.stash:
        given = config.pluginmanager.get_plugin(GIVEN)
        config.stash[_FOUND] = _subjects(config) if given is None else given.subjects
    return config.stash[_FOUND]


def _subjects(config: pytest.Config) -> list[Subject]:
    import testinfra  # type: ignore[import-untyped,unused-ignore]

    from .subject import NoAnswer, Subject

    option = config.option
    hosts: list[Any] = testinfra.get_hosts(
        (option.hosts or "local://").split(","), **{name: getattr(option, name) for name in _REACHED}
    )
    _share_connections(config, hosts)
    found = []
    for host in hosts:
        try:
            found += [Subject(host, wanted) for wanted in _wanted(config, host)]
        except NoAnswer as error:
            raise pytest.UsageError(str(error)) from None
    return found


def _share_connections(config: pytest.Config, hosts: Sequence[Any]) -> None:
    """Have all commands on a host go over one connection, unless the user's own options say otherwise."""
    backends = [host.backend for host in hosts if host.backend.get_connection_type() in ("ssh", "safe-ssh")]
    own = [backend for backend in backends if backend.controlpersist and not backend.controlpath]
    folder = tempfile.mkdtemp(prefix="hermes-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    # %C has 40 characters, ssh adds 17 while it makes the socket, and the path of a socket has 107 at most.
    if len(folder) > 45:
        return
    for backend in own:
        backend.controlpath = f"{folder}/%%C"
        config.add_cleanup(partial(_hang_up, backend))


def _hang_up(backend: Any) -> None:
    command, arguments = backend._build_ssh_command("true")
    backend.run_local(" ".join(command).replace("ssh ", "ssh -O exit ", 1), *arguments)


def _wanted(config: pytest.Config, host: Any) -> Sequence[Wanted]:
    from .subject import discovered
    from .wanted import InvalidWanted, Wanted, on_host, read

    names, file = config.option.hermes_agent, config.option.hermes_spec
    try:
        rows: Sequence[Wanted] = read(Path(file)) if file else ()
    except InvalidWanted as error:
        raise pytest.UsageError(str(error)) from None
    here = {each.name: each for each in on_host(rows, host.backend.get_hostname(), host.backend.get_pytest_id())}
    # Asked in any case: what cannot be asked at all is no failure of every check.
    there = discovered(host)
    chosen = names or list(here) or there
    if not chosen or (file and not here):
        raise pytest.UsageError(f"{host.backend.get_pytest_id()}: no Hermes agent is there or wanted; nothing to check")
    return [here.get(name, Wanted(name)) for name in chosen]
