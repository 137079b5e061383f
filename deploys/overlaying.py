"""The manifest of releases that host data name (``hermes_manifest``), laid over the one that ships."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.exceptions import DeployError

from .model.manifests import Text, overlay_from
from .model.releases import manifest
from .model.releases.overlay import InvalidOverlay

_laid: list[Path] = []


def lay_over(host_name: str, path: object) -> None:
    """
    Lay a file's releases over the manifest that ships, for this process; nothing when ``path`` is None.

    A run has one such file, whichever of its hosts name it. Raises :class:`pyinfra.api.exceptions.DeployError`.
    """
    if path is None:
        return
    if not isinstance(path, str | Path):
        raise DeployError(f"{host_name}: hermes_manifest must be the path of a file")
    file = Path(path).expanduser().absolute()
    if _laid == [file]:
        return
    if _laid:
        raise DeployError(f"{host_name}: hermes_manifest is {file}, and {_laid[0]} for another host of this run")
    try:
        text = Text(file.read_text(encoding="utf-8"), str(file), lambda path: Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DeployError(f"{host_name}: hermes_manifest {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DeployError(f"{host_name}: hermes_manifest {file}: it is not UTF-8") from None
    overlay_from(lambda: text)
    try:
        manifest()
    except InvalidOverlay as error:
        overlay_from(None)
        raise DeployError(f"{host_name}: hermes_manifest: {error}") from None
    _laid.append(file)
