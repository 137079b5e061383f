"""``clm agent tunnel``, ``env``, ``logs``, ``exec`` and ``shell``: an agent used from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..lazy import examples
from ..output import printed_as

if TYPE_CHECKING:
    from ..talking.environment import Shell


@click.command(
    epilog=examples(
        "clm agent tunnel maurice",
        "clm agent tunnel maurice --port 8642",
        "clm agent tunnel maurice --socket ~/maurice.sock",
    )
)
@click.argument("name")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Listen on this port of 127.0.0.1.")
@click.option("--socket", "path", type=click.Path(dir_okay=False), help="Listen on this Unix socket.")
def tunnel(name: str, port: int | None, path: str | None) -> None:
    """
    Open a way to an agent's API on this machine until Ctrl-C, for any OpenAI client.

    Without --port and --socket: on the agent's own port of 127.0.0.1, the same one every time or the next that is
    free, and on a Unix socket that only this user can open. A port can be reached by every user of this machine; the
    agent wants its key all the same.

    When the connection is cut it is made anew; meanwhile the port stays ours, and clients wait for up to 30 seconds.
    Nobody is let through while the agent does not run.
    """
    from contextlib import suppress
    from pathlib import Path

    from ..talking.tunnel import tunnel

    try:
        tunnel(name, port, Path(path).expanduser().absolute() if path else None)
    except KeyboardInterrupt:
        # When it was the terminal that went away, there is nobody to tell.
        with suppress(OSError):
            click.echo("\nTunnel closed.")


@click.command(epilog=examples('eval "$(clm agent env maurice)"', "clm agent env maurice --shell fish | source"))
@click.argument("name")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Port of the tunnel, when it is not the agent's own.")
@click.option(
    "--shell", type=click.Choice(["sh", "fish", "json"]), default="sh", show_default=True, help="How to write it."
)
@click.option("--show", is_flag=True, help="Print it even though standard output is a terminal.")
def env(name: str, port: int | None, shell: Shell, show: bool) -> None:
    """
    Print OPENAI_BASE_URL and OPENAI_API_KEY for an agent's tunnel, for a shell to take over.

    The agent's key is in it: to a terminal it is printed only with --show.
    """
    import sys

    from pyinfra_hermes.deploys.redacting import write_secret

    from ..exits import Exit
    from ..problems import Problem
    from ..talking.environment import variables, written

    found = written(variables(name, port), shell)
    if sys.stdout.isatty() and not show:
        raise Problem(
            "Standard output is a terminal: the agent's key would stay on the screen",
            f'eval "$(clm agent env {name})", or clm agent env {name} --show',
            Exit.REFUSED,
        )
    write_secret(found.reveal())


@click.command(
    epilog=examples(
        "clm agent logs maurice -f",
        'clm agent logs maurice nelly --since "10 min ago" --grep "error|failed"',
        "clm agent logs maurice --file agent -n 200",
        "clm agent logs maurice -o json | jq -r .message",
    )
)
@click.argument("names", nargs=-1, required=True)
@click.option(
    "-n",
    "--lines",
    default=50,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="How many of the last lines, of each agent.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--since", metavar="WHEN", help="Only what is newer: '10 min ago', '2h', 'today', '2026-05-07 12:00'.")
@click.option(
    "--grep", metavar="REGEX", help="Only what matches (PCRE); in lower case alone, it matches capitals as well."
)
@click.option(
    "--file",
    type=click.Choice(["agent", "gateway", "errors"]),
    help="One of Hermes' own logs instead. The journal has warnings and what is printed; these have the rest.",
)
@printed_as("text", "json", help="How to print; json is an object a line.")
def logs(
    names: tuple[str, ...],
    lines: int,
    follow: bool,
    since: str | None,
    grep: str | None,
    file: str | None,
    format_: str,
) -> None:
    """
    Show the journals of agents, as one, with times of this machine's zone.

    Credentials of their .env are blacked out on the host already, and those on record here once more. What is followed
    goes on through a restart of the agent; when the connection is cut it is made anew, and no line comes twice.
    """
    from ..exits import Exit
    from ..problems import Problem
    from ..talking.journal import Wanted, show
    from ..talking.journal import since as moment

    if file is not None and (since is not None or grep is not None):
        raise click.UsageError("--since and --grep are for the journal: --file has the last lines of a file.")
    begins = None
    if since is not None:
        try:
            begins = moment(since)
        except ValueError as error:
            raise Problem(f"--since: {error}", None, Exit.USAGE) from None
    click.get_current_context().exit(show(names, Wanted(lines, follow, begins, grep, file), format_))


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "clm agent exec maurice -- hermes --version",
        "clm agent exec maurice -- sh -c 'ls -la ~/.hermes'",
        "tar -c notes | clm agent exec maurice -- tar -x -C .hermes",
    ),
)
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, command: tuple[str, ...]) -> None:
    """
    Run COMMAND as an agent's user, in its home, beside its daemon.

    It has the daemon's environment, limits and sandbox: what works here works for the agent. Its .env is not in the
    environment; hermes reads it itself. Arguments arrive as they are given, and can be seen in the list of processes.

    Standard input, output and error are passed through as they are, but at a terminal without what could steer it. The
    exit status is the command's, 128 and the number for a signal; 125 when there is no such agent on the host, 4 when
    the host is out of reach. The command ends when clm does, and with the connection.
    """
    from ..talking.executing import execute

    # Click leaves the first -- behind NAME where it is.
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.MissingParameter(param_hint="'COMMAND'", param_type="argument")
    click.get_current_context().exit(execute(name, words))


@click.command(short_help="A shell as an agent's user.", epilog=examples("clm agent shell maurice"))
@click.argument("name")
def shell(name: str) -> None:
    """
    Give a shell as an agent's user, in its home and in the sandbox of its daemon; see clm agent exec.

    It is a terminal of the host: what programs there print can steer yours.
    """
    from ..talking.executing import shell

    click.get_current_context().exit(shell(name))
