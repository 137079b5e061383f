"""
How a secret may be spelled in a text, and texts without it.

Imports only the standard library, and of that only what Click has loaded anyway: it stands in front of ``clm --help``.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Final, NamedTuple, NoReturn, final
from urllib.parse import quote, quote_plus

from typing_extensions import override

from . import dotenv

REDACTED: Final = "********"
#: Values shorter than this are not looked for: too many texts hold them by chance.
LEAST: Final = 6
#: Words shorter than this are not looked for: see :func:`is_placeholder`.
LEAST_OF_A_WORD: Final = 12

# So much of a form must have been written before a stream waits for the rest of it.
_HEAD: Final = 4

# A whole file of assignments is a secret too (a rendered .env), but its lines are not: "HERMES_X=custom" tells
# nothing, and the values that do are revealed one by one.
_ASSIGNMENT_OR_COMMENT = re.compile(r"#.*|[A-Z][A-Z0-9_]*=.*|")
_WORDS = re.compile(r"[a-z]+(?:[_-][a-z]+)*|[A-Z]+(?:[_-][A-Z]+)*")
# What colours a terminal. Unfinished at the end of a text, it may go on in the next one.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*(?:[@-~]|\Z)|\Z)")


def is_placeholder(value: str) -> bool:
    """
    Tell whether a value is a short word, as people give where a program insists on a key: ``ollama``, ``not-needed``.

    Blacked out wherever it stands, such a word would make messages unreadable (``provider ********``) and tell by the
    gaps what it is. No service issues a key of fewer than 12 characters that are letters of one case only. Who gives
    one is warned that it is not looked for in what other programs print; what prints a secret here still shows none.
    """
    value = value.strip()
    return len(value) < LEAST_OF_A_WORD and bool(_WORDS.fullmatch(value))


def _octets(value: str) -> bytes:
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="surrogatepass")


def _itself(value: str) -> Iterator[str]:
    yield value


def _json_ascii(value: str) -> Iterator[str]:
    import json

    yield json.dumps(value)[1:-1]


def _json_unicode(value: str) -> Iterator[str]:
    import json

    yield json.dumps(value, ensure_ascii=False)[1:-1]


def _url_component(value: str) -> Iterator[str]:
    yield quote(_octets(value), safe="")
    # encodeURIComponent of browsers leaves these.
    yield quote(_octets(value), safe="!'()*")


def _url_path(value: str) -> Iterator[str]:
    yield quote(_octets(value), safe="/")
    # encodeURI, and what requests and httpx make of a URL that was given whole.
    yield quote(_octets(value), safe="/:?#[]@!$&'()*+,;=")


def _url_form(value: str) -> Iterator[str]:
    yield quote_plus(_octets(value), safe="")
    yield quote_plus(_octets(value), safe="/")


def _base64_whole(value: str) -> Iterator[str]:
    encoded = b2a_base64(_octets(value), newline=False).decode()
    for form in (encoded, encoded.rstrip("=")):
        yield form
        yield _url_safe(form)


def _base64_from(alignment: int) -> Callable[[str], Iterator[str]]:
    """Give the characters that depend on the value alone when ``alignment`` bytes (mod 3) stand before it."""

    def middle(value: str) -> Iterator[str]:
        octets = _octets(value)
        encoded = b2a_base64(b"\0" * alignment + octets, newline=False).decode()
        # Six bits a character: from the first that begins within the value to the last that ends within it.
        form = encoded[-(-8 * alignment // 6) : 8 * (alignment + len(octets)) // 6]
        yield form
        yield _url_safe(form)

    return middle


def _url_safe(form: str) -> str:
    return form.replace("+", "-").replace("/", "_")


def _shell_quoted(value: str) -> Iterator[str]:
    # shlex.quote, as it stands inside a longer quoted text too.
    yield value.replace("'", "'\"'\"'")


def _shell_requoted(value: str) -> Iterator[str]:
    yield value.replace("'", "'\\''")


def _shell_backslashed(value: str) -> Iterator[str]:
    yield re.sub(r"([^\w@%+=:,./\x80-\U0010ffff-])", r"\\\1", value, flags=re.ASCII)


def _shell_double_quoted(value: str) -> Iterator[str]:
    yield re.sub(r'([\\"$`])', r"\\\1", value)


def _repr_text(value: str) -> Iterator[str]:
    # Python chooses the quotes by the whole text, so a quote in the value may be escaped or not.
    yield repr(value)[1:-1]
    yield repr(f"'\"{value}")[4:-1]


def _repr_ascii(value: str) -> Iterator[str]:
    yield ascii(value)[1:-1]
    yield ascii(f"'\"{value}")[4:-1]


def _repr_bytes(value: str) -> Iterator[str]:
    octets = _octets(value)
    yield repr(octets)[2:-1]
    yield repr(b"'\"" + octets)[5:-1]


def _dotenv(value: str) -> Iterator[str]:
    try:
        assignment = dotenv.assignment("V", value)
    except dotenv.CannotEncode:
        return
    quoted = assignment.removeprefix("V=")
    yield quoted[1:-1] if quoted.startswith('"') else quoted


def _hex(value: str) -> Iterator[str]:
    yield _octets(value).hex()


#: What else a text holds when it holds a secret: one producer a spelling. A test takes each away in turn.
_AS_TEXT: dict[str, Callable[[str], Iterator[str]]] = {
    "itself": _itself,
    "JSON, ASCII": _json_ascii,
    "JSON, Unicode": _json_unicode,
    "URL, component": _url_component,
    "URL, path": _url_path,
    "URL, form": _url_form,
    "shell, quoted": _shell_quoted,
    "shell, requoted": _shell_requoted,
    "shell, backslashed": _shell_backslashed,
    "shell, double-quoted": _shell_double_quoted,
    "repr, text": _repr_text,
    "repr, ASCII": _repr_ascii,
    "repr, bytes": _repr_bytes,
    "dotenv": _dotenv,
}
#: Those of them in which programs put what is spelled one way or another already.
_AROUND: Final = frozenset({"JSON, ASCII", "JSON, Unicode", "shell, quoted", "repr, text"})
_AS_OCTETS: dict[str, Callable[[str], Iterator[str]]] = {
    "base64, whole": _base64_whole,
    "base64, first": _base64_from(0),
    "base64, second": _base64_from(1),
    "base64, third": _base64_from(2),
    "hex": _hex,
}


@cache
def forms(value: str) -> frozenset[str]:
    """
    Return every spelling of a value that is looked for, the value itself among them.

    Each is what stands in a longer text of its kind, without quotes of its own. Spellings of spellings are among
    them: pyinfra runs, and shows, ``sh -c '...'`` with the command quoted once more; an error that is JSON stands
    in a log that is JSON. Of a value of several lines, the lines count as well: a prefix before each of them is
    how pyinfra and journals print.
    """
    spelled = _spelled(value, _AS_TEXT) | _spelled(value, _AS_OCTETS)
    around = {name: producer for name, producer in _AS_TEXT.items() if name in _AROUND}
    for line in {value, *_parts(value)}:
        inner = _spelled(line, _AS_TEXT)
        spelled |= inner
        # A whole file would cost too much time, and its lines do.
        if "\n" not in line and inner != {line}:
            spelled.update(*(_spelled(form, around) for form in inner))
    return frozenset(spelled)


def _spelled(value: str, producers: Mapping[str, Callable[[str], Iterable[str]]]) -> set[str]:
    return {form for producer in producers.values() for form in producer(value)}


def _parts(value: str) -> set[str]:
    lines = {line.strip() for line in value.splitlines()}
    if len(lines) > 1 and all(map(_ASSIGNMENT_OR_COMMENT.fullmatch, lines)):
        return set()
    return {line for line in lines - {value} if len(line) >= LEAST and not is_placeholder(line)}


class _Values(dict[str, None]):
    """The values themselves, in the order they came; its text tells how many."""

    @override
    def __repr__(self) -> str:
        return f"<{len(self)} values>"


@final
class Revealed:
    """The secrets that came into the open in this process. It can be asked how many, never which."""

    __slots__ = ("_hooks", "_values")

    def __init__(self) -> None:
        self._values = _Values()
        self._hooks: list[Callable[[], object]] = []

    def remember(self, value: str) -> None:
        """
        Take note of a value; spaces around it apart, one of less than :data:`LEAST` characters is not kept, nor a
        placeholder.
        """
        if value in self._values or len(value.strip()) < LEAST or is_placeholder(value):
            return
        self._values[value] = None
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()

    def at_first(self, hook: Callable[[], object]) -> None:
        """Call a function when the first value is remembered; at once when that has happened."""
        if self._values:
            hook()
        else:
            self._hooks.append(hook)

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def _after(self, count: int) -> list[str]:
        return list(islice(list(self._values), count, None))

    @override
    def __repr__(self) -> str:
        return f"<{len(self._values)} revealed secrets>"

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("revealed secrets cannot be pickled or copied")

    @override
    def __getstate__(self) -> NoReturn:
        raise TypeError("revealed secrets cannot be pickled or copied")


#: Everything that was revealed.
REVEALED: Final = Revealed()


class _Found(NamedTuple):
    #: From where to where forms stand in a text: in order, apart from each other.
    spans: list[tuple[int, int]]
    #: Where the longest end of the text begins that may become a form when more is written.
    tail: int


class _Needles:
    """
    Forms, arranged for finding all of them in one pass over a text.

    The pass looks up the next four characters at each position, so its cost grows with the text and not with
    the number of secrets.
    """

    def __init__(self) -> None:
        self._by_head: dict[str, list[str]] = {}
        self._beginnings: set[str] = set()

    def add(self, forms_: Iterable[str]) -> None:
        for form in forms_:
            same = self._by_head.setdefault(form[:_HEAD], [])
            if form not in same:
                same.append(form)
                same.sort(key=len, reverse=True)
                self._beginnings.update(form[:length] for length in range(1, _HEAD))

    def find(self, text: str) -> _Found:
        found = self._find(text)
        if "\x1b" not in text:
            return found
        # Rich and others colour parts of words: look at what remains on the screen as well.
        at = [i for begin, end in _gaps(text) for i in range(begin, end)]
        seen = self._find("".join([text[i] for i in at]))
        spans = [(at[begin], at[end - 1] + 1) for begin, end in seen.spans]
        tail = at[seen.tail] if seen.tail < len(at) else len(text)
        return _Found(_merged([*found.spans, *spans]), min(found.tail, tail))

    def _find(self, text: str) -> _Found:
        length, by_head = len(text), self._by_head
        spans: list[tuple[int, int]] = []
        tail = length
        for i in [i for i in range(length - _HEAD + 1) if text[i : i + _HEAD] in by_head]:
            for form in by_head[text[i : i + _HEAD]]:  # the longest first
                if i + len(form) > length:
                    if tail == length and form.startswith(text[i:]):
                        tail = i
                elif text.startswith(form, i):
                    spans.append((i, i + len(form)))
                    break
        if tail == length:
            rest = range(max(0, length - _HEAD + 1), length)
            tail = next((i for i in rest if text[i:] in self._beginnings), length)
        return _Found(_merged(spans), tail)

    def is_most_of_one(self, text: str) -> bool:
        """Tell whether a text begins some form and tells at least half of it."""
        text = _ESCAPE.sub("", text)
        candidates = self._by_head.get(text[:_HEAD], ())
        return len(text) >= LEAST and any(f.startswith(text) and 2 * len(text) >= len(f) for f in candidates)


def _gaps(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for escape in _ESCAPE.finditer(text):
        yield begin, escape.start()
        begin = escape.end()
    yield begin, len(text)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _masked(text: str, spans: list[tuple[int, int]], begin: int, end: int) -> str:
    """Return a part of a text, with a mask for each span in it; colours that change within a span still change."""
    pieces: list[str] = []
    for first, last in spans:
        first, last = max(first, begin), min(last, end)
        if first < last:
            pieces += [text[begin:first], REDACTED, *_ESCAPE.findall(text[first:last])]
            begin = last
    return "".join([*pieces, text[begin:end]])


class Redactor:
    """Takes every revealed secret, in every spelling of :func:`forms`, out of texts."""

    def __init__(self, revealed: Revealed = REVEALED) -> None:
        self._revealed = revealed
        self._needles: dict[tuple[str, str] | None, tuple[int, _Needles]] = {}

    def redact(self, text: str) -> str:
        """Return the text with ``********`` for every secret in it; a text without one is returned as it is."""
        needles = self._known(None)
        if needles is None:
            return text
        spans = needles.find(text).spans
        return _masked(text, spans, 0, len(text)) if spans else text

    def stream(self, encoding: str = "utf-8", errors: str = "strict") -> Stream:
        """Return what redacts bytes that come piece by piece; text among them is encoded as told, or in UTF-8."""
        return Stream(self, encoding, errors)

    def _known(self, encoded: tuple[str, str] | None) -> _Needles | None:
        if not self._revealed:
            return None
        count, needles = self._needles.get(encoded) or (0, _Needles())
        if count != len(self._revealed):
            for value in self._revealed._after(count):
                count += 1
                needles.add(forms(value) if encoded is None else _in_bytes(forms(value), *encoded))
            self._needles[encoded] = count, needles
        return needles


def _in_bytes(forms_: Iterable[str], encoding: str, errors: str) -> Iterator[str]:
    """Give forms as the bytes that they are in a stream, one character for a byte."""
    for form in forms_:
        yield _octets(form).decode("latin-1")
        try:
            octets = form.encode(encoding, errors)
        except (UnicodeEncodeError, LookupError):
            continue
        # What "replace" and "ignore" leave of a form in another script is question marks, or nothing.
        if len(octets.replace(b"?", b"")) >= LEAST:
            yield octets.decode("latin-1")


@final
class Stream:
    """
    Redacts bytes that come piece by piece, also where a secret is split.

    An end of what came that may be the beginning of a secret waits for more, when it is of four characters at
    least; :meth:`release` lets it out, masked when it tells half of a secret. The rest of that secret is masked
    in any case when it comes.
    """

    __slots__ = ("_done", "_encoded", "_kept", "_redactor")

    def __init__(self, redactor: Redactor, encoding: str, errors: str) -> None:
        self._redactor = redactor
        self._encoded = (encoding, errors)
        # What may be the beginning of a form, and how much of that is out already. One character for a byte.
        self._kept = ""
        self._done = 0

    def feed(self, data: bytes) -> bytes:
        """Return what can be written now."""
        needles = self._redactor._known(self._encoded)
        if needles is None:
            return data
        text = self._kept + data.decode("latin-1")
        spans, tail = needles.find(text)
        edge = tail if len(text) - tail >= _HEAD else len(text)
        for begin, end in spans:
            if begin <= edge < end:
                edge = end
        written = _masked(text, spans, self._done, edge)
        self._kept, self._done = text[tail:], max(self._done, edge) - tail
        return written.encode("latin-1")

    def release(self) -> bytes:
        """Return what was waiting for more."""
        text, done = self._kept, self._done
        needles = self._redactor._known(self._encoded)
        if done == len(text) or needles is None:
            return b""
        self._done = len(text)
        spans, tail = needles.find(text)
        if tail < len(text) and needles.is_most_of_one(text[tail:]):
            spans = _merged([*spans, (tail, len(text))])
        return _masked(text, spans, done, len(text)).encode("latin-1")


#: Knows every secret that this process revealed.
REDACTOR: Final = Redactor()


def redact(text: str) -> str:
    """Return a text without any secret that this process revealed."""
    return REDACTOR.redact(text)
