"""Where upstream's installer and repository may come from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model.releases import manifest
from pyinfra_hermes.deploys.upstream import INSTALLERS, REPOSITORY, InvalidSource, Upstream
from pyinfra_hermes.operations.installer import NoInstaller

RELEASE = manifest().release("v2026.5.7")
PLACE = "NousResearch/hermes-agent/v2026.5.7/scripts/install.sh"


def test_upstream_itself_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HERMES_INSTALLER_BASE", raising=False)
    monkeypatch.delenv("HERMES_REPOSITORY", raising=False)
    assert Upstream.of() == Upstream(INSTALLERS, REPOSITORY)
    assert Upstream().url(RELEASE) == f"https://raw.githubusercontent.com/{PLACE}"
    assert Upstream().content(RELEASE) is None


def test_the_environment_is_asked_before_upstream_and_after_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_INSTALLER_BASE", "https://mirror.example/raw/")
    assert Upstream.of().url(RELEASE) == f"https://mirror.example/raw/{PLACE}"
    assert Upstream.of("http://other.example").url(RELEASE) == f"http://other.example/{PLACE}"


@pytest.mark.parametrize("spelled", ["{}", "file://{}"])
def test_a_folder_is_read_here_and_must_hold_what_is_pinned(tmp_path: Path, spelled: str) -> None:
    (tmp_path / PLACE).parent.mkdir(parents=True)
    upstream = Upstream(spelled.format(tmp_path))
    assert upstream.url(RELEASE) is None
    content = upstream.content(RELEASE)
    assert content is not None
    with pytest.raises(NoInstaller, match="No such file"):
        content()
    (tmp_path / PLACE).write_bytes(b"x")
    with pytest.raises(NoInstaller, match=f"expected sha256 {RELEASE.installer_sha256}"):
        content()
    right = RELEASE.model_copy(update={"installer_sha256": hashlib.sha256(b"x").hexdigest()})
    content = upstream.content(right)
    assert content is not None and content() == b"x"


@pytest.mark.parametrize(
    "installers",
    [
        "/nowhere",
        "ftp://x/y",
        "https://",
        "https://u:p@x",
        "https://x/a b",
        "https://x\n",
        "http://x:port",
        "https://x'",
    ],
)
def test_a_base_that_is_none_is_refused(installers: str) -> None:
    with pytest.raises(InvalidSource):
        Upstream(installers)


@pytest.mark.parametrize(
    "repository",
    ["", "git@github.com:x/y.git", "ssh://x/y", "file:///", "file://host/x", "/srv/x", 'https://x/"y', "-x"],
)
def test_a_repository_that_is_none_is_refused(repository: str) -> None:
    with pytest.raises(InvalidSource):
        Upstream(repository=repository)


def test_a_repository_on_the_host_is_one() -> None:
    assert Upstream(repository="file:///srv/hermes-agent.git").repository == "file:///srv/hermes-agent.git"


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(InvalidSource, match="must be text, not int"):
        Upstream.of(12)


@given(st.text())
def test_whatever_is_given_is_taken_or_refused_and_never_breaks_out_of_its_place(text: str) -> None:
    try:
        taken = Upstream(repository=text)
    except InvalidSource:
        return
    assert not set(taken.repository) & set("\"'\\\n \t$`")
