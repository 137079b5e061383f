"""What of a lock a host needs, whatever interpreter asks."""

from __future__ import annotations

import re

import pytest

from pyinfra_hermes.deploys.model.releases import Release, manifest
from pyinfra_hermes.deploys.wheelhouse import applicable

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
