"""A closer look: what its script prints is read whatever an agent made up, and is no more than is allowed."""

from __future__ import annotations

import os
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.facts.examination import AgentExamination, Examination, Probe, read
from pyinfra_hermes.facts.observation import CutOff
from pyinfra_hermes.facts.script import MOST_OF_ONE, examine

LINES = """\
time 1795366800
available_mib 19830
inodes 12
reboot_required yes
system running
agent maurice
exposure 3.5
oom_kills 2
dropin override.conf
journal 2026-11-22T23:29:30+0000 wolf-i hermes[681]: ready
linger yes
manager active
crontab 1
own size . 820
own size .hermes/logs -
own authorized_keys 2
own user_unit out.service
own odd -rwsr-xr-x maurice ~/x
own open 644 ~/.hermes/.env
own jobs 3
own state_db ok
agent maurice
own probe shell ok
own probe git absent git is not installed
own probe node fail Trace/breakpoint trap
own probe system-bus closed
own probe others 0
own probe writable /etc /usr
end
""".splitlines()


def test_what_was_found_is_read() -> None:
    assert read(LINES) == Examination(
        time=1795366800,
        available_mib=19830,
        inodes_percent=12,
        reboot_required=True,
        system="running",
        agents={
            "maurice": AgentExamination(
                name="maurice",
                exposure=3.5,
                oom_kills=2,
                dropins=("override.conf",),
                journal=("2026-11-22T23:29:30+0000 wolf-i hermes[681]: ready",),
                linger=True,
                manager=True,
                crontab_lines=1,
                authorized_keys=2,
                user_units=("out.service",),
                odd=("-rwsr-xr-x maurice ~/x",),
                open=("644 ~/.hermes/.env",),
                jobs=3,
                sizes={".": 820, ".hermes/logs": None},
                state_db="ok",
                probes=(
                    Probe("shell", "ok"),
                    Probe("git", "absent", "git is not installed"),
                    Probe("node", "fail", "Trace/breakpoint trap"),
                ),
                bus_open=False,
                others_seen=0,
                writable=("/etc", "/usr"),
            )
        },
    )


def test_one_that_was_cut_off_is_none() -> None:
    with pytest.raises(CutOff):
        read(LINES[:-1])


@given(st.lists(st.text(), max_size=30))
def test_an_agent_can_say_nothing_but_what_it_is_asked(made_up: list[str]) -> None:
    lines = [f"own {text}" for whole in made_up for text in whole.split("\n")]
    found = read(["time 7", "agent a", *lines, "agent b", "oom_kills 1", "end"])
    assert (found.time, found.agent("b"), list(found.agents)) == (7, AgentExamination("b", oom_kills=1), ["a", "b"])
    a = found.agent("a")
    assert (a.exposure, a.oom_kills, a.journal, a.linger, a.dropins) == (None, 0, (), False, ())
    assert all(len(several) <= 20 for several in (a.odd, a.open, a.user_units, a.probes))


@pytest.mark.parametrize(("size", "cut"), [(100, False), (MOST_OF_ONE // 2, False), (MOST_OF_ONE * 2, True)])
def test_an_agent_has_so_much_to_say_and_the_rest_is_said_to_be_left_out(size: int, cut: bool) -> None:
    marking = resources.files("pyinfra_hermes.facts").joinpath("marking.sh").read_text()
    text = ("leaf 0 []\n" * (size // 10)).encode()
    told = subprocess.run(["sh", "-c", f"{marking}own {MOST_OF_ONE}"], input=text, capture_output=True).stdout
    lines = told.splitlines()
    assert (lines[-1] == b"cut") is cut
    assert set(lines[: len(lines) - cut]) == {b"own leaf 0 []"}
    assert len(told) < MOST_OF_ONE * 2


def test_one_endless_line_is_left_out_whole() -> None:
    marking = resources.files("pyinfra_hermes.facts").joinpath("marking.sh").read_text()
    script = f"{marking}yes answer | tr -d '\\n' | own 65536"
    assert subprocess.run(["sh", "-c", script], capture_output=True, timeout=60).stdout == b"cut\n"


def test_this_machine_can_be_examined() -> None:
    result = subprocess.run(
        ["sh", "-s"], input=examine(["hermes-test-absent"]), capture_output=True, text=True, timeout=60, check=False
    )
    found = read(result.stdout.split("\n"))
    assert found.time is not None and found.available_mib is not None
    assert found.agents == {"hermes-test-absent": AgentExamination("hermes-test-absent")}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_a_home_is_looked_at_as_its_owner(tmp_path: Path) -> None:
    look = resources.files("pyinfra_hermes.facts").joinpath("look.sh").read_text()
    home = tmp_path / "home"
    (home / ".hermes/credentials").mkdir(parents=True)
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").write_text("# none\n\nssh-ed25519 AAAA me\n")
    (home / ".config/systemd/user").mkdir(parents=True)
    (home / ".config/systemd/user/out.service").write_text("[Service]\n")
    (home / ".hermes/.env").write_text("A=b\n")
    (home / ".hermes/.env").chmod(0o644)
    (home / ".hermes/credentials/key").write_text("x")
    (home / ".hermes/credentials/key").chmod(0o600)
    (home / "tool").write_text("x")
    (home / "tool").chmod(0o4755)
    told = subprocess.run(["sh", "-c", look, "sh", str(home), "/nowhere"], capture_output=True, text=True).stdout
    lines = told.splitlines()
    assert {"authorized_keys 1", "user_unit out.service", "open 644 ~/.hermes/.env"} <= set(lines)
    assert [line for line in lines if line.startswith("odd")] == ["odd -rwsr-xr-x root ~/tool"]
    assert not any("credentials" in line for line in lines)
