"""``releases.yaml`` in the state directory: what the user adds to the shipped manifest of releases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pyinfra_hermes.deploys.model.manifests import Text, overlay_from
from pyinfra_hermes.deploys.model.releases import shipped
from pyinfra_hermes.deploys.model.releases.overlay import InvalidOverlay, Overlay

from ..state.directory import OpenDirectory, StateDirectory
from ..state.writing import commit, writer

FILENAME = "releases.yaml"
_HEAD = """\
# What is added to the releases that ship with clm, or changed of them. Written by: clm release pin
# May be edited; clm release list tells what is wrong with it, and where. See docs/releases.md
"""


def path() -> Path:
    """Return where the file is, whether it is there or not."""
    return StateDirectory.default().path / FILENAME


def read() -> Text | None:
    """
    Return the file; None when there is none.

    Raises what the state's own files raise: it must be the user's, and closed to others.
    """
    with StateDirectory.default().opened() as directory:
        return None if directory is None else _read(directory)


def overlay() -> Overlay | None:
    """Return what the file says, or None. Raises :class:`InvalidOverlay`."""
    text = read()
    return None if text is None else Overlay.read(text)


def pin(tag: str, installer_sha256: str) -> Path:
    """
    Record the digest of a tag's installer, all of it or nothing, and return the file's path.

    What else stands in the file stays, comments included where it can; its earlier version is kept. Raises
    :class:`InvalidOverlay` when the file cannot be used as it is, and what the state's own files raise.
    """
    with writer(StateDirectory.default()) as directory:
        old = _read(directory) or _text("", directory.path / FILENAME)
        new = replace(old, content=_pinned(old, tag, installer_sha256))
        Overlay.read(new).over(shipped())
        commit(directory, {FILENAME: new.content.encode()})
    overlay_from(read)
    return Path(new.path)


def _read(directory: OpenDirectory) -> Text | None:
    content = directory.read(FILENAME)
    if content is None:
        return None
    try:
        return _text(content.decode(), directory.path / FILENAME)
    except UnicodeDecodeError:
        raise InvalidOverlay(f"{directory.path / FILENAME}: it is not UTF-8") from None


def _text(content: str, file: Path) -> Text:
    return Text(content, str(file), lambda path: Path(path).read_text(encoding="utf-8"))


def _pinned(old: Text, tag: str, digest: str) -> str:
    present = Overlay.read(old)
    rows: list[dict[str, Any]] = (yaml.safe_load(old.content) or {}).get("releases") or []
    number = next((n for n, row in enumerate(present.releases) if row.tag == tag), None)
    wanted: dict[str, Any] = yaml.safe_load(old.content) or {}
    if number is None:
        wanted["releases"] = [*rows, {"tag": tag, "installer_sha256": digest}]
    else:
        wanted["releases"] = [{**row, "installer_sha256": digest} if n == number else row for n, row in enumerate(rows)]
    lines = old.content.splitlines()
    at = present.lines.get(("releases", number, "installer_sha256")) if number is not None else None
    if at is not None and (before := present.releases[number or 0].installer_sha256):
        lines[at - 1] = lines[at - 1].replace(before, digest)
    elif number is None and rows:
        dash = lines[present.lines["releases", len(rows) - 1] - 1]
        indent = dash[: len(dash) - len(dash.lstrip())]
        lines += [f"{indent}- tag: {tag}", f"{indent}  installer_sha256: {digest}"]
    elif "releases" not in wanted or not rows:
        lines = lines or _HEAD.splitlines()
        lines += ["releases:", f"  - tag: {tag}", f"    installer_sha256: {digest}"]
    text = "\n".join(lines) + "\n"
    # However the file was laid out, it must now say this, and nothing else.
    if _said(replace(old, content=text)) == wanted:
        return text
    return _HEAD + yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)


def _said(text: Text) -> Any:
    try:
        Overlay.read(text)
        return yaml.safe_load(text.content)
    except (InvalidOverlay, yaml.YAMLError):
        return None
