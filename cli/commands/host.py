"""``clm host``: the hosts that agents live on."""

from __future__ import annotations

import click

from ..output import emit, format_option, pairs, table


@click.group()
def host() -> None:
    """Hosts that agents live on."""


@host.command()
@click.argument("name")
@click.option(
    "--address",
    help="DNS name or IP address; NAME itself, or what your ssh configuration says, when not given.",
)
@click.option("-p", "--port", type=int, help="SSH port.")
@click.option("-u", "--user", help="Login; root, or one with passwordless sudo.")
@click.option(
    "-i",
    "--identity-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Private key; your agent and ssh configuration decide when not given.",
)
@click.option("-t", "--tag", "tags", multiple=True, help="A word to group hosts by; may be repeated.")
@click.option(
    "--host-key-fingerprint",
    metavar="SHA256:...",
    help="Trust the host's key when it has this fingerprint, without asking.",
)
def add(
    name: str,
    address: str | None,
    port: int | None,
    user: str | None,
    identity_file: str | None,
    tags: tuple[str, ...],
    host_key_fingerprint: str | None,
) -> None:
    """
    Take a host on record under NAME, which never changes: its agents' secrets are kept under it.

    The host must let us in and let us become root; nothing is changed on it.
    """
    from ..hosts import Wanted, add_host

    added = add_host(Wanted(name, address, port, user, identity_file, tags, host_key_fingerprint))
    click.echo(f"Host {added.name} added: {added.user}@{added.address} port {added.port}.")
    click.echo(f"Next: clm agent install --type hermes --host {added.name} --name NAME")


@host.command("list")
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


@host.command()
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show one host as it is on record."""
    from ..hosts import login_of, trusted
    from ..state.store import State

    state = State.open()
    record = state.read().host(name)
    keys = [f"{key.type} {key.fingerprint}" for key in trusted(state, record.address, record.port)]
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


@host.command()
@click.argument("name")
def remove(name: str) -> None:
    """Take a host off the record. Nothing is done on it; one with agents is refused."""
    from ..hosts import remove_host

    remove_host(name)
    click.echo(f"Host {name} removed from the record.")


@host.command()
@click.argument("name")
@click.option(
    "--host-key-fingerprint",
    metavar="SHA256:...",
    help="Trust the key with this fingerprint, without asking.",
)
def trust(name: str, host_key_fingerprint: str | None) -> None:
    """Trust the key that a host shows now, in the place of an earlier one."""
    from ..hosts import trust_again

    key = trust_again(name, host_key_fingerprint)
    click.echo(f"Host {name} is trusted with {key.type} {key.fingerprint}.")


@host.command()
@click.argument("name")
@format_option
def check(name: str, format_: str) -> None:
    """Check that agents can live on a host: login, root, system, tools, memory, disk. Changes nothing."""
    from ..exits import Exit
    from ..hosts import check_host
    from ..problems import Problem

    found = check_host(name)
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
