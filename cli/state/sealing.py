"""Records that can be sealed: what a reader gets cannot be changed by mistake and then be lost."""

from __future__ import annotations

from typing import Any, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr
from typing_extensions import override

K = TypeVar("K")
V = TypeVar("V")

_SEALED = "this is a snapshot of the state; change it inside `with state.transaction() as tx:`"


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError(_SEALED)


class FrozenDict(dict[K, V]):
    """A dict that refuses to be changed; copying or pickling it gives a plain dict."""

    @override
    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[dict[K, V]]]:
        return dict, (dict(self),)

    @override
    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__reduce__()


class FrozenList(list[V]):
    """A list that refuses to be changed; copying or pickling it gives a plain list."""

    @override
    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[V]]]:
        return list, (list(self),)

    @override
    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__reduce__()


for _kind, _changing in (
    (FrozenDict, ("__setitem__", "__delitem__", "__ior__", "pop", "popitem", "setdefault", "update")),
    (FrozenList, ("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "extend", "insert", "pop")),
    (FrozenList, ("remove", "reverse", "sort")),
):
    for _method in ("clear", *_changing):
        setattr(_kind, _method, _refuse)


def frozen(value: Any) -> Any:
    """Return ``value`` so that nothing in it can be changed: records sealed, dicts and lists replaced."""
    if isinstance(value, Record):
        return value.seal()
    if isinstance(value, dict):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list):
        return FrozenList(frozen(item) for item in value)
    return value


class Record(BaseModel):
    """A strict piece of state: unknown fields refused, types kept, assignments checked."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        validate_assignment=True,
        validate_default=False,
        hide_input_in_errors=True,
    )

    _sealed: bool = PrivateAttr(default=False)

    def seal(self) -> Self:
        """Refuse every later change of this record and of what it contains."""
        for field in type(self).model_fields:
            self.__dict__[field] = frozen(self.__dict__[field])
        self._sealed = True
        return self

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and self._sealed:
            raise TypeError(_SEALED)
        super().__setattr__(name, value)
