"""Restarts after changes, the proof that an agent serves, and its removal."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from pyinfra.api import StringCommand

from pyinfra_hermes.facts.observation import Observation
from pyinfra_hermes.facts.script import await_start
from pyinfra_hermes.facts.starting import Start
from pyinfra_hermes.operations import accounts, services

from .harness import BARE, RUNNING, Yielded, file, packaged, stdin, with_agent, yielded


@dataclass
class Earlier:
    """An operation that ran before, as pyinfra's OperationMeta tells it."""

    changed: bool
    complete: bool = True

    def is_complete(self) -> bool:
        return self.complete

    def did_change(self) -> bool:
        assert self.complete
        return self.changed

    @property
    def will_change(self) -> bool:
        assert not self.complete
        return self.changed


def service(*earlier: Earlier, observed: Observation = RUNNING) -> Yielded:
    return yielded(services.service, observed, agent="maurice", restart_after=earlier)


def test_a_running_service_is_left_alone_when_nothing_changed() -> None:
    assert service(Earlier(False), Earlier(False)).noop == "service hermes-maurice.service is running"


@pytest.mark.parametrize("complete", [True, False])
def test_a_running_service_is_restarted_once_after_any_number_of_changes(complete: bool) -> None:
    [command] = service(Earlier(True, complete), Earlier(True, complete), Earlier(False, complete)).raw
    assert command.count("systemctl restart hermes-maurice.service") == 1


def test_a_step_that_fails_is_not_forgiven_with_the_one_that_may() -> None:
    stopped = with_agent(RUNNING, unit=None)
    command = service(observed=stopped).only.get_raw_value()
    fake = 'mkdir() { :; }; rm() { echo "rm" >&2; }; systemctl() { echo "$1" >&2; [ "$1" != enable ]; }; '
    note = "/var/lib/pyinfra-hermes/maurice.proof"
    script = fake + command.replace(f": > {note}", ":")
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode != 0, result.stderr.split()) == (True, ["enable"])


def test_failures_that_cannot_be_forgotten_do_not_hinder_a_start() -> None:
    command = service(Earlier(True)).only.get_raw_value()
    fake = 'mkdir() { :; }; rm() { :; }; systemctl() { echo "$1"; [ "$1" != reset-failed ]; }; '
    script = fake + command.replace(": > /var/lib/pyinfra-hermes/maurice.proof", ":")
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()) == (0, ["reset-failed", "restart"])


LISTENS, WAITS, FAILS = Start("listening", "4711"), Start("waiting", "activating"), Start("failed", "dies\nlast line")
SILENT = with_agent(RUNNING, answers={})


def healthy(observed: Observation | None, start: Start | None = None, **kwargs: Any) -> Yielded:
    starts = {(8642, 6): start} if start else {}
    return yielded(services.healthy, observed, starts=starts, **{"agent": "maurice", "port": 8642, **kwargs})


def test_an_agent_that_answers_is_not_asked_again() -> None:
    assert healthy(RUNNING).noop == "agent maurice answers on port 8642"


@pytest.mark.parametrize(("chat", "word"), [(True, "chat"), (False, "no-chat")])
def test_after_a_change_it_is_proven_by_one_script(chat: bool, word: str) -> None:
    command = healthy(RUNNING, after=[Earlier(True)], chat=chat).only
    assert command.get_raw_value() == f"sh -s -- maurice 8642 {word} settle more"
    text = stdin(command) or ""
    assert text.startswith(await_start("maurice", 8642, 6))
    assert text.endswith(packaged("prove.sh"))
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


def test_the_prover_reaches_the_host_as_it_is() -> None:
    text = stdin(healthy(RUNNING, after=[Earlier(True)]).only) or ""
    assignment = text[text.index("PROVE=") : text.index("PENDING=")]
    shown = subprocess.run(["sh", "-c", f'{assignment} printf %s "$PROVE"'], capture_output=True, text=True, check=True)
    assert shown.stdout == packaged("prove.py.txt")


def test_a_proof_that_an_earlier_run_did_not_come_to_is_made_up_for() -> None:
    noted = with_agent(RUNNING, paths={"pending_proof": file("", "644", "root")})
    assert healthy(noted, LISTENS).raw[0] == "sh -s -- maurice 8642 chat settle more"


def test_an_agent_on_another_port_is_not_proven() -> None:
    found = yielded(services.healthy, RUNNING, starts={(9000, 6): FAILS}, agent="maurice", port=9000)
    assert found.raw[0] == "sh -s -- maurice 9000 chat settle more"


def test_a_start_that_fails_fails_the_host_with_its_reason() -> None:
    proof, refusal = healthy(SILENT, FAILS).commands
    assert isinstance(refusal, StringCommand)
    text = stdin(refusal) or ""
    assert "result='failed dies'\n" in text
    assert text.endswith(packaged("prove.sh"))
    assert isinstance(proof, StringCommand) and stdin(proof) != text


def test_what_listens_and_does_not_answer_is_proven_once_more_for_its_reason() -> None:
    assert len(healthy(SILENT, LISTENS).raw) == 2


def test_waiting_ends() -> None:
    told: list[str] = []
    assert len(healthy(SILENT, WAITS, timeout=-1, progress=told.append).raw) == 2
    assert told == []


def test_an_unobserved_host_is_not_healthy() -> None:
    assert healthy(None).raw[0].endswith("exit 1")


@pytest.mark.parametrize(
    "observed",
    [RUNNING, with_agent(BARE, linger=True), with_agent(BARE, processes=1), with_agent(BARE, paths={"unit": file()})],
)
def test_any_trace_is_removed_by_one_script_that_checks_again(observed: Observation) -> None:
    command = yielded(accounts.account, observed, agent="maurice", present=False).only
    assert command.get_raw_value() == (
        "sh -s -- maurice 'Hermes agent (pyinfra-hermes)' '# Managed by pyinfra-hermes.' /var/lib/pyinfra-hermes"
    )
    assert stdin(command) == packaged("remove.sh")


def test_an_account_that_is_made_again_after_half_a_removal() -> None:
    assert yielded(accounts.account, with_agent(BARE, linger=True), agent="maurice").raw[0].startswith("useradd ")
