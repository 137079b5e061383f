"""From an entry of a catalogue to a command's options and the questions at a terminal, and from them to answers."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pyinfra_hermes.deploys.model import dotenv
from pyinfra_hermes.deploys.model.declaration import Declaration, Field, InvalidSetting, Value, as_text
from pyinfra_hermes.deploys.model.secret import Secret

from .. import asking
from ..exits import Exit
from ..problems import Problem

if TYPE_CHECKING:
    from ..state.records import Reference, SecretsFile

F = TypeVar("F", bound=Callable[..., Any])

#: Typed to empty a field that need not have a value.
NOTHING = "-"
#: Begins the name of the parameter that an option of ours hands to its command.
PARAMETER = "field_"
_METAVARS = {"integer": "NUMBER", "url": "URL", "model": "MODEL", "mapping": "NAME=VALUE"}


@dataclass(frozen=True)
class Answers:
    """What a person gave for an entry's fields, each in its normal form."""

    options: dict[str, Value] = field(default_factory=dict)
    #: By the fields' names; kept under :attr:`Field.key`.
    secrets: dict[str, Secret | Reference] = field(default_factory=dict)
    #: Fields that are to have no value any more.
    removed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.options or self.secrets or self.removed)

    def over(self, options: Mapping[str, Value]) -> dict[str, Value]:
        """Return settings with these answers in their place."""
        return {k: v for k, v in {**options, **self.options}.items() if k not in self.removed}


def field_options(
    declarations: Iterable[Declaration], *, prefix: str = "", secrets: bool = True, said: bool | None = None
) -> Callable[[F], F]:
    """
    Give a command the options of some entries' fields. The command takes them as ``**given``.

    + declarations: entries of a catalogue; fields of one name become one option, whose help names the entries
    + prefix: goes before each option: ``discord`` makes ``--discord-bot-token-stdin``
    + secrets: whether the secret fields get theirs: ``--X-stdin``, ``--X-file`` and ``--X-reference``
    + said: whether the help names the entries; when left out, only where not all have the field
    """
    entries = tuple(declarations)
    names = dict.fromkeys(f.name for entry in entries for f in entry.fields)

    def decorate(command: F) -> F:
        for name in reversed(names):
            owners = [(entry, f) for entry in entries for f in entry.fields if f.name == name]
            fields = [f for _, f in owners]
            if len({f.secret for f in fields}) > 1 or len({f.kind in ("flag", "list", "mapping") for f in fields}) > 1:
                raise TypeError(f"the entries do not agree on what {name} is")
            if fields[0].secret and not secrets:
                continue
            named = said if said is not None else len(owners) < len(entries)
            whose = f"  [{', '.join(entry.name for entry, _ in owners)}]" if named else ""
            for option in reversed(_options_of(name, fields, prefix, whose)):
                command = option(command)
        return command

    return decorate


def flag_of(f: Field, prefix: str = "") -> str:
    """Name the option, or for a secret the options, that give a field; for messages."""
    flag = _flag(f.name, prefix)
    return f"{flag}-stdin, {flag}-file or {flag}-reference" if f.secret else flag


def given(declaration: Declaration, values: Mapping[str, Any], *, prefix: str = "", what: str | None = None) -> Answers:
    """
    Return what the options of :func:`field_options` say, checked; nobody is asked.

    ``values`` is the command's ``**given``, ``what`` names the entry in a message. Raises :class:`Problem` for an
    option of another entry's, and for two secrets from standard input at once.
    """
    known = {f.name: f for f in declaration.fields}
    options: dict[str, Value] = {}
    secrets: dict[str, Secret | Reference] = {}
    ways = _ways(values)
    _one_from_stdin([_flag(name, prefix) for name, way in ways.items() if "stdin" in way])
    for name in dict.fromkeys(_given_names(values)):
        if name not in known:
            offered = (
                ", ".join(_flag(f.name, prefix) + ("-file" if f.secret else "") for f in declaration.fields) or "none"
            )
            raise Problem(
                f"{what or declaration.what} has no field {name!r} ({_flag(name, prefix)}); its options are: {offered}",
                None,
                Exit.USAGE,
            )
    for name, f in known.items():
        if f.secret and name in ways:
            secrets[name] = read_secret(f, ways[name], _flag(name, prefix))
        elif not f.secret and _is_given(values.get(PARAMETER + name)):
            options[name] = parse(f, values[PARAMETER + name])
    return Answers(options, secrets)


def read_secret(f: Field, ways: Mapping[str, Any], flag: str) -> Secret | Reference:
    """
    Read a secret from the one place that was named, checked for its shape.

    ``ways`` has one of ``stdin`` (True), ``file`` (a path) and ``reference`` (a text). A reference is not followed.
    """
    if len(ways) > 1:
        raise Problem(f"Give {f.label} one way only: {', '.join(f'{flag}-{way}' for way in ways)}", None, Exit.USAGE)
    [(way, where)] = ways.items()
    if way == "reference":
        from ..secrets import checked_reference

        return checked_reference(where)
    return checked_secret(f, asking.from_stdin() if way == "stdin" else asking.from_file(where))


def checked_secret(f: Field, value: Secret) -> Secret:
    """Return a secret in its normal form; one that the daemon would read differently is refused."""
    checked = f.check_secret(value)
    dotenv.check(f.variable or f.key, checked.reveal())
    asking.warn_of_placeholder(f.label, checked)
    return checked


def parse(f: Field, raw: Any) -> Value:
    """
    Return the value that an option, or a line at the prompt, spells.

    Lists are comma-separated, mappings are ``NAME=VALUE``; both may come several times. Raises ``InvalidSetting``.
    """
    parts = list(raw) if isinstance(raw, tuple | list) else [raw]
    if f.kind == "list":
        return f.check(",".join(str(part) for part in parts))
    if f.kind == "mapping":
        pairs = {}
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals or not name.strip():
                raise InvalidSetting(f"{f.label}: give each as NAME=VALUE")
            pairs[name.strip()] = value
        return f.check(pairs)
    return f.check(raw)


def answers(
    declaration: Declaration,
    values: Mapping[str, Any],
    *,
    prefix: str = "",
    options: Mapping[str, Value] | None = None,
    secrets: Collection[str] = (),
) -> Answers:
    """
    Return the options' answers, and ask at the terminal for what is required and still missing.

    + options, secrets: what is on record already: settings, and the names of the secrets' fields

    Without a terminal, what is missing is a :class:`Problem` that names the option. What does not go together is an
    ``InvalidSetting``.
    """
    found = given(declaration, values, prefix=prefix)
    known = options or {}
    new = not known and not secrets
    for f in declaration.fields:
        if f.name in found.options or f.name in found.secrets or f.name in known or f.name in secrets:
            continue
        if f.secret and (f.required or (new and asking.interactive())):
            value = ask_secret(f, flag_of(f, prefix))
            if value is not None:
                found.secrets[f.name] = value
        elif not f.secret and f.required and f.default is None:
            answer = ask(f, flag_of(f, prefix))
            assert answer is not None
            found.options[f.name] = answer
    check(declaration, found, options=known, secrets=secrets)
    return found


def check(
    declaration: Declaration, found: Answers, *, options: Mapping[str, Value], secrets: Collection[str]
) -> dict[str, Value]:
    """Return all settings of an entry, as they are with the answers. Raises ``InvalidSetting`` for what is missing."""
    merged = declaration.options(found.over(options))
    declaration.check_complete(merged, {*secrets, *found.secrets} - found.removed)
    return merged


def ask(f: Field, flag: str, current: Value | None = None, *, back: bool = False) -> Value | None:
    """
    Ask for a field that is not secret; None when it is to have no value.

    Enter takes the current value or the default, ``-`` empties a field that is not required.
    """
    default = current if current is not None else f.default

    def read(answer: str) -> Value | None:
        if answer == NOTHING and not f.required:
            return None
        if not answer and f.kind not in ("list", "mapping"):
            if not f.required:
                return None
            raise InvalidSetting(f"{f.label} is needed")
        return parse(f, shlex.split(answer) if f.kind == "mapping" else answer)

    _explain(f)
    shown = _spelled(f, default)
    hint = "" if f.required else f" ({NOTHING} for none)" if shown else " (Enter for none)"
    return asking.until(f"{f.label}{hint}", flag, read, shown, back=back)


def ask_secret(f: Field, flag: str, *, kept: bool = False, back: bool = False) -> Secret | None:
    """
    Ask for a secret without showing it; None when it stays as it is, or is not needed.

    + kept: whether there is one already, which Enter keeps
    """

    def read(answer: str) -> Secret | None:
        if not answer:
            if kept or not f.required:
                return None
            raise InvalidSetting(f"{f.label} is needed")
        return checked_secret(f, Secret(answer))

    if not asking.interactive() and (kept or not f.required):
        return None
    _explain(f)
    hint = " (Enter keeps the present one)" if kept else "" if f.required else " (Enter for none)"
    return asking.until(f"{f.label}{hint}", flag, read, hide=True, back=back)


def keep_secrets(file: SecretsFile, scope: str, declaration: Declaration, found: Answers) -> bool:
    """Put the secrets of some answers on record, in a transaction; tell whether that changed anything."""
    changed, there = False, file.names(scope)
    for f in declaration.secrets:
        if f.name in found.secrets:
            # One that is there may have a description of the user's.
            description = None if f.key in there else f"{declaration.name}: {f.label}"
            changed |= file.set(scope, f.key, found.secrets[f.name], description=description)
        elif f.name in found.removed:
            changed |= file.remove(scope, f.key)
    return changed


def shown(f: Field, value: Value | None) -> str:
    """Spell a value for a person."""
    return _spelled(f, value) or "-"


def _options_of(name: str, fields: Sequence[Field], prefix: str, whose: str) -> list[Callable[[Any], Any]]:
    flag, parameter = _flag(name, prefix), f"{PARAMETER}{name}"
    first = fields[0]
    helps = dict.fromkeys(f.help for f in fields)
    text = f"{first.label}: {first.help if len(helps) == 1 else 'each type has its own, see types'}.{whose}"
    if first.secret:
        return [
            click.option(f"{flag}-stdin", f"{parameter}__stdin", is_flag=True, help=f"{text} From standard input."),
            click.option(f"{flag}-file", f"{parameter}__file", type=click.Path(), help="The same from a file."),
            click.option(
                f"{flag}-reference",
                f"{parameter}__reference",
                help="Keep where it is instead: env:NAME, file:PATH, cmd:COMMAND, op://..., sops:FILE#KEY.",
            ),
        ]
    if first.kind == "flag":
        return [
            click.option(
                f"{flag}/{_flag(name, f'no-{prefix}' if prefix else 'no')}", parameter, default=None, help=text
            )
        ]
    several = first.kind in ("list", "mapping")
    choices = list(dict.fromkeys(choice for f in fields for choice in f.choices))
    only_choices = all(f.kind == "choice" for f in fields)
    metavar = _METAVARS.get(first.kind) if len({f.kind for f in fields}) == 1 else None
    return [
        click.option(
            flag,
            parameter,
            multiple=several,
            type=click.Choice(choices) if only_choices else str,
            metavar=metavar,
            help=f"{text} {'Can be given several times.' if several else ''}".rstrip(),
        )
    ]


def _flag(name: str, prefix: str) -> str:
    return f"--{prefix}-{name}".replace("_", "-") if prefix else f"--{name}".replace("_", "-")


def _is_given(value: Any) -> bool:
    return value is not None and value != ()


def _ways(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort out where each secret comes from, by the field's name."""
    ways: dict[str, dict[str, Any]] = {}
    for parameter, value in values.items():
        name, _, way = parameter.removeprefix(PARAMETER).partition("__")
        if way and value and parameter.startswith(PARAMETER):
            ways.setdefault(name, {})[way] = value
    return ways


def _given_names(values: Mapping[str, Any]) -> Iterable[str]:
    yield from _ways(values)
    for parameter, value in values.items():
        if parameter.startswith(PARAMETER) and "__" not in parameter and _is_given(value):
            yield parameter.removeprefix(PARAMETER)


def _one_from_stdin(flags: Sequence[str]) -> None:
    if len(flags) > 1:
        raise Problem(
            f"Standard input holds one secret; {' and '.join(f'{flag}-stdin' for flag in flags)} ask for two",
            "Give the others with -file or -reference",
            Exit.USAGE,
        )


def _explain(f: Field) -> None:
    if asking.interactive():
        choices = f": {', '.join(f.choices)}" if f.kind == "choice" else ""
        click.secho(f"  {f.help}{choices}", dim=True, err=True)


def _spelled(f: Field, value: Value | None) -> str | None:
    if value is None or value in ([], {}):
        return None
    if isinstance(value, dict):
        return " ".join(shlex.quote(f"{name}={text}") for name, text in value.items())
    if f.kind == "arguments" and isinstance(value, list):
        return shlex.join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return as_text(value)
