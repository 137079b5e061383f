"""``clm secret``: keys and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..lazy import Group, examples
from ..output import emit, format_option, pairs, say, table
from . import options

if TYPE_CHECKING:
    from ..encrypting import Choice, Done


_key_options = options.together(
    click.option("--passphrase-stdin", is_flag=True, help="Read the new passphrase from standard input."),
    click.option("--key-file", type=click.Path(), help="Use the key in this file: 32 random bytes in base64."),
    click.option("--generate", is_flag=True, help="Make that key file."),
    click.option("--command", help="Use the passphrase that this command prints, now and later. No shell runs it."),
    click.option(
        "--keyring",
        is_flag=True,
        help="Make a key and keep it in the system's keyring: pip install 'pyinfra-hermes[keyring]'.",
    ),
)


@click.group(cls=Group)
def secret() -> None:
    """
    Keys and tokens: set, rotate, encrypt.

    SCOPE is whose they are: an agent's name (HOST/NAME where several hosts have it), provider:NAME,
    integration:NAME, or an agent as files have it (wolf-i:hermes:maurice).
    """


@secret.command("list", epilog=examples("clm secret list", "clm secret list -o json"))
@click.argument("scope", required=False)
@format_option
def list_(scope: str | None, format_: str) -> None:
    """Show which secrets there are, never their values."""
    from ..secrets import listed

    rows = listed(scope)
    if not emit(rows, format_):
        table(
            ("SCOPE", "KEY", "KEPT", "CHANGED", "WHAT IT IS"),
            [
                (r["scope"], r["key"], r["reference"] or "here", r["updated_at"][:10], r["description"] or "-")
                for r in rows
            ],
            "No secrets.",
            whole=("SCOPE", "KEY"),
        )


@secret.command(
    short_help="Print one secret into a pipe or a file.",
    epilog=examples(
        "clm secret get maurice HERMES_API_SERVER_KEY | wl-copy", "clm secret get provider:cloud API_KEY --show"
    ),
)
@click.argument("scope")
@click.argument("key")
@click.option("--show", is_flag=True, help="Print it even though standard output is a terminal.")
def get(scope: str, key: str, show: bool) -> None:
    """Print one secret into a pipe or a file; to a terminal only with --show."""
    import sys

    from pyinfra_hermes.deploys.redacting import write_secret

    from ..exits import Exit
    from ..problems import Problem
    from ..secrets import get

    if sys.stdout.isatty() and not show:
        raise Problem(
            "Standard output is a terminal: the secret would stay on the screen",
            f"clm secret get {scope} {key} --show, or pass it on: clm secret get {scope} {key} | ...",
            Exit.REFUSED,
        )
    write_secret(get(scope, key).reveal())


@secret.command(
    "set",
    epilog=examples(
        "clm secret set provider:cloud API_KEY",
        "clm secret set maurice DISCORD_BOT_TOKEN --file token.txt",
        "clm secret set provider:cloud API_KEY --reference 'cmd:pass show cloud'",
    ),
)
@click.argument("scope")
@click.argument("key")
@click.option("--stdin", is_flag=True, help="Read the value from standard input.")
@click.option("--file", type=click.Path(), help="Read the value from a file.")
@click.option(
    "--reference",
    help="Keep where the value is instead of the value: env:NAME, file:PATH, cmd:COMMAND, op://VAULT/ITEM/FIELD, "
    "sops:FILE#KEY.PATH. It is looked up at each use.",
)
@click.option("--description", help="What it is for; shown by list.")
@options.yes
def set_(
    scope: str, key: str, stdin: bool, file: str | None, reference: str | None, description: str | None, yes: bool
) -> None:
    """
    Keep a secret under KEY. It is asked for, unless an option says where it comes from; it never is a flag's value.

    What an agent's daemon would read differently is refused. Replacing one asks.
    """
    from ..secrets import Given, put

    changed, owner, warning = put(scope, key, Given(stdin, file, reference), description, yes=yes)
    if warning:
        click.echo(f"Warning: kept, but it cannot be used now: {warning}", err=True)
    if not changed:
        click.echo(f"{key} of {owner.scope} is kept already; nothing to do.")
        return
    click.echo(f"{key} of {owner.scope} is kept.")
    for instance in owner.users:
        if instance.agent.applied is not None:
            click.echo(f"Next: clm agent configure {instance.host.name}/{instance.agent.name}")


@secret.command(epilog=examples("clm secret remove maurice DISCORD_BOT_TOKEN"))
@click.argument("scope")
@click.argument("key")
@click.option("--force", is_flag=True, help="Remove it even though it is used; do not ask.")
@options.yes
def remove(scope: str, key: str, force: bool, yes: bool) -> None:
    """Forget a secret. One that is used is refused."""
    from ..secrets import remove

    click.echo(f"{key} of {remove(scope, key, force=force, yes=yes)} removed.")


@secret.command(short_help="Give an agent a new API key.", epilog=examples("clm secret rotate maurice"))
@click.argument("agent")
@options.verbose
def rotate(agent: str, verbose: bool) -> None:
    """
    Give an agent a new API key: put in force on its host, proven there, and the old one proven dead.

    If anything fails the old key stays in force and on record. The agent is restarted, once it has finished what it
    is doing.
    """
    from ..rotation import rotate
    from ..state.records import API_SERVER_KEY
    from ..state.store import State

    rotated = rotate(agent, verbose=verbose)
    key, name = rotated.instance.key, f"{rotated.instance.host.name}/{rotated.instance.agent.name}"
    if not rotated.on_host:
        say(f"Agent {key} has a new API key on record. It never had one in force: clm agent configure {name}")
        return
    say(f"Agent {key} has a new API key. Its host accepts it, and answers the old one with 401.")
    click.echo("Whoever uses this agent's API needs the new one now:")
    click.echo(f"  clm secret get {name} {API_SERVER_KEY}")
    state = State.open()
    if not state.read().vault.is_encrypted:
        path = state.directory.path / "secrets.json"
        click.echo(f"  jq -r '.[\"{key}\"].{API_SERVER_KEY}.value' {path}")
    click.echo(f'  export OPENAI_API_KEY="$(clm secret get {name} {API_SERVER_KEY})"')


@secret.command(
    "import",
    short_help="Copy an agent's secrets, but its API key, to another.",
    epilog=examples("clm secret import maurice agnes"),
)
@click.argument("source")
@click.argument("target")
@options.yes
def import_(source: str, target: str, yes: bool) -> None:
    """Copy the secrets of agent SOURCE, but not its API key, to agent TARGET. Shows their names and asks."""
    from ..secrets import copy

    done = copy(source, target, yes=yes)
    if not (done.new or done.replaced):
        click.echo(f"{done.target.key} has everything that {done.source.key} has; nothing to do.")
        return
    click.echo(f"Copied to {done.target.key}: {', '.join((*done.new, *done.replaced))}.")
    if done.target.agent.applied is not None:
        click.echo(f"Next: clm agent configure {done.target.host.name}/{done.target.agent.name}")


@secret.command(short_help="Show where secrets are kept, and how.", epilog=examples("clm secret status"))
@format_option
def status(format_: str) -> None:
    """Show where secrets are kept, and how: plain or encrypted, who can read them, on what file system."""
    from ..encrypting import status
    from ..exits import Exit

    data = status()
    if not emit(data, format_):
        pairs(_status_rows(data))
    if data["problem"]:
        click.get_current_context().exit(Exit.FAILED)


def _status_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("file", data["path"])]
    if data["storage"] == "none":
        rows.append(("storage", "there are no secrets yet; they will be kept plain, unless: clm secret encrypt"))
    elif data["storage"] == "plain":
        rows.append(
            ("storage", "plain text: whoever can read the file reads the secrets. To encrypt: clm secret encrypt")
        )
    elif data["storage"] == "encrypted":
        rows += _encryption_rows(data["encryption"])
    else:
        rows.append(("storage", f"DAMAGED: {data['problem']}\nclm state restore secrets.json"))
    if data["there"]:
        others = "" if data["owner"] == "root" else " and root"
        rows.append(("readable", f"by {data['owner']}{others} (mode {data['mode']})"))
    if counted := {kind: count for kind, count in data.get("generations", {}).items() if count}:
        rows.append(("earlier", f"versions: {', '.join(f'{count} {kind}' for kind, count in counted.items())}"))
    if data.get("left_over"):
        rows.append(
            ("left over", f"{', '.join(data['left_over'])} of a command that was stopped; the next command clears it")
        )
    if data.get("strays"):
        rows.append(
            (
                "copies",
                "\n".join(f"{path}: in the open; remove it when you no longer need it" for path in data["strays"]),
            )
        )
    mount = data["network_mount"]
    rows.append(
        ("disk", f"NETWORK: {mount}; the server's administrators, and maybe others, can read it" if mount else "local")
    )
    return rows


def _encryption_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    by = found["parameters"]
    stretched = f", through scrypt (n={by['n']}, r={by['r']}, p={by['p']})" if by else ""
    rows = [("storage", f"encrypted with {found['cipher']}"), ("key", f"{found['key_source']}{stretched}")]
    if not found["up_to_date"]:
        rows.append(("advice", "these parameters are not today's: clm secret rekey --same"))
    return rows


@secret.command(epilog=examples("clm secret encrypt", "clm secret encrypt --key-file /media/stick/clm.key --generate"))
@_key_options
def encrypt(**chosen: Any) -> None:
    """
    Encrypt secrets.json and its earlier versions. A new passphrase is asked for, unless an option says otherwise.

    Commands ask for the passphrase when they need a secret. Without a terminal: CLM_PASSPHRASE_FILE=FILE, or a key
    file (CLM_KEY_FILE=FILE when it is no longer where it was), or the command given here. What is lost cannot be
    replaced: there is no other way in.
    """
    from ..encrypting import encrypt

    done = encrypt(_choice(chosen))
    _tell(done, "is encrypted, and so are its earlier versions")
    if not done.strays and not done.settings:
        click.echo("The plain text is gone from the directory.")
    say("Backups, and blocks that a disk has freed, may still hold it: rotate what was exposed.")


@secret.command(
    short_help="Encrypt with another passphrase or key.",
    epilog=examples("clm secret rekey", "clm secret rekey --command 'pass show clm'"),
)
@_key_options
@click.option("--same", is_flag=True, help="Keep the passphrase or key; take a new salt and today's parameters.")
def rekey(same: bool, **chosen: Any) -> None:
    """Encrypt secrets.json and its earlier versions with another passphrase or key."""
    from ..encrypting import rekey

    _tell(rekey(_choice(chosen), same=same), "is encrypted anew, and so are its earlier versions")


@secret.command(epilog=examples("clm secret decrypt"))
@options.yes
def decrypt(yes: bool) -> None:
    """Write secrets.json in the open again. Its earlier versions stay encrypted, and go with the next changes."""
    from ..encrypting import decrypt

    path, left = decrypt(yes=yes)
    click.echo(f"{path} is plain text now.")
    if left:
        say(f"Earlier versions stay encrypted ({left}), with the passphrase or key that they had.")


def _choice(chosen: dict[str, Any]) -> Choice:
    from ..encrypting import Choice

    return Choice(**chosen)


def _tell(done: Done, what: str) -> None:
    from shlex import quote

    click.echo(f"{done.path} {what}.")
    if done.outcome.left:
        say(f"Warning: {done.outcome.left} earlier versions have another key, and were left as they are.", err=True)
    if done.source.kind == "keyring" and done.source != done.before:
        words = f"{done.source.service} {done.source.entry}"
        say(f"The key is in the system keyring, as {done.source.entry} of {done.source.service}, and nowhere else.")
        click.echo(f"A copy for the day that it is lost: (umask 077; keyring get {words} > FILE)")
    if done.before is not None and done.before.kind == "keyring" and done.source != done.before:
        words = f"{done.before.service} {done.before.entry}"
        say(f"The key before stays in the keyring: backups may need it. To remove it: keyring del {words}")
    for stray in done.strays:
        say(f"Warning: {stray} holds secrets in the open. When you no longer need it: rm {quote(str(stray))}", err=True)
    for path in done.settings:
        say(f"Warning: in {path} the value of a secret stands as an ordinary setting, in the open.", err=True)
