"""No way of turning a secret into text shows it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from pyinfra_hermes.deploys.model.secret import REDACTED, Secret

VALUE = "sk-hunter2"


@dataclass(frozen=True)
class Holder:
    key: Secret


class Model(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)
    key: Secret


@pytest.mark.parametrize(
    "shown",
    [
        lambda s: repr(s),
        lambda s: str(s),
        lambda s: f"{s}",
        lambda s: f"{s!r:>20}",
        lambda s: f"{s:>40}",
        lambda s: "%s %r" % (s, s),  # noqa: UP031
        lambda s: "{}".format(s),  # noqa: UP032
        lambda s: repr([s, {"a": s}]),
        lambda s: repr(Holder(s)),
        lambda s: repr(Model(key=s)),
        lambda s: str(Model(key=s)),
        lambda s: repr(Model(key=s).model_dump()),
        lambda s: Model(key=s).model_dump_json(),
        lambda s: json.dumps({"a": s}, default=str),
        lambda s: ascii(s),
    ],
)
def test_its_text_is_redacted(shown: object) -> None:
    text = shown(Secret(VALUE))  # type: ignore[operator]
    assert VALUE not in text
    assert REDACTED in text


@pytest.mark.parametrize(
    "attempt",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        lambda s: asdict(Holder(s)),
        lambda s: "".join([s]),
        lambda s: s + "",
        vars,
        iter,
    ],
)
def test_it_refuses_to_be_copied_or_spelled(attempt: object) -> None:
    with pytest.raises(TypeError) as caught:
        attempt(Secret(VALUE))  # type: ignore[operator]
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_log_record_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").warning("key %s %r", Secret(VALUE), Holder(Secret(VALUE)))
    assert VALUE not in caplog.text
    assert REDACTED in caplog.text


def test_the_locals_of_a_traceback_show_nothing() -> None:
    def fail(key: Secret) -> None:
        raise ValueError(f"cannot use {key}")

    with pytest.raises(ValueError) as caught:
        fail(Secret(VALUE))
    report = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert VALUE not in report
    assert "key = Secret('********')" in report


def test_what_is_not_text_is_refused_without_being_repeated() -> None:
    with pytest.raises(TypeError):
        Secret(VALUE.encode())  # type: ignore[arg-type]
    with pytest.raises(ValidationError) as caught:
        Model(key=[VALUE])  # type: ignore[arg-type]
    assert VALUE not in str(caught.value)


@given(st.text(alphabet=st.characters(), max_size=30), st.text(alphabet=st.characters(), max_size=30))
def test_it_is_revealed_unchanged_and_compares_by_value(one: str, other: str) -> None:
    assert Secret(one).reveal() == one
    assert (Secret(one) == Secret(other)) is (one == other)
    assert bool(Secret(one)) is bool(one)
    if one == other:
        assert hash(Secret(one)) == hash(Secret(other))


def test_a_secret_with_a_surrogate_of_the_environment_compares() -> None:
    assert Secret("\udcff") == Secret("\udcff")
    assert Secret("\udcff") != Secret("x")


def test_it_equals_no_plain_text() -> None:
    assert Secret(VALUE) != VALUE
    assert Secret(VALUE) not in [VALUE, None, 1]


def test_pydantic_takes_text_and_secrets() -> None:
    assert Model(key=VALUE).key == Model(key=Secret(VALUE)).key == Secret(VALUE)  # type: ignore[arg-type]
    assert replace(Holder(Secret("a")), key=Secret("b")).key == Secret("b")
