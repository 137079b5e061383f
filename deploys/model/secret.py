"""A value that must not be seen: every way of turning it into text redacts it, one method reveals it."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn, final

from pydantic_core import core_schema
from typing_extensions import override

from .redaction import REDACTED as REDACTED
from .redaction import REVEALED


@final
class Secret:
    """
    A credential on its way from where it is kept to where it is used.

    ``repr``, ``str``, ``format`` and pydantic's dumps show ``********``; pickling, and JSON of the standard
    library, are refused: what came back from them would not be the secret. It does not change, so a copy is
    the secret itself, and dataclasses and models that hold one can be copied. :meth:`reveal` is the only way
    to the value: a search for that word finds every place where a secret comes into the open, and the
    redactor (:mod:`.redaction`) knows each value that did.
    """

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a secret is text")
        object.__setattr__(self, "_value", value)

    @override
    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change")

    @override
    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret does not change")

    def reveal(self) -> str:
        """Return the value itself; from now on the redactor looks for it."""
        REVEALED.remember(self._value)
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

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    @override
    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._accept,
            # Whatever stands in the field: `model_construct` puts plain text there, unseen.
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: REDACTED),
        )

    @classmethod
    def _accept(cls, value: Any) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValueError("a secret is text")
