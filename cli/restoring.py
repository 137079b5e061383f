"""``clm state restore``: a damaged state file back from an earlier version, with the user's consent."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click

from . import asking
from .exits import Exit
from .problems import Problem
from .state.records import KINDS, SecretsFile
from .state.restoring import Earlier, Offer, Offers, offers, restore
from .state.store import State

_FILES = tuple(kind.FILENAME for kind in KINDS)


def run(file: str | None, generation: int | None, *, yes: bool, force: bool) -> None:
    """Restore one file, or every damaged one; say what was done."""
    state = State.open()
    offered = offers(state.directory, state.lock_wait)
    wanted = [offered.files[_name(file)]] if file else offered.damaged
    if generation is not None and file is None and len(wanted) != 1:
        raise Problem(
            "A version's number belongs to one file",
            f"Say which: clm state restore {' or '.join(o.path.name for o in wanted) or _FILES[0]} "
            f"--generation {generation}",
            Exit.USAGE,
        )
    if not wanted:
        click.echo(f"Every file in {state.directory.path} is whole; there is nothing to restore.")
        return
    for offer in wanted:
        _show(offer)
    if generation is None and all(offer.defect is None for offer in wanted):
        [offer] = wanted
        click.echo(f"{offer.path.name} is whole; nothing was changed.")
        if offer.earlier:
            click.echo(f"To go back all the same: clm state restore {offer.path.name} --generation N")
        return
    chosen = {offer.path.name: _choose(offer, generation) for offer in wanted}
    _refuse(offered, chosen, force)
    if not yes:
        what = " and ".join(
            f"{name} from {each.version.number}, of {each.version.written}" for name, each in chosen.items()
        )
        asking.confirm(f"Restore {what}?", "--yes")
    aside = restore(offered, chosen, state.lock_wait)
    for name, each in chosen.items():
        click.echo(f"{name} restored from {each.version.number}, of {each.version.written}.")
        if name in aside:
            kept = "The damaged file is kept" + (", and may hold secrets" if name == SecretsFile.FILENAME else "")
            click.echo(f"{kept}. When it is not needed: {_remove(aside[name])}")


def _name(file: str) -> str:
    name = file if file.endswith(".json") else f"{file}.json"
    if name not in _FILES:
        raise Problem(f"{file!r} is no state file", f"There is {', '.join(_FILES)}", Exit.USAGE)
    return name


def _choose(offer: Offer, generation: int | None) -> Earlier:
    if offer.defect is not None and offer.defect.is_newer and generation is None:
        raise Problem(
            f"{offer.path}: {offer.defect.what}. It is not damaged: a later version of pyinfra-hermes wrote it",
            f"pip install --upgrade pyinfra-hermes; or, to go back: clm state restore {offer.path.name} --generation N",
            Exit.REFUSED,
        )
    return offer.get(generation)


def _refuse(offered: Offers, chosen: Mapping[str, Earlier], force: bool) -> None:
    if force:
        return
    reasons = [f"{each.file}: {each.what}" for each in offered.dangling(chosen)]
    if (said := offered.change_of_encryption(chosen)) is not None:
        reasons.append(said)
    if reasons:
        listed = "\n".join(f"- {reason}" for reason in reasons)
        again = " ".join(
            ["clm state restore", *(f"{name} --generation {e.version.number}" for name, e in chosen.items())]
        )
        raise Problem(
            f"After this restore something would be missing; nothing was changed:\n{listed}",
            f"Choose another version with --generation N, or accept it: "
            f"{again if len(chosen) == 1 else 'clm state restore'} --force",
            Exit.REFUSED,
        )


def _show(offer: Offer) -> None:
    if offer.defect is not None:
        click.echo(f"{offer.path}: {offer.defect.what}", err=True)
    if not offer.earlier:
        click.echo("There is no earlier version that is whole.")
        return
    click.echo(f"Earlier versions of {offer.path.name}, newest first:")
    for each in offer.earlier:
        holds = ", ".join(part for part in ("encrypted" if each.is_encrypted else "", each.holds) if part)
        click.echo(f"{each.version.number:>4}  {each.version.written}  {len(each.version.content)} bytes  {holds}")
        click.echo(f"      {each.differs}")


def _remove(path: object) -> str:
    return f"rm {shlex.quote(str(path))}"
