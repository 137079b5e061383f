"""Files with secrets, and leaves of a configuration: what pyinfra-testing's cases cannot hold."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import HiddenValue, QuoteString
from pyinfra.api.operation import OperationMeta

from pyinfra_hermes.facts.leaves import Json, KeyPath, flat, leaf_digest, leaf_key
from pyinfra_hermes.facts.observation import CopiedCredential, Observation, UnitState
from pyinfra_hermes.operations import commands, files

from .harness import BARE, RUNNING, Yielded, file, maurice, packaged, stdin, with_agent, yielded

UNIT = UnitState("loaded", "active", "running", True, 0, "success", 0, 1, False, None, "")
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
MODEL = {("model", "default"): "m", ("model", "context_length"): 1}
JIRA: dict[KeyPath, Json] = {("mcp_servers", "jira"): {"command": "/usr/bin/npx", "args": ["-y"]}}


def digests(leaves: Mapping[KeyPath, Json]) -> dict[str, str]:
    return {leaf_key(leaf): leaf_digest(value) for path, block in leaves.items() for leaf, value in flat(path, block)}


def config_leaves(observed: Observation | None = BARE, leaves: Mapping[KeyPath, Json] = MODEL) -> Yielded:
    return yielded(
        files.config_leaves,
        observed,
        agent="maurice",
        path=CONFIG,
        python="/opt/r/bin/python",
        leaves=leaves,
        absent=[("model", "api_key")],
    )


def with_config(leaves: Mapping[KeyPath, Json], **fields: Any) -> Observation:
    return with_agent(BARE, **vars(maurice(paths={"config": file()}, leaves=digests(leaves), **fields)))


def noted(text: str) -> str:
    part = "/var/lib/pyinfra-hermes/maurice.leaves.part"
    return f"printf '%s\\n' '{text}' > {part} && sync -- {part} && mv -fT -- {part} {part.removesuffix('.part')}"


@pytest.mark.parametrize(
    "observed",
    [
        with_agent(BARE, **vars(maurice())),
        with_config({}),
        with_config({("model", "default"): "other", ("model", "context_length"): "1"}),
        with_config({**MODEL, ("model", "api_key"): "x"}),
    ],
)
def test_leaves_that_differ_are_written_by_the_releases_python_as_the_agent(observed: Observation) -> None:
    command = config_leaves(observed).only
    raw = command.get_raw_value()
    record = noted('[["model", "context_length"], ["model", "default"]]')
    first = "mkdir -p -- /var/lib/pyinfra-hermes && : > /var/lib/pyinfra-hermes/maurice.restart"
    assert raw.startswith(f"{first} && {record} && setpriv ")
    assert raw.endswith(f" && {record}")
    assert json.loads(stdin(command) or "") == {
        "path": CONFIG,
        "set": [[["model", "default"], "m"], [["model", "context_length"], 1]],
        "absent": [["model", "api_key"]],
    }
    # The script comes through three shells whole.
    inner = raw.removesuffix(f" && {record}").split(" sh -c ", 1)[1].replace("/opt/r/bin/python -I -c", "printf %s")
    assert run_shell(f"sh -c {inner}").stdout == packaged("config.py.txt")


def test_leaves_that_are_there_are_left_alone() -> None:
    for recorded in (None, tuple(MODEL), (*MODEL, ("gone", "by hand"))):
        found = config_leaves(with_config({**MODEL, ("foreign", "leaf"): 2}, set_leaves=recorded))
        assert (found.commands, found.noop) == ([], f"file {CONFIG} has what we set")


def test_what_was_set_and_is_no_longer_wanted_goes_and_the_record_follows() -> None:
    old = ("mcp_servers", "a.b")
    found = config_leaves(with_config({**MODEL, old: {"command": "x"}}, set_leaves=(*MODEL, old)))
    assert json.loads(stdin(found.only) or "")["absent"] == [
        ["model", "default"],
        ["model", "context_length"],
        ["mcp_servers", "a.b"],
        ["model", "api_key"],
    ]
    union, new = found.raw[0].split("printf '%s\\n' '")[1:]
    assert "a.b" in union.split("'")[0]
    assert new.startswith('[["model", "context_length"], ["model", "default"]]')


def test_what_is_there_by_somebody_else_and_the_same_becomes_ours_on_record() -> None:
    found = config_leaves(with_config({**MODEL, **JIRA}, set_leaves=tuple(MODEL)), {**MODEL, **JIRA})
    assert "mcp_servers" in found.raw[0]
    assert config_leaves(with_config({**MODEL, **JIRA}), {**MODEL, **JIRA}).commands


@pytest.mark.parametrize("recorded", [None, (), tuple(MODEL)])
def test_a_block_of_somebody_else_is_not_overwritten(recorded: tuple[KeyPath, ...] | None) -> None:
    theirs: dict[KeyPath, Json] = {("mcp_servers", "jira"): {"command": "theirs"}}
    found = config_leaves(with_config({**MODEL, **theirs}, set_leaves=recorded), {**MODEL, **JIRA})
    result = run_shell(found.raw[0])
    assert result.returncode == 1
    assert result.stderr == (
        f"{CONFIG}: mcp_servers.jira is there already and was not put there by pyinfra-hermes; nothing was written. "
        "Give ours another name, or take that one away with: sudo -u maurice env HERMES_HOME=/home/maurice/.hermes "
        "/opt/r/bin/hermes mcp remove jira\n"
    )


def test_a_block_of_ours_that_was_edited_by_hand_is_put_back() -> None:
    edited: dict[KeyPath, Json] = {("mcp_servers", "jira"): {"command": "/usr/bin/npx", "args": ["-y"], "env": {}}}
    observed = with_config({**MODEL, **edited}, set_leaves=(*MODEL, *JIRA))
    assert json.loads(stdin(config_leaves(observed, {**MODEL, **JIRA}).only) or "")["set"][-1][1] == {
        "command": "/usr/bin/npx",
        "args": ["-y"],
    }


def test_a_scalar_that_we_want_is_nobodys_block() -> None:
    assert len(config_leaves(with_config({("model", "default"): "theirs"}, set_leaves=())).commands) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"config_error": "line 3: x"},
            f"{CONFIG}: line 3: x; nothing was written. Mend or remove the file.",
        ),
        (
            {"paths": {"config": file(None, "700", kind="directory")}},
            f"{CONFIG} is a directory; move it away",
        ),
    ],
)
def test_what_cannot_be_edited_is_refused(fields: dict[str, Any], reason: str) -> None:
    found = config_leaves(with_agent(BARE, **vars(maurice(**fields))))
    assert run_shell(found.raw[0]).stderr == f"{reason}\n"
    assert stdin(found.only) is None


def test_an_unobserved_host_is_not_configured() -> None:
    assert config_leaves(None).raw == [
        "echo 'the host could not be observed, see above; nothing was changed' >&2; exit 1"
    ]


AUTH = "/home/maurice/.hermes/auth.json"


def stale_credentials(
    *sources: str, running: bool = True, keep: tuple[str, ...] = (), env_changed: bool = False
) -> Yielded:
    unit = replace(RUNNING.agent("maurice").unit or UNIT, active="active" if running else "inactive")
    copies = tuple(CopiedCredential("openrouter", source) for source in sources)
    return yielded(
        files.stale_credentials,
        with_agent(BARE, **vars(maurice(credentials=copies, unit=unit))),
        agent="maurice",
        path=AUTH,
        python="/opt/r/bin/python",
        service="hermes-maurice.service",
        keep=keep,
        after=[OperationMeta("x", env_changed)],
    )


def test_copies_of_variables_that_are_there_and_logins_of_the_user_stay() -> None:
    found = stale_credentials("env:A_KEY", "manual", "device_code", "config:mine", keep=("env:A_KEY",))
    assert (found.commands, found.noop) == ([], f"file {AUTH} has no copies of credentials that are gone")


def test_a_running_daemon_is_stopped_before_its_copies_go_and_started_when_that_fails() -> None:
    command = stale_credentials("env:A_KEY", "env:B_KEY", keep=("env:A_KEY",)).only
    raw = command.get_raw_value()
    assert raw.startswith(
        "mkdir -p -- /var/lib/pyinfra-hermes && : > /var/lib/pyinfra-hermes/maurice.restart "
        "&& systemctl stop hermes-maurice.service && { setpriv "
    )
    assert raw.endswith(" || { systemctl start hermes-maurice.service ; exit 1; } ; }")
    assert json.loads(stdin(command) or "") == {"path": AUTH, "keep": ["env:A_KEY"]}


def test_copies_go_without_a_stop_when_nothing_runs() -> None:
    command = stale_credentials("model_config", running=False).only
    assert command.get_raw_value().startswith("setpriv ")
    assert json.loads(stdin(command) or "") == {"path": AUTH, "keep": []}


def test_after_a_change_of_the_variables_every_copy_is_of_an_old_value() -> None:
    command = stale_credentials("env:A_KEY", keep=("env:A_KEY",), env_changed=True).only
    assert json.loads(stdin(command) or "") == {"path": AUTH, "keep": []}


STORE = {
    "version": 1,
    "providers": {"nous": {"access_token": "theirs"}},
    "credential_pool": {
        "openrouter": [{"source": "env:OLD", "access_token": "hunter2"}],
        "anthropic": [
            {"source": "env:NEW", "access_token": "new"},
            {"source": "hermes_pkce", "access_token": "login"},
            {"source": "env:OLD", "access_token": "hunter2"},
        ],
        "custom:x": [{"source": "model_config", "access_token": "hunter2"}, {"source": "config:x"}],
        "odd": {"a": 1},
        "manual": [{"source": "manual", "access_token": "typed"}, "text"],
    },
}


def purge(path: Path, keep: list[str], most: str = "unlimited") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'ulimit -f {most}; exec "$@"', "sh", sys.executable, "-I", "-c", packaged("credentials.py.txt")],
        input=json.dumps({"path": str(path), "keep": keep}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_only_copies_of_what_is_gone_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(STORE))
    assert (purge(path, ["env:NEW"]).returncode, path.stat().st_mode & 0o7777) == (0, 0o600)
    assert "hunter2" not in path.read_text()
    expected = json.loads(json.dumps(STORE))
    pools = expected["credential_pool"]
    del pools["openrouter"], pools["anthropic"][2], pools["custom:x"][0]
    assert json.loads(path.read_text()) == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["auth.json", "auth.lock"]


def test_a_store_that_cannot_be_read_is_left_and_told(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    assert purge(path, []).returncode == 0
    path.write_text("{hunter2")
    result = purge(path, [])
    assert result.returncode == 1
    assert result.stderr.startswith(f"{path} is not JSON: ")
    assert "hunter2" not in result.stderr
    assert path.read_text() == "{hunter2"


def test_a_store_that_there_is_no_room_for_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(STORE))
    result = purge(path, [], most="0")
    assert (result.returncode, result.stderr) == (1, f"{path} cannot be written: File too large; nothing was written\n")
    assert json.loads(path.read_text()) == STORE
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["auth.json", "auth.lock"]


def test_the_daemons_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(STORE))
    with (tmp_path / "auth.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-I", "-c", packaged("credentials.py.txt")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdin is not None
            waiting.stdin.write(json.dumps({"path": str(path), "keep": []}))
            waiting.stdin.close()
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.5)
            assert "hunter2" in path.read_text()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert waiting.wait(30) == 0
    assert "hunter2" not in path.read_text()


@pytest.mark.parametrize("keep", [("vertex.json",), ()])
def test_files_that_are_no_longer_wanted_go_as_the_agent(keep: tuple[str, ...]) -> None:
    paths = {"credentials": file(), "credentials/vertex.json": file(), "credentials/old.json": file(), "env": file()}
    found = yielded(
        files.no_other_files,
        with_agent(RUNNING, paths=paths),
        agent="maurice",
        key="credentials",
        path="/home/maurice/.hermes/credentials",
        keep=keep,
    )
    folder = "/home/maurice/.hermes/credentials"
    gone = f"rm -f -- {folder}/old.json" + ("" if keep else f" {folder}/vertex.json")
    command = found.only.get_raw_value()
    assert command.startswith("setpriv --reuid=maurice ")
    assert command.endswith(f"{gone}'")


def test_a_directory_without_other_files_is_left_alone() -> None:
    for paths in ({}, {"credentials/vertex.json": file()}, {"env": file()}):
        found = yielded(
            files.no_other_files,
            with_agent(RUNNING, paths=paths),
            agent="maurice",
            key="credentials",
            path="/x",
            keep=["vertex.json"],
        )
        assert (found.commands, found.noop) == ([], "directory /x has no other files")


TOKENS = '{"access_token": "hunter2"}'
SEEDS = "/var/lib/pyinfra-hermes/maurice.seeds"


def seeded_files(seeds: dict[str, str], record: dict[str, str] | None, *there: str) -> Yielded:
    paths = {f"mcp-tokens/{name}": file(detail="what the daemon made of it") for name in there}
    return yielded(
        files.seeded_files,
        with_agent(RUNNING, paths=paths, seeds=record),
        agent="maurice",
        path="/home/maurice/.hermes/mcp-tokens",
        seeds={name: HiddenValue(text) for name, text in seeds.items()},
        what={name: f"oauth_tokens of {name}" for name in seeds},
    )


def test_tokens_that_the_daemon_renewed_are_left_alone() -> None:
    assert seeded_files({"w.json": TOKENS}, {"w.json": digest(TOKENS)}, "w.json").commands == []
    assert seeded_files({}, None, "w.json").commands == [], "the user's own sign-in is nobody's business"


@pytest.mark.parametrize(
    ("record", "there"),
    [
        (None, ()),
        (None, ("w.json",)),
        ({"w.json": digest("older")}, ("w.json",)),
        ({"w.json": digest(TOKENS)}, ()),
        ({"w.json": ""}, ("w.json",)),
    ],
)
def test_tokens_are_written_when_absent_or_new_or_left_half_done(
    record: dict[str, str] | None, there: tuple[str, ...]
) -> None:
    command = seeded_files({"w.json": TOKENS}, record, *there).only
    assert stdin(command) == TOKENS
    text = command.get_raw_value()
    assert "hunter2" not in text
    restart, begun, written, done = (
        text.index(part)
        for part in ("maurice.restart", """'{"w.json": ""}'""", "setpriv", f"""'{{"w.json": "{digest(TOKENS)}"}}'""")
    )
    assert restart < begun < written < done, "killed at any moment, the next run writes it again"


def test_tokens_that_are_no_longer_given_go_with_what_the_daemon_put_beside() -> None:
    record = {"w.json": digest(TOKENS), "o.json": "", "o.client.json": ""}
    command = seeded_files({"w.json": TOKENS}, record, "w.json", "o.json").only.get_raw_value()
    folder = "/home/maurice/.hermes/mcp-tokens"
    ends = ("json", "client.json", "client.json.bak", "meta.json")
    assert f"rm -f -- {' '.join(f'{folder}/o.{end}' for end in ends)}'" in command
    assert command.endswith(f"mv -fT -- {SEEDS}.part {SEEDS}")
    assert f"{folder}/w" not in command
    assert seeded_files({}, {"w.json": ""}).only.get_raw_value().endswith(f"&& rm -f -- {SEEDS}")


def test_the_record_of_tokens_is_for_its_owner_only(tmp_path: Path) -> None:
    script = commands.note_seeds("maurice", {"w.json": "d"}).get_raw_value()
    script = script.replace("/var/lib/pyinfra-hermes", str(tmp_path))
    subprocess.run(["sh", "-c", f"umask 022; {script}"], check=True)
    record = tmp_path / "maurice.seeds"
    assert (record.read_text(), record.stat().st_mode & 0o777) == ('{"w.json": "d"}\n', 0o600)
