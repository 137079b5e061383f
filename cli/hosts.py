"""Hosts on record: how they come there, are trusted, checked, changed and forgotten."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from pyinfra_hermes.deploys.model import names
from pyinfra_hermes.deploys.model.releases import Method
from pyinfra_hermes.facts.observation import HostState, parse
from pyinfra_hermes.facts.script import observe_host

from . import asking, begun
from .exits import Exit
from .output import say
from .problems import Problem
from .ssh import keys
from .ssh.configuration import configured
from .ssh.openssh import Login, LoginRefused, NoRoot, login_of, offered_key, run_script
from .state.known_hosts import HostKey, KnownHosts, KnownKeys, look_up_in, users_known_hosts, with_key
from .state.records import API_SERVER_KEY, Host, agent_scope
from .state.store import State, Transaction

#: Making an account on a slow disk takes longer than a look at the host.
_SETUP_SECONDS = 120


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


def trusted(state: State, login: Login) -> Sequence[HostKey]:
    """Return the keys that we trust a host with."""
    return KnownHosts(state.directory).look_up(*login.server).keys


def add_host(wanted: Wanted) -> Host:
    """
    Take a host on record: check it, have its key trusted, log in, become root.

    Nothing is recorded unless all of it works.
    """
    state = State.open()
    record = _record(wanted)
    _refuse_known(state.read().hosts, record)
    login = login_of(state, record)
    with _not_on_record(login):
        key = _agree(state, login, wanted.fingerprint)
        _prove(login, key)
    KnownHosts(state.directory).add(*login.server, [key])
    with state.transaction() as tx:
        _refuse_known(tx.hosts, record)
        tx.hosts[record.name] = record
    return record


@dataclass(frozen=True)
class Initialised:
    """What ``init`` did."""

    host: Host
    #: What it changed on the host: ``account``, ``key``, ``sudo``.
    changed: tuple[str, ...]
    recorded: bool


def init_host(wanted: Wanted, management: str, *, adopt: bool, yes: bool) -> Initialised:
    """
    Make a login for us on a host, with a key of our own and passwordless sudo, and take the host on record with it.

    The user's own means open the door once. Nothing is recorded before the new login has become root. Repeating it
    checks all of it and changes what is missing. Raises :class:`ByHand` when a person has to do it on the host.
    """
    keys.management_user(management)
    state = State.open()
    keys.tidy(state)
    known = state.read().hosts.get(wanted.name)
    first = _record(wanted) if known is None else _as_recorded(known, wanted)
    _refuse_known({name: h for name, h in state.read().hosts.items() if name != wanted.name}, first)
    if not yes and not (known is not None and known.user == management):
        asking.confirm(
            f"Make the account {management} on {first.name} ({first.address}), with our key and passwordless sudo?",
            "--yes",
        )
    login = login_of(state, first)
    with _not_on_record(login):
        key = _agree(state, login, wanted.fingerprint)
    pair = keys.ensure(state, first.name)
    ours = _changed(first, user=management, identity_file=str(pair.path))
    with _trusting(login, key) as login, _not_on_record(login):
        changed = _set_up(login, ours, pair, management, adopt)
        _prove_management(replace(login, user=ours.user, identity_file=ours.identity_file), management)
    KnownHosts(state.directory).add(*login.server, [key])
    with state.transaction() as tx:
        recorded = _record_management(tx, known, ours, wanted.tags)
    return Initialised(ours, tuple(changed), recorded)


class ByHand(Problem):
    """What has to be done on the host is for a person to do; :attr:`lines` are for them to paste there, as root."""

    def __init__(self, cause: Problem, lines: str) -> None:
        super().__init__(
            f"{cause.message}\nNothing was changed on the host. The lines above, pasted there as root, make the login "
            "by hand; the same command carries on afterwards.",
            None if isinstance(cause, NoRoot) else cause.remedy,
            cause.exit,
        )
        self.lines = lines


@dataclass(frozen=True)
class Edit:
    """What the user wants changed of a host on record; None leaves it as it is."""

    address: str | None = None
    port: int | None = None
    user: str | None = None
    identity_file: str | None = None
    no_identity_file: bool = False
    tags: tuple[str, ...] = ()
    untags: tuple[str, ...] = ()
    fingerprint: str | None = None


def edit_host(name: str, wanted: Edit) -> tuple[Host, bool]:
    """
    Change how a host on record is reached, or its tags; tell whether that changed anything.

    A new way to it is recorded only after its key is trusted and the login has become root there. Its agents and
    their secrets are kept under its name and stay as they are.
    """
    state = State.open()
    keys.tidy(state)
    before = state.read().host(name)
    after = _edited(before, wanted)
    if (_way(after), after.tags) == (_way(before), before.tags):
        return before, False
    others = {h.name: h for h in state.read().hosts.values() if h.name != name}
    old, new = login_of(state, before), login_of(state, after)
    key = None
    if (before.address, before.port) != (after.address, after.port):
        _refuse_known(others, after)
        key = _carried_over(state, old, new) or _agree(state, new, wanted.fingerprint)
    if key is not None:
        _prove(new, key)
        KnownHosts(state.directory).add(*new.server, [key])
    elif (before.user, before.identity_file) != (after.user, after.identity_file):
        _become_root(new)
    with state.transaction() as tx:
        present = tx.host(name)
        if _way(present) != _way(before) or present.tags != before.tags:
            raise Problem(
                f"Host {name} was changed by another command meanwhile", f"clm host show {name}", Exit.REFUSED
            )
        _refuse_known({n: h for n, h in tx.hosts.items() if n != name}, after)
        for field in ("address", "port", "user", "identity_file", "tags"):
            setattr(present, field, getattr(after, field))
        kept = [login_of(state, h).server for h in tx.hosts.values() if h.address == before.address or h.name == name]
    if key is not None and old.server not in kept:
        KnownHosts(state.directory).remove(*old.server)
    return after, True


def rename_host(old: str, new: str) -> list[str]:
    """
    Give a host another name, with everything that is kept under it; return what scripts have to change.

    Record, agents and secrets move in one transaction. Our keys are copied before it and their old place is cleared
    after it, so that a command which is stopped in between leaves a working host; the next one clears up.
    """
    names.host_name(new)
    state = State.open()
    keys.tidy(state)
    if old == new:
        raise Problem(f"Host {old} has that name already", None, Exit.USAGE)
    state.unlock()
    with state.transaction() as tx:
        record = tx.host(old)
        if new in tx.hosts:
            raise Problem(f"Host {new!r} already exists", f"clm host show {new}", Exit.REFUSED)
        if left := _scopes(tx, new):
            raise Problem(
                f"There are secrets under {', '.join(left)}, which {old} would take over",
                "Choose another name, or remove them from secrets.json first",
                Exit.REFUSED,
            )
        keys.copy(state, old, new)
        for host in tx.hosts.values():
            if host.identity_file and (path := keys.moved(state.directory, host.identity_file, old, new)):
                host.identity_file = path
        # The name of a record cannot be assigned; its place among the others is kept.
        renamed = record.model_copy(update={"name": new})
        entries = [(new, renamed) if name == old else (name, host) for name, host in tx.hosts.items()]
        tx.hosts.clear()
        tx.hosts.update(entries)
        scopes = _scopes(tx, old)
        for scope in scopes:
            tx.secrets.scopes[f"{new}{scope.removeprefix(old)}"] = tx.secrets.scopes.pop(scope)
    keys.remove(state, old)
    return [
        f"{_jq(state, agent_scope(old, name))}\n  is now  {_jq(state, agent_scope(new, name))}"
        for name in record.agents
    ]


@dataclass(frozen=True)
class Removal:
    """What goes when a host is forgotten."""

    name: str
    agents: tuple[str, ...]
    secrets: tuple[str, ...]


def removal(name: str) -> Removal:
    """Say what goes with a host. Raises ``NotFound``."""
    snapshot = State.open().read()
    return Removal(name, tuple(sorted(snapshot.host(name).agents)), tuple(_scopes(snapshot, name)))


def remove_host(agreed: Removal, *, force: bool) -> str | None:
    """
    Take a host off the record, with our keys for it and the key it was trusted with.

    One with agents is refused, unless ``force``: their records and secrets go in the same transaction. What was agreed
    to is what goes: refused when it is more by now. Returns where on the host our key is known, when it went here.
    """
    state = State.open()
    keys.tidy(state)
    with state.transaction() as tx:
        record = tx.host(agreed.name)
        now = Removal(agreed.name, tuple(sorted(record.agents)), tuple(_scopes(tx, agreed.name)))
        if now.agents and not force:
            raise in_use(now)
        if now != agreed:
            raise Problem(
                f"Host {agreed.name} was changed by another command meanwhile", "Run the command again", Exit.REFUSED
            )
        server = login_of(state, record).server
        del tx.hosts[agreed.name]
        for scope in now.secrets:
            tx.secrets.remove_scope(scope)
        shared = any(server in ((h.address, h.port), login_of(state, h).server) for h in tx.hosts.values())
    if not shared:
        KnownHosts(state.directory).remove(*server)
    return f"~{record.user}/.ssh/authorized_keys" if keys.remove(state, agreed.name) else None


def in_use(going: Removal) -> Problem:
    """Say that agents are in the way of removing a host."""
    return Problem(
        f"Host {going.name} has agents on record: {', '.join(going.agents)}",
        f"Remove them first: clm agent remove {going.agents[0]}",
        Exit.REFUSED,
    )


def trust_again(name: str, fingerprint: str | None) -> tuple[HostKey, bool]:
    """Trust a host on record with the key that it shows now, in the place of others; tell whether it is a new one."""
    state = State.open()
    login = login_of(state, state.read().host(name))
    known = KnownHosts(state.directory)
    ours, theirs = known.look_up(*login.server), _users_list(login)
    key = offered_key(login)
    if key in ours.revoked or key in theirs.revoked:
        raise _revoked(login, key)
    before = ours.keys
    if before == (key,) and fingerprint in (None, key.fingerprint):
        return key, False
    for old in before:
        click.echo(f"Trusted so far: {old.type} {old.fingerprint}", err=True)
    for other in theirs.keys if key not in theirs.keys else ():
        click.echo(f"Your own known_hosts has: {other.type} {other.fingerprint}", err=True)
    _confirm_key(login, key, fingerprint)
    known.replace(*login.server, key)
    return key, True


@dataclass(frozen=True)
class Checked:
    """What a check of a host found."""

    data: dict[str, Any]
    rows: list[tuple[str, str]]
    problems: list[str]
    remedy: str | None


def check_host(name: str, method: Method) -> Checked:
    """Look at a host as the preflight of an installation by a method does."""
    # The engine's libraries are not needed for this: the requirements and their check are plain functions.
    from pyinfra_hermes.deploys.install import requirements
    from pyinfra_hermes.deploys.model.releases import manifest
    from pyinfra_hermes.operations.preflight import host_problems, remedy

    state = State.open()
    record = state.read().host(name)
    found: HostState = parse(run_script(login_of(state, record), observe_host()).splitlines()).host
    release = manifest().release()
    wanted = requirements(release, method)
    platform = release.platform(found.os, found.os_version, found.arch)
    known = (platform.status(method) if platform else None) or "not possible"
    problems = host_problems(found, wanted, installing=True)
    data = {
        "name": name, "os": found.os, "os_version": found.os_version, "arch": found.arch, "systemd": found.systemd,
        "python": found.python, "memory_mib": found.memory_mib, "free_mib": dict(found.free_mib),
        "tools": dict(found.tools), "release": release.tag, "method": method, "platform_status": known,
        "problems": problems,
    }  # fmt: skip
    rows = [
        ("system", f"{found.os} {found.os_version} {found.arch}, systemd {found.systemd or 'does not run'}"),
        ("release", f"{release.tag} by {method}: {known} on such a host"),
        ("python", found.python or "none"),
        ("memory", f"{found.memory_mib} MiB"),
        ("free", ", ".join(f"{folder} {mib} MiB" for folder, mib in found.free_mib.items())),
        ("tools", " ".join(sorted(found.tools))),
    ]
    return Checked(data, rows, problems, remedy(found, wanted))


def _record(wanted: Wanted) -> Host:
    name = names.host_name(wanted.name)
    if wanted.port is not None:
        names.port(wanted.port)
    if wanted.user is not None:
        names.ssh_user(wanted.user)
    given = name if wanted.address is None else names.address(_bare(wanted.address))
    entry = configured(given)
    return _checked(
        {
            "name": name,
            "address": _address(given, entry.address),
            "port": wanted.port or entry.port,
            "user": names.ssh_user(wanted.user or entry.user),
            "identity_file": wanted.identity_file,
            "tags": tuple(dict.fromkeys(wanted.tags)),
        }
    )


def _bare(address: str) -> str:
    """Return an IPv6 address without the brackets that URLs put around it."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def _address(given: str, leads_to: str) -> str:
    """
    Say what is recorded as the address: where the ssh configuration leads, or the entry's own name.

    The name, when more than the address would be lost without it: a key, a jump host.
    """
    if given == leads_to or configured(given).rest == configured(leads_to).rest:
        return names.address(leads_to)
    try:
        return names.address(given)
    except names.InvalidName:
        raise Problem(
            f"The entry {given!r} of your ssh configuration holds more than an address and a login, so it is recorded "
            "by its name, and this name could not be that of a host",
            "Name the entry with letters, digits, dots and hyphens only",
            Exit.USAGE,
        ) from None


def _as_recorded(known: Host, wanted: Wanted) -> Host:
    """Return how the user reaches a host that is on record already; the record says where it is."""
    for option, said, recorded in (
        ("--address", wanted.address and names.address(_bare(wanted.address)), known.address),
        ("--port", wanted.port, known.port),
    ):
        if said is not None and said != recorded:
            raise Problem(
                f"Host {known.name} is on record with {option} {recorded}",
                f"clm host edit {known.name} {option} {said}",
                Exit.REFUSED,
            )
    user = names.ssh_user(wanted.user or known.user)
    # The key on record belongs to the login on record.
    own = known.identity_file if user == known.user else None
    return _changed(known, user=user, identity_file=wanted.identity_file or own)


def _changed(host: Host, **fields: object) -> Host:
    """Return a host with other values, checked."""
    return _checked({**dict(host), **fields})


def _checked(fields: Mapping[str, object]) -> Host:
    try:
        return Host.model_validate(fields)
    except ValidationError as error:
        what = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        raise Problem(f"Host {fields['name']}: {what.removeprefix('Value error, ')}", None, Exit.USAGE) from None


def _way(host: Host) -> tuple[object, ...]:
    return host.address, host.port, host.user, host.identity_file


def _edited(before: Host, wanted: Edit) -> Host:
    address, port = before.address, wanted.port or before.port
    if wanted.address is not None:
        given = names.address(_bare(wanted.address))
        address = _address(given, configured(given).address)
    names.port(port)
    identity_file = None if wanted.no_identity_file else wanted.identity_file or before.identity_file
    tags = [*before.tags, *(tag for tag in dict.fromkeys(wanted.tags) if tag not in before.tags)]
    return _changed(
        before,
        address=address,
        port=port,
        user=names.ssh_user(wanted.user or before.user),
        identity_file=identity_file,
        tags=tuple(tag for tag in tags if tag not in wanted.untags),
    )


def _refuse_known(hosts: Mapping[str, Host], record: Host) -> None:
    if record.name in hosts:
        raise Problem(f"Host {record.name!r} already exists", f"clm host show {record.name}", Exit.REFUSED)
    for other in hosts.values():
        if (other.address, other.port) == (record.address, record.port):
            raise Problem(
                f"{record.address} port {record.port} is on record already, as host {other.name}",
                f"clm host show {other.name}",
                Exit.REFUSED,
            )


def _users_list(login: Login) -> KnownKeys:
    """Look a host up in the lists that the user's own ssh reads; they are read only."""
    paths = dict.fromkeys((*users_known_hosts(), *configured(login.address).known_hosts))
    return look_up_in(paths, *login.server)


def _agree(state: State, login: Login, fingerprint: str | None) -> HostKey:
    """Return the host's key once somebody we trust vouches for it: our list, the user's, a flag, or the user."""
    key = offered_key(login)
    ours = KnownHosts(state.directory).look_up(*login.server)
    theirs = _users_list(login)
    for known, whose, file in ((ours, "our", state.directory.known_hosts), (theirs, "your own", None)):
        verdict = known.verdict(key)
        if verdict == "revoked":
            raise _revoked(login, key)
        if verdict == "changed" or (verdict == "other-type" and known is ours):
            expected = ", ".join(k.fingerprint for k in known.keys)
            raise Problem(
                f"{login.name}: the key of {login.address} is {key.fingerprint}, {whose} known_hosts says {expected}",
                f"If the host was made anew, remove the old key first: {_forget(login, file)}",
                Exit.UNREACHABLE,
            )
    if fingerprint is None and key in ours.keys:
        return key
    if fingerprint is None and key in theirs.keys:
        say(f"Your known_hosts vouches for {login.address}: {key.fingerprint}", err=True)
        return key
    _confirm_key(login, key, fingerprint)
    return key


def _forget(login: Login, file: Path | None) -> str:
    address, port = login.server
    name = address if port == 22 else f"[{address}]:{port}"
    return shlex.join(["ssh-keygen", "-R", name, *(["-f", str(file)] if file else [])])


def _revoked(login: Login, key: HostKey) -> Problem:
    return Problem(
        f"{login.name}: the key {key.fingerprint} that {login.address} shows is marked as revoked",
        None,
        Exit.UNREACHABLE,
    )


def _carried_over(state: State, old: Login, new: Login) -> HostKey | None:
    """Return the key that a host shows in its new place when it is the one that it is trusted with."""
    key = offered_key(new)
    if key not in KnownHosts(state.directory).look_up(*old.server).keys:
        return None
    if any(key in known.revoked for known in (KnownHosts(state.directory).look_up(*new.server), _users_list(new))):
        raise _revoked(new, key)
    say(f"{new.address} port {new.port} shows the key that {new.name} is trusted with: {key.fingerprint}", err=True)
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
    say(f"{login.address} port {login.port} shows the {key.type} key {key.fingerprint}", err=True)
    asking.confirm("Is this the host's key?", f"--host-key-fingerprint {key.fingerprint}")
    # Between the question and the answer somebody else may have taken the host's place.
    if offered_key(login) != key:
        raise Problem(
            f"{login.name}: the host shows another key than a moment ago. Nothing was trusted.", None, Exit.UNREACHABLE
        )


@contextmanager
def _trusting(login: Login, key: HostKey) -> Iterator[Login]:
    """Give a login that trusts this key and no other, before anything is recorded."""
    with tempfile.TemporaryDirectory(prefix="clm-") as folder:
        known = Path(folder) / "known_hosts"
        known.write_text(with_key("", *login.server, key), encoding="utf-8")
        yield replace(login, known_hosts=known)


@contextmanager
def _not_on_record(login: Login) -> Iterator[None]:
    """Name no command that needs a record in what goes wrong before there is one."""
    try:
        yield
    except Problem as problem:
        if problem.remedy and "clm host " in problem.remedy:
            by_hand = ["ssh", "-v", "-p", str(login.port), "-l", login.user]
            identity = ["-i", login.identity_file] if login.identity_file else []
            problem.remedy = f"Try by hand: {shlex.join([*by_hand, *identity, login.address])}"
        raise


def _become_root(login: Login) -> None:
    if run_script(login, "id -u\n").strip() != "0":
        raise NoRoot(f"{login.name}: {login.user} did not become root there", None, Exit.PREFLIGHT)


def _prove(login: Login, key: HostKey) -> None:
    """Log in and become root, with a list of host keys that holds only this one."""
    with _trusting(login, key) as login:
        _become_root(login)


def _set_up(login: Login, ours: Host, pair: keys.KeyPair, management: str, adopt: bool) -> list[str]:
    """Make the management login with the first of our logins that may; return what changed on the host."""
    begun.something()
    script = keys.script(management, pair, adopt=adopt)
    if not pair.is_new:
        # An earlier run, or a person, may have made it already.
        by_key = replace(login, user=management, identity_file=str(pair.path))
        try:
            return keys.outcome(ours.name, management, run_script(by_key, script, seconds=_SETUP_SECONDS))
        except (LoginRefused, NoRoot):
            pass
    try:
        return keys.outcome(ours.name, management, run_script(login, script, seconds=_SETUP_SECONDS))
    except (LoginRefused, NoRoot) as problem:
        raise ByHand(problem, keys.by_hand(management, pair, adopt=adopt)) from None


def _prove_management(login: Login, management: str) -> None:
    try:
        _become_root(login)
    except LoginRefused as problem:
        raise Problem(
            f"{problem.message}. The login was made; the sshd of {login.name} may allow only some accounts, or look "
            "for keys elsewhere. Nothing was recorded.",
            "On the host, as root: sshd -T | grep -Ei 'allow|deny|authorizedkeys|pubkey'",
            Exit.UNREACHABLE,
        ) from None
    except NoRoot as problem:
        raise Problem(
            f"{problem.message}. The rule was installed; the sudo of {login.name} may not read /etc/sudoers.d, or a "
            "later rule there takes it back. Nothing was recorded.",
            f"On the host, as root: sudo -l -U {management}",
            Exit.PREFLIGHT,
        ) from None


def _record_management(tx: Transaction, known: Host | None, ours: Host, tags: tuple[str, ...]) -> bool:
    if known is None:
        _refuse_known(tx.hosts, ours)
        tx.hosts[ours.name] = ours
        return True
    present = tx.host(ours.name)
    if _way(present) != _way(known):
        raise Problem(
            f"Host {ours.name} was changed by another command meanwhile", f"clm host show {ours.name}", Exit.REFUSED
        )
    wanted = (ours.user, ours.identity_file, (*present.tags, *(tag for tag in tags if tag not in present.tags)))
    if (present.user, present.identity_file, present.tags) == wanted:
        return False
    present.user, present.identity_file, present.tags = wanted
    return True


def _scopes(lookup: Any, host: str) -> list[str]:
    return [scope for scope in lookup.secrets.scopes if scope.startswith(f"{host}:hermes:")]


def _jq(state: State, scope: str) -> str:
    expression = f'.["{scope}"].{API_SERVER_KEY}.value'
    return f"jq -r {shlex.quote(expression)} {shlex.quote(str(state.directory.path / 'secrets.json'))}"
