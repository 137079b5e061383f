"""A Click group that imports a command only when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import click
from typing_extensions import override


@dataclass(frozen=True)
class Entry:
    """Where a command is, and its line in the group's help."""

    module: str
    attribute: str
    help: str


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines to type, each at most 76 columns wide."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Group(click.Group):
    """A group that says of a command that there is not which one may be meant, wherever that is."""

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            from .misnamed import instead

            found = instead(ctx, self, args)
            hint = f" Did you mean {' or '.join(found)}?" if found else ""
            ctx.fail(f"No such command '{name}'.{hint}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are named in a table: ``--help`` and usage errors import none of them."""

    #: What is done to a command when it is imported, before it is used.
    prepare: ClassVar[Callable[[click.Command], None] | None] = None

    def __init__(self, *args: object, table: Mapping[str, Entry] | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.table = dict(table or {})

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.table, *super().list_commands(ctx)]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.table.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(entry.module), entry.attribute)
        prepare = type(self).prepare
        if prepare is not None:
            prepare(command)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        here = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl([*here.items(), *((name, entry.help) for name, entry in self.table.items())])
