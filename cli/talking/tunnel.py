"""A tunnel: an agent's API at a place of this machine, for any OpenAI client, until it is ended."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from pyinfra_hermes.facts.script import watch_start

from ..output import plain
from ..problems import Problem
from ..progress import Progress
from ..ssh.forward import Way
from ..ssh.openssh import LoginRefused, NoRoot, NotTrusted
from ..ssh.sockets import private_folder
from ..state.records import Instance
from ..state.store import State
from .endpoint import on_free_port, on_free_socket, on_port, on_socket, stable_port
from .relay import Relay

#: Seconds between two signs of life of the host, and how long none may come.
_PULSE = 5
_SILENCE = 16.0
_LONGEST_PAUSE = 30.0
_KEEPALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")


@dataclass(frozen=True)
class Entrance:
    """Where a tunnel is entered; ``beside`` says what is at the agent's own place, when it is not there."""

    port: int | None
    path: Path | None
    listening: tuple[socket.socket, ...]
    beside: str = ""


def tunnel(reference: str, port: int | None, path: Path | None) -> None:
    """
    Open a tunnel and keep it open until Ctrl-C.

    + port: of the loopback; the agent's stable one, or the next that is free, when neither is given
    + path: of a Unix socket; likewise

    Raises :class:`Problem` when the agent cannot be reached in the beginning. Later it is tried again and again, unless
    the host shows another key or does not let us in.
    """
    state = State.open()
    instance = state.read().agent(reference)
    with _ended_by_signals(), _entered(instance, port, path) as entrance, Relay(entrance.listening) as relay:
        keeper = _Keeper(state, instance, relay)
        with keeper.reach() as way:
            _introduce(reference, instance, entrance)
            relay.lead_to(way.socket)
            keeper.say("up")
            keeper.watch(way)
        keeper.keep()


class _Keeper:
    def __init__(self, state: State, instance: Instance, relay: Relay) -> None:
        self._state = state
        self._instance = instance
        self._relay = relay

    def say(self, what: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')}  {plain(what)}")

    def reach(self) -> Way:
        agent = self._instance.agent
        watch = watch_start(agent.name, agent.port, _PULSE)
        with Progress.shown(f"Reaching {agent.name} on {self._instance.host.name}"):
            return Way.open(self._state, self._instance, then=watch, options=_KEEPALIVE)

    def keep(self) -> NoReturn:
        """Reach the agent again and again, with longer and longer pauses."""
        pause, said = 1.0, ""
        while True:
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                way = self.reach()
            except (LoginRefused, NoRoot, NotTrusted):
                raise
            except Problem as problem:
                if problem.message != said:
                    said = problem.message
                    self.say(f"down: {said.splitlines()[0]}; trying again until Ctrl-C")
                continue
            with way:
                self._relay.lead_to(way.socket)
                self.say("up again")
                pause, said = 1.0, ""
                self.watch(way)

    def watch(self, way: Way) -> None:
        """Say how the agent is until the connection ends, and let nobody in while something else has its port."""
        up, process = True, ""
        silent = False
        try:
            while (line := way.line(_SILENCE)) is not None:
                word, _, detail = line.partition(" ")
                if word == "listening":
                    if not up:
                        self._relay.lead_to(way.socket)
                        self.say("up again")
                    elif process not in ("", detail):
                        self.say("the agent was restarted")
                    up, process = True, detail
                elif up:
                    self._relay.lead_to(None)
                    self.say(f"down: {detail}")
                    up = False
        except TimeoutError:
            silent = True
        self._relay.lead_to(None)
        host = self._instance.host.name
        reason = f"{host} has shown no sign of life for {_SILENCE:.0f} s" if silent else way.end().message
        self.say(f"down: {reason.splitlines()[0]}; reaching it anew")


@contextmanager
def _entered(instance: Instance, port: int | None, path: Path | None) -> Iterator[Entrance]:
    """Listen where was asked for; on the agent's port and socket when nothing was. A socket goes with the tunnel."""
    with ExitStack() as held:
        listening: list[socket.socket] = []
        beside = ""
        if port is not None:
            listening.append(held.enter_context(on_port(port)))
        if path is not None:
            listening.append(held.enter_context(on_socket(path)))
        if not listening:
            own, name = stable_port(instance.key), f"{instance.host.name}-{instance.agent.name}"
            on_it = held.enter_context(on_free_port(own))
            path, opened = on_free_socket(private_folder(), name)
            listening += [on_it, held.enter_context(opened)]
            if path.stem != name:
                beside = f"Another tunnel to {instance.agent.name} is open: this one is beside it."
            elif on_it.getsockname()[1] != own:
                beside = f"Port {own}, which is its own, is taken by another program or user: this is the next one."
        if path is not None:
            # Before it is closed: then somebody else may have made it theirs.
            held.callback(path.unlink, missing_ok=True)
        ports = [one.getsockname()[1] for one in listening if one.family == socket.AF_INET]
        yield Entrance(ports[0] if ports else None, path, tuple(listening), beside)


def _introduce(reference: str, instance: Instance, entrance: Entrance) -> None:
    name = shlex.quote(reference)
    click.echo(f"Tunnel to agent {instance.agent.name} on {instance.host.name}; Ctrl-C ends it.")
    if entrance.beside:
        click.echo(entrance.beside)
    other = ""
    if entrance.port is not None:
        click.echo(f"  port    http://127.0.0.1:{entrance.port}/v1")
        if entrance.port != stable_port(instance.key):
            other = f" --port {entrance.port}"
    if entrance.path is not None:
        click.echo(f"  socket  {entrance.path}")
    where = (
        f"http://127.0.0.1:{entrance.port}/v1/models"
        if entrance.path is None
        else f"--unix-socket {shlex.quote(str(entrance.path))} http://localhost/v1/models"
    )
    click.echo("In another terminal, with the key where it cannot be seen:")
    click.echo(f'  eval "$(clm agent env {name}{other})"')
    click.echo(f"  printf 'Authorization: Bearer %s' \"$OPENAI_API_KEY\" | curl -sS -H @- {where}")
    ask = "print(OpenAI({}).models.list().data)"
    if entrance.port is not None:
        click.echo(f"  python3 -c 'from openai import OpenAI; {ask.format('')}'")
    else:
        # The address in the variables is that of a port, where others might listen.
        through = f"http_client=Client(transport=HTTPTransport(uds={json.dumps(str(entrance.path))}))"
        script = f"""from openai import OpenAI; from httpx import Client, HTTPTransport; {
            ask.format(f'base_url="http://localhost/v1", {through}')
        }"""
        click.echo(f"  python3 -c {shlex.quote(script)}")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """
    End as by Ctrl-C when the terminal goes away, or somebody asks for it: nothing is left behind then.

    One that was ignored before, by nohup for one, stays so. A terminal that goes away sends several: after the first
    one none counts, so that nothing breaks the tidying off.
    """
    heeded = [
        one for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN
    ]
    ending = False

    def ended(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        if not ending:
            ending = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ended) for number in heeded}
    try:
        yield
    except OSError:
        if ending:
            # There is no terminal any more to say something at.
            raise KeyboardInterrupt from None
        raise
    finally:
        if not ending:
            for number, handler in before.items():
                signal.signal(number, handler)
