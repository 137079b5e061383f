"""The user's own releases, laid over those that ship: used when they are right, else refused with their line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import manifests
from pyinfra_hermes.deploys.model.manifests import Text
from pyinfra_hermes.deploys.model.releases import Manifest, manifest, shipped
from pyinfra_hermes.deploys.model.releases.overlay import InvalidOverlay, Overlay, adapter_for, nearest
from pyinfra_hermes.deploys.model.spec import AgentSpec, InvalidSpec

A = "a" * 64
FILE = Path("/somewhere/releases.yaml")


@pytest.fixture
def _nothing_laid() -> Iterator[None]:
    yield
    manifests.overlay_from(None)


def text(content: str, file: Path = FILE) -> Text:
    return Text(content, str(file), lambda path: Path(path).read_text())


def over(content: str, file: Path = FILE) -> Manifest:
    return Overlay.read(text(content, file)).over(shipped())


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}", "releases: []"])
def test_an_empty_one_changes_nothing(content: str) -> None:
    assert over(content) == shipped()


def test_a_pin_is_replaced_and_the_rest_stays() -> None:
    release = over(f"releases:\n- tag: 2026.7.1\n  installer_sha256: {A}\n").release("v2026.7.1")
    before = shipped().release("v2026.7.1")
    assert release.id_of("installer") == "v2026.7.1-installer-aaaaaaaa"
    assert dict(release) == {**dict(before), "installer_sha256": A}


def test_a_new_release_is_treated_like_the_one_before_it() -> None:
    found = over(f"default: v2026.6.1\nreleases:\n- {{tag: v2026.6.1, installer_sha256: {A}}}\n")
    release = found.release()
    assert (release.tag, release.adapter.name, release.methods) == ("v2026.6.1", "0.15", ("installer",))
    # Nobody tried it anywhere, and there are no wheels of it.
    assert {row.installer for row in release.platforms} == {"untested"}
    assert {row.wheel for row in release.platforms} == {None}
    assert [each.tag for each in found.releases].index("v2026.6.1") == 2


def test_its_version_says_better_what_it_is_like() -> None:
    row = f"{{tag: v2026.6.1, version: 0.18.5, installer_sha256: {A}}}"
    assert over(f"releases: [{row}]").release("v2026.6.1").adapter.name == "0.18"


def test_an_own_lock_lies_beside_the_overlay(tmp_path: Path) -> None:
    lock = "hermes-agent==0.15.3 \\\n    --hash=sha256:aa\n"
    (tmp_path / "own.lock").write_text(lock)
    digest = hashlib.sha256(lock.encode()).hexdigest()
    row = f"{{tag: v2026.6.1, installer_sha256: {A}, lock: own.lock, lock_sha256: {digest}}}"
    release = over(f"releases: [{row}]", tmp_path / "releases.yaml").release("v2026.6.1")
    assert release.requirements() == lock
    assert release.methods == ("installer", "wheel")
    assert any(each.wheel == "untested" for each in release.platforms)

    (tmp_path / "own.lock").write_text(f"{lock}# changed\n")
    with pytest.raises(ValueError, match=f"own.lock: sha256 is [0-9a-f]{{64}}, the manifest says {digest}"):
        release.requirements()
    (tmp_path / "own.lock").unlink()
    with pytest.raises(ValueError, match=r"own\.lock, cannot be read: No such file"):
        release.requirements()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "line 1: it is no YAML"),
        ("releases:\n- tag: v2026.5.7\n  tag: v2026.5.8\n", "line 3: tag is there twice"),
        ("releases:\n- tag: v2026.5.7\n- tag: 2026.5.7\n", "line 3: v2026.5.7 is listed twice"),
        ("default: v2026.5.7\nreleases:\n- {tag: main}\n", "line 3: releases.0.tag: String should match"),
        ("\nreleases:\n- tag: v2026.5.7\n  installer_sha256: abc\n", "line 4: releases.0.installer_sha256"),
        ("releases:\n- tag: v2026.5.7\n  instaler_sha256: abc\n", "line 3: releases.0.instaler_sha256: Extra inputs"),
        (f"releases:\n- tag: v2026.5.7\n  lock_sha256: {A}\n", "line 2: releases.0: lock and lock_sha256 go together"),
        ("releases:\n- tag: v2026.9.1\n", "line 2: v2026.9.1 is not a release that ships, so its installer_sha256"),
        ("default: v2026.9.1\n", "line 1: the default v2026.9.1 is not listed; listed: v2026.5.7"),
        (f"releases:\n- tag: v2026.9.1\n  installer_sha256: {A}\n  adapter: '0.99'\n", "line 4: releases.0.adapter"),
        ("- v2026.5.7\n", "line 1: the document"),
        ("nothing", "line 1: the document"),
        ("x: " + "y" * 1_000_001, "larger than"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1: it is no YAML"),
        ("a: \x00", "it is no YAML"),
    ],
)
def test_what_is_wrong_has_its_line(content: str, said: str) -> None:
    with pytest.raises(InvalidOverlay) as caught:
        over(content)
    assert str(caught.value).startswith(str(FILE))
    assert said in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_an_overlay_or_refused(content: str) -> None:
    try:
        over(content)
    except InvalidOverlay as error:
        assert str(FILE) in str(error)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["v2026.5.7", A]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tag", "default", "releases", "platforms", "os", "source"]), inner)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_any_document_is_an_overlay_or_refused(document: object) -> None:
    try:
        over(yaml.safe_dump(document))
    except InvalidOverlay as error:
        assert f"{FILE} line " in str(error)


@pytest.mark.usefixtures("_nothing_laid")
def test_an_overlay_in_force_is_what_everybody_sees() -> None:
    content = f"default: v2026.9.1\nreleases: [{{tag: v2026.9.1, installer_sha256: {A}}}]"
    manifests.overlay_from(lambda: text(content))
    assert manifest().release("latest").tag == "v2026.9.1"
    assert AgentSpec(name="maurice").release_id == "v2026.9.1-installer-aaaaaaaa"
    with pytest.raises(InvalidSpec, match=r"Release v2026\.9\.1 has no lock of wheels"):
        AgentSpec.parse({"name": "maurice", "method": "wheel"})
    manifests.overlay_from(lambda: None)
    assert manifest() == shipped()


@pytest.mark.parametrize(
    ("tag", "like"),
    [
        ("v2020.1.1", "v2026.5.7"),
        ("v2026.5.29.3", "v2026.5.29.2"),
        ("v2026.7.7", "v2026.7.1"),
        ("v2030.1.1", "v2026.7.20"),
    ],
)
def test_the_nearest_release_is_the_one_before(tag: str, like: str) -> None:
    assert nearest(shipped(), tag).tag == like


@pytest.mark.parametrize(
    ("version", "name"),
    [("0.9", "0.13"), ("0.13.0", "0.13"), ("0.17.9", "0.15"), ("0.18.0", "0.18"), ("1.0.0", "0.19")],
)
def test_an_adapter_covers_a_range(version: str, name: str) -> None:
    assert adapter_for(version).name == name
