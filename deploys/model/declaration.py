"""What a catalogue's entry is made of: fields to ask for and check, and what they become in an agent's files."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from . import names
from .adapters import Adapter, Feature
from .secret import Secret

#: What a field that is not secret holds.
Value: TypeAlias = str | int | bool | list[str] | dict[str, str]
#: What a leaf of ``config.yaml`` holds.
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
#: Where a leaf of ``config.yaml`` is: its keys from the top.
KeyPath: TypeAlias = tuple[str, ...]

#: What a field's value is, and so how it is checked, asked for and written.
Kind = Literal["text", "url", "model", "integer", "flag", "choice", "list", "arguments", "mapping", "secret"]


class InvalidSetting(ValueError):
    """Settings that do not fit their declaration; the text names the field and never holds a secret."""


@dataclass(frozen=True)
class Field:
    """One thing that an entry needs to know."""

    name: str
    label: str
    kind: Kind
    help: str
    required: bool = True
    default: Value | None = None
    #: What a ``choice`` is chosen from.
    choices: tuple[str, ...] = ()
    #: Lowest and highest value of an ``integer``.
    between: tuple[int, int | None] = (1, None)
    #: Returns the normal form of a text, of each item of a list, or of a secret; raises ``ValueError`` with what is
    #: wrong, which must not quote a secret.
    shape: Callable[[str], str] | None = None
    #: The variable in ``.env`` that carries the value as it is.
    variable: str | None = None
    #: Name in secrets.json, where it is neither the variable's nor the field's.
    stored_as: str | None = None

    @property
    def secret(self) -> bool:
        return self.kind == "secret"

    @property
    def key(self) -> str:
        """Name in secrets.json, for a secret."""
        return self.stored_as or self.variable or self.name.upper()

    def check(self, value: Any) -> Value:
        """Return the value in its normal form, or raise :class:`InvalidSetting`."""
        if self.secret:
            raise InvalidSetting(f"{self.label} is a secret and does not belong among the settings")
        try:
            return self._normal(value)
        except InvalidSetting:
            raise
        except ValueError as error:
            raise InvalidSetting(f"{self.label}: {error}") from None

    def check_secret(self, value: Secret) -> Secret:
        """Return the secret in its normal form, or raise :class:`InvalidSetting`, which says nothing of the value."""
        if self.shape is None:
            return value
        try:
            return Secret(self.shape(value.reveal()))
        except ValueError as error:
            raise InvalidSetting(f"{self.label}: {error}") from None

    def _normal(self, value: Any) -> Value:
        match self.kind:
            case "url":
                return self._shaped(names.http_url(_text(value)))
            case "model":
                return self._shaped(names.model_id(_text(value)))
            case "integer":
                return _integer(value, *self.between)
            case "flag":
                return _flag(value)
            case "choice":
                if value not in self.choices:
                    raise ValueError(f"{value!r} is none of {', '.join(self.choices)}")
                return str(value)
            case "list":
                items = [_text(item).strip() for item in (value.split(",") if isinstance(value, str) else _list(value))]
                return [self._shaped(item) for item in dict.fromkeys(items) if item]
            case "arguments":
                # Unlike a list's items these keep their order, their repetitions and their commas.
                given = shlex.split(value) if isinstance(value, str) else _list(value)
                return [self._shaped(_text(item)) for item in given]
            case "mapping":
                if not isinstance(value, Mapping):
                    raise ValueError("should be names with their values")
                return {_text(name): self._shaped(_text(text)) for name, text in value.items()}
            case _:
                return self._shaped(_text(value))

    def _shaped(self, value: str) -> str:
        return value if self.shape is None else self.shape(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("should be text")
    return str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError("should be a list")
    return list(value)


def _integer(value: Any, low: int, high: int | None) -> int:
    least = "above 0" if low == 1 else f"of at least {low}"
    wanted = f"a whole number {least}" if high is None else f"a whole number from {low} to {high}"
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise ValueError(f"{value!r} is not {wanted}")
    return number


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "on", "1"):
        return True
    if str(value).lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def as_text(value: Value) -> str:
    """Spell a value as Hermes reads it from a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


@dataclass(frozen=True)
class SecretFile:
    """A file that the daemon reads a credential from, in ``~/.hermes/credentials``."""

    content: Secret
    #: The variable of ``.env`` that tells the daemon where the file is.
    variable: str


@dataclass(frozen=True)
class Seed:
    """A file of ``~/.hermes/mcp-tokens`` that the user gives and the daemon rewrites from then on."""

    content: Secret
    #: What of which entry it is, for messages.
    what: str


@dataclass(frozen=True)
class Rendered:
    """What an entry contributes to an agent's files."""

    #: Variables of ``.env``.
    env: Mapping[str, Secret | str] = field(default_factory=dict)
    #: Leaves of ``config.yaml``; of secrets only ``${VARIABLE}``.
    config: Mapping[KeyPath, Json] = field(default_factory=dict)
    #: Files with credentials, by their names.
    files: Mapping[str, SecretFile] = field(default_factory=dict)
    #: Files that are the daemon's own once they are there, by their names.
    seeds: Mapping[str, Seed] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What is rendered for: the agent's release, seen through its adapter, and the agent's port."""

    adapter: Adapter
    port: int


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One entry of a catalogue."""

    name: str
    title: str
    fields: tuple[Field, ...]
    #: Where a user gets the credential.
    credential_url: str
    #: What a release must be able to do for this entry; None when every listed release can.
    feature: Feature | None = None
    #: Checks what one field cannot see: the settings, and the names of the secrets that there are.
    rule: Callable[[Mapping[str, Value], Collection[str]], None] | None = None

    @property
    def what(self) -> str:
        """What the entry is called in a message."""
        return self.name

    def options(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """
        Check settings that are not secret against the declaration and fill in defaults.

        Raises :class:`InvalidSetting` naming the first field that is unknown, missing or wrong.
        """
        known = {f.name: f for f in self.fields}
        for name in values:
            if name not in known:
                plain = [f.name for f in self.fields if not f.secret]
                has = f"it has: {', '.join(plain)}" if plain else "it has none"
                raise InvalidSetting(f"{self.what} has no field {name!r}; {has}")
        result: dict[str, Value] = {}
        for f in self.fields:
            if f.secret:
                if f.name in values:
                    f.check(values[f.name])
                continue
            given = values.get(f.name, f.default)
            if given is None:
                if f.required:
                    raise InvalidSetting(f"{self.what} needs {f.label} ({f.name})")
                continue
            result[f.name] = f.check(given)
        return result

    @property
    def secrets(self) -> tuple[Field, ...]:
        """The fields that are kept in secrets.json, under their :attr:`Field.key`."""
        return tuple(f for f in self.fields if f.secret)

    def check_complete(self, options: Mapping[str, Value], secrets: Collection[str]) -> None:
        """
        Check that everything is there, given the names of the secrets' fields that are.

        Raises :class:`InvalidSetting` with what is missing or does not go together.
        """
        missing = [f.label for f in self.secrets if f.required and f.name not in secrets]
        if missing:
            raise InvalidSetting(f"{self.what} lacks its {', '.join(missing)}")
        if self.rule is not None:
            self.rule(options, secrets)

    def variables(self, options: Mapping[str, Value], secrets: Mapping[str, Secret]) -> dict[str, Secret | str]:
        """Return what the fields put into ``.env`` as they are: those that name a variable and have a value."""
        found: dict[str, Secret | str] = {}
        for f in self.fields:
            if f.variable is None:
                continue
            if f.secret:
                if secrets.get(f.name):
                    found[f.variable] = secrets[f.name]
            elif f.name in options:
                found[f.variable] = as_text(options[f.name])
        return found
