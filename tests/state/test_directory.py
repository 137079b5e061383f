"""Where the state directory is, and what is refused before anything in it is read."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinfra_hermes.cli.state.directory import StateDirectory, default_path
from pyinfra_hermes.cli.state.errors import StateError, StateReadFailed, StateRefused, StateWriteFailed
from pyinfra_hermes.cli.state.records import Provider
from pyinfra_hermes.cli.state.store import State

FILES = ["hosts.json", "providers.json", "integrations.json", "secrets.json"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/clawrium"),
        ({"XDG_CONFIG_HOME": "x", "HOME": "/h"}, "/h/.config/clawrium"),
        ({"XDG_CONFIG_HOME": "", "HOME": "/h"}, "/h/.config/clawrium"),
        ({"HOME": "/h"}, "/h/.config/clawrium"),
        ({"HOME": "~"}, f"{pwd.getpwuid(os.geteuid()).pw_dir}/.config/clawrium"),
        ({}, f"{pwd.getpwuid(os.geteuid()).pw_dir}/.config/clawrium"),
    ],
)
def test_where_the_directory_is(environ: dict[str, str], expected: str) -> None:
    assert default_path(environ) == Path(expected)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an account that has no name")
def test_an_account_without_a_home() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(54321)
            default_path({})
        except StateReadFailed as error:
            code = 0 if error.remedy == "Set HOME or XDG_CONFIG_HOME" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_users_own_directory_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert State.open().directory.path == tmp_path / "clawrium"


def both(state: State) -> list[Callable[[], object]]:
    def write() -> None:
        with state.transaction() as tx:
            tx.providers["new"] = Provider(name="new", type="t")

    return [state.read, write]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
@pytest.mark.parametrize("name", FILES)
def test_a_file_open_to_others_is_refused_until_the_remedy_is_run(
    filled: State, path: Path, name: str, mode: int
) -> None:
    path.joinpath(name).chmod(mode)
    for use in both(filled):
        with pytest.raises(StateRefused, match=f"{mode:04o}") as caught:
            use()
        assert caught.value.remedy == f"chmod 600 {path / name}"
    subprocess.run(shlex.split(caught.value.remedy), check=True)
    filled.read()


@pytest.mark.parametrize("folder", ["", "generations"])
def test_a_directory_open_to_others_is_refused_until_the_remedy_is_run(filled: State, path: Path, folder: str) -> None:
    read, write = both(filled)
    path.joinpath(folder).chmod(0o755)
    for use in [write] if folder else [read, write]:
        with pytest.raises(StateRefused) as caught:
            use()
        assert caught.value.remedy == f"chmod 700 {path / folder}"
    subprocess.run(shlex.split(caught.value.remedy), check=True)
    write()
    assert "new" in filled.read().providers


@pytest.mark.parametrize("name", FILES)
def test_a_symbolic_link_is_refused_until_the_remedy_is_run(
    filled: State, path: Path, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "else where"
    path.joinpath(name).rename(elsewhere)
    path.joinpath(name).symlink_to(elsewhere)
    for use in both(filled):
        with pytest.raises(StateRefused, match="symbolic link") as caught:
            use()
    subprocess.run(shlex.split(caught.value.remedy or ""), check=True)
    filled.read()


def test_a_lock_that_is_a_symbolic_link_is_not_followed(filled: State, path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    precious.chmod(0o600)
    path.joinpath(".lock").unlink()
    path.joinpath(".lock").symlink_to(precious)
    with pytest.raises(StateRefused, match="symbolic link"):
        both(filled)[1]()
    assert precious.read_text() == "kept"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_socket])
def test_what_is_no_regular_file_is_refused_and_does_not_hang(
    filled: State, path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    path.joinpath("hosts.json").unlink()
    monkeypatch.chdir(path)
    make(Path("hosts.json"))
    with pytest.raises(StateRefused, match="not a regular file") as caught:
        filled.read()
    assert caught.value.remedy == f"mv {path}/hosts.json {path}/hosts.json.old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["", "secrets.json", "generations"])
def test_what_belongs_to_another_is_refused(filled: State, path: Path, name: str) -> None:
    os.chown(path / name, 12345, -1)
    with pytest.raises(StateRefused, match="belongs to 12345, not to root") as caught:
        both(filled)[1]()
    # One file of another account in a directory of ours was put there; a whole directory is somebody's.
    is_file = name.endswith(".json")
    assert caught.value.remedy == (f"chown root {path / name}" if is_file else "Run the command as 12345, without sudo")


def test_a_file_in_the_place_of_the_directory(state: State, path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    for use in both(state):
        with pytest.raises(StateRefused, match="is not a directory"):
            use()


def test_the_directory_may_be_a_link_to_one_that_is_safe(filled: State, path: Path, tmp_path: Path) -> None:
    path.rename(tmp_path / "dotfiles")
    path.symlink_to(tmp_path / "dotfiles")
    assert "wolf-i" in filled.read().hosts
    tmp_path.joinpath("dotfiles").chmod(0o750)
    with pytest.raises(StateRefused):
        filled.read()


def test_a_link_to_a_directory_that_is_not_there(state: State, path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StateRefused, match="not there"):
        both(state)[1]()


@pytest.mark.skipif(os.geteuid() != 0, reason="drops privileges to meet a permission")
def test_a_directory_that_the_system_closes(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    child = os.fork()
    if child == 0:
        kinds: list[type[StateError]] = []
        try:
            os.setuid(12345)
            for use in both(State.open(tmp_path / "clawrium")):
                try:
                    use()
                except StateError as error:
                    kinds.append(type(error))
        finally:
            os._exit(0 if kinds == [StateReadFailed, StateWriteFailed] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_new_file_that_cannot_be_written_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with StateDirectory(path).created() as directory:
        monkeypatch.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            directory.write_new("new", b"content")
        monkeypatch.undo()
        assert directory.names() == []
        directory.write_new("new", b"content")
        with pytest.raises(FileExistsError):
            directory.write_new("new", b"other")
        assert directory.read("new") == b"content"
