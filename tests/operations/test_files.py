"""Files with secrets, and leaves of a configuration: what pyinfra-testing's cases cannot hold."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from pyinfra.api import HiddenValue, QuoteString

from pyinfra_hermes.operations import commands, files

from .harness import BARE, RUNNING, Yielded, file, maurice, packaged, stdin, with_agent, yielded

SECRET = "A_KEY=hunter2\n"
ENV = "/home/maurice/.hermes/.env"


def secret_file(content: str = SECRET, overwrite: bool = True, **env: str) -> Yielded:
    paths = {"env": file(**env)} if env else {}
    return yielded(
        files.secret_file,
        with_agent(RUNNING, paths=paths),
        agent="maurice",
        key="env",
        path=ENV,
        content=HiddenValue(content),
        overwrite=overwrite,
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_with_this_content_mode_and_owner_is_left_alone() -> None:
    found = secret_file(detail=digest(SECRET))
    assert (found.commands, found.noop) == ([], f"file {ENV} is up to date")


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"detail": digest("other")},
        {"detail": digest(SECRET), "mode": "644"},
        {"detail": digest(SECRET), "owner": "root"},
        {"detail": "/etc/shadow", "kind": "symbolic link"},
        {"detail": "-", "kind": "fifo"},
    ],
)
def test_any_other_file_is_replaced_as_the_agent_with_the_secret_on_stdin_only(env: dict[str, str]) -> None:
    command = secret_file(**env).only
    assert stdin(command) == SECRET
    assert "hunter2" not in command.get_raw_value()
    assert command.get_raw_value() == (
        "mkdir -p -- /var/lib/pyinfra-hermes && : > /var/lib/pyinfra-hermes/maurice.restart && "
        "setpriv --reuid=maurice --regid=maurice --clear-groups --inh-caps=-all --no-new-privs env -i "
        "HOME=/home/maurice PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -c "
        "'umask 077; cd / && t=$(mktemp -- /home/maurice/.hermes/.env.XXXXXXXXXX ) && "
        'trap \'"\'"\'rm -f -- "$t"\'"\'"\' EXIT && cat >"$t" && chmod 600 "$t" && sync -- "$t" && '
        'mv -fT -- "$t" /home/maurice/.hermes/.env\''
    )


def test_a_directory_in_the_way_is_refused() -> None:
    assert secret_file(kind="directory").raw == [f"echo '{ENV} is a directory; move it away' >&2; exit 1"]


def test_a_file_that_is_only_to_exist_keeps_its_content() -> None:
    found = secret_file("", overwrite=False, detail=digest(SECRET))
    assert (found.commands, found.noop) == ([], f"file {ENV} exists with mode 600")


def test_a_file_that_is_only_to_exist_gets_its_mode() -> None:
    command = secret_file("", overwrite=False, mode="644").only
    assert command.get_raw_value().endswith("sh -c 'umask 077; cd / && chmod 600 -- /home/maurice/.hermes/.env'")
    assert stdin(command) is None


def test_a_file_that_is_to_exist_is_made_without_a_restart() -> None:
    command = secret_file("", overwrite=False).only
    assert stdin(command) == ""
    assert command.get_raw_value().startswith("setpriv ")


def test_an_unobserved_host_gets_no_secret() -> None:
    found = yielded(files.secret_file, None, agent="maurice", key="env", path=ENV, content=HiddenValue(SECRET))
    assert found.raw == ["echo 'the host could not be observed, see above; nothing was changed' >&2; exit 1"]
    assert stdin(found.only) is None


def run_shell(script: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", f"umask 077; {script}"], input=text, capture_output=True, text=True, check=False)


def test_writing_is_one_step_and_follows_no_link(tmp_path: Path) -> None:
    target, victim = tmp_path / "it's $(a) file", tmp_path / "victim"
    victim.write_text("mine")
    target.symlink_to(victim)
    command = commands.write_atomically(str(target), "600").get_raw_value()
    assert run_shell(command, SECRET).returncode == 0
    assert (target.read_text(), target.is_symlink(), target.stat().st_mode & 0o7777) == (SECRET, False, 0o600)
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, victim.name])


def test_writing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    target.mkdir()
    (target / "kept").touch()
    assert run_shell(commands.write_atomically(str(target), "600").get_raw_value(), SECRET).returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]
    assert (target / "kept").exists()


@pytest.mark.parametrize("text", ["it's", "$(id) `id` \\", "a\nb", "-n", '"'])
def test_a_refusal_says_exactly_its_text_and_fails(text: str) -> None:
    result = run_shell(commands.refuse(text).get_raw_value())
    assert (result.returncode, result.stdout) == (1, "")
    if text != "-n":
        assert result.stderr.rstrip("\n") == text


def test_what_users_gave_is_quoted_into_the_agents_script() -> None:
    command = commands.as_agent(None, "maurice", commands.StringCommand("printf %s", QuoteString("a'b $(id)")))
    script = command.get_raw_value().split(" sh -c ", 1)[1]
    assert run_shell(f"sh -c {script}").stdout == "a'b $(id)"


CONFIG = "/home/maurice/.hermes/config.yaml"


def config_leaves(observed: object = BARE) -> Yielded:
    return yielded(
        files.config_leaves,
        observed,  # type: ignore[arg-type]
        agent="maurice",
        path=CONFIG,
        python="/opt/r/python",
        leaves={"model.default": "m", "model.context_length": 1},
        absent=["model.api_key"],
    )


@pytest.mark.parametrize(
    "state",
    [
        maurice(),
        maurice(paths={"config": file()}),
        maurice(paths={"config": file()}, leaves={"model.default": "0" * 64, "model.context_length": "0" * 64}),
    ],
)
def test_leaves_that_differ_are_written_by_the_releases_python_as_the_agent(state: object) -> None:
    command = config_leaves(with_agent(BARE, **vars(state))).only
    raw = command.get_raw_value()
    assert raw.startswith(
        "mkdir -p -- /var/lib/pyinfra-hermes && : > /var/lib/pyinfra-hermes/maurice.restart && setpriv "
    )
    assert json.loads(stdin(command) or "") == {
        "path": CONFIG,
        "set": {"model.default": "m", "model.context_length": 1},
        "absent": ["model.api_key"],
    }
    # The script comes through three shells whole.
    inner = raw.split(" sh -c ", 1)[1].replace("/opt/r/python -I -c", "printf %s")
    assert run_shell(f"sh -c {inner}").stdout == packaged("config.py.txt")
