"""`clm` once more, for tests of what it says: words that must be there, commands side by side, state as bytes."""

import copy
import subprocess
import sys

from typing_extensions import override

from tests.lab.clm import PYINFRA, Clm, Done, run
from tests.lab.machine import Machine


class Said:
    """What a command printed and how it ended."""

    def __init__(self, done: Done) -> None:
        """Take a command that has ended."""
        self.code = done.returncode
        self.command = done.command
        self.out = done.stdout
        self.err = done.stderr
        self.text = done.output
        self._done = done

    @override
    def __str__(self) -> str:
        return str(self._done)

    def has(self, *words: str) -> "Said":
        """Fail when one of the words was not printed."""
        for word in words:
            assert word in self.text, f"{word!r} was not said by {self}"
        return self

    def lacks(self, *words: str) -> "Said":
        """Fail when one of the words was printed."""
        for word in words:
            assert word not in self.text, f"{word!r} was said by {self}"
        return self


class Running:
    """A command that goes on while the test does."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Take one that was started."""
        self._process = process

    def wait(self, code: int | None = 0, seconds: float = 240) -> Said:
        """Wait until it ends; `code` as for `Person.clm`."""
        out, err = self._process.communicate(timeout=seconds)
        words = self._process.args
        command = " ".join(map(str, words)) if isinstance(words, list) else str(words)
        return _judged(Done(command, self._process.returncode, out, err, 0), code)


class Person(Clm):
    """Somebody without a terminal, at a control machine where nothing is known yet."""

    def clm(self, *arguments: str, code: int | None = 0, stdin: str | None = None, seconds: float = 240) -> Said:
        """Run `clm`; it must end with `code` (None: with any), and never with a traceback of its own."""
        command = self.command(*arguments)
        return _judged(run(command, self.environment, stdin=stdin, seconds=seconds, cwd=self.config_home), code)

    def begin(self, *arguments: str) -> Running:
        """Start `clm` and go on."""
        return Running(self.start(*arguments))

    def plain_pyinfra(self, *arguments: str, code: int | None = 0, seconds: float = 240) -> Said:
        """Run `pyinfra` on the same state; what it writes lands beside that."""
        done = run([PYINFRA, *arguments], self.environment, stdin=None, seconds=seconds, cwd=self.config_home)
        return _judged(done, code)

    def but(self, **environment: str) -> "Person":
        """The same person, with something else in the environment."""
        other = copy.copy(self)
        other.environment = {**self.environment, **environment}
        return other

    def command(self, *arguments: str) -> list[str]:
        """The words that run `clm`."""
        return [sys.executable, "-m", "pyinfra_hermes.cli", *arguments]

    def records(self) -> dict[str, bytes]:
        """The state files as they are; the lock is none, and of a directory that is not there there is nothing."""
        found = self.state.rglob("*") if self.state.is_dir() else []
        return {
            str(path.relative_to(self.state)): path.read_bytes()
            for path in found
            if path.is_file() and path.name != ".lock"
        }


def shown_fingerprint(machine: Machine) -> str:
    """The fingerprint of the key that a host shows now."""
    public = machine.root / "etc/ssh/ssh_host_ed25519_key.pub"
    listed = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout
    return listed.split()[1]


def _judged(done: Done, code: int | None) -> Said:
    # A daemon's traceback may be shown, as the reason of its end; one of clm's own goes through its main().
    said = Said(done).lacks("/cli/main.py")
    assert code is None or said.code == code, f"exit {said.code}, not {code}: {said}"
    return said
