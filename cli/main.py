"""The command ``clm``. Imports Click and nothing else of weight: a command brings what it needs itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from .exits import Exit
from .lazy import Entry, LazyGroup
from .problems import Problem, translate

_COMMANDS = "pyinfra_hermes.cli.commands"

_EPILOG = """\b
First steps:
  clm host add wolf-i --address 192.0.2.10 --user root
  clm provider add local --type ollama --url http://192.0.2.20:11434 --model llama3.1:8b
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
        "agent": Entry(f"{_COMMANDS}.agent", "agent", "Install, configure, run and remove agents."),
        "chat": Entry(f"{_COMMANDS}.chat", "chat", "Talk to an agent."),
        "ps": Entry(f"{_COMMANDS}.ps", "ps", "Show all agents and how they are."),
    },
    epilog=_EPILOG,
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
def cli() -> None:
    """Install, configure, supervise, check, talk to and remove Hermes agents on your hosts, over SSH."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``clm`` and exit with a code of :class:`Exit`."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run ``clm`` and return its exit code."""
    try:
        result = cli.main(args=None if argv is None else list(argv), prog_name="clm", standalone_mode=False)
        return int(result) if isinstance(result, int) else Exit.DONE
    except click.ClickException as error:
        error.show()
        return Exit.USAGE if isinstance(error, click.UsageError) else Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted. Nothing is lost: the same command carries on.", err=True)
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


def show(problem: Problem) -> None:
    """Print a problem to standard error: what happened, and what mends it."""
    click.echo(f"{click.style('Error:', fg='red')} {problem.message}", err=True)
    if problem.remedy:
        click.echo(f"  {problem.remedy}", err=True)


if __name__ == "__main__":
    main()
