"""The command ``clm``. Imports Click and nothing else of weight: a command brings what it needs itself."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from pyinfra_hermes.deploys import redacting
from pyinfra_hermes.deploys.model import manifests

from . import begun
from .exits import Exit
from .lazy import Entry, LazyGroup
from .output import folded, plain
from .problems import Problem, translate

_COMMANDS = "pyinfra_hermes.cli.commands"

_EPILOG = """\b
First steps:
  clm host add wolf-i --address 192.0.2.10 --user root
  clm provider add local -t ollama --url http://gpu:11434 --model qwen3:8b
  clm agent install --type hermes --host wolf-i --name maurice
  clm agent configure maurice --provider local
  clm chat maurice
"""


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"clm {version('pyinfra-hermes')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    table={
        "host": Entry(f"{_COMMANDS}.host", "host", "Hosts that agents live on."),
        "provider": Entry(f"{_COMMANDS}.provider", "provider", "Inference providers that agents think with."),
        "secret": Entry(f"{_COMMANDS}.secret", "secret", "Keys and tokens: set, rotate, encrypt."),
        "integration": Entry(f"{_COMMANDS}.integration", "integration", "Integrations that agents work with."),
        "agent": Entry(f"{_COMMANDS}.agent", "agent", "Install, configure, run and remove agents."),
        "chat": Entry(f"{_COMMANDS}.chat", "chat", "Talk to an agent."),
        "upgrade": Entry(f"{_COMMANDS}.rollout", "upgrade_many", "Give many agents a later release."),
        "ps": Entry(f"{_COMMANDS}.ps", "ps", "Show all agents and how they are."),
        "metrics": Entry(f"{_COMMANDS}.metrics", "metrics", "Print how all agents are for Prometheus."),
        "doctor": Entry(f"{_COMMANDS}.doctor", "doctor", "Check this machine, hosts and agents; say what mends it."),
        "state": Entry(f"{_COMMANDS}.state", "state", "Check what is kept on this machine, and restore it."),
        "completion": Entry(f"{_COMMANDS}.completion", "completion", "Let your shell complete commands and names."),
        "release": Entry(f"{_COMMANDS}.release", "release", "Releases of Hermes: list, pin, verify."),
        "import": Entry(f"{_COMMANDS}.import_", "import_", "Take over what another program knows of the fleet."),
    },
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Install, configure, supervise, check, talk to and remove Hermes agents on your hosts, over SSH."""
    if ctx.invoked_subcommand is None:
        from .orienting import orientation

        click.echo(plain(orientation()))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``clm`` and exit with a code of :class:`Exit`."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run ``clm`` and return its exit code."""
    redacting.install()
    _print_anything()
    begun.nothing()
    manifests.overlay_from(_overlay)
    if "_CLM_COMPLETE" in os.environ:
        from . import completing

        completing.install()
    try:
        arguments = None if argv is None else list(argv)
        result = cli.main(args=arguments, prog_name="clm", standalone_mode=False, color=_color())
        return int(result) if isinstance(result, int) else Exit.DONE
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(folded(told.getvalue(), "  ", stream=sys.stderr), nl=False, err=True)
        return Exit.USAGE if isinstance(error, click.UsageError) else Exit.FAILED
    except (click.Abort, KeyboardInterrupt) as stopped:
        # Click raises the first at a question. Elsewhere something may be under way that is not known here.
        untouched = isinstance(stopped, click.Abort) and not begun.anything()
        held = "Nothing was changed." if untouched else "Nothing is lost: the same command carries on."
        click.echo(f"\nInterrupted. {held}", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away: `clm ps | head -1`.
        sys.stderr.close()
        return Exit.DONE
    except Exception as error:
        problem = translate(error)
        if problem is None:
            raise
        show(problem)
        return problem.exit


def _print_anything() -> None:
    """
    Let a terminal that has not all characters show others for them, instead of ending the command.

    Only a terminal: what goes into a file may be put back on a host from there.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict" and stream.isatty():
            stream.reconfigure(errors="replace")


def _overlay() -> manifests.Text | None:
    from .releases.overlay_file import read  # late: no other command needs it

    return read()


def _color() -> bool | None:
    # https://no-color.org; click itself asks no more than whether there is a terminal.
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def show(problem: Problem) -> None:
    """Print a problem to standard error: what happened, which may quote a host, and what mends it."""
    said = folded(f"Error: {plain(problem.message)}", "  ", stream=sys.stderr).removeprefix("Error:")
    click.echo(f"{click.style('Error:', fg='red')}{said}", err=True, color=_color())
    if problem.remedy:
        click.echo(folded(f"  {plain(problem.remedy)}", "    ", stream=sys.stderr), err=True)


if __name__ == "__main__":
    main()
