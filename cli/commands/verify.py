"""``clm agent verify``: the shipped checks, against one agent."""

from __future__ import annotations

import click

from ..lazy import examples
from ..output import emit, format_option, plain

_SIGNS = {"passed": ("ok", "green"), "failed": ("FAILED", "red"), "skipped": ("left out", "yellow")}


@click.command(
    epilog=examples(
        "clm agent verify maurice",
        "clm agent verify maurice --junit report.xml",
        "clm agent verify maurice -o json | jq '.checks[].result'",
    )
)
@click.argument("name")
@format_option
@click.option(
    "--junit", type=click.Path(dir_okay=False, resolve_path=True), metavar="FILE", help="Write a JUnit report there."
)
def verify(name: str, format_: str, junit: str | None) -> None:
    """
    Prove what must be true of an agent on its host: account, modes, unit, sandbox, listeners, health, version.

    These are the checks that pytest runs with --pyargs pyinfra_hermes.deploys.checks. Nothing is changed. Exit 8 when
    a check fails. Needs the extra: pip install 'pyinfra-hermes[verify]'
    """
    from pathlib import Path

    from ..exits import Exit
    from ..verifying import verify

    instance, outcomes = verify(name, Path(junit) if junit else None)
    failed = [each for each in outcomes if each.result == "failed"]
    data = {"name": instance.agent.name, "host": instance.host.name, "checks": [each.data() for each in outcomes]}
    if not emit(data, format_):
        for each in outcomes:
            sign, color = _SIGNS[each.result]
            click.echo(
                f"{click.style(sign.ljust(8), fg=color)}  {each.check}{f': {plain(each.text)}' * bool(each.text)}"
            )
            if each.remedy:
                click.echo(f"{' ' * 10}{plain(each.remedy)}")
        passed = sum(each.result == "passed" for each in outcomes)
        click.echo(f"\n{passed} checks passed, {len(failed)} failed, {len(outcomes) - passed - len(failed)} left out.")
    click.get_current_context().exit(Exit.DIFFERENT if failed else Exit.DONE)
