"""What is typed in the wrong group, or by another program's word for it, leads to the command that is meant."""

from __future__ import annotations

import click
import pytest

from pyinfra_hermes.cli import misnamed
from pyinfra_hermes.cli.main import cli


def refusal(*words: str) -> str:
    """What is said of a command that there is not."""
    with pytest.raises(click.UsageError) as refused:
        cli.main(list(words), prog_name="clm", standalone_mode=False)
    return refused.value.message


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("agent metrics maurice", "clm metrics"),
        ("agent ps", "clm ps"),
        ("agent list", "clm ps"),
        ("agent ls", "clm ps"),
        ("agent chat maurice", "clm chat"),
        ("agent show maurice", "clm agent status"),
        ("agent delete maurice", "clm agent remove"),
        ("agent ssh maurice", "clm agent shell"),
        ("agent maurice status", "clm agent status"),
        ("agent upgrde maurice", "clm agent upgrade"),
        ("agent rotate maurice", "clm secret rotate"),
        ("agent channel rm maurice discord", "clm agent channel disable"),
        ("logs maurice", "clm agent logs"),
        ("memory show maurice", "clm agent memory"),
        ("backup maurice", "clm agent backup"),
        ("start maurice", "clm agent start"),
        ("channels", "clm agent channel"),
        ("hosts", "clm host"),
        ("list", "clm ps"),
        ("rotate maurice", "clm secret rotate"),
        ("host ls", "clm host list"),
        ("host delete wolf-i", "clm host remove"),
        ("provider create", "clm provider add"),
        ("secret show maurice KEY", "clm secret get or clm secret status or clm secret list"),
        ("help", "clm --help"),
        ("host help", "clm host --help"),
        ("version", "clm --version"),
    ],
)
def test_the_command_that_is_meant_is_named(words: str, meant: str) -> None:
    assert refusal(*words.split()).endswith(f"Did you mean {meant}?")


def test_where_nothing_is_near_nothing_is_guessed() -> None:
    assert refusal("xyzzy") == "No such command 'xyzzy'."


def test_every_command_that_another_word_leads_to_is_there() -> None:
    names = {name for group in groups(cli, click.Context(cli, info_name="clm")) for name in group}
    assert {name for meant in misnamed._WORDS.values() for name in meant} <= names
    # A word that is a command wherever it could be typed would never be looked up.
    assert not [word for word, meant in misnamed._WORDS.items() if word in meant]


def groups(command: click.Group, ctx: click.Context) -> list[list[str]]:
    """The names in a group, and in all below it."""
    found = [command.list_commands(ctx)]
    for name in found[0]:
        below = command.get_command(ctx, name)
        if isinstance(below, click.Group):
            found += groups(below, click.Context(below, info_name=name, parent=ctx))
    return found
