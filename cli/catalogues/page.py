"""All catalogues as one page for people: ``python -m pyinfra_hermes.cli.catalogues.page >docs/catalogue.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping

from pyinfra_hermes.deploys.model import channels, integrations, memory, providers
from pyinfra_hermes.deploys.model.declaration import Declaration, Field

from .catalogue import since
from .fields import shown

#: Each catalogue with its heading and what is said below it.
_CATALOGUES: tuple[tuple[str, str, Mapping[str, Declaration]], ...] = (
    ("Providers", "`clm provider add NAME --type TYPE`", providers.CATALOGUE),
    ("Channels", "`clm agent configure AGENT --channel NAME`", channels.CATALOGUE),
    ("Integrations", "`clm integration add NAME --type TYPE`", integrations.CATALOGUE),
    ("Memory backends", "An agent has one of them at a time, or none.", memory.CATALOGUE),
)


def page() -> str:
    """Return all catalogues as a page in Markdown: ``docs/catalogue.md``."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Catalogue"
    yield ""
    yield "Made from the declarations in `deploys/model`; do not edit. To make it anew:"
    yield ""
    yield "    .venv/bin/python -m pyinfra_hermes.cli.catalogues.page >docs/catalogue.md"
    yield ""
    yield (
        "A secret is never a flag's value: it is asked for, or comes from standard input, a file or a reference: "
        "`--NAME-stdin`, `--NAME-file`, `--NAME-reference`. *Since* names the first listed release that has the entry."
    )
    for heading, how, catalogue in _CATALOGUES:
        yield from ("", f"## {heading}", "", how)
        for entry in catalogue.values():
            yield from ("", *_entry(entry))


def _entry(entry: Declaration) -> Iterable[str]:
    yield f"### {entry.name}"
    yield ""
    link = f" [Credential]({entry.credential_url})." if entry.credential_url else ""
    yield f"{entry.title}. Since {since(entry)}.{link}"
    if entry.fields:
        yield ""
        yield "| field | | default | |"
        yield "|---|---|---|---|"
        for f in entry.fields:
            yield f"| `{f.name}` | {_nature(f)} | {_cell(shown(f, f.default))} | {_cell(f'{f.label}: {f.help}')} |"


def _nature(f: Field) -> str:
    choices = f" ({', '.join(f.choices)})" if f.choices else ""
    return f"{f.kind}{choices}{', needed' if f.required and f.default is None else ''}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(page())
