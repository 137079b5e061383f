"""What ends a command: a sentence, the command that mends it, and an exit code."""

from __future__ import annotations

import sys

from .exits import Exit


class Problem(Exception):
    """
    Something that ends a command.

    ``message`` says what happened and where, ``remedy`` the command that mends it, when there is one.
    """

    def __init__(self, message: str, remedy: str | None = None, exit: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit = exit


def _of_output(encoding: str) -> bool:
    """Tell whether an encoding is the one of standard output, and not UTF-8, which has everything."""
    import codecs

    names = {codecs.lookup(encoding).name, codecs.lookup(sys.stdout.encoding or "utf-8").name}
    return len(names) == 1 and names != {"utf-8"}


def translate(error: Exception) -> Problem | None:
    """Turn an error of another room into a problem; None when it is a bug of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return Problem("What was given holds bytes that are no UTF-8", "Say it in UTF-8: LC_ALL=C.UTF-8", Exit.USAGE)
    if isinstance(error, UnicodeEncodeError) and _of_output(error.encoding):
        missing = ascii(error.object[error.start])
        what = f"Standard output is {error.encoding}, which has no {missing}: it was cut off before that"
        return Problem(what, "Have it all in UTF-8: PYTHONIOENCODING=utf-8", Exit.FAILED)
    # Only a module that is loaded can have raised: looking it up here would cost every start.
    state = sys.modules.get("pyinfra_hermes.cli.state.errors")
    if state is not None and isinstance(error, state.StateError):
        exits = {
            state.StateLocked: Exit.LOCKED,
            state.NotFound: Exit.USAGE,
            state.Ambiguous: Exit.USAGE,
            state.ApiKeyInvalid: Exit.REFUSED,
            state.KeyUnavailable: Exit.USAGE,
            state.WrongKey: Exit.REFUSED,
            state.HostKeyConflict: Exit.UNREACHABLE,
        }
        return Problem(error.message, error.remedy, exits.get(type(error), Exit.FAILED))
    for module, name, exit in (
        ("pyinfra_hermes.deploys.model.names", "InvalidName", Exit.USAGE),
        ("pyinfra_hermes.deploys.model.declaration", "InvalidSetting", Exit.USAGE),
        ("pyinfra_hermes.deploys.model.releases", "UnknownRelease", Exit.USAGE),
        ("pyinfra_hermes.deploys.model.releases.overlay", "InvalidOverlay", Exit.USAGE),
        ("pyinfra_hermes.deploys.model.spec", "InvalidSpec", Exit.USAGE),
        ("pyinfra_hermes.deploys.model.dotenv", "CannotEncode", Exit.USAGE),
        ("pyinfra_hermes.deploys.model.render", "CannotRender", Exit.REFUSED),
        ("pyinfra_hermes.deploys.references", "UnresolvedSecret", Exit.FAILED),
    ):
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return Problem(str(error), None, exit)
    return None
