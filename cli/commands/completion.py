"""``clm completion``: what makes a shell complete ``clm``."""

from __future__ import annotations

import click

from ..lazy import examples

#: Where a shell looks for it, for one account.
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/clm",
    "zsh": "~/.zfunc/_clm",
    "fish": "~/.config/fish/completions/clm.fish",
}


@click.command(epilog=examples(*(f"clm completion {k} >{v}" for k, v in _PLACES.items())))
@click.argument("shell", type=click.Choice(list(_PLACES)))
def completion(shell: str) -> None:
    """
    Print what makes a shell complete commands, options, and names on record.

    It takes effect in the next shell. Zsh wants its folder in fpath, before compinit: fpath+=~/.zfunc
    """
    from click.shell_completion import get_completion_class

    from ..main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "clm", "_CLM_COMPLETE").source(), nl=False)
