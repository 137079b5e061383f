"""Whatever writes in this process, and however: no revealed secret reaches the terminal, a pipe or a file."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pyinfra_hermes.deploys import redacting
from pyinfra_hermes.deploys.model.redaction import REDACTED

SECRET = "sk-hunter2'é\"-$x"
# What is left of it in an escaped form, whichever that is.
TRACES = ("hunter2", base64.b64encode(SECRET.encode()).decode()[4:-4])

_PRELUDE = f"""
import base64, logging, os, sys, threading, traceback, warnings
import click
from pyinfra_hermes.cli import main
from pyinfra_hermes.deploys import redacting
from pyinfra_hermes.deploys.model.secret import Secret
value = Secret(''.join(map(chr, {[*map(ord, SECRET)]})))
"""

_COMMAND = """
@main.cli.command()
def leak():
    key = value.reveal()
{body}

sys.exit(main.run(["leak"]))
"""


def run(
    body: str,
    *options: str,
    whole: bool = False,
    terminal: bool = False,
    directory: Path | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of ``clm`` with this body, which finds a revealed secret in ``key``."""
    indented = textwrap.indent(textwrap.dedent(body), "    ")
    program = _PRELUDE + (textwrap.dedent(body) if whole else _COMMAND.format(body=indented))
    command = [sys.executable, *options, "-c", program]
    surroundings = {**os.environ, "PYTHONUNBUFFERED": "", "COLUMNS": "200", **environment}
    if not terminal:
        return subprocess.run(command, capture_output=True, env=surroundings, timeout=240, cwd=directory)
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=surroundings, cwd=directory) as process:
        os.close(theirs)
        output = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                output += piece
        os.close(ours)
    return subprocess.CompletedProcess(command, process.wait(), output, b"")


def assert_redacted(data: bytes, times: int = 1) -> None:
    text = data.decode()
    assert not [trace for trace in TRACES if trace in text], text
    assert text.count(REDACTED) >= times, text


WRITERS = {
    "print": 'print("key", key)',
    "print to stderr": 'print("key", key, file=sys.stderr)',
    "print, no end, no flush": 'print("key", key, end="")',
    "write": 'sys.stdout.write(key)',
    "writelines": 'sys.stdout.writelines(["key ", key, "\\n"])',
    "split": 'sys.stdout.write(key[:7]); sys.stdout.write(key[7:])',
    "split with a flush": 'print(key[:3], end="", flush=True); print(key[3:], flush=True)',
    "split between text and bytes": 'print(end=key[:3], flush=True); sys.stdout.buffer.write(key[3:].encode())',
    "bytes": 'sys.stdout.buffer.write(key.encode())',
    "bytearray": 'sys.stdout.buffer.write(bytearray(key.encode()))',
    "bytes to stderr": 'sys.stderr.buffer.write(b"key " + key.encode())',
    "detached": 'sys.stdout.detach().write(key.encode())',
    "reconfigured": 'sys.stdout.reconfigure(encoding="latin-1", line_buffering=True); print(key)',
    "another encoding": 'sys.stdout.reconfigure(encoding="ascii", errors="backslashreplace"); print(key)',
    "echo": 'click.echo(key)',
    "echo to stderr": 'click.echo(key, err=True)',
    "echo bytes": 'click.echo(key.encode()); click.echo(key.encode(), err=True)',
    "secho": 'click.secho(key, fg="red", err=True)',
    "click's text": 'click.get_text_stream("stdout").write(key); click.get_text_stream("stderr", "ascii").write(key)',
    "click's bytes": 'click.get_binary_stream("stderr").write(key.encode())',
    "click's file": 'click.open_file("-", "w").write(key)',
    "progress bar": 'with click.progressbar([1], label=key) as bar: list(bar)',
    "JSON": 'import json; print(json.dumps({"a": key}), json.dumps({"a": key}, ensure_ascii=False))',
    "base64": 'print(base64.b64encode(f"user:{key}".encode()).decode())',
    "repr of bytes": 'print([key.encode()])',
    "warning": 'warnings.warn(f"key {key}")',
    "logging": 'logging.warning("key %s", key)',
    "logging with a handler of before": 'LOG.warning("key %s", key)',
    "logging an exception": 'exec("try:\\n raise ValueError(key)\\nexcept ValueError: logging.exception(\'failed\')")',
    "logging, wrong format": 'logging.warning("%s %s", key)',
    "exception": 'raise ValueError(f"cannot use {key}")',
    "exception with a chain": 'exec("try:\\n {}[key]\\nexcept KeyError as e: raise RuntimeError(key) from e")',
    "exception with a note": 'error = ValueError("x"); error.add_note(f"key\\n{key}"); raise error',
    "exception group": 'raise ExceptionGroup(key, [ValueError(key)])',
    "usage error": 'raise click.UsageError(f"key {key}")',
    "click exception": 'raise click.ClickException(f"key {key}")',
    "thread": 't = threading.Thread(target=lambda: {}[key], name=key); t.start(); t.join()',
    "exit": 'sys.exit(f"key {key}")',
    "unraisable": 'X = type("X", (), {"__del__": lambda self: {}[key]}); x = X(); del x',
    "greenlet": 'import gevent; gevent.spawn(lambda: {}[key]).join()',
    "traceback with locals": 'print(*traceback.TracebackException(*_failure(key), capture_locals=True).format())',
    "rich": 'from rich.console import Console; Console().print("key", key); Console(stderr=True).print({"a": key})',
    "rich in colours": 'from rich.console import Console; Console(force_terminal=True).print("key", key, [key])',
    "rich traceback": 'from rich.traceback import install; install(show_locals=True); raise ValueError(key)',
    "rich log": 'from rich.logging import RichHandler; logging.root.addHandler(RichHandler()); logging.error(key)',
    "rich live": 'from rich.progress import Progress as P\nwith P() as p: p.add_task(key); p.print(key); print(key)',
}  # fmt: skip

_SETUP = """
def _failure(key):
    try: raise ValueError("x")
    except ValueError as error: return type(error), error, error.__traceback__
LOG = logging.getLogger("before")
LOG.addHandler(logging.StreamHandler())
LOG.propagate = False
"""


@pytest.mark.parametrize("writer", WRITERS)
def test_no_way_of_writing_shows_it(writer: str) -> None:
    global_setup = f"exec({_SETUP!r}, globals())\n"
    result = run(global_setup + WRITERS[writer])
    assert_redacted(result.stdout + result.stderr)


@pytest.mark.parametrize("options", [["-u"], ["-X", "utf8=0"], ["-X", "dev"]])
@pytest.mark.parametrize(
    "body", ['print("key", key, file=sys.stderr)', "click.echo(key.encode(), err=True)", "raise ValueError(key)"]
)
def test_nor_in_other_modes_of_the_interpreter(options: list[str], body: str) -> None:
    result = run(body, *options, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert_redacted(result.stdout + result.stderr)
    assert b"Warning" not in result.stderr


@pytest.mark.parametrize("writer", ["print", "echo", "rich", "rich traceback", "rich live", "exception", "warning"])
def test_nor_at_a_terminal(writer: str) -> None:
    assert_redacted(run(WRITERS[writer], terminal=True, TERM="xterm-256color").stdout)


def test_a_terminal_is_still_one_and_prompts_appear() -> None:
    shown = run(
        """
        assert sys.stdout.isatty() and sys.stderr.isatty()
        assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
        assert sys.stdout.line_buffering and sys.stdout.writable() and not sys.stdout.closed
        assert (sys.stdout.name, sys.stdout.mode, sys.stdout.encoding) == ("<stdout>", "w", "utf-8")
        click.echo(click.style("red", fg="red"))
        # It even ends as the secret begins.
        click.echo("Password: sk-hu", nl=False)
        os.write(1, b"|after the prompt")
        """,
        terminal=True,
    ).stdout
    assert b"\x1b[31mred\x1b[0m" in shown
    assert shown.endswith(b"Password: sk-hu|after the prompt"), shown


def test_what_is_no_secret_is_written_byte_for_byte() -> None:
    result = run(
        """
        data = bytes(range(256)) * 100
        sys.stdout.buffer.write(data)
        print("text \\x1b[31mred\\x1b[0m é\\r\\n", end="", flush=True)
        sys.stdout.buffer.write(data[::-1])
        """
    )
    data = bytes(range(256)) * 100
    assert result.stdout == data + "text \x1b[31mred\x1b[0m é\r\n".encode() + data[::-1]
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_log_file_holds_no_secret(tmp_path: Path) -> None:
    result = run(
        """
        handler = logging.FileHandler("x.log")
        logging.getLogger().addHandler(handler)
        log = logging.getLogger("a.b")
        log.error("%s and %s", 1, key)
        log.error("%(k)s", {"k": [key]})
        log.error(key, stack_info=True)
        try:
            raise ValueError(key)
        except ValueError as error:
            log.exception("failed: %s", error)
            log.error("no secret here: %d", 5, exc_info=RuntimeError("plain"))
        """,
        directory=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "x.log").read_bytes()
    assert_redacted(text, 5)
    assert b"no secret here: 5" in text
    assert b"RuntimeError: plain" in text


def test_records_without_secrets_stay_as_they_are() -> None:
    result = run(
        """
        class Keep(logging.Handler):
            def emit(self, record): kept.append((record.msg, record.args, bool(record.exc_info)))
        kept = []
        logging.getLogger().addHandler(Keep())
        logging.error("%s %s", 1, 2)
        logging.error("x", exc_info=ValueError("y"))
        logging.getLogger("warned").warning({"a": 1})
        print(kept)
        """
    )
    assert result.stdout.decode().strip() == str([("%s %s", (1, 2), False), ("x", (), True), ({"a": 1}, (), False)])


def test_a_traceback_reads_as_python_writes_it() -> None:
    body = 'raise ValueError("plain")'
    guarded = run(body).stderr
    assert guarded.endswith(b"ValueError: plain\n")
    assert guarded.count(b"Traceback (most recent call last):") == 1


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError(key)",
        "t = threading.Thread(target=lambda: {}[key]); t.start(); t.join()",
        "X = type('X', (), {'__del__': lambda self: {}[key]}); x = X(); del x",
    ],
)
def test_hooks_redact_also_for_a_stream_that_came_later(body: str) -> None:
    assert_redacted(run(f"sys.stderr = open(2, 'w', closefd=False)\n{body}").stderr)


def test_a_sink_that_takes_a_part_gets_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.RawIOBase):
        got = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.got += bytes(data)[:7]  # type: ignore[call-overload]
            return min(7, len(data))  # type: ignore[arg-type]

    slow = Slow()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(slow, write_through=True))  # type: ignore[type-var]
    redacting.install()
    print("x" * 100, flush=True)
    assert slow.got == b"x" * 100 + b"\n"


def test_installed_before_anything_is_revealed_and_once() -> None:
    result = run(
        """
        redacting.install()
        streams = sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook
        key = value.reveal()
        factory = logging.getLogRecordFactory()
        redacting.install()
        assert streams == (sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook)
        assert factory is logging.getLogRecordFactory()
        print(key)
        """,
        whole=True,
    )
    assert_redacted(result.stdout)
    assert result.stdout == f"{REDACTED}\n".encode()


def test_one_function_shows_a_secret_on_purpose() -> None:
    result = run("print(key); redacting.write_secret(key); print(key)")
    assert result.stdout.decode() == f"{REDACTED}\n{SECRET}\n{REDACTED}\n"
    assert run("redacting.write_secret(key, end='')").stdout.decode() == SECRET


def test_the_file_descriptor_itself_is_out_of_reach() -> None:
    # Stated, not wished for: what C code, os.write and other processes write does not pass through Python's streams.
    result = run('os.write(1, key.encode()); os.system("printf %s sk-hunter2")')
    assert result.stdout.decode() == SECRET + "sk-hunter2"


@pytest.mark.parametrize("install", ["", "redacting.install = lambda: None"])
@pytest.mark.parametrize(
    "body", ["print('x' * 300_000)", "click.echo('x' * 300_000)", "print(key); print('x' * 300_000)"]
)
def test_a_reader_who_went_away_is_met_as_without_it(body: str, install: str) -> None:
    program = _PRELUDE + install + _COMMAND.format(body=f"    {body}\n    sys.stdout.flush()")
    result = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    # 1 is what Click makes of it.
    assert (result.stdout.strip(), result.stderr) == ("1", "")


@pytest.mark.parametrize("stream", [io.StringIO, lambda: io.TextIOWrapper(io.BytesIO(), write_through=True)])
def test_streams_of_others_are_guarded_and_given_back_open(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = stream()  # type: ignore[operator]
    monkeypatch.setattr(sys, "stdout", theirs)
    redacting.install()
    assert sys.stdout is not theirs
    print("hello")
    sys.stdout.flush()
    monkeypatch.undo()
    text = theirs.getvalue() if isinstance(theirs, io.StringIO) else theirs.buffer.getvalue().decode()
    assert text == "hello\n"
    assert not theirs.closed
    theirs.write("more")


_DEPLOY = """
from pyinfra import host, logger
from pyinfra.operations import files, server, python
from pyinfra.facts.server import Command
from pyinfra_hermes.deploys import hermes  # as pyinfra loads it
from pyinfra_hermes.deploys.model.secret import Secret
import io, shlex
key = Secret(''.join(map(chr, {codes}))).reveal()
host.get_fact(Command, command=f"echo fact {{shlex.quote(key)}}")
server.shell(name=f"name {{key}}", commands=[f"echo out {{shlex.quote(key)}}; echo err {{shlex.quote(key)}} >&2"])
files.put(name="put", src=io.StringIO(f"key={{key}}\\n"), dest="{target}")
logger.warning(f"logged {{key}}")
{last}
"""


def pyinfra(directory: Path, last: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    target = directory / "target"
    target.write_text("key=old\n")
    deploy = directory / "deploy.py"
    deploy.write_text(_DEPLOY.format(codes=[*map(ord, SECRET)], target=target, last=last))
    command = [sys.executable, "-m", "pyinfra", "@local", str(deploy), "-y", *options]
    return subprocess.run(
        command, capture_output=True, cwd=directory, timeout=120, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )


@pytest.mark.parametrize(
    "options", [["-vvv", "--debug", "--diff"], ["-vvv", "--debug-all"], ["--debug-operations"], ["--debug-facts"], []]
)
def test_pyinfra_itself_shows_nothing(options: list[str], tmp_path: Path) -> None:
    result = pyinfra(tmp_path, "", *options)
    assert result.returncode == 0, result.stderr
    assert_redacted(result.stdout + result.stderr)
    if "--debug" in options:
        assert (tmp_path / "target").read_text() == f"key={SECRET}\n"


@pytest.mark.parametrize(
    "last",
    [
        "raise ValueError(key)",
        "server.shell(name='fails', commands=[f'echo {shlex.quote(key)} >&2; exit 3'])",
        "server.shell(commands=['x'], _nonsense=key)",
        "python.call(name='call', function=lambda: {}[key])",
    ],
)
def test_nor_when_it_fails(last: str, tmp_path: Path) -> None:
    result = pyinfra(tmp_path, last, "-vvv", "--debug")
    assert result.returncode != 0
    assert_redacted(result.stdout + result.stderr)


def test_nor_does_its_debug_file(tmp_path: Path) -> None:
    # An exception that pyinfra does not expect: what it writes to the file comes from inside of it.
    result = pyinfra(tmp_path, "from pyinfra.api import state as s\ns.State.get_op_order = lambda self: {}[key]")
    assert result.returncode != 0
    assert_redacted(result.stdout + result.stderr)
    assert_redacted((tmp_path / "pyinfra-debug.log").read_bytes())
    assert b"Traceback" not in result.stdout


def test_json_stays_json() -> None:
    result = run('import json; click.echo(json.dumps({"a": key, "b": [1, 2]}))')
    assert json.loads(result.stdout) == {"a": REDACTED, "b": [1, 2]}
