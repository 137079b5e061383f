"""Onboarding without a host: questions at a terminal, options without one, stages in any order, and files."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli.onboarding.agentfile import AgentFile, put_on_record
from pyinfra_hermes.cli.onboarding.exporting import export
from pyinfra_hermes.cli.problems import Problem, translate
from pyinfra_hermes.cli.state.errors import StateError
from pyinfra_hermes.cli.state.records import Memory, Provider, Reference, StageResult
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.channels import channel
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.clm import Terminal

AGENT, KEY = "maurice", "wolf-i:hermes:maurice"
SHAPE = (
    "Bot token: should be three parts with dots between them, as the Bot page of the Developer Portal shows it once "
    "(the client secret and the public key are other things)"
)
BOT_TOKEN = "MTE3NDQ0MTI3NDQ0MTI3NDQ0.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789ab"
BOT, APP = "xoxb-1-2-abcdefghijk", "xapp-1-A0123456789-1234567890-abcdefabcdef"


class Clm:
    """Somebody with an installed agent on record, on a host that nothing may connect to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "clawrium"
        self.state.mkdir(mode=0o700)
        tools = home / "bin"
        tools.mkdir()
        (tools / "ssh").write_text("#!/bin/sh\nexit 255\n")
        (tools / "ssh").chmod(0o755)
        self.environment = {
            **os.environ, "XDG_CONFIG_HOME": str(home), "NO_COLOR": "1", "PATH": f"{tools}:{os.environ['PATH']}",
        }  # fmt: skip
        moment = "2026-05-07T12:00:00Z"
        agent = {"name": AGENT, "release": "v2026.5.7", "port": 8642, "status": "installed"}
        host = {"name": "wolf-i", "address": "192.0.2.10", "user": "root", "added_at": moment, "agents": {AGENT: agent}}
        self._write("hosts.json", {"schema_version": 1, "hosts": {"wolf-i": host}})
        key = {"value": "ab" * 32, "created_at": moment, "updated_at": moment, "description": ""}
        self._write("secrets.json", {"schema_version": 1, KEY: {"HERMES_API_SERVER_KEY": key}})

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """Run `clm` without a terminal; returns what it printed."""
        done = subprocess.run(
            self._argv(arguments), input=stdin, capture_output=True, text=True, env=self.environment, timeout=60
        )
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def at_terminal(self, *arguments: str) -> Terminal:
        """Run `clm` at a terminal of 80 columns."""
        terminal = Terminal(self._argv(arguments), self.environment)
        fcntl.ioctl(terminal._master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
        return terminal

    @property
    def agent(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "hosts.json").read_text())
        agent: dict[str, Any] = found["hosts"]["wolf-i"]["agents"][AGENT]
        return agent

    def secrets(self, scope: str = KEY) -> dict[str, str]:
        """Every secret of a scope, by its name."""
        found = json.loads((self.state / "secrets.json").read_text()).get(scope, {})
        return {name: entry.get("value") or entry["reference"] for name, entry in found.items()}

    def add_provider(self, name: str = "local") -> None:
        self("provider", "add", name, "--type", "custom", "--url", "http://127.0.0.1:9/v1", "--model", "qwen")

    def _write(self, name: str, document: object) -> None:
        (self.state / name).write_text(json.dumps(document))
        (self.state / name).chmod(0o600)

    @staticmethod
    def _argv(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "pyinfra_hermes.cli", *arguments]


@pytest.fixture
def clm(tmp_path: Path) -> Clm:
    return Clm(tmp_path)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Clm:
    """The same with a provider, for tests that change nothing."""
    made = Clm(tmp_path_factory.mktemp("decided"))
    made.add_provider()
    return made


def answer(terminal: Terminal, *script: tuple[str, str]) -> None:
    """Wait for each prompt at the beginning of a line, and type the answer to it."""
    for prompt, typed in script:
        terminal.expect(f"\n{prompt}")
        terminal.type(f"{typed}\n" if typed != "\x03" else typed)


NEW_PROVIDER = (
    ("Type", "custom"), ("Name to keep", ""), ("API URL", "http://127.0.0.1:9/v1"), ("API key", "sk-test-4711"),
    ("Other settings", ""), ("Model", "qwen"),
)  # fmt: skip


def test_wrong_answers_are_asked_again_and_back_goes_back(clm: Clm) -> None:
    with clm.at_terminal("agent", "configure", AGENT, "--skip-connectivity") as terminal:
        answer(
            terminal,
            ("Type", "<"), ("Type", "banana"), ("Type", "5"), ("Name to keep", "A b"), ("Name to keep", "<"),
            ("Type [custom]", ""), ("Name to keep", "mine"), ("API URL", "ftp://x"), ("API URL", "http://127.0.0.1:9"),
            ("API key", "sk-test-4711"), ("Other settings", "nonsense"), ("Other settings", "context-length"),
            ("Context length", "x"), ("Context length", "32768"), ("Context length", "65536"),
            ("Model", ""), ("Model", "qwen"),
            ("Turn on", "irc"), ("Turn on", "slack telegram"), ("Turn on", "telegram"), ("Turn on", ""),
            ("Bot token: ", BOT), ("App-level token: ", BOT), ("App-level token: ", APP), ("Allowed users", "*"),
            ("Home", ""), ("Other settings", "require_mention"), ("Mention needed", "maybe"), ("Mention needed", "no"),
            ("Open slack", ""), ("Bot token (Enter keeps", ""), ("App-level token (Enter keeps", ""),
            ("Allowed users", "U01ABC2DEF3"), ("Home", ""), ("Other settings", ""),
            ("Apply this to wolf-i now?", "<"), ("Turn on", ""), ("Change the settings of slack?", ""),
            ("Apply this to wolf-i now?", "n"),
        )  # fmt: skip
        assert terminal.end() == 0
        shown = terminal.text
    for sentence in (
        "This is the first question.",
        "Answer with a number from 1 to",
        "Provider name 'A b' must start with a letter",
        "API URL: URL must start with http",
        "Context length: 'x' is not a whole number",
        "Model is needed",
        "There is no channel 'irc'",
        "lets everybody in",
        "Mention needed: 'maybe' is neither true nor false",
        "Stage 1/4: PROVIDERS",
        "Stage 2/4: IDENTITY — auto-skipped (the agent keeps its own SOUL.md)",
        "Stage 4/4: VALIDATE",
        "Recorded, and not applied. Apply it with: clm agent configure maurice",
    ):
        assert sentence in shown
    for secret in ("sk-test-4711", BOT, APP):
        assert secret not in shown
    assert clm.agent["channels"] == {"api": {}, "slack": {"allowed_users": ["U01ABC2DEF3"], "require_mention": False}}
    assert (clm.agent["provider"], clm.agent["model"]) == ("mine", None)
    assert sorted(clm.agent["onboarding"]) == ["channels", "identity", "providers"]
    assert clm.secrets("provider:mine") == {"API_KEY": "sk-test-4711"}
    assert (clm.secrets()["SLACK_BOT_TOKEN"], clm.secrets()["SLACK_APP_TOKEN"]) == (BOT, APP)


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(clm: Clm) -> None:
    with clm.at_terminal("agent", "configure", AGENT, "--skip-connectivity") as terminal:
        answer(terminal, *NEW_PROVIDER[:3], ("API key", "\x03"))
        assert terminal.end() == 130
        assert "0/4 stages" in terminal.text and "state=pending" in terminal.text
    assert not (clm.state / "providers.json").exists()
    with clm.at_terminal("agent", "configure", AGENT, "--skip-connectivity") as terminal:
        answer(terminal, *NEW_PROVIDER, ("Turn on", "discord"), ("Turn on", ""), ("Bot token: ", "\x03"))
        assert terminal.end() == 130
        said = " ".join(terminal.text.split())
        assert f"What was finished is kept: 2/4 stages of {KEY} (state=channels)" in said
        assert f"Go on with: clm agent configure {AGENT}" in said
    assert clm.agent["channels"] == {"api": {}}
    with clm.at_terminal("agent", "configure", AGENT, "--skip-connectivity") as terminal:
        # It goes on at the channels; back leads to the stage before, with what was answered there.
        answer(terminal, ("Turn on", "<"), ("Provider [custom]", ""), ("Model [qwen]", "qwen-2"), ("Turn on", ""))
        answer(terminal, ("Apply this to wolf-i now?", "\x03"))
        assert terminal.end() == 130
        assert "3/4 stages" in terminal.text and "state=validate" in terminal.text
    assert clm.agent["model"] == "qwen-2"


def test_one_stage_alone_asks_its_questions_only(clm: Clm) -> None:
    clm.add_provider()
    with clm.at_terminal("agent", "configure", AGENT, "--stage", "providers", "--skip-connectivity") as terminal:
        answer(terminal, ("Provider [local]", "nobody"), ("Provider [local]", "1"), ("Model [qwen]", "other"))
        assert terminal.end() == 0
        assert "Stage providers of agent maurice is done." in terminal.text
    assert (clm.agent["provider"], clm.agent["model"]) == ("local", "other")
    with clm.at_terminal("agent", "configure", AGENT, "--stage", "channels") as terminal:
        answer(terminal, ("Turn on", "1"), ("Turn on", ""), ("Bot token: ", BOT_TOKEN))
        answer(terminal, ("Allowed users", ""), ("Allowed roles", ""), ("Home", ""), ("Other settings", ""))
        assert terminal.end() == 0
        assert "Nobody is allowed yet" in terminal.text
    assert list(clm.agent["channels"]) == ["api", "discord"]
    with clm.at_terminal("agent", "configure", AGENT, "--stage", "channels") as terminal:
        answer(terminal, ("Turn on", "discord"), ("Turn on", ""))
        assert terminal.end() == 0
    assert list(clm.agent["channels"]) == ["api"]


def test_without_a_terminal_nothing_is_guessed(clm: Clm) -> None:
    assert "clm provider add" in clm("agent", "configure", AGENT, code=3)
    clm.add_provider()
    clm.add_provider("second")
    assert "Give it with --provider" in clm("agent", "configure", AGENT, code=2)
    assert "There is no terminal" in clm("agent", "configure", AGENT, "--edit", code=2)
    said = clm("agent", "configure", AGENT, "--provider", "local", "--channel", "discord", code=2)
    assert "--secret-file discord.bot_token=PATH" in said
    assert not clm.agent.get("onboarding")


def test_everything_has_an_option(clm: Clm, tmp_path: Path) -> None:
    clm.add_provider()
    (tmp_path / "app").write_text(APP)
    configure = ("agent", "configure", AGENT, "--stage", "channels")
    clm(
        "agent", "configure", AGENT, "--stage", "providers", "--provider", "local", "--model", "m", "--hardening", "off"
    )
    clm(
        *configure, "--channel", "slack", "--set", "slack.allowed_users=U01ABC2DEF3", "--set",
        "slack.allowed_users=U01ABC2DEF4", "--set", "slack.require-mention=no", "--secret-stdin", "slack.bot_token",
        "--secret-file", f"slack.app_token={tmp_path / 'app'}", "--secret-reference", "discord.bot_token=env:DISCORD",
        stdin=BOT,
    )  # fmt: skip
    assert (clm.agent["provider"], clm.agent["model"], clm.agent["hardening"]) == ("local", "m", "off")
    assert clm.agent["channels"] == {
        "api": {},
        "slack": {"allowed_users": ["U01ABC2DEF3", "U01ABC2DEF4"], "require_mention": False},
        "discord": {},
    }
    kept = {name: value for name, value in clm.secrets().items() if name != "HERMES_API_SERVER_KEY"}
    assert kept == {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP, "DISCORD_BOT_TOKEN": "env:DISCORD"}
    clm(*configure, "--set", "slack.home_channel=C01234567", "--no-channel", "discord")
    assert clm.agent["channels"]["slack"]["home_channel"] == "C01234567"
    assert clm.agent["channels"]["slack"]["allowed_users"] == ["U01ABC2DEF3", "U01ABC2DEF4"]
    assert "discord" not in clm.agent["channels"]
    assert "--allow-open-access" in clm(*configure, "--set", "slack.allowed_users=*", code=2)
    clm(*configure, "--set", "slack.allowed_users=*", "--allow-open-access")
    assert clm.agent["channels"]["slack"]["allowed_users"] == ["*"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--channel", "irc"], "Unknown channel 'irc'"),
        (["--no-channel", "api"], "Channel api is always on"),
        (["--channel", "slack", "--no-channel", "slack"], "both on and off"),
        (["--set", "slack"], "--set CHANNEL.FIELD=VALUE"),
        (["--set", "slack=1"], "--set CHANNEL.FIELD=VALUE"),
        (["--set", "slack.bot_token=xoxb-1"], "--secret-file slack.bot_token=PATH"),
        (["--set", "slack.nope=1"], "has no setting 'nope'"),
        (["--set", "slack.allowed_users=nobody"], "Allowed users"),
        (["--secret-file", "slack.allowed_users=x"], "--set slack.allowed_users=VALUE"),
        (["--secret-file", "slack.bot_token=/does/not/exist"], "cannot be read"),
        (["--secret-reference", "slack.bot_token=xoxb-1"], "give a reference"),
        (["--secret-reference", "api.key=env:X"], "has nothing to set"),
        (["--stage", "channels", "--edit", "--channel", "slack"], "no terminal"),
        (["--from", "-", "--model", "x"], "--from says it all"),
    ],
)
def test_options_that_make_no_sense_are_refused(decided: Clm, arguments: list[str], says: str) -> None:
    before = decided.agent
    said = decided("agent", "configure", AGENT, "--provider", "local", *arguments, code=2)
    assert says in said
    assert "xoxb-1" not in said
    assert decided.agent == before


@pytest.mark.parametrize(
    "order",
    [("channels", "identity", "providers"), ("identity", "providers", "channels"), ("channels", "providers")],
)
def test_stages_can_be_taken_in_any_order_but_the_last(clm: Clm, order: tuple[str, ...]) -> None:
    clm.add_provider()
    ordered = ["providers", "identity", "channels"]
    for number, stage in enumerate(order):
        done = set(order[:number])
        state = next((each for each in ordered if each not in done), "validate") if done else "pending"
        first = next(each for each in ("providers", "channels") if each not in done)
        said = clm("agent", "configure", AGENT, "--stage", "validate", code=3)
        assert f"onboarding incomplete (state={state})" in said
        assert f"Run 'clm agent configure {AGENT} --stage {first}' first." in said
        flags = ["--provider", "local"] if stage == "providers" else []
        clm("agent", "configure", AGENT, "--stage", stage, *flags)
    assert set(clm.agent["onboarding"]) == set(order)


def test_a_channel_without_its_credential_names_the_stage_that_gives_it(clm: Clm) -> None:
    clm.add_provider()
    configure = ("agent", "configure", AGENT)
    clm(*configure, "--stage", "providers", "--provider", "local")
    clm(*configure, "--stage", "channels", "--secret-stdin", "discord.bot_token", stdin=BOT_TOKEN)
    for token in ("edited by hand", None):
        kept = json.loads((clm.state / "secrets.json").read_text())
        if token:
            kept[KEY]["DISCORD_BOT_TOKEN"]["value"] = token
        else:
            del kept[KEY]["DISCORD_BOT_TOKEN"]
        (clm.state / "secrets.json").write_text(json.dumps(kept))
        assert clm(*configure, "--stage", "validate", code=3) == (
            "Stage 2/4: IDENTITY — auto-skipped (the agent keeps its own SOUL.md)\n" if token else ""
        ) + (
            "Error: Discord enabled for this agent but DISCORD_BOT_TOKEN is missing or invalid in secrets.json. "
            "Re-run 'clm agent configure maurice --stage channels' to set it.\n"
            + (f"{SHAPE}\n" if token else "")
            + "  Or: clm secret set maurice DISCORD_BOT_TOKEN\n"
        )


# Files


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "describes no agent"),
        ("- a\n", "describes no agent"),
        ("name: [\n", "line 2"),
        ("hardening: standard\nchanels: {}\n", "line 2: unknown key 'chanels'; did you mean channels?"),
        ("hardening: none\n", "line 1: 'none' is none of off, standard, strict"),
        ("name: maurice\nname: other\n", "line 2: 'name' is there twice"),
        ("name: other\n", "line 1: the file says name other"),
        ("host: wolf-ii\n", "line 1: the file says host wolf-ii"),
        ("port: 80\n", "line 1: Port 80 is not between 1024 and 65535"),
        ("port: true\n", "line 1: Port True is not"),
        ("port: 9000\n", "clm agent install --type hermes --host wolf-i --name maurice"),
        ("release: v1.0.0\n", "line 1:"),
        ("provider: nobody\n", "There is no provider 'nobody'"),
        ("provider:\n  type: custom\n", "provider lacks its name"),
        ("provider:\n  name: x\n  type: custom\n  ulr: http://x\n", "line 4: Provider type custom has no field 'ulr'"),
        ("provider:\n  name: x\n  type: custom\n  url: ftp://x\n", "line 4: API URL"),
        ("provider:\n  name: x\n  type: custom\n  url: http://x\n  model: m\n  api_key: kept\n", "line 6: API_KEY"),
        ("channels:\n  irc: {}\n", "line 2: Unknown channel 'irc'"),
        ("channels:\n  api:\n    key: env:X\n", "line 2: Channel api has nothing to set"),
        ("channels:\n  slack:\n    bot_token: kept\n", "line 3: SLACK_BOT_TOKEN is needed"),
        ("channels:\n  slack: {}\n", "clm secret set wolf-i/maurice SLACK_BOT_TOKEN"),
        (f"channels:\n  slack:\n    bot_token: {BOT}\n", "line 3: this looks like a secret"),
        ("channels:\n  slack:\n    bot_token: geheim\n", "line 3: give a reference"),
        ("integrations: [work]\n", "There is no integration 'work'"),
        ("integrations: work\n", "line 1: integrations should be a list"),
        ("memory:\n  type: nothing\n", "line 2:"),
        ("environment:\n  PATH: /x\n", "line 2: PATH"),
        ("environment:\n  TAVILY_API_KEY: abc\n", "line 2: TAVILY_API_KEY is a credential"),
        ("environment:\n  TAVILY_API_KEY: {secret: kept}\n", "clm secret set wolf-i/maurice TAVILY_API_KEY"),
        ("config:\n  model.default: x\n", "line 2: model is what the provider sets"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "unknown key 'a'"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_with_its_line(decided: Clm, text: str, says: str) -> None:
    before = decided.agent
    said = refused(decided, text)
    assert says in said
    assert BOT not in said and "geheim" not in said
    assert decided.agent == before


def refused(clm: Clm, text: str) -> str:
    """What is said about a file that cannot be taken."""
    file = clm.home / "agent.yaml"
    file.write_text(text)
    with mock.patch.dict(os.environ, clm.environment), pytest.raises((Problem, StateError)) as caught:
        state = State.open()
        put_on_record(AgentFile.read(str(file)), state, state.read().agent(KEY), open_access=False)
    problem = translate(caught.value)
    assert problem is not None and problem.exit == 2
    return f"{problem.message}\n{problem.remedy}"


def test_a_file_that_grows_when_it_is_read_is_refused(decided: Clm) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    assert "holds more than any agent's file" in refused(decided, "\n".join(lines))


ids = st.integers(10**17, 10**18 - 1).map(str)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20)
discord = st.fixed_dictionaries(
    {},
    optional={
        "allowed_users": st.lists(ids, min_size=1, max_size=3, unique=True),
        "require_mention": st.booleans(),
        "home_channel": ids,
        "reply_to_mode": st.sampled_from(["off", "first", "all"]),
        "channel_prompts": st.dictionaries(ids, texts, min_size=1, max_size=2),
    },
)
agents = st.fixed_dictionaries(
    {
        "hardening": st.sampled_from(["off", "standard", "strict"]),
        "provider": st.sampled_from(["plain", "keyed"]),
        "model": st.none() | st.sampled_from(["other", "with:tag", "a/b"]),
        "discord": st.none() | discord,
        "reference": st.booleans(),
        "memory": st.sampled_from([None, {"auto_extract": True}, {}]),
        "environment": st.dictionaries(st.sampled_from(["TZ", "HERMES_AGENT_TIMEOUT", "DISCORD_NOTE"]), texts),
        "secret_environment": st.sampled_from([(), ("TAVILY_API_KEY",)]),
        "config": st.dictionaries(
            st.sampled_from(["agent.max_turns", "display.tool_progress", "agent.personalities"]),
            st.integers() | st.booleans() | texts | st.lists(texts, max_size=2) | st.none(),
        ),
        "inline": st.booleans(),
    }
)


def _put(state: State, drawn: Mapping[str, Any]) -> None:
    """Put an agent on record as the commands would."""
    with state.transaction() as tx:
        agent = tx.agent(KEY).agent
        for name, secret in (("plain", None), ("keyed", Secret("sk-of-4711"))):
            tx.providers[name] = Provider(name=name, type="custom", options={"url": "http://x/v1", "model": "m"})
            if secret:
                tx.secrets.set(f"provider:{name}", "API_KEY", secret)
        agent.provider, agent.model, agent.hardening = drawn["provider"], drawn["model"], drawn["hardening"]
        agent.channels = {"api": {}}
        if drawn["discord"] is not None:
            agent.channels["discord"] = channel("discord").options(drawn["discord"])
            token = Reference("env:DISCORD") if drawn["reference"] else Secret(BOT_TOKEN)
            tx.secrets.set(KEY, "DISCORD_BOT_TOKEN", token)
        if drawn["memory"] is not None:
            agent.memory = Memory(type="holographic", options=drawn["memory"])
        agent.environment, agent.secret_environment = dict(drawn["environment"]), drawn["secret_environment"]
        for name in drawn["secret_environment"]:
            tx.secrets.set(KEY, name, Secret("tvly-4711"))
        agent.config = dict(drawn["config"])
        providers = {"provider": str(agent.provider)}
        agent.onboarding = {
            "providers": StageResult(status="done", detail=dict(providers)),
            "identity": StageResult(status="skipped"),
            "channels": StageResult(status="done", detail={"channels": ", ".join(agent.channels)}),
            "validate": StageResult(status="done"),
        }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(agents)
def test_what_is_exported_is_what_is_read(drawn: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": folder}):
        Clm(Path(folder))
        state = State.open()
        _put(state, drawn)
        before = {path.name: path.read_bytes() for path in state.directory.path.glob("*.json")}
        text = export(AGENT, inline=drawn["inline"])
        for secret in ("sk-of-4711", BOT_TOKEN, "tvly-4711", "ab" * 32):
            assert secret not in text
        file = Path(folder) / "agent.yaml"
        file.write_text(text, encoding="utf-8")

        put_on_record(AgentFile.read(str(file)), state, state.read().agent(KEY), open_access=False)
        after = {path.name: path.read_bytes() for path in state.directory.path.glob("*.json")}
        assert after == before, "the file says what is on record, so nothing is written"

        with state.transaction() as tx:
            agent = tx.agent(KEY).agent
            agent.provider = agent.model = agent.memory = None
            agent.channels, agent.environment, agent.secret_environment, agent.config = {"api": {}}, {}, (), {}
            agent.hardening, agent.onboarding = "standard", {}
        put_on_record(AgentFile.read(str(file)), state, state.read().agent(KEY), open_access=False)
        assert export(AGENT, inline=drawn["inline"]) == text


def test_a_section_is_meant_as_a_whole_and_what_is_not_named_stays(clm: Clm) -> None:
    clm.add_provider()
    with mock.patch.dict(os.environ, clm.environment):
        state = State.open()
        _put(state, {
            "hardening": "strict", "provider": "keyed", "model": "other", "memory": None, "environment": {"TZ": "UTC"},
            "secret_environment": (), "config": {"agent.max_turns": 5}, "reference": False,
            "discord": {"allowed_users": ["123456789012345678"], "require_mention": False},
        })  # fmt: skip

        def read(text: str) -> None:
            (clm.home / "f").write_text(text)
            put_on_record(AgentFile.read(str(clm.home / "f")), state, state.read().agent(KEY), open_access=False)

        read("channels:\n  discord:\n    allowed_users: [123456789012345679]\n")
        assert clm.agent["channels"] == {"api": {}, "discord": {"allowed_users": ["123456789012345679"]}}
        assert clm.secrets()["DISCORD_BOT_TOKEN"] == BOT_TOKEN
        assert (clm.agent["provider"], clm.agent["hardening"], clm.agent["environment"]) == (
            "keyed", "strict", {"TZ": "UTC"},
        )  # fmt: skip
        assert "validate" not in clm.agent["onboarding"], "what is on record is not proven any more"
        read("channels: {}\nprovider: local\n")
        assert (clm.agent["channels"], clm.agent["provider"], clm.agent["model"]) == ({"api": {}}, "local", None)
        read("environment: {}\nconfig: {}\n")
        assert (clm.agent["environment"], clm.agent["config"]) == ({}, {})
        with pytest.raises(Problem, match="A confirmation is missing"):
            read("channels:\n  discord:\n    allowed_users: ['*']\n")


def test_a_provider_that_others_use_is_not_changed_by_one_agents_file(clm: Clm) -> None:
    clm.add_provider()
    clm("agent", "configure", AGENT, "--stage", "providers", "--provider", "local")
    with mock.patch.dict(os.environ, clm.environment), State.open().transaction() as tx:
        host = tx.hosts["wolf-i"]
        host.agents["agnes"] = host.agents[AGENT].model_copy(update={"name": "agnes", "port": 8643})
    file = "provider: {name: local, type: custom, url: 'http://elsewhere', model: qwen}\n"
    said = clm("agent", "configure", AGENT, "--from", "-", stdin=file, code=2)
    assert "wolf-i:hermes:agnes use it, too" in said
    assert "clm provider edit local" in said


def test_the_file_of_the_documentation_is_one(decided: Clm) -> None:
    text = (Path(__file__).parents[2] / "docs" / "onboarding.md").read_text(encoding="utf-8")
    (decided.home / "doc.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    file = AgentFile.read(str(decided.home / "doc.yaml"))
    assert file.data["name"] == AGENT
    plain, secret = file.environment()
    assert (plain, list(secret)) == ({"TZ": "Europe/Madrid"}, ["TAVILY_API_KEY"])
