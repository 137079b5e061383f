"""No way of turning a secret into text shows it."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import reprlib
import string
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from rich.console import Console
from rich.pretty import Pretty

from pyinfra_hermes.deploys.model import secret as module
from pyinfra_hermes.deploys.model.redaction import Redactor, Revealed
from pyinfra_hermes.deploys.model.secret import REDACTED, Secret

VALUE = "sk-hunter2"
SHOWN = "Secret('********')"


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Keep what is revealed here from the redactor of the process that runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REVEALED", Revealed())
        yield


def rich_text(value: object) -> str:
    console = Console(file=io.StringIO())
    console.print({"a": value}, Pretty([value]))
    return console.file.getvalue()  # type: ignore[attr-defined]


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
        lambda s: pprint.pformat({"a": [s]}),
        lambda s: reprlib.repr([s]),
        lambda s: string.Template("$s").substitute(s=s),
        lambda s: repr(asdict(Holder(s))),
        lambda s: repr(replace(Holder(s))),
        lambda s: repr(copy.deepcopy({"a": s})),
        lambda s: repr(Model(key=s).model_copy(deep=True)),
        lambda s: repr(Model(key=s).model_dump(mode="json")),
        lambda s: repr(Model(key=s).model_dump(round_trip=True)),
        lambda s: repr(TypeAdapter(list[Secret]).dump_python([s])),
        lambda s: TypeAdapter(dict[str, Secret]).dump_json({"a": s}).decode(),
        lambda s: TypeAdapter(Holder).dump_json(Holder(s)).decode(),
        lambda s: rich_text(s),
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
        lambda s: pickle.dumps([Holder(s)], protocol=0),
        lambda s: s.__getstate__(),
        lambda s: s.__reduce_ex__(4),
        json.dumps,
        lambda s: "".join([s]),
        lambda s: s + "",
        vars,
        iter,
    ],
)
def test_it_refuses_to_be_pickled_or_spelled(attempt: object) -> None:
    with pytest.raises(TypeError) as caught:
        attempt(Secret(VALUE))  # type: ignore[operator]
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_plain_text_that_got_past_validation_is_redacted_in_dumps() -> None:
    model = Model.model_construct(key=VALUE)  # type: ignore[arg-type]
    assert model.model_dump(warnings=False) == {"key": REDACTED}
    assert VALUE not in model.model_dump_json(warnings=False)


def test_a_copy_is_the_secret_itself() -> None:
    secret = Secret(VALUE)
    assert copy.copy(secret) is secret
    assert copy.deepcopy(secret) is secret
    assert asdict(Holder(secret))["key"] is secret
    assert replace(Holder(secret)).key is secret


@pytest.mark.parametrize("name", ["_value", "other"])
def test_it_does_not_change(name: str) -> None:
    secret = Secret(VALUE)
    with pytest.raises(AttributeError):
        setattr(secret, name, "x")
    with pytest.raises(AttributeError):
        delattr(secret, name)
    assert secret.reveal() == VALUE


def test_only_what_is_revealed_is_looked_for() -> None:
    secret = Secret("tok-1234567")
    assert (repr(secret), bool(secret), secret == Secret("x"), len({secret, secret})) == (SHOWN, True, False, 1)
    assert len(module.REVEALED) == 0
    assert secret.reveal() == "tok-1234567"
    assert Redactor(module.REVEALED).redact("<tok-1234567>") == f"<{REDACTED}>"


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
    assert f"key = {SHOWN}" in report


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
