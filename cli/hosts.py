"""Hosts on record: how they come there, are trusted, checked and forgotten."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.facts.observation import HostState, parse
from pyinfra_hermes.facts.script import observe_host

from . import asking
from .exits import Exit
from .openssh import Login, configured, offered_key, run_script
from .problems import Problem
from .state.known_hosts import HostKey, KnownHosts, look_up_in, users_known_hosts
from .state.records import Host
from .state.store import State


@dataclass(frozen=True)
class Wanted:
    """A host as the user describes it; None leaves a thing to the ssh configuration."""

    name: str
    address: str | None
    port: int | None
    user: str | None
    identity_file: str | None
    tags: tuple[str, ...]
    fingerprint: str | None


def login_of(state: State, host: Host) -> Login:
    """Return how a host on record is reached."""
    return Login.of(host, state.directory.known_hosts)


def trusted(state: State, address: str, port: int) -> Sequence[HostKey]:
    """Return the keys that we trust a server with."""
    return KnownHosts(state.directory).look_up(address, port).keys


def add_host(wanted: Wanted) -> Host:
    """
    Take a host on record: check it, have its key trusted, log in, become root.

    Nothing is recorded unless all of it works.
    """
    state = State.open()
    record = _record(wanted)
    _refuse_known(state, record)
    login = login_of(state, record)
    key = _agree(state, login, wanted.fingerprint)
    _try(login, key)
    KnownHosts(state.directory).add(record.address, record.port, [key])
    with state.transaction() as tx:
        _refuse_known_in(tx.hosts, record)
        tx.hosts[record.name] = record
    return record


def trust_again(name: str, fingerprint: str | None) -> HostKey:
    """Replace the key that a host on record is trusted with by the one that it shows now."""
    state = State.open()
    record = state.read().host(name)
    login = login_of(state, record)
    known = KnownHosts(state.directory)
    before = known.look_up(record.address, record.port).keys
    key = offered_key(login)
    if key in before:
        return key
    for old in before:
        click.echo(f"Trusted so far: {old.type} {old.fingerprint}", err=True)
    _confirm_key(login, key, fingerprint)
    known.remove(record.address, record.port)
    known.add(record.address, record.port, [key])
    return key


def remove_host(name: str) -> None:
    """Take a host without agents off the record, with the key it was trusted with."""
    state = State.open()
    with state.transaction() as tx:
        record = tx.host(name)
        if record.agents:
            listed = ", ".join(sorted(record.agents))
            raise Problem(
                f"Host {name} has agents on record: {listed}",
                f"Remove them first: clm agent remove {min(record.agents)}",
                Exit.REFUSED,
            )
        del tx.hosts[name]
        shared = any((h.address, h.port) == (record.address, record.port) for h in tx.hosts.values())
    if not shared:
        KnownHosts(state.directory).remove(record.address, record.port)


@dataclass(frozen=True)
class Checked:
    """What a check of a host found."""

    data: dict[str, Any]
    rows: list[tuple[str, str]]
    problems: list[str]
    remedy: str | None


def check_host(name: str) -> Checked:
    """Look at a host as the preflight of an installation does."""
    # The engine's libraries are not needed for this: the requirements and their check are plain functions.
    from pyinfra_hermes.deploys.install import requirements
    from pyinfra_hermes.deploys.model.releases import manifest
    from pyinfra_hermes.operations.preflight import host_problems, remedy

    state = State.open()
    record = state.read().host(name)
    found: HostState = parse(run_script(login_of(state, record), observe_host()).splitlines()).host
    problems = host_problems(found, requirements(manifest().release()), installing=True)
    data = {
        "name": name, "os": found.os, "os_version": found.os_version, "arch": found.arch, "systemd": found.systemd,
        "python": found.python, "memory_mib": found.memory_mib, "free_mib": dict(found.free_mib),
        "tools": dict(found.tools), "problems": problems,
    }  # fmt: skip
    rows = [
        ("system", f"{found.os} {found.os_version} {found.arch}, systemd {found.systemd or 'does not run'}"),
        ("python", found.python or "none"),
        ("memory", f"{found.memory_mib} MiB"),
        ("free", ", ".join(f"{folder} {mib} MiB" for folder, mib in found.free_mib.items())),
        ("tools", " ".join(sorted(found.tools))),
    ]
    return Checked(data, rows, problems, remedy(found))


def _record(wanted: Wanted) -> Host:
    name = names.host_name(wanted.name)
    if wanted.address is not None:
        names.address(wanted.address)
    if wanted.port is not None:
        names.port(wanted.port)
    if wanted.user is not None:
        names.ssh_user(wanted.user)
    defaults = configured(wanted.address or name)
    return Host(
        name=name,
        address=names.address(defaults.address),
        port=wanted.port or defaults.port,
        user=names.ssh_user(wanted.user or defaults.user),
        identity_file=wanted.identity_file,
        tags=wanted.tags,
    )


def _refuse_known(state: State, record: Host) -> None:
    _refuse_known_in(state.read().hosts, record)


def _refuse_known_in(hosts: Any, record: Host) -> None:
    if record.name in hosts:
        raise Problem(f"Host {record.name!r} already exists", f"clm host show {record.name}", Exit.REFUSED)
    for other in hosts.values():
        if (other.address, other.port) == (record.address, record.port):
            raise Problem(
                f"{record.address} port {record.port} is on record already, as host {other.name}",
                f"clm host show {other.name}",
                Exit.REFUSED,
            )


def _agree(state: State, login: Login, fingerprint: str | None) -> HostKey:
    """Return the host's key once somebody we trust vouches for it: our list, the user's, a flag, or the user."""
    key = offered_key(login)
    ours = KnownHosts(state.directory).look_up(login.address, login.port)
    theirs = look_up_in(users_known_hosts(), login.address, login.port)
    for known, whose in ((ours, "our"), (theirs, "your own")):
        verdict = known.verdict(key)
        if verdict in ("changed", "revoked"):
            expected = ", ".join(k.fingerprint for k in known.keys)
            raise Problem(
                f"{login.name}: the key of {login.address} is {key.fingerprint}, {whose} known_hosts says {expected}",
                "If the host was made anew, remove the old key first: "
                f"ssh-keygen -R {login.address if login.port == 22 else f'[{login.address}]:{login.port}'}",
                Exit.UNREACHABLE,
            )
    if fingerprint is None and key in theirs.keys:
        click.echo(f"Your known_hosts vouches for {login.address}: {key.fingerprint}", err=True)
        return key
    _confirm_key(login, key, fingerprint)
    return key


def _confirm_key(login: Login, key: HostKey, fingerprint: str | None) -> None:
    if fingerprint is not None:
        if fingerprint != key.fingerprint:
            raise Problem(
                f"{login.name}: the key of {login.address} is {key.fingerprint}, not {fingerprint}. "
                "Nothing was trusted.",
                None,
                Exit.UNREACHABLE,
            )
        return
    click.echo(f"{login.address} port {login.port} shows the {key.type} key {key.fingerprint}", err=True)
    asking.confirm("Is this the host's key?", f"--host-key-fingerprint {key.fingerprint}")
    # Between the question and the answer somebody else may have taken the host's place.
    if offered_key(login) != key:
        raise Problem(
            f"{login.name}: the host shows another key than a moment ago. Nothing was trusted.",
            None,
            Exit.UNREACHABLE,
        )


def _try(login: Login, key: HostKey) -> None:
    """Log in and become root, with a list of host keys that holds only this one."""
    from .state.known_hosts import with_key

    with tempfile.TemporaryDirectory(prefix="clm-") as folder:
        known = Path(folder) / "known_hosts"
        known.write_text(with_key("", login.address, login.port, key), encoding="utf-8")
        run_script(
            Login(login.name, login.address, login.port, login.user, login.identity_file, known),
            "id -u >/dev/null\n",
        )
