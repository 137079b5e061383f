"""What of a lock a host needs, whatever interpreter asks; and how it is fetched from a folder."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyinfra_hermes.deploys.model.releases import Release, manifest
from pyinfra_hermes.deploys.wheelhouse import _NO_BUILD, Wheelhouse, applicable, missing, parts, sha256_of
from pyinfra_hermes.operations.wheels import NoWheels

LOCK = """\
# Made by hand.
everywhere==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
new==1.0 ; python_full_version >= '3.13' \\
    --hash=sha256:ba
old==1.0 ; python_full_version < '3.13' \\
    --hash=sha256:ca
elsewhere==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:da
small[a,b]==1.0 ; platform_machine == 'aarch64' and implementation_name != 'PyPy' \\
    --hash=sha256:ea
"""


@pytest.mark.parametrize(
    ("python", "arch", "expected"),
    [
        ("3.11", "x86_64", ["everywhere", "old"]),
        ("3.13", "x86_64", ["everywhere", "new"]),
        ("3.12", "aarch64", ["everywhere", "old", "small[a,b]"]),
    ],
)
def test_markers_are_those_of_the_host(python: str, arch: str, expected: list[str]) -> None:
    # pip would ask the interpreter that it runs in.
    text = applicable(LOCK, python, arch)
    assert re.findall(r"^([^ =]+)==1\.0 \\$", text, re.M) == expected
    assert ";" not in text
    assert text.startswith("everywhere==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n")


@pytest.mark.parametrize("release", manifest().releases, ids=lambda release: release.tag)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_what_a_release_needs_has_its_hashes_and_no_other_system(release: Release, python: str) -> None:
    text = applicable(release.requirements(), python, "x86_64")
    blocks = re.split(r"^(?=\S)", text, flags=re.M)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    names = {block.split("==")[0] for block in blocks}
    assert {"hermes-agent", "uv", "aiohttp", "anthropic", "boto3", "mcp", "mautrix"} <= names
    assert not names & {"pywin32", "colorama", "tzdata"}
    # libolm's wheels end with Python 3.12, and audioop left Python with 3.13.
    assert ("python-olm" in names, "audioop-lts" in names) == (python != "3.13", python == "3.13")


@dataclass(frozen=True)
class Own:
    """Something small that is locked, with sources that would show that they were run."""

    folder: Path
    source: Archive | None = None
    tag: str = "own-1"

    def requirements(self) -> str:
        digest = hashlib.sha256((self.folder / WHEEL).read_bytes()).hexdigest()
        return f"own==1.0 \\\n    --hash=sha256:{digest}\n"


@dataclass(frozen=True)
class Archive:
    """Sources by name and digest."""

    file: str
    sha256: str


WHEEL, SOURCES = "own-1.0-py3-none-any.whl", "own-1.0.tar.gz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A wheelhouse with one wheel and its sources, whose build leaves a mark."""
    folder = tmp_path / "house"
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: own\nVersion: 1.0\nRequires-Python: <3\n"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("own-1.0.dist-info/METADATA", metadata.replace("Requires-Python: <3\n", ""))
        wheel.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("own-1.0.dist-info/RECORD", "")
    mark = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    with tarfile.open(folder / SOURCES, "w:gz") as archive:
        for name, text in {
            "PKG-INFO": metadata,
            "setup.py": mark,
            "pyproject.toml": '[build-system]\nrequires = ["none-such"]\nbuild-backend = "setuptools.build_meta"\n',
        }.items():
            member = tarfile.TarInfo(f"own-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return folder


def test_sources_come_along_and_nothing_of_them_is_run(folder: Path, tmp_path: Path) -> None:
    source = Archive(SOURCES, sha256_of(folder / SOURCES))
    house = Wheelhouse(source=folder, cache=tmp_path / "cache")
    archive = house.archive(Own(folder, source), "3.11", "x86_64")
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == [WHEEL, SOURCES]
    assert not (tmp_path / "ran").exists()
    assert [entry.name for entry in tmp_path.joinpath("cache").iterdir() if entry.suffix == ".tar"] == [archive.name]
    # Other sources are another archive; what is there is not fetched again.
    assert house.place(Own(folder), "3.11", "x86_64") != archive
    (folder / SOURCES).unlink()
    assert house.archive(Own(folder.parent / "house", source), "3.11", "x86_64") == archive


def test_pip_before_23_1_finds_the_name_of_sources_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes it from the folder; the pip of Debian 12's venv is such a one.
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: hermes-agent\nVersion: 0.13.0\n")
    monkeypatch.chdir(tmp_path)
    backend: dict[str, Any] = {}
    exec(_NO_BUILD, backend)
    (tmp_path / "out").mkdir()
    name = backend["prepare_metadata_for_build_wheel"](str(tmp_path / "out"))
    assert name == "hermes_agent-0.13.0.dist-info"
    assert (tmp_path / "out" / name / "METADATA").read_bytes() == (tmp_path / "PKG-INFO").read_bytes()


def test_a_wheelhouse_says_all_that_it_lacks(folder: Path, tmp_path: Path) -> None:
    wanted = Own(folder, Archive(SOURCES, "0" * 64))
    assert missing(wanted, "3.11", "x86_64", folder) == [SOURCES]
    house = Wheelhouse(source=folder, cache=tmp_path / "cache")
    # Of one with another digest, which it is; of one that is not there, no more than its name.
    with pytest.raises(
        NoWheels, match=rf"(?s)could not be had in {folder}\..*\n  {SOURCES}\n.*Expected sha256 0{{64}}"
    ):
        house.archive(wanted, "3.11", "x86_64")
    (folder / SOURCES).unlink()
    with pytest.raises(NoWheels, match=rf"(?s)could not be had in {folder}\..*\n  {SOURCES}$"):
        house.archive(wanted, "3.11", "x86_64")
    release = manifest().release()
    assert release.source is not None
    lacking = missing(release, "3.11", "x86_64", folder)
    assert {"hermes-agent==0.13.0", "uv==0.13.9", release.source.file} <= set(lacking)
    assert len(lacking) == len(parts(release, "3.11", "x86_64"))
