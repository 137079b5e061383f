"""A memory file in a person's editor: nothing typed is lost, nothing the agent wrote meanwhile is overwritten."""

from __future__ import annotations

import shlex

import click

from pyinfra_hermes.deploys.model.memories import InvalidMemory, MemoryFile, decoded

from .. import asking
from ..breaking_off import breaks_off
from ..exits import Exit
from ..problems import Problem, translate
from .changing import Changed, Unfit, checked, edited
from .drafts import Draft
from .reading import Remembered, refuse_unusable, remembered


def edit(reference: str, kind: MemoryFile, editor: str | None) -> Changed | None:
    """
    Let a person edit a file, and put it on the host; None when nothing was changed.

    Raises :class:`Problem`, which then names the file with what was typed.
    """
    seen = remembered(reference)
    refuse_unusable(seen, kind)
    found, name = seen.file(kind), seen.instance.agent.name
    if found.there and found.text is None:
        raise Problem(
            f"{kind.name} of {name} is not UTF-8, and an editor would damage it",
            f"clm agent memory read {name} {kind.name} >FILE; mend it; "
            f"clm agent memory write {name} {kind.name} --file FILE",
            Exit.REFUSED,
        )
    before = found.text or ""
    shown = f"{before}\n" if before and not before.endswith("\n") else before
    draft = Draft.of(name, kind.name, shown.encode())
    try:
        done = _edited(seen, kind, draft, editor)
    except BaseException as error:
        if draft.read() in (None, shown.encode()):
            draft.drop()
            raise
        raise _kept(error, seen, kind, draft) from error
    draft.drop()
    return done


def _edited(seen: Remembered, kind: MemoryFile, draft: Draft, editor: str | None) -> Changed | None:
    before = seen.file(kind).text
    while True:
        draft.edit(editor)
        content = draft.read()
        if content is None:
            return None
        try:
            text = decoded(kind, content)
            if kind.stored(text) == kind.stored(before or ""):
                return None
            checked(seen.instance, kind, text)
        except (InvalidMemory, Unfit) as error:
            if not asking.interactive():
                raise
            click.echo(f"{error}.", err=True)
            with breaks_off():
                again = click.confirm("Edit it again?", default=True, err=True)
            if not again:
                raise
            continue
        return edited(seen, kind, text)


def _kept(error: BaseException, seen: Remembered, kind: MemoryFile, draft: Draft) -> BaseException:
    """Return the error with where the text is and how it gets to the agent after all."""
    problem = translate(error) if isinstance(error, Exception) else None
    kept = f"Your text is kept in {draft.path}"
    if problem is None:
        click.echo(kept, err=True)
        return error
    name = seen.instance.agent.name
    again = f"clm agent memory write {name} {kind.name} --file {shlex.quote(str(draft.path))}"
    remedy = "\n  ".join(filter(None, [problem.remedy, kept, f"Put it there: {again}"]))
    return Problem(problem.message, remedy, problem.exit)
