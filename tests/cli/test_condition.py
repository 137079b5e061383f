"""The state of an agent: one pure function, a row for each state, and whatever a host may say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.condition import SOUND, STATES, condition
from pyinfra_hermes.cli.fleet import Fleet, Report
from pyinfra_hermes.cli.listing import NARROW, age, notes, rows, span
from pyinfra_hermes.cli.output import render
from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.state.records import STAGES, Agent, Host, Instance, StageResult
from pyinfra_hermes.facts.observation import Observation, parse
from tests.facts.captured import AGENT, DIGEST, HOST

READY = {stage: StageResult(status="done") for stage in STAGES}
#: 2026-11-22 17:00 UTC, when the unit of AGENT was started.
STARTED = 1795366800
_DETAILED = "own answer detailed"


@dataclass
class Case:
    """What differs from an agent that runs well."""

    lines: dict[str, str | None] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    drift: tuple[str, ...] = ()


def observed(case: Case) -> Observation:
    lines: list[Any] = []
    # What it says more comes before the end of what its files say.
    own = [line for line in case.more if line.startswith("own ")]
    for line in [*HOST, *case.host, *AGENT[:-2], *own, *AGENT[-2:]]:
        changed = [new for start, new in case.lines.items() if line.startswith(start)]
        # The fixture has odd channels, for whoever reads it.
        same = platforms(api_server={"state": "connected"})[_DETAILED] if line.startswith(_DETAILED) else line
        lines += [same] if not changed else [new for new in changed if new is not None]
    return parse([*lines, *(line for line in case.more if line not in own), "end"])


def instance(**record: Any) -> Instance:
    given = {"release": "v2026.5.7", "port": 8642, "status": "installed", "onboarding": dict(READY), **record}
    agent = Agent(name="maurice", **given)
    host = Host(name="wolf-i", address="192.0.2.7", user="root", agents={"maurice": agent})
    return Instance(host, agent)


_ABSENT = dict.fromkeys(filter(None, AGENT[1:]))
_DEAD = {"unit MainPID": "unit MainPID=0", "unit SubState": "unit SubState=dead"}
_AGAIN = {
    "unit MainPID": "unit MainPID=0",
    "unit ActiveState": "unit ActiveState=activating",
    "unit SubState": "unit SubState=auto-restart",
}
_FOREIGN = {"listener 127.0.0.1 8642": "listener 127.0.0.1 8642 99", "own answer": None}
_SILENT = {"listener 127.0.0.1 8642": None, "own answer": None}


def platforms(**states: object) -> dict[str, str | None]:
    return {_DETAILED: f"{_DETAILED} 200 {json.dumps({'platforms': states})}"}


CASES: dict[str, tuple[Case, str, str]] = {
    "all is well": (Case(), "running", ""),
    "answered": (Case(more=(f"own turn answered {STARTED + 9} -",)), "running", ""),
    "failed before it was started": (Case(more=(f"own turn failed {STARTED - 9} connection",)), "running", ""),
    "not enabled": (Case({"unit UnitFileState": "unit UnitFileState=disabled"}), "running", "will not start with"),
    "on what it had": (Case(record={"onboarding": {}}), "running", "on what it had: onboarding is at pending"),
    "record says installing": (Case(record={"status": "installing"}), "running", "record says that it is installing"),
    "drift": (Case(drift=(".env", "release")), "drifted", ".env, release"),
    "other port": (Case(record={"port": 8643}), "drifted", "listens on port 8642, 8643 is on record"),
    "dead upstream": (
        Case(more=(f"own turn failed {STARTED + 9} connection",)), "degraded", "its model could not be reached",
    ),
    "key refused upstream": (Case(more=(f"own turn failed {STARTED + 9} 401",)), "degraded", "refuses the key"),
    "other status": (Case(more=(f"own turn failed {STARTED + 9} 418",)), "degraded", "did not answer (HTTP 418)"),
    "not proven": (Case(more=("path pending_proof|regular file|644|root|root|0|-",)), "degraded", "not proven"),
    "failed channel": (
        Case(platforms(api_server={"state": "connected"}, irc={"state": "retrying", "error_message": "no\nway"})),
        "degraded", "irc retrying: no way",
    ),
    "channel that would forge a line": (
        Case(platforms(**{"irc\nw/other": {"state": "gone\x1b[2J\nok"}})), "degraded", "irc w/other gone[2J ok",
    ),
    "channel of an earlier start": (
        Case(
            platforms(
                api_server={"state": "connected"},
                discord={"state": "fatal", "updated_at": "2026-11-22T16:00:00+00:00"},
            )
        ),
        "running", "",
    ),
    "channel that does not run": (
        Case(record={"channels": {"api": {}, "irc": {}, "discord": {}}}), "degraded", "discord not running",
    ),
    "starting": (
        Case({**_SILENT, "host uptime": "host uptime 4010"}), "starting", "for 10 s; nothing listens on port 8642 yet",
    ),
    "never listens": (Case(dict(_SILENT)), "unhealthy", "nothing listens on port 8642"),
    "activating": (
        Case({**_DEAD, "unit ActiveState": "unit ActiveState=activating", "listener 127": None}), "starting", "dead",
    ),
    "stopping": (
        Case({"unit ActiveState": "unit ActiveState=deactivating", "listener 127": None}), "stopping", "running",
    ),
    "hangs": (
        Case({"own answer health": "own answer health 000 ", "own answer detailed": None, "own answer models": None}),
        "unhealthy", "does not answer",
    ),
    "key mismatch": (
        Case({"own answer models": "own answer models 401 {}"}), "unhealthy", "does not take the key in its .env",
    ),
    "no key": (
        Case({"own env_key": "own env_key invalid", "own answer models": None}), "unhealthy", "no valid API_SERVER_KEY",
    ),
    "broken API": (Case({"own answer models": "own answer models 500 {}"}), "unhealthy", "models 500"),
    "port taken": (Case(dict(_FOREIGN)), "port taken", "held by another process (pid 99)"),
    "port taken, dying": (
        Case({**_FOREIGN, **_AGAIN, "unit Result": "unit Result=exit-code"}),
        "port taken", "pid 99",
    ),
    "port taken by another agent": (
        Case(dict(_FOREIGN), more=("agent other", "unit MainPID=99", "unit LoadState=loaded")),
        "port taken", "held by agent other (pid 99)",
    ),
    "crash loop": (
        Case({
            **_SILENT, "unit ActiveState": "unit ActiveState=activating", "unit SubState": "unit SubState=auto-restart",
            "unit Result": "unit Result=exit-code", "unit NRestarts": "unit NRestarts=4",
            "unit ExecMainStatus": "unit ExecMainStatus=1",
        }),
        "crash-looping", "4 restarts, exit status 1",
    ),
    "between two crashes": (Case({**_SILENT, "unit NRestarts": "unit NRestarts=4"}), "crash-looping", "4 restarts"),
    "starting once more": (
        Case({
            **_SILENT, "unit ActiveState": "unit ActiveState=activating", "unit SubState": "unit SubState=start",
            "unit NRestarts": "unit NRestarts=4",
        }),
        "crash-looping", "4 restarts",
    ),
    "asked for a restart": (
        Case({**_SILENT, **_AGAIN}),
        "starting", "auto-restart",
    ),
    "given up": (
        Case({
            **_SILENT, **_DEAD, "unit ActiveState": "unit ActiveState=failed", "unit SubState": "unit SubState=failed",
            "unit NRestarts": "unit NRestarts=9", "unit Result": "unit Result=exit-code",
        }),
        "crash-looping", "given up after 9 restarts",
    ),
    "refused to start": (
        Case({
            **_SILENT, **_DEAD, "unit ActiveState": "unit ActiveState=failed", "unit SubState": "unit SubState=failed",
            "unit ExecMainStatus": "unit ExecMainStatus=78", "unit Result": "unit Result=exit-code",
        }),
        "failed", "exit-code, exit status 78",
    ),
    "stopped": (
        Case({
            **_SILENT, **_DEAD, "unit ActiveState": "unit ActiveState=inactive",
            "unit UnitFileState": "unit UnitFileState=disabled",
        }),
        "stopped", "",
    ),
    "stopped, and its port taken": (
        Case({**_FOREIGN, **_DEAD, "unit ActiveState": "unit ActiveState=inactive"}), "stopped", "could not start",
    ),
    "not onboarded": (
        Case({**_SILENT, **_DEAD, "unit ActiveState": "unit ActiveState=inactive"}, record={"onboarding": {}}),
        "not onboarded", "onboarding is at pending",
    ),
    "missing": (Case(dict(_ABSENT)), "missing", "nothing of it is on the host"),
    "no unit": (Case({"unit ": None, "path unit": None}), "half-removed", "its unit is not on the host"),
    "no account": (Case({"account": None, "own": None, "processes": None}), "half-removed", "its account is not"),
    "removal cut short": (Case(record={"status": "removing"}), "half-removed", "its removal did not come to an end"),
    "removed but on record": (Case(dict(_ABSENT), record={"status": "removing"}), "half-removed", "only its record"),
    "install failed": (
        Case(dict(_ABSENT), record={"status": "failed", "error": "no room"}), "install failed", "no room",
    ),
    "installing": (Case(dict(_ABSENT), record={"status": "installing"}), "installing", ""),
    "somebody else's account": (
        Case({"account": "account maurice:x:1000:1000:Maurice:/home/maurice:/bin/sh"}), "unknown", "is not ours",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_state_is_what_was_made_on_purpose(name: str) -> None:
    case, state, why = CASES[name]
    found = condition(instance(**case.record), observed(case), case.drift)
    assert found.state == state, found
    assert why in found.why and bool(why) == bool(found.why), found
    assert "\n" not in found.why
    if state not in SOUND:
        assert found.remedy is not None and found.remedy.startswith("clm agent "), found


def test_every_state_is_made_but_that_of_a_host_that_does_not_answer() -> None:
    assert {state for _, state, _ in CASES.values()} == set(STATES) - {"unreachable"}


def test_the_hour_of_the_fixture_is_the_units() -> None:
    assert datetime.fromtimestamp(STARTED, UTC).isoformat() == "2026-11-22T17:00:00+00:00"


_VALUES = st.one_of(
    st.sampled_from(
        ["active", "failed", "running", "dead", "auto-restart", "exit-code", "success", "0", "9", "-1", ""]
    ),
    st.text(max_size=8),
)


@given(
    st.dictionaries(
        st.sampled_from([line.partition("=")[0] for line in AGENT if line.startswith("unit ")]), _VALUES, max_size=6
    ),
    st.sampled_from(["installing", "installed", "failed", "removing"]),
    st.lists(st.sampled_from([*AGENT[1:], f"own turn failed {STARTED + 9} 401", "own whole", "own answer health x y"])),
    st.lists(st.text(min_size=1, max_size=9), max_size=2),
)
def test_whatever_a_host_says_there_is_one_state(
    unit: dict[str, str], status: str, left_out: list[str], drift: list[str]
) -> None:
    lines: dict[str, str | None] = {f"{name}=": f"{name}={value}" for name, value in unit.items()}
    lines |= dict.fromkeys(left_out)
    try:
        seen = observed(Case(lines))
    except ValueError:
        # An answer that cannot be read is none.
        return
    found = condition(instance(status=status), seen, drift)
    assert found.state in STATES and found.state != "unreachable"
    if found.state == "running":
        agent = seen.agent("maurice")
        assert agent.healthy and not drift and agent.unit is not None and agent.unit.running


def report(name: str = "all is well", host: str = "wolf-i") -> Report:
    case, _, _ = CASES[name]
    found = instance(**case.record)
    seen = observed(case)
    return Report(found, seen.agent("maurice"), condition(found, seen, case.drift), case.drift)


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", str(columns))
        patched.setenv("TERM", "dumb")
        patched.setattr("sys.stdout.isatty", lambda: True, raising=False)
        yield


def test_the_screen_fits_80_columns_and_says_below_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [report(name) for name in CASES]
    now = datetime.now(UTC)
    fleet = Fleet({}, tuple(found))
    with at_a_terminal(monkeypatch, 80):
        lines = render(NARROW, rows(found, now, wide=False), "none").splitlines()
    assert len(lines) == len(found) + 1, "no cell had to be folded"
    assert max(map(len, lines)) <= 80
    text = "\n".join(notes(fleet, found[:1]))
    assert text == ""
    [note] = notes(fleet, [report("dead upstream")])
    assert note == (
        "wolf-i/maurice: degraded: its model could not be reached, the last time it was asked\n"
        "  clm agent doctor wolf-i/maurice"
    )
    [note] = notes(fleet, [report("drift")])
    assert note.splitlines()[0] == "wolf-i/maurice: drifted: .env, release"


def test_a_host_that_does_not_answer_is_told_once_and_strangers_are_told() -> None:
    gone = Problem("wolf-i: cannot connect to root@192.0.2.7 port 22: timed out", "clm host check wolf-i")
    unreachable = Report(instance(), None, condition_of(gone))
    assert unreachable.data()["drift"] is None, "nobody knows"
    fleet = Fleet({"wolf-i": gone}, (unreachable, unreachable))
    assert notes(fleet, fleet.reports) == [
        "wolf-i: unreachable: cannot connect to root@192.0.2.7 port 22: timed out\n  clm host check wolf-i"
    ]
    case = Case(more=("agent stray", f"path unit|regular file|644|root|root|10|{DIGEST}"))
    fleet = Fleet({"wolf-i": observed(case)}, (report(),))
    assert notes(fleet, fleet.reports) == ["wolf-i: there are agents that are not on record here: stray"]


def condition_of(problem: Problem) -> Any:
    from pyinfra_hermes.cli.condition import Condition

    return Condition("unreachable", problem.message, problem.remedy)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (5 * 86400, "5d")])
def test_a_time_is_one_word(seconds: int, text: str) -> None:
    assert span(seconds) == text
    now = datetime.now(UTC)
    assert age(None, now) == "-"
    assert age(now, now) == "0s"
