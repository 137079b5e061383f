"""Fields that channels have in common: who may talk to the agent, and where it reports to."""

from __future__ import annotations

from collections.abc import Callable

from ..declaration import Field, KeyPath
from . import shapes

_STRANGERS = "unauthorized_dm_behavior"


def allowed_users(prefix: str, shape: Callable[[str], str], help: str) -> Field:
    """Return the field of the people that may talk to the agent."""
    return Field(
        "allowed_users",
        "Allowed users",
        "list",
        f"who may talk to the agent: {help}; '*' is everybody",
        required=False,
        shape=shape,
        variable=f"{prefix}_ALLOWED_USERS",
    )


def allow_all_users(prefix: str) -> Field:
    """Return the field that lets everybody in."""
    return Field(
        "allow_all_users",
        "Everybody",
        "flag",
        "let everybody talk to the agent, and so make it run commands",
        required=False,
        variable=f"{prefix}_ALLOW_ALL_USERS",
    )


def strangers() -> Field:
    """Return the field of what happens to a direct message from somebody who is not allowed."""
    return Field(
        _STRANGERS,
        "Strangers",
        "choice",
        "a direct message of somebody who is not allowed is answered with a pairing code, or ignored; "
        "pair when nobody is allowed yet, else ignore",
        required=False,
        choices=("pair", "ignore"),
    )


def strangers_leaf(channel: str) -> dict[str, KeyPath]:
    """Return where ``config.yaml`` has that."""
    return {_STRANGERS: (channel, _STRANGERS)}


def home(
    prefix: str, shape: Callable[[str], str], help: str, *, variable: str | None = None, thread: bool = True
) -> tuple[Field, ...]:
    """
    Return the fields of the place that the agent reports to: results of its schedule, and that it restarted.

    + variable: of the place itself, where it is not ``<prefix>_HOME_CHANNEL``
    """
    variable = variable or f"{prefix}_HOME_CHANNEL"
    fields = [
        Field(
            "home_channel", "Home", "text", f"where the agent reports to: {help}", False, shape=shape, variable=variable
        ),
        Field(
            "home_channel_name",
            "Name of the home",
            "text",
            "what the agent calls it",
            False,
            shape=shapes.line,
            variable=f"{variable}_NAME",
        ),
    ]
    if thread:
        fields.append(
            Field(
                "home_channel_thread_id",
                "Thread of the home",
                "text",
                "a thread in it",
                False,
                shape=shapes.thread,
                variable=f"{variable}_THREAD_ID",
            )
        )
    return tuple(fields)


def flag(name: str, label: str, variable: str, help: str) -> Field:
    """Return a field that is on or off; left out, Hermes decides."""
    return Field(name, label, "flag", help, required=False, variable=variable)


def ids(name: str, label: str, variable: str, shape: Callable[[str], str], help: str) -> Field:
    """Return a field of several ids; left out, there is none."""
    return Field(name, label, "list", help, required=False, shape=shape, variable=variable)


def one_of(name: str, label: str, variable: str, choices: tuple[str, ...], help: str) -> Field:
    """Return a field that is one of some words; left out, Hermes decides."""
    return Field(name, label, "choice", help, required=False, choices=choices, variable=variable)
