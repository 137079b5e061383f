"""From a state file's bytes to its document and back; what is wrong is said without showing the bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from .migrations import migrated, oldest, versions
from .records import Document

D = TypeVar("D", bound=Document)

#: How many problems of one file are told at once.
_TOLD = 3

_PLAIN_WORDS = {
    "extra_forbidden": "is not a known field",
    "missing": "is missing",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "dict_type": "should be an object",
}


@dataclass(frozen=True)
class Defect:
    """
    Why bytes are not a document.

    It holds nothing of the bytes but names of a known shape, and it is returned, not raised, so that no
    traceback leads from an error to them.
    """

    what: str
    #: Written by a later version, so an earlier generation is not the remedy.
    is_newer: bool = False


def decode(kind: type[D], content: bytes) -> D | Defect:
    """Read a document; a :class:`Defect` when the bytes are none."""
    try:
        plain = _parsed(kind, content)
        if isinstance(plain, Defect):
            return plain
        if (defect := _wrong_version(kind, plain)) is not None:
            return defect
        present = migrated(kind, plain)
        return _validated(kind, plain if present is None else present)
    except RecursionError:
        return Defect("is nested too deeply")


def encode(document: Document) -> bytes | Defect:
    """Write a document; a :class:`Defect` when it holds what its file must not hold or cannot hold."""
    plain = document.to_plain()
    # Assignments were checked one by one, but what was put into a dict was not.
    checked = _validated(type(document), plain)
    if isinstance(checked, Defect):
        return checked
    try:
        return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
    except (TypeError, ValueError):
        return Defect("holds a value that JSON cannot carry")


def _parsed(kind: type[Document], content: bytes) -> dict[str, Any] | Defect:
    repeated: list[_Repeated] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        repeated.append(_Repeated(pairs))
        return repeated[-1]

    try:
        plain = json.loads(content.decode(), object_pairs_hook=collect)
    except UnicodeDecodeError as error:
        return Defect(f"{_position(content, error.start)}: is not UTF-8")
    except json.JSONDecodeError as error:
        what = error.msg.partition(":")[0]
        return Defect(f"line {error.lineno}, column {error.colno}: is not JSON ({what})")
    except ValueError:
        return Defect("holds a number that is too long")
    if not isinstance(plain, dict):
        return Defect(f"should hold a JSON object, and holds {_kind_of(plain)}")
    if b"\\ud" in content.lower() and not _is_carried_by_utf8(plain):
        return Defect("holds an escape that stands for no character")
    if repeated:
        return Defect(f"{kind.where(_place_of(repeated[0], plain))}: is there twice")
    return plain


def _is_carried_by_utf8(plain: object) -> bool:
    # Half of a surrogate pair: JSON can spell it, and nothing could write it again.
    try:
        json.dumps(plain, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Repeated(dict[str, Any]):
    """An object in which a key is repeated."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.key = next(key for key in keys if keys.count(key) > 1)


def _place_of(repeated: _Repeated, plain: object, place: tuple[str | int, ...] = ()) -> tuple[str | int, ...]:
    if plain is repeated:
        return (*place, repeated.key)
    for at, inner in _inside(plain):
        if found := _place_of(repeated, inner, (*place, at)):
            return found
    return ()


def _inside(plain: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(plain, dict):
        yield from plain.items()
    elif isinstance(plain, list):
        yield from enumerate(plain)


def _kind_of(plain: object) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(plain), "a number")


def _position(content: bytes, offset: int) -> str:
    before = content[:offset]
    line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
    return f"line {line}, column {offset - start + 1}"


def _wrong_version(kind: type[Document], plain: dict[str, Any]) -> Defect | None:
    version = plain.get("schema_version")
    if type(version) is not int:
        what = "has no schema_version" if version is None else "has a schema_version that is not a number"
        return Defect(f"{what}, so this program did not write it")
    first, last = oldest(kind), versions(kind)[-1]
    if first <= version <= last:
        return None
    known = str(last) if first == last else f"{first} to {last}"
    return Defect(f"has schema_version {version}, and this program knows {known}", is_newer=version > last)


def _validated(kind: type[D], plain: dict[str, Any]) -> D | Defect:
    try:
        return kind.from_plain(plain)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{kind.where(problem['loc'])}: {_words(problem['type'], problem['msg'])}" for problem in problems[:_TOLD]]
    if len(problems) > _TOLD:
        told.append(f"and {len(problems) - _TOLD} more")
    return Defect("; ".join(told))


def _words(kind: str, message: str) -> str:
    # pydantic's own messages hold no input; those of our validators are after the prefix.
    text = _PLAIN_WORDS.get(kind, message.removeprefix("Value error, "))
    return text[0].lower() + text[1:] if text.startswith(("Input ", "Value ")) else text
