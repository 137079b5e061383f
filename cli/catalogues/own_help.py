"""The help of a command that takes the fields of every entry of a catalogue: only those of the one that is named."""

from __future__ import annotations

from collections.abc import Mapping

import click
from typing_extensions import override

from pyinfra_hermes.deploys.model.declaration import Declaration

from . import fields


def of_one(catalogue: Mapping[str, Declaration], hint: str) -> type[click.Command]:
    """
    Return a class of commands with the options of :func:`.fields.field_options`, whose help shows one entry's.

    + hint: said instead while none is named; the names follow it
    """
    there = ", ".join(catalogue)

    class OfOne(click.Command):
        @override
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            words = [each.rpartition("=")[2] for each in args]
            ctx.meta[__name__] = [each for each in words if each in catalogue][-1:]
            return super().parse_args(ctx, args)

        @override
        def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            named = [catalogue[name] for name in ctx.meta.get(__name__, ())]
            shown = fields.field_options(named)(click.Command(None)) if named else click.Command(None)
            own = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
            own = [each for each in own if not str(each.name).startswith(fields.PARAMETER)]
            records = [each.get_help_record(ctx) for each in [*reversed(shown.params), *own]]
            with formatter.section("Options"):
                formatter.write_dl([each for each in records if each is not None])
            if not named:
                formatter.write_paragraph()
                formatter.write_text(f"{hint} There are: {there}")

    return OfOne
