"""``clm agent``: install, configure, run and remove agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..lazy import Entry, LazyGroup, examples
from . import options

if TYPE_CHECKING:
    from pathlib import Path

    from pyinfra_hermes.deploys.model.releases import Method
    from pyinfra_hermes.deploys.model.spec import Hardening

    from ..state.records import Stage

_HARDENING = click.option(
    "--hardening",
    type=click.Choice(["off", "standard", "strict"]),
    help="How tightly the agent's unit is sandboxed; standard when not given.",
)


@click.group(
    cls=LazyGroup,
    table={
        "status": Entry("pyinfra_hermes.cli.commands.status", "status", "Show how an agent is, asked now, in depth."),
        "doctor": Entry("pyinfra_hermes.cli.commands.doctor", "agent_doctor", "Find what is wrong, and what mends it."),
        "channel": Entry(
            "pyinfra_hermes.cli.commands.channel", "channel", "Where an agent can be reached, and by whom."
        ),
        "config": Entry(
            "pyinfra_hermes.cli.commands.extras", "config", "Settings in config.yaml beyond clm's own options."
        ),
        "integration": Entry(
            "pyinfra_hermes.cli.commands.agent_integration", "integration", "What an agent works with."
        ),
        "memory": Entry("pyinfra_hermes.cli.commands.memory", "memory", "What it remembers: show, edit, add, delete."),
        "memory-backend": Entry(
            "pyinfra_hermes.cli.commands.memory_backend", "memory_backend", "Where it keeps memories beside its files."
        ),
        "backup": Entry(
            "pyinfra_hermes.cli.commands.backup", "backup", "Back an agent up into one file, while it goes on."
        ),
        "restore": Entry("pyinfra_hermes.cli.commands.backup", "restore", "Put a backup in the place of what it has."),
        "move": Entry("pyinfra_hermes.cli.commands.backup", "move", "Move an agent to another host."),
        "upgrade": Entry("pyinfra_hermes.cli.commands.rollout", "upgrade", "Give an agent a later release."),
        "rollback": Entry("pyinfra_hermes.cli.commands.rollout", "rollback", "Bring it back to an earlier release."),
        "history": Entry("pyinfra_hermes.cli.commands.rollout", "history", "What was done to it, when and by whom."),
        "diff": Entry("pyinfra_hermes.cli.commands.difference", "diff", "Show what a configure would change."),
        "sessions": Entry("pyinfra_hermes.cli.commands.sessions", "sessions", "Its conversations: list, show, search."),
        "variable": Entry("pyinfra_hermes.cli.commands.extras", "variable", "Variables of an agent's own."),
        "logs": Entry("pyinfra_hermes.cli.commands.talk", "logs", "Show agents' journals, without credentials."),
        "tunnel": Entry(
            "pyinfra_hermes.cli.commands.talk", "tunnel", "Its API on this machine, for any OpenAI client."
        ),
        "env": Entry("pyinfra_hermes.cli.commands.talk", "env", "URL and key for an OpenAI client, as variables."),
        "exec": Entry("pyinfra_hermes.cli.commands.talk", "exec_", "Run a command beside it, in its sandbox."),
        "shell": Entry("pyinfra_hermes.cli.commands.talk", "shell", "Open a shell beside it, in its sandbox."),
        "verify": Entry("pyinfra_hermes.cli.commands.verify", "verify", "Prove what must be true of an agent."),
    },
)
def agent() -> None:
    """
    Install, configure, run and remove agents.

    NAME is an agent's name; where several hosts have one of that name, HOST/NAME.
    """


@agent.command(
    epilog=examples(
        "clm agent install --host wolf-i --name maurice --method wheel",
        "clm agent install --host wolf-i --name agnes --release latest --install-deps",
        "clm agent install --from maurice.yaml",
    )
)
@click.option(
    "--type",
    "type_",
    type=click.Choice(["hermes"]),
    default="hermes",
    show_default=True,
    help="Kind of agent.",
)
@click.option("-H", "--host", help="Host on record.")
@click.option("-n", "--name", help="Name of the agent and of its account.")
@click.option(
    "--from", "source", metavar="FILE", help="Take host, name, port, release, method, hardening from an agent's file."
)
@click.option(
    "-p", "--port", type=int, help="Port of its API, on loopback; the next free one from 8642 when not given."
)
@click.option("--release", help="Release of Hermes; the manifest's default when not given.")
@click.option(
    "--method",
    type=click.Choice(["installer", "wheel"]),
    help="Upstream's own installer, verified, for this agent alone; or locked wheels, shared by the host's agents. "
    "The one on record, $HERMES_METHOD, or installer, when not given.",
)
@_HARDENING
@options.wheelhouse
@click.option(
    "--installer-base",
    metavar="URL",
    envvar="HERMES_INSTALLER_BASE",
    show_envvar=True,
    help="Where upstream's installers lie: a mirror, or a folder here for hosts without internet.",
)
@click.option(
    "--repository",
    metavar="URL",
    envvar="HERMES_REPOSITORY",
    show_envvar=True,
    help="What the installer clones: a mirror, or file:/// with a folder on the host.",
)
@click.option(
    "--install-deps",
    is_flag=True,
    help="Install the Debian packages of programs that the host lacks; whoever holds apt's locks is waited for.",
)
@options.verbose
def install(
    type_: str,
    host: str | None,
    name: str | None,
    source: str | None,
    port: int | None,
    release: str | None,
    method: Method | None,
    hardening: Hardening | None,
    wheelhouse: Path | None,
    installer_base: str | None,
    repository: str | None,
    install_deps: bool,
    verbose: bool,
) -> None:
    """
    Install an agent: account, release, directories, unit, API key. It is neither enabled nor started.

    Everything that the host lacks is reported before anything is made. Safe to repeat: an installer that is under way
    on the host, as it goes on when clm or the connection ends, is waited for.
    """
    for value, option in ((host, "--host"), (name, "--name")):
        if value is None and source is None:
            raise click.MissingParameter(param_hint=f"'{option}'", param_type="option")

    from ..installing import install, installation

    file = None
    if source is not None:
        from ..onboarding.agentfile import AgentFile

        file = AgentFile.read(source)
    given = {
        "host": host, "name": name, "release": release, "method": method, "port": port, "hardening": hardening,
    }  # fmt: skip
    rest = {
        "wheelhouse": wheelhouse, "installers": installer_base, "repository": repository, "packages": install_deps,
        "verbose": verbose,
    }  # fmt: skip
    wanted = installation(file, given, rest)
    changed = install(wanted)
    host, name = wanted.host, wanted.name
    click.echo(
        f"Agent {name} installed on {host}." if changed else f"Agent {name} is installed on {host}; nothing to do."
    )
    click.echo(f"Next: clm agent configure {name}{f' --from {source}' if source not in (None, '-') else ''}")


@agent.command(
    short_help="Give an agent its provider and channels, and prove it.",
    epilog=examples(
        "clm agent configure maurice",
        "clm agent configure maurice --provider local --model qwen3:8b",
        "clm agent configure maurice --from maurice.yaml",
    ),
)
@click.argument("name")
@click.option("--provider", help="Provider on record that the agent thinks with.")
@click.option("--model", help="Model to use instead of the provider's.")
@click.option("--channel", "on", multiple=True, metavar="NAME", help="Turn a channel on. Can be given several times.")
@click.option(
    "--no-channel", "off", multiple=True, metavar="NAME", help="Turn a channel off. Can be given several times."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="CHANNEL.FIELD=VALUE",
    help="A setting of a channel; it turns it on. Can be given several times.",
)
@click.option("--secret-file", multiple=True, metavar="CHANNEL.FIELD=PATH", help="A channel's credential, in a file.")
@click.option("--secret-stdin", metavar="CHANNEL.FIELD", help="A channel's credential, from standard input.")
@click.option(
    "--secret-reference",
    multiple=True,
    metavar="CHANNEL.FIELD=REF",
    help="Keep where a channel's credential is: env:NAME, file:PATH, cmd:COMMAND, op://..., sops:FILE#KEY.",
)
@click.option("--allow-open-access", is_flag=True, help="Let a channel answer everybody, when its settings say so.")
@_HARDENING
@click.option(
    "-s",
    "--stage",
    type=click.Choice(["providers", "identity", "channels", "validate"]),
    help="Only this stage; validate applies.",
)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="Take it all from a file that clm agent export writes; - is standard input.",
)
@click.option("--edit", is_flag=True, help="Ask about everything again, with what is on record as defaults.")
@click.option("--skip-connectivity", is_flag=True, help="Do not ask the provider first whether it takes the key.")
@click.option(
    "--skip-chat", is_flag=True, help="Ask the model nothing: neither that, nor the short conversation of the proof."
)
@options.wheelhouse
@options.verbose
def configure(
    name: str,
    provider: str | None,
    model: str | None,
    on: tuple[str, ...],
    off: tuple[str, ...],
    settings: tuple[str, ...],
    secret_file: tuple[str, ...],
    secret_stdin: str | None,
    secret_reference: tuple[str, ...],
    allow_open_access: bool,
    hardening: Hardening | None,
    stage: Stage | None,
    source: str | None,
    edit: bool,
    skip_connectivity: bool,
    skip_chat: bool,
    wheelhouse: Path | None,
    verbose: bool,
) -> None:
    """
    Give an agent its provider and its channels, write its files, start it, and prove that it answers.

    At a terminal, what is not decided yet is asked: a provider, which is tested from the agent's host, a model, the
    channels. '<' goes back a question; Ctrl-C stops, and the same command carries on. Everything has an option, too;
    with any of them, or without a terminal, nothing is asked that has an answer.

    An agent that is ready is brought to what is on record without a question. Unchanged input changes nothing and
    restarts nothing.

    A section that the file of --from names is meant as a whole: a channel that is not in it is turned off, a setting
    that is not in it has its default. What it does not name stays, and so do secrets.
    """
    from ..onboarding.agentfile import AgentFile
    from ..onboarding.configuring import ChannelOptions, Configuration, configure

    if source is not None and (edit or stage or provider or model or hardening or on or off or settings):
        raise click.UsageError("--from says it all: give no choice beside it, and neither --stage nor --edit")
    channels = ChannelOptions(on, off, settings, secret_file, secret_reference, secret_stdin).choices()
    wanted = Configuration(
        name,
        provider,
        model,
        hardening,
        channels,
        open_access=allow_open_access,
        file=None if source is None else AgentFile.read(source),
        stage=stage,
        edit=edit,
        connectivity=not (skip_connectivity or skip_chat),
        chat=not skip_chat,
        wheelhouse=wheelhouse,
        verbose=verbose,
    )
    changed = configure(wanted)
    if stage == "identity":
        return
    if changed is None and stage is not None:
        click.echo(f"Stage {stage} of agent {name} is done. Apply it with: clm agent configure {name}")
    elif changed is None:
        click.echo(f"Recorded, and not applied. Apply it with: clm agent configure {name}")
    elif changed:
        click.echo(f"Agent {name} is configured, runs and answers.")
        click.echo(f"Next: clm chat {name}")
    else:
        click.echo(f"Agent {name} runs as configured; nothing to do.")


@agent.command(
    short_help="Print an agent as one file, which --from takes.",
    epilog=examples(
        "clm agent export maurice >maurice.yaml", "clm agent export maurice --inline >for-another-machine.yaml"
    ),
)
@click.argument("name")
@click.option("--inline", is_flag=True, help="Write its provider out instead of its name, for another machine.")
def export(name: str, inline: bool) -> None:
    """
    Print an agent as one file, for clm agent configure --from and clm agent install --from.

    No secret is in it: references are written as they are, and 'kept' stands for what is in secrets.json.
    """
    from ..onboarding.exporting import export

    click.echo(export(name, inline=inline), nl=False)


@agent.command(
    short_help="Start an agent, also with its host, and prove it.", epilog=examples("clm agent start maurice")
)
@click.argument("name")
@click.option("--force", is_flag=True, help="Start it even though onboarding is incomplete.")
@options.verbose
def start(name: str, force: bool, verbose: bool) -> None:
    """Start an agent, let it start with its host, and prove that it serves."""
    from ..lifecycle import start

    changed = start(name, force=force, restart=False, verbose=verbose)
    click.echo(f"Agent {name} started." if changed else f"Agent {name} runs; nothing to do.")


@agent.command(epilog=examples("clm agent stop maurice"))
@click.argument("name")
@options.verbose
def stop(name: str, verbose: bool) -> None:
    """Stop an agent and keep it from starting with its host. Everything it has stays."""
    from ..lifecycle import stop

    changed = stop(name, verbose=verbose)
    click.echo(f"Agent {name} stopped." if changed else f"Agent {name} does not run; nothing to do.")


@agent.command(short_help="Restart an agent, and prove that it serves.", epilog=examples("clm agent restart maurice"))
@click.argument("name")
@click.option("--force", is_flag=True, help="Restart it even though onboarding is incomplete.")
@options.verbose
def restart(name: str, force: bool, verbose: bool) -> None:
    """Restart an agent, once it has finished what it is doing, and prove that it serves."""
    from ..lifecycle import start

    start(name, force=force, restart=True, verbose=verbose)
    click.echo(f"Agent {name} restarted.")


@agent.command(
    short_help="Remove an agent with everything that it has.",
    epilog=examples("clm agent remove maurice", "clm agent remove maurice --host wolf-i --yes"),
)
@click.argument("name")
@click.option("-H", "--host", help="Clean this host of NAME, even when nothing is on record.")
@click.option("-y", "--yes", "--force", is_flag=True, help="Do not ask.")
@click.option("--local-only", is_flag=True, help="Only forget it here; for a host that is gone for good.")
@options.verbose
def remove(name: str, host: str | None, yes: bool, local_only: bool, verbose: bool) -> None:
    """
    Remove an agent with everything that it has: service, account, home, record and secrets.

    Can be repeated from any half-removed state.
    """
    from ..removing import remove

    if remove(name, host=host, yes=yes, local_only=local_only, verbose=verbose):
        click.echo(f"Agent {name} removed.")
    else:
        click.echo(f"There was nothing of agent {name} to remove.")
