"""``clm release``: the releases of Hermes that may be installed, and what proves each."""

from __future__ import annotations

import click

from ..lazy import Entry, LazyGroup, examples
from ..output import emit, format_option, pairs, say, table
from . import options

_BASE = click.option(
    "--base",
    metavar="URL",
    envvar="HERMES_INSTALLER_BASE",
    show_envvar=True,
    help="Where upstream's installers lie: a mirror, or a folder here.",
)

#: Characters of a detail that a table of 80 columns has room for.
_SHORT = 28
_ARCH = click.option(
    "--arch",
    type=click.Choice(["x86_64", "aarch64"]),
    default="x86_64",
    show_default=True,
    help="Architecture of the hosts.",
)


@click.group(
    cls=LazyGroup,
    table={
        "prune": Entry("pyinfra_hermes.cli.commands.rollout", "prune", "Remove releases that no agent needs."),
    },
)
def release() -> None:
    """
    Releases of Hermes that may be installed, and what proves each.

    A manifest ships with clm. What you add or change stands in releases.yaml beside the rest of your state. A release
    is named by its tag, with or without the v, by its version on the package index, or as default or latest.
    """


@release.command(
    "list",
    short_help="Show which releases may be installed, and who runs them.",
    epilog=examples("clm release list", "clm release list -o json"),
)
@format_option
def list_(format_: str) -> None:
    """Show which releases may be installed, by which methods, where they were tested, and which agents run them."""
    from ..releases.listing import listed, unlisted
    from ..releases.overlay_file import path

    found = listed()
    if emit([each.data() for each in found], format_):
        return
    table(
        ["RELEASE", "VERSION", "METHODS", "TESTED ON", "AGENTS"],
        [
            (
                f"{each.release.tag}{' *' if each.is_default else ''}{' +' if each.overlay else ''}",
                each.release.version or "-",
                ", ".join(each.release.methods),
                each.tested,
                ", ".join(each.agents) or "-",
            )
            for each in found
        ],
        "There are no releases.",
    )
    click.echo("\n* the default. Untested platforms: clm release show RELEASE")
    if any(each.overlay for each in found):
        click.echo(f"+ added or changed by {path()}")
    if strays := unlisted():
        say(f"On record with a release that is not listed: {', '.join(strays)}. Pin it: clm release pin TAG")


@release.command(
    short_help="Show all about one release.",
    epilog=examples("clm release show v2026.7.20", "clm release show latest"),
)
@click.argument("name", metavar="RELEASE")
@format_option
def show(name: str, format_: str) -> None:
    """Show all about one release: its pins, and how well it is known on each kind of host, by each method."""
    from ..releases.listing import one
    from ..releases.overlay_file import path

    found = one(name)
    if emit(data := found.data(), format_):
        return
    it = found.release
    near = ", the nearest one, as it is not listed which fits" if data["adapter_chosen"] else ""
    rows = [
        ("release", f"{it.tag}{', the default' if found.is_default else ''}"),
        ("version", it.version or "not known"),
        ("adapter", f"{it.adapter.name}{near}: {', '.join(data['features']) or 'no features'}"),
        ("methods", ", ".join(it.methods)),
        ("installer", f"sha256 {it.installer_sha256}"),
        ("lock", f"sha256 {it.lock_sha256}" if it.lock else "none, so it cannot be installed as wheels"),
        ("python", f"{it.python[0]} or newer, older than {it.python[1]}, for wheels" if it.lock else "-"),
        ("beside", f"{', '.join(it.source.folders)} of {it.source.file}, which the wheels lack" if it.source else "-"),
        ("on hosts", ", ".join(data["ids"].values())),
        ("agents", ", ".join(f"{agent} by {method}" for agent, method in found.agents.items()) or "-"),
    ]
    if found.overlay:
        what = "adds it" if found.added else f"changes {', '.join(data['overlay'])}"
        rows.append(("overlay", f"{path()} {what}"))
    pairs(rows)
    click.echo()
    table(
        ["PLATFORM", "INSTALLER", "WHEEL"],
        [(str(row), row.installer or "no", row.wheel or "no") for row in it.platforms],
        "No platform is known.",
    )


@release.command(
    short_help="Record the digest of upstream's installer at a tag.",
    epilog=examples(
        "clm release pin v2026.8.3",
        "clm release pin v2026.8.3 --base https://mirror.example.org/raw --yes",
    ),
)
@click.argument("tag")
@_BASE
@options.yes
@click.option("--full", is_flag=True, help="Show the whole difference, however long.")
def pin(tag: str, base: str | None, yes: bool, full: bool) -> None:
    """
    Fetch upstream's installer at a tag, show how it differs from the last one that is pinned, ask, and pin it.

    Nothing of it is run. The digest is written to releases.yaml beside the rest of your state; from then on that is
    what hosts are given, and no other. A tag that is not listed is added, for the method installer.
    """
    from ..releases.pinning import pin

    found = pin(tag, base, yes, full)
    if found.changed:
        click.echo(f"{found.tag} is pinned in {found.path}.")
        click.echo(f"Next: clm release show {found.tag}")
    else:
        click.echo(f"{found.tag} is pinned already; nothing to do.")


@release.command(
    short_help="Hash everything that is pinned anew.",
    epilog=examples(
        "clm release verify",
        "clm release verify v2026.5.7 --offline --wheelhouse wheels",
    ),
)
@click.argument("names", nargs=-1, metavar="[RELEASE]...")
@_BASE
@click.option("--offline", is_flag=True, help="Ask nobody: installers are left out.")
@click.option(
    "--wheelhouse",
    type=click.Path(file_okay=False),
    help="A folder of wheels that must be complete, too.",
)
@click.option("--python", default="3.11", show_default=True, help="Python that the wheelhouse is for.")
@_ARCH
@format_option
def verify(
    names: tuple[str, ...],
    base: str | None,
    offline: bool,
    wheelhouse: str | None,
    python: str,
    arch: str,
    format_: str,
) -> None:
    """
    Hash everything that is pinned anew: locks, installers as they are served now, wheels that were fetched before.

    All releases, and the tools of integrations, when none is named. Exit 8 when something is not what is pinned, or a
    wheelhouse lacks something; 1 when something could not be fetched, so that nobody knows.
    """
    from dataclasses import asdict
    from pathlib import Path

    from ..output import folded
    from ..progress import Progress
    from ..releases.verifying import Asked, exit_code, verify

    folder = Path(wheelhouse).expanduser() if wheelhouse else None
    with Progress.shown("verifying") as progress:
        asked = Asked(names, base, offline, folder, python, arch)
        found = verify(asked, lambda subject, what: progress.step(subject, what, None))
    if not emit([asdict(finding) for finding in found], format_):
        # Digests and addresses: a table has no room for them, and cut they are of no use.
        long = [each for each in found if each.outcome != "ok" and len(each.detail) > _SHORT]
        words = {"differs": "DIFFERS", "lacks": "LACKS", "unknown": "not known", "absent": "-", "unasked": "not asked"}
        table(
            ["RELEASE", "WHAT", "RESULT", "DETAIL"],
            [
                (
                    *(each.subject, each.what, words.get(each.outcome, each.outcome)),
                    "see below" if each in long else "as pinned" if len(each.detail) > _SHORT else each.detail,
                )
                for each in found
            ],
            "There are no releases.",
        )
        for each in long:
            click.echo(folded(f"\n{each.subject}, {each.what}: {each.detail}", "  "))
    click.get_current_context().exit(exit_code(found))


@release.command(
    short_help="Fill a folder with what hosts without internet need.",
    epilog=examples(
        "clm release download v2026.5.7 wheels --python 3.11 --arch x86_64",
        "clm release download latest wheels --tool mcp-atlassian",
    ),
)
@click.argument("name", metavar="RELEASE")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--python", default="3.11", show_default=True, help="Python of the hosts; clm host check HOST shows it.")
@_ARCH
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="NAME",
    help="A tool that an integration needs. Can be given several times.",
)
def download(name: str, folder: str, python: str, arch: str, tools: tuple[str, ...]) -> None:
    """
    Fill a folder with the wheels of a release and what they lack, each checked against its pin.

    For --wheelhouse, on a machine without internet. Several releases and Pythons may share one folder.
    """
    from pathlib import Path

    from ..releases.downloading import download

    count = download(name, Path(folder).expanduser(), python, arch, tools)
    click.echo(f"{folder} has what is needed, {count} files.")
    click.echo(f"Next: clm agent install ... --method wheel --wheelhouse {folder}")
