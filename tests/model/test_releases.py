"""The manifest of releases proves itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from pyinfra_hermes.deploys.model.adapters import ADAPTERS, FEATURES
from pyinfra_hermes.deploys.model.layout import Layout, release_directory
from pyinfra_hermes.deploys.model.releases import Manifest, Release, UnknownRelease, first_with, manifest

ROW: dict[str, Any] = {
    "tag": "v2026.5.7",
    "version": "0.13.0",
    "adapter": "0.13",
    "extras": ["messaging", "mcp"],
    "installer_sha256": "a" * 64,
    "lock": "v2026.5.7.lock",
    "lock_sha256": "b" * 64,
    "python": ["3.11", "3.14"],
    "platforms": [{"os": "debian", "os_version": "12", "arch": "x86_64", "status": "tested"}],
}


def read(**document: Any) -> Manifest:
    return Manifest.model_validate({"default": "v2026.5.7", "releases": [ROW], **document}, strict=False)


@pytest.mark.parametrize("release", manifest().releases, ids=lambda release: release.tag)
def test_every_lock_is_the_one_that_the_manifest_means(release: Release) -> None:
    lock = release.requirements()
    pins = re.findall(r"^(\S+)==(\S+) ", lock, re.M)
    assert ("hermes-agent", release.version) in [(re.sub(r"\[.*\]", "", name), version) for name, version in pins]
    # The installer on the host takes uv from here.
    assert "uv" in [name for name, _ in pins]
    # Every requirement is pinned and every pin has a hash.
    blocks = re.split(r"^(?=\S)", lock, flags=re.M)
    assert all("--hash=sha256:" in block for block in blocks if block and not block.startswith("#"))


@pytest.mark.parametrize("release", manifest().releases, ids=lambda release: release.tag)
def test_every_lock_says_what_it_was_made_from(release: Release) -> None:
    head = [line.removeprefix("#").strip() for line in release.requirements().splitlines() if line.startswith("#")]
    assert head[0] == f"Made by scripts/lock-release {release.tag}, from:"
    assert tuple(head[1:-1]) == release.wanted
    assert f"[{','.join(release.extras)}]=={release.version}" in release.wanted[0]
    # Nobody else's machine: no addresses of an index, no folders.
    assert not re.search(r"://|--(index|find|extra)|file:|(^|\s)/", release.requirements(), re.M)


def test_releases_are_listed_from_the_oldest_on() -> None:
    tags = [[int(part) for part in release.calver.split(".")] for release in manifest().releases]
    assert tags == sorted(tags)


def test_features_belong_to_ranges_of_releases() -> None:
    assert {release.tag: release.adapter.name for release in manifest().releases} == {
        "v2026.5.7": "0.13",
        "v2026.5.29.2": "0.15",
        "v2026.7.1": "0.18",
        "v2026.7.7.2": "0.18",
        "v2026.7.20": "0.19",
    }
    assert frozenset().union(*(adapter.features for adapter in ADAPTERS.values())) == FEATURES
    for feature in FEATURES:
        first = first_with(feature)
        assert first is not None and first.has(feature)
        tags = [release.tag for release in manifest().releases]
        assert not any(release.has(feature) for release in manifest().releases[: tags.index(first.tag)])


def test_a_feature_that_no_listed_release_has_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    old = read()
    monkeypatch.setattr("pyinfra_hermes.deploys.model.releases.manifest", lambda: old)
    assert first_with("vertex") is None


def test_the_default_is_listed_and_is_what_no_tag_means() -> None:
    assert manifest().release() == manifest().release(manifest().default)


def test_the_default_is_tested_somewhere() -> None:
    assert any(row.status == "tested" for row in manifest().release().platforms)


def test_another_digest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"v2026.5.7.lock: sha256 is [0-9a-f]{64}, the manifest says b{64}"):
        read().release().requirements()


def test_another_lock_is_another_folder() -> None:
    release = manifest().release("v2026.5.7")
    assert release.id == f"v2026.5.7-wheel-{release.lock_sha256[:8]}"
    assert read().release().id != release.id
    assert release_directory(release.id) == f"/opt/pyinfra-hermes/releases/{release.id}"
    assert release.calver == "2026.5.7"


def test_an_unknown_release_is_answered_with_the_listed_ones() -> None:
    with pytest.raises(UnknownRelease, match=r"Release 'v1' is not in the manifest; listed: v2026.5.7"):
        manifest().release("v1")


def test_a_platform_is_found_whole_or_not_at_all() -> None:
    release = read().release()
    assert str(release.platform("debian", "12", "x86_64")) == "debian 12 x86_64"
    assert release.platform("debian", "13", "x86_64") is None
    assert release.platform("debian", "12", "aarch64") is None


@pytest.mark.parametrize(
    "document",
    [
        {"default": "v9.9.9"},
        {"default": "latest"},
        {"releases": [ROW, ROW]},
        {"releases": []},
        {"extra": 1},
        *(
            {"releases": [{**ROW, **change}]}
            for change in (
                {"tag": "main"},
                {"tag": "v2026.5.7\n"},
                {"tag": "../x"},
                {"lock_sha256": "B" * 64},
                {"lock_sha256": "b" * 63},
                {"installer_sha256": ""},
                {"python": ["3.11"]},
                {"surprise": 1},
                {"adapter": "0.12"},
                {"adapter": None},
                {"extras": "mcp"},
                {"platforms": [{"os": "debian", "os_version": "12", "arch": "mips", "status": "tested"}]},
                {"platforms": [{"os": "debian", "os_version": "12", "arch": "x86_64", "status": "probably"}]},
            )
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**document)


def test_paths_of_an_agent() -> None:
    paths = Layout("maurice")
    assert paths.config == "/home/maurice/.hermes/config.yaml"
    assert paths.unit == "/etc/systemd/system/hermes-maurice.service"
    for path in (paths.env, paths.memories, paths.code):
        assert path.startswith(f"{paths.hermes_home}/")
