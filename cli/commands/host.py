"""``clm host``: the hosts that agents live on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..lazy import Group, examples
from ..output import emit, format_option, pairs, say, table
from . import options

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.model.releases import Method

    from ..hosts import Wanted

_FINGERPRINT = click.option(
    "--host-key-fingerprint",
    metavar="SHA256:...",
    help="Trust the host's key when it has this fingerprint, without asking.",
)
_KEY_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True)


def _of_a_new_host(user: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """
    Give a command the name of a new host and the options of how it is reached, and call it with what is ``wanted``.

    + user: help of ``--user``
    """
    given = options.together(
        click.argument("name"),
        click.option(
            "--address",
            help="DNS name, IP address, or entry of your ssh configuration; NAME itself when not given.",
        ),
        click.option("-p", "--port", type=int, help="SSH port; your ssh configuration's when not given, usually 22."),
        click.option("-u", "--user", help=user),
        click.option(
            "-i",
            "--identity-file",
            type=_KEY_FILE,
            help="Private key; your agent and ssh configuration decide when not given.",
        ),
        click.option(
            "-t", "--tag", "tags", multiple=True, help="A word to group hosts by. Can be given several times."
        ),
        _FINGERPRINT,
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @given
        @wraps(command)
        def called(
            *,
            name: str,
            address: str | None,
            port: int | None,
            user: str | None,
            identity_file: str | None,
            tags: tuple[str, ...],
            host_key_fingerprint: str | None,
            **rest: Any,
        ) -> None:
            from ..hosts import Wanted

            wanted = Wanted(name, address, port, user, identity_file, tags, host_key_fingerprint)
            command(wanted=wanted, **rest)

        return called

    return decorate


@click.group(cls=Group)
def host() -> None:
    """Hosts that agents live on."""


@host.command(
    short_help="Take a host on record under NAME.",
    epilog=examples(
        "clm host add wolf-i --address 192.0.2.10 --user admin",
        "clm host add wolf-ii --address wolf.example.org -p 2222 -i ~/.ssh/wolf",
    ),
)
@_of_a_new_host("Login; root, or one with passwordless sudo. Your ssh configuration's or your own when not given.")
def add(wanted: Wanted) -> None:
    """
    Take a host on record under NAME, which never changes: its agents' secrets are kept under it.

    The host must let us in and let us become root; nothing is changed on it. Your own means are used: a key (-i), the
    keys of your ssh agent, what your ssh configuration says. An entry there that brings a key or a jump host is
    recorded by its name, and read at every connection. For a login and a key of clm's own: clm host init
    """
    from ..hosts import add_host

    added = add_host(wanted)
    click.echo(f"Host {added.name} added: {added.user}@{added.address} port {added.port}.")
    click.echo(f"Next: clm agent install --type hermes --host {added.name} --name NAME")


@host.command(
    short_help="Make a login for clm on a host, with its own key.",
    epilog=examples(
        "clm host init wolf-i --address 192.0.2.10 --user you",
        "clm host init wolf-i --yes --user you > lines-to-paste.sh",
    ),
)
@_of_a_new_host("Login that exists already: root, or one with passwordless sudo.")
@click.option(
    "--management-user",
    default="clm",
    show_default=True,
    metavar="USER",
    help="The account to make.",
)
@click.option("--adopt", is_flag=True, help="Use that account also when clm did not make it.")
@click.option("-y", "--yes", is_flag=True, help="Make it without asking.")
def init(wanted: Wanted, management_user: str, adopt: bool, yes: bool) -> None:
    """
    Make a login for clm on a host, with a key of its own, and take the host on record with it.

    Your own login opens the door once. On the host: an account without a password, our public key beside those that are
    there, and passwordless sudo for all commands. A shorter list of commands would be make-believe: what clm runs there
    is "sudo sh", with the script on standard input, and whoever may do that may do everything. The private key stays in
    the state directory.

    Safe to repeat: what is there stays, and a second control machine adds its own key. Where your login does not get in
    or may not become root, the lines to paste on the host as root are printed to standard output, and the same command
    carries on afterwards.
    """
    from ..hosts import ByHand, init_host

    name = wanted.name
    try:
        done = init_host(wanted, management_user, adopt=adopt, yes=yes)
    except ByHand as problem:
        click.echo(problem.lines)
        raise
    made = {"account": f"account {management_user} made", "key": "our key added", "sudo": "passwordless sudo given"}
    said = [made[change] for change in done.changed]
    if said:
        click.echo(f"On {name}: {', '.join(said)}.")
    if done.recorded:
        click.echo(f"Host {name} is on record: {done.host.user}@{done.host.address} port {done.host.port}.")
    elif not said:
        click.echo(f"Host {name} has its login {done.host.user} with our key; nothing to do.")
    click.echo(f"Next: clm agent install --type hermes --host {name} --name NAME")


@host.command("list", epilog=examples("clm host list", "clm host list -o json | jq -r '.[].name'"))
@format_option
def list_(format_: str) -> None:
    """Show all hosts."""
    from ..state.store import State

    hosts = State.open().read().hosts.values()
    rows = [
        {
            "name": h.name, "address": h.address, "port": h.port, "user": h.user, "tags": list(h.tags),
            "agents": sorted(h.agents),
        }
        for h in hosts
    ]  # fmt: skip
    if not emit(rows, format_):
        table(
            ("NAME", "ADDRESS", "PORT", "USER", "TAGS", "AGENTS"),
            [
                (
                    h.name,
                    h.address,
                    str(h.port),
                    h.user,
                    ", ".join(h.tags),
                    ", ".join(sorted(h.agents)) or "-",
                )
                for h in hosts
            ],
            "No hosts. Add one with: clm host add NAME --address ADDRESS",
        )


@host.command(epilog=examples("clm host show wolf-i"))
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show one host as it is on record."""
    from ..hosts import trusted
    from ..ssh.openssh import login_of
    from ..state.store import State

    state = State.open()
    record = state.read().host(name)
    keys = [f"{key.type} {key.fingerprint}" for key in trusted(state, login_of(state, record))]
    data = {
        "name": record.name,
        "address": record.address,
        "port": record.port,
        "user": record.user,
        "identity_file": record.identity_file,
        "tags": list(record.tags),
        "added_at": record.added_at.isoformat(),
        "host_keys": keys,
        "agents": sorted(record.agents),
    }
    if not emit(data, format_):
        shown = {k: ", ".join(v) if isinstance(v, list) else str(v if v is not None else "-") for k, v in data.items()}
        pairs(
            [
                *((k.replace("_", " "), v or "-") for k, v in shown.items()),
                ("by hand", _by_hand(login_of(state, record).command())),
            ]
        )


@host.command(
    epilog=examples("clm host edit wolf-i --address 192.0.2.11", "clm host edit wolf-i --tag rack-2 --untag home")
)
@click.argument("name")
@click.option("--address", help="DNS name, IP address, or entry of your ssh configuration.")
@click.option("-p", "--port", type=int, help="SSH port.")
@click.option("-u", "--user", help="Login; root, or one with passwordless sudo.")
@click.option("-i", "--identity-file", type=_KEY_FILE, help="Private key.")
@click.option("--no-identity-file", is_flag=True, help="Leave the key to your agent and ssh configuration.")
@click.option("-t", "--tag", "tags", multiple=True, help="A word to group the host by. Can be given several times.")
@click.option("--untag", "untags", multiple=True, help="A word to take away. Can be given several times.")
@_FINGERPRINT
def edit(
    name: str,
    address: str | None,
    port: int | None,
    user: str | None,
    identity_file: str | None,
    no_identity_file: bool,
    tags: tuple[str, ...],
    untags: tuple[str, ...],
    host_key_fingerprint: str | None,
) -> None:
    """
    Change how a host is reached, or its tags. Agents and secrets are kept under NAME and stay as they are.

    A new way to it is recorded once its key is trusted and the login has become root there. A host that shows the same
    key in its new place is trusted there as well. For another name: clm host rename
    """
    from ..hosts import Edit, edit_host

    if identity_file and no_identity_file:
        raise click.UsageError("--identity-file and --no-identity-file exclude each other.")
    if not (address or port is not None or user or identity_file or no_identity_file or tags or untags):
        raise click.UsageError("Say what to change, for example with --address.")
    wanted = Edit(address, port, user, identity_file, no_identity_file, tags, untags, host_key_fingerprint)
    after, changed = edit_host(name, wanted)
    if changed:
        click.echo(f"Host {name} changed: {after.user}@{after.address} port {after.port}.")
    else:
        click.echo(f"Host {name} is like that already; nothing to do.")


@host.command(short_help="Give a host another name.", epilog=examples("clm host rename wolf-i attic"))
@click.argument("old")
@click.argument("new")
def rename(old: str, new: str) -> None:
    """
    Give a host another name: its record, agents, secrets and our keys for it, all or nothing.

    Nothing is done on the host. Scripts that read a secret under the old name have to be changed.
    """
    from ..hosts import rename_host

    lines = rename_host(old, new)
    click.echo(f"Host {old} is now {new}.")
    if lines:
        click.echo("In your scripts:")
        for line in lines:
            click.echo(f"  {line}")


@host.command(epilog=examples("clm host remove wolf-i", "clm host remove wolf-i --force --yes"))
@click.argument("name")
@click.option("--force", is_flag=True, help="Also when it has agents: their records and secrets are forgotten.")
@click.option("-y", "--yes", is_flag=True, help="Without asking.")
def remove(name: str, force: bool, yes: bool) -> None:
    """
    Forget a host, with our keys for it. Nothing is done on it.

    One with agents is refused; --force forgets them too, and leaves them running on the host.
    """
    from .. import asking
    from ..hosts import in_use, removal, remove_host

    going = removal(name)
    if going.agents and not force:
        raise in_use(going)
    if going.agents:
        click.echo(f"Agents that stay on {name}, and are forgotten here: {', '.join(going.agents)}", err=True)
    if going.secrets:
        click.echo(f"Secrets that are forgotten: {', '.join(going.secrets)}", err=True)
    if not yes:
        asking.confirm(f"Forget host {name}?", "--yes")
    gone = remove_host(going, force=force)
    click.echo(f"Host {name} removed from the record.")
    if gone is not None:
        say(f"Our key for it is deleted. To close the door there too, take its line out of {gone}")


@host.command(short_help="Trust the key that a host shows now.", epilog=examples("clm host trust wolf-i"))
@click.argument("name")
@_FINGERPRINT
def trust(name: str, host_key_fingerprint: str | None) -> None:
    """Trust the key that a host shows now, in the place of an earlier one."""
    from ..hosts import trust_again

    key, changed = trust_again(name, host_key_fingerprint)
    how = "is trusted with" if changed else "is trusted already with"
    say(f"Host {name} {how} {key.type} {key.fingerprint}.")


@host.command(
    short_help="Check that agents can live on a host.",
    epilog=examples("clm host check wolf-i", "clm host check wolf-i --method installer -o json"),
)
@click.argument("name")
@click.option(
    "--method",
    type=click.Choice(["installer", "wheel"]),
    default="wheel",
    show_default=True,
    help="How agents are to be installed there; an installer asks for more.",
)
@format_option
def check(name: str, method: Method, format_: str) -> None:
    """Check that agents can live on a host: login, root, system, tools, memory, disk. Changes nothing."""
    from ..exits import Exit
    from ..hosts import check_host
    from ..problems import Problem

    found = check_host(name, method)
    if not emit(found.data, format_):
        pairs(found.rows)
    if found.problems:
        *problems, remedy = [*found.problems, None] if found.remedy is None else [*found.problems, found.remedy]
        raise Problem(f"{name} is not ready:\n" + "\n".join(f"- {p}" for p in problems), remedy, Exit.PREFLIGHT)
    if format_ == "table":
        click.echo(f"{name} is ready.")


def _by_hand(command: list[str]) -> str:
    import shlex

    return shlex.join([part for part in command if part != "--"])
