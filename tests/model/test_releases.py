"""The manifest of releases proves itself."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pyinfra_hermes.deploys.model.adapters import ADAPTERS, Feature
from pyinfra_hermes.deploys.model.layout import Layout, release_directory
from pyinfra_hermes.deploys.model.releases import Manifest, Method, Release, UnknownRelease, first_with, manifest, tags
from tests.lab.upstream import GENUINE

ROW: dict[str, Any] = {
    "tag": "v2026.5.7",
    "version": "0.13.0",
    "adapter": "0.13",
    "extras": ["messaging", "mcp"],
    "installer_sha256": "a" * 64,
    "lock": "v2026.5.7.lock",
    "lock_sha256": "b" * 64,
    "python": ["3.11", "3.14"],
    "platforms": [{"os": "debian", "os_version": "12", "arch": "x86_64", "wheel": "tested"}],
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
    named = get_args(Feature)
    assert frozenset().union(*(adapter.features for adapter in ADAPTERS.values())) == frozenset(named)
    for feature in named:
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
    assert any(row.status("wheel") == "tested" for row in manifest().release().platforms)


def test_what_is_called_tested_is_what_the_lab_runs() -> None:
    def tested(method: Method) -> dict[str, list[str]]:
        found = {
            release.tag: [str(row) for row in release.platforms if row.status(method) == "tested"]
            for release in manifest().releases
        }
        return {tag: rows for tag, rows in found.items() if rows}

    assert tested("wheel") == {release.tag: ["debian 12 x86_64"] for release in manifest().releases}
    assert tested("installer") == {tag: ["debian 12 x86_64"] for tag in GENUINE}


def test_where_the_python_is_too_old_there_are_no_wheels() -> None:
    for release in manifest().releases:
        ubuntu = release.platform("ubuntu", "22.04", "x86_64")
        assert ubuntu is not None
        assert (ubuntu.status("installer"), ubuntu.status("wheel")) == ("untested", None)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("v2026.5.29.2", "v2026.5.29.2"),
        ("2026.5.29.2", "v2026.5.29.2"),
        ("V2026.5.7", "v2026.5.7"),
        ("0.18.2", "v2026.7.7.2"),
        ("v0.18.2", "v2026.7.7.2"),
        ("latest", "v2026.7.20"),
        ("newest", "v2026.7.20"),
        ("default", "v2026.5.7"),
        (None, "v2026.5.7"),
    ],
)
def test_a_release_has_more_than_one_name(name: str | None, tag: str) -> None:
    assert manifest().release(name).tag == tag


@given(st.lists(st.integers(0, 999_999_999), min_size=3, max_size=4), st.sampled_from(["", "v", "V"]))
def test_a_tag_is_the_same_with_and_without_its_v(numbers: list[int], prefix: str) -> None:
    text = ".".join(map(str, numbers))
    tag = tags.tag_of(prefix + text)
    assert tag == f"v{text}"
    assert tags.order(tag) == tuple(numbers)


@given(st.text())
def test_what_is_no_tag_is_none(text: str) -> None:
    assert tags.tag_of(text) is None or re.fullmatch(r"[vV]?[0-9]+(\.[0-9]+){2,3}", text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v2026.5.8", "Did you mean v2026.5.7"),
        ("2026.7.2", "v2026.7.20"),
        ("v2027.1.1", "If upstream has v2027.1.1: clm release pin v2027.1.1"),
        ("0.99.0", "listed: v2026.5.7"),
        ("", "listed: v2026.5.7"),
    ],
)
def test_a_release_that_is_not_listed_has_an_answer(name: str, said: str) -> None:
    with pytest.raises(UnknownRelease) as caught:
        manifest().release(name)
    assert said in str(caught.value)


def test_without_a_lock_there_are_no_wheels() -> None:
    bare = {**ROW, "platforms": [{"os": "debian", "os_version": "12", "arch": "x86_64", "installer": "untested"}]}
    release = read(releases=[{key: value for key, value in bare.items() if not key.startswith("lock")}]).release()
    assert release.methods == ("installer",)
    assert release.id_of("installer") == "v2026.5.7-installer-aaaaaaaa"
    for call in (lambda: release.id, release.requirements):
        with pytest.raises(UnknownRelease, match="has no lock of wheels"):
            call()


def test_what_the_wheel_lacks_is_part_of_the_release() -> None:
    source = {"file": "hermes_agent-0.13.0.tar.gz", "sha256": "c" * 64, "folders": ["skills"]}
    ids = {
        read(releases=[{**ROW, **change}]).release().id
        for change in (
            {},
            {"source": source},
            {"source": {**source, "sha256": "d" * 64}},
            {"source": {**source, "folders": ["skills", "optional-skills"]}},
        )
    }
    assert len(ids) == 4
    assert read(releases=[{**ROW, "source": source}]).release().environment("/r") == {
        "HERMES_BUNDLED_SKILLS": "/r/skills"
    }
    assert read().release().environment("/r") == {}


def test_another_digest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"v2026.5.7.lock: sha256 is [0-9a-f]{64}, the manifest says b{64}"):
        read().release().requirements()


def test_another_lock_is_another_folder() -> None:
    release = manifest().release("v2026.5.7")
    assert read().release().id == "v2026.5.7-wheel-bbbbbbbb"
    assert read().release().id != release.id
    assert release_directory("maurice", release.id) == f"/opt/pyinfra-hermes/releases/{release.id}"
    assert release.calver == "2026.5.7"


def test_a_release_that_the_installer_makes_is_named_for_its_digest_and_lies_with_the_agent() -> None:
    release = manifest().release("v2026.5.7")
    id = release.id_of("installer")
    assert id == "v2026.5.7-installer-b34368cb"
    assert release_directory("maurice", id) == f"/home/maurice/.hermes/releases/{id}"
    assert (
        release.model_copy(update={"installer_sha256": "a" * 64}).id_of("installer") == "v2026.5.7-installer-aaaaaaaa"
    )


@pytest.mark.parametrize("release", manifest().releases, ids=lambda release: release.tag)
def test_an_installer_is_called_as_the_page_says(release: Release) -> None:
    home = "/home/maurice/.hermes"
    arguments = release.adapter.installer.arguments(release.tag, home, f"{home}/releases/r")
    page = ("--skip-setup", "--branch", release.tag, "--hermes-home", home, "--dir", f"{home}/releases/r")
    assert arguments[: len(page)] == page
    # The first range knows no other option, and ends at one that it does not know.
    assert arguments[len(page) :] == (() if release.adapter.name == "0.13" else ("--skip-browser",))


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
                {"platforms": [{"os": "debian", "os_version": "12", "arch": "mips", "wheel": "tested"}]},
                {"platforms": [{"os": "debian", "os_version": "12", "arch": "x86_64", "wheel": "probably"}]},
                {"platforms": [{"os": "debian", "os_version": "12", "arch": "x86_64", "status": "tested"}]},
                {"lock": None},
                {"lock": None, "lock_sha256": None},
                {"source": {"file": "../x.tar.gz", "sha256": "a" * 64, "folders": ["skills"]}},
                {"source": {"file": "hermes_agent-1.tar.gz", "sha256": "a" * 64, "folders": ["../skills"]}},
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
