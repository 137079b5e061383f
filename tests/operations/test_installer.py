"""What the operations of upstream's installer ask a host to do, and the script that decides what may be run."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.context import ctx_host

from pyinfra_hermes.facts.observation import Installation, Release
from pyinfra_hermes.operations import installer
from pyinfra_hermes.operations.announcing import Change

from .harness import BARE, RUNNING, Yielded, maurice, packaged, stdin, yielded

ID, OTHER = "v2026.7.1-installer-a93c65b0", "v2026.5.7-installer-b34368cb"
DIGEST = "ab" * 32
HOME = "/home/maurice/.hermes"


def observed(**fields: object):  # type: ignore[no-untyped-def]
    return replace(RUNNING, agents={"maurice": maurice(**fields)})


def script(seen: object = BARE, **fields: object) -> Yielded:
    given: dict[str, object] = {"agent": "maurice", "release": ID, "sha256": DIGEST, "url": "https://m/i.sh", **fields}
    return yielded(installer.script, seen, **given)  # type: ignore[arg-type]


def release(seen: object) -> Yielded:
    return yielded(
        installer.release, seen, agent="maurice", release=ID, calver="2026.7.1", directory=f"{HOME}/releases/{ID}",
        hermes_home=HOME, sha256=DIGEST, repository="https://m/r.git", uv="/uv", arguments=["--skip-setup"],
    )  # type: ignore[arg-type] # fmt: skip


def test_what_is_complete_or_under_way_is_not_fetched() -> None:
    done = observed(releases={ID: Release(ID, "0.18.0", "2026.7.1", "3.11")})
    assert script(done).noop == f"release {ID} is installed"
    assert release(done).noop == f"release {ID} is installed"
    assert script(observed(installation=Installation(OTHER, True, None))).noop == f"release {OTHER} is being installed"


def test_a_release_of_another_agent_does_not_count() -> None:
    other = replace(maurice(releases={ID: Release(ID, "0.18.0", "2026.7.1", "3.11")}), name="lisa")
    assert script(replace(RUNNING, agents={"maurice": maurice(), "lisa": other})).commands


def test_an_ended_installation_is_no_hindrance() -> None:
    for result in ("failed exit code 1", None):
        assert script(observed(installation=Installation(OTHER, False, result))).commands


def test_another_installation_under_way_is_left_alone() -> None:
    refused = release(observed(installation=Installation(OTHER, True, None)))
    assert f"agent maurice gets {OTHER} at this moment" in refused.only.get_raw_value()
    assert refused.changes[0].action == "refuse"


def test_a_file_of_the_control_machine_is_sent_on_standard_input() -> None:
    sent = script(url=None, content=lambda: b"#!/bin/bash\necho 'x'\n")
    assert base64.b64encode(b"#!/bin/bash\necho 'x'\n").decode() in (stdin(sent.only) or "")
    assert " - " in sent.only.get_raw_value()
    assert sent.changes == (Change("do", f"installer of {ID}", "fetch and verify"),)


def test_a_file_that_cannot_be_had_is_told_with_the_remedy() -> None:
    def missing() -> bytes:
        raise installer.NoInstaller("no such file")

    assert "no such file\nPin it" in script(url=None, content=missing, remedy="Pin it").only.get_raw_value()


@pytest.mark.parametrize("right", [True, False])
def test_only_what_has_the_digest_is_kept(tmp_path: Path, right: bool) -> None:
    content = b"#!/bin/bash\ntouch /tmp/executed\n"
    folder = tmp_path / "notes"
    digest = hashlib.sha256(content).hexdigest() if right else DIGEST
    text = packaged("installer_fetch.sh").replace("@FILE@", base64.encodebytes(content).decode().rstrip("\n"))
    command = ["sh", "-s", "--", "maurice", ID, str(folder), digest, "-", "Pin it anew"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if right:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        kept = folder / "maurice.installer/install.sh"
        assert kept.read_bytes() == content
        assert kept.stat().st_mode & 0o777 == 0o444
        assert [entry.name for entry in folder.iterdir()] == ["maurice.installer"]
    else:
        assert done.returncode == 1
        assert f"expected sha256 {DIGEST}\n  actual   sha256 {hashlib.sha256(content).hexdigest()}\n" in done.stderr
        assert "nothing was executed" in done.stderr and done.stderr.endswith("Pin it anew\n")
        assert not folder.exists()


def test_the_rest_of_what_is_sent_is_three_scripts_that_no_line_of_theirs_can_end() -> None:
    whole = packaged("installer_start.sh")
    for mark, name in (
        ("RUN", "installer_run.sh"),
        ("END", "installer_end.sh"),
        ("ENTER", "installer_enter.py.txt"),
    ):
        assert whole.count(f"\n@{mark}@\n{mark}\n") == 1
        assert mark not in packaged(name).splitlines()


def test_a_host_that_did_not_answer_again_is_not_asked() -> None:
    """A power cut ended the wait with an AttributeError: paramiko's client has no transport then."""
    host = SimpleNamespace(connected=False, current_op_global_arguments={})
    with ctx_host.use(host):
        assert installer._asked("echo") is None
