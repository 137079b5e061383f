"""The lab keeps its promises: hosts are real, labs do not meet, and nothing is left of them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab import run as record
from tests.lab import tools
from tests.lab.cache import made_once
from tests.lab.cgroup import ControlGroup
from tests.lab.lab import Lab
from tests.lab.machine import CommandFailed, Machine
from tests.lab.model import Reply, Request, StandInModel, ToolCall
from tests.lab.network import link_exists
from tests.lab.process import Process, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


def left_of(lab: str, disks: Path) -> list[str]:
    """Whatever on this machine still bears the name of a run."""
    directory = record.RUNS / lab
    found = [str(path) for path in (directory, disks) if path.exists()]
    found += [str(path) for path in record.mounts_below(directory)]
    found += [link.name for link in Path("/sys/class/net").iterdir() if lab in link.name.split("-")]
    found += [f"process {pid}" for pid in ControlGroup(lab).pids()]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/pyinfra-hermes-lab/{lab}")]
    found += [str(path) for path in Path("/run/systemd/nspawn").glob(f"*/*-{lab}")]
    return found


def test_host_runs_a_real_systemd(host: Machine) -> None:
    assert host.ssh("systemctl is-system-running").stdout.strip() == "running"
    assert host.ssh("hostname").stdout.strip() == host.name
    assert host.ssh("cat /proc/1/comm").stdout.strip() == "systemd"


def test_every_user_has_the_rights_its_name_says(host: Machine) -> None:
    assert host.ssh("id -un").stdout.strip() == "root"
    assert host.ssh("sudo -n id -un", user="admin").stdout.strip() == "root"
    assert host.ssh("sudo -n id -un", user="nosudo", check=False).returncode != 0


def test_ssh_passes_words_input_and_failure_on(host: Machine) -> None:
    assert host.ssh("printf", "%s|", "two words", "$HOME").stdout == "two words|$HOME|"
    assert host.ssh("cat", input="over the wire").stdout == "over the wire"
    with pytest.raises(CommandFailed, match="no such luck"):
        host.ssh("echo no such luck >&2; exit 7")


def test_host_has_the_tools_and_the_bare_one_does_not(host: Machine, bare_host: Machine) -> None:
    assert host.ssh("rg --version && ffmpeg -version").returncode == 0
    assert bare_host.ssh("command -v rg ffmpeg", check=False).stdout == ""


def test_host_has_no_way_out(host: Machine) -> None:
    routes = host.ssh("ip -json route").stdout
    assert [route["dst"] for route in json.loads(routes)] == [f"{host.address.rpartition('.')[0]}.0/24"]


def test_sudo_needs_no_name_service_and_is_in_the_journal(host: Machine) -> None:
    done = host.ssh("sudo -n true", user="admin")
    assert done.stderr == ""
    assert "COMMAND=/usr/bin/true" in host.ssh("journalctl --no-pager _COMM=sudo").stdout


def test_disk_is_open_to_inspection(host: Machine) -> None:
    host.ssh("echo written there > /opt/note")
    assert (host.root / "opt/note").read_text() == "written there\n"


def test_hidden_programs_are_gone(fresh_host: Machine) -> None:
    assert "/usr/bin/python3" in fresh_host.hide("/usr/bin/python3*")
    assert fresh_host.ssh("python3 --version", check=False).returncode == 127


def test_hide_stays_on_the_hosts_disk(fresh_host: Machine) -> None:
    (fresh_host.root / "opt/out").symlink_to("/etc")
    with pytest.raises(ValueError, match="leads out"):
        fresh_host.hide("/opt/out/hostname")


def test_full_disk_refuses_and_keeps_what_was_there(fresh_host: Machine) -> None:
    fresh_host.fill("/home", keep_free_kib=64)
    fresh_host.ssh("head -c 30000 /dev/zero > small", user="admin")
    refused = fresh_host.ssh("head -c 300000 /dev/zero > large", user="admin", check=False)
    assert "No space left on device" in refused.stderr
    fresh_host.unfill("/home")
    fresh_host.ssh("head -c 300000 /dev/zero > large", user="admin")


def test_disk_survives_power_cut_and_shutdown(fresh_host: Machine) -> None:
    def boot_id() -> str:
        return fresh_host.ssh("cat /proc/sys/kernel/random/boot_id").stdout

    boots = [boot_id()]
    fresh_host.ssh("echo kept > /opt/note")
    for end in (fresh_host.kill, fresh_host.stop):
        end()
        assert not fresh_host.running
        fresh_host.start()
        assert fresh_host.ssh("cat /opt/note").stdout == "kept\n"
        boots.append(boot_id())
    assert len(set(boots)) == 3


def test_host_comes_back_from_its_own_reboot(fresh_host: Machine) -> None:
    before = fresh_host.ssh("cat /proc/sys/kernel/random/boot_id").stdout
    fresh_host.ssh("systemctl reboot", check=False)

    def back() -> bool:
        fresh_host.disconnect()
        now = fresh_host.ssh("cat /proc/sys/kernel/random/boot_id", check=False, timeout=5)
        return now.returncode == 0 and now.stdout != before

    assert wait_until(back, seconds=90, pause=0.1)


def test_paused_host_hangs_and_goes_on(fresh_host: Machine) -> None:
    fresh_host.ssh("true")
    fresh_host.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        fresh_host.ssh("true", timeout=0.5)
    fresh_host.resume()
    fresh_host.ssh("true", timeout=10)


def test_unplugged_host_is_silent(fresh_host: Machine) -> None:
    fresh_host.unplug()
    with pytest.raises(subprocess.TimeoutExpired):
        fresh_host.ssh("true", timeout=0.5)
    fresh_host.plug()
    fresh_host.ssh("true", timeout=20)


def test_ten_hosts_at_once_know_only_themselves(hosts: Callable[..., list[Machine]]) -> None:
    machines = hosts(10)
    assert len({machine.address for machine in machines}) == 10
    assert [machine.ssh("hostname").stdout.strip() for machine in machines] == [at.name for at in machines]
    # A process of another host would show up as 0 in the control groups of this one.
    listing = "find /sys/fs/cgroup -name cgroup.procs -exec cat {} +"
    assert not any("0" in machine.ssh(listing).stdout.split() for machine in machines)


def test_two_labs_do_not_meet_and_leave_nothing(lab: Lab, host: Machine) -> None:
    with Lab() as other:
        (machine,) = other.boot(1)
        other.model()
        machine.ssh("true", user="admin")
        assert machine.name != host.name
        assert not other.run.bridge.network.overlaps(lab.run.bridge.network)
        assert left_of(other.id, other.run.disks)
    assert left_of(other.id, other.run.disks) == []
    assert host.ssh("systemctl is-system-running").stdout.strip() == "running"


def test_removed_host_makes_room(lab: Lab) -> None:
    (machine,) = lab.boot(1)
    lab.remove(machine)
    assert machine not in lab.machines
    assert not machine.directory.exists()
    assert not link_exists(f"vb-{machine.name}")


OWNER = """
import signal, time
from tests.lab.lab import Lab
# A shell makes what it starts in the background deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
lab = Lab()
(machine,) = lab.boot(1)
machine.ssh("true")
lab.model()
print(lab.id, flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(lab: Lab) -> Iterator[tuple[subprocess.Popen[str], record.Run]]:
    """Another process with a lab of its own."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    yield process, next(run for run in record.runs() if run.id == name)
    process.kill()
    process.wait()
    process.stdout.close()
    record.reap()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_owner_takes_its_lab_along(
    owner: tuple[subprocess.Popen[str], record.Run], number: signal.Signals
) -> None:
    process, run = owner
    process.send_signal(number)
    assert process.wait(240) != 0
    assert left_of(run.id, run.disks) == []


def test_what_a_killed_owner_left_is_reaped(owner: tuple[subprocess.Popen[str], record.Run]) -> None:
    process, run = owner
    assert run.id not in record.reap()
    assert link_exists(run.bridge.name)
    process.kill()
    process.wait()
    record.reap()
    assert left_of(run.id, run.disks) == []


def test_owner_with_a_recycled_pid_counts_as_dead() -> None:
    me = Process.current()
    assert me.alive
    assert not Process(me.pid, me.started - 1).alive


def lab_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(REPOSITORY / "scripts/lab"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_command_boots_shows_enters_and_ends_a_lab(lab: Lab) -> None:
    up = lab_command("up", "1")
    assert up.returncode == 0, up.stderr
    name = up.stdout.split()[1]
    try:
        assert f"host1-{name}" in lab_command("ps").stdout
        assert f"export LAB_HOSTS=host1-{name}\n" in lab_command("env", name).stdout
        assert lab_command("ssh", "-l", "admin", f"host1-{name}", "id", "-un").stdout == "admin\n"
        assert lab_command("ssh", f"host1-{name}", "exit", "3").returncode == 3
        assert "end that instead" in lab_command("down", lab.id).stderr
    finally:
        down = lab_command("down", name)
    assert down.stdout == f"lab {name} is gone\n"
    assert not (record.RUNS / name).exists()


def test_missing_tools_are_named_with_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None if tool in ("debootstrap", "ssh") else tool)
    reason = tools.why_unavailable()
    assert reason is not None
    assert "missing: debootstrap, ssh;" in reason
    assert "apt-get install debootstrap openssh-client" in reason


def test_half_made_cache_entry_is_never_used(tmp_path: Path) -> None:
    def fails(directory: Path) -> None:
        (directory / "half").touch()
        raise RuntimeError("the network went away")

    def works(directory: Path) -> None:
        (directory / "whole").touch()

    with pytest.raises(RuntimeError):
        made_once(tmp_path / "entry", fails)
    assert not (tmp_path / "entry").exists()
    assert [path.name for path in made_once(tmp_path / "entry", works).iterdir()] == ["whole"]


@pytest.fixture
def stand_in() -> Iterator[StandInModel]:
    """A stand-in on loopback: its contract needs no hosts."""
    with StandInModel() as server:
        yield server


def ask(server: StandInModel, text: str = "How are you?", **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return httpx.post(f"{server.url}/chat/completions", json=body, timeout=10)


def events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_model_is_reachable_from_a_host(host: Machine, model: StandInModel) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "from a host"}]})
    answer = host.ssh("curl", "-sS", "--json", body, f"{model.url}/chat/completions").stdout
    assert json.loads(answer)["choices"][0]["message"]["content"] == 'stand-in model: I read "from a host"'
    assert [request.path for request in model.requests] == ["/v1/chat/completions"]


def test_model_lists_itself(stand_in: StandInModel) -> None:
    listing = httpx.get(f"{stand_in.url}/models").json()
    assert [entry["id"] for entry in listing["data"]] == ["stand-in"]


def test_model_answers_the_same_twice(stand_in: StandInModel) -> None:
    offered = [{"type": "function", "function": {"name": "terminal", "parameters": {}}}]
    first, second = (ask(stand_in, tools=offered).json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["choices"][0]["finish_reason"] == "stop"
    usage = first["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_model_streams(stand_in: StandInModel) -> None:
    response = ask(stand_in, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"] == "text/event-stream"
    *chunks, last = events(response)
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert said == 'stand-in model: I read "How are you?"'
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0


def test_model_follows_the_script(stand_in: StandInModel) -> None:
    def shout(request: Request) -> str:
        return request.last_user_text.upper()

    stand_in.queue("first", shout)
    stand_in.reply("ever after")
    said = [ask(stand_in, "hello").json()["choices"][0]["message"]["content"] for _ in range(4)]
    assert said == ["first", "HELLO", "ever after", "ever after"]


@pytest.mark.parametrize("stream", [False, True])
def test_model_calls_tools(stand_in: StandInModel, stream: bool) -> None:
    stand_in.queue(Reply(tool_calls=(ToolCall("terminal", {"command": "ls"}),)))
    response = ask(stand_in, stream=stream)
    if stream:
        *_, call_chunk, end = events(response)
        call, finish = call_chunk["choices"][0]["delta"]["tool_calls"][0], end["choices"][0]["finish_reason"]
    else:
        choice = response.json()["choices"][0]
        call, finish = choice["message"]["tool_calls"][0], choice["finish_reason"]
    assert call["function"] == {"name": "terminal", "arguments": '{"command": "ls"}'}
    assert finish == "tool_calls"


def test_model_fails_hangs_and_wants_a_key_when_told(stand_in: StandInModel) -> None:
    stand_in.fail(429, {"error": {"message": "slow down"}}, times=1)
    assert (ask(stand_in).status_code, ask(stand_in).status_code) == (429, 200)
    stand_in.hang(0.3, times=1)
    start = time.monotonic()
    ask(stand_in)
    assert time.monotonic() - start >= 0.3
    stand_in.require_key("right")
    assert ask(stand_in).status_code == 401
    assert httpx.get(f"{stand_in.url}/models", headers={"Authorization": "Bearer right"}).status_code == 200


def test_model_refuses_what_it_does_not_know(stand_in: StandInModel) -> None:
    unknown = httpx.get(f"{stand_in.url}/nothing")
    assert unknown.status_code == 404
    assert "no GET /v1/nothing" in unknown.json()["error"]["message"]
    assert httpx.post(f"{stand_in.url}/chat/completions", content="{").status_code == 400


def test_model_keeps_every_request_until_reset(stand_in: StandInModel) -> None:
    httpx.get(f"{stand_in.url}/models", headers={"X-Test": "yes"})
    ask(stand_in, "noted")
    listing, chat = stand_in.requests
    assert (listing.method, listing.path, listing.header("x-test")) == ("GET", "/v1/models", "yes")
    assert chat.body["messages"][0]["content"] == chat.last_user_text == "noted"
    assert stand_in.chats == [chat]
    stand_in.reset()
    assert stand_in.requests == []


def test_model_by_hand_prints_each_request() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.model"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    url = process.stderr.readline().split()[3].rstrip(";")
    httpx.get(f"{url}/models")
    assert json.loads(process.stdout.readline())["path"] == "/v1/models"
    process.terminate()
    process.communicate(timeout=10)
