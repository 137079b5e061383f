"""``clm metrics``: the fleet for Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..lazy import Group, examples
from ..output import emit, printed_as
from ..problems import Problem
from . import options

if TYPE_CHECKING:
    from ..choosing import Choice


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog=examples(
        "clm metrics",
        "clm metrics --host wolf-i -o json",
        "clm metrics --textfile /var/lib/node_exporter/textfile_collector/hermes.prom",
    ),
)
@options.choice(of_agents=False)
@printed_as("prometheus", "json", "yaml")
@click.option(
    "--textfile", type=click.Path(dir_okay=False), metavar="FILE",
    help="Write to FILE instead, in one step, for node_exporter's textfile collector; its name must end in .prom.",
)  # fmt: skip
@click.pass_context
def metrics(ctx: click.Context, choice: Choice, format_: str, textfile: str | None) -> None:
    """
    Print how all hosts and agents are as metrics, each host asked now, once, all at once.

    A host that does not answer is hermes_host_up 0, and what cannot be known of its agents is left out. Exit 0 then as
    well: that is what the metrics say.
    """
    if ctx.invoked_subcommand is not None:
        return

    import time

    from ..exits import Exit
    from ..metrics import data, exposition, metrics
    from ..state.store import State
    from ..surveying import survey

    if textfile is not None and (format_ != "prometheus" or not textfile.endswith(".prom")):
        raise Problem("--textfile takes the format prometheus and a name that ends in .prom", None, Exit.USAGE)
    state = State.open()
    snapshot = state.read()
    began = time.monotonic()
    fleet = survey(state, snapshot, choice.instances(snapshot))
    found = metrics(fleet, time.monotonic() - began, snapshot.providers)
    if textfile is not None:
        _write(Path(textfile), exposition(found))
    elif not emit(data(found), "table" if format_ == "prometheus" else format_):
        click.echo(exposition(found), nl=False)


@metrics.command(
    name="install-timer",
    short_help="Have a host write its own metrics every minute.",
    epilog=examples(
        "clm metrics install-timer wolf-i",
        "clm metrics install-timer wolf-i --directory /var/lib/prometheus",
    ),
)
@click.argument("host")
@click.option(
    "--directory", metavar="PATH",
    help="Where the host's node_exporter looks; /var/lib/node_exporter/textfile_collector when not given.",
)  # fmt: skip
def install_timer(host: str, directory: str | None) -> None:
    """
    Have a host write metrics of its agents every minute, for its node_exporter's textfile collector.

    A script and a timer, both root's; they go with the last agent of the host.
    """
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.operations.metrics import is_directory

    options = {} if directory is None else {"directory": directory}

    if directory is not None and not is_directory(directory):
        raise click.BadParameter("give an absolute path of letters, digits and . _ -", param_hint="'--directory'")
    changed = _timer(host, **options)
    click.echo(f"{host} writes metrics every minute." if changed else f"{host} writes metrics; nothing to do.")


@metrics.command(
    name="remove-timer",
    short_help="Have a host write no metrics any more.",
    epilog=examples("clm metrics remove-timer wolf-i"),
)
@click.argument("host")
def remove_timer(host: str) -> None:
    """Have a host write no metrics any more, and take away what wrote them and what was written."""
    changed = _timer(host, present=False)
    click.echo(f"{host} writes no metrics any more." if changed else f"{host} writes no metrics; nothing to do.")


def _timer(name: str, **options: Any) -> bool:
    from .. import engine  # noqa: F401 - patches gevent, before anything opens a socket

    # isort: split
    from pyinfra_hermes.deploys.metrics import metrics as deploy

    from ..acting import run
    from ..progress import Progress
    from ..state.store import State

    state = State.open()
    host = state.read().host(name)
    with Progress.shown(f"{host.name}  connecting") as progress:
        return run(state, host, [lambda **kw: deploy(**options, **kw)], progress)


def _write(path: Path, text: str) -> None:
    """Put text into a file that everybody may read: a reader sees the old one or the new one, never a part."""
    import os
    import tempfile

    # The collector takes *.prom only, and not what is on its way.
    part = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        part.replace(path)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise Problem(f"Cannot write {path}: {error.strerror}", f"ls -ld {path.parent}") from None
