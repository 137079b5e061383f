"""Whole deploys against a simulated host: which commands, in which order, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import PyinfraError

from pyinfra_hermes.deploys.configure import configure
from pyinfra_hermes.deploys.hermes import hermes
from pyinfra_hermes.deploys.install import install
from pyinfra_hermes.deploys.lifecycle import start, stop
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.render import CannotRender
from pyinfra_hermes.deploys.model.secret import Secret
from pyinfra_hermes.deploys.model.spec import AgentSpec
from pyinfra_hermes.deploys.model.tools import UV
from pyinfra_hermes.deploys.remove import remove
from pyinfra_hermes.deploys.upstream import Upstream
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

from .world import OBSERVE, World, deployed, noops

KEY = "0f" * 32
MODEL_KEY = "sk-hunter2 it's"
SECRETS = {"HERMES_API_SERVER_KEY": Secret(KEY), "api_key": Secret(MODEL_KEY)}


def spec(name: str = "maurice", **fields: Any) -> AgentSpec:
    provider = {"type": "custom", "url": "http://h:8000", "model": fields.pop("model", "m")}
    return AgentSpec.parse({"name": name, "provider": provider, "method": "wheel", **fields})


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    """One whose cache holds the archive already; the simulated host does not look into it."""
    kept = Wheelhouse(cache=tmp_path)
    kept.place(manifest().release(), "3.11", "x86_64").touch()
    return kept


@pytest.fixture
def installed(wheelhouse: Wheelhouse) -> World:
    world = World()
    deployed(world, (install, (spec(), wheelhouse)))
    world.executed.clear()
    return world


@pytest.fixture
def running(installed: World) -> World:
    deployed(installed, (configure, (spec(), SECRETS)))
    installed.executed.clear()
    installed.agents["maurice"].restarts = 0
    return installed


def shapes(world: World, *marks: str) -> list[str]:
    """Each executed command by the first mark that it holds."""
    return [next((mark for mark in marks if mark in command), command) for command in world.commands]


INSTALL = ("useradd", "mkdir -m 700", "sh -s -- /opt", "mkdir -p -- /home", ".env.XXX", "ln -sfnT", "daemon-reload")
CONFIGURE = (".env.XXX", "config", "daemon-reload", "systemctl restart", "sh -s -- maurice 8642 chat")


def test_an_install_makes_the_account_first_and_the_unit_last(wheelhouse: Wheelhouse) -> None:
    world = World()
    deployed(world, (install, (spec(), wheelhouse)))
    assert shapes(world, OBSERVE, *INSTALL) == [
        OBSERVE,
        "useradd",
        OBSERVE,
        "mkdir -m 700",
        "sh -s -- /opt",
        OBSERVE,
        "mkdir -p -- /home",
        ".env.XXX",
        "ln -sfnT",
        "daemon-reload",
    ]
    assert len(world.uploads) == 1


def test_an_install_starts_nothing(wheelhouse: Wheelhouse) -> None:
    world = World()
    deployed(world, (install, (spec(), wheelhouse)))
    agent = world.agents["maurice"]
    assert (agent.running, agent.enabled, agent.restarts) == (False, False, 0)


def test_an_install_with_nothing_to_do_is_one_command(installed: World, wheelhouse: Wheelhouse) -> None:
    state = deployed(installed, (install, (spec(), wheelhouse)))
    assert installed.commands == [OBSERVE]
    assert len(noops(state)) == 9


def test_a_preflight_that_refuses_stops_everything(wheelhouse: Wheelhouse) -> None:
    world = World()
    world.tools -= {"rg"}
    with pytest.raises(PyinfraError):
        deployed(world, (install, (spec(), wheelhouse)), (configure, (spec(), SECRETS)))
    observation, refusal = world.commands
    assert observation == OBSERVE
    assert refusal.startswith("echo 'ripgrep (binary `rg`) is required by hermes")
    assert world.uploads == []


def test_a_host_that_refuses_does_not_stop_another(wheelhouse: Wheelhouse) -> None:
    worlds = {"good": World(), "bad": World()}
    worlds["bad"].tools.clear()
    deployed(worlds, (install, (spec(), wheelhouse)))
    assert len(worlds["bad"].commands) == 2
    assert worlds["good"].agents["maurice"].files.keys() == {"hermes", "memories", "env", "code"}


def test_a_step_that_fails_is_the_last(wheelhouse: Wheelhouse) -> None:
    world = World()
    world.broken = {"sh -s -- /opt": "no space left on device"}
    with pytest.raises(PyinfraError):
        deployed(world, (install, (spec(), wheelhouse)))
    assert world.acted[-1].startswith("sh -s -- /opt")
    # What was done stays and is not done again.
    world.broken = {}
    world.executed.clear()
    deployed(world, (install, (spec(), wheelhouse)))
    assert shapes(world, OBSERVE, *INSTALL)[:3] == [OBSERVE, "mkdir -m 700", "sh -s -- /opt"]


def test_configuring_writes_then_restarts_once_then_proves(installed: World) -> None:
    deployed(installed, (configure, (spec(), SECRETS)))
    assert shapes(installed, OBSERVE, *CONFIGURE) == [
        OBSERVE,
        ".env.XXX",
        "config",
        "systemctl restart",
        OBSERVE,
        "sh -s -- maurice 8642 chat",
        OBSERVE,
    ]
    agent = installed.agents["maurice"]
    assert (agent.running, agent.enabled, agent.restarts, agent.notes) == (True, True, 1, set())


def test_converging_with_nothing_to_do_is_one_command(running: World, wheelhouse: Wheelhouse) -> None:
    state = deployed(running, (install, (spec(), wheelhouse)), (configure, (spec(), SECRETS)))
    assert running.commands == [OBSERVE]
    assert len(noops(state)) == 18


def test_a_dry_run_with_nothing_to_do_is_one_command_more(running: World, wheelhouse: Wheelhouse) -> None:
    state = deployed(running, (install, (spec(), wheelhouse)), (configure, (spec(), SECRETS)), ahead=True)
    assert set(running.commands) == {OBSERVE}
    assert len(running.commands) == 2
    assert len(noops(state)) == 18


def test_no_secret_is_in_any_executed_command(wheelhouse: Wheelhouse) -> None:
    world = World()
    deployed(world, (install, (spec(), wheelhouse)), (configure, (spec(), SECRETS)))
    for secret in (KEY, "hunter2"):
        assert secret not in world.everything_but_stdin()
        assert [secret in each.stdin for each in world.executed].count(True) == 1


def test_no_secret_is_in_what_pyinfra_keeps_or_tells(
    installed: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    installed.broken = {".env.XXX": "disk full"}
    with pytest.raises(PyinfraError):
        deployed(installed, (configure, (spec(), SECRETS)))
    told = caplog.text + "".join(capsys.readouterr())
    assert "disk full" in told
    for secret in (KEY, "hunter2"):
        assert secret not in told


def test_two_files_that_change_restart_once(running: World) -> None:
    other = {**SECRETS, "api_key": Secret("sk-other")}
    deployed(running, (configure, (spec(model="n"), other)))
    assert shapes(running, OBSERVE, *CONFIGURE) == [
        OBSERVE,
        ".env.XXX",
        "config",
        "systemctl restart",
        OBSERVE,
        "sh -s -- maurice 8642 chat",
        OBSERVE,
    ]
    assert running.agents["maurice"].restarts == 1


def test_a_unit_that_changes_restarts_once(running: World) -> None:
    deployed(running, (configure, (spec(hardening="strict"), SECRETS)))
    assert running.agents["maurice"].restarts == 1
    assert sum("daemon-reload" in command for command in running.acted) == 1


def test_nothing_that_changes_restarts_nothing(running: World) -> None:
    deployed(running, (configure, (spec(), SECRETS)))
    assert running.agents["maurice"].restarts == 0
    assert running.acted == []


def test_a_run_that_was_killed_before_the_restart_is_made_up_for(running: World) -> None:
    running.broken = {"systemctl restart": "killed"}
    with pytest.raises(PyinfraError):
        deployed(running, (configure, (spec(model="n"), SECRETS)))
    running.broken = {}
    deployed(running, (configure, (spec(model="n"), SECRETS)))
    assert running.agents["maurice"].restarts == 1


def test_a_proof_that_fails_is_asked_for_again(running: World) -> None:
    running.broken = {"sh -s -- maurice 8642": "its model does not answer"}
    with pytest.raises(PyinfraError):
        deployed(running, (configure, (spec(model="n"), SECRETS)))
    running.broken = {}
    running.executed.clear()
    deployed(running, (configure, (spec(model="n"), SECRETS)))
    assert running.acted == ["sh -s -- maurice 8642 chat settle more"]


def test_a_host_that_cannot_be_observed_gets_nothing(installed: World) -> None:
    installed.broken = {"hermes.slice": "sudo: a password is required"}
    with pytest.raises(PyinfraError):
        deployed(installed, (configure, (spec(), SECRETS)))
    assert all(not each.stdin for each in installed.executed)
    assert [c for c in installed.acted if not c.startswith("echo ")] == []


def test_what_cannot_be_rendered_reaches_no_host(installed: World) -> None:
    with pytest.raises(CannotRender):
        deployed(installed, (configure, (spec(), {})))
    assert installed.executed == []


def test_stopping_and_starting(running: World) -> None:
    deployed(running, (stop, (spec(),)))
    assert shapes(running, OBSERVE, "disable --quiet hermes-maurice.service && systemctl stop", "sh -s -- maurice") == [
        OBSERVE,
        "disable --quiet hermes-maurice.service && systemctl stop",
        "sh -s -- maurice",  # the receipt
    ]
    running.executed.clear()
    deployed(running, (start, (spec(),)))
    assert shapes(running, OBSERVE, "systemctl restart", "no-chat") == [
        OBSERVE,
        "systemctl restart",
        OBSERVE,
        "no-chat",
        OBSERVE,
    ]
    running.executed.clear()
    deployed(running, (start, (spec(),)))
    assert running.commands == [OBSERVE]
    deployed(running, (start, (spec(), True)))
    assert running.agents["maurice"].restarts == 2


def test_removing_is_one_command_and_then_none(running: World) -> None:
    deployed(running, (remove, ("maurice",)))
    assert [command[:16] for command in running.acted] == ["sh -s -- maurice"]
    running.executed.clear()
    deployed(running, (remove, ("maurice",)))
    assert running.commands == [OBSERVE]


def test_commands_of_the_agents_own_account_alone_run_without_sudo(wheelhouse: Wheelhouse) -> None:
    world = World()
    deployed(world, (install, (spec(), wheelhouse)), (configure, (spec(), SECRETS)))
    assert [each.command[:12] for each in world.executed if not each.sudo] == ["mkdir -m 700"]


@pytest.fixture
def fleet(wheelhouse: Wheelhouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Host data of two agents, with references to secrets in files."""
    assert wheelhouse.cache is not None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg" / "pyinfra-hermes").mkdir(parents=True)
    (tmp_path / "xdg" / "pyinfra-hermes" / "wheels").symlink_to(wheelhouse.cache)
    rows = []
    for number, name in enumerate(("maurice", "claudine")):
        path = tmp_path / f"{name}.key"
        path.write_text(f"{number}f" * 32 + "\n")
        path.chmod(0o600)
        rows.append(
            {
                "name": name,
                "port": 8642 + number,
                "method": "wheel",
                "provider": {"type": "ollama", "url": "http://h", "model": "m"},
                "secrets": {"HERMES_API_SERVER_KEY": f"file:{path}"},
            }
        )
    return {"hermes_agents": rows, "hermes_chat": False}


def test_all_agents_of_a_host_from_its_data(fleet: dict[str, Any]) -> None:
    world = World()
    deployed(world, (hermes, ()), data=fleet)
    assert [name for name, agent in world.agents.items() if agent.running] == ["maurice", "claudine"]
    assert sum("sh -s -- /opt" in command for command in world.acted) == 1
    world.executed.clear()
    deployed(world, (hermes, ()), data=fleet)
    assert world.commands == [OBSERVE]


def test_one_agent_that_changes_leaves_the_other_alone(fleet: dict[str, Any]) -> None:
    world = World()
    deployed(world, (hermes, ()), data=fleet)
    fleet["hermes_agents"][1]["provider"]["model"] = "other"
    deployed(world, (hermes, ()), data=fleet)
    assert [agent.restarts for agent in world.agents.values()] == [1, 2]


def test_an_agent_without_a_provider_is_installed_only(fleet: dict[str, Any]) -> None:
    del fleet["hermes_agents"][1]["provider"]
    world = World()
    deployed(world, (hermes, ()), data=fleet)
    assert [agent.running for agent in world.agents.values()] == [True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": 8643}, "have the same port 8643"),
        ({"name": "Maurice"}, "name: Name 'Maurice'"),
        ({"secrets": {"HERMES_API_SERVER_KEY": "hunter2"}}, "give a reference (file:PATH, env:VARIABLE, "),
        ({"secrets": {"HERMES_API_SERVER_KEY": "file:/nonexistent/key"}}, "openssl rand -hex 32"),
    ],
)
def test_data_that_is_wrong_reaches_no_host(fleet: dict[str, Any], change: dict[str, Any], message: str) -> None:
    fleet["hermes_agents"][0].update(change)
    world = World()
    with pytest.raises(PyinfraError) as caught:
        deployed(world, (hermes, ()), data=fleet)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert world.executed == []


# Upstream's installer

INSTALLER = (
    "/raw/NousResearch", "useradd", "mkdir -m 700", "sh -s -- /opt", "mkdir -p -- /home", ".env.XXX",
    "/hermes-agent.git ", "sh -s", "ln -sfnT", "daemon-reload",
)  # fmt: skip


@pytest.fixture
def by_installer(tmp_path: Path) -> tuple[AgentSpec, Wheelhouse, Upstream]:
    """An agent that is installed by the installer, with what its uv comes from in the cache."""
    (tmp_path / f"{UV.tag}-{UV.lock_sha256[:8]}-py3.11-x86_64.tar").touch()
    upstream = Upstream("https://mirror.example/raw", "https://mirror.example/hermes-agent.git")
    return spec(method="installer"), Wheelhouse(cache=tmp_path), upstream


@pytest.fixture
def bare() -> World:
    world = World()
    world.tools |= {"git", "xz", "bash", "tar"}
    return world


def test_an_installer_is_verified_before_there_is_an_account(
    bare: World, by_installer: tuple[AgentSpec, Wheelhouse, Upstream]
) -> None:
    deployed(bare, (install, by_installer))
    assert [mark for mark in shapes(bare, OBSERVE, *INSTALLER) if mark != OBSERVE] == list(INSTALLER)
    fetched, started = (
        e for e in bare.executed if "-installer-b34368cb" in e.command and e.command.startswith("sh -s")
    )
    assert " https://mirror.example/raw/NousResearch/hermes-agent/v2026.5.7/scripts/install.sh " in fetched.command
    home = "/home/maurice/.hermes"
    assert f"--skip-setup --branch v2026.5.7 --hermes-home {home} --dir {home}/releases/" in started.command
    assert " https://mirror.example/hermes-agent.git " in started.command
    assert bare.agents["maurice"].files["code"].endswith(f"{home}/releases/v2026.5.7-installer-b34368cb")


def test_an_installer_that_is_another_leaves_nothing(
    bare: World, by_installer: tuple[AgentSpec, Wheelhouse, Upstream]
) -> None:
    bare.broken = {"https://mirror.example/raw": "is not the one that is pinned"}
    with pytest.raises(PyinfraError):
        deployed(bare, (install, by_installer))
    assert len(bare.acted) == 1
    assert (bare.agents, bare.uploads) == ({}, [])


def test_an_installation_by_the_installer_is_not_done_again(
    bare: World, by_installer: tuple[AgentSpec, Wheelhouse, Upstream]
) -> None:
    deployed(bare, (install, by_installer))
    bare.executed.clear()
    deployed(bare, (install, by_installer), (configure, (by_installer[0], SECRETS)))
    assert not [command for command in bare.acted if "-installer-" in command and "setpriv" not in command[:400]]
    assert KEY not in bare.everything_but_stdin()
    assert bare.agents["maurice"].running


def test_what_an_installer_says_is_told_while_it_runs_and_when_it_fails(
    bare: World, by_installer: tuple[AgentSpec, Wheelhouse, Upstream]
) -> None:
    bare.courses = [
        ["running 3 100", "step → Cloning", "step ✓ Cloned"],
        ["running 8 200"],
        ["failed 70 300 exit code 1", "step → Building", "at → Building", "log error: no space left"],
    ]
    told: list[str] = []
    with pytest.raises(PyinfraError):
        deployed(bare, (install, (*by_installer, told.append)))
    assert told == ["0:03  → Cloning", "0:03  ✓ Cloned", "1:10  → Building"]
    asked = [each.stdin.splitlines()[-2] for each in bare.executed if each.command == "sh -s"]
    assert asked == [f"await_installation maurice {offset} 5" for offset in (0, 100, 200)]
    said = bare.acted[-1]
    for part in (
        "failed at the step '\"'\"'Building'\"'\"': exit code 1, after 1:10",
        "  error: no space left",
        "installer/log",
    ):
        assert part in said, said
    assert "ln -sfnT" not in "".join(bare.acted)
