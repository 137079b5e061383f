"""No spelling of a revealed secret comes through the redactor, whatever stands around it; all else does, unchanged."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import pprint
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.deploys.model import dotenv, redaction
from pyinfra_hermes.deploys.model.redaction import LEAST, REDACTED, Redactor, Revealed, Stream, forms, is_placeholder

# An asterisk would let the mask itself, with what follows it, spell a secret again. The context shares no
# character with the secrets: it cannot complete them.
CONTEXT_ALPHABET = "|~^<>:\t"
ALPHABET = st.one_of(
    st.sampled_from("\"'\\%$`{}=&+/#! \n\r-_.aZ09é€\U0001f511\u2028\x7f\x00"), st.characters(exclude_categories=["Cs"])
).filter(lambda c: c not in CONTEXT_ALPHABET + "*")
SECRETS = st.text(ALPHABET, min_size=LEAST, max_size=40).filter(
    lambda value: len(value.strip()) >= LEAST and not is_placeholder(value)
)
CONTEXT = st.text(CONTEXT_ALPHABET, max_size=12)


def knowing(*values: str) -> Redactor:
    revealed = Revealed()
    for value in values:
        revealed.remember(value)
    return Redactor(revealed)


def determined(value: bytes, alignment: int) -> str:
    """What base64 text has for ``value`` whatever stands around it, found by varying that."""
    low, high = (base64.b64encode(byte * alignment + value + byte * 3).decode() for byte in (b"\x00", b"\xff"))
    length = (len(value) + alignment) * 8 // 6
    same = [i for i in range(length) if low[i] == high[i]]
    return low[same[0] : same[-1] + 1]


#: How programs spell a text: each takes the whole text, and gives what stands in it for the secret.
ENCODERS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "URL component": lambda text: quote(text, safe=""),
    "URL path": lambda text: quote(text),
    "URL query": lambda text: quote_plus(text),
    "URL query with slashes": lambda text: quote_plus(text, safe="/"),
    "shell": lambda text: text.replace("'", "'\"'\"'"),
    "ASCII": lambda text: ascii(text + "\"'")[1:-4],
    "repr": lambda text: repr(text + "\"'")[1:-4],
    "repr of bytes": lambda text: repr(text.encode() + b"\"'")[2:-4],
    "hex": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("encoder", ENCODERS)
@settings(deadline=None)  # the machine may be busy
@given(secret=SECRETS, before=CONTEXT, after=CONTEXT)
def test_no_spelling_comes_through(encoder: str, secret: str, before: str, after: str) -> None:
    encode = ENCODERS[encoder]
    text = encode(before + secret + after)
    assert encode(secret) in text
    shown = knowing(secret).redact(text)
    assert encode(secret) not in shown
    assert REDACTED in shown


@settings(deadline=None)  # the machine may be busy
@given(secret=SECRETS, before=CONTEXT, after=CONTEXT)
def test_documents_that_hold_it_do_not_show_it(secret: str, before: str, after: str) -> None:
    redactor = knowing(secret)
    document = redactor.redact(json.dumps({"a": [before + secret + after], "b": 1}))
    assert json.dumps(secret)[1:-1] not in document
    query = redactor.redact("https://x.example/p?" + urlencode({"key": secret, "n": 1}))
    assert quote_plus(secret) not in query
    assert query.endswith("&n=1")
    command = redactor.redact(shlex.join(["curl", "-H", f"Authorization: {before}{secret}{after}"]))
    assert secret.replace("'", "'\"'\"'") not in command
    try:
        line = dotenv.assignment("KEY", secret)
    except dotenv.CannotEncode:
        return
    assert redactor.redact(line) in {f'KEY="{REDACTED}"', f"KEY={REDACTED}"}


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@settings(deadline=None)  # the machine may be busy
@given(secret=SECRETS, before=st.binary(max_size=9), after=st.binary(max_size=9), padded=st.booleans())
def test_base64_of_a_longer_text_does_not_show_it(
    encode: Callable[[bytes], bytes], secret: str, before: bytes, after: bytes, padded: bool
) -> None:
    value = secret.encode()
    text = encode(before + value + after).decode()
    middle = determined(value, len(before) % 3)
    if encode is base64.urlsafe_b64encode:
        middle = middle.replace("+", "-").replace("/", "_")
    assert middle in text
    shown = knowing(secret).redact(text if padded else text.rstrip("="))
    assert middle not in shown
    assert REDACTED in shown


@pytest.mark.parametrize("user", ["", "u", "me", "you"])
def test_http_basic_and_bearer_headers(user: str) -> None:
    redactor = knowing("hunter2-x")
    basic = base64.b64encode(f"{user}:hunter2-x".encode()).decode()
    shown = redactor.redact(f"Authorization: Basic {basic}\nAuthorization: Bearer hunter2-x")
    assert shown.endswith(f"Bearer {REDACTED}")
    assert base64.b64encode(b"hunter2-x").decode()[2:-2] not in shown
    assert shown.count(REDACTED) == 2


@settings(deadline=None)  # the machine may be busy
@given(
    secrets=st.lists(SECRETS, max_size=5),
    text=st.text(st.sampled_from(CONTEXT_ALPHABET + "\x1b[0;31m"), max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_a_text_without_secrets_is_unchanged(secrets: list[str], text: str, cuts: list[int]) -> None:
    assume(not any(form in text for secret in secrets for form in forms(secret)))
    redactor = knowing(*secrets)
    assert redactor.redact(text) is text
    assert through(redactor.stream(), pieces(text.encode(), cuts)) == text.encode()


@settings(deadline=None)  # the machine may be busy
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_bytes_that_are_no_text_are_unchanged(data: bytes, cuts: list[int]) -> None:
    assume(b"hunt" not in data)
    assert through(knowing("hunter2").stream(), pieces(data, cuts)) == data


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def through(stream: Stream, data: list[bytes], released: Iterator[bool] | None = None) -> bytes:
    written = b""
    for piece in data:
        written += stream.feed(piece)
        if released is not None and next(released, False):
            written += stream.release()
    return written + stream.release()


@settings(deadline=None)  # the machine may be busy
@given(
    secret=SECRETS,
    before=CONTEXT,
    after=CONTEXT,
    encoder=st.sampled_from(sorted(ENCODERS)),
    cuts=st.lists(st.integers(0, 120), max_size=8),
    released=st.lists(st.booleans(), max_size=8),
)
def test_a_secret_over_several_writes_does_not_come_through(
    secret: str, before: str, after: str, encoder: str, cuts: list[int], released: list[bool]
) -> None:
    encode = ENCODERS[encoder]
    text = encode(before + secret + after).encode()
    written = through(knowing(secret).stream(), pieces(text, cuts), iter(released))
    assert encode(secret).encode() not in written
    assert REDACTED.encode() in written


@settings(deadline=None)  # the machine may be busy
@given(secret=SECRETS.filter(str.isascii), released=st.booleans())
def test_written_one_byte_at_a_time_at_most_half_is_seen(secret: str, released: bool) -> None:
    stream = knowing(secret).stream()
    written = b"".join(
        stream.feed(bytes([byte])) + (stream.release() if released else b"") for byte in f"|{secret}|".encode()
    )
    seen = written.decode().partition(REDACTED)[0].removeprefix("|")
    assert secret.startswith(seen)
    assert len(seen) <= max(LEAST, len(secret) / 2 + 1) if released else len(seen) < 4
    assert secret not in written.decode()


def test_a_prompt_appears_at_once() -> None:
    stream = knowing("sk-hunter2-secret").stream()
    assert stream.feed(b"Password: ") == b"Password: "
    assert stream.feed(b" sk-") == b" sk-"
    # Four characters wait, but no longer than until the flush that every prompt ends with.
    assert stream.feed(b" sk-h") == b" "
    assert stream.release() == b"sk-h"
    assert stream.feed(b"at? ") == b"at? "


def test_what_waits_is_masked_when_it_tells_half() -> None:
    stream = knowing("sk-hunter2-secret").stream()
    assert stream.feed(b"key sk-hunter") + stream.release() == b"key ********"
    assert stream.feed(b"2-secret.\n") == b"********.\n"
    assert stream.feed(b"key sk-hunt") + stream.release() == b"key sk-hunt"
    assert stream.feed(b"er2-secret.\n") == b"********.\n"


def test_a_secret_revealed_while_a_stream_is_open_is_known_to_it() -> None:
    revealed = Revealed()
    stream = Redactor(revealed).stream()
    assert stream.feed(b"hunter2-x ") == b"hunter2-x "
    revealed.remember("hunter2-x")
    assert stream.feed(b"hunter2-x ") == b"******** "


@pytest.mark.parametrize(("encoding", "errors"), [("latin-1", "strict"), ("ascii", "backslashreplace"), ("cp1252", "")])
def test_a_stream_knows_its_encoding(encoding: str, errors: str) -> None:
    secret = "pässwörd-é"
    stream = knowing(secret).stream(encoding, errors or "strict")
    data = f"<{secret}>".encode(encoding, errors or "strict")
    assert stream.feed(data) + stream.release() == b"<********>"


def test_question_marks_for_another_script_are_not_taken_for_a_secret() -> None:
    assert knowing("ключ-к-дому").stream("ascii", "replace").feed(b"what??????? -?- ????") == b"what??????? -?- ????"


def test_a_secret_with_bytes_of_the_environment_that_are_no_text() -> None:
    secret = b"hunter\xff2".decode(errors="surrogateescape")
    redactor = knowing(secret)
    assert redactor.redact(f"<{secret}>") == "<********>"
    assert redactor.stream().feed(b"<hunter\xff2>") == b"<********>"
    assert forms("\ud83d-hunter")


def test_colours_within_a_word_do_not_hide_it() -> None:
    redactor = knowing("abc-1234-def")
    coloured = "key \x1b[1mabc-\x1b[1;36m1234\x1b[0m-def\x1b[0m."
    assert redactor.redact(coloured) == "key \x1b[1m********\x1b[1;36m\x1b[0m\x1b[0m."
    for cut in range(len(coloured)):
        data = coloured.encode()
        shown = through(redactor.stream(), [data[:cut], data[cut:]])
        assert b"1234" not in shown
        assert shown.endswith(b"\x1b[0m\x1b[0m.")
    # A secret that begins as a colour would: not on a terminal, but in a file.
    assert knowing("31mhunter2").redact("\x1b[31mhunter2") == "\x1b[********"


def test_secrets_that_overlap_go_together_and_longer_ones_as_one() -> None:
    assert knowing("abcdefg1", "efg1ijkl").redact("<abcdefg1ijkl>") == "<********>"
    assert knowing("hunter2", "hunter2-long").redact("<hunter2-long hunter2>") == "<******** ********>"
    assert knowing("hunter2").redact("hunter2hunter2") == REDACTED * 2


def test_the_lines_of_a_secret_are_secret() -> None:
    key = "-----BEGIN KEY-----\nAAAAC3NzaC1\nbm9uZQAAAAR\n-----END KEY-----\n"
    shown = knowing(key).redact("\n".join(f"[wolf-i] {line}" for line in key.splitlines()))
    assert shown == "\n".join([f"[wolf-i] {REDACTED}"] * 4)
    assert knowing("  hunter2\n").redact("<hunter2>") == "<********>"


def test_the_lines_of_a_rendered_env_are_not() -> None:
    document = dotenv.document({"HERMES_INFERENCE_PROVIDER": "custom", "HERMES_KEY": "hunter2-x"}, "Made by clm.")
    redactor = knowing("hunter2-x", document)
    assert redactor.redact("\n".join(f"+ {line}" for line in document.splitlines())) == (
        "+ # Made by clm.\n+ HERMES_INFERENCE_PROVIDER=custom\n+ HERMES_KEY=********"
    )
    assert redactor.redact(f"<{document}>") == "<********>"


def test_short_values_and_blanks_are_not_looked_for() -> None:
    revealed = Revealed()
    for value in ("", "short", " " * 40, "  abc  \n"):
        revealed.remember(value)
    assert not revealed
    assert Redactor(revealed).redact("short") == "short"


# Every producer spells this one differently.
ODD = "a\"b'c\\é /%${z"
SPELLED: dict[str, str] = {
    "itself": ODD,
    "JSON, ASCII": json.dumps(ODD)[1:-1],
    "JSON, Unicode": json.dumps(ODD, ensure_ascii=False)[1:-1],
    "URL, component": quote(ODD, safe=""),
    "URL, path": quote(ODD),
    "URL, form": quote_plus(ODD),
    "shell, quoted": shlex.quote(ODD)[1:-1],
    "shell, requoted": ODD.replace("'", "'\\''"),
    "shell, backslashed": "a\\\"b\\'c\\\\é\\ /%\\$\\{z",
    "shell, double-quoted": "a\\\"b'c\\\\é /%\\${z",
    "repr, text": repr(ODD)[1:-1],
    "repr, ASCII": ascii(ODD)[1:-1],
    "repr, bytes": repr(ODD.encode())[2:-1],
    "dotenv": dotenv.assignment("X", ODD)[3:-1],
    "hex": ODD.encode().hex(),
    "base64, whole": base64.b64encode(ODD.encode()).decode(),
    "base64, first": determined(ODD.encode(), 0),
    "base64, second": determined(ODD.encode(), 1),
    "base64, third": determined(ODD.encode(), 2),
}


@pytest.fixture
def fresh() -> Iterator[None]:
    forms.cache_clear()
    yield
    forms.cache_clear()


def test_every_producer_is_put_to_the_proof() -> None:
    assert set(SPELLED) == {*redaction._AS_TEXT, *redaction._AS_OCTETS}
    assert len(set(SPELLED.values())) == len(SPELLED)


@pytest.mark.parametrize("producer", SPELLED)
@pytest.mark.usefixtures("fresh")
def test_without_its_producer_a_spelling_would_come_through(producer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"<{SPELLED[producer]}>"
    assert knowing(ODD).redact(text) == f"<{REDACTED}>"
    forms.cache_clear()
    for table in (redaction._AS_TEXT, redaction._AS_OCTETS):
        monkeypatch.delitem(table, producer, raising=False)
    shown = knowing(ODD).redact(text)
    # Of base64 that ends where the secret ends, the other producers leave the last characters.
    assert shown == (f"<{REDACTED}{SPELLED[producer][-2:]}>" if producer == "base64, whole" else text)


@pytest.mark.usefixtures("fresh")
def test_without_parts_the_lines_would_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[wolf-i] first line\n[wolf-i] second line"
    assert "first" not in knowing("first line\nsecond line").redact(text)
    forms.cache_clear()
    monkeypatch.setattr(redaction, "_parts", lambda value: set())
    assert knowing("first line\nsecond line").redact(text) == text


NESTED: dict[str, str] = {
    "sh -c, as pyinfra runs a command": shlex.join(["sh", "-c", shlex.join(["echo", ODD])]),
    "JSON in JSON": json.dumps(json.dumps([ODD])),
    "JSON in a command": shlex.join(["curl", "-d", json.dumps([ODD], ensure_ascii=False)]),
    "a command in JSON": json.dumps({"argv": shlex.join(["echo", ODD])}),
    "a list of commands": repr([shlex.join(["echo", ODD]), json.dumps(ODD)]),
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
@pytest.mark.usefixtures("fresh")
def test_a_spelling_within_another_does_not_come_through(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = knowing(ODD).redact(text)
    assert REDACTED in shown
    assert "a" not in shown.replace("echo", "").replace('"argv', "").replace("-d", "")
    forms.cache_clear()
    monkeypatch.setattr(redaction, "_AROUND", frozenset())
    assert knowing(ODD).redact(text) == text


def test_the_shell_reads_what_we_take_for_its_spellings() -> None:
    for name in ("shell, quoted", "shell, requoted", "shell, backslashed", "shell, double-quoted"):
        quote_ = {"shell, backslashed": "", "shell, double-quoted": '"'}.get(name, "'")
        script = f"printf %s {quote_}{SPELLED[name]}{quote_}"
        assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == ODD


class Counting(dict[str, list[str]]):
    """A table that counts how often it is asked."""

    asked = 0

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return super().__contains__(key)


@pytest.mark.parametrize("secrets", [1, 20, 300])
def test_a_line_costs_one_lookup_a_character_however_many_secrets(secrets: int) -> None:
    redactor = knowing(*(f"secret-number-{n:06}" for n in range(secrets)))
    redactor.redact("")
    _, needles = redactor._needles[None]
    table = needles._by_head = Counting(needles._by_head)
    redactor.redact("x" * 1000)
    assert table.asked == 1000 - 3


@pytest.mark.usefixtures("fresh")
def test_the_forms_of_a_secret_are_computed_once() -> None:
    revealed = Revealed()
    redactor = Redactor(revealed)
    for number in range(20):
        revealed.remember(f"secret-{number:03}")
        revealed.remember(f"secret-{number:03}")
        for _ in range(3):
            redactor.redact("a line")
            redactor.stream().feed(b"a line")
    assert forms.cache_info().misses == 20


@pytest.mark.parametrize(
    "shown",
    [repr, str, pprint.pformat, lambda r: f"{r}", lambda r: repr(r._values), lambda r: pprint.pformat(r._values)],
)
def test_the_registry_tells_how_many_and_never_which(shown: Callable[[object], str]) -> None:
    revealed = Revealed()
    revealed.remember("hunter2")
    assert "hunter2" not in shown(revealed)
    assert "1" in shown(revealed)


@pytest.mark.parametrize("attempt", [list, vars, iter, pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_the_registry_cannot_be_listed_or_copied(attempt: Callable[[object], object]) -> None:
    revealed = Revealed()
    revealed.remember("hunter2")
    with pytest.raises(TypeError) as caught:
        attempt(revealed)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_hook_is_called_once_at_the_first_value() -> None:
    revealed, called = Revealed(), []
    revealed.at_first(lambda: called.append(1))
    revealed.remember("short")
    assert called == []
    revealed.remember("hunter2")
    revealed.remember("hunter3")
    assert called == [1]
    revealed.at_first(lambda: called.append(2))
    assert called == [1, 2]


def test_it_imports_nothing_of_weight() -> None:
    program = "import sys, pyinfra_hermes.deploys.redacting; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "pydantic_core", "pyinfra", "json", "logging", "rich", "click"} & set(found)


@pytest.mark.parametrize(
    "value", ["ollama", "changeme", "password", "not-needed", "lm-studio", " dummy_key\n", "DUMMY"]
)
def test_a_word_is_not_hunted(value: str) -> None:
    assert is_placeholder(value)
    text = f"provider {value.strip()} at http://{value.strip()}:11434"
    assert knowing(value).redact(text) == text
    assert knowing(f"a first line\n{value}\n").redact(text) == text


@pytest.mark.parametrize(
    "value",
    ["ollama1", "Ollama", "o.llama", "abcdefghijkl", "sk-no-key-required", "mdiwoskeugnxhwqp", "hunter2", "changeme!"],
)
def test_what_may_be_a_key_is_hunted(value: str) -> None:
    assert not is_placeholder(value)
    assert knowing(value).redact(f"provider {value} at") == f"provider {REDACTED} at"


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.sampled_from("abcxyzABCXYZ019-_"), min_size=LEAST, max_size=LEAST + 20))
def test_every_value_is_hunted_or_a_placeholder(value: str) -> None:
    assert (REDACTED in knowing(value).redact(f"|{value}|")) != (is_placeholder(value) or len(value.strip()) < LEAST)
