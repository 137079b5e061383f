"""Which releases of the manifest a contract test runs against."""

from __future__ import annotations

import pytest

from pyinfra_hermes.deploys.model.adapters import Feature
from pyinfra_hermes.deploys.model.releases import Release, manifest


def on(*releases: Release) -> pytest.MarkDecorator:
    """
    Run a test, or with ``pytestmark`` a module, once with each of these releases.

    It acts on the fixture ``release``, and so on ``hermes_python``, ``in_hermes`` and all that build on them.
    """
    return pytest.mark.parametrize("release", releases, ids=lambda release: release.tag, indirect=True)


def on_every_release() -> pytest.MarkDecorator:
    """Run a test once with each release of the manifest."""
    return on(*manifest().releases)


def on_releases_with(*features: Feature) -> pytest.MarkDecorator:
    """Run a test once with each release that has all of these features."""
    return on(*(release for release in manifest().releases if all(map(release.has, features))))
