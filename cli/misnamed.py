"""What somebody may have meant by a command that there is not: another word for one, or one of another group."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

import click

#: What other programs call things, and what they are called here; the likeliest first.
_WORDS: dict[str, tuple[str, ...]] = {
    "add": ("install", "set", "enable"),
    "agents": ("ps",),
    "apply": ("configure",),
    "attach": ("shell", "add"),
    "cat": ("read", "show"),
    "change": ("edit", "set", "configure"),
    "check": ("doctor", "verify", "test"),
    "connect": ("chat", "tunnel"),
    "console": ("shell",),
    "create": ("add", "install", "set"),
    "delete": ("remove", "unset", "clear", "disable"),
    "describe": ("show", "status"),
    "destroy": ("remove",),
    "detach": ("remove",),
    "down": ("stop",),
    "downgrade": ("rollback",),
    "dump": ("export", "backup"),
    "edit": ("set", "configure"),
    "events": ("history", "logs"),
    "get": ("show", "status", "list"),
    "health": ("status", "check", "doctor"),
    "info": ("show", "status"),
    "inspect": ("show", "status"),
    "journal": ("logs",),
    "list": ("ps", "types"),
    "log": ("logs",),
    "login": ("shell",),
    "ls": ("list", "ps"),
    "message": ("chat",),
    "migrate": ("move",),
    "models": ("types",),
    "new": ("add", "install"),
    "off": ("disable",),
    "on": ("enable",),
    "plan": ("diff",),
    "proxy": ("tunnel",),
    "read": ("show",),
    "register": ("add",),
    "remove": ("delete", "unset", "clear", "disable"),
    "rm": ("remove", "delete", "unset", "clear", "disable"),
    "run": ("start", "exec"),
    "setup": ("configure", "init"),
    "key": ("secret",),
    "keys": ("secret",),
    "model": ("configure", "edit"),
    "settings": ("config", "edit"),
    "show": ("get", "status", "list", "ps"),
    "ssh": ("shell",),
    "status": ("ps", "check", "show"),
    "talk": ("chat",),
    "token": ("secret",),
    "top": ("ps",),
    "undo": ("rollback",),
    "uninstall": ("remove",),
    "unset": ("remove",),
    "up": ("start",),
    "url": ("tunnel", "env"),
    "update": ("upgrade", "edit", "set", "configure"),
    "view": ("show",),
}
#: Options that some type as commands.
_OPTIONS = {"help": "--help", "version": "--version"}
_MOST = 3


def instead(ctx: click.Context, group: click.Group, arguments: Sequence[str]) -> list[str]:
    """Return commands, as they are typed, that somebody may have meant, the likeliest first."""
    word, here = arguments[0].lower(), group.list_commands(ctx)
    if word in _OPTIONS and (word != "version" or ctx.parent is None):
        return [f"{ctx.command_path} {_OPTIONS[word]}"]
    close = [f"{ctx.command_path} {name}" for name in difflib.get_close_matches(word, here, n=2)]
    if len(arguments) > 1 and arguments[1] in here and not close:
        # Its name stands before what is to be done with it.
        return [f"{ctx.command_path} {arguments[1]}"]
    root = ctx.find_root()
    agents = f"{root.command_path} agent"
    there = {path: names for path, names in _groups(root) if path != ctx.command_path}
    # What there is of clm itself, and what is done to an agent: people leave the noun out, or put it where none is.
    near = {path: names for path, names in there.items() if path in (root.command_path, agents)}
    same = (word, word.removesuffix("s"), f"{word}s")
    others = _WORDS.get(word, ())
    found = [f"{ctx.command_path} {name}" for name in (*same, *others) if name in here]
    found += _among(near, same)
    if not found:
        found = _among(near, others)
        found += _among(there, (word,)) if not found or ctx is root else []
    return list(dict.fromkeys(found or close))[:_MOST]


def _groups(root: click.Context) -> Iterator[tuple[str, list[str]]]:
    clm = root.command
    assert isinstance(clm, click.Group)
    yield root.command_path, clm.list_commands(root)
    for noun in clm.list_commands(root):
        group = clm.get_command(root, noun)
        if isinstance(group, click.Group):
            yield f"{root.command_path} {noun}", group.list_commands(root)


def _among(groups: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    return [f"{path} {name}" for name in names for path, known in groups.items() if name in known]
