"""``clm agent``: install, configure, run and remove agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..output import emit, format_option, pairs, plain

if TYPE_CHECKING:
    from pyinfra_hermes.deploys.model.spec import Hardening

_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Show the steps that had nothing to do, too.")
_HARDENING = click.option(
    "--hardening",
    type=click.Choice(["off", "standard", "strict"]),
    help="How tightly the agent's unit is sandboxed; standard when not given.",
)
_WHEELHOUSE = click.option(
    "--wheelhouse",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Folder of wheels to install from, instead of the package index.",
)


@click.group()
def agent() -> None:
    """
    Install, configure, run and remove agents.

    NAME is an agent's name; where several hosts have one of that name, HOST/NAME.
    """


@agent.command()
@click.option(
    "--type",
    "type_",
    type=click.Choice(["hermes"]),
    default="hermes",
    show_default=True,
    help="Kind of agent.",
)
@click.option("-H", "--host", required=True, help="Host on record.")
@click.option("-n", "--name", required=True, help="Name of the agent and of its account.")
@click.option(
    "-p", "--port", type=int, help="Port of its API, on loopback; the next free one from 8642 when not given."
)
@click.option("--release", help="Release of Hermes; the manifest's default when not given.")
@_HARDENING
@_WHEELHOUSE
@_VERBOSE
def install(
    type_: str,
    host: str,
    name: str,
    port: int | None,
    release: str | None,
    hardening: Hardening | None,
    wheelhouse: str | None,
    verbose: bool,
) -> None:
    """
    Install an agent: account, release, directories, unit, API key. It is neither enabled nor started.

    Everything that the host lacks is reported before anything is made. Safe to repeat.
    """
    from pathlib import Path

    from ..agents import Installation, install

    wanted = Installation(host, name, release, port, hardening, Path(wheelhouse) if wheelhouse else None, verbose)
    changed = install(wanted)
    click.echo(
        f"Agent {name} installed on {host}." if changed else f"Agent {name} is installed on {host}; nothing to do."
    )
    click.echo(f"Next: clm agent configure {name}")


@agent.command()
@click.argument("name")
@click.option("--provider", help="Provider on record that the agent thinks with.")
@click.option("--model", help="Model to use instead of the provider's.")
@_HARDENING
@click.option(
    "-s",
    "--stage",
    type=click.Choice(["providers", "identity", "channels", "validate"]),
    help="Only this stage; validate applies.",
)
@click.option("--skip-chat", is_flag=True, help="Leave the short conversation out of the proof.")
@_WHEELHOUSE
@_VERBOSE
def configure(
    name: str,
    provider: str | None,
    model: str | None,
    hardening: Hardening | None,
    stage: str | None,
    skip_chat: bool,
    wheelhouse: str | None,
    verbose: bool,
) -> None:
    """
    Give an agent its provider, write its files, start it, and prove that it answers.

    Unchanged input changes nothing and restarts nothing.
    """
    from pathlib import Path

    from ..agents import Configuration, configure

    folder = Path(wheelhouse) if wheelhouse else None
    wanted = Configuration(name, provider, model, hardening, stage, not skip_chat, folder, verbose)
    changed = configure(wanted)
    if stage is not None and stage != "validate":
        click.echo(f"Stage {stage} of agent {name} is done. Apply it with: clm agent configure {name}")
    elif changed:
        click.echo(f"Agent {name} is configured, runs and answers.")
        click.echo(f"Next: clm chat {name}")
    else:
        click.echo(f"Agent {name} runs as configured; nothing to do.")


@agent.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Start it even though onboarding is incomplete.")
@_VERBOSE
def start(name: str, force: bool, verbose: bool) -> None:
    """Start an agent, let it start with its host, and prove that it serves."""
    from ..agents import start

    changed = start(name, force=force, restart=False, verbose=verbose)
    click.echo(f"Agent {name} started." if changed else f"Agent {name} runs; nothing to do.")


@agent.command()
@click.argument("name")
@_VERBOSE
def stop(name: str, verbose: bool) -> None:
    """Stop an agent and keep it from starting with its host. Everything it has stays."""
    from ..agents import stop

    changed = stop(name, verbose=verbose)
    click.echo(f"Agent {name} stopped." if changed else f"Agent {name} does not run; nothing to do.")


@agent.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Restart it even though onboarding is incomplete.")
@_VERBOSE
def restart(name: str, force: bool, verbose: bool) -> None:
    """Restart an agent, once it has finished what it is doing, and prove that it serves."""
    from ..agents import start

    start(name, force=force, restart=True, verbose=verbose)
    click.echo(f"Agent {name} restarted.")


@agent.command()
@click.argument("name")
@click.option("-H", "--host", help="Clean this host of NAME, even when nothing is on record.")
@click.option("-y", "--yes", "--force", is_flag=True, help="Do not ask.")
@click.option("--local-only", is_flag=True, help="Only forget it here; for a host that is gone for good.")
@_VERBOSE
def remove(name: str, host: str | None, yes: bool, local_only: bool, verbose: bool) -> None:
    """
    Remove an agent with everything that it has: service, account, home, record and secrets.

    Can be repeated from any half-removed state.
    """
    from ..agents import remove

    if remove(name, host=host, yes=yes, local_only=local_only, verbose=verbose):
        click.echo(f"Agent {name} removed.")
    else:
        click.echo(f"There was nothing of agent {name} to remove.")


@agent.command()
@click.argument("name")
@format_option
def status(name: str, format_: str) -> None:
    """Show how an agent is, asked now. Exit 7 when it should serve and does not."""
    from contextlib import suppress

    from ..exits import Exit
    from ..fleet import reports
    from ..state.errors import KeyUnavailable, WrongKey
    from ..state.store import State

    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(name)
    with suppress(KeyUnavailable, WrongKey):
        # Whoever looks at one agent may be asked for the passphrase; the report says what cannot be known without.
        snapshot.vault.open()
    [report] = [r for r in reports(state, snapshot, [instance.host]) if r.instance.agent.name == instance.agent.name]
    if not emit(report.data(), format_):
        seen, unit = report.seen, report.seen.unit if report.seen else None
        channels = ", ".join(f"{k} {v}" for k, v in seen.channels.items()) if seen else ""
        memory = f"{unit.memory_bytes // 2**20} MiB" if unit and unit.memory_bytes else "not known"
        rows = [
            ("agent", instance.key),
            ("state", f"{report.state}{f': {plain(report.why)}' if report.why else ''}"),
            ("onboarding", instance.agent.onboarding_state),
            (
                "provider",
                f"{instance.agent.provider or '-'}{f', model {instance.agent.model}' if instance.agent.model else ''}",
            ),
            ("release", instance.agent.release),
            ("address", f"http://127.0.0.1:{instance.agent.port}/v1, on {instance.host.name} only"),
            ("channels", channels or "-"),
            (
                "unit",
                f"{unit.active} ({unit.sub}), {'enabled' if unit.enabled else 'disabled'}, {unit.restarts} restarts"
                if unit
                else "-",
            ),
            ("since", unit.since if unit and unit.since else "-"),
            ("memory", memory),
            ("hardening", instance.agent.hardening),
            (
                "linger",
                "ENABLED: its own user manager runs outside the sandbox" if seen and seen.linger else "no",
            ),
            (
                "drift",
                f"not known: {report.drift_unknown}" if report.drift_unknown else ", ".join(report.drift) or "none",
            ),
        ]
        pairs(rows)
        if report.drift:
            click.echo(f"\nBring it back: clm agent configure {instance.agent.name}")
    exits = {
        "running": Exit.DONE,
        "stopped": Exit.DONE,
        "not onboarded": Exit.DONE,
        "unreachable": Exit.UNREACHABLE,
    }
    click.get_current_context().exit(exits.get(report.state, Exit.UNHEALTHY))


@agent.command()
@click.argument("name")
@click.option(
    "-n",
    "--lines",
    default=50,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="How many of the last lines.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--since", help="Only what is newer, as journalctl takes it: '10 min ago', '2026-05-07 12:00'.")
def logs(name: str, lines: int, follow: bool, since: str | None) -> None:
    """Show an agent's journal. Credentials in its .env are blacked out on the host already."""
    from ..logs import show

    click.get_current_context().exit(show(name, lines=lines, follow=follow, since=since))
