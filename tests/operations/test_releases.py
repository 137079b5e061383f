"""A release is uploaded into a folder that nobody can guess and built by one script."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api import FileUploadCommand, StringCommand

from pyinfra_hermes.facts.observation import Observation, Release
from pyinfra_hermes.facts.script import PENDING, RELEASES
from pyinfra_hermes.facts.snapshots import Snapshot
from pyinfra_hermes.operations import releases
from pyinfra_hermes.operations.wheels import NoWheels

from .harness import BARE, RUNNING, Yielded, packaged, stdin, with_agent, yielded

RELEASE = "v2026.5.7-wheel-481e9e99"
NEXT = "v2026.7.1-wheel-6d6f8086"
LOCK = "uv==1 \\\n    --hash=sha256:00\n"


def wheel(observed: Observation | None, error: str | None = None) -> tuple[Yielded, list[tuple[str, str]]]:
    asked: list[tuple[str, str]] = []

    def archive(python: str, arch: str) -> Path:
        asked.append((python, arch))
        if error:
            raise NoWheels(error)
        return Path("/cache/wheels.tar")

    found = yielded(releases.wheel, observed, names=(), release=RELEASE, calver="2026.5.7", lock=LOCK, archive=archive)
    return found, asked


def test_an_installed_release_is_never_touched_nor_its_wheels_fetched() -> None:
    found, asked = wheel(RUNNING)
    assert (found.commands, found.noop, asked) == ([], f"release {RELEASE} is installed", [])


def test_a_release_is_staged_uploaded_and_built() -> None:
    found, asked = wheel(BARE)
    stage, upload, build = found.commands
    assert asked == [("3.11", "x86_64")]
    assert isinstance(stage, StringCommand)
    folder = re.fullmatch(r"mkdir -m 700 -- (/tmp/pyinfra-hermes-[0-9a-f]{32})", stage.get_raw_value())
    assert folder is not None
    assert isinstance(upload, FileUploadCommand)
    assert (upload.src, upload.dest) == ("/cache/wheels.tar", f"{folder[1]}/wheels.tar")
    # Made by the login itself: root would have to trust what lies in /tmp.
    assert stage.connector_arguments == upload.connector_arguments == {"_sudo": False}
    assert isinstance(build, StringCommand)
    assert build.get_raw_value() == f"sh -s -- /opt/pyinfra-hermes/releases {RELEASE} RELEASE {folder[1]} 2026.5.7"
    assert stdin(build) == (packaged("wheels.sh") + packaged("release.sh")).replace("@LOCK@", LOCK.rstrip("\n"))
    assert "@LOCK@" not in (stdin(build) or "")


def test_two_runs_stage_in_different_folders() -> None:
    assert wheel(BARE)[0].raw[0] != wheel(BARE)[0].raw[0]


def test_wheels_that_cannot_be_had_fail_one_host_and_leave_nothing() -> None:
    found, _ = wheel(BARE, "not to be had\nERROR: 'x'")
    stage, clean, refusal = found.raw
    assert clean == stage.replace("mkdir -m 700", "rmdir")
    assert refusal == "echo 'not to be had\nERROR: '\"'\"'x'\"'\"'' >&2; exit 1"


def test_nothing_is_fetched_for_an_unobserved_host() -> None:
    found, asked = wheel(None)
    assert (len(found.commands), asked) == (1, [])
    assert found.raw[0].endswith("exit 1")


@pytest.mark.parametrize("name", ["wheels.sh", "remove.sh"])
def test_a_script_that_runs_as_root_has_its_own_path_and_stops_at_unset_names(name: str) -> None:
    text = packaged(name)
    assert re.search(r"^set -e?u$", text, re.M)
    assert re.search(r"^PATH=/usr/local/sbin:", text, re.M)


def sources(folder: Path) -> tuple[str, str]:
    """An archive of sources, with what no archive of upstream's should have; its name and its digest."""
    wheels = folder / "wheels"
    wheels.mkdir()
    with tarfile.open(wheels / "x-1.tar.gz", "w:gz") as archive:

        def add(name: str, text: str = "", mode: int = 0o644, type: bytes = tarfile.REGTYPE, to: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.type, member.linkname = len(text), mode, type, to
            archive.addfile(member, io.BytesIO(text.encode()))

        add("x-1/skills", mode=0o700, type=tarfile.DIRTYPE)
        add("x-1/skills/a/SKILL.md", "one")
        add("x-1/skills/a/run.sh", "two", mode=0o4777)
        add("x-1/skills/link", type=tarfile.SYMTYPE, to="/etc/passwd")
        add("x-1/skills/../../out", "three")
        add("x-1/setup.py", "four")
        add("y/skills/other", "five")
    return "x-1.tar.gz", hashlib.sha256((wheels / "x-1.tar.gz").read_bytes()).hexdigest()


def bring(folder: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the beginning of release.sh, which takes what the wheels lack from the sources."""
    script = packaged("release.sh")
    beginning = script[: script.rindex("PYTHON\n") + len("PYTHON\n")]
    command = ["sh", "-s", "--", "2026.5.7", *arguments]
    text = f"set -eu\nwork={folder} target={folder}/target\n{beginning}"
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_what_the_wheels_lack_is_taken_from_verified_sources(tmp_path: Path) -> None:
    done = bring(tmp_path, [*sources(tmp_path), "skills"])
    assert (done.returncode, done.stderr) == (0, "")
    found = {
        str(path.relative_to(tmp_path)): (path.read_text(), path.lstat().st_mode & 0o7777)
        for path in tmp_path.rglob("*")
        if not path.is_dir() and "wheels" not in path.parts
    }
    assert found == {"target/skills/a/SKILL.md": ("one", 0o644), "target/skills/a/run.sh": ("two", 0o755)}


@pytest.mark.parametrize(
    ("digest", "folder", "said"),
    [
        ("0" * 64, "skills", r"x-1.tar.gz: sha256 is [0-9a-f]{64}, not 0{64}; nothing of it was used"),
        (None, "locales", r"x-1.tar.gz does not have: locales"),
    ],
)
def test_sources_that_are_not_the_pinned_ones_stop_it(
    tmp_path: Path, digest: str | None, folder: str, said: str
) -> None:
    name, actual = sources(tmp_path)
    done = bring(tmp_path, [name, digest or actual, folder])
    assert done.returncode == 1
    assert re.fullmatch(said, done.stderr.strip())
    assert not (tmp_path / "target").exists()


def test_a_release_whose_wheels_lack_nothing_takes_nothing(tmp_path: Path) -> None:
    assert bring(tmp_path, []).returncode == 0
    assert not (tmp_path / "target").exists()


def test_what_an_agent_needs_by_now_is_not_pruned() -> None:
    """Between the look and the removal somebody may have begun an upgrade to it."""

    def pruned(observed: Observation) -> Yielded:
        return yielded(releases.pruned, observed, names=(), shared=[NEXT], own={})

    there = replace(RUNNING, releases={NEXT: Release(NEXT, "0.18.0", "2026.7.1", "3.11")})
    assert pruned(there).raw == [f"sh -s -- {RELEASES} {PENDING} {NEXT}"]
    begun = Snapshot("1", "2026-11-22T23:50:10Z", "upgrade", RELEASE, NEXT)
    for needing in (with_agent(there, under_way=begun), with_agent(there, runs=NEXT)):
        assert f"{NEXT}: needed by an agent" in pruned(needing).only.get_raw_value()
