"""An agent's memory files changed on its host: over one connection, looked at before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyinfra_hermes.deploys.model.memories import FILES, InvalidMemory, MemoryFile, TooLong, difference
from pyinfra_hermes.deploys.model.redaction import redact

from .. import asking
from ..exits import Exit
from ..output import plain
from ..problems import Problem
from ..ssh.openssh import login_of
from ..state.records import Instance
from ..state.store import State
from .reading import Remembered, judged, refuse_unusable

#: As :data:`pyinfra_hermes.operations.memories.ABSENT`, which is not imported before there is a connection to make.
ABSENT = "absent"
_LONGEST_SHOWN = 200

#: What is done on the host, as a deploy without further arguments; called with what was seen there before.
Plan = Callable[[Remembered], Sequence[Callable[..., object]]]


@dataclass(frozen=True)
class Changed:
    """What came of a change."""

    #: What the file holds now; None when the host could not be asked again.
    after: Remembered | None
    changed: bool


class Unfit(Problem):
    """A text that its file may not hold; nothing was asked of the host."""


def checked(instance: Instance, kind: MemoryFile, text: str) -> str:
    """Return a text as it is put on the host. Raises :class:`Unfit`, with what mends it."""
    limit, name = kind.limit_by(instance.agent.config), instance.agent.name
    try:
        return kind.check(text, limit)
    except TooLong as error:
        more = ""
        if kind.setting:
            path = ".".join(kind.setting)
            more = f", or allow more: clm agent config set {name} {path} NUMBER; clm agent configure {name}"
        raise Unfit(str(error), f"Shorten it{more}", Exit.USAGE) from None
    except InvalidMemory as error:
        raise Unfit(str(error), None, Exit.USAGE) from None


def write(
    reference: str,
    kind: MemoryFile,
    text: str,
    expected: str | None,
    *,
    replace: bool = False,
    before: str | None = None,
) -> Changed:
    """
    Put a text into a memory file.

    With ``expected``, the digest of what was read, nothing else is replaced; ``before`` is that text, to tell how it
    differs. Without it, what is there is replaced with ``replace``, or when a person says so.
    Raises :class:`Problem`; :class:`Unfit` before any connection.
    """
    state, instance = _known(reference)
    limit = kind.limit_by(instance.agent.config)
    stored = checked(instance, kind, text)

    def plan(seen: Remembered) -> Sequence[Callable[..., object]]:
        from pyinfra_hermes.deploys.memory import write as deploy

        refuse_unusable(seen, kind)
        _check_host_limit(seen, kind, stored, limit)
        there, name = seen.file(kind), seen.instance.agent.name
        if expected not in (None, there.sha256 or ABSENT):
            raise changed_meanwhile(seen, kind, before)
        if expected is None and not replace and there.content and there.content != stored.encode():
            asking.confirm(f"{described(seen, kind)}. Replace all of it?", "--replace, or --expected SHA256")
        base = expected or (None if replace else there.sha256 or ABSENT)
        return [lambda **kw: deploy(agent=name, file=kind.name, text=stored, expected=base, limit=limit, **kw)]

    return _change(state, instance, plan, kind)


def add(reference: str, kind: MemoryFile, text: str) -> Changed:
    """Add an entry to a memory file. Raises :class:`Problem`; :class:`Unfit` before any connection."""
    state, instance = _known(reference)
    limit = kind.limit_by(instance.agent.config)
    try:
        entry = kind.check_entry(text)
    except InvalidMemory as error:
        raise Unfit(str(error), None, Exit.USAGE) from None
    checked(instance, kind, entry)

    def plan(seen: Remembered) -> Sequence[Callable[..., object]]:
        from pyinfra_hermes.deploys.memory import entry as deploy

        refuse_unusable(seen, kind)
        name = seen.instance.agent.name
        allowed = min(limit, seen.memories.limits.get(kind.name, limit))
        return [lambda **kw: deploy(agent=name, file=kind.name, text=entry, limit=allowed, **kw)]

    return _change(state, instance, plan, kind)


def forget(reference: str, kind: MemoryFile, number: int, *, yes: bool) -> Changed:
    """Take one entry away, by its number. What is asked about is what goes, whatever happens meanwhile."""
    state, instance = _known(reference)
    if not kind.has_entries:
        raise Problem(f"{kind.name} is one text and has no entries", None, Exit.USAGE)

    def plan(seen: Remembered) -> Sequence[Callable[..., object]]:
        from pyinfra_hermes.deploys.memory import entry as deploy

        refuse_unusable(seen, kind)
        name = seen.instance.agent.name
        entries = kind.entries(_text(seen, kind))
        if not 1 <= number <= len(entries):
            raise Problem(
                f"{kind.name} of {name} has {len(entries)} entries, and no number {number}",
                f"clm agent memory show {name} {kind.name}",
                Exit.USAGE,
            )
        text = entries[number - 1]
        if not yes:
            asking.confirm(f"Remove entry {number} of {kind.name}: {_short(text)}?", "--yes")
        return [lambda **kw: deploy(agent=name, file=kind.name, text=text, present=False, **kw)]

    return _change(state, instance, plan, kind)


def delete(reference: str, kinds: Sequence[MemoryFile], *, yes: bool) -> Changed:
    """Remove memory files, whatever is in their place but a folder."""
    state, instance = _known(reference)

    def plan(seen: Remembered) -> Sequence[Callable[..., object]]:
        from pyinfra_hermes.deploys.memory import write as deploy

        name = seen.instance.agent.name
        there = [kind for kind in kinds if seen.file(kind).there]
        for kind in there:
            if seen.file(kind).kind == "directory":
                raise Problem(f"{kind.name} of {name} is a folder; it is left alone", None, Exit.REFUSED)
        if there and not yes:
            listed = "; ".join(described(seen, kind) for kind in there)
            asking.confirm(f"{listed}. Remove {'it' if len(there) == 1 else 'all of them'}?", "--yes")

        def one(kind: MemoryFile) -> Callable[..., object]:
            base = seen.file(kind).sha256
            return lambda **kw: deploy(agent=name, file=kind.name, text=None, expected=base, **kw)

        return [one(kind) for kind in there]

    return _change(state, instance, plan, kinds[0])


def edited(seen: Remembered, kind: MemoryFile, text: str) -> Changed:
    """Put an edited text in the place of what was read, and of nothing else."""
    there, (host, agent) = seen.file(kind), seen.instance
    return write(f"{host.name}/{agent.name}", kind, text, there.sha256 or ABSENT, before=there.text or "")


def changed_meanwhile(seen: Remembered, kind: MemoryFile, before: str | None) -> Problem:
    """Say that a file is not what was read, and how it differs where that is known."""
    name, there = seen.instance.agent.name, seen.file(kind)
    lines = [f"{kind.name} of {name} was changed meanwhile, by the agent or somebody else; it was left as it is"]
    if before is not None and there.text is not None:
        gone, new = difference(kind, before, there.text)
        lines += [f"- {_short(each)}" for each in gone[:5]] + [f"+ {_short(each)}" for each in new[:5]]
    look = f"clm agent memory show {name} {kind.name}"
    return Problem("\n".join(lines), f"See what is there now: {look}", Exit.REFUSED)


def described(seen: Remembered, kind: MemoryFile) -> str:
    """Say in a few words what a file holds."""
    found = seen.file(kind)
    if not found.there:
        return f"{kind.name} is not there yet"
    if found.text is None:
        return f"{kind.name} is a {found.kind} of {found.size} bytes"
    count = len(kind.entries(found.text))
    entries = f"{count} entr{'y' if count == 1 else 'ies'}, " if kind.has_entries else ""
    return f"{kind.name} has {entries}{kind.characters(found.text)} of {seen.limit(kind)} characters"


def _change(state: State, instance: Instance, plan: Plan, kind: MemoryFile) -> Changed:
    from ..engine import Session, check

    # isort: split
    from pyinfra_hermes.operations import memories

    host, agent = instance
    with Session.open([login_of(state, host)]) as session:
        check(session.results)

        def look() -> Remembered:
            return judged(instance, session.ask(host.name, lambda sudo: memories.observe(agent.name, _sudo=sudo)))

        before = look()
        deploys = plan(before)
        if not deploys:
            return Changed(before, changed=False)
        result = session.run({host.name: deploys})[host.name]
        if result.problem is not None:
            raise result.problem
        failed = result.failed
        try:
            after = look()
        except Problem:
            after = None
    if failed is not None:
        text = redact(plain(failed.text)) or "the host gave no reason"
        if after is not None and "changed meanwhile" in text:
            raise changed_meanwhile(after, kind, before.file(kind).text)
        if "exceeds character limit" in text:
            raise Problem(
                text, f"Remove what is not needed: clm agent memory show {agent.name} {kind.name}", Exit.REFUSED
            )
        raise Problem(f"{host.name}: {text}", None, Exit.REFUSED if "nothing was changed" in text else Exit.FAILED)
    same = after is not None and all(after.file(each).sha256 == before.file(each).sha256 for each in FILES.values())
    return Changed(after, changed=result.changed and not same)


def _check_host_limit(seen: Remembered, kind: MemoryFile, stored: str, limit: int) -> None:
    there = seen.memories.limits.get(kind.name, limit)
    if there < limit and (count := kind.characters(stored)) > there:
        host, agent = seen.instance
        raise Problem(
            f"hermes memory file '{kind.name}' exceeds character limit ({count} > {there} chars), "
            f"as the config.yaml on {host.name} has it",
            f"See what differs: clm agent diff {agent.name}",
            Exit.REFUSED,
        )


def _known(reference: str) -> tuple[State, Instance]:
    state = State.open()
    return state, state.read().agent(reference)


def _text(seen: Remembered, kind: MemoryFile) -> str:
    found = seen.file(kind)
    if found.there and found.text is None:
        name = seen.instance.agent.name
        raise Problem(
            f"{kind.name} of {name} is not UTF-8, so it has no entries",
            f"clm agent memory read {name} {kind.name} >FILE; mend it; "
            f"clm agent memory write {name} {kind.name} --file FILE",
            Exit.REFUSED,
        )
    return found.text or ""


def _short(text: str) -> str:
    line = " ".join(plain(text).split())
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}..."
