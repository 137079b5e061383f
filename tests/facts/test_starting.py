"""What is made of the states that an agent's unit goes through at its start: the script, with a systemd of our own."""

from __future__ import annotations

import subprocess

import pytest

from pyinfra_hermes.facts.script import await_start

# Answers as systemctl(1), ss(8) and journalctl(1) do.
_STAND_INS = """
systemctl() {{
    printf '%s\\n' LoadState=loaded MainPID={main} {state}
}}
ss() {{ echo 'LISTEN 0 128 127.0.0.1:8642 0.0.0.0:* users:(("hermes",pid={holder},fd=7))'; }}
journalctl() {{
    case $* in *--sync*) return ;; esac
    echo 'an earlier start'; echo 'Starting hermes-maurice.service - Hermes agent maurice...'
    for n in 0 1 2; do echo "line $n"; done
}}
getent() {{ false; }}
"""


def said(state: dict[str, str], *, main: int = 7, holder: int | str = 7) -> list[str]:
    fields = " ".join(f"{key}={value}" for key, value in state.items())
    functions = _STAND_INS.format(state=fields, main=main, holder=holder)
    result = subprocess.run(
        ["sh", "-c", functions + await_start("maurice", 8642, 0)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=True,
    )
    return result.stdout.splitlines()


RUNNING = {"ActiveState": "active", "SubState": "running", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}


def test_who_holds_the_port_listens() -> None:
    assert said(RUNNING) == ["listening 7"]


def test_restarts_of_the_past_do_not_count() -> None:
    assert said({**RUNNING, "NRestarts": "3"}) == ["listening 7"]


def test_a_port_that_nobody_holds_is_waited_for() -> None:
    assert said(RUNNING, holder="") == ["waiting active (running), nothing listens on port 8642 yet"]


def test_a_port_that_another_holds_is_told() -> None:
    line, *_ = said(RUNNING, holder=9)
    assert line == "failed port 8642 is held by another process (pid 9)"


def test_one_that_is_called_by_the_daemons_number_is_not_the_daemon() -> None:
    # A process called "\\n,pid=7,\\n", as ss(8) prints it.
    (line,) = said(RUNNING, holder='1,fd=7),("\n,pid=7,\n",pid=9')
    assert line == "waiting active (running), nothing listens on port 8642 yet"


def test_of_the_journal_the_last_start_is_shown() -> None:
    _, *journal = said(RUNNING, holder=9)
    assert journal == ["Starting hermes-maurice.service - Hermes agent maurice...", *(f"line {n}" for n in range(3))]


@pytest.mark.parametrize(("result", "status"), [("exit-code", "1"), ("signal", "9"), ("oom-kill", "0")])
def test_a_daemon_that_died_and_is_to_be_started_again_failed(result: str, status: str) -> None:
    state = {"ActiveState": "activating", "SubState": "auto-restart", "Result": result, "ExecMainStatus": status}
    line, *_ = said({**state, "NRestarts": "0"}, main=0, holder="")
    assert line == f"failed the daemon dies right after its start ({result}, exit status {status})"


def test_a_daemon_that_asks_for_its_restart_is_waited_for() -> None:
    state = {"ActiveState": "activating", "SubState": "auto-restart", "Result": "success", "ExecMainStatus": "75"}
    (line,) = said({**state, "NRestarts": "0"}, main=0, holder="")
    assert line == "waiting activating (auto-restart), nothing listens on port 8642 yet"


def test_a_unit_that_refused_to_start_failed() -> None:
    state = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}
    line, *_ = said({**state, "NRestarts": "0"}, main=0, holder="")
    assert line == "failed the unit is failed (exit-code, exit status 78)"
