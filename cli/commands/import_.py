"""``clm import``: what other programs know of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..lazy import Group, examples
from ..output import emit, format_option, say, table

if TYPE_CHECKING:
    from ..predecessor.moving import Import

_WORDS = {
    "import": "import",
    "known": "on record already",
    "later": "kept for later",
    "skip": "left out",
    "refused": "refused",
}


@click.group("import", cls=Group)
def import_() -> None:
    """Take over what another program knows of the fleet."""


@import_.command(
    short_help="Take over the hosts, agents and secrets of clawrium.",
    epilog=examples("clm import clawrium --dry-run", "clm import clawrium ~/old/clawrium --yes"),
)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path())
@click.option("-y", "--yes", "--apply", "yes", is_flag=True, help="Import without asking.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--release", metavar="TAG", help="Record agents whose release is not in the manifest with this one.")
@format_option
def clawrium(folder: str | None, yes: bool, dry_run: bool, release: str | None, format_: str) -> None:
    """
    Take over hosts, agents, providers, integrations and secrets of clawrium, whose commands were clm and clawctl.

    DIR is its directory: $XDG_CONFIG_HOME/clawrium or ~/.config/clawrium when not given. What would be done is
    shown first, secrets by their names only; then you are asked, and all of it is recorded, or nothing. With
    -o json or yaml nothing is asked: without --yes it is only shown.

    Both programs use the same directory. When their files are in ours, copies of them, the same to the byte,
    are put into imported-from-clawrium-TIME/ in it before ours take their places; keys stay where they are. When
    DIR is another directory it is only read, and keys are copied.

    An agent is imported as not validated, and nothing is done on its host. What this version cannot record
    is listed in not-imported.json, and the same command imports it once a later version can. A repeated import
    changes nothing that is on record.

    Exits with 10 when something in it is refused; the rest is imported all the same.
    """
    from pathlib import Path

    from pyinfra_hermes.deploys.model.releases import manifest

    from ..exits import Exit
    from ..predecessor.moving import carry_out, prepare
    from ..predecessor.plan import Wishes
    from ..state.store import State

    if release is not None:
        release = manifest().release(release).tag
    state = State.open()
    wanted = prepare(state, Path(folder).absolute() if folder is not None else None, Wishes(release))
    people = format_ == "table"
    if people:
        _show(wanted)
    apply = yes and not dry_run
    if people and wanted.changes and not yes and not dry_run:
        _ask()
        apply = True
    kept = carry_out(state, wanted) if apply and wanted.changes else None
    if not emit(_data(wanted, apply, kept), format_) and apply and wanted.changes:
        _show_done(wanted, kept)
    if wanted.plan.of("refused"):
        click.get_current_context().exit(Exit.PARTLY)


def _ask() -> None:
    from .. import asking

    asking.confirm("Import this?", "--yes, or only look with --dry-run")


def _show(wanted: Import) -> None:
    plan = wanted.plan
    click.echo(f"From {wanted.source.path}:")
    table(
        ("KIND", "NAME", "WHAT", "NOTE"),
        [(item.kind, item.name, _WORDS[item.outcome], "; ".join(item.notes)) for item in plan.items],
        "It holds no hosts, providers, integrations or secrets.",
    )
    for file, count in plan.unknown.items():
        click.echo(f"{file}: {count} field{'s' if count > 1 else ''} not known here, ignored")
    for warning in plan.warnings:
        click.echo(f"{click.style('Warning:', fg='yellow')} {warning}", err=True)
    if not wanted.changes:
        click.echo("Nothing to import: everything that can be is on record.")


def _show_done(wanted: Import, kept: Any) -> None:
    plan = wanted.plan
    agents = sum(len(agents) for agents in plan.agents.values())
    secrets = sum(len(entries) for entries in plan.secrets.values())
    say(
        f"Imported: hosts {len(plan.hosts)}, agents {agents}, providers {len(plan.providers)}, "
        f"integrations {len(plan.integrations)}, secrets {secrets}."
    )
    if wanted.in_place:
        say(f"clawrium's files are kept as they were in {kept}, with its secrets in the clear.")
    elif kept is not None:
        click.echo(f"What was not imported is listed in {kept}.")
    for name in plan.hosts:
        click.echo(f"Next: clm host trust {name}")


def _data(wanted: Import, applied: bool, kept: Any) -> dict[str, Any]:
    return {
        "source": str(wanted.source.path),
        "in_place": wanted.in_place,
        "changes": wanted.changes,
        "applied": applied and wanted.changes,
        "kept_in": None if kept is None else str(kept),
        "items": [item.data() for item in wanted.plan.items],
        "ignored_fields": dict(wanted.plan.unknown),
        "warnings": list(wanted.plan.warnings),
    }
