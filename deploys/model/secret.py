"""A value that must not be seen: every way of turning it into text redacts it, one method reveals it."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn, final

from pydantic_core import core_schema
from typing_extensions import override

REDACTED = "********"


@final
class Secret:
    """
    A credential on its way from where it is kept to where it is used.

    ``repr``, ``str``, ``format``, JSON and pydantic dumps show ``********``; pickling and copying into a
    formatted string are refused or redacted. :meth:`reveal` is the only way to the value, so a search for
    that word finds every place where a secret comes into the open.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a secret is text")
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    @override
    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    @override
    def __str__(self) -> str:
        return REDACTED

    @override
    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        one, another = (each._value.encode(errors="surrogatepass") for each in (self, other))
        return hmac.compare_digest(one, another)

    @override
    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied by pickling")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._accept,
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def _accept(cls, value: Any) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValueError("a secret is text")
