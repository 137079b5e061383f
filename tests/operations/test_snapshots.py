"""What works is kept once before the first change, and gone back to when a change of releases was cut off."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from pyinfra_hermes.facts.observation import Observation
from pyinfra_hermes.facts.snapshots import Snapshot
from pyinfra_hermes.operations import files, receipts, services, snapshots

from .harness import RUNNING, file, packaged, stdin, with_agent, yielded

OLD, NEW, OTHER = "v2026.5.7-wheel-5a8bb6d9", "v2026.7.1-wheel-6d6f8086", "v2026.7.20-wheel-00000000"
PROVEN = with_agent(RUNNING, runs=OLD)
UPGRADE = Snapshot("1", "2026-11-22T23:50:10Z", "upgrade", OLD, NEW)


def under_way(snapshot: Snapshot = UPGRADE, **fields: Any) -> Observation:
    return with_agent(PROVEN, under_way=snapshot, **fields)


def changed(observed: Observation) -> list[str]:
    return yielded(
        files.link, observed, agent="maurice", key="code", path="/home/maurice/.hermes/code", target="/opt/x"
    ).raw


def test_what_works_is_kept_before_the_first_change() -> None:
    kept, made = changed(PROVEN)
    assert kept == f"sh -s -- maurice {OLD}"
    assert made.startswith("setpriv")


@pytest.mark.parametrize(
    "fields",
    [{"unit": None}, {"listening": None}, {"paths": {"pending_restart": file("", "644", "root")}},
     {"paths": {"pending_proof": file("", "644", "root")}}, {"under_way": UPGRADE}, {"runs": None}],
    ids=["stopped", "deaf", "changed", "unproven", "under way", "no unit"],
)  # fmt: skip
def test_what_is_not_known_to_work_is_not_kept(fields: dict[str, Any]) -> None:
    assert len(changed(with_agent(PROVEN, **fields))) == 1


def test_every_script_is_posix_and_takes_no_secret() -> None:
    for command in (
        yielded(snapshots.switched, PROVEN, agent="maurice", release=NEW, database="1").only,
        yielded(snapshots.reverted, under_way(), agent="maurice", reason="it's broken; $(id)").only,
        yielded(snapshots.concluded, under_way(), agent="maurice").only,
        yielded(services.healthy, under_way(), agent="maurice", port=8642).commands[0],
    ):
        text = stdin(command) or ""  # type: ignore[arg-type]
        assert subprocess.run(["dash", "-n"], input=text, text=True, check=False).returncode == 0
        assert packaged("snapshot.sh") in text


def test_a_change_of_releases_keeps_first_and_only_then() -> None:
    switch = {"agent": "maurice", "release": NEW}
    assert yielded(snapshots.switched, PROVEN, **switch).raw == [f"sh -s -- maurice upgrade {NEW} ''"]
    assert yielded(snapshots.switched, with_agent(PROVEN, runs=NEW), **switch).noop is not None
    # One that was cut off before the switch is carried on.
    assert yielded(snapshots.switched, under_way(), **switch).raw != []
    unproven = with_agent(PROVEN, paths={"pending_proof": file("", "644", "root")})
    assert yielded(snapshots.switched, unproven, **switch).noop == "agent maurice has nothing to go back to"


def test_a_change_of_releases_that_was_cut_off_is_gone_back_from_unless_it_is_wanted() -> None:
    back = yielded(snapshots.settled, under_way(), agent="maurice", release=OTHER)
    assert back.raw == [f"sh -s -- maurice 'the upgrade to {NEW} was cut off'"]
    assert "back from an upgrade" in str(back.changes[0])
    assert yielded(snapshots.settled, under_way(), agent="maurice", release=NEW).noop is not None
    configured = under_way(replace(UPGRADE, what="configure"))
    assert yielded(snapshots.settled, configured, agent="maurice", release=OTHER).noop is not None
    assert yielded(snapshots.reverted, PROVEN, agent="maurice").noop == "nothing is under way for agent maurice"


def test_what_was_not_proven_is_not_concluded() -> None:
    unproven = under_way(paths={"pending_proof": file("", "644", "root")})
    assert "was not proven" in yielded(snapshots.concluded, unproven, agent="maurice").raw[0]
    assert yielded(snapshots.concluded, PROVEN, agent="maurice").noop is not None


def test_a_run_without_changes_has_no_receipt() -> None:
    assert yielded(receipts.kept, PROVEN, agent="maurice", what="install").noop == "nothing was done to agent maurice"


def test_who_ran_a_command_under_sudo_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    assert receipts.operator().startswith("ada@")


@pytest.mark.parametrize("lines", [0, 3, 700])
def test_a_file_of_receipts_keeps_the_last_ones(tmp_path: Any, lines: int) -> None:
    path = tmp_path / "maurice.receipts"
    if lines:
        path.write_bytes(b"\xff damaged\n" * lines)
    script = packaged("receive.py.txt")
    subprocess.run(["python3", "-c", script, str(path), '{"id": "1"}', "failed", "why\n\x1b"], check=True)
    found = path.read_text(errors="replace").splitlines()
    assert len(found) == min(lines + 1, 500)
    assert found[-1] == '{"id": "1", "reason": "why\\n\\u001b", "result": "failed"}'
    assert path.stat().st_mode & 0o777 == 0o600
