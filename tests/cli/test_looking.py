"""What the doctor says of an agent and its host: pure functions, one thing wrong at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyinfra_hermes.cli.condition import condition
from pyinfra_hermes.cli.fleet import Report
from pyinfra_hermes.cli.looking.agent_checks import agent_findings, last_run
from pyinfra_hermes.cli.looking.findings import Finding, worst
from pyinfra_hermes.cli.looking.host_checks import host_findings
from pyinfra_hermes.cli.looking.page import Page, journal_of
from pyinfra_hermes.facts.examination import AgentExamination, Examination, Probe
from pyinfra_hermes.operations.preflight import Requirements
from tests.cli.test_condition import STARTED, Case, instance, observed
from tests.model.test_troubles import HEAD, LINES, SYSTEMD

FINE = AgentExamination(
    "maurice", exposure=3.5, state_db="ok", journal=(SYSTEMD + "Starting hermes-maurice.service...",)
)
#: The fixture of an agent lingers, has a stray process and a server that nobody knows: see tests/facts/captured.py.
CLEAN = {"linger yes": None, "processes": "processes 3 0"}


def findings(looked: AgentExamination = FINE, case: Case | None = None, hardening: str = "standard") -> list[Finding]:
    case = case or Case(dict(CLEAN))
    found, seen = instance(hardening=hardening, **case.record), observed(case)
    each = Report(found, seen.agent("maurice"), condition(found, seen, case.drift), case.drift)
    return agent_findings(each, seen, looked)


def levels(found: list[Finding]) -> dict[str, str]:
    return {each.check: each.level for each in found if each.level != "ok"}


def test_of_one_that_is_well_nothing_is_wrong() -> None:
    assert levels(findings()) == {}


@pytest.mark.parametrize(
    ("change", "check", "level", "words"),
    [
        ({"authorized_keys": 2}, "authorized_keys", "fail", "has 2 keys"),
        ({"user_units": ("out.service",)}, "user units", "warn", "out.service"),
        ({"crontab_lines": 1}, "crontab", "warn", "1 lines"),
        ({"linger": True, "manager": True}, "linger", "fail", "a user manager of it runs outside its sandbox"),
        ({"odd": ("-rwsr-xr-x root ~/x",)}, "odd files", "warn", "-rwsr-xr-x root ~/x"),
        ({"open": ("644 ~/.hermes/.env",)}, "modes", "fail", "644 ~/.hermes/.env may be read by others"),
        ({"state_db": "database disk image is malformed"}, "state.db", "fail", "malformed"),
        ({"exposure": 8.5}, "exposure", "warn", "8.5 of 10, more than profile standard should have"),
        ({"oom_kills": 3}, "oom", "fail", "killed 3 processes"),
        ({"dropins": ("override.conf",)}, "drop-ins", "warn", "override.conf"),
        ({"jobs": 2}, "jobs", "note", "2 jobs"),
        (
            {"probes": (Probe("node", "fail", "Trap"),)},
            "tool node",
            "warn",
            "node does not work under profile standard: Trap",
        ),
        ({"probes": (Probe("git", "absent"),)}, "tools", "note", "not on the host: git"),
        ({"probes": (Probe("shell", "ok"),), "bus_open": True}, "walls", "fail", "the system's bus"),
        ({"probes": (Probe("shell", "ok"),), "others_seen": 2}, "walls", "fail", "2 other homes"),
        ({"journal": (LINES["disk-full"],)}, "disk-full", "warn", "the disk is full"),
    ],
)
def test_one_thing_that_is_wrong_is_told(change: dict[str, object], check: str, level: str, words: str) -> None:
    found = findings(replace(FINE, **change))  # type: ignore[arg-type]
    assert levels(found) == {check: level}
    [each] = [each for each in found if each.check == check and each.level != "ok"]
    assert words in each.text


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (Case({**CLEAN, "path home": "path home|directory|755|maurice|maurice|4096|-"}), {"modes": "fail"}),
        (Case({**CLEAN, "processes": "processes 3 2"}), {"processes": "warn"}),
        (Case({**CLEAN, "unit NeedDaemonReload": "unit NeedDaemonReload=yes"}), {"unit": "warn"}),
        (Case({**CLEAN, "unit NRestarts": "unit NRestarts=2"}), {"restarts": "note"}),
        (Case({**CLEAN, "unit UnitFileState": "unit UnitFileState=disabled"}), {"enabled": "warn"}),
        (Case(dict(CLEAN), more=('own leaf 0 ["mcp_servers", "planted", "command"]',)), {"mcp": "warn"}),
        (Case(dict(CLEAN), more=('own leaf 0 ["mcp_servers", "jira.example", "command"]',)), {}),
        (Case({**CLEAN, "own whole": None}), {"size": "warn"}),
        (Case({**CLEAN, "listener 127.0.0.1 8642": "listener 0.0.0.0 8642 4711"}), {"loopback": "fail"}),
        (Case(dict(CLEAN), more=(f"own turn failed {STARTED + 9} 401",)), {"state": "warn"}),
        (
            Case({**CLEAN, "unit MemoryCurrent": "unit MemoryCurrent=99"}, more=("unit MemoryHigh=100",)),
            {"memory": "warn"},
        ),
    ],
)
def test_one_thing_that_the_host_shows_is_told(case: Case, expected: dict[str, str]) -> None:
    assert levels(findings(case=case)) == expected


def test_what_others_can_get_at_is_told_of_once() -> None:
    case = Case({**CLEAN, "own path env": "own path env|regular file|644|maurice|maurice|40|-"})
    looked = replace(FINE, open=("644 ~/.hermes/.env", "644 ~/.hermes/cron/jobs.json"))
    [each] = [each for each in findings(looked, case) if each.check == "modes"]
    assert each.text == (
        ".env (mode 644, maurice; should be 600, maurice); 644 ~/.hermes/cron/jobs.json may be read by others"
    )


def test_a_daemon_that_is_down_is_down_because_of_what_its_journal_says() -> None:
    dead = {
        "unit ActiveState": "unit ActiveState=failed",
        "unit SubState": "unit SubState=failed",
        "listener 127": None,
    }
    case = Case({**CLEAN, **dead, "own answer": None, "unit MainPID": "unit MainPID=0"})
    assert levels(findings(replace(FINE, journal=(LINES["broken-release"],)), case)) == {
        "state": "fail",
        "broken-release": "fail",
    }


def test_what_the_daemon_got_over_is_not_told() -> None:
    looked = replace(FINE, journal=(LINES["key-refused"],))
    assert levels(findings(looked)) == {"key-refused": "warn"}
    assert levels(findings(looked, Case(dict(CLEAN), more=(f"own turn answered {STARTED + 9} -",)))) == {}


def test_without_a_sandbox_there_is_none_to_leave() -> None:
    looked = replace(FINE, exposure=9.2, linger=True, probes=(Probe("shell", "ok"),), bus_open=True)
    assert levels(findings(looked, hardening="off")) == {"linger": "note"}


def test_only_the_last_run_counts_and_of_a_loop_the_one_before() -> None:
    start, again = SYSTEMD + "Starting hermes-m.service - Hermes agent m...", SYSTEMD + "Scheduled restart job, at 2."
    assert list(last_run([HEAD + "old", start, HEAD + "new"])) == [start, HEAD + "new"]
    assert list(last_run([start, HEAD + "why", again, start])) == [start, HEAD + "why", again, start]
    assert list(last_run([HEAD + "no start"])) == [HEAD + "no start"]


def host(looked: Examination, case: Case | None = None, between: tuple[float, float] = (1000, 1001)) -> list[Finding]:
    needs = Requirements(platforms=(("debian", "12", "x86_64"),), python=("3.11", "3.14"))
    found = host_findings(instance().host, observed(case or Case()), looked, [needs], between)
    return [each for each in found if each.check != "preflight"]


def test_a_host_is_checked() -> None:
    well = Examination(time=1000, available_mib=4000, inodes_percent=3, system="running")
    assert levels(host(well)) == {}
    assert levels(host(replace(well, time=2000))) == {"clock": "warn"}
    assert levels(host(replace(well, time=998))) == {}
    assert levels(host(replace(well, available_mib=50))) == {"memory": "fail"}
    assert levels(host(replace(well, inodes_percent=99))) == {"inodes": "fail"}
    assert levels(host(replace(well, reboot_required=True, system="degraded"))) == {"reboot": "note", "systemd": "note"}
    full = Case({"host free_mib:/home": "host free_mib:/home 20", "host free_mib:/var": "host free_mib:/var 900"})
    assert [each.level for each in host(well, full) if each.check == "disk"] == ["fail", "warn"]
    assert levels(host(well, Case(more=("agent stray", "linger yes")))) == {"strangers": "note"}
    assert levels(host(well, Case({"host uptime": "host uptime 60"}))) == {"boot": "note"}


def test_the_worst_of_nothing_is_fine() -> None:
    assert worst([]) == "ok"
    assert worst(findings(replace(FINE, authorized_keys=1))) == "fail"


def test_the_page_names_what_there_is_and_shows_no_escape() -> None:
    looked = replace(FINE, journal=(HEAD + "\x1b[31mred\x07",), sizes={".": 2048, ".hermes/logs": None})
    found, seen = instance(), observed(Case(dict(CLEAN)))
    each = Report(found, seen.agent("maurice"), condition(found, seen))
    page = Page(each, looked, findings(looked))
    rows = dict(page.rows())
    assert rows["sizes"] == "home 2 MiB, logs ?"
    assert rows["proof"].startswith("its process (pid 4711) holds 127.0.0.1:8642, health 200")
    assert max(map(len, rows)) <= 10
    assert "\x1b" not in str(journal_of(looked, 5)) + str(page.data())
    assert page.data()["troubles"] == [each.data() for each in page.findings]
