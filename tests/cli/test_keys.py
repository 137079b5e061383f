"""Our own SSH keys, and what is said to the host and to a person about them."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from pyinfra_hermes.cli.problems import Problem
from pyinfra_hermes.cli.ssh import keys
from pyinfra_hermes.cli.state.errors import StateCorrupt, StateRefused
from pyinfra_hermes.cli.state.records import Host
from pyinfra_hermes.cli.state.store import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "clawrium", lock_wait=5)


def test_a_key_is_made_once_and_used_again(state: State) -> None:
    made = keys.ensure(state, "wolf-i")
    assert made.path == state.directory.keys / "wolf-i" / "id_ed25519"
    assert isinstance(load_ssh_private_key(made.path.read_bytes(), None), Ed25519PrivateKey)
    assert made.is_new
    for path, mode in ((made.path, 0o600), (made.path.with_suffix(".pub"), 0o600), (made.path.parent, 0o700)):
        assert path.stat().st_mode & 0o777 == mode
    again = keys.ensure(state, "wolf-i")
    assert (again.key, again.line, again.is_new) == (made.key, made.line, False)
    assert keys.ensure(state, "wolf-ii").key != made.key


def test_openssh_reads_the_key_as_we_wrote_it(state: State) -> None:
    made = keys.ensure(state, "wolf-i")
    said = subprocess.run(["ssh-keygen", "-y", "-f", made.path], capture_output=True, text=True, check=True).stdout
    assert said.split()[:2] == made.key.split()


def test_a_public_key_that_was_lost_comes_from_the_private_one(state: State) -> None:
    made = keys.ensure(state, "wolf-i")
    public = made.path.with_suffix(".pub")
    public.unlink()
    assert keys.ensure(state, "wolf-i").key == made.key
    public.write_text("ssh-ed25519 AAAA of another\n")
    assert keys.ensure(state, "wolf-i").key == made.key
    assert public.read_text().split()[1] == made.key.split()[1]


def test_what_a_stopped_command_left_is_cleared_up(state: State) -> None:
    folder = keys.ensure(state, "wolf-i").path.parent
    (folder / "id_ed25519").unlink()
    (folder / "id_ed25519.new").write_text("half")
    assert keys.ensure(state, "wolf-i").is_new
    assert sorted(path.name for path in folder.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_a_damaged_key_is_named_and_kept(state: State) -> None:
    path = keys.ensure(state, "wolf-i").path
    path.write_bytes(b"sentinel")
    with pytest.raises(StateCorrupt) as error:
        keys.ensure(state, "wolf-i")
    assert str(path) in str(error.value)
    assert "sentinel" not in str(error.value)
    assert (error.value.__cause__, error.value.__context__) == (None, None)
    assert path.read_bytes() == b"sentinel"


def test_a_key_or_a_folder_open_to_others_or_led_elsewhere_is_refused(state: State, tmp_path: Path) -> None:
    path = keys.ensure(state, "wolf-i").path
    path.chmod(0o640)
    with pytest.raises(StateRefused, match="open to other users"):
        keys.ensure(state, "wolf-i")
    path.chmod(0o600)
    path.parent.chmod(0o755)
    with pytest.raises(StateRefused, match="open to other users"):
        keys.ensure(state, "wolf-i")
    (state.directory.keys / "wolf-ii").symlink_to(tmp_path)
    with pytest.raises(StateRefused):
        keys.ensure(state, "wolf-ii")


def record(state: State, *names: str) -> None:
    with state.transaction() as tx:
        for number, name in enumerate(names):
            path = str(state.directory.keys / name / "id_ed25519")
            tx.hosts[name] = Host(name=name, address=f"192.0.2.{number + 1}", user="clm", identity_file=path)


def test_keys_that_wait_for_a_person_stay(state: State) -> None:
    waiting = keys.ensure(state, "waiting")
    keys.ensure(state, "wolf-i")
    record(state, "wolf-i")
    keys.tidy(state)
    assert waiting.path.exists()


@pytest.mark.parametrize("recorded", ["old", "new"])
def test_a_copy_that_a_stopped_rename_left_goes_and_the_one_in_use_stays(state: State, recorded: str) -> None:
    keys.ensure(state, "old")
    with state.transaction():
        assert keys.copy(state, "old", "new")
    record(state, recorded)
    keys.tidy(state)
    assert [path.name for path in state.directory.keys.iterdir()] == [recorded]


def test_keys_are_not_copied_over_others(state: State) -> None:
    keys.ensure(state, "old")
    other = keys.ensure(state, "new")
    before = other.path.read_bytes()
    with pytest.raises(Problem, match="another key"), state.transaction():
        keys.copy(state, "old", "new")
    assert other.path.read_bytes() == before


def test_keys_that_another_host_uses_are_not_removed(state: State) -> None:
    path = keys.ensure(state, "wolf-i").path
    with state.transaction() as tx:
        tx.hosts["den"] = Host(name="den", address="192.0.2.9", user="clm", identity_file=str(path))
    assert not keys.remove(state, "wolf-i")
    assert path.exists()
    with state.transaction() as tx:
        tx.hosts["den"].identity_file = None
    assert keys.remove(state, "wolf-i")
    assert not path.parent.exists()


@pytest.mark.parametrize("name", ["a.b", "Clm", "", "-x", "a" * 33, "clm\n", "a b", "a;b", "root"])
def test_a_name_that_sudo_or_useradd_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(Problem):
        keys.management_user(name)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("adopt", [False, True])
def test_what_runs_on_the_host_is_shell(state: State, shell: str, adopt: bool) -> None:
    pair = keys.ensure(state, "wolf-i")
    for text in (keys.script("clm", pair, adopt=adopt), keys.by_hand("clm", pair, adopt=adopt)):
        assert subprocess.run([shell, "-n"], input=text, text=True, capture_output=True).stderr == ""
        assert pair.key in text
        assert "PRIVATE" not in text


def test_lines_for_a_person_are_one_command_without_indentation_that_matters(state: State) -> None:
    text = keys.by_hand("clm", keys.ensure(state, "wolf-i"), adopt=False)
    assert "<<" not in text
    assert all(line.endswith(("&&", "\\")) for line in text.splitlines()[:-1])
    assert shlex.split(text.splitlines()[-1])


@pytest.mark.parametrize(
    ("printed", "code", "says"),
    [
        ("refused foreign A person\nend\n", 3, "--adopt"),
        ("refused foreign \nend\n", 3, "--adopt"),
        ("refused agent\nend\n", 3, "account of an agent"),
        ("refused root\nend\n", 3, "another name of root"),
        ("refused shell /usr/sbin/nologin\nend\n", 3, "/usr/sbin/nologin"),
        ("refused tools sudo visudo\nend\n", 5, "sudo visudo is missing"),
        ("same account\nrefused key mktemp: no space left\nend\n", 5, "no space left"),
        ("changed account\n", 1, "cut off"),
        ("", 1, "cut off"),
    ],
)
def test_every_refusal_of_the_host_is_a_sentence(printed: str, code: int, says: str) -> None:
    with pytest.raises(Problem) as problem:
        keys.outcome("wolf-i", "clm", printed)
    assert problem.value.exit == code
    assert says in f"{problem.value.message} {problem.value.remedy}"


def test_what_changed_is_told() -> None:
    assert keys.outcome("wolf-i", "clm", "changed account\nsame key\nchanged sudo\nend\n") == ["account", "sudo"]


def test_two_commands_at_once_make_one_key(state: State) -> None:
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if keys.ensure(State.open(state.directory.path, lock_wait=30), "wolf-i").key else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    assert not keys.ensure(state, "wolf-i").is_new
