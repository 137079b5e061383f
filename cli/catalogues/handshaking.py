"""Tries an integration: asks the service behind it, and talks to its MCP server on a host as the agent would."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pyinfra_hermes.deploys.model import unit
from pyinfra_hermes.deploys.model.declaration import InvalidSetting, Value
from pyinfra_hermes.deploys.model.integrations import IntegrationType, integration_type
from pyinfra_hermes.deploys.model.layout import Layout, release_directory
from pyinfra_hermes.deploys.model.probing import Verdict, judge
from pyinfra_hermes.deploys.model.redaction import redact
from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.model.secret import Secret

from ..exits import Exit
from ..problems import Problem
from ..ssh.openssh import login_of, run_script
from ..state.records import Instance, integration_scope
from ..state.store import State
from . import connectivity

#: The agent's python speaks MCP; where it is not, nobody is asked. Arguments: agent, its home, PATH, python, seconds.
_TALK = """
[ -x "$4" ] || {{ echo '{{"error": "the release of the agent is not installed"}}'; exit 0; }}
cd /
base64 -d <<'SERVER' | setpriv --reuid="$1" --regid="$1" --clear-groups --inh-caps=-all --no-new-privs \\
    env -i HOME="$2" PATH="$3" LC_ALL=C.UTF-8 "$4" -I -c {script} "$5"
{server}
SERVER
"""


@dataclass(frozen=True)
class Tried:
    """What came of trying an integration."""

    #: What the service behind it said, where it can be asked.
    service: Verdict | None
    #: What the server said: its name, version and tools, or an error; None where it was not started.
    server: Mapping[str, Any] | None

    @property
    def ok(self) -> bool:
        return (self.service is None or self.service.ok) and (self.server is None or "error" not in self.server)

    def data(self, name: str) -> dict[str, Any]:
        """Return it as plain data."""
        service = None if self.service is None else {"outcome": self.service.outcome, "text": self.service.sentence}
        return {"name": name, "ok": self.ok, "service": service, "server": self.server}


def test(name: str, agent: str | None, seconds: int) -> Tried:
    """
    Try an integration.

    + agent: from whose host; when left out, that of an agent that it is attached to. Without any, only a service can
      be asked, from here
    + seconds: how long the server may take to start and to answer

    Raises :class:`Problem` when something is missing on record, or the host cannot be reached.
    """
    state = State.open()
    state.unlock()
    snapshot = state.read()
    record = snapshot.integration(name)
    users = snapshot.agents_using_integration(name)
    instance = snapshot.agent(agent) if agent is not None else users[0] if users else None
    kind = integration_type(record.type)
    kept = snapshot.secrets.of(integration_scope(name))
    try:
        options = kind.options(record.options)
        kind = kind.of(options)
        secrets = {f.name: kept[f.key] for f in kind.secrets if kept.get(f.key)}
        kind.check_complete(options, secrets)
    except InvalidSetting as error:
        raise Problem(f"Integration {name}: {error}", f"clm integration edit {name}", Exit.REFUSED) from None
    if instance is None and kind.probe is None:
        raise Problem(
            f"Integration {name} is a program for an agent's host, and is attached to none",
            f"Say which: clm integration test {name} --agent AGENT",
            Exit.REFUSED,
        )
    service = None
    if kind.probe is not None:
        requests = kind.probe.ask(options, secrets, connectivity.now())
        login = None if instance is None else login_of(state, instance.host)
        service = judge(kind.probe, requests, connectivity.ask(login, requests), "")
    server = None if instance is None else _talk(state, instance, kind, options, secrets, seconds)
    return Tried(service, server)


def _talk(
    state: State,
    instance: Instance,
    kind: IntegrationType,
    options: Mapping[str, Value],
    secrets: Mapping[str, Secret],
    seconds: int,
) -> Mapping[str, Any] | None:
    agent, tools = instance.agent, kind.tools(options)
    release = manifest().release(agent.release).id_of(agent.method)
    wanted = json.dumps(kind.opened(options, secrets)).encode()
    lines = base64.encodebytes(wanted).decode().rstrip("\n")
    script = resources.files("pyinfra_hermes.cli.catalogues").joinpath("handshake.py.txt").read_text(encoding="utf-8")
    arguments = [
        agent.name,
        Layout(agent.name).home,
        unit.search_path(agent.name, release),
        f"{release_directory(agent.name, release)}/venv/bin/python",
        str(seconds),
    ]
    present = " && ".join(f"[ -x {tool.program(tool.programs[0])} ]" for tool in tools) or "true"
    text = f"set -- {shlex.join(arguments)}\n{present} || {{ echo null; exit 0; }}\n"
    text += _TALK.format(script=shlex.quote(script), server=lines)
    return read(run_script(login_of(state, instance.host), text, seconds=seconds + 20))


def read(printed: str) -> Mapping[str, Any] | None:
    """Read what the host printed; the agent may have made it up, as it was printed with its rights."""
    lines = printed.strip().splitlines()
    if not lines:
        return {"error": "the host said nothing"}
    try:
        found = json.loads(lines[-1])
        if found is None:
            return None
        if "error" in found:
            return {"error": redact(str(found["error"]))}
        tools = [{"name": str(each["name"]), "description": str(each["description"])} for each in found["tools"]]
        return {"server": str(found["server"]), "version": str(found["version"]), "tools": tools}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {"error": "the host said what cannot be read"}
