"""What can go wrong with the state directory: one exception per different remedy."""

from __future__ import annotations

from typing_extensions import override


class StateError(Exception):
    """
    Something about the state on the control machine.

    ``message`` says what is wrong and where; ``remedy`` is the command or the act that mends it, when there
    is one. Neither ever holds the value of a secret, and no error carries another one that does as cause or
    context.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @override
    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n{self.remedy}"


class StateRefused(StateError):
    """The directory or a file in it cannot be trusted: its owner, its mode or its kind. Nothing was read."""


class StateReadFailed(StateError):
    """The operating system refused to read the directory or a file in it."""


class StateWriteFailed(StateError):
    """The operating system refused to write; the message says what holds now."""


class StateCorrupt(StateError):
    """A file that is not what we write: damaged, edited into a wrong shape, or written by another version."""


class StateLocked(StateError):
    """Another process held the lock for longer than we were ready to wait (exit 9)."""


class StateInvalid(StateError):
    """A change that cannot be recorded because the result would not be valid. Nothing was written."""


class KeyUnavailable(StateError):
    """The secrets are encrypted and their key could not be had: nobody to ask, no file, a command that failed."""


class WrongKey(StateError):
    """The secrets are encrypted, undamaged, and this passphrase or key is not theirs."""


class NotFound(StateError):
    """No host, agent, provider or secret has this name; close matches are in the message."""


class Ambiguous(StateError):
    """A name that means several agents; the message lists them."""


class NoFreePort(StateError):
    """Every port from the first one on is taken on this host."""


class ApiKeyInvalid(StateError):
    """An agent's HERMES_API_SERVER_KEY is missing or does not have its shape."""


class HostKeyConflict(StateError):
    """A host key differs from the one that is trusted, or is revoked; the message has the fingerprints."""
