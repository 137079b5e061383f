"""``clm agent backup``, ``restore`` and ``move``."""

from __future__ import annotations

from pathlib import Path

import click

from ..lazy import examples
from ..output import plain
from . import options

_PASSPHRASE = click.option(
    "--passphrase-file", type=click.Path(), help="File with the passphrase; only you may be able to read it."
)
_KEY_FILE = click.option("--key-file", type=click.Path(), help="File with a key, as clm secret encrypt makes one.")
_SKIP_CHAT = click.option("--skip-chat", is_flag=True, help="Leave the short conversation out of the proof.")


@click.command(
    epilog=examples(
        "clm agent backup maurice",
        "clm agent backup maurice --output /srv/backups",
        "clm agent backup maurice --with-secrets --key-file ~/backup.key",
    )
)
@click.argument("name")
@click.option("-o", "--output", type=click.Path(), help="File to write, or folder to write it in; here when not given.")
@click.option("--with-secrets", is_flag=True, help="Take credentials along, too. The backup is encrypted then.")
@click.option("--stop", is_flag=True, help="Stop the agent while it is backed up, and start it again.")
@_PASSPHRASE
@_KEY_FILE
@options.verbose
def backup(
    name: str,
    output: str | None,
    with_secrets: bool,
    stop: bool,
    passphrase_file: str | None,
    key_file: str | None,
    verbose: bool,
) -> None:
    """
    Back an agent up into one file: memories, conversations, skills, jobs and configuration.

    The agent goes on meanwhile. The file is read back and verified. Conversations and memories may be
    confidential: the file is yours alone, and with a passphrase or key it is encrypted.
    """
    from ..backup.archive_keys import Given
    from ..backup.backups import Wanted, backup

    where = Path(output) if output else None
    made = backup(Wanted(name, where, with_secrets, stop, Given(passphrase_file, key_file), verbose))
    files = sum(entry.kind == "file" for entry in made.manifest.entries)
    for skipped in made.manifest.skipped[:20]:
        click.echo(f"Left out: {plain(skipped.path)}: {plain(skipped.why)}", err=True)
    if len(made.manifest.skipped) > 20:
        click.echo(f"Left out: {len(made.manifest.skipped) - 20} more, in the backup's manifest", err=True)
    sealed = ", encrypted" if made.sealed else ""
    click.echo(
        f"Agent {name} is backed up and verified: {files} files, {_size(made.manifest.size)}, "
        f"in {_size(made.size)}{sealed}."
    )
    click.echo(made.path)


@click.command(
    epilog=examples(
        "clm agent restore maurice --from maurice-20260507T120000Z.tar.gz --stop",
        "clm agent restore maurice --from maurice.sealed --host wolf-ii --install",
    )
)
@click.argument("name")
@click.option("--from", "source", required=True, type=click.Path(), help="The backup.")
@click.option("-H", "--host", help="Host of the agent, when it is not on record or several have one of that name.")
@click.option("--stop", is_flag=True, help="Stop the agent when it runs; else a running one is refused.")
@click.option("--install", is_flag=True, help="Install the agent first where it is not, with the backup's settings.")
@_SKIP_CHAT
@options.wheelhouse
@_PASSPHRASE
@_KEY_FILE
@options.verbose
def restore(
    name: str,
    source: str,
    host: str | None,
    stop: bool,
    install: bool,
    skip_chat: bool,
    wheelhouse: Path | None,
    passphrase_file: str | None,
    key_file: str | None,
    verbose: bool,
) -> None:
    """
    Put a backup in the place of what an agent has, on the same host or another.

    All of it is verified before anything is changed. What the agent had is moved aside, and is put back when
    the agent cannot be started and proven with the backup. Its settings and secrets stay as they are on record.
    """
    from ..backup.archive_keys import Given
    from ..backup.backups import Restoring, restore

    wanted = Restoring(
        name,
        Path(source).expanduser().absolute(),
        host,
        stop,
        install,
        not skip_chat,
        wheelhouse,
        Given(passphrase_file, key_file),
        verbose,
    )
    done = restore(wanted)
    on, agent = done.instance
    click.echo(f"Agent {agent.name} on {on.name} has the backup of {plain(done.manifest.created_at)}.")
    if done.aside:
        click.echo(f"What it had before is kept on {on.name}, in {plain(done.aside)}")
    if done.proven:
        click.echo("It runs and answers.")
    else:
        click.echo(f"Next: clm agent configure {on.name}/{agent.name}")


def _size(number: int) -> str:
    return f"{number / (1 << 20):.1f} MiB" if number >= 1 << 20 else f"{-(-number // 1024)} KiB"


@click.command(
    epilog=examples("clm agent move maurice --to wolf-ii", "clm agent move maurice --to wolf-ii --port 8650")
)
@click.argument("name")
@click.option("--to", required=True, help="Host on record that it moves to.")
@click.option("-p", "--port", type=int, help="Port of its API there; the one it has when that is free, else the next.")
@_SKIP_CHAT
@options.wheelhouse
@options.verbose
def move(name: str, to: str, port: int | None, skip_chat: bool, wheelhouse: Path | None, verbose: bool) -> None:
    """
    Move an agent to another host, with everything that it has.

    It is stopped while its state is copied; the old one is removed once the new one is proven. When anything
    fails, the old one is started again and serves. Can be repeated after an interruption.
    """
    from ..backup.relocation import Moving, move

    moved = move(Moving(name, to, port, not skip_chat, wheelhouse, verbose))
    agent = moved.instance.agent.name
    if moved.left is None:
        click.echo(f"Agent {agent} is on {to} already; nothing to do.")
        return
    click.echo(f"Agent {agent} moved from {moved.left} to {to}: it runs and answers on port {moved.port}.")
    click.echo(f"Its secrets are now under {moved.instance.key}.")
