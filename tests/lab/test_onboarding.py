"""Onboarding on a host: the wizard from nothing to ready, and the same agent again from a file."""

from __future__ import annotations

from pathlib import Path

from tests.lab.clm import Clm, unit
from tests.lab.machine import Machine
from tests.lab.model import StandInModel
from tests.lab.protocol import MODEL

HOST, KEY = "wolf-i", "sk-of-the-lab-4711"


def test_from_nothing_to_ready_by_questions_and_again_by_a_file(
    tmp_path: Path, host: Machine, model: StandInModel
) -> None:
    clm = Clm(tmp_path / "config")
    clm.add_host(host, HOST)
    clm.install("maurice")
    model.require_key(KEY)
    with clm.terminal("agent", "configure", "maurice") as terminal:
        for prompt, typed in (
            ("Type", "custom"), ("Name to keep", "lab"), ("API URL", "http://127.0.0.1:1/v1"), ("API key", "wrong-key"),
            ("Other settings", ""), ("Model: ", MODEL),
            # Nothing listens there; then the key is wrong; then all is well.
            ("What now", "edit"), ("API URL", model.url), ("API key", ""), ("Other settings", ""),
            ("What now", "edit"), ("API URL", ""), ("API key", KEY), ("Other settings", ""),
            ("Turn on", ""), ("Apply this to wolf-i now?", "<"), ("Turn on", "<"),
            # Back at the providers, where the models are listed now.
            ("Provider [lab]", ""), (f"Model [{MODEL}]", ""), ("Turn on", ""), ("Apply this to wolf-i now?", ""),
        ):  # fmt: skip
            terminal.expect(f"\n{prompt}")
            terminal.type(f"{typed}\n")
        assert terminal.end(120) == 0
        shown = terminal.text
    for sentence in (
        "127.0.0.1 does not take connections at port 1",
        "appears to be invalid",
        f"It has: {MODEL}",
        "Stage 2/4: IDENTITY — auto-skipped",
        "Agent maurice is configured, runs and answers.",
    ):
        assert sentence in shown
    assert KEY not in shown and "wrong-key" not in shown
    status = clm.status("maurice")
    assert (status["state"], status["onboarding"], status["drift"]) == ("running", "ready", [])

    before = unit(host, "maurice")["InvocationID"]
    with clm.terminal("agent", "configure", "maurice") as terminal:
        assert terminal.end(60) == 0
        assert "Agent maurice runs as configured; nothing to do." in terminal.text
    file = tmp_path / "agent.yaml"
    file.write_text(clm.run("agent", "export", "maurice", "--inline").stdout)
    assert KEY not in file.read_text()
    assert clm.configure("maurice", "--from", str(file)).stdout == "Agent maurice runs as configured; nothing to do.\n"
    assert unit(host, "maurice")["InvocationID"] == before

    file.write_text(file.read_text().replace("maurice", "agnes").replace("port: 8642", "port: 8650"))
    installed = clm.run("agent", "install", "--from", str(file))
    assert f"Next: clm agent configure agnes --from {file}" in installed.stdout
    assert "Agent agnes is configured, runs and answers." in clm.configure("agnes", "--from", str(file)).stdout
    assert clm.status("agnes")["state"] == "running"
    assert unit(host, "maurice")["InvocationID"] == before

    refused = clm.configure("agnes", "--provider", "lab", "--model", "", exit=2)
    assert "Model" in refused.stderr
    model.require_key("sk-another")
    refused = clm.configure("agnes", "--hardening", "strict", exit=7)
    assert "its model does not answer on wolf-i" in refused.stderr
    assert "Nothing was changed on wolf-i." in refused.stderr
    assert "--skip-connectivity" in refused.stderr
    assert unit(host, "agnes")["ActiveState"] == "active"
