"""A host that exists as a few facts only, behind pyinfra's ``@fake`` connector: it answers, remembers and changes."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.connectors.util import CommandOutput, OutputLine

from pyinfra_hermes.facts.leaves import flat, leaf_digest, leaf_key
from pyinfra_hermes.facts.script import ACCOUNT_COMMENT, PENDING
from pyinfra_hermes.operations.preflight import TOOLS

OBSERVE = "observe"
#: What only the script of an observation has.
_OBSERVING = 'note "${unit%.service}"'
UNITS = "/etc/systemd/system"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Executed:
    """One command as it went to the host: what the host's process list would show, and what only stdin carried."""

    command: str
    stdin: str
    sudo: bool


@dataclass
class Agent:
    account: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    #: Digests by path, as the observing script prints it.
    leaves: dict[str, str] = field(default_factory=dict)
    set_leaves: str | None = None
    #: Sources of what lies in Hermes' auth.json.
    credentials: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    #: Digest of the installer that was verified, and the releases that one made.
    verified: str | None = None
    releases: list[str] = field(default_factory=list)
    running: bool = False
    enabled: bool = False
    port: int = 0
    restarts: int = 0


class World:
    """
    One host. ``tools`` it has; ``broken`` maps a part of a command to what it says when it fails.

    The simulation knows the commands by their outer shape and nothing of how an operation decides: it takes digests
    from what it was sent and hands them out in the next observation.
    """

    def __init__(self) -> None:
        self.tools = set(TOOLS)
        self.broken: dict[str, str] = {}
        self.agents: dict[str, Agent] = {}
        self.units: dict[str, str] = {}
        self.releases: set[str] = set()
        self.executed: list[Executed] = []
        self.uploads: list[str] = []
        #: What is told of an installation each time that it is asked for; at last it is done.
        self.courses: list[list[str]] = []

    @property
    def commands(self) -> list[str]:
        """What was executed, an observation as one word."""
        return [OBSERVE if _OBSERVING in each.command else each.command for each in self.executed]

    @property
    def acted(self) -> list[str]:
        return [command for command in self.commands if command != OBSERVE]

    def everything_but_stdin(self) -> str:
        return "\n".join([*(each.command for each in self.executed), *self.uploads])

    def agent(self, name: str) -> Agent:
        return self.agents.setdefault(name, Agent())

    def answer(self, command: str, stdin: str) -> tuple[bool, list[str]]:
        for part, text in self.broken.items():
            if part in command:
                return False, [text]
        if _OBSERVING in command:
            return True, self._observation(command)
        if command == "sh -s" and "await_installation" in stdin:
            return True, [*(self.courses.pop(0) if self.courses else ["done 1 1"]), "end"]
        if command.startswith("echo ") and command.endswith(">&2; exit 1"):
            return False, [shlex.split(command)[1]]
        self._change(command, stdin)
        return True, []

    def _change(self, command: str, stdin: str) -> None:
        words = shlex.split(command)
        if words[:2] == ["sh", "-s"] and words[3].startswith("/opt/"):
            self.releases.add(words[4])
        elif words[:2] == ["sh", "-s"] and len(words) > 6 and words[5] == PENDING:
            self.agent(words[3]).verified = words[6]
        elif words[:2] == ["sh", "-s"] and len(words) > 8 and words[8] == PENDING:
            assert self.agent(words[3]).verified == words[9], "what is run was verified"
            self.agent(words[3]).releases.append(words[4])
        elif words[:2] == ["sh", "-s"] and len(words) > 5 and words[4] == ACCOUNT_COMMENT:
            self.agents.pop(words[3], None)
            self.units.pop(f"{UNITS}/hermes-{words[3]}.service", None)
        elif words[:2] == ["sh", "-s"]:
            self.agent(words[3]).notes.discard("proof")
        elif words[0] == "useradd":
            self.agent(
                words[-1]
            ).account = f"{words[-1]}:x:997:997:{ACCOUNT_COMMENT}:/home/{words[-1]}:/usr/sbin/nologin"
        elif words[0] in ("mkdir", "setpriv", "set", "systemctl"):
            self._change_agent(words, stdin)
        else:
            raise AssertionError(f"the simulated host does not know: {command}")

    def _change_agent(self, words: list[str], stdin: str) -> None:
        for position, word in enumerate(words):
            if word == ">" and words[position + 1].startswith(PENDING):
                name, _, what = words[position + 1].removeprefix(f"{PENDING}/").partition(".")
                if what == "leaves.part":
                    self.agent(name).set_leaves = words[position - 1]
                else:
                    self.agent(name).notes.add(what)
            if word == ">" and words[position + 1].startswith(UNITS):
                self.units[words[position + 1].removesuffix(".part")] = words[position - 1]
            if word == "rm" and words[position + 3].startswith(PENDING):
                name, _, what = words[position + 3].removeprefix(f"{PENDING}/").partition(".")
                self.agent(name).notes.discard(what)
            if word == "systemctl" and words[position + 1] != "daemon-reload":
                name = words[position + 3 if words[position + 2] == "--quiet" else position + 2]
                self._service(self.agent(name.removeprefix("hermes-").removesuffix(".service")), words[position + 1])
            if word.startswith("--reuid="):
                self._as_agent(word.removeprefix("--reuid="), words[-1], stdin)

    def _service(self, agent: Agent, verb: str) -> None:
        if verb in ("enable", "disable"):
            agent.enabled = verb == "enable"
        elif verb == "restart":
            agent.running = True
            agent.restarts += 1
        elif verb == "stop":
            agent.running = False

    def _as_agent(self, name: str, script: str, stdin: str) -> None:
        agent, home = self.agent(name), f"/home/{name}/.hermes"
        if ".env.XXXXXXXXXX" in script:
            agent.files["env"] = f"regular file|600|{name}|{name}|1|{_digest(stdin)}"
            ports = [line.partition("=")[2] for line in stdin.splitlines() if line.startswith("API_SERVER_PORT=")]
            agent.port = int(ports[0]) if ports else 0
        elif "ln -sfnT" in script:
            agent.files["code"] = f"symbolic link|777|{name}|{name}|1|{shlex.split(script)[-2]}"
        elif "mkdir -p" in script:
            for key, path in (("hermes", home), ("memories", f"{home}/memories")):
                if path in shlex.split(script):
                    agent.files[key] = f"directory|700|{name}|{name}|4096|-"
        elif stdin.startswith('{"path"') and "keep" in (request := json.loads(stdin)):
            agent.credentials = [source for source in agent.credentials if source in request["keep"]]
        elif stdin.startswith("{"):
            wanted = json.loads(stdin)
            agent.files["config"] = f"regular file|600|{name}|{name}|1|{_digest(stdin)}"
            for path in wanted["absent"]:
                agent.leaves.pop(leaf_key(path), None)
            for path, block in wanted["set"]:
                agent.leaves.update({leaf_key(leaf): leaf_digest(value) for leaf, value in flat(tuple(path), block)})
        else:
            raise AssertionError(f"the simulated host does not know: {script}")

    def _observation(self, command: str) -> list[str]:
        lines = [
            "host uid 0",
            "host os debian",
            "host os_version 12",
            "host arch x86_64",
            "host uptime 99",
            "host boot_id b",
        ]
        lines += ["host systemd 252", "host memory_mib 4096", "host python 3.11"]
        lines += [f"host free_mib:{folder} 9999" for folder in ("/", "/opt", "/home", "/etc", "/var", "/tmp")]
        lines += [f"host tool:{tool} /usr/bin/{tool}" for tool in sorted(self.tools)]
        lines += [f"listener 127.0.0.1 {a.port} {4000 + n}" for n, a in enumerate(self.agents.values()) if a.running]
        if f"{UNITS}/hermes.slice" in self.units:
            lines.append(f"path slice|regular file|644|root|root|1|{_digest(self.units[f'{UNITS}/hermes.slice'])}")
        lines += [
            "release " + json.dumps({"id": release, "version": "0", "calver": "0", "python": "3.11"})
            for release in self.releases
        ]
        for number, (name, agent) in enumerate(self.agents.items()):
            lines += self._agent(name, agent, 4000 + number)
        return [*lines, "end"]

    def _agent(self, name: str, agent: Agent, pid: int) -> list[str]:
        lines = [f"agent {name}"]
        unit = self.units.get(f"{UNITS}/hermes-{name}.service")
        if unit is not None:
            lines.append(f"path unit|regular file|644|root|root|1|{_digest(unit)}")
            lines += ["unit LoadState=loaded", f"unit ActiveState={'active' if agent.running else 'inactive'}"]
            lines += [f"unit SubState={'running' if agent.running else 'dead'}", f"unit MainPID={pid * agent.running}"]
            lines += [f"unit UnitFileState={'enabled' if agent.enabled else 'disabled'}", "unit NeedDaemonReload=no"]
        lines += [f"path pending_{note}|regular empty file|644|root|root|0|-" for note in sorted(agent.notes)]
        if agent.set_leaves is not None:
            lines.append(f"set_leaves {agent.set_leaves}")
        row = {"version": "0", "calver": "0", "python": "3.11"}
        lines += ["installed " + json.dumps({"id": release, **row}) for release in agent.releases]
        if agent.account:
            lines += [f"own tree {release}" for release in agent.releases]
            lines += [f'own credential ["openrouter", {json.dumps(source)}]' for source in agent.credentials]
            lines += [f"account {agent.account}", "processes 0 0", f"path home|directory|700|{name}|{name}|4096|-"]
            lines += [f"own path {key}|{text}" for key, text in agent.files.items()]
            lines += [f"own leaf {digest} {path}" for path, digest in agent.leaves.items()]
            if agent.running:
                lines += ["own answer health 200 {}", "own answer models 200 {}"]
            lines += ["own whole", ""]
        return lines


def deployed(
    worlds: World | dict[str, World],
    *deploys: tuple[Callable[..., Any], tuple[Any, ...]],
    data: dict[str, Any] | None = None,
    ahead: bool = False,
) -> State:
    """Run deploys in API mode, as with ``-y``; with ``ahead`` the prepare phase looks for changes first."""
    if isinstance(worlds, World):
        worlds = {"wolf": worlds}
    common = {"fake_delay": 0, "fake_delay_jitter": 0, **(data or {})}
    inventory = Inventory(([(f"@fake/{name}", common) for name in worlds], {}))
    state = State(inventory, Config(SUDO=True), check_for_changes=ahead)
    connect_all(state)
    for host in inventory:
        _attach(host, worlds[host.name.removeprefix("@fake/")])
    state.set_stage(StateStage.Prepare)
    for deploy, arguments in deploys:
        add_deploy(state, deploy, *arguments)
    state.set_stage(StateStage.Execute)
    run_ops(state)
    return state


def _attach(host: Any, world: World) -> None:
    def run_shell_command(command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any) -> Any:
        raw = command if isinstance(command, str) else command.get_raw_value()
        stdin = arguments.get("_stdin") or ""
        world.executed.append(Executed(raw, stdin, bool(arguments.get("_sudo"))))
        success, lines = world.answer(raw, stdin)
        return success, CommandOutput([OutputLine("stdout" if success else "stderr", line) for line in lines])

    def put_file(filename_or_io: Any, remote_filename: str, *_: Any, **__: Any) -> bool:
        world.uploads.append(f"{filename_or_io} {remote_filename}")
        return True

    # The connector's own record has masked commands only: a secret that is masked in the log would pass unseen.
    host.connector.run_shell_command = run_shell_command
    host.connector.put_file = put_file


def noops(state: State) -> list[str]:
    """Names of the operations that changed nothing, in order."""
    [host, *_] = state.inventory
    metas = [(state.get_op_meta(h), state.ops[host][h].operation_meta) for h in state.get_op_order()]
    return [next(iter(meta.names)) for meta, done in metas if not done.did_change()]
