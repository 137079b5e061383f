"""What operations say that they will do: item by item, before they do it, and never a secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pyinfra.api import HiddenValue
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from pyinfra_hermes.facts.observation import variable_digest
from pyinfra_hermes.operations import accounts, files, services
from pyinfra_hermes.operations.announcing import Action, Change, announce, listening

from .harness import BARE, RUNNING, Yielded, file, maurice, with_agent, yielded

ENV = "/home/maurice/.hermes/.env"
KEY = "0f" * 32
VARIABLES: dict[str, HiddenValue | str] = {
    "API_SERVER_KEY": HiddenValue(KEY),
    "API_SERVER_PORT": "8642",
    "A_TOKEN": HiddenValue("hunter2"),
    "B_TOKEN": HiddenValue("hunter3"),
    "PLAIN": "new",
}


def environment(found: dict[str, str], there: bool = True, **env: str) -> Yielded:
    observed = with_agent(
        BARE,
        **vars(
            maurice(
                paths={"env": file(**env)} if there else {},
                variables={name: variable_digest(KEY, name, value) for name, value in found.items()},
            )
        ),
    )
    return yielded(
        files.secret_file,
        observed,
        agent="maurice",
        key="env",
        path=ENV,
        content=HiddenValue("text"),
        variables=VARIABLES,
    )


def test_variables_are_told_one_by_one_and_secrets_without_values() -> None:
    found = environment(
        {"API_SERVER_KEY": KEY, "API_SERVER_PORT": "8642", "A_TOKEN": "old", "PLAIN": "old", "FOREIGN": "hunter4"}
    )
    assert found.changes == (
        Change("change", ENV, "A_TOKEN", None, secret=True),
        Change("add", ENV, "B_TOKEN", None, secret=True),
        Change("change", ENV, "PLAIN", "new"),
        Change("remove", ENV, "FOREIGN"),
    )
    assert "hunter" not in repr(found.changes) + "".join(map(str, found.changes))


def test_a_file_that_is_not_there_is_told_with_all_it_will_have() -> None:
    found = environment({}, there=False)
    assert [(change.action, change.item) for change in found.changes] == [
        ("add", ""),
        *(("add", name) for name in VARIABLES),
    ]


def test_a_file_of_which_only_the_mode_or_the_spelling_differs_says_so() -> None:
    same = {name: value.unmask() if isinstance(value, HiddenValue) else value for name, value in VARIABLES.items()}
    assert environment(same, mode="644").changes == (Change("change", ENV, "mode and owner", "600 maurice"),)
    assert environment(same).changes == (Change("change", ENV, "comments and spelling"),)


def test_what_needs_nothing_says_nothing() -> None:
    assert yielded(accounts.account, RUNNING, agent="maurice").changes == ()
    assert yielded(services.service, RUNNING, agent="maurice").changes == ()


def test_a_service_says_what_it_will_be_told() -> None:
    found = yielded(services.service, RUNNING, agent="maurice", running=False)
    assert [change.item for change in found.changes] == ["disable", "stop"]


def test_a_refusal_is_told_as_one() -> None:
    found = yielded(accounts.account, None, agent="maurice")
    assert [change.action for change in found.changes] == ["refuse"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change("add", "/f", "a.b", '"v"'), '+ /f: a.b = "v"'),
        (Change("change", "/f", "X", secret=True), "~ /f: X (value hidden)"),
        (Change("remove", "/f", "X"), "- /f: X"),
        (Change("do", "s.service", "restart"), "! s.service: restart"),
    ],
)
def test_a_change_is_one_line(change: Change, text: str) -> None:
    assert str(change) == text


def test_pyinfra_tells_while_it_prepares_and_not_while_it_executes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An engine in this process may have taken pyinfra's words off the terminal.
    monkeypatch.setattr(logging.getLogger("pyinfra"), "propagate", True)
    state: Any = FakeState()
    host: Any = create_host(state)
    action: Action = "remove"
    with ctx_state.use(state), ctx_host.use(host), caplog.at_level(logging.INFO, "pyinfra"):
        state.is_executing = False
        announce(Change(action, "/f", "X"))
        state.is_executing = True
        announce(Change(action, "/f", "Y"))
        with listening(host) as heard:
            announce(Change(action, "/f", "Z"))
    assert [record.message for record in caplog.records] == [f"{host.print_prefix}- /f: X"]
    assert heard == [Change(action, "/f", "Z")]
