"""``clm agent status``: one agent in depth."""

from __future__ import annotations

import click

from ..lazy import examples
from ..output import emit, folded, format_option, pairs, plain


@click.command(
    epilog=examples(
        "clm agent status maurice", "clm agent status wolf-i/maurice -n 20", "clm agent status maurice -o json"
    )
)
@click.argument("name")
@click.option("-n", "--lines", default=5, show_default=True, type=click.IntRange(0, 200), help="Lines of its journal.")
@format_option
def status(name: str, lines: int, format_: str) -> None:
    """
    Show how an agent is, asked now, in one look at its host.

    Its state and the proof of it, its channels, what it takes and may take, and for every trouble what mends it. Exit 7
    when it should serve and does not, or not as it should; 4 when its host cannot be reached.
    """
    from contextlib import suppress

    from pyinfra_hermes.facts.examination import AgentExamination

    from ..exits import Exit
    from ..fleet import report
    from ..looking.agent_checks import agent_findings
    from ..looking.closer import look_at
    from ..looking.findings import Finding
    from ..looking.page import Page, journal_of
    from ..problems import Problem
    from ..state.errors import KeyUnavailable, WrongKey
    from ..state.store import State

    state = State.open()
    snapshot = state.read()
    instance = snapshot.agent(name)
    with suppress(KeyUnavailable, WrongKey):
        # Whoever looks at one agent may be asked for the passphrase; the report says what cannot be known without.
        snapshot.vault.open()
    looked: AgentExamination | None = None
    findings: list[Finding] = []
    try:
        observed, examination = look_at(state, instance.host, [instance.agent.name])
    except Problem as problem:
        found = report(snapshot, instance, problem)
    else:
        found = report(snapshot, instance, observed)
        looked = examination.agent(instance.agent.name)
        findings = [each for each in agent_findings(found, observed, looked) if each.level != "ok"]
    page = Page(found, looked, findings)
    if not emit(page.data(), format_):
        pairs(page.rows())
        if journal := journal_of(looked, lines):
            click.echo("\nLast lines of its journal:")
            for line in journal:
                click.echo(folded(f"  {line}", "      "))
        _say_troubles(page)
    exits = {
        "running": Exit.DONE,
        "drifted": Exit.DONE,
        "stopped": Exit.DONE,
        "not onboarded": Exit.DONE,
        "unreachable": Exit.UNREACHABLE,
    }
    click.get_current_context().exit(exits.get(found.state, Exit.UNHEALTHY))


def _say_troubles(page: object) -> None:
    from ..looking.page import Page

    assert isinstance(page, Page)
    remedy = page.report.condition.remedy
    said = [each for each in page.findings if each.level in ("warn", "fail") and each.check != "state"]
    if remedy is not None and not said:
        click.echo(folded(f"\nNext: {remedy}", "  "))
    if said:
        click.echo("\nWhat is wrong:")
    for each in said:
        click.echo(folded(plain(f"- {each.text}"), "  "))
        if each.remedy:
            click.echo(folded(plain(f"    {each.remedy}"), "      "))
