"""Every `clm` command that a message or a document names exists, with the flags it is given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pyinfra_hermes.cli.main import cli
from tests.calls import commands, of_clm, parse

ROOT = Path(__file__).parents[2]
_DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "scripts/demo"]
_SOURCES = [path for room in ("cli", "deploys", "operations", "facts") for path in sorted((ROOT / room).rglob("*.py"))]
#: The commands themselves, so that one which is added is looked for as well.
_TOP = sorted(cli.list_commands(click.Context(cli, info_name="clm")))
_MENTION = re.compile(rf"(?<![\w/.-])clm ((?:{'|'.join(map(re.escape, _TOP))})\b[^\n\\\\`'\"#|;)]*)")


def _mentions(paths: list[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            for match in _MENTION.finditer(line):
                yield str(path.relative_to(ROOT)), match.group(1).strip()


MENTIONS = sorted(set(_mentions(_DOCUMENTS + _SOURCES)))


def test_there_are_commands_to_check() -> None:
    assert len(MENTIONS) > 20
    # Every command is named somewhere: a user who reads no help finds it.
    assert {text.split()[0].rstrip(".,:") for _, text in MENTIONS} == set(_TOP)


@pytest.mark.parametrize(("where", "text"), MENTIONS)
def test_a_named_command_exists(where: str, text: str) -> None:
    # What a message fills in stands for a name.
    words = shlex.split(re.sub(r"\{[^}]*\}", "NAME", text).replace("{", "").replace("\\n", " "))
    command: click.Command = cli
    context = click.Context(cli, info_name="clm")
    while words and isinstance(command, click.Group):
        word = words.pop(0).rstrip(".,:")
        found = command.get_command(context, word)
        if found is None and not re.fullmatch(r"[a-z]+", word):
            return  # prose after the group's name
        assert found is not None, f"{where}: clm {text}: there is no {word}"
        command = found
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help",
        "-h",
    }
    for word in words:
        if word == "--":
            break  # what follows is another program's
        # "--NAME": the flag itself is filled in.
        if word.startswith("-") and word not in ("-", "--NAME"):
            assert word.split("=")[0].rstrip(".,") in known, f"{where}: clm {text}: there is no {word}"


def test_no_line_of_a_list_of_commands_is_cut_at_80_columns() -> None:
    for path, group in commands():
        if not isinstance(group, click.Group):
            continue
        context = click.Context(group, info_name=" ".join(("clm", *path)), terminal_width=80)
        cut = [line for line in group.get_help(context).splitlines() if line.endswith("...")]
        assert not [line for line in cut if not line.startswith("Usage: ")], cut


ALL = [(" ".join(path), command) for path, command in commands()]


def _examples(command: click.Command) -> list[str]:
    """The lines of a command's help that are to be typed; what the shell is told to join is joined."""
    text = str(command.epilog or "").replace("\\\n", " ")
    found = re.fullmatch(r"\s*\x08\n[A-Z][a-z ]+:\n(.*)", text.rstrip(), re.S)
    return [line.strip() for line in found[1].splitlines()] if found else []


@pytest.mark.parametrize(("name", "command"), ALL)
def test_every_command_has_examples_that_it_takes(
    name: str, command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    for line in _examples(command):
        for call in of_clm(line):
            try:
                called.append(parse(call, monkeypatch))
            except click.UsageError as error:
                pytest.fail(f"{line}: {error.format_message()}")
    if not isinstance(command, click.Group) or (name and command.invoke_without_command):
        assert name in called, f"clm {name} --help has no example of it: epilog=examples(...)"


@pytest.mark.parametrize(("name", "command"), ALL)
def test_help_fits_a_terminal_of_80_columns(name: str, command: click.Command) -> None:
    context = click.Context(command, info_name=f"clm {name}".strip(), terminal_width=80, max_content_width=80)
    assert not [line for line in command.get_help(context).splitlines() if len(line) > 80]


@pytest.mark.parametrize(("name", "command"), ALL)
def test_every_option_says_what_it_is_for(name: str, command: click.Command) -> None:
    silent = [each.opts for each in command.params if isinstance(each, click.Option) and not each.help]
    assert not silent, f"clm {name}"
